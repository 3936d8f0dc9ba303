"""More policies that rank columns by one number: chance, faded counts, the k-th last use, fixed counts, scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Float32Array, Float64Array, Int64Array, Uint64Array, scored
from dipsim.policies.protocol import Place, ScorePolicy, register_policy
from dipsim.policies.use_counts import load_use_counts

# A token index stays below this, so that two of them share one float64 exactly.
_TOKENS = 2.0**26
# The smallest float16 above 0, and what a score counts at most, in thresholds of its token.
_LEAST_SCORE, _MOST_THRESHOLDS = 2.0**-24, 4.0

# Uses that lru-k remembers of every column, and weights beyond which sums of scores lose their meaning.
_LONGEST_HISTORY = 64
_HEAVIEST = 1_000_000


_NO_MEMORY: Float64Array = np.empty((0, 0))
_NO_OPTIONS: Float64Array = np.empty(0)
_NO_WORDS: Uint64Array = np.empty(0, np.uint64)


class ScoredState(NamedTuple):
    """A policy's state as the kernels know it, of which they change the arrays: see `kernels.scored.rank_used`."""

    kind: int
    priority: Float64Array
    memory: Float64Array = _NO_MEMORY
    options: Float64Array = _NO_OPTIONS
    words: Uint64Array = _NO_WORDS


class KnownPolicy(ScorePolicy):
    """What the kernels know as a whole, as long as no class derives from it (`SCORED`)."""

    def state(self) -> ScoredState:
        """From `start` on."""
        raise NotImplementedError


@register_policy("random")
@dataclass
class Random(KnownPolicy):
    """Evict any column: the floor that a policy must beat.

    Source: Belady, IBM Systems Journal 5(2), 1966.

    Args:
        seed: the same seed, layer and group give the same victims, from the start of every sequence.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        _check_whole("seed", self.seed, 0)

    def start(self, place: Place) -> None:
        """The chances begin again."""
        super().start(place)
        # The bare bit stream is what numpy keeps the same from version to version.
        self._bits = np.random.PCG64([self.seed, place.layer, *place.group.encode()])

    def state(self) -> ScoredState:
        """Upper and lower word of the stream's state and of its increment."""
        pair = self._bits.state["state"]
        words = [word for key in ("state", "inc") for word in divmod(pair[key], 2**64)]
        return ScoredState(scored.CHANCE, self.priority, words=np.array(words, np.uint64))

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """Fresh random numbers decide."""
        self.priority = self._bits.random_raw(candidates.size).astype(np.float64)
        super().victims(candidates, n_victims, out)


@register_policy("lfu-decay")
@dataclass
class LfuDecay(KnownPolicy):
    """Evict the least used column, uses fading by half every half_life.

    Source: LRFU, Lee et al., IEEE Trans. Computers 50(12), 2001.
    Ties: used longest ago first, then lower index.

    Args:
        half_life: in tokens; counts survive eviction.
    """

    half_life: float = 64.0

    def __post_init__(self) -> None:
        _check_half_life(self.half_life)

    def start(self, place: Place) -> None:
        """Nothing has been used."""
        super().start(place)
        self._fading = _fading(self.half_life * place.n_batches)
        self._last_use: Float64Array = np.full(place.n_columns, -1.0)

    def state(self) -> ScoredState:
        """Last uses, and what a count is multiplied with."""
        return ScoredState(scored.FADED_COUNT, self.priority, self._last_use[None], np.array([self._fading]))

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the faded count: it stays below 1 / (1 - fading), however long the sequence."""
        self.priority *= self._fading
        self.priority[columns] += 1
        self._last_use[columns] = token

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """The lowest counts, and of those at the border the ones used longest ago."""
        counts = self.priority[candidates]
        border = np.partition(counts, n_victims - 1)[n_victims - 1]
        below = candidates & (self.priority < border)
        at_border = candidates & (self.priority == border)
        kernels.choose_victims(self._last_use, at_border, n_victims - int(below.sum()), out)
        out |= below


@register_policy("lru-k")
@dataclass
class LruK(KnownPolicy):
    """Evict the column whose k-th last use is longest ago.

    Source: O'Neil, O'Neil and Weikum, SIGMOD 1993.
    Ties: used longest ago first, then lower index.

    Uses are remembered for the whole sequence, whether or not a column stays; no two uses count as one.

    Args:
        k: uses that count; 1 is `lru`.
    """

    k: int = 2

    def __post_init__(self) -> None:
        _check_whole("k", self.k, 1, _LONGEST_HISTORY)

    def start(self, place: Place) -> None:
        """Nothing has been used."""
        super().start(place)
        self._uses: Float64Array = np.full((self.k, place.n_columns), -1.0)

    def state(self) -> ScoredState:
        """The last k uses."""
        return ScoredState(scored.KTH_USE, self.priority, self._uses)

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the time of the k-th last use, then that of the last."""
        self._uses[:-1, columns] = self._uses[1:, columns]
        self._uses[-1, columns] = token
        self.priority[columns] = self._uses[0, columns] * _TOKENS + self._uses[-1, columns]


