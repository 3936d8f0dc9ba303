"""How far is replaying recorded scores from a model whose activations its own masks change: both on the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.evaluation import clusters
from dipsim.evaluation.evaluate import OnProgress, evaluate
from dipsim.kernels import Float64Array
from dipsim.model.groups import SITES
from dipsim.progress import shown_in_notebooks
from dipsim.results import Result
from dipsim.simulation import Simulation
from dipsim.trace import Certificate, Gap, Trace, options_of
from dipsim.version import __version__

if TYPE_CHECKING:
    from dipsim.sparsify.bos import Bos
    from dipsim.sparsify.hooks import Predictors
    from dipsim.sparsify.loading import LoadedModel

# Each is a ratio of two sums over tokens, by their columns in `Result.tokens`; `n` counts tokens. The
# MLP error is the root of one.
_RATIOS = {
    "hit_rate": ("hits", "active_columns"),
    "byte_hit_rate": ("hit_bytes", "active_bytes"),
    "flash_bytes_per_token": ("flash_bytes", "n"),
    "tok_per_s": ("n", "token_s"),
    "mlp_error": ("squared_error", "n"),
    "mlp_density": ("density", "n"),
}


@dataclass(frozen=True)
class Drift:
    """Both runs, and what lies between them.

    Attributes:
        replay: the run of the recorded scores.
        closed_loop: the run of the scores that the model computes under these very masks.
        captured_under: the method under which the trace was recorded, as plain data.
        title: the run in one line.
        n_sequences: how many were run.
        bos: each begins with the BOS token.
    """

    replay: Result
    closed_loop: Result
    captured_under: Any
    title: str
    n_sequences: int
    bos: bool

    @property
    def gaps(self) -> dict[str, Gap]:
        """Hit rate, byte hit rate, Flash bytes per token, tok/s, MLP error (where known) and density of both."""
        return gaps_of(self.replay.counted, self.closed_loop.counted)

    @property
    def certificate(self) -> Certificate:
        """What the trace may say of itself: `trace.certify(drift.certificate)`."""
        return Certificate(
            options=options_of(self.replay.config),
            n_sequences=self.n_sequences,
            n_tokens=len(self.replay.tokens),
            gaps=self.gaps,
            dipsim_version=__version__,
        )

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        certificate = self.certificate
        gaps = {
            name: gap.model_dump() | {"gap": gap.gap, "relative": gap.relative}
            for name, gap in certificate.gaps.items()
        }
        own = {"gaps": gaps, "captured_under": self.captured_under, "bos": self.bos, "config": self.replay.config}
        return own | certificate.model_dump(exclude={"gaps", "options"})

    def __repr__(self) -> str:
        rows = {name: gap.model_dump() | {"gap": gap.gap} for name, gap in self.gaps.items()}
        return f"{self.title}\n{pd.DataFrame(rows).T.to_string()}"


@shown_in_notebooks("running", "windows")
def drift(
    loaded: LoadedModel,
    text: str,
    trace: Trace,
    describe: Callable[[Trace], Simulation],
    *,
    n_sequences: int | None = None,
    n_batch: int = 1,
    predictors: Predictors = (),
    bos: Bos = "auto",
    on_progress: OnProgress = lambda done, total: None,
) -> Drift:
    """Replays the first sequences of a trace, and runs the model on the same tokens with the mask in the loop.

    Args:
        loaded: the model that the trace was recorded from.
        text: the text that it was recorded on, cut into windows as `dipsim capture` does.
        trace: sequences of one length.
        describe: makes the run on the trace that it is given.
        n_sequences: how many of the trace's sequences; None for all.
        n_batch: windows in one forward pass.
        predictors: for the method `predictor`, one for each layer.
        bos: `auto` for what the trace says; `yes` and `no` refuse a trace that says otherwise.
        on_progress: called with the windows done and the windows to do.

    Raises:
        DipsimError: the model or the text is another than the trace's, its sequences differ in length, or as
            `Simulation` and `evaluate`.
    """
    sample = trace if n_sequences is None else _first(trace, n_sequences)
    ids, n_prompt = _windows(loaded, text, sample, _bos_of(trace, bos))
    replay = describe(sample)
    planned = describe(Trace.planned(loaded.spec, SITES, ids[:, n_prompt:], n_prompt))
    _check_same_model(replay.config["model"], planned.config["model"], trace)
    found = evaluate(
        loaded, ids, describe, n_prompt=n_prompt, n_batch=n_batch, predictors=predictors, on_progress=on_progress
    )
    return Drift(replay.run(), found.result, trace.masking, replay.title, len(ids), found.bos)


def gaps_of(replay: pd.DataFrame, closed_loop: pd.DataFrame) -> dict[str, Gap]:
    """From the counted tokens of both runs. A quantity is a ratio of sums, or its root; what one sequence does to it is
    taken to first order, which for sums over equally many columns or tokens is its own ratio, exactly.
    """
    found = {}
    for name, (top, bottom) in _RATIOS.items():
        if name == "mlp_error" and replay[top].isna().any():  # scores do not tell it
            continue
        both = (_ratio(frame, top, bottom) for frame in (replay, closed_loop))
        (replayed, by_replay), (looped, by_loop) = map(_root, both) if name == "mlp_error" else both
        reach = clusters.reach(by_replay - by_loop)
        gap = replayed - looped
        interval = None if reach is None else [gap - reach, gap + reach]
        found[name] = Gap(replay=replayed, closed_loop=looped, interval=interval)
    return found


def _ratio(tokens: pd.DataFrame, top: str, bottom: str) -> tuple[float, Float64Array]:
    """A ratio of sums, and what each sequence adds to it, float64 [sequence]."""
    sums = tokens.assign(n=1.0).groupby("sequence")[[top, bottom]].sum().to_numpy(np.float64)
    tops, bottoms = sums.T
    if not bottoms.any():  # nothing is used, so that nothing is missed
        return 1.0, np.zeros(len(sums))
    return clusters.ratio(tops, bottoms)


def _root(of: tuple[float, Float64Array]) -> tuple[float, Float64Array]:
    """Of a ratio, and of what each sequence adds."""
    ratio, added = of
    root = ratio**0.5
    return root, added / (2 * root) if root else added


def _first(trace: Trace, n_sequences: int) -> Trace:
    if not 1 <= n_sequences <= len(trace.sequences):
        raise DipsimError(f"sequences: got {n_sequences}; the trace has {len(trace.sequences)}, at least one is needed")
    return trace.first(n_sequences)


def _bos_of(trace: Trace, wanted: Bos) -> Bos:
    """As the trace was captured; what says nothing of it has none."""
    has_bos = isinstance(trace.source, dict) and trace.source.get("bos") is True
    own: Bos = "yes" if has_bos else "no"
    if wanted not in ("auto", own):
        raise DipsimError(f"bos: got '{wanted}'; the trace {trace.path} was captured with '{own}', which 'auto' takes")
    return own


def _windows(loaded: LoadedModel, text: str, trace: Trace, bos: Bos) -> tuple[NDArray[np.int64], int]:
    """The text's tokens, int64 [sequence, prompt and recorded token], and the tokens of a prompt."""
    from dipsim.sparsify.loading import windows

    lengths = {(sequence.prompt_length, sequence.stop - sequence.start) for sequence in trace.sequences}
    if len(lengths) > 1:
        raise DipsimError(
            f"{trace.path}: its sequences or prompts differ in length; a text is cut into windows of one length"
        )
    ((n_prompt, n_recorded),) = lengths
    ids = windows(loaded.tokenizer, text, n_prompt + n_recorded, len(trace.sequences), bos=bos)
    recorded = trace.token_ids.reshape(len(ids), n_recorded)
    differs = np.argwhere(ids[:, n_prompt:] != recorded)
    if len(differs):
        sequence, token = differs[0]
        raise DipsimError(
            f"text: sequence {sequence}, token {token}: got id {ids[sequence, n_prompt + token]}, the trace has "
            f"{recorded[sequence, token]}; give the text and the model that it was captured from"
        )
    return ids, n_prompt


def _check_same_model(replayed: dict[str, Any], looped: dict[str, Any], trace: Trace) -> None:
    """Both runs must be of one shape and of the same bits; names may differ."""
    for key, value in replayed.items():
        if key != "name" and looped[key] != value:
            raise DipsimError(
                f"model: {key}: got {looped[key]}, the trace {trace.path} has {value}; --model sets it for both"
            )
