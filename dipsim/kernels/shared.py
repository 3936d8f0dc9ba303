"""The best use of one cache by all layers and groups together, when the future is known."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry, inner


@inner
def _hits_of(active, kept, n_hits, missed):  # type: ignore[no-untyped-def]
    """Sets `missed` to the active columns but the last `n_hits` of those kept: lower indices were given up first."""
    for c in range(active.size - 1, -1, -1):
        is_hit = active[c] and kept[c] and n_hits > 0
        n_hits -= is_hit
        missed[c] = active[c] and not is_hit


@entry
def share_tokens(  # type: ignore[no-untyped-def]
    masks, next_use, edges, column_bytes, capacity_bytes, first_token, kept, waiting, state, missed
):
    """Belady with bypass over columns of all layers: whenever bytes run out, those give way whose next use, counted in
    (token, layer, group), is farthest. All columns that wait for the same use are alike, so that it is enough to count
    them; which of them went is decided when they are used.

    Args:
        masks: bool [token, column], the layers' groups side by side in the order of their use.
        next_use: int32 [token, column], token of the sequence; 2**31 - 1 is never.
        edges: int64 [stage + 1], where each (layer, group) begins.
        column_bytes: float64 [stage].
        capacity_bytes: of all columns together.
        first_token: index of the first of these tokens in its sequence.
        kept: bool [column], which wait for a next use (some of them may have given way); updated.
        waiting: int64 [token of the sequence * stages + stage], columns that wait for this use; updated.
        state: float64 [2], bytes in use and the farthest use waited for; updated.
        missed: bool [token, column], to be filled.
    """
    n_stages = column_bytes.size
    used_bytes, farthest = state[0], np.int64(state[1])
    for t in range(masks.shape[0]):
        for s in range(n_stages):
            low, high, now = edges[s], edges[s + 1], (first_token + t) * n_stages + s
            _hits_of(masks[t, low:high], kept[low:high], waiting[now], missed[t, low:high])
            used_bytes -= waiting[now] * column_bytes[s]
            waiting[now] = 0
            for c in range(low, high):
                if masks[t, c]:
                    kept[c] = next_use[t, c] < 0x7FFFFFFF
                    if kept[c]:
                        later = np.int64(next_use[t, c]) * n_stages + s
                        waiting[later] += 1
                        used_bytes += column_bytes[s]
                        farthest = max(farthest, later)
            while used_bytes > capacity_bytes + 1e-6 and farthest > now:
                each = column_bytes[farthest % n_stages]
                n_gone = min(waiting[farthest], np.int64(np.ceil((used_bytes - capacity_bytes - 1e-6) / each)))
                waiting[farthest] -= n_gone
                used_bytes -= n_gone * each
                if waiting[farthest] == 0:
                    farthest -= 1
    state[0], state[1] = used_bytes, farthest
