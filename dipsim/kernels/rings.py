"""The memory of queue policies: lists of columns whose links lie in arrays.

Every column is in one list at most. Lists 0 to 2 hold resident columns, the others are ghosts: columns that left and
are remembered; one that leaves list l goes to list GHOSTS + l. A list is a ring through a sentinel, node
`n_columns + list`: after it comes the oldest column, before it the newest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dipsim.kernels.arrays import Float64Array, Int32Array, Int64Array

GHOSTS, N_LISTS, OUTSIDE = 3, 5, -1


class Queues(NamedTuple):
    """The state of one policy, changed in place.

    Attributes:
        newer: the neighbour towards the newest, of each column and sentinel.
        older: the neighbour towards the oldest.
        where: the list each column is in, or -1.
        length: columns in each list.
        limit: columns each list is meant to hold; in W-TinyLFU, list 1 and 2 together what list 1 is.
        uses: reference bits, capped counts or use counts.
        dial: one number: whether S3-FIFO has evicted, Sieve's hand as node minus sentinel, ARC's target for T1, uses that
            W-TinyLFU counted since it halved its counts.
    """

    newer: Int32Array
    older: Int32Array
    where: Int32Array
    length: Int64Array
    limit: Int64Array
    uses: Int32Array
    dial: Float64Array


def empty(n_columns: int, limit: list[int]) -> Queues:
    """Queues without columns."""
    ring = np.arange(n_columns + N_LISTS, dtype=np.int32)
    return Queues(
        newer=ring,
        older=ring.copy(),
        where=np.full(n_columns, OUTSIDE, np.int32),
        length=np.zeros(N_LISTS, np.int64),
        limit=np.array([*limit, *[0] * (N_LISTS - len(limit))], np.int64),
        uses=np.zeros(n_columns, np.int32),
        dial=np.zeros(1),
    )


def n_resident(queues: Queues) -> int:
    """Columns in lists other than ghosts."""
    return int(queues.length[:GHOSTS].sum())