@register_policy("static")
@dataclass
class Static(KnownPolicy):
    """Keep a fixed hot set, counted in a calibration prefix or a file.

    Source: as PowerInfer's hot neurons, Song et al., SOSP 2024.
    Ties: lower index first.

    Args:
        calibration_tokens: the first tokens ever seen, over all sequences, whose uses are counted; afterwards
            priorities never change.
        path: an .npz file of use counts, one array "<layer>/<group>" per cache, as `save_use_counts` writes it;
            nothing is counted then.
    """

    calibration_tokens: int = 32
    path: str | None = None

    def __post_init__(self) -> None:
        _check_whole("calibration_tokens", self.calibration_tokens, 1)
        if self.path is not None and not Path(self.path).is_file():
            raise DipsimError(f"path: got '{self.path}'; must be a file")
        self._place: Place | None = None

    def start(self, place: Place) -> None:
        """What was counted is kept."""
        if place == self._place:
            return
        super().start(place)
        self._place = place
        self._n_left: Float64Array = np.array([float(self.calibration_tokens * place.n_batches)])
        if self.path is not None:
            self.priority = load_use_counts(self.path, place)
            self._n_left[0] = 0

    def state(self) -> ScoredState:
        """How many uses are still counted."""
        return ScoredState(scored.FIXED_COUNT, self.priority, options=self._n_left)

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the use count of the calibration."""
        if self._n_left[0] > 0:
            self.priority[columns] += 1
            self._n_left[0] -= 1


@register_policy("magnitude")
@dataclass
class Magnitude(KnownPolicy):
    """Evict the column of lowest fading average score.

    Source: exponential smoothing (Brown, 1956) of scores.
    Ties: lower index first.

    Where a group has no scores (it is dense) all columns are equal.

    Args:
        half_life: tokens after which a score weighs half.
    """

    half_life: float = 32.0
    needs_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_half_life(self.half_life)

    def start(self, place: Place) -> None:
        """Nothing has been seen."""
        super().start(place)
        self._place = place

    def state(self) -> ScoredState:
        """What an average is multiplied with."""
        return ScoredState(scored.AVERAGE_SCORE, self.priority, options=np.array([_fading(self.half_life)]))

    def on_scores(self, scores: Float32Array, token: int) -> None:
        """Priority is the average score."""
        fading, own = _fading(self.half_life), self._place.part_at(token)
        self.priority[own] *= fading
        self.priority[own] += (1 - fading) * scores[own].astype(np.float64)


@register_policy("magnitude-blend")
@dataclass
class MagnitudeBlend(KnownPolicy):
    """Evict the lowest blend of a long and a short average and last score.

    Source: dipsim's repository, benchmarks/studies/README.md, "Beating LFU".
    Ties: lower index first.

    A score counts as a multiple of the token's threshold, the score of rank n where n columns are active, and at most
    as four of them: tokens weigh alike, and outliers little. Columns that were not active count too, which no count of
    uses sees. The defaults were tuned there; admission `priority` suits it better than `always`. Where a group has no
    scores (it is dense) all columns are equal.

    Args:
        half_life: of the long average, in tokens.
        short_half_life: of the short average, in tokens.
        short_weight: of the short average; the long one weighs 1.
        last_weight: of the last token.
    """

    half_life: float = 64.0
    short_half_life: float = 10.0
    short_weight: float = 0.8
    last_weight: float = 0.15
    needs_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_half_life(self.half_life)
        _check_half_life(self.short_half_life, "short_half_life")
        _check_weight("short_weight", self.short_weight)
        _check_weight("last_weight", self.last_weight)

    def start(self, place: Place) -> None:
        """Nothing has been seen."""
        super().start(place)
        self._place = place
        self._scores: Float32Array | None = None
        self._averages: Float64Array = np.zeros((2, place.n_columns))

    def state(self) -> ScoredState:
        """The averages, what they are multiplied with, and what they weigh."""
        options = [_fading(self.half_life), _fading(self.short_half_life), self.short_weight, self.last_weight]
        return ScoredState(scored.BLENDED_SCORE, self.priority, self._averages, np.array(options, np.float64))

    def on_scores(self, scores: Float32Array, token: int) -> None:
        """Kept until it is known how many columns are active."""
        self._scores = scores[self._place.part_at(token)]

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the blend."""
        if self._scores is None:
            return
        values, self._scores = self._scores.astype(np.float64), None
        threshold = np.partition(values, values.size - columns.size)[values.size - columns.size]
        values /= max(threshold, _LEAST_SCORE)
        np.minimum(values, _MOST_THRESHOLDS, out=values)
        own = self._place.part_at(token)
        long, short = self._averages
        for average, half_life in ((long, self.half_life), (short, self.short_half_life)):
            fading = _fading(half_life)
            average[own] *= fading
            average[own] += (1 - fading) * values
        self.priority[own] = long[own] + self.short_weight * short[own]
        self.priority[own] += self.last_weight * values


SCORED: tuple[type[KnownPolicy], ...] = (Random, LfuDecay, LruK, Static, Magnitude, MagnitudeBlend)


def _fading(half_life: float) -> float:
    return float(2.0 ** (-1 / half_life))


def _check_half_life(half_life: float, name: str = "half_life") -> None:
    if not 0 < half_life < math.inf:
        raise DipsimError(f"{name}: got {half_life}; must be above 0 tokens")


def _check_weight(name: str, weight: float) -> None:
    if not 0 <= weight <= _HEAVIEST:
        raise DipsimError(f"{name}: got {weight}; a weight from 0 to {_HEAVIEST:,}")


def _check_whole(name: str, value: object, least: int, most: int = 2**63 - 1) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise DipsimError(f"{name}: got {value}; must be a whole number from {least} to {most:,}")
