"""Slow and obvious twins of what dipsim computes fast: written from DESIGN's words, without dipsim's kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Scores = NDArray[np.float16]
Mask = NDArray[np.bool_]


def top_k(values: NDArray[np.generic], k: int) -> Mask:
    """The k largest; equal ones go to the lower index."""
    plain = values.tolist()
    order = sorted(range(len(plain)), key=lambda i: (-plain[i], i))
    mask = np.zeros(len(values), bool)
    mask[order[:k]] = True
    return mask


def reweighted(scores: Scores, resident: Mask, gamma: float) -> NDArray[np.float32]:
    """score if resident else gamma * score, in float32."""
    values = scores.astype(np.float32)
    return np.where(resident, values, np.float32(gamma) * values)


def blended(scores: Scores, resident: Mask, gamma: float) -> NDArray[np.float32]:
    """gamma * score / max(score) + (1 - gamma) * resident, in float32."""
    values = scores.astype(np.float32)
    share = values / values.max() if values.max() > 0 else values
    return np.float32(gamma) * share + (np.float32(1) - np.float32(gamma)) * resident.astype(np.float32)


def top_m(scores: Scores, resident: Mask, k: int, m: int, exempt: int) -> Mask:
    """Fill k places: exempt, top-k and resident, top-m and resident, top-k not resident; best score first in each."""
    best_first = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    places = best_first[:exempt]
    places += [i for i in best_first[:k] if resident[i]]
    places += [i for i in best_first[:m] if resident[i]]
    places += [i for i in best_first[:k] if not resident[i]]
    mask = np.zeros(len(scores), bool)
    mask[list(dict.fromkeys(places))[:k]] = True
    return mask


def dropped(scores: Scores, resident: Mask, k: int, least_share: float, exempt: int) -> Mask:
    """The best k, without those that have less than this share of what all k have, and are neither resident nor among
    the best `exempt` (at least one)."""
    chosen = top_k(scores, k)
    total = sum(float(score) for score in scores[chosen])
    safe = resident | top_k(scores, max(1, exempt))
    small = np.array([float(score) < float(np.float32(least_share)) * total for score in scores])
    return chosen & (safe | ~small)


class Cache:
    """A weight cache by the book: sets and sorting, one column at a time.

    `policy` is lru, window (of 5 tokens), lfu, lfu-in-cache, fifo or belady; `masks` is the future that belady sees.
    """

    def __init__(self, n: int, slots: int, policy: str, admission: str, masks: Sequence[Mask] = ()) -> None:
        self.n, self.slots, self.policy, self.admission, self.masks = n, slots, policy, admission, masks
        self.resident: set[int] = set()
        self.last = [-1] * n
        self.count = [0] * n
        self.entered = [-1] * n

    def priority(self, column: int, t: int) -> tuple[float, ...]:
        """Higher is kept; the last tie evicts the lower index first."""
        if self.policy in ("lru", "window"):
            return (self.last[column], column)
        if self.policy in ("lfu", "lfu-in-cache"):
            return (self.count[column], self.last[column], column)
        if self.policy == "fifo":
            return (self.entered[column], column)
        later = (u for u in range(t + 1, len(self.masks)) if self.masks[u][column])
        return (-next(later, math.inf), column)

    def update(self, active: Mask, scores: Scores | None, t: int) -> None:
        """The state after a token."""
        columns = np.flatnonzero(active).tolist()
        missed = [c for c in columns if c not in self.resident]
        for c in columns:
            self.last[c] = t
            self.count[c] += 1
        if self.policy == "window":
            self.resident = {c for c in self.resident if t - self.last[c] < 5}
        if self.admission == "priority":
            for c in missed:
                self.entered[c] = t
            candidates = self.resident | set(columns)
            ranked = sorted(candidates, key=lambda c: self.priority(c, t), reverse=True)
            kept = set(ranked[: self.slots])
            gone = candidates - kept
        else:
            victims = sorted(self.resident - set(columns), key=lambda c: self.priority(c, t))
            need = len(missed) - (self.slots - len(self.resident))
            gone = set(victims[: max(0, need)])
            room = self.slots - len(self.resident - gone)
            by_score = sorted(missed, key=lambda c: (0 if scores is None else -scores[c], c))
            for c in by_score[:room]:
                self.entered[c] = t
            gone |= set(by_score[room:])
            kept = (self.resident | set(by_score[:room])) - gone
        self.resident = kept
        if self.policy == "lfu-in-cache":
            for c in gone:
                self.count[c] = 0


class SharedCache:
    """One cache of all layers by the book: batches one after another, columns named by any key, each at its cost.

    `batches` are all of them, the future that belady sees, `n_parts` to a token.
    """

    def __init__(
        self,
        costs: dict[int, Fraction],
        capacity: Fraction,
        policy: str,
        admission: str,
        batches: Sequence[list[int]],
        n_parts: int,
    ) -> None:
        self.costs, self.capacity, self.policy, self.admission = costs, capacity, policy, admission
        self.batches, self.n_parts = batches, n_parts
        self.resident: set[int] = set()
        self.last, self.count, self.entered = (
            dict.fromkeys(costs, -1),
            dict.fromkeys(costs, 0),
            dict.fromkeys(costs, -1),
        )

    def priority(self, column: int, now: int) -> tuple[float, ...]:
        """Higher is kept; the last tie evicts the lower index first."""
        if self.policy == "belady":
            later = (b for b in range(now + 1, len(self.batches)) if column in self.batches[b])
            return (-next(later, math.inf), column)
        own = {"lru": (self.last,), "window": (self.last,), "fifo": (self.entered,)}.get(
            self.policy, (self.count, self.last)
        )
        return (*(number[column] for number in own), column)

    def cost(self, columns: set[int]) -> Fraction:
        return sum((self.costs[column] for column in columns), Fraction(0))

    def look_up(self, now: int, scores: dict[int, float]) -> set[int]:
        """What batch `now` misses; then the state after it."""
        active = set(self.batches[now])
        missed = active - self.resident
        for column in active:
            self.last[column], self.count[column] = now, self.count[column] + 1
        for column in missed:
            self.entered[column] = now
        if self.policy == "window":
            self.resident = {column for column in self.resident if now - self.last[column] < 5 * self.n_parts}
        before, kept = self.resident, self.resident | missed
        protected = active if self.admission == "always" else set()
        while self.cost(kept) > self.capacity and kept - protected:
            kept.remove(min(kept - protected, key=lambda column: self.priority(column, now)))
        for column in sorted(missed, key=lambda column: (scores[column], -column)):
            if self.cost(kept) > self.capacity:
                kept.discard(column)
        self.resident = kept
        if self.policy == "lfu-in-cache":
            for column in (before | missed) - kept:
                self.count[column] = 0
        return missed


def read_sizes(wanted: Mask, column_bytes: float, page_bytes: int, gap_bytes: int = 0) -> list[int]:
    """Bytes of each read: every page of a wanted column, joined where at most `gap_bytes` of pages lie between."""
    pages = sorted(
        {
            page
            for i in np.flatnonzero(wanted).tolist()
            for page in range(math.floor(i * column_bytes / page_bytes), math.ceil((i + 1) * column_bytes / page_bytes))
        }
    )
    runs: list[list[int]] = []
    for page in pages:
        if runs and (page - runs[-1][-1] - 1) * page_bytes <= gap_bytes:
            runs[-1].append(page)
        else:
            runs.append([page])
    return [(run[-1] - run[0] + 1) * page_bytes for run in runs]


def depths(masks: Sequence[Mask]) -> list[int]:
    """How many columns stand above each used one that was used before: last use first, then the higher index."""
    found, last = [], {}
    for t, mask in enumerate(masks):
        stack = sorted(last, key=lambda column: (last[column], column), reverse=True)
        columns = np.flatnonzero(mask).tolist()
        found += [stack.index(column) for column in columns if column in last]
        last |= dict.fromkeys(columns, t)
    return found


def coactivation_order(active: Mask) -> list[int]:
    """Chains of the pairs that most tokens use both, each pair looked at once; chains by mean use, the unused last."""
    n, tokens = active.shape[1], [set(np.flatnonzero(row).tolist()) for row in active]
    together = {(i, j): sum(i in t and j in t for t in tokens) for i in range(n) for j in range(i + 1, n)}
    chains = [[i] for i in range(n)]
    for i, j in sorted(together, key=lambda pair: (-together[pair], pair)):
        one, other = (next(chain for chain in chains if column in chain) for column in (i, j))
        if together[i, j] and one is not other and i in (one[0], one[-1]) and j in (other[0], other[-1]):
            chains.remove(one)
            chains.remove(other)
            chains.append((one if one[-1] == i else one[::-1]) + (other if other[0] == j else other[::-1]))
    chains = [chain if chain[0] <= chain[-1] else chain[::-1] for chain in chains]
    mean_use = {chain[0]: Fraction(int(active[:, chain].sum()), len(chain)) for chain in chains}
    chains.sort(key=lambda chain: (-mean_use[chain[0]], chain[0]))
    return [column for chain in chains for column in chain]


def bit_set(flags: Mask) -> list[int]:
    """Words of 64 bits each: bit i % 64 of word i // 64 tells of column i."""
    whole = sum(1 << int(i) for i in np.flatnonzero(flags))
    return [whole >> first & (2**64 - 1) for first in range(0, len(flags), 64)]


