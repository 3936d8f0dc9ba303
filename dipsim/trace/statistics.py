"""What are a trace's scores like: sizes, how unevenly columns are used, and how long a token's columns stay in use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int64Array, Uint16Array
from dipsim.model.groups import n_kept, site_width
from dipsim.progress import shown_in_notebooks
from dipsim.trace.reading import Trace

QUANTILES = {"q25": 0.25, "q75": 0.75, "q90": 0.9, "q95": 0.95, "q99": 0.99}
LAGS = (1, 10, 100)
# What is looked at where nobody says which layers.
_N_LAYERS = 8


@shown_in_notebooks("reading scores", "layers")
def trace_statistics(
    trace: Trace | str | Path,
    keep: float = 0.5,
    layers: Iterable[int] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Statistics of the scores, and of the masks that keep the best columns of each token.

    Args:
        trace: from anywhere, or its path or name.
        keep: share of the columns that is active, in (0, 1).
        layers: some of its layers, of a router's those that have one; eight at equal distances, first and last among
            them, by default.
        on_progress: is called with the (site, layer)s done and their total.

    Returns:
        One row per site and layer, NaN where the trace is too short to say:
        `median`, `rms` of the scores; `q25` to `q99`, quantiles over the median;
        `top_quarter_share`, share of all selections that goes to the quarter of columns that is selected most;
        `columns_for_80`, share of the columns that is enough for 80 % of the selections;
        `overlap_1`, `overlap_10`, `overlap_100`, share of a token's active columns that are active so many tokens later
        in the same sequence; `overlap_other`, in another sequence;
        `static_hit_rate`, share of selections that fall on the half of columns selected most in other sequences.

    Raises:
        DipsimError: `keep` is out of range or takes columns whose scores are not known, or there is no such layer.
    """
    if not 0 < keep < 1:
        raise DipsimError(f"keep: got {keep:g}; above 0 and below 1")
    trace = trace if isinstance(trace, Trace) else Trace.open(trace)
    for site in trace.sites:
        n_columns = site_width(trace.model, site)
        if trace.chosen_per_token is not None and n_kept(keep, n_columns) > trace.chosen_per_token:
            raise DipsimError(
                f"keep: got {keep:g}; '{trace.path}' has scores of {trace.chosen_per_token} of {n_columns} columns for "
                f"each token: at most {math.ceil(1e4 * trace.chosen_per_token / n_columns) / 1e4:g}"
            )
    chosen = spread_layers(trace.model.n_layers) if layers is None else list(layers)
    for layer in chosen:
        if not 0 <= layer < trace.model.n_layers:
            raise DipsimError(f"layers: got {layer}; the trace has layers 0 to {trace.model.n_layers - 1}")
    mixed = trace.model.layers_with_experts
    places = [(site, layer) for site in trace.sites for layer in chosen if site != "router" or layer in mixed]
    rows = []
    for done, (site, layer) in enumerate(places, start=1):
        depth = layer / max(1, trace.model.n_layers - 1)
        rows.append({"site": site, "layer": layer, "depth": depth, "keep": keep} | _of_layer(trace, site, layer, keep))
        on_progress(done, len(places))
    return pd.DataFrame(rows)


def spread_layers(n_layers: int) -> Sequence[int]:
    """Some of the layers at equal distances, first and last among them."""
    return sorted({round(layer) for layer in np.linspace(0, n_layers - 1, min(n_layers, _N_LAYERS)).tolist()})


def _of_layer(trace: Trace, site: str, layer: int, keep: float) -> dict[str, float]:
    sizes, uses = _Sizes(), _Uses()
    for block in trace.blocks(trace.n_tokens):
        scores = trace.read(site, block.start, block.stop, layer)
        sizes.add(scores)
        uses.add(_masks(scores, keep), block.sequence)
    return sizes.found() | uses.found()


