"""When each column is used next."""

from __future__ import annotations

from dipsim.kernels.compiled_code import entry


@entry
def next_uses(active, first_token, after, uses):  # type: ignore[no-untyped-def]
    """Sets `uses[t, c]` to the first token strictly after first_token + t at which column c is active.

    `active` is bool [token, column] of a block that starts at `first_token`. `after` holds each column's first use
    beyond the block, and on return its first use from the block's start on.
    """
    for t in range(active.shape[0] - 1, -1, -1):
        for c in range(active.shape[1]):
            uses[t, c] = after[c]
            if active[t, c]:
                after[c] = first_token + t