def word_sum(words: NDArray[np.int64]) -> int:
    """The sum modulo 2**64, as a signed number."""
    return (sum(words.tolist()) + 2**63) % 2**64 - 2**63


def add_columns(
    columns: NDArray[np.float32], active: NDArray[np.int64], factors: NDArray[np.float32], out: NDArray[np.float32]
) -> list[float]:
    """Each row by itself."""
    pairs = list(zip(active.tolist(), factors.tolist(), strict=True))
    return [start + sum(factor * columns[i, row] for i, factor in pairs) for row, start in enumerate(out.tolist())]


def random_bits(place: int) -> int:
    """SplitMix64, in whole numbers modulo 2**64."""
    bits = place * 0x9E3779B97F4A7C15 % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def synthetic_scores(
    place: int,
    starts: Mask,
    normals: NDArray[np.float32],
    gain: NDArray[np.float32],
    static: NDArray[np.float32],
    first_steps: Sequence[np.float32],
    steps: Sequence[np.float32],
    slow: NDArray[np.float32],
    fast: NDArray[np.float32],
    table: NDArray[np.float32],
) -> Scores:
    """Column by column: both processes take a step, their sum has a magnitude, the table says what that is worth.

    The table has 128 equal steps in each of the 36 octaves from 2**-24 on, and one value more.
    """
    scores = np.empty((len(starts), len(gain)), np.float16)
    for t, is_start in enumerate(starts.tolist()):
        keep_slow, new_slow, share_slow, keep_fast, new_fast, share_fast = first_steps if is_start else steps
        for j in range(len(gain)):
            bits = random_bits((place + t * len(gain) + j) % 2**64)
            slow[j] = keep_slow * slow[j] + new_slow * normals[bits >> 48]
            fast[j] = keep_fast * fast[j] + new_fast * normals[(bits >> 32) % 2**16]
            m = gain[j] * abs(static[j] + share_slow * slow[j] + share_fast * fast[j])
            m = min(max(float(m), 2.0**-24), float(np.float32(2.0**12 * 0.999)))
            mantissa, exponent = math.frexp(m)
            whole, rest = divmod((2 * mantissa - 1) * 128, 1)
            i = (exponent - 1 + 24) * 128 + int(whole)
            scores[t, j] = np.float16(table[i] + np.float32(rest) * (table[i + 1] - table[i]))
    return scores


