"""How long do batches of reads take, from what their reads cost."""

from __future__ import annotations

import math

from dipsim.kernels.compiled_code import entry, inner

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
    n_bytes, copy_s, costs, curve_s, bytes_per_s, latency_s, deepest, depths, has_depths, submit_s, submitters, out
):
    """Times of batches, as of `dipsim.devices.Flash`.

    Args:
        n_bytes: moved by each, [batch].
        copy_s: for which copying keeps from reading, all its reads together, [batch].
        costs: of all its reads, [batch, cost]: their number, then their seconds at each measured depth, ascending.
        curve_s: room for the latter, [depth].
        bytes_per_s: of sequential reading.
        latency_s: until a batch's first data.
        deepest: most reads in flight; infinite for no limit.
        depths: the measured ones, from 1 on, or one where these are not told.
        has_depths: whether they are.
        submit_s: for which a core submits each read, before the next.
        submitters: cores that do, side by side.
        out: [batch, 4], to be filled: in the fullest queue, while nobody else is served, in all, until the first data.
    """
    for i in range(n_bytes.size):
        n_reads, at_rate_s = costs[i, 0], n_bytes[i] / bytes_per_s
        # A runtime may keep fewer requests in flight than it could, so that deeper is never slower.
        lowest_s = math.inf
        for c in range(curve_s.size):
            lowest_s = min(lowest_s, costs[i, 1 + c])
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
        last_s = copy_s[i] / max(n_reads, 1.0)
        hidden_s = copy_s[i] - depth * last_s if n_reads > depth else 0.0
        reading_s = _beside_copies(depth, hidden_s, curve_s, depths, has_depths, least_s, alone_s)
        service_s = reading_s + last_s
        formed_s = n_reads / submitters * submit_s  # meanwhile nobody submits another batch
        occupied_s = _beside_copies(deepest, copy_s[i], curve_s, depths, has_depths, max(queued_s, formed_s), alone_s)
        occupied_s = min(occupied_s, service_s)  # but for the last place of the numbers it is anyway
        if copy_s[i] > 0 and n_reads > 0:  # nothing is there before a read is complete and copied
            first_s = reading_s * depth / n_reads + last_s
        first_s = max(first_s, submit_s) if n_reads > 0 else 0.0
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = queued_s, occupied_s, service_s, min(first_s, service_s)
