"""A model's weights on this machine: the file, memory with the pinned ones in it, and products with them."""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.host.disk import BoolArray, Disk, Int64Array, form_reads, whole_pages
from dipsim import ModelSpec

Int8Array = NDArray[np.int8]
Float32Array = NDArray[np.float32]
# Matrices whose columns come and go, and those that stay in memory.
MASKED, PINNED = ("up_gate", "down"), ("attention", "head")
NOTHING: BoolArray = np.zeros(0, np.bool_)  # to wait for

_libc = ctypes.CDLL(None)
_memcpy = _libc.memcpy
_memcpy.restype = ctypes.c_void_p
_memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_sched_yield = _libc.sched_yield
_sched_yield.argtypes = []


@numba.njit(nogil=True)
def _bring(address, n_bytes, source, place, reads, arrived):  # type: ignore[no-untyped-def]
    """Waits for the reads that a column comes with, from the first to before the last, and copies it to its place."""
    for read in range(reads[0], reads[1]):
        while not arrived[read]:
            _sched_yield()
    if source != place:
        _memcpy(address + place, address + source, n_bytes)


@numba.njit(nogil=True)
def _gather(address, n_bytes, sources, places):  # type: ignore[no-untyped-def]
    for i in range(sources.size):
        _memcpy(address + places[i], address + sources[i], n_bytes)


@numba.njit(nogil=True, fastmath=True)
def _multiply(memory, address, columns, factors, arrived, out):  # type: ignore[no-untyped-def]
    """Adds to `out` each column times its factor, four at a time."""
    n, places = out.size, columns.places
    for i in range(0, places.size, 4):
        for j in range(i, min(i + 4, places.size)):
            _bring(address, n, columns.sources[j], places[j], columns.reads[j], arrived)
        if i + 4 <= places.size:
            a, b = memory[places[i] : places[i] + n], memory[places[i + 1] : places[i + 1] + n]
            c, d = memory[places[i + 2] : places[i + 2] + n], memory[places[i + 3] : places[i + 3] + n]
            p, q, r, s = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
            for k in range(n):
                out[k] += p * np.float32(a[k]) + q * np.float32(b[k]) + r * np.float32(c[k]) + s * np.float32(d[k])
        else:
            for j in range(i, places.size):
                a, p = memory[places[j] : places[j] + n], factors[j]
                for k in range(n):
                    out[k] += p * np.float32(a[k])


class Columns(NamedTuple):
    """Where columns are.

    Attributes:
        sources: int64 [column], where each is, or will be once it has been read.
        places: int64 [column], where it stays.
        reads: int64 [column, 2], the first read that it comes with, and one behind the last; the same for one that is
            there already.
    """

    sources: Int64Array
    places: Int64Array
    reads: Int64Array

    @classmethod
    def at(cls, places: Int64Array) -> Columns:
        """Columns that are there and stay there."""
        return cls(places, places, np.zeros((places.size, 2), np.int64))


class Memory:
    """Bytes on whole pages, huge ones if the system likes."""

    def __init__(self, n_bytes: int) -> None:
        self._map = mmap.mmap(-1, whole_pages(n_bytes))
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self.weights: Int8Array = np.frombuffer(self._map, np.int8)
        self.weights[:] = 0  # pages that are there before anybody measures
        self.address = self.weights.ctypes.data

    def multiply(self, columns: Columns, factors: Float32Array, n_rows: int, arrived: BoolArray) -> Float32Array:
        """Sum of the columns, each times its factor; waits for those whose reads have not `arrived`."""
        out = np.zeros(n_rows, np.float32)
        _multiply(self.weights, self.address, columns, factors, arrived, out)
        return out

    def gather(self, columns: Columns, n_bytes: int, place: int) -> Columns:
        """Puts the columns that need not be read one behind the other, from a place on; they are there now."""
        is_here = columns.reads[:, 0] == columns.reads[:, 1]
        gathered, places = place + np.arange(np.count_nonzero(is_here)) * n_bytes, columns.places.copy()
        _gather(self.address, n_bytes, columns.sources[is_here], gathered)
        sources = columns.sources.copy()
        sources[is_here] = places[is_here] = gathered
        return Columns(sources, places, columns.reads)


class Places:
    """Hands out bytes from the start, each part from a page's start."""

    def __init__(self, first: int = 0) -> None:
        self.next = first

    def take(self, n_bytes: int) -> int:
        place, self.next = self.next, self.next + whole_pages(n_bytes)
        return place


