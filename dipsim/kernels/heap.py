"""Who leaves next: resident columns in a binary heap, the lowest rank on top; of equal ranks the lower index."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import inner


@inner
def _is_before(rank, column, other):  # type: ignore[no-untyped-def]
    return rank[column] < rank[other] or (rank[column] == rank[other] and column < other)


@inner
def _rise(heap, where, rank, place):  # type: ignore[no-untyped-def]
    column = heap[place]
    while place > 0:
        parent = (place - 1) >> 1
        if not _is_before(rank, column, heap[parent]):
            break
        heap[place] = heap[parent]
        where[heap[place]] = place
        place = parent
    heap[place] = column
    where[column] = place


@inner
def _sink(heap, n, where, rank, place):  # type: ignore[no-untyped-def]
    column = heap[place]
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        if child + 1 < n and _is_before(rank, heap[child + 1], heap[child]):
            child += 1
        if not _is_before(rank, heap[child], column):
            break
        heap[place] = heap[child]
        where[heap[place]] = place
        place = child
    heap[place] = column
    where[column] = place


@inner
def heap_push(heap, n, where, rank, column):  # type: ignore[no-untyped-def]
    """Adds a column to a heap of n.

    Args:
        heap: int32 [column], of which the first n are in use.
        n: columns in it.
        where: int32 [column], the place of each column that is in it.
        rank: int64 [column]; that of a column in the heap must not change.
        column: to be added.
    """
    heap[n] = column
    where[column] = n
    _rise(heap, where, rank, n)


@inner
def heap_remove(heap, n, where, rank, column):  # type: ignore[no-untyped-def]
    """Takes a column out of a heap of n; arguments as of `heap_push`."""
    place, last = where[column], heap[n - 1]
    if place == n - 1:
        return
    heap[place] = last
    where[last] = place
    _rise(heap, where, rank, place)
    _sink(heap, n - 1, where, rank, np.int64(where[last]))
