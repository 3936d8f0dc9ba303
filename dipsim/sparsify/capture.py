"""Records a model's activation scores into a trace, in bounded memory."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from dipsim import methods
from dipsim.errors import DipsimError, choose
from dipsim.methods import Method
from dipsim.model import ModelSpec
from dipsim.model.groups import SITES, site_width
from dipsim.progress import shown_in_notebooks
from dipsim.sparsify.bos import begin_with_bos
from dipsim.sparsify.hooks import Plan, Predictors, find_parts, hooked, without_cache
from dipsim.sparsify.loading import LoadedModel
from dipsim.trace import HeldScores, TraceWriter, check_trace_output

OnProgress = Callable[[int, int], None]
# Where scores go: to a trace, `NAME.zarr` or `NAME.zarr.zip`, or into memory by site.
Out = str | Path | Mapping[str, HeldScores]
# Called with site, layer, first token and scores [token, column].
Write = Callable[[str, int, int, NDArray[np.float16]], None]


@shown_in_notebooks("capturing", "sequences")
def capture(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    out: str | Path,
    *,
    masking: Method,
    sites: Sequence[str] | None = None,
    n_prompt: int = 0,
    n_batch: int = 1,
    predictors: Predictors = (),
    text_source: dict[str, Any] | None = None,
    force: bool = False,
    compact: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> None:
    """Runs every window through the model and writes what is asked for.

    Args:
        loaded: the model; its mode and weights are afterwards as before.
        ids: int64 [window, token]; each window is a sequence of the trace.
        out: `NAME.zarr` or `NAME.zarr.zip`.
        masking: `Dense()`, of a mixture of experts `Experts()`, or the method under which the model is to run.
        sites: scores to record; by default `mlp_input` and `glu`, of a mixture of experts `router`.
        n_prompt: first tokens of each window that are run dense and not recorded.
        n_batch: windows in one forward pass.
        predictors: for the site `predictor`, one for each layer.
        text_source: what to say of the text in the trace.
        force: replace an existing trace.
        compact: keep scores in nine bits each instead of sixteen.
        on_progress: called with the windows done and the windows to do.

    Raises:
        DipsimError: no gated MLPs, an unknown site, or an output that cannot be written.
    """
    sites = usual_sites(loaded.spec) if sites is None else sites
    check_request(out, sites, masking, force)
    plan = Plan(masking, without_cache(masking), sites, n_prompt, predictors)
    about = methods.options(masking)
    network = loaded.model.base_model
    recording = recorded(loaded, ids, out, plan, n_batch, text_source, about, force, on_progress, network, compact)
    with closing(recording) as batches:
        for _ in batches:
            pass


def recorded(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    out: Out,
    plan: Plan,
    n_batch: int,
    text_source: dict[str, Any] | None,
    masking: dict[str, Any],
    force: bool,
    on_progress: OnProgress,
    network: Callable[..., Any],
    compact: bool = False,
) -> Generator[tuple[Tensor, Any]]:
    """Batch after batch through the model under a plan; the trace is complete when the last one was asked for.

    Args:
        loaded, ids, n_batch, text_source, force, on_progress, compact: as `capture`.
        out: where the scores go.
        plan: what is masked and recorded.
        masking: what the trace says of it.
        network: the model, or what of it is to be run.

    Yields:
        Token ids [window, token], and what the network returned.

    Raises:
        DipsimError: as `capture`.
    """
    check_windows(loaded, ids, plan.n_prompt, n_batch)
    model, spec = loaded.model, loaded.spec
    for site in plan.sites:
        if (site == "router") != (spec.mixture is not None):
            has = "experts and 'router' alone" if spec.mixture else "no experts, and no router"
            raise DipsimError(f"sites: got '{site}'; '{spec.name}' has {has}")
    parts, without_experts = find_parts(model, spec), spec.mixture.dense_layers if spec.mixture else []
    n_recorded = ids.shape[1] - plan.n_prompt
    with _written(loaded, ids, out, plan, text_source, masking, force, compact) as write, inference(model):
        for first in range(0, len(ids), n_batch):

            def record(site: str, layer: int, scores: NDArray[np.float16], start: int = first * n_recorded) -> None:
                write(site, layer, start, scores.reshape(-1, scores.shape[-1]))

            batch = torch.from_numpy(ids[first : first + n_batch]).to(model.device)
            with hooked(parts, spec, plan, record):
                output = network(input_ids=batch, use_cache=False)
            for site, layer in itertools.product(plan.sites, without_experts):
                record(site, layer, np.zeros((len(batch), n_recorded, site_width(spec, site)), np.float16))
            yield batch, output
            on_progress(min(first + n_batch, len(ids)), len(ids))


@contextmanager
def _written(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    out: Out,
    plan: Plan,
    text_source: dict[str, Any] | None,
    masking: dict[str, Any],
    force: bool,
    compact: bool,
) -> Iterator[Write]:
    """Takes scores to where they go; a trace is complete when the body ends."""
    if isinstance(out, Mapping):
        yield lambda site, layer, start, scores: out[site].write(layer, start, scores)
        return
    writer = TraceWriter(
        out,
        loaded.spec,
        plan.sites,
        ids[:, plan.n_prompt :].reshape(-1),
        [ids.shape[1] - plan.n_prompt] * len(ids),
        [plan.n_prompt] * len(ids),
        source=_source(loaded, ids, text_source),
        masking=masking,
        force=force,
        compact=compact,
    )
    with writer:
        yield writer.write


def check_windows(loaded: LoadedModel, ids: NDArray[np.int64], n_prompt: int, n_batch: int) -> None:
    """Refuses windows that the model cannot run, or that leave nothing beside the prompt.

    Raises:
        DipsimError: no token after the prompt, more tokens than positions, tokens that the model does not know, or an
            empty batch.
    """
    if not 0 <= n_prompt < ids.shape[1]:
        raise DipsimError(f"prompt: got {n_prompt} tokens; must be at least 0 and below the window's {ids.shape[1]}")
    if n_batch < 1:
        raise DipsimError(f"batch: got {n_batch}; must be at least 1")
    n_most = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if n_most is not None and ids.shape[1] > n_most:
        raise DipsimError(f"window: got {ids.shape[1]} tokens; model '{loaded.name}' has positions for {n_most}")
    n_known = len(cast(Tensor, loaded.model.get_input_embeddings().weight))
    if ids.max() >= n_known:
        raise DipsimError(
            f"text: got a token of id {ids.max()}; model '{loaded.name}' knows {n_known}, its tokenizer is of another"
        )


def usual_sites(spec: ModelSpec) -> tuple[str, ...]:
    """What is recorded where nothing else is asked for: what masks are chosen from in `dip`, or in `experts`."""
    return ("mlp_input", "glu") if spec.mixture is None else ("router",)


def check_request(out: str | Path, sites: Sequence[str], masking: Method, force: bool) -> None:
    """What can be known to be wrong before a model is loaded.

    Raises:
        DipsimError: an output that cannot be written, an unknown site, or a method whose masks depend on a cache.
    """
    check_trace_output(Path(out), force)
    for site in sites:
        choose("sites", site, SITES)
    if masking.looks_at_residency:
        raise DipsimError(
            f"method '{masking.name}': its masks depend on the cache, which capture does not have; "
            "capture dense or under 'dip', and let the simulation choose the masks, or record them by 'dipsim evaluate'"
        )


@contextmanager
def inference(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every submodule gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def text_source(name: str, text: str) -> dict[str, Any]:
    """What a trace says of its text: its name without folders, and a hash of its content."""
    return {"name": Path(name).name, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _source(loaded: LoadedModel, ids: NDArray[np.int64], text: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "kind": "captured",
        "model": loaded.name,
        "revision": loaded.revision,
        "text": text,
        "bos": begin_with_bos(loaded.tokenizer, ids),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