@dataclass(frozen=True)
class Matrix:
    """Weights of a byte each: columns that lie one after another.

    Attributes:
        name, layer: what it is.
        start: its place in the file.
    """

    name: str
    layer: int
    n_columns: int
    column_bytes: int
    start: int

    @property
    def n_bytes(self) -> int:
        return self.n_columns * self.column_bytes


def matrices(model: ModelSpec) -> dict[tuple[str, int], Matrix]:
    """All matrices of a model in the order of its file, by name and layer: groups of the MLPs first."""
    d, f, layers = model.hidden_size, model.intermediate_size, range(model.n_layers)
    shapes = [shape for i in layers for shape in (("up_gate", i, d, 2 * f), ("down", i, f, d))]
    shapes += [("embedding", 0, model.vocab_size, d)]
    shapes += [("attention", i, d, model.attention_weights // d) for i in layers]
    shapes += [("head", 0, d, model.vocab_size)]
    places = Places()
    made = [Matrix(*shape, places.take(shape[2] * shape[3])) for shape in shapes]
    return {(matrix.name, matrix.layer): matrix for matrix in made}


def file_bytes(model: ModelSpec) -> int:
    last = matrices(model)["head", 0]
    return whole_pages(last.start + last.n_bytes)


def write_weights(path: Path, model: ModelSpec, seed: int = 0) -> None:
    """Random weights, so that no layer below can squeeze them."""
    rng, left = np.random.default_rng(seed), file_bytes(model)
    with path.open("wb") as file:
        while left > 0:
            left -= file.write(rng.bytes(min(left, 1 << 26)))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Host:
    """A model on this machine: its file, and memory with the pinned weights in it, a buffer, and room for caches.

    Args:
        disk: where the weights are.
        model: what they are.
        max_read_bytes: longer reads are cut.
    """

    def __init__(self, disk: Disk, model: ModelSpec, max_read_bytes: int) -> None:
        self.model, self.max_read_bytes, self.matrices = model, max_read_bytes, matrices(model)
        pinned = [matrix for matrix in self.matrices.values() if matrix.name in PINNED]
        masked = [matrix for matrix in self.matrices.values() if matrix.name in MASKED]
        places = Places()
        self.pinned = {(matrix.name, matrix.layer): places.take(matrix.n_bytes) for matrix in pinned}
        self.caches = places.next
        for matrix in masked:  # the most that caches may take
            places.take(matrix.n_bytes)
        self.buffer_bytes = whole_pages(max(matrix.n_bytes for matrix in masked))
        self.buffer = places.take(self.buffer_bytes)
        self.gathered = places.take(max(matrix.n_bytes for matrix in (*pinned, *masked)))
        widest = {matrix.name: matrix.n_bytes for matrix in masked}
        # A layer's are being used while those of the next are read.
        self.ahead = {(name, i): places.take(n_bytes) for name, n_bytes in widest.items() for i in range(2)}
        self.memory = Memory(places.next)
        for matrix in pinned:
            starts, n_bytes = form_reads(np.zeros(1, np.int64), matrix.n_bytes, 0, max_read_bytes)
            self.fetch(disk, matrix, starts, n_bytes, self.pinned[matrix.name, matrix.layer], starts > 0)

    def fetch(
        self, disk: Disk, matrix: Matrix, starts: Int64Array, n_bytes: Int64Array, place: int, arrived: BoolArray
    ) -> float:
        """Reads parts of a matrix into memory; see `Disk.read`."""
        return disk.read(matrix.start + starts, n_bytes, self.memory.address + place, arrived)

    def gather(self, pieces: list[tuple[Int64Array, Columns]], piece_bytes: int) -> list[tuple[Int64Array, Columns]]:
        """Some columns of each region; see `Memory.gather`."""
        made, place = [], self.gathered
        for active, columns in pieces:
            made.append((active, self.memory.gather(columns, piece_bytes, place)))
            place += active.size * piece_bytes
        return made

    def multiply_pinned(self, name: str, layer: int, gathers: bool = False) -> Float32Array:
        """Attention or the LM head times a vector of ones."""
        matrix = self.matrices[name, layer]
        columns = Columns.at(self.pinned[name, layer] + np.arange(matrix.n_columns) * matrix.column_bytes)
        if gathers:
            columns = self.memory.gather(columns, matrix.column_bytes, self.gathered)
        return self.memory.multiply(columns, np.ones(matrix.n_columns, np.float32), matrix.column_bytes, NOTHING)
