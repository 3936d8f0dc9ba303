"""Perplexity with the mask in the loop, then the simulated run of the very same tokens."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dipsim import methods
from dipsim.evaluation.clusters import ratio, standard_error
from dipsim.evaluation.losses import losses_table, tokens_sha256
from dipsim.kernels import Float64Array, Int64Array
from dipsim.model import ModelSpec
from dipsim.model.groups import SITES, Site, site_width
from dipsim.progress import shown_in_notebooks
from dipsim.results import Result
from dipsim.simulation import Simulation
from dipsim.trace import HeldScores, Trace
from dipsim.units import with_error

if TYPE_CHECKING:
    from dipsim.sparsify.hooks import Predictors
    from dipsim.sparsify.loading import LoadedModel

OnProgress = Callable[[int, int], None]
_MOST_HELD_BYTES = 2**27  # of scores that nobody wants to keep


@dataclass(frozen=True)
class Evaluation:
    """The outcome: how well the model predicts, and what the device makes of it.

    Attributes:
        losses: one row a scored token: `window`, `position`, `token_id`, `loss` in nats.
        tokens_sha256: hash of the windows' tokens and of which are scored.
        result: the run, of the same tokens under the same masks.
        title: the run in one line.
        bos: every window begins with the BOS token.
    """

    losses: pd.DataFrame
    tokens_sha256: str
    result: Result
    title: str
    bos: bool

    @property
    def n_scored(self) -> int:
        """How many tokens are scored."""
        return len(self.losses)

    @cached_property
    def loss(self) -> float:
        """Mean cross-entropy of the scored tokens, in nats."""
        return float(self.losses["loss"].to_numpy().mean())

    @cached_property
    def loss_se(self) -> float | None:
        """Standard error of the loss, windows as clusters (`dipsim.evaluation.clusters`); None for one window."""
        return standard_error(ratio(*self._windows)[1])

    @property
    def perplexity(self) -> float:
        """exp of the mean loss."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    @property
    def perplexity_se(self) -> float | None:
        """Standard error of the perplexity by the delta method, perplexity x `loss_se`; None for one window."""
        return None if self.loss_se is None else self.perplexity * self.loss_se

    @cached_property
    def _windows(self) -> tuple[Float64Array, Int64Array]:
        """Sum of losses and scored tokens of each window, which all have some."""
        window, loss = self.losses["window"].to_numpy(), self.losses["loss"].to_numpy()
        return np.asarray(np.bincount(window, loss), np.float64), np.bincount(window).astype(np.int64)

    def quality(self) -> dict[str, Any]:
        """The numbers of the text as plain data; None where there is none or it is not finite."""
        sums, counts = self._windows
        numbers = {name: getattr(self, name) for name in ("perplexity", "perplexity_se", "loss", "loss_se")}
        return {name: _finite(value) for name, value in numbers.items()} | {
            "n_scored_tokens": self.n_scored,
            "loss_by_window": [_finite(loss) for loss in (sums / counts).tolist()],
            "scored_by_window": counts.tolist(),
            "tokens_sha256": self.tokens_sha256,
        }

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the result, and those of the text; None where a thing was not modelled or is not finite."""
        return self.quality() | {"bos": self.bos} | self.result.to_dict()

    def to_json(self) -> str:
        """The numbers as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, default=lambda number: number.item()) + "\n"

    def __repr__(self) -> str:
        return f"{'perplexity':<20}{self.perplexity_line}\n{self.result!r}"

    @property
    def perplexity_line(self) -> str:
        """`25.49 +- 0.61 over 2044 tokens in 4 windows`."""
        n_windows = len(self._windows[0])
        windows = f"{n_windows} windows" if n_windows > 1 else "1 window, which tells no error"
        return f"{with_error(self.perplexity, self.perplexity_se)} over {self.n_scored} tokens in {windows}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@shown_in_notebooks("evaluating", "windows")