def stream_times(
    wanted_bytes: NDArray[np.float64],
    page_bytes: float,
    longest_bytes: float,
    bytes_per_s: float,
    latency_s: float,
    submit_s: float,
    submitters: int,
) -> NDArray[np.float64]:
    """`ReadBatches` of streams, a row for each field: reads of `longest_bytes`, and a last one of what is left."""
    moved = np.ceil(wanted_bytes / page_bytes) * page_bytes if page_bytes else wanted_bytes
    n_reads = (moved > 0).astype(np.float64) if longest_bytes == np.inf else np.ceil(moved / longest_bytes)
    transfer_s, n_each = moved / bytes_per_s, n_reads / submitters
    submit_s, latency_s = np.where(moved > 0, submit_s, 0.0), np.where(moved > 0, latency_s, 0.0)
    alone_s = latency_s + np.minimum(moved, longest_bytes) / bytes_per_s
    formed_s = np.maximum(n_each - 1, 0.0) * submit_s + np.maximum(alone_s, submit_s)
    occupied_s, service_s = np.maximum(transfer_s, n_each * submit_s), np.maximum(latency_s + transfer_s, formed_s)
    first_s = np.maximum(latency_s, submit_s)
    return np.stack([n_reads, wanted_bytes, moved, transfer_s, occupied_s, service_s, first_s])


