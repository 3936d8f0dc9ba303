"""A small real runtime, to check the simulator against: weights on disk, a cache of columns in memory, one core.

It shares no code with the simulator. For every (token, layer, group): choose the active columns from their scores and
from what is in memory; read the missed ones from the file, past the page cache, with a fixed number of requests in
flight; copy those that stay into their slots; multiply all active columns by their scores. Attention, the LM head and
the row of the embedding table are real too; keys and values are left out. Either reads come first, then products, which
is the simulator's overlap `none`; or a second thread reads: while what is in memory is gathered for the products that
follow, `io`; or while columns are multiplied as they arrive, `pipelined`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.host.disk import Disk, Int64Array, form_reads
from benchmarks.host.weights import Columns, Float32Array, Host, Places

# Columns and tokens share an integer with a count, which then says who leaves first.
_FIELD = 1 << 20


def best(values: Float32Array, n: int) -> Int64Array:
    """The n largest of values that are not negative, ascending by index; of equal ones the lower index."""
    if n >= values.size:
        return np.arange(values.size)
    # Bits of such floats ascend with them.
    keys = -(values.view(np.int32).astype(np.int64) * _FIELD + (_FIELD - 1 - np.arange(values.size)))
    return np.sort(np.argpartition(keys, n)[:n])


class Cache:
    """Which columns of one (layer, group) are in memory, and in which slot.

    Every active column enters while there is room; of the others leaves who was used least often (`lfu`; `lru` does not
    ask), of those who was used longest ago, of those the lower index.
    """

    def __init__(self, n_columns: int, n_slots: int, policy: str) -> None:
        self._counts = policy == "lfu"
        self.slots: Int64Array = np.full(n_columns, -1)  # of each column; -1: not in memory
        self._free: Int64Array = np.arange(n_slots)
        self._uses = np.zeros(n_columns, np.int64)
        self._last = np.zeros(n_columns, np.int64)

    def update(self, active: Int64Array, scores: Float32Array, token: int) -> None:
        """A token has used these columns (ascending)."""
        self._uses[active] += 1
        self._last[active] = token
        missed = active[self.slots[active] < 0]
        self._evict(active, missed.size - self._free.size)
        entering = missed[best(scores[missed], self._free.size)]
        self.slots[entering], self._free = self._free[: entering.size], self._free[entering.size :]

    def _evict(self, active: Int64Array, n: int) -> None:
        idle = self.slots >= 0
        idle[active] = False
        candidates = np.flatnonzero(idle)
        if n <= 0 or candidates.size == 0:
            return
        keys = (self._uses[candidates] * self._counts * _FIELD + self._last[candidates]) * _FIELD + candidates
        victims = candidates if n >= candidates.size else candidates[np.argpartition(keys, n)[:n]]
        self._free = np.concatenate([self._free, self.slots[victims]])
        self.slots[victims] = -1


@dataclass(frozen=True)
class Choice:
    """What a setting says of one (layer, group).

    Attributes:
        name, layer: its matrix.
        site: the scores that choose its columns; None where all are active.
        n_active: columns that a token uses.
        gamma: factor on scores of columns that are not in memory.
        n_slots: columns that fit into memory.
        policy: who leaves.
        n_regions: parts of the file that hold a piece of each column.
        n_ahead: columns that are read before their layer begins, at most: the best of the token before.
    """

    name: str
    layer: int
    site: str | None
    n_active: int
    gamma: float
    n_slots: int
    policy: str = "lfu"
    n_regions: int = 1
    n_ahead: int = 0


@dataclass
class Measured:
    """What one token took and moved."""

    token_s: float = 0.0
    flash_s: float = 0.0
    select_s: float = 0.0
    multiply_s: float = 0.0
    n_missed: int = 0
    n_reads: int = 0
    n_bytes: int = 0


@dataclass(frozen=True)
class Plan:
    """How one (layer, group) gets its columns for a token.

    Attributes:
        starts, n_bytes: reads, from the matrix' own start.
        n_missed: columns that were not in memory.
        pieces: of each region, the active columns and where their pieces are: those in memory first, in the order of
            where they are.
    """

    starts: Int64Array
    n_bytes: Int64Array
    n_missed: int
    pieces: list[tuple[Int64Array, Columns]]


@dataclass(frozen=True)
class Ahead:
    """Columns (ascending) that are being read, where each will be, and the seconds that it takes."""

    columns: Int64Array
    sources: Int64Array
    flash_s: Future[float]


class Part:
    """One (layer, group) at work: a matrix, how its columns are chosen, and those of them in memory from `place` on."""

    def __init__(self, host: Host, choice: Choice, place: int, gap_bytes: int) -> None:
        self.choice, self.matrix = choice, host.matrices[choice.name, choice.layer]
        self.cache = Cache(self.matrix.n_columns, choice.n_slots, choice.policy)
        self._piece_bytes = self.matrix.column_bytes // choice.n_regions
        self._lasting: Plan | None = None
        self._ahead: Ahead | None = None
        self._host, self._place, self._gap_bytes = host, place, gap_bytes

    def choose(self, scores: Float32Array) -> Int64Array:
        """Active columns, ascending."""
        kept = self.cache.slots >= 0
        return best(np.where(kept, scores, scores * np.float32(self.choice.gamma)), self.choice.n_active)

    def plan(self, active: Int64Array, scores: Float32Array, token: int) -> Plan:
        """What is read, and from where to where the active columns are taken; the cache is that after the token."""
        width, before = self._piece_bytes, self.cache.slots[active]
        is_missed = before < 0
        is_ahead = is_missed & np.isin(active, self._ahead.columns) if self._ahead else np.zeros_like(is_missed)
        is_read = is_missed & ~is_ahead
        missed = active[is_read]
        self.cache.update(active, scores, token)
        after = self.cache.slots[active]
        all_starts, all_bytes, pieces = [], [], []
        n_reads, landing = 0, self._host.buffer
        for region in range(self.choice.n_regions):
            starts, n_bytes = form_reads(missed, width, self._gap_bytes, self._host.max_read_bytes)
            edges = np.stack([missed * width, (missed + 1) * width], axis=1)
            first, last = np.searchsorted(starts, edges - [0, 1], side="right").T - 1
            landed = landing + np.cumsum(n_bytes) - n_bytes - starts
            slots = self._place + region * width + np.stack([before, after]) * self.matrix.column_bytes
            sources, reads = slots[0], np.zeros((active.size, 2), np.int64)
            sources[is_read] = landed[first] + edges[:, 0]
            if self._ahead:
                sources[is_ahead] = self._ahead.sources[np.searchsorted(self._ahead.columns, active[is_ahead])]
            reads[is_read] = n_reads + np.stack([first, last + 1], axis=1)
            places = np.where(after < 0, sources, slots[1])
            order = np.argsort(sources)
            pieces.append((active[order], Columns(sources[order], places[order], reads[order])))
            all_starts.append(region * self.matrix.n_columns * width + starts)
            all_bytes.append(n_bytes)
            n_reads, landing = n_reads + starts.size, landing + int(n_bytes.sum())
        return Plan(np.concatenate(all_starts), np.concatenate(all_bytes), int(is_missed.sum()), pieces)

    def read_ahead(self, disk: Disk, before: Float32Array, reader: Executor, measured: Measured) -> None:
        """Begins to read the columns that are not in memory and had the highest scores one token before."""
        host, width = self._host, self.matrix.column_bytes
        guess = np.where(self.cache.slots < 0, before, np.float32(0))
        columns = best(guess, self.choice.n_ahead)
        columns = columns[guess[columns] > 0]
        starts, n_bytes = form_reads(columns, width, self._gap_bytes, host.max_read_bytes)
        place = host.ahead[self.choice.name, self.choice.layer % 2]
        landed = place + np.cumsum(n_bytes) - n_bytes - starts
        sources = landed[np.searchsorted(starts, columns * width, side="right") - 1] + columns * width
        arrived = np.zeros(starts.size, np.bool_)
        fetch = partial(host.fetch, disk, self.matrix, starts, n_bytes, place, arrived)
        self._ahead = Ahead(columns, sources, reader.submit(fetch))
        measured.n_reads += starts.size
        measured.n_bytes += int(n_bytes.sum())

    def prepare(self, scores: Float32Array, token: int) -> Plan:
        """The plan of a token. Where all columns are used, nothing changes once the cache is full: the plan lasts."""
        if self._lasting is not None:
            return self._lasting
        plan = self.plan(self.choose(scores), scores, token)
        if self.choice.site is None and token > 0:
            self._lasting = plan
        return plan

    def step(
        self,
        disk: Disk,
        scores: Float32Array,
        token: int,
        measured: Measured,
        reader: Executor | None = None,
        gathers: bool = False,
        then: Callable[[], None] = lambda: None,
    ) -> Float32Array:
        """One token: the sum of the active columns, each times its score.

        Args:
            disk: where the weights are.
            scores: float32 [column].
            token: index in the sequence.
            measured: is added to.
            reader: reads while columns that are there are multiplied; None to read first.
            gathers: whether they are only gathered meanwhile, and multiplied when all have come.
            then: is called when the reads have been handed over.
        """
        started, host = time.perf_counter(), self._host
        plan = self.prepare(scores, token)
        measured.select_s += time.perf_counter() - started
        arrived = np.zeros(plan.starts.size, np.bool_)
        fetch = partial(host.fetch, disk, self.matrix, plan.starts, plan.n_bytes, host.buffer, arrived)
        pending = None if reader is None else reader.submit(fetch)
        flash_s = 0.0 if pending else fetch()
        then()
        if self._ahead and not plan.starts.size:  # else they have come when the last of the others have
            self._ahead.flash_s.result()
        started, pieces = time.perf_counter(), plan.pieces
        if gathers:
            pieces = host.gather(pieces, self._piece_bytes)
            measured.multiply_s += time.perf_counter() - started
            flash_s, pending = pending.result() if pending else flash_s, None
            started = time.perf_counter()
        out = [host.memory.multiply(columns, scores[active], self._piece_bytes, arrived) for active, columns in pieces]
        measured.multiply_s += time.perf_counter() - started
        measured.flash_s += pending.result() if pending else flash_s
        if self._ahead:
            measured.flash_s += self._ahead.flash_s.result()
            self._ahead = None
        measured.n_missed += plan.n_missed
        measured.n_reads += plan.starts.size
        measured.n_bytes += int(plan.n_bytes.sum())
        return np.concatenate(out)


class Runtime:
    """A setting on this machine, ready to decode.

    Args:
        host: the model.
        choices: what is kept and chosen, layer by layer.
        gap_bytes: bytes between two wanted columns that are read rather than skipped.
        reader, gathers: see `Part.step`.
    """

    def __init__(
        self,
        host: Host,
        choices: list[Choice],
        gap_bytes: int,
        reader: Executor | None = None,
        gathers: bool = False,
    ) -> None:
        self._host, self._reader, self._gathers = host, reader, gathers
        places = Places(host.caches)
        self.parts = []
        for choice in choices:
            width = host.matrices[choice.name, choice.layer].column_bytes
            self.parts.append(Part(host, choice, places.take(choice.n_slots * width), gap_bytes))

    def decode(self, disk: Disk, ids: Int64Array, scores: dict[str, Float32Array]) -> list[Measured]:
        """Token after token of one sequence.

        Args:
            disk: where the weights are.
            ids: int64 [token], rows of the embedding table.
            scores: site -> float32 [token, layer, column].
        """
        return [self._token(disk, token, int(row), scores) for token, row in enumerate(ids)]

    def _token(self, disk: Disk, token: int, row: int, scores: dict[str, Float32Array]) -> Measured:
        measured, started = Measured(), time.perf_counter()
        disk.forget()
        self._embed(disk, row, measured)
        ahead = partial(self._read_ahead, disk, token, scores, measured)
        ahead(0)
        for part, after in zip(self.parts, [*self.parts[1:], None], strict=True):
            layer = part.choice.layer
            if part.choice.name == "up_gate":
                self._pinned("attention", layer, measured)
            is_last = after is not None and after.choice.layer > layer
            then = partial(ahead, layer + 1) if is_last else partial(ahead, -1)
            part.step(disk, self._factors(part, token, scores), token, measured, self._reader, self._gathers, then)
        self._pinned("head", 0, measured)
        measured.token_s = time.perf_counter() - started
        return measured

    def _read_ahead(
        self, disk: Disk, token: int, scores: dict[str, Float32Array], measured: Measured, layer: int
    ) -> None:
        """For a layer, if there is one and a token before."""
        for part in self.parts:
            if part.choice.layer == layer and part.choice.n_ahead and token > 0 and self._reader:
                part.read_ahead(disk, self._factors(part, token - 1, scores), self._reader, measured)

    def _embed(self, disk: Disk, row: int, measured: Measured) -> None:
        table = self._host.matrices["embedding", 0]
        starts, n_bytes = form_reads(np.array([row]), table.column_bytes, 0, self._host.max_read_bytes)
        measured.flash_s += self._host.fetch(disk, table, starts, n_bytes, self._host.buffer, np.zeros(1, np.bool_))
        measured.n_reads += starts.size
        measured.n_bytes += int(n_bytes.sum())

    def _pinned(self, name: str, layer: int, measured: Measured) -> None:
        started = time.perf_counter()
        self._host.multiply_pinned(name, layer, self._gathers)
        measured.multiply_s += time.perf_counter() - started

    def _factors(self, part: Part, token: int, scores: dict[str, Float32Array]) -> Float32Array:
        if part.choice.site is None:
            return np.ones(part.matrix.n_columns, np.float32)
        return scores[part.choice.site][token, part.choice.layer]
