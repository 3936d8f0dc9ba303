"""How does an adapter learn: from the model itself without a mask, or from a text, always under the masks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from torch.nn import functional

from dipsim.errors import DipsimError
from dipsim.methods import Method
from dipsim.sparsify.adapters import lora
from dipsim.sparsify.adapters.folder import (
    Checkpoint,
    lora_config,
    read_checkpoint,
    remove_checkpoint,
    save_adapter,
    save_checkpoint,
)
from dipsim.sparsify.adapters.recipe import Recipe
from dipsim.sparsify.bos import begin_with_bos
from dipsim.sparsify.capture import check_windows
from dipsim.sparsify.fingerprint import fingerprint
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.hooks import Choose, Plan, Predictors, hooked
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.settings import check_same

HELD_OUT_SHARE, MOST_HELD_OUT = 0.1, 32  # of the windows; more would cost time and say little more
LONGEST_GRADIENT = 1.0
_MOMENTS = ("exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight

# Called with steps done, steps to do and a note on the loss.
OnStep = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Learnt:
    """What came of it; losses in nats per token, on the held-out windows, under the masks.

    Attributes:
        loss_before: without the adapter.
        loss: with the weights that were kept.
        best_step: the step that these are from.
        steps: steps done.
        n_weights: of the adapter.
    """

    loss_before: float
    loss: float
    best_step: int
    steps: int
    n_weights: int

    @property
    def n_bytes(self) -> int:
        """What the adapter takes in DRAM, unless it is merged."""
        return lora.BYTES_PER_WEIGHT * self.n_weights


def train(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    folder: str | Path,
    *,
    masking: Method,
    choose_masks: Choose,
    about: dict[str, Any],
    recipe: Recipe,
    predictors: Predictors = (),
    text_source: dict[str, Any] | None = None,
    resume: bool = False,
    on_step: OnStep = lambda done, total, note: None,
) -> Learnt:
    """Trains an adapter on the layers whose inputs a method masks, and keeps the weights that are best on the text's
    last tenth. Masks are constants to the gradient. A run that is resumed ends as one that was never interrupted.

    Args:
        loaded: the model; it is afterwards as before.
        ids: int64 [window, token]; each window is a sequence.
        folder: where the adapter and, until training ends, a checkpoint go.
        masking, choose_masks: the method, and its masks.
        about: what is to be said of both.
        recipe: how.
        predictors: for the method `predictor`, one for each layer.
        text_source: what is to be said of the text.
        resume: go on from the folder's checkpoint.
        on_step: called with steps done, steps to do and a note, on the loss mostly.

    Raises:
        DipsimError: the method masks nothing, the text is shorter than two windows, or what is to be resumed was
            another run.
    """
    check_windows(loaded, ids, 0, recipe.batch)
    place = Path(folder)
    layers = lora.masked_layers(loaded, masking)
    settings = {
        "model": loaded.name,
        "fingerprint": fingerprint(loaded),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "text": text_source,
        "window_tokens": ids.shape[1],
        "bos": begin_with_bos(loaded.tokenizer, ids),
        "tokens": hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest(),
        "masking": about,
        **dataclasses.asdict(recipe),
    }
    settings = json.loads(json.dumps(settings))  # as it is read back
    config = lora_config(layers, recipe.rank, recipe.alpha, loaded.name)
    state = read_checkpoint(place) if resume else None
    if state is not None:
        check_same(settings, state[1].settings)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        with lora.injected(loaded.model, config) as wrapped:
            plan = Plan(masking, choose_masks, predictors=predictors)
            run = _Run(loaded, plan, recipe, list(wrapped.values()), *_split(ids))
            place.mkdir(exist_ok=True)
            return _finish(run, place, config, settings, state, on_step)


def _finish(
    run: _Run,
    place: Path,
    config: peft.LoraConfig,
    settings: dict[str, Any],
    state: tuple[dict[str, Tensor], Checkpoint] | None,
    on_step: OnStep,
) -> Learnt:
    """From the checkpoint or the beginning to the end."""
    if state is not None:
        run.load(*state)
    else:
        on_step(0, run.recipe.steps, "(measuring held-out text)")
        run.look()
        save_adapter(place, config, run.weights(), settings | run.found())
        save_checkpoint(place, run.tensors(), run.state(settings))
    n_steps, every = run.recipe.steps, run.recipe.evaluate_every
    while run.step < n_steps and run.n_without_gain < run.recipe.patience:
        loss = run.update()
        on_step(run.step, n_steps, f"loss {loss:.4f}, held out {run.best:.4f}")
        if run.step % every and run.step < n_steps:
            continue
        on_step(run.step, n_steps, f"loss {loss:.4f}, measuring held-out text")
        if run.look():
            save_adapter(place, config, run.weights(), settings | run.found())
        save_checkpoint(place, run.tensors(), run.state(settings))
    remove_checkpoint(place)
    return Learnt(run.before, run.best, run.best_step, run.step, sum(w.numel() for w in run.weights().values()))


class _Run:
    """A model with an adapter, in the midst of training.

    Args:
        loaded: the model, with layers wrapped.
        plan: the masks.
        recipe: how.
        layers: the wrapped layers.
        ids, held_out: int64 [window, token].
    """

    def __init__(
        self,
        loaded: LoadedModel,
        plan: Plan,
        recipe: Recipe,
        layers: list[LoraLinear],
        ids: NDArray[np.int64],
        held_out: NDArray[np.int64],
    ) -> None:
        self.recipe = recipe
        self.step, self.best_step, self.n_without_gain = 0, 0, 0
        self.before = self.best = math.inf
        self._model, self._spec, self._plan, self._layers = loaded.model, loaded.spec, plan, layers
        self._model.train(False)  # no dropout
        self._mlps = find_gated_mlps(loaded.model, loaded.spec.n_layers)
        self._ids, self._held_out = ids, held_out
        for layer in layers:  # half precision is too coarse to learn in
            layer.lora_A.float()
            layer.lora_B.float()
        self._named = lora.trainable(loaded.model)
        self._optimizer = torch.optim.AdamW(self._named.values(), lr=recipe.learning_rate, weight_decay=0.0)

    def update(self) -> float:
        """One step; returns its loss. Its windows depend on the step alone, so that a resumed run sees the same."""
        picked = np.random.default_rng((self.recipe.seed, self.step)).integers(0, len(self._ids), self.recipe.batch)
        loss = self._loss(self._ids[picked])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._named.values(), LONGEST_GRADIENT)
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.share_of_rate(self.step)
        self._optimizer.step()
        self.step += 1
        return loss.item()

    def look(self) -> bool:
        """Measures the held-out windows; whether these weights are the best so far."""
        starts = range(0, len(self._held_out), self.recipe.batch)
        batches = [self._held_out[start : start + self.recipe.batch] for start in starts]
        with torch.no_grad():
            losses = [self._loss(batch).item() * len(batch) for batch in batches]
        loss = sum(losses) / len(self._held_out)
        if not math.isfinite(loss):
            raise DipsimError(
                f"learning_rate: got {self.recipe.learning_rate}; at step {self.step} held-out loss is {loss}"
            )
        if self.step == 0:
            self.before = loss
        self.n_without_gain += 1
        if loss >= self.best:
            return False
        self.best, self.best_step, self.n_without_gain = loss, self.step, 0
        return True

    def weights(self) -> dict[str, Tensor]:
        """The adapter's weights, named as in PEFT's files."""
        return {lora.in_file(name): weight.detach().cpu() for name, weight in self._named.items()}

    def found(self) -> dict[str, Any]:
        """What an adapter's files say of the training so far."""
        versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
        return {"held_out_loss_before": self.before, "held_out_loss": self.best, "step": self.best_step, **versions}

    def tensors(self) -> dict[str, Tensor]:
        """The weights and, once there was a step, the optimizer's means of gradients and of their squares."""
        found = self.weights()
        for name, weight in self._named.items():
            for moment in _MOMENTS if self.step else ():
                found[f"{moment}.{lora.in_file(name)}"] = self._optimizer.state[weight][moment].cpu()
        return found

    def state(self, settings: dict[str, Any]) -> Checkpoint:
        """What else it takes to go on from here."""
        counts = {"step": self.step, "best_step": self.best_step, "n_without_gain": self.n_without_gain}
        return Checkpoint(**counts, before=self.before, best=self.best, settings=settings)

    def load(self, tensors: dict[str, Tensor], state: Checkpoint) -> None:
        """Goes on from there.

        Raises:
            DipsimError: a tensor is missing, unknown or of another shape.
        """
        moments = _MOMENTS if state.step else ()
        own = {lora.in_file(name): weight for name, weight in self._named.items()}
        expected = {f"{prefix}{name}": own[name].shape for prefix in ("", *(f"{m}." for m in moments)) for name in own}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            raise DipsimError(
                f"resume: the checkpoint's tensors are not those of this adapter after {state.step} steps"
            )
        lora.fill(self._model, {name: tensors[name] for name in own})
        for name, weight in own.items() if moments else ():
            kept = {moment: tensors[f"{moment}.{name}"].to(weight) for moment in moments}
            self._optimizer.state[weight] = {"step": torch.tensor(float(state.step)), **kept}
        self.step, self.best_step, self.n_without_gain = state.step, state.best_step, state.n_without_gain
        self.before, self.best = state.before, state.best

    def _loss(self, windows: NDArray[np.int64]) -> Tensor:
        """Mean over the tokens, in nats."""
        batch = torch.from_numpy(windows).to(self._model.device)
        if self.recipe.loss == "kl":
            with torch.no_grad(), lora.switched_off(self._layers):
                taught = self._logits(batch).log_softmax(-1).flatten(0, 1)
            own = self._masked_logits(batch).log_softmax(-1).flatten(0, 1)
            return functional.kl_div(own, taught, log_target=True, reduction="batchmean")
        logits = self._masked_logits(batch[:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def _masked_logits(self, batch: Tensor) -> Tensor:
        try:
            with hooked(self._mlps, self._spec, self._plan):
                return self._logits(batch)
        except DipsimError as error:  # no mask can be chosen from activations that are no numbers
            if self.step == 0:
                raise
            raise DipsimError(f"learning_rate: got {self.recipe.learning_rate}; at step {self.step}: {error}") from None

    def _logits(self, batch: Tensor) -> Tensor:
        return cast(Tensor, self._model(input_ids=batch, use_cache=False).logits).float()


def _split(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows to learn from, and windows of the text's end that are held out."""
    if len(ids) < 2:
        raise DipsimError(
            f"text: got {len(ids)} window of {ids.shape[1]} tokens; two are needed, one of them held out: "
            "a longer text, or fewer --window-tokens"
        )
    first = len(ids) - max(1, int(HELD_OUT_SHARE * len(ids)))
    held_out = ids[first:]
    return ids[:first], held_out[:: math.ceil(len(held_out) / MOST_HELD_OUT)]
