"""How long do batches of reads take, from what their reads cost."""

from __future__ import annotations

import math

import numpy as np

from dipsim.kernels.compiled_code import entry, inner

# What tells of a batch: sums over its reads, of which the last is one for each measured depth.
WANTED_BYTES, COPY_S, N_BYTES, N_READS, SECONDS = range(5)
# Of the lanes, to find how many read while the others copy: to a part in 10**12.
_HALVINGS = 40


@inner
def _at_depth(curve_s, depths, depth):  # type: ignore[no-untyped-def]
    """Seconds at a depth, from those at the measured ones: between two a power of the depth."""
    if depths.size == 1:
        return curve_s[0]
    depth = min(max(depth, depths[0]), depths[-1])
    upper = 1
    while depths[upper] < depth:
        upper += 1
    share = math.log(depth / depths[upper - 1]) / math.log(depths[upper] / depths[upper - 1])
    return curve_s[upper - 1] ** (1 - share) * curve_s[upper] ** share


@inner
def _beside_copies(depth, copy_s, curve_s, depths, has_depths, least_s, alone_s):  # type: ignore[no-untyped-def]
    """Seconds of a batch whose lanes read or copy: by Little's law `copy_s / seconds` of them copy, the others read."""
    if has_depths:
        alone_s = curve_s[0]
    in_turn_s = (alone_s + copy_s) / depth
    if not has_depths or (copy_s > 0 and in_turn_s >= alone_s):  # one reads at most
        return max(least_s, in_turn_s)
    if copy_s <= 0:
        return max(least_s, _at_depth(curve_s, depths, depth))
    low, high, seconds = 1.0, depth, alone_s
    for _ in range(_HALVINGS):
        reading = 0.5 * (low + high)
        seconds = _at_depth(curve_s, depths, reading)
        if reading * seconds + copy_s > depth * seconds:
            high = reading
        else:
            low = reading
    return max(least_s, seconds)


@entry
def time_batches(  # type: ignore[no-untyped-def]
    sums, derate, bytes_per_s, latency_s, deepest, depths, has_depths, submit_s, submitters, out
):
    """Times of batches, as of `dipsim.devices.Flash`.

    Args:
        sums: over the reads of each, [batch, sum], by the names above: bytes asked for, seconds for which copying keeps
            from reading, bytes moved, reads, then their seconds at each measured depth, ascending.
        derate: scales the rates of the latter.
        bytes_per_s: of sequential reading, derated.
        latency_s: until a batch's first data.
        deepest: most reads in flight; infinite for no limit.
        depths: the measured ones, from 1 on, or one where these are not told.
        has_depths: whether they are.
        submit_s: for which a core submits each read, before the next.
        submitters: cores that do, side by side.
        out: [7, batch], to be filled: the fields of `ReadBatches`.
    """
    curve_s = np.empty(depths.size)
    for i in range(sums.shape[0]):
        n_bytes, copy_s, n_reads = sums[i, N_BYTES], sums[i, COPY_S], sums[i, N_READS]
        at_rate_s = n_bytes / bytes_per_s
        # A runtime may keep fewer requests in flight than it could, so that deeper is never slower.
        lowest_s = math.inf
        for c in range(curve_s.size):
            lowest_s = min(lowest_s, sums[i, SECONDS + c] / derate)
            curve_s[c] = lowest_s
        queued_s = max(at_rate_s, lowest_s)
        first_s = latency_s if n_reads > 0 else 0.0
        depth = max(min(n_reads, deepest), 1.0)
        alone_s, least_s = first_s * n_reads + at_rate_s, at_rate_s
        one_s = max(at_rate_s, curve_s[0]) / max(n_reads, 1.0)
        if not has_depths:
            least_s = first_s + queued_s
            one_s = first_s + queued_s / max(n_reads, 1.0)
        if submit_s > 0 and n_reads > 0:
            # The last read can begin when those before it are submitted; alone, it has its own submission in it.
            least_s = max(least_s, max(n_reads / submitters - 1, 0.0) * submit_s + max(one_s, submit_s))
        # The last copies have no reads to hide behind.
        last_s = copy_s / max(n_reads, 1.0)
        hidden_s = copy_s - depth * last_s if n_reads > depth else 0.0
        reading_s = _beside_copies(depth, hidden_s, curve_s, depths, has_depths, least_s, alone_s)
        service_s = reading_s + last_s
        formed_s = n_reads / submitters * submit_s  # meanwhile nobody submits another batch
        occupied_s = _beside_copies(deepest, copy_s, curve_s, depths, has_depths, max(queued_s, formed_s), alone_s)
        occupied_s = min(occupied_s, service_s)  # but for the last place of the numbers it is anyway
        if copy_s > 0 and n_reads > 0:  # nothing is there before a read is complete and copied
            first_s = reading_s * depth / n_reads + last_s
        first_s = max(first_s, submit_s) if n_reads > 0 else 0.0
        out[0, i], out[1, i], out[2, i], out[3, i] = n_reads, sums[i, WANTED_BYTES], n_bytes, queued_s
        out[4, i], out[5, i], out[6, i] = occupied_s, service_s, min(first_s, service_s)
