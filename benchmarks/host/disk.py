"""Reads missed columns from a file: which reads, and Linux AIO with a fixed number of them in flight."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from pathlib import Path
from typing import Self

import numba
import numpy as np
from numpy.typing import NDArray

PAGE_BYTES = 4096
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# io_setup, io_destroy, io_getevents, io_submit
_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
_SETUP, _DESTROY, _GET_EVENTS, _SUBMIT = _CALLS.get(platform.machine(), (-1, -1, -1, -1))
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 6


def whole_pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE_BYTES) * PAGE_BYTES


def form_reads(
    columns: Int64Array, column_bytes: int, gap_bytes: int, max_read_bytes: int
) -> tuple[Int64Array, Int64Array]:
    """Where the reads begin that fetch some columns (ascending), and their bytes.

    Columns lie one after another from a page's start, and whole pages are read. What has at most `gap_bytes` between it
    is joined, and long reads are cut into pieces.
    """
    if columns.size == 0:
        return columns, columns
    starts = columns * column_bytes // PAGE_BYTES * PAGE_BYTES
    ends = -(-(columns + 1) * column_bytes // PAGE_BYTES) * PAGE_BYTES
    apart = starts[1:] - ends[:-1] > gap_bytes
    starts, ends = starts[np.concatenate([[True], apart])], ends[np.concatenate([apart, [True]])]
    n_pieces = -(-(ends - starts) // max_read_bytes)
    piece = np.arange(n_pieces.sum()) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    starts = np.repeat(starts, n_pieces) + piece * max_read_bytes
    return starts, np.minimum(max_read_bytes, np.repeat(ends, n_pieces) - starts)


@numba.njit(nogil=True)
def _read(context, pointers, n_bytes, events, depth, arrived):  # type: ignore[no-untyped-def]
    """Linux AIO: submits requests while fewer than `depth` are in flight, and notes which have come; 0, or 1 where
    something went wrong."""
    submitted = done = 0
    while done < n_bytes.size:
        room = min(depth - (submitted - done), n_bytes.size - submitted)
        if room > 0:
            got = _syscall(_SUBMIT, context, room, pointers.ctypes.data + 8 * submitted, 0, 0)
            if got <= 0:
                return 1
            submitted += got
        got = _syscall(_GET_EVENTS, context, 1, depth, events.ctypes.data, 0)
        if got <= 0:
            return 1
        for i in range(got):
            if events[i, 2] != n_bytes[events[i, 0]]:
                return 1
            arrived[events[i, 0]] = True
        done += got
    return 0


class Disk:
    """A file that is read into memory with `depth` requests in flight, past the page cache where the system lets us.

    Attributes:
        is_direct: whether it does; else reads are buffered, and `forget` has the page cache dropped.
    """

    def __init__(self, path: Path, depth: int) -> None:
        try:
            self._file, self.is_direct = os.open(path, os.O_RDONLY | os.O_DIRECT), True
        except OSError:
            self._file, self.is_direct = os.open(path, os.O_RDONLY), False
        self._depth = depth
        self._context = ctypes.c_ulong(0)
        self._events = np.zeros((depth, 4), np.int64)
        if _syscall(_SETUP, depth, ctypes.addressof(self._context), 0, 0, 0):
            raise OSError(ctypes.get_errno(), "this system has no Linux AIO (io_setup)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        _syscall(_DESTROY, self._context.value, 0, 0, 0, 0)
        os.close(self._file)

    def read(self, starts: Int64Array, n_bytes: Int64Array, address: int, arrived: BoolArray) -> float:
        """Reads that land one behind the other from an address on; returns the seconds they take.

        Args:
            starts, n_bytes: int64 [read], of the file.
            address: of memory.
            arrived: bool [read], set one by one, also for who waits for them in another thread; all of them in the end.
        """
        started = time.perf_counter()
        requests = np.zeros((starts.size, 8), np.int64)  # struct iocb; operation 0 is a plain read
        requests[:, 0] = np.arange(starts.size)
        requests[:, 2] = self._file << 32
        requests[:, 3] = address + np.cumsum(n_bytes) - n_bytes
        requests[:, 4] = n_bytes
        requests[:, 5] = starts
        pointers = requests.ctypes.data + 64 * np.arange(starts.size)
        failed = _read(self._context.value, pointers, n_bytes, self._events, self._depth, arrived)
        arrived[:] = True  # nobody waits for what will not come
        if failed:
            raise OSError(f"a read of the weights failed: {os.strerror(ctypes.get_errno())}, or it was short")
        return time.perf_counter() - started

    def forget(self) -> None:
        """Nothing is in the page cache any more."""
        if not self.is_direct:
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
