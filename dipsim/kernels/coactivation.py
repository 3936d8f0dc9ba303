"""Which columns become neighbours: pairs active together in most tokens are linked first, into chains."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry, inner

# Partners that a column has ready, best first; when none of them is left, it looks for more. Changes no result.
_LISTED = 16
NO_LINK = -1


@inner
def _ones(word):  # type: ignore[no-untyped-def]
    """How many bits of a word are set: sums of 2, 4, 8 bits each, then of all bytes. Compiles to one instruction."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@inner
def _pack(active, words, uses):  # type: ignore[no-untyped-def]
    """Sets one bit a token, uint64 [word, column], and adds up the tokens that use each column."""
    for t in range(active.shape[0]):
        for column in range(active.shape[1]):
            words[t // 64, column] |= np.uint64(active[t, column]) << np.uint64(t % 64)
            uses[column] += active[t, column]


@inner
def _list_partners(place, free, n_free, words, links, far_end, counts, partners, shared):  # type: ignore[no-untyped-def]
    """The best partners of the column `free[place]` among the free ones behind it; `shared` is 0 where there are fewer.

    Of equally good ones the lower index comes first.
    """
    for other in range(place + 1, n_free):
        counts[other] = 0
    for w in range(words.shape[0]):
        own = words[w, place]
        for other in range(place + 1, n_free):
            counts[other] += np.int32(_ones(own & words[w, other]))
    column = free[place]
    shared[:] = 0
    for other in range(place + 1, n_free):
        if counts[other] > shared[-1] and links[free[other], 1] == NO_LINK and far_end[column] != free[other]:
            rank = _LISTED - 1
            while rank > 0 and shared[rank - 1] < counts[other]:
                shared[rank], partners[rank] = shared[rank - 1], partners[rank - 1]
                rank -= 1
            shared[rank], partners[rank] = counts[other], free[other]


@inner
def _link(one, other, links, far_end):  # type: ignore[no-untyped-def]
    """Two ends of different chains become neighbours."""
    links[one, 0 if links[one, 0] == NO_LINK else 1] = other
    links[other, 0 if links[other, 0] == NO_LINK else 1] = one
    first, last = far_end[one], far_end[other]
    far_end[first], far_end[last] = last, first


@inner
def _drop_taken(free, n_free, words, links, most):  # type: ignore[no-untyped-def]
    """Columns with two links leave `free`; returns how many stay, and the highest `most` of these."""
    n, level = 0, 0
    for place in range(n_free):
        column = free[place]
        if links[column, 1] == NO_LINK:
            free[n] = column
            for w in range(words.shape[0]):
                words[w, n] = words[w, place]
            level = max(level, most[column])
            n += 1
    return n, level


@entry
def link_columns(active):  # type: ignore[no-untyped-def]
    """Goes through all pairs of columns by the number of tokens in which both are active, most first, and links a pair
    where both have a link to spare and belong to different chains; of equal pairs the lower indices come first.

    Pairs that are never active together stay unlinked. A column looks for partners behind it only, so that each pair is
    seen once; as a partner that is taken stays taken, a list that was made early holds when its turn comes.

    Args:
        active: bool [token, column].

    Returns:
        int32 [column, 2], the neighbours of each column; `NO_LINK` where there is none, the second only beside a first.
    """
    n = active.shape[1]
    words = np.zeros((-(-active.shape[0] // 64), n), np.uint64)
    # What no pair of a column that is still to come can exceed: at first the tokens that use it.
    most = np.zeros(n, np.int32)
    _pack(active, words, most)
    links = np.full((n, 2), NO_LINK, np.int32)
    free, far_end, counts = np.arange(n), np.arange(n), np.empty(n, np.int32)
    partners, shared = np.empty((n, _LISTED), np.int32), np.empty((n, _LISTED), np.int32)
    n_read = np.full(n, _LISTED, np.int32)
    n_free, level = _drop_taken(free, n, words, links, most)
    while level > 0:
        for place in range(n_free):
            column = free[place]
            while links[column, 1] == NO_LINK and most[column] == level:
                if n_read[column] == _LISTED:
                    lists = partners[column], shared[column]
                    _list_partners(place, free, n_free, words, links, far_end, counts, *lists)
                    n_read[column] = 0
                else:
                    other = partners[column, n_read[column]]
                    if links[other, 1] == NO_LINK and far_end[column] != other:
                        _link(column, other, links, far_end)
                    n_read[column] += 1
                if n_read[column] < _LISTED:
                    most[column] = shared[column, n_read[column]]
        n_free, level = _drop_taken(free, n_free, words, links, most)
    return links
