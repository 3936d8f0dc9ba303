"""Queues of columns for policies that are not a ranking: O(1) a column, whatever the number of columns.

A token's misses enter in ascending order, each as if requested alone: it is looked up among the ghosts, then one column
leaves where room is short, then it enters. Columns that may not leave are passed over: they keep place and marks.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.rings import GHOSTS, OUTSIDE

CLOCK, SIEVE, S3_FIFO, TWO_QUEUE, ARC, W_TINYLFU = range(6)

# The lists of each policy; those of clock and sieve are all in list 0.
_SMALL, _MAIN = 0, 1
_A1_IN, _AM = 0, 1
_T1, _T2 = 0, 1
_WINDOW, _PROBATION, _PROTECTED = 0, 1, 2

_MOST_USES = 3  # S3-FIFO counts in two bits
_PROMOTING_USES = 2
_SAMPLE = 10  # W-TinyLFU halves its counts once in this many uses per slot


@numba.njit(cache=True)
def _unlink(nodes, rings, column):  # type: ignore[no-untyped-def]
    newer, older = nodes[column].newer, nodes[column].older
    nodes[older].newer = newer
    nodes[newer].older = older
    rings[nodes[column].where].length -= 1
    nodes[column].where = OUTSIDE


@numba.njit(cache=True)
def _append(nodes, rings, which, column):  # type: ignore[no-untyped-def]
    """The column becomes the newest of a list."""
    sentinel = rings[which].sentinel
    newest = nodes[sentinel].older
    nodes[column].older, nodes[column].newer = newest, sentinel
    nodes[newest].newer = column
    nodes[sentinel].older = column
    rings[which].length += 1
    nodes[column].where = which


@numba.njit(cache=True)
def _move(nodes, rings, which, column):  # type: ignore[no-untyped-def]
    _unlink(nodes, rings, column)
    _append(nodes, rings, which, column)


@numba.njit(cache=True)
def _drop_oldest(nodes, rings, which):  # type: ignore[no-untyped-def]
    _unlink(nodes, rings, nodes[rings[which].sentinel].newer)


@numba.njit(cache=True)
def _remember(nodes, rings, column):  # type: ignore[no-untyped-def]
    """A resident column becomes a ghost; the oldest ghosts beyond the limit are forgotten."""
    ghosts = nodes[column].where + GHOSTS
    _move(nodes, rings, ghosts, column)
    while rings[ghosts].length > rings[ghosts].limit:
        _drop_oldest(nodes, rings, ghosts)


@numba.njit(cache=True)
def _oldest(nodes, rings, which, candidates):  # type: ignore[no-untyped-def]
    """The oldest candidate of a list, or -1. Until the next eviction none is looked for where none was found."""
    passed = rings[which].passed
    column = nodes[passed].newer
    while column < candidates.size and not candidates[column]:
        passed, column = column, nodes[column].newer
    rings[which].passed = passed
    return column if column < candidates.size else -1


@numba.njit(cache=True)
def _renew(nodes, rings, which, column):  # type: ignore[no-untyped-def]
    """A column becomes the newest of the list that it is in."""
    newer, older, sentinel = nodes[column].newer, nodes[column].older, rings[which].sentinel
    nodes[older].newer = newer
    nodes[newer].older = older
    newest = nodes[sentinel].older
    nodes[column].older, nodes[column].newer = newest, sentinel
    nodes[newest].newer = column
    nodes[sentinel].older = column


@numba.njit(cache=True)
def touch(kind, nodes, rings, columns):  # type: ignore[no-untyped-def]
    """These columns are used, in this order; those that are not resident matter to W-TinyLFU alone."""
    if kind in (CLOCK, SIEVE, S3_FIFO):
        # Those that are not resident begin anew when they enter: so nobody has to ask.
        most = _MOST_USES if kind == S3_FIFO else 1
        for column in columns:
            nodes[column].uses = min(nodes[column].uses + 1, most)
        return
    for column in columns:
        which = nodes[column].where
        if kind == W_TINYLFU:
            nodes[column].uses += 1
        if not 0 <= which < GHOSTS:
            continue
        if kind == W_TINYLFU:
            _promote(nodes, rings, column)
        elif which == _T2:
            _renew(nodes, rings, _T2, column)
        elif kind == ARC:
            _move(nodes, rings, _T2, column)
    if kind == W_TINYLFU:
        _age(nodes, rings, columns.size)


@numba.njit(cache=True)
def _promote(nodes, rings, column):  # type: ignore[no-untyped-def]
    if nodes[column].where != _PROBATION:
        _renew(nodes, rings, nodes[column].where, column)
        return
    _move(nodes, rings, _PROTECTED, column)
    if rings[_PROTECTED].length > rings[_PROTECTED].limit:
        _move(nodes, rings, _PROBATION, nodes[rings[_PROTECTED].sentinel].newer)


@numba.njit(cache=True)
def _age(nodes, rings, n_uses):  # type: ignore[no-untyped-def]
    rings[0].dial += n_uses
    slots = rings[_WINDOW].limit + rings[_PROBATION].limit
    if rings[0].dial >= _SAMPLE * slots:
        rings[0].dial = rings[0].dial // 2
        for column in range(nodes.size):
            nodes[column].uses //= 2


@numba.njit(cache=True)
def enter(kind, nodes, rings, columns):  # type: ignore[no-untyped-def]
    """These columns enter, and none leaves."""
    for column in columns:
        _enter(kind, nodes, rings, column, _look_up(kind, nodes, rings, column))


@numba.njit(cache=True)
def _look_up(kind, nodes, rings, column):  # type: ignore[no-untyped-def]
    """The ghosts that the column was among, or -1; it is a ghost no longer."""
    found = nodes[column].where
    if found == OUTSIDE:
        return found
    if kind == ARC:
        in_b1, in_b2 = rings[GHOSTS + _T1].length, rings[GHOSTS + _T2].length
        if found == GHOSTS + _T1:
            rings[0].dial = min(rings[0].dial + max(in_b2 / in_b1, 1.0), rings[_T1].limit)
        else:
            rings[0].dial = max(rings[0].dial - max(in_b1 / in_b2, 1.0), 0.0)
    _unlink(nodes, rings, column)
    return found


@numba.njit(cache=True)
def _enter(kind, nodes, rings, column, found):  # type: ignore[no-untyped-def]
    which = 0 if found == OUTSIDE else 1
    if kind == S3_FIFO and rings[0].dial == 0 and rings[_SMALL].length >= rings[_SMALL].limit:
        which = _MAIN  # the cache is not full yet
    if kind != W_TINYLFU:
        nodes[column].uses = 0
    _append(nodes, rings, which, column)


@numba.njit(cache=True)
def forget(kind, nodes, rings, columns):  # type: ignore[no-untyped-def]
    """Those of the columns that are resident leave, and no ghost is kept of them."""
    for column in columns:
        if 0 <= nodes[column].where < GHOSTS:
            if kind == SIEVE and rings[0].dial == column - rings[0].sentinel:
                rings[0].dial = nodes[column].newer - rings[0].sentinel
            _unlink(nodes, rings, column)


@numba.njit(cache=True)
def evict(kind, nodes, rings, entering, candidates, n_victims, victims):  # type: ignore[no-untyped-def]
    """Sets `victims` to `n_victims` of the candidates, which leave, and lets the columns `entering` enter.

    Where these are candidates themselves, they enter first, all of them. Otherwise the last ones enter one by one, each
    after a column has left.
    """
    victims[:] = False
    for which in range(rings.size):
        rings[which].passed = rings[which].sentinel
    at_once = entering.size > 0 and candidates[entering[0]]
    n_first = entering.size if at_once else max(entering.size - n_victims, 0)
    enter(kind, nodes, rings, entering[:n_first])
    for i in range(n_victims):
        if n_first + i < entering.size:
            column = entering[n_first + i]
            found = _look_up(kind, nodes, rings, column)
            victims[_leave(kind, nodes, rings, candidates, 1, found)] = True
            _enter(kind, nodes, rings, column, found)
        else:
            victims[_leave(kind, nodes, rings, candidates, 0, OUTSIDE)] = True


@numba.njit(cache=True)
def _leave(kind, nodes, rings, candidates, n_incoming, found):  # type: ignore[no-untyped-def]
    """The candidate that leaves; where one column is about to enter, `found` says among which ghosts it was."""
    if kind == CLOCK:
        return _leave_reused(nodes, rings, 0, candidates)
    if kind == SIEVE:
        return _leave_sieve(nodes, rings, candidates)
    if kind == S3_FIFO:
        return _leave_s3_fifo(nodes, rings, candidates)
    if kind == TWO_QUEUE:
        return _leave_two_queue(nodes, rings, candidates)
    if kind == ARC:
        return _leave_arc(nodes, rings, candidates, n_incoming, found)
    return _leave_w_tinylfu(nodes, rings, candidates, n_incoming)


@numba.njit(cache=True)
def _leave_reused(nodes, rings, which, candidates):  # type: ignore[no-untyped-def]
    """The oldest candidate without uses; those before it pay one use and become the newest."""
    column = _oldest(nodes, rings, which, candidates)
    while column >= 0 and nodes[column].uses > 0:
        nodes[column].uses -= 1
        _move(nodes, rings, which, column)
        column = _oldest(nodes, rings, which, candidates)
    if column >= 0:
        _unlink(nodes, rings, column)
    return column


@numba.njit(cache=True)
def _leave_sieve(nodes, rings, candidates):  # type: ignore[no-untyped-def]
    sentinel = rings[0].sentinel
    column = np.int64(rings[0].dial) + sentinel
    while column == sentinel or not candidates[column] or nodes[column].uses > 0:
        if column != sentinel and candidates[column]:
            nodes[column].uses = 0
        column = np.int64(nodes[column].newer)
    rings[0].dial = nodes[column].newer - sentinel
    _unlink(nodes, rings, column)
    return column


@numba.njit(cache=True)
def _leave_s3_fifo(nodes, rings, candidates):  # type: ignore[no-untyped-def]
    rings[0].dial = 1
    column = np.int64(-1)
    if rings[_MAIN].length <= rings[_MAIN].limit:
        column = _leave_small(nodes, rings, candidates)
    while column < 0:
        column = _leave_reused(nodes, rings, _MAIN, candidates)
        column = column if column >= 0 else _leave_small(nodes, rings, candidates)
    return column


@numba.njit(cache=True)
def _leave_small(nodes, rings, candidates):  # type: ignore[no-untyped-def]
    column = _oldest(nodes, rings, _SMALL, candidates)
    while column >= 0 and nodes[column].uses >= _PROMOTING_USES:
        nodes[column].uses = 0
        _move(nodes, rings, _MAIN, column)
        column = _oldest(nodes, rings, _SMALL, candidates)
    if column >= 0:
        _remember(nodes, rings, column)
    return column


@numba.njit(cache=True)
def _leave_two_queue(nodes, rings, candidates):  # type: ignore[no-untyped-def]
    column = _oldest(nodes, rings, _AM, candidates)
    if column < 0 or rings[_A1_IN].length > rings[_A1_IN].limit:
        in_line = _oldest(nodes, rings, _A1_IN, candidates)
        column = in_line if in_line >= 0 else column
    if nodes[column].where == _A1_IN:
        _remember(nodes, rings, column)
    else:
        _unlink(nodes, rings, column)
    return column


@numba.njit(cache=True)
def _leave_arc(nodes, rings, candidates, n_incoming, found):  # type: ignore[no-untyped-def]
    target, in_t1 = rings[0].dial, rings[_T1].length
    from_t1 = in_t1 > target or (in_t1 == target and found == GHOSTS + _T2)
    column = _oldest(nodes, rings, _T1 if from_t1 else _T2, candidates)
    if column < 0:
        column = _oldest(nodes, rings, _T2 if from_t1 else _T1, candidates)
    _remember(nodes, rings, column)
    # The paper makes this room before the column leaves, which is the same where one leaves at a time.
    slots, b1, b2 = rings[_T1].limit, GHOSTS + _T1, GHOSTS + _T2
    used_once = n_incoming if found == OUTSIDE else 0
    while rings[_T1].length + rings[b1].length + used_once > slots and rings[b1].length > 0:
        _drop_oldest(nodes, rings, b1)
    while _n_known(rings) + n_incoming > 2 * slots and rings[b2].length > 0:
        _drop_oldest(nodes, rings, b2)
    return column


@numba.njit(cache=True)
def _n_known(rings):  # type: ignore[no-untyped-def]
    return rings[_T1].length + rings[_T2].length + rings[GHOSTS + _T1].length + rings[GHOSTS + _T2].length


@numba.njit(cache=True)
def _leave_w_tinylfu(nodes, rings, candidates, n_incoming):  # type: ignore[no-untyped-def]
    overflow = rings[_WINDOW].length + n_incoming - rings[_WINDOW].limit
    room = rings[_PROBATION].limit - rings[_PROBATION].length - rings[_PROTECTED].length
    column = _oldest(nodes, rings, _WINDOW, candidates)
    while column >= 0 and overflow > 0 and room > 0:
        _move(nodes, rings, _PROBATION, column)
        overflow, room = overflow - 1, room - 1
        column = _oldest(nodes, rings, _WINDOW, candidates)
    loser = _oldest(nodes, rings, _PROBATION, candidates)
    if loser < 0:
        loser = _oldest(nodes, rings, _PROTECTED, candidates)
    if column >= 0 and (loser < 0 or (overflow > 0 and nodes[column].uses <= nodes[loser].uses)):
        loser, column = column, np.int64(-1)
    _unlink(nodes, rings, loser)
    if column >= 0 and overflow > 0:
        _move(nodes, rings, _PROBATION, column)
    return loser
