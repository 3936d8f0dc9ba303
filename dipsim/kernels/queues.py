"""Queues of columns for policies that are not a ranking: O(1) a column, whatever the number of columns.

A token's misses enter in ascending order, each as if requested alone: it is looked up among the ghosts, then one column
leaves where room is short, then it enters. Columns that may not leave are passed over: they keep place and marks.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.rings import GHOSTS, N_LISTS, OUTSIDE

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
def _unlink(queues, column):  # type: ignore[no-untyped-def]
    newer, older = queues.newer[column], queues.older[column]
    queues.newer[older] = newer
    queues.older[newer] = older
    queues.length[queues.where[column]] -= 1
    queues.where[column] = OUTSIDE


@numba.njit(cache=True)
def _append(queues, which, column):  # type: ignore[no-untyped-def]
    """The column becomes the newest of a list."""
    sentinel = queues.where.size + which
    newest = queues.older[sentinel]
    queues.older[column], queues.newer[column] = newest, sentinel
    queues.newer[newest] = column
    queues.older[sentinel] = column
    queues.length[which] += 1
    queues.where[column] = which


@numba.njit(cache=True)
def _move(queues, which, column):  # type: ignore[no-untyped-def]
    _unlink(queues, column)
    _append(queues, which, column)


@numba.njit(cache=True)
def _drop_oldest(queues, which):  # type: ignore[no-untyped-def]
    _unlink(queues, queues.newer[queues.where.size + which])


@numba.njit(cache=True)
def _remember(queues, column):  # type: ignore[no-untyped-def]
    """A resident column becomes a ghost; the oldest ghosts beyond the limit are forgotten."""
    ghosts = queues.where[column] + GHOSTS
    _move(queues, ghosts, column)
    while queues.length[ghosts] > queues.limit[ghosts]:
        _drop_oldest(queues, ghosts)


@numba.njit(cache=True)
def _oldest(queues, which, candidates, passed):  # type: ignore[no-untyped-def]
    """The oldest candidate of a list, or -1; `passed` remembers how far none was found, so that each is seen once."""
    column = queues.newer[passed[which]]
    while column < candidates.size and not candidates[column]:
        passed[which] = column
        column = queues.newer[column]
    return column if column < candidates.size else -1


@numba.njit(cache=True)
def touch(kind, queues, columns):  # type: ignore[no-untyped-def]
    """These columns are used, in this order; those that are not resident matter to W-TinyLFU alone."""
    for column in columns:
        if kind == W_TINYLFU:
            queues.uses[column] += 1
        which = queues.where[column]
        if not 0 <= which < GHOSTS:
            continue
        if kind in (CLOCK, SIEVE, S3_FIFO):
            queues.uses[column] = min(queues.uses[column] + 1, _MOST_USES if kind == S3_FIFO else 1)
        elif kind == ARC or (kind == TWO_QUEUE and which == _AM):
            _move(queues, _T2, column)
        elif kind == W_TINYLFU:
            _promote(queues, column)
    if kind == W_TINYLFU:
        _age(queues, columns.size)


@numba.njit(cache=True)
def _promote(queues, column):  # type: ignore[no-untyped-def]
    _move(queues, _WINDOW if queues.where[column] == _WINDOW else _PROTECTED, column)
    if queues.length[_PROTECTED] > queues.limit[_PROTECTED]:
        _move(queues, _PROBATION, queues.newer[queues.where.size + _PROTECTED])


@numba.njit(cache=True)
def _age(queues, n_uses):  # type: ignore[no-untyped-def]
    queues.dial[0] += n_uses
    slots = queues.limit[_WINDOW] + queues.limit[_PROBATION]
    if queues.dial[0] >= _SAMPLE * slots:
        queues.dial[0] = queues.dial[0] // 2
        for column in range(queues.uses.size):
            queues.uses[column] //= 2


@numba.njit(cache=True)
def enter(kind, queues, columns):  # type: ignore[no-untyped-def]
    """These columns enter, and none leaves."""
    for column in columns:
        _enter(kind, queues, column, _look_up(kind, queues, column))


@numba.njit(cache=True)
def _look_up(kind, queues, column):  # type: ignore[no-untyped-def]
    """The ghosts that the column was among, or -1; it is a ghost no longer."""
    found = queues.where[column]
    if found == OUTSIDE:
        return found
    if kind == ARC:
        in_b1, in_b2 = queues.length[GHOSTS + _T1], queues.length[GHOSTS + _T2]
        if found == GHOSTS + _T1:
            queues.dial[0] = min(queues.dial[0] + max(in_b2 / in_b1, 1.0), queues.limit[_T1])
        else:
            queues.dial[0] = max(queues.dial[0] - max(in_b1 / in_b2, 1.0), 0.0)
    _unlink(queues, column)
    return found


@numba.njit(cache=True)
def _enter(kind, queues, column, found):  # type: ignore[no-untyped-def]
    which = 0 if found == OUTSIDE else 1
    if kind == S3_FIFO and queues.dial[0] == 0 and queues.length[_SMALL] >= queues.limit[_SMALL]:
        which = _MAIN  # the cache is not full yet
    if kind != W_TINYLFU:
        queues.uses[column] = 0
    _append(queues, which, column)


@numba.njit(cache=True)
def forget(kind, queues, columns):  # type: ignore[no-untyped-def]
    """Those of the columns that are resident leave, and no ghost is kept of them."""
    for column in columns:
        if 0 <= queues.where[column] < GHOSTS:
            if kind == SIEVE and queues.dial[0] == column - queues.where.size:
                queues.dial[0] = queues.newer[column] - queues.where.size
            _unlink(queues, column)


@numba.njit(cache=True)
def evict(kind, queues, entering, candidates, n_victims, victims):  # type: ignore[no-untyped-def]
    """Sets `victims` to `n_victims` of the candidates, which leave, and lets the columns `entering` enter.

    Where these are candidates themselves, they enter first, all of them. Otherwise the last ones enter one by one, each
    after a column has left.
    """
    victims[:] = False
    passed = np.arange(candidates.size, candidates.size + N_LISTS)
    at_once = entering.size > 0 and candidates[entering[0]]
    n_first = entering.size if at_once else max(entering.size - n_victims, 0)
    enter(kind, queues, entering[:n_first])
    for i in range(n_victims):
        if n_first + i < entering.size:
            column = entering[n_first + i]
            found = _look_up(kind, queues, column)
            victims[_leave(kind, queues, candidates, passed, 1, found)] = True
            _enter(kind, queues, column, found)
        else:
            victims[_leave(kind, queues, candidates, passed, 0, OUTSIDE)] = True


@numba.njit(cache=True)
def _leave(kind, queues, candidates, passed, n_incoming, found):  # type: ignore[no-untyped-def]
    """The candidate that leaves; where one column is about to enter, `found` says among which ghosts it was."""
    if kind == CLOCK:
        return _leave_reused(queues, 0, candidates, passed)
    if kind == SIEVE:
        return _leave_sieve(queues, candidates)
    if kind == S3_FIFO:
        return _leave_s3_fifo(queues, candidates, passed)
    if kind == TWO_QUEUE:
        return _leave_two_queue(queues, candidates, passed)
    if kind == ARC:
        return _leave_arc(queues, candidates, passed, n_incoming, found)
    return _leave_w_tinylfu(queues, candidates, passed, n_incoming)


@numba.njit(cache=True)
def _leave_reused(queues, which, candidates, passed):  # type: ignore[no-untyped-def]
    """The oldest candidate without uses; those before it pay one use and become the newest."""
    column = _oldest(queues, which, candidates, passed)
    while column >= 0 and queues.uses[column] > 0:
        queues.uses[column] -= 1
        _move(queues, which, column)
        column = _oldest(queues, which, candidates, passed)
    if column >= 0:
        _unlink(queues, column)
    return column


@numba.njit(cache=True)
def _leave_sieve(queues, candidates):  # type: ignore[no-untyped-def]
    sentinel = candidates.size
    column = np.int64(queues.dial[0]) + sentinel
    while column == sentinel or not candidates[column] or queues.uses[column] > 0:
        if column != sentinel and candidates[column]:
            queues.uses[column] = 0
        column = np.int64(queues.newer[column])
    queues.dial[0] = queues.newer[column] - sentinel
    _unlink(queues, column)
    return column


@numba.njit(cache=True)
def _leave_s3_fifo(queues, candidates, passed):  # type: ignore[no-untyped-def]
    queues.dial[0] = 1
    column = np.int64(-1)
    if queues.length[_MAIN] <= queues.limit[_MAIN]:
        column = _leave_small(queues, candidates, passed)
    while column < 0:
        column = _leave_reused(queues, _MAIN, candidates, passed)
        column = column if column >= 0 else _leave_small(queues, candidates, passed)
    return column


@numba.njit(cache=True)
def _leave_small(queues, candidates, passed):  # type: ignore[no-untyped-def]
    column = _oldest(queues, _SMALL, candidates, passed)
    while column >= 0 and queues.uses[column] >= _PROMOTING_USES:
        queues.uses[column] = 0
        _move(queues, _MAIN, column)
        column = _oldest(queues, _SMALL, candidates, passed)
    if column >= 0:
        _remember(queues, column)
    return column


@numba.njit(cache=True)
def _leave_two_queue(queues, candidates, passed):  # type: ignore[no-untyped-def]
    column = _oldest(queues, _AM, candidates, passed)
    if column < 0 or queues.length[_A1_IN] > queues.limit[_A1_IN]:
        in_line = _oldest(queues, _A1_IN, candidates, passed)
        column = in_line if in_line >= 0 else column
    if queues.where[column] == _A1_IN:
        _remember(queues, column)
    else:
        _unlink(queues, column)
    return column


@numba.njit(cache=True)
def _leave_arc(queues, candidates, passed, n_incoming, found):  # type: ignore[no-untyped-def]
    slots, target = queues.limit[_T1], queues.dial[0]
    in_t1, in_t2 = queues.length[_T1], queues.length[_T2]
    in_b1, in_b2 = queues.length[GHOSTS + _T1], queues.length[GHOSTS + _T2]
    used_once = in_t1 + in_b1 + (n_incoming if found == OUTSIDE else 0)
    if used_once > slots and in_b1 > 0:
        _drop_oldest(queues, GHOSTS + _T1)
    elif used_once > slots:
        column = _oldest(queues, _T1, candidates, passed)
        if column >= 0:
            _unlink(queues, column)
            return column
    elif in_t1 + in_b1 + in_t2 + in_b2 + n_incoming > 2 * slots and in_b2 > 0:
        _drop_oldest(queues, GHOSTS + _T2)
    from_t1 = in_t1 > target or (in_t1 == target and found == GHOSTS + _T2)
    column = _oldest(queues, _T1 if from_t1 else _T2, candidates, passed)
    if column < 0:
        column = _oldest(queues, _T2 if from_t1 else _T1, candidates, passed)
    _remember(queues, column)
    return column


@numba.njit(cache=True)
def _leave_w_tinylfu(queues, candidates, passed, n_incoming):  # type: ignore[no-untyped-def]
    overflow = queues.length[_WINDOW] + n_incoming - queues.limit[_WINDOW]
    room = queues.limit[_PROBATION] - queues.length[_PROBATION] - queues.length[_PROTECTED]
    column = _oldest(queues, _WINDOW, candidates, passed)
    while column >= 0 and overflow > 0 and room > 0:
        _move(queues, _PROBATION, column)
        overflow, room = overflow - 1, room - 1
        column = _oldest(queues, _WINDOW, candidates, passed)
    loser = _oldest(queues, _PROBATION, candidates, passed)
    if loser < 0:
        loser = _oldest(queues, _PROTECTED, candidates, passed)
    if column >= 0 and (loser < 0 or (overflow > 0 and queues.uses[column] <= queues.uses[loser])):
        loser, column = column, np.int64(-1)
    _unlink(queues, loser)
    if column >= 0 and overflow > 0:
        _move(queues, _PROBATION, column)
    return loser
