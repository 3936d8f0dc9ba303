"""Scores as codes of nine bits: eight in a byte of their own, the ninths of eight codes in one byte after these."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry


@entry
def count_patterns(scores, counts):  # type: ignore[no-untyped-def]
    """Adds to `counts` how often each float16 bit pattern occurs in flat `scores`."""
    for i in range(scores.size):
        counts[scores[i]] += 1


@entry
def write_codes(scores, codes, rows):  # type: ignore[no-untyped-def]
    """Sets uint8 `rows` [token, columns + ceil(columns / 8)], zeros until then, to the codes of patterns `scores`
    [token, column]; `codes` has one for each pattern."""
    n_tokens, n_columns = scores.shape
    for t in range(n_tokens):
        for c in range(n_columns):
            code = codes[scores[t, c]]
            rows[t, c] = code & 0xFF
            rows[t, n_columns + (c >> 3)] |= (code >> 8) << (7 - (c & 7))


@entry
def read_codes(rows, table, scores):  # type: ignore[no-untyped-def]
    """Sets patterns `scores` [token, column] to what `table` (uint16 [512]) has for the codes of `rows`."""
    n_tokens, n_columns = scores.shape
    for t in range(n_tokens):
        for c in range(n_columns):
            ninth = (np.int64(rows[t, n_columns + (c >> 3)]) >> (7 - (c & 7))) & 1
            scores[t, c] = table[np.int64(rows[t, c]) | (ninth << 8)]