def batch_times(
    n_bytes: NDArray[np.float64],
    copy_s: NDArray[np.float64],
    costs: NDArray[np.float64],
    bytes_per_s: float,
    latency_s: float,
    deepest: float,
    depths: NDArray[np.float64],
    has_depths: bool,
    submit_s: float,
    submitters: int,
) -> NDArray[np.float64]:
    """Of batches, [batch, 4]: in the fullest queue, while nobody else is served, in all, until the first data."""

    def at_depth(depth: NDArray[np.float64]) -> NDArray[np.float64]:
        if depths.size == 1:
            return curve_s[:, 0]
        depth = np.clip(depth, depths[0], depths[-1])
        upper = np.maximum(np.searchsorted(depths, depth), 1)
        low, high = depths[upper - 1], depths[upper]
        share = np.log(depth / low) / np.log(high / low)
        low_s, high_s = (np.take_along_axis(curve_s, i[:, None], -1)[:, 0] for i in (upper - 1, upper))
        return low_s ** (1 - share) * high_s**share

    def lasts(i: int, depth: float, copied_s: float, least_s: float) -> float:
        """Of one batch: lanes that copy do not read, and how many read is looked for."""

        def reads_for(reading: float) -> float:
            if has_depths:
                return float(at_depth(np.full_like(n_reads, max(reading, 1)))[i]) / min(reading, 1)
            return float(alone_s[i]) / reading

        if not copied_s or depth == math.inf:
            return max(least_s, reads_for(depth))
        if reads_for(depth) == 0:
            return max(least_s, copied_s / depth)
        found = brentq(lambda x: (depth - x) * reads_for(x) - copied_s, 1e-12 * depth, depth, xtol=1e-15)
        return max(least_s, reads_for(found))

    n_reads, at_rate_s = costs[:, 0], n_bytes / bytes_per_s
    curve_s = np.minimum.accumulate(costs[:, 1:], axis=-1)
    queued_s = np.maximum(at_rate_s, curve_s[:, -1])
    latencies_s, depths_of = np.where(n_reads > 0, latency_s, 0.0), np.clip(n_reads, 1, deepest)
    alone_s = latencies_s * n_reads + at_rate_s
    least_s = at_rate_s if has_depths else latencies_s + queued_s
    # A read alone, with its submission; before the last one of each core, all others of that core.
    alone = np.maximum(at_rate_s, curve_s[:, 0]) if has_depths else latencies_s * n_reads + queued_s
    each = np.maximum(alone / np.maximum(n_reads, 1), submit_s)
    formed_s = np.where(n_reads > submitters, (n_reads / submitters - 1) * submit_s, 0) + each
    least_s = np.where(n_reads > 0, np.maximum(least_s, formed_s), least_s) if submit_s else least_s
    rows = []
    for i, (n, depth) in enumerate(zip(n_reads, depths_of, strict=True)):
        last_s = copy_s[i] / max(n, 1)
        reading_s = lasts(i, depth, last_s * (n - depth) if n > depth else 0.0, least_s[i])
        occupied_s = max(lasts(i, deepest, copy_s[i], queued_s[i]), n * submit_s / submitters)
        first_s = reading_s * depth / n + last_s if copy_s[i] and n else latencies_s[i]
        first_s = max(first_s, submit_s) if n else 0.0
        service_s = reading_s + last_s
        rows.append([queued_s[i], min(occupied_s, service_s), service_s, min(first_s, service_s)])
    return np.array(rows)


def nine_bit_rows(codes: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Codes [token, column] as low bytes, and then their ninth bits."""
    return np.concatenate([codes.astype(np.uint8), np.packbits(codes > 255, axis=1)], axis=1)


def lowest_priority(priority: NDArray[np.float64], candidates: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """The n candidates of lowest priority; of equal ones those of lower index."""
    marked = np.zeros(priority.size, np.bool_)
    marked[sorted(np.flatnonzero(candidates), key=lambda column: (priority[column], column))[:n]] = True
    return marked


def path_of_stage(
    jobs: Sequence[Sequence[float]], first_data_s: float, planned_s: float, queued_s: float
) -> list[float]:
    """Seconds of a stage whose devices work at once: latency and transfer of Flash, DRAM, compute, selection, waiting.

    The one that is done last is to blame; jobs as in `dipsim.kernels.stages`.
    """
    read, transfer, select, early, late = (dict(zip(_FIELDS, job, strict=True)) for job in jobs)

    def took(job: dict[str, float]) -> float:
        return job["start"] - job["ready"] + job["gave_way"] + job["service"]

    latency, bandwidth, dram, compute, waiting = 0.0, 0.0, 0.0, 0.0, 0.0
    first_s = min(first_data_s, read["service"] + read["gave_way"]) if read["service"] > 0 else 0.0
    arrives_s = (read["start"] + first_s if read["service"] > 0 else late["ready"]) - select["end"]
    operations_s = took(early)
    if late["service"] > 0:
        held_up_s = late["start"] - max(late["ready"], early["end"])
        late_s = late["service"] + late["gave_way"] + held_up_s
        operations_s = max(operations_s, arrives_s) + late_s
    flash_s = took(read) if read["service"] > 0 else arrives_s - first_s
    if flash_s >= took(transfer) and flash_s >= operations_s:
        share = queued_s / planned_s if planned_s > 0 else 0.0
        bandwidth, latency = share * read["service"], (1 - share) * read["service"]
        waiting = flash_s - read["service"]
    elif took(transfer) >= operations_s:
        dram = took(transfer)
    elif late["service"] > 0 and arrives_s > took(early):
        latency, compute, waiting = first_s, late_s, arrives_s - first_s
    else:
        compute = operations_s
    return [latency, bandwidth, dram, compute, took(select), waiting]


_FIELDS = ("ready", "start", "end", "alone", "service", "gave_way", "others")
