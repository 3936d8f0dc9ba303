"""Why was a token slow, and what would have helped: its stages, and runs of their own with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dipsim.engine.stages import stage_names
from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array
from dipsim.methods import DipCa, ExpertsCa
from dipsim.planning.setup import Setup
from dipsim.results import Explanation, Result
from dipsim.timeline import PARTS, Looked, OnBlock, OnProgress

if TYPE_CHECKING:
    import pandas as pd

Rework = Callable[[Setup], Setup]
_FIDELITY = ("mlp_error", "retained_magnitude")


class Run(Protocol):
    """Simulates a setup."""

    def __call__(self, setup: Setup, on_progress: OnProgress, *, look: OnBlock | None = None) -> Result:
        """Its result; `look` looks at every block."""


def explain_token(
    setup: Setup, rework: Rework, run: Run, name: str, token: int | None, on_progress: OnProgress
) -> Explanation:
    """One token of a run, and of the same run with one thing changed at a time.

    Args:
        setup: the run.
        rework: asks budget and layout anew where a run has another device or method.
        run: simulates a setup.
        name: the run in words.
        token: index in the trace; None for the slowest that counts.
        on_progress: called now and then with the tokens done and the tokens to do, over all runs.

    Raises:
        DipsimError: no such token is simulated.
    """
    import pandas as pd

    if token is not None and not 0 <= token < setup.n_tokens:
        raise DipsimError(f"token: got {token}; must be at least 0 and below {setup.n_tokens}, the simulated tokens")
    look = _Look(setup, token)
    result = run(setup, on_progress, look=look)
    what_ifs = list(_what_ifs(setup, rework, look.stages, result))
    rows = [_row("as it is", result, look.token)]
    for i, (what_if, changed) in enumerate(what_ifs, 1):

        def progress(done: int, total: int, i: int = i) -> None:
            on_progress(i * total + done, (1 + len(what_ifs)) * total)

        rows.append(_row(what_if, run(changed(), progress), look.token))
    return Explanation(look.token, result.to_dict()["tpot_s"]["p50"], look.stages, pd.DataFrame(rows), name)


def _what_ifs(
    setup: Setup, rework: Rework, stages: pd.DataFrame, result: Result
) -> Iterator[tuple[str, Callable[[], Setup]]]:
    """What makes sense to ask of this run, and the run that answers it."""
    flash, masking = setup.profile.flash, setup.masking
    by_layer = stages.dropna(subset="layer").groupby("layer")[["seconds", "missed_columns"]].sum()
    layer = int(by_layer["seconds"].to_numpy().argmax())
    if by_layer["missed_columns"].iloc[layer]:
        yield f"layer {layer} resident", lambda: setup.with_resident([layer])
    if result.tokens["hits"].sum() < result.tokens["active_columns"].sum() or setup.dram.streamed_pinned_bytes:
        yield "everything resident", setup.all_resident

    def on_flash(**values: float) -> Setup:
        profile = setup.profile.with_values({f"flash.{key}": value for key, value in values.items()})
        return rework(replace(setup, profile=profile))

    reads = result.tokens["flash_reads"].sum() > 0
    depth_matters = flash.latency_s > 0 or any(depth is not None for depth in flash.curves)
    io_depth, most = setup.io_depth, float(flash.queue_depth or np.inf)
    if reads and io_depth is not None and io_depth < most and depth_matters:
        more = 2 * io_depth
        yield f"{more} reads in flight instead of {io_depth}", lambda: rework(replace(setup, io_depth=more))
    elif reads and flash.queue_depth is not None and depth_matters:
        deeper = 2 * flash.queue_depth
        yield f"queue depth {deeper} instead of {flash.queue_depth}", lambda: on_flash(queue_depth=deeper)
    if reads and flash.latency_s > 0:
        yield "Flash latency 0", lambda: on_flash(latency_s=0.0)
    if isinstance(masking, DipCa | ExpertsCa) and masking.rule in ("reweight", "blend") and masking.gamma < 1:
        plain = replace(masking, gamma=1.0)
        yield f"gamma 1 instead of {masking.gamma:g}", lambda: rework(replace(setup, masking=plain))


def _row(what_if: str, result: Result, token: int) -> dict[str, Any]:
    numbers = result.to_dict()
    fidelity = {name: np.nan if (value := numbers[name]) is None else value for name in _FIDELITY}
    return {
        "what_if": what_if,
        "token_s": float(result.tokens["token_s"].iloc[token]),
        "tok_per_s": float(numbers["tok_per_s"]),
        "hit_rate": float(numbers["hit_rate"]),
        **fidelity,
    }


class _Look:
    """Keeps the stages of one token while a run goes on.

    Args:
        setup: the run.
        token: index in the trace; None for the slowest that counts, of equal ones the first.
    """

    stages: pd.DataFrame

    def __init__(self, setup: Setup, token: int | None) -> None:
        self._setup = setup
        self._wanted = token
        self._slowest_s = 0.0
        self.token = -1 if token is None else token

    def __call__(self, looked: Looked) -> None:
        """See `OnBlock`."""
        block, token_s = looked.work.use.block, looked.done.jobs.token_s
        if self._wanted is not None:
            if block.start <= self._wanted < block.stop:
                self.stages = self._taken_apart(looked, self._wanted - block.start)
            return
        counted_s = np.where(looked.is_warm_up, 0.0, token_s)
        t = int(counted_s.argmax())
        if counted_s[t] > self._slowest_s:
            self._slowest_s, self.token = float(counted_s[t]), block.start + t
            self.stages = self._taken_apart(looked, t)

    def _taken_apart(self, looked: Looked, t: int) -> pd.DataFrame:
        import pandas as pd

        use, ahead = looked.work.use, looked.work.ahead
        layers, names = zip(*stage_names(self._setup), strict=True)
        parts = {f"{part}_s": looked.path[part][t] for part in PARTS}

        def both(name: str) -> Float64Array:
            """Of the stage's own reads, and of those ahead for it."""
            own: Float64Array = getattr(looked.done.stages.batches, name)[t]
            return own + _spread(getattr(ahead, name)[t])

        return pd.DataFrame(
            {
                "layer": pd.array(layers, "Int64"),
                "stage": names,
                "seconds": sum(parts.values()),
                **parts,
                "active_columns": _spread(use.n_active[t]).astype(np.int64),
                "missed_columns": _spread(use.n_missed[t]).astype(np.int64),
                "flash_reads": both("n_reads").astype(np.int64),
                "flash_bytes": both("n_bytes"),
            }
        )


def _spread(of_groups: Any) -> Float64Array:
    """What groups have, [layer, group], at their stages: nothing at embedding, attention and LM head."""
    in_layers = np.pad(np.asarray(of_groups, np.float64), ((0, 0), (1, 0)))
    return np.concatenate([[0.0], in_layers.ravel(), [0.0]])