def _masks(scores: Uint16Array, keep: float) -> BoolArray:
    masks = np.empty(scores.shape, np.bool_)
    for own, mask in zip(scores, masks, strict=True):
        kernels.top_k(own, n_kept(keep, own.size), mask)
    return masks


class _Sizes:
    """Counts every float16 there is, so that quantiles are exact and memory does not grow."""

    def __init__(self) -> None:
        self._counts = np.zeros(1 << 16, np.int64)

    def add(self, scores: Uint16Array) -> None:
        self._counts += np.bincount(scores.reshape(-1), minlength=self._counts.size)

    def found(self) -> dict[str, float]:
        counts = self._counts[: int(kernels.LARGEST_FINITE) + 1]
        values = np.arange(counts.size, dtype=np.uint16).view(np.float16).astype(np.float64)
        below = np.cumsum(counts)
        median, *others = (
            float(values[np.searchsorted(below, chance * below[-1])]) for chance in (0.5, *QUANTILES.values())
        )
        rms = float(np.sqrt((counts * values**2).sum() / below[-1]))
        ratios = {name: other / median if median else np.nan for name, other in zip(QUANTILES, others, strict=True)}
        return {"median": median, "rms": rms} | ratios


class _Uses:
    """Masks block after block; only as many of the last as the longest lag are kept."""

    def __init__(self) -> None:
        self._sequence = -1
        self._n_tokens = np.zeros(2, np.int64)  # of all sequences: their number, and the sum of its squares
        self._again = np.zeros((len(LAGS), 2), np.int64)  # for each lag: active again, and active

    def add(self, masks: BoolArray, sequence: int) -> None:
        """The next tokens, all of one sequence."""
        if self._sequence < 0:
            self._by_half = np.zeros((2, masks.shape[1]), np.int64)  # of even and of odd sequences
            self._squares = 0
            self._own, self._n_own = np.zeros(masks.shape[1], np.int64), 0
        if sequence != self._sequence:
            self._end_sequence()
            self._sequence, self._last = sequence, masks[:0]
        self._own += np.count_nonzero(masks, axis=0)
        self._n_own += len(masks)
        joined = np.concatenate([self._last, masks])
        for counts, lag in zip(self._again, LAGS, strict=True):
            first = max(len(self._last), lag)  # of the new ones that have a token so many before
            later, earlier = joined[first:], joined[first - lag : max(0, len(joined) - lag)]
            counts += np.count_nonzero(later & earlier), np.count_nonzero(later)
        self._last = joined[-max(LAGS) :]

    def _end_sequence(self) -> None:
        self._by_half[self._sequence % 2] += self._own
        self._squares += int((self._own**2).sum())
        self._n_tokens += self._n_own, self._n_own**2
        self._own, self._n_own = np.zeros_like(self._own), 0

    def found(self) -> dict[str, float]:
        self._end_sequence()
        counts = self._by_half.sum(axis=0)
        most_first = np.sort(counts)[::-1]
        n, total = counts.size, int(counts.sum())
        n_pairs = (int(self._n_tokens[0]) ** 2 - int(self._n_tokens[1])) * total / int(self._n_tokens[0])
        overlaps = {f"overlap_{lag}": _share(*self._again[i]) for i, lag in enumerate(LAGS)}
        return {
            "top_quarter_share": _share(most_first[: max(1, n // 4)].sum(), total),
            "columns_for_80": float(np.searchsorted(np.cumsum(most_first), 0.8 * total) + 1) / n,
            **overlaps,
            "overlap_other": _share(int((counts**2).sum()) - self._squares, n_pairs),
            "static_hit_rate": _share(_static_hits(self._by_half), total) if self._sequence > 0 else np.nan,
        }


def _static_hits(by_half: Int64Array) -> int:
    """Selections in one half of the sequences that fall on the half of columns that the others select most."""
    n_hits = 0
    for own, other in ((0, 1), (1, 0)):
        cached = np.argsort(-by_half[other], kind="stable")[: by_half.shape[1] // 2]
        n_hits += int(by_half[own, cached].sum())
    return n_hits


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan
