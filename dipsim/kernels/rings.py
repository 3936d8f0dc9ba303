"""The memory of queue policies: lists of columns, linked within arrays.

Every column is in one list at most. Lists 0 to 2 hold resident columns, the others are ghosts: columns that left and
are remembered; one that leaves list l goes to list GHOSTS + l. A list is a ring through a sentinel, a node of its own:
after it comes the oldest column, before it the newest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GHOSTS, N_LISTS, OUTSIDE = 3, 5, -1

# `where` is the list that a column is in, or OUTSIDE; `uses` are reference bits, capped counts or use counts.
_NODE = np.dtype([("newer", np.int32), ("older", np.int32), ("where", np.int32), ("uses", np.int32)])
# `limit` is the number of columns that a list is meant to hold; W-TinyLFU counts list 2 in list 1. `passed` is where
# the search for who leaves has got to. `dial`, of list 0 alone, is a number of the policy's own: whether S3-FIFO has
# evicted, Sieve's hand as node minus sentinel, ARC's target for T1, uses since W-TinyLFU halved its counts.
_RING = np.dtype(
    [("sentinel", np.int64), ("length", np.int64), ("limit", np.int64), ("passed", np.int64), ("dial", np.float64)]
)


class Queues(NamedTuple):
    """The state of one policy, changed in place.

    Attributes:
        nodes: one per column, then one sentinel per list.
        rings: one per list.
    """

    nodes: NDArray[Any]
    rings: NDArray[Any]


def empty(n_columns: int, limits: list[int]) -> Queues:
    """Queues without columns."""
    nodes, rings = np.zeros(n_columns + N_LISTS, _NODE), np.zeros(N_LISTS, _RING)
    nodes["newer"] = nodes["older"] = np.arange(nodes.size)
    nodes["where"] = OUTSIDE
    rings["sentinel"] = np.arange(n_columns, nodes.size)
    rings["limit"][: len(limits)] = limits
    return Queues(nodes, rings)


def n_resident(queues: Queues) -> int:
    """Columns in lists other than ghosts."""
    return int(queues.rings["length"][:GHOSTS].sum())
