"""How is a predictor trained, and how good is it: on what the dense model computes, batch by batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dipsim.errors import DipsimError
from dipsim.methods import Predictor
from dipsim.model.groups import n_kept
from dipsim.progress import shown_in_notebooks
from dipsim.sparsify.capture import OnProgress, check_windows, inference
from dipsim.sparsify.fingerprint import fingerprint
from dipsim.sparsify.gated_mlp import GatedMlp, find_gated_mlps
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.predictor_checkpoint import PredictorCheckpoint
from dipsim.sparsify.predictors import TwoLayers, untrained

# Called with layer, the MLP's input [sequence, token, d] and the magnitude of the product [sequence, token, f].
Look = Callable[[int, Tensor, Tensor], None]
_LEARNING_RATE = 3e-3  # of Adam at the start; it falls to 0 along a line
_STEP_TOKENS = 64


@shown_in_notebooks("training on", "windows")
def train(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    masking: Predictor,
    *,
    n_epochs: int = 10,
    n_batch: int = 1,
    seed: int = 0,
    checkpoint: Path | None = None,
    anew: bool = False,
    text_source: dict[str, Any] | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> tuple[TwoLayers, ...]:
    """Teaches one network per layer which neurons of the dense model are largest at a token.

    Binary cross-entropy between its logits and "among the token's top `density` share by |product|" (Deja Vu, arXiv
    2310.17157). Every layer learns while the model runs, from the batch at hand; nothing is kept of it.

    Args:
        loaded: the model; it runs dense, and is afterwards as before.
        ids: int64 [window, token].
        masking: rank of the networks, and the density that they are trained for.
        n_epochs: how often the model runs through all windows, each time in another order.
        n_batch: windows in one forward pass.
        seed: of initial weights and of orders.
        checkpoint: a file to go on from where it is there, and to be left where this is cut short; a training that went
            on ends with the bits of an unbroken one. It stays: whoever has kept the networks removes it.
        anew: begin anew where the checkpoint is of other settings.
        text_source: what the checkpoint says of the text.
        on_progress: called with the windows done and the windows to do.

    Raises:
        DipsimError: no gated MLPs, a value out of range, or a checkpoint that is damaged or of another training.
    """
    if n_epochs < 1:
        raise DipsimError(f"epochs: got {n_epochs}; must be at least 1")
    check_windows(loaded, ids, 0, n_batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = tuple(network.to(loaded.model.device) for network in untrained(loaded.spec, masking.rank))
    learners = [torch.optim.Adam(network.parameters()) for network in networks]
    settings = _settings(loaded, ids, masking, n_epochs, n_batch, seed, text_source)
    kept = None if checkpoint is None else PredictorCheckpoint(checkpoint, settings, anew)
    n_to_do, n_done = n_epochs * len(ids), 0 if kept is None else kept.load(networks, learners)
    on_progress(n_done, n_to_do)

    def learn(layer: int, x: Tensor, magnitude: Tensor) -> None:
        x, wanted = x.flatten(0, 1), largest(magnitude, masking.density).flatten(0, 1)
        learners[layer].param_groups[0]["lr"] = _LEARNING_RATE * (1 - n_done / n_to_do)
        # Orders depend on the place in the training alone, so that one that goes on sees the same.
        order = np.random.default_rng((seed, n_done, layer)).permutation(len(x))
        for rows in np.array_split(order, -(-len(x) // _STEP_TOKENS)):
            with torch.enable_grad():
                own = torch.from_numpy(rows).to(x.device)
                logits = networks[layer].logits(x[own])
                loss = functional.binary_cross_entropy_with_logits(logits, wanted[own].to(logits.dtype))
                learners[layer].zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
            learners[layer].step()

    while n_done < n_to_do:
        epoch, n_seen = divmod(n_done, len(ids))
        shuffled = ids[np.random.default_rng((seed, epoch)).permutation(len(ids))]
        for n_windows in watched(loaded, shuffled[n_seen:], n_batch, learn):
            n_done += n_windows
            on_progress(n_done, n_to_do)
            if kept is not None:
                kept.keep(networks, learners, n_done, is_last=n_done == n_to_do)
    return networks


def _settings(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    masking: Predictor,
    n_epochs: int,
    n_batch: int,
    seed: int,
    text_source: dict[str, Any] | None,
) -> dict[str, Any]:
    """Everything that the networks follow from, as it is read back."""
    found = {
        "model": loaded.name,
        "fingerprint": fingerprint(loaded),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "text": text_source,
        "window_tokens": ids.shape[1],
        "tokens": hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest(),
        "density": masking.density,
        "rank": masking.rank,
        "epochs": n_epochs,
        "batch": n_batch,
        "seed": seed,
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


@shown_in_notebooks("looking at held-out", "windows")
def recall(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    networks: Sequence[TwoLayers],
    density: float,
    n_batch: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> list[float]:
    """Share of each layer's truly largest neurons that its network finds; by chance it would be the density.

    Args:
        loaded: the model, which runs dense.
        ids: int64 [window, token], not those of the training.
        networks: one for each layer.
        density: share of neurons that are looked for.
        n_batch: windows in one forward pass.
        on_progress: called with the windows done and the windows to do.
    """
    n_found, n_wanted = [0] * len(networks), [0] * len(networks)

    def compare(layer: int, x: Tensor, magnitude: Tensor) -> None:
        wanted = largest(magnitude, density)
        n_found[layer] += int((wanted & largest(networks[layer].logits(x), density)).sum())
        n_wanted[layer] += int(wanted.sum())

    n_done = 0
    for n_windows in watched(loaded, ids, n_batch, compare):
        n_done += n_windows
        on_progress(n_done, len(ids))
    return [found / wanted for found, wanted in zip(n_found, n_wanted, strict=True)]


def watched(loaded: LoadedModel, ids: NDArray[np.int64], n_batch: int, look: Look) -> Iterator[int]:
    """Runs the model through windows [window, token] while somebody looks; yields how many each pass had."""
    model = loaded.model
    mlps = find_gated_mlps(model, loaded.spec.n_layers)
    for first in range(0, len(ids), n_batch):
        batch = torch.from_numpy(ids[first : first + n_batch]).to(model.device)
        with inference(model), _looking(mlps, look):
            model.base_model(input_ids=batch, use_cache=False)
        yield len(batch)


def largest(values: Tensor, density: float) -> Tensor:
    """bool, the shape of the values [..., column]: each row's share of largest ones."""
    n_columns = values.shape[-1]
    best = values.topk(n_kept(density, n_columns), dim=-1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(-1, best, True)


@contextmanager
def _looking(mlps: Sequence[GatedMlp], look: Look) -> Iterator[None]:
    """While the body runs, `look` is called for every layer that is computed."""
    inputs: dict[int, Tensor] = {}

    def at(layer: int, mlp: GatedMlp) -> list[torch.utils.hooks.RemovableHandle]:
        def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            inputs[layer] = args[0]

        def show(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            look(layer, inputs.pop(layer), args[0].abs())

        return [mlp.gate.register_forward_pre_hook(keep), mlp.down.register_forward_pre_hook(show)]

    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for layer, mlp in enumerate(mlps):
            handles += at(layer, mlp)
        yield
    finally:
        for handle in handles:
            handle.remove()
