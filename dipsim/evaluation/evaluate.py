"""Perplexity with the mask in the loop, then the simulated run of the very same tokens."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipsim import methods
from dipsim.model.groups import SITES
from dipsim.results import Result
from dipsim.simulation import Simulation
from dipsim.trace import Trace

if TYPE_CHECKING:
    from dipsim.sparsify.hooks import Predictors
    from dipsim.sparsify.loading import LoadedModel

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """The outcome: how well the model predicts, and what the device makes of it.

    Attributes:
        loss: mean cross-entropy of the scored tokens, in nats.
        n_scored: how many these are.
        result: the run, of the same tokens under the same masks.
        title: the run in one line.
        bos: every window begins with the BOS token.
    """

    loss: float
    n_scored: int
    result: Result
    title: str
    bos: bool

    @property
    def perplexity(self) -> float:
        """exp of the mean loss."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the result, and those of the text; None where a thing was not modelled or is not finite."""
        perplexity = self.perplexity if math.isfinite(self.perplexity) else None
        own = {"perplexity": perplexity, "loss": self.loss, "n_scored_tokens": self.n_scored, "bos": self.bos}
        return own | self.result.to_dict()

    def to_json(self) -> str:
        """The numbers as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, default=lambda number: number.item()) + "\n"

    def __repr__(self) -> str:
        return f"{'perplexity':<20}{self.perplexity:.3f} over {self.n_scored} tokens\n{self.result!r}"


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
    from dipsim.sparsify.perplexity import losses, scored_tokens

    bos = begin_with_bos(loaded.tokenizer, ids)
    scored = scored_tokens(ids, n_prompt, stride, bos=bos)
    plan = describe(Trace.planned(loaded.spec, SITES, ids[:, n_prompt:], n_prompt))
    with _place(save_trace) as out:
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
        run = describe(Trace.open(out))
        return Evaluation(float(loss[scored].mean()), int(scored.sum()), run.run(), run.title, bos)


def told_of(plan: Simulation) -> dict[str, Any]:
    """What a trace says of its masks: the method, and the cache where they depend on one."""
    about, config = methods.options(plan.masking), plan.config
    if plan.masking.looks_at_residency:
        keys = ("policy", "policy_options", "admission", "dram", "budget", "stream_pinned", "context")
        about["cache"] = {key: config[key] for key in keys} | {"profile": config["profile"]["name"]}
    return about


@contextmanager
def _place(save_trace: str | Path | None) -> Iterator[Path]:
    """Where the trace goes: to stay, or for the time of the body."""
    if save_trace is not None:
        yield Path(save_trace)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "evaluated.zarr"