def evaluate(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    describe: Callable[[Trace], Simulation],
    *,
    n_prompt: int = 0,
    stride: int | None = None,
    n_batch: int = 1,
    predictors: Predictors = (),
    save_trace: str | Path | None = None,
    text_source: dict[str, Any] | None = None,
    force: bool = False,
    compact: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Evaluation:
    """Perplexity of a model under a method, cache state and all, and the run that goes with it.

    One teacher-forced forward pass per window: at each layer the masks of all tokens are chosen in order, each from
    what the layer's own cache held after the token before and from activations that earlier masks have changed already;
    then they are applied at once. Caches of different layers do not depend on each other, so that this equals decoding
    token by token. Each window is a sequence of its own and starts with cold caches.

    Args:
        loaded: the model.
        ids: int64 [window, token], as `dipsim.sparsify.loading.windows` cuts them.
        describe: makes the run on the trace that it is given, for example
            `lambda trace: Simulation(profile, trace, DipCa(density=0.5), "lfu", dram="0.5x")`.
        n_prompt: first tokens of each window, run dense and not scored.
        stride: tokens between the starts of windows, where these overlap; no token is scored twice.
        n_batch: windows in one forward pass.
        predictors: for the method `predictor`, one for each layer.
        save_trace: where the scores are to be kept; replaying them under the same options gives the same masks.
        compact: keep them there in nine bits; then masks, and the run that is told of, are nearly the same.
        text_source: what to say of the text in the trace.
        force: replace an existing trace.
        on_progress: called with the windows done and the windows to do.

    Raises:
        DipsimError: as `Simulation`; no gated MLPs; an output that cannot be written.
    """
    from dipsim.sparsify.bos import begin_with_bos
    from dipsim.sparsify.perplexity import losses, recorded_sites, scored_tokens

    bos = begin_with_bos(loaded.tokenizer, ids)
    scored = scored_tokens(ids, n_prompt, stride, bos=bos)
    plan = describe(Trace.planned(loaded.spec, SITES, ids[:, n_prompt:], n_prompt))
    sites = recorded_sites(plan.masking, loaded.spec)
    with _place(save_trace, loaded.spec, sites, ids[:, n_prompt:].size) as out:
        loss = losses(
            loaded,
            ids,
            out,
            masking=plan.masking,
            choose=plan.loop_masks(),
            about=told_of(plan),
            n_prompt=n_prompt,
            n_batch=n_batch,
            predictors=predictors,
            text_source=text_source,
            force=force,
            compact=compact and save_trace is not None,
            on_progress=on_progress,
        )
        if isinstance(out, Path):
            trace = Trace.open(out)
        else:
            trace = Trace.held(loaded.spec, out, ids[:, n_prompt:], n_prompt, {"kind": "captured"}, told_of(plan))
        run, table = describe(trace), losses_table(ids, loss, scored)
        return Evaluation(table, tokens_sha256(ids, scored), run.run(), run.title, bos)


def told_of(plan: Simulation) -> dict[str, Any]:
    """What a trace says of its masks: the method, and the cache where they depend on one."""
    about, config = methods.options(plan.masking), plan.config
    if plan.masking.looks_at_residency:
        keys = ("policy", "policy_options", "admission", "dram", "budget", "stream_pinned", "context")
        about["cache"] = {key: config[key] for key in keys} | {"profile": config["profile"]["name"]}
    return about


@contextmanager
def _place(
    save_trace: str | Path | None, spec: ModelSpec, sites: Sequence[Site], n_tokens: int
) -> Iterator[Path | dict[str, HeldScores]]:
    """Where scores go: to stay, or for the time of the body, which is in memory where they are few. (Files by the
    hundred cost as much as the layers that fill them.)"""
    if save_trace is not None:
        yield Path(save_trace)
        return
    shapes = {site: (n_tokens, spec.n_layers, site_width(spec, site)) for site in sites}
    if sum(2 * math.prod(shape) for shape in shapes.values()) <= _MOST_HELD_BYTES:
        yield {site: HeldScores.empty(*shape) for site, shape in shapes.items()}
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "evaluated.zarr"
