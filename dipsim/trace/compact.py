"""How are scores kept in nine bits instead of sixteen, so that masks hardly change?

What a mask asks is which score is larger. So codes are spread over ranks: of 511 codes (0 is the score 0 alone) nine
tenths go by how many scores there are, one tenth by how large they are, which keeps what is rare and large apart.
Scores of one code have become equal, and the lower index wins: of a top-k, whatever its k, about 1 / (3 * 511 * 0.9) of
all bits change. Codes of equal ratio (8 bits of the logarithm) would change ten times as many, since most of their
range lies where there are hardly any scores.

Scores of 128 tokens at one layer have a table of their own: the mean of each code, which keeps their sum. A block is
uint8 [128, 8 + columns + columns / 8]: of each token a 128th of the table (four float16), the low bytes of its codes,
and their ninth bits, the first column's in the highest bit of the first byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dipsim import kernels
from dipsim.kernels import Uint16Array
from dipsim.trace.arrays import StoredArray
from dipsim.trace.format import CHUNK_TOKENS

N_CODES = 512
_TABLE_BYTES = 2 * N_CODES // CHUNK_TOKENS  # in the row of each token
_N_PATTERNS = 0x7C00  # of finite float16 that are not negative
_OF_TEN_BY_NUMBER = 9


def row_bytes(n_columns: int) -> int:
    """Bytes of one token at one layer."""
    return _TABLE_BYTES + n_columns + -(-n_columns // 8)


def padded(n_tokens: int) -> int:
    """Tokens with those that fill the last block."""
    return -(-n_tokens // CHUNK_TOKENS) * CHUNK_TOKENS


def encoded(bits: Uint16Array) -> NDArray[np.uint8]:
    """A block, uint8 [128, row_bytes], of clean scores, float16 bit patterns [token, column]; at most 128 tokens."""
    codes, table = _codes(bits)
    block = np.zeros((CHUNK_TOKENS, row_bytes(bits.shape[1])), np.uint8)
    block[:, :_TABLE_BYTES] = table.astype("<f2").view(np.uint8).reshape(CHUNK_TOKENS, _TABLE_BYTES)
    kernels.write_codes(bits, codes, block[:, _TABLE_BYTES:])
    return block


def decoded(block: NDArray[np.uint8], n_columns: int, start: int = 0, stop: int = CHUNK_TOKENS) -> Uint16Array:
    """float16 bit patterns [token, column] of some tokens of a block."""
    table = np.ascontiguousarray(block[:, :_TABLE_BYTES]).view("<u2").astype(np.uint16).reshape(-1)
    found = np.empty((stop - start, n_columns), np.uint16)
    kernels.read_codes(block[start:stop, _TABLE_BYTES:], table, found)
    return found


def _codes(bits: Uint16Array) -> tuple[Uint16Array, NDArray[np.float16]]:
    """The code of every pattern, and the score of every code; whole numbers alone, so that all machines agree."""
    counts = np.zeros(_N_PATTERNS, np.int64)
    kernels.count_patterns(bits.reshape(-1), counts)
    counts[0] = 0
    used = np.flatnonzero(counts)
    codes = np.arange(used.size)
    if used.size >= N_CODES:
        n, total, span = counts[used], int(counts.sum()), int(used[-1] - used[0]) + 1
        by_number = _OF_TEN_BY_NUMBER * (2 * (np.cumsum(n) - n) + n) * span
        by_magnitude = (10 - _OF_TEN_BY_NUMBER) * 2 * (used - used[0]) * total
        codes = (by_number + by_magnitude) * (N_CODES - 1) // (10 * 2 * total * span)
    codes_of = np.zeros(_N_PATTERNS, np.uint16)
    codes_of[used] = codes + 1
    values = used.astype(np.uint16).view(np.float16).astype(np.float64)
    table = np.zeros(N_CODES)
    sums, numbers = (np.bincount(codes, by, N_CODES - 1) for by in (values * counts[used], counts[used]))
    table[1:] = np.divide(sums, numbers, out=np.zeros(N_CODES - 1), where=numbers > 0)
    return codes_of, table.astype(np.float16)


@dataclass(frozen=True)
class CompactScores:
    """Scores of one site that answer as plain ones do.

    Attributes:
        shape: token, layer, column.
    """

    shape: tuple[int, int, int]
    _stored: StoredArray

    def check_complete(self) -> None:
        """As that of `StoredArray`."""
        self._stored.check_complete()

    def read(self, tokens: tuple[int, int], layers: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.float16]:
        """As that of `StoredArray`: starts and stops along every axis."""
        n_columns, (start, stop) = self.shape[2], tokens
        found = np.empty((stop - start, layers[1] - layers[0], n_columns), np.uint16)
        for first in range(start // CHUNK_TOKENS * CHUNK_TOKENS, stop, CHUNK_TOKENS):
            low, high = max(start, first), min(stop, first + CHUNK_TOKENS)
            for layer in range(*layers):
                rows = (first, first + CHUNK_TOKENS), (layer, layer + 1), (0, row_bytes(n_columns))
                block = self._stored.read(*rows)[:, 0]
                own = decoded(block, n_columns, low - first, high - first)
                found[low - start : high - start, layer - layers[0]] = own
        return found[:, :, slice(*columns)].view(np.float16)
