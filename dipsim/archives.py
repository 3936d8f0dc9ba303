"""What may a zip or a folder from elsewhere hold, and the hash of its content.

A zip says in its index how many members it has and how large they are; nothing is inflated beyond what it says there,
and what it says is bounded.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dipsim.documents import open_regular
from dipsim.errors import DipsimError

# Of a zip's index: 80 bytes a member, so about 200,000 members.
MOST_INDEX_BYTES = 16 * 2**20
# All members may be this many times as large as the zip, and as much more as anybody's memory holds.
MOST_FOLD, LEAST_INFLATED = 256, 2**30
_MOST_READ = 2**63 - 1
_PIECE_BYTES = 2**18


class Archive:
    """A zip, open for reading until nobody refers to it, or as a context manager. Where a name stands twice, the last
    member counts.

    Args:
        path: where it lies.
        where: opens every message.
        most_index_bytes: a longer index is not read.

    Raises:
        DipsimError: it is no zip or a damaged one, its index is too long, or one of its members cannot be: encrypted,
            compressed otherwise than deflated, a link, of a name that leads out of it, overlapping with another, or
            inflating to far more than the file holds.
    """

    def __init__(self, path: Path, where: str, most_index_bytes: int = MOST_INDEX_BYTES) -> None:
        self._arguments = (path, where, most_index_bytes)
        self._where = where
        self._file = _Bounded(open_regular(path, where))
        weakref.finalize(self, self._file.close)
        self._file.most = most_index_bytes
        try:
            self._zip = zipfile.ZipFile(self._file)
        except Exception as error:  # zipfile raises anything when bytes are not what they should be
            raise DipsimError(f"{where}: cannot be read as a zip: {' '.join(str(error).split())[:200]}") from None
        self._file.most = _MOST_READ
        self._entries = {entry.filename: entry for entry in self._zip.infolist()}
        self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return Archive, self._arguments

    def _check(self) -> None:
        entries = self._zip.infolist()
        for entry in entries:
            if (fault := _fault(entry)) is not None:
                raise DipsimError(f"{self._where}: member {entry.filename[:200]!r} of the zip {fault}")
        n_bytes, stored = self._file.seek(0, io.SEEK_END), sum(entry.compress_size for entry in entries)
        if stored > n_bytes:
            raise DipsimError(f"{self._where}: members of the zip overlap: {stored:,} bytes in {n_bytes:,}")
        check_fold(self._where, sum(entry.file_size for entry in entries), n_bytes)

    @property
    def entries(self) -> list[zipfile.ZipInfo]:
        """Its members, each name once."""
        return list(self._entries.values())

    def folders(self, name: str) -> list[str]:
        """Names of the folders inside a folder, sorted."""
        inside = (other.removeprefix(f"{name}/") for other in self._entries if other.startswith(f"{name}/"))
        return sorted({rest.partition("/")[0] for rest in inside if "/" in rest})

    def size(self, name: str) -> tuple[int, int] | None:
        """Bytes of a member, and those that it takes in the file; None where there is no such member."""
        entry = self._entries.get(name)
        return None if entry is None else (entry.file_size, entry.compress_size)

    def read(self, name: str, most_bytes: int) -> NDArray[np.uint8] | None:
        """Content of a member, which may be written over; None where there is no such member.

        Raises:
            DipsimError: it is longer, or damaged.
        """
        entry = self._entries.get(name)
        if entry is None:
            return None
        check_size(self._where, name, entry.file_size, most_bytes)
        data, end = np.empty(entry.file_size, np.uint8), 0
        try:
            with self._zip.open(entry) as file:
                # Of a given length: without one zipfile inflates whatever there is before it looks at its index.
                while piece := file.read(_PIECE_BYTES):
                    data[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
                    end += len(piece)
        except Exception as error:
            raise DipsimError(f"{self._where}: '{name}' is damaged: {' '.join(str(error).split())[:200]}") from None
        if end != data.size:
            raise DipsimError(f"{self._where}: '{name}' is damaged: got {end} of {data.size} bytes")
        return data

    def open(self, entry: zipfile.ZipInfo) -> Any:
        """A member to be read in pieces of a given length."""
        return self._zip.open(entry)


class _Bounded(io.FileIO):
    """A file of which no more than `most` bytes are read at once."""

    most = _MOST_READ

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.most:
            raise ValueError(f"its index has {size:,} bytes, more than {self.most:,}")
        return super().read(size) or b""


def _fault(entry: zipfile.ZipInfo) -> str | None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        return "has a name that leads out of it"
    if entry.flag_bits & 1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {entry.compress_type}; must be stored or deflated"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return None


def check_size(where: str, name: str, n_bytes: int, most_bytes: int) -> None:
    """Refuses a member that is too long.

    Raises:
        DipsimError: it is.
    """
    if n_bytes > most_bytes:
        raise DipsimError(f"{where}: '{name}' has {n_bytes:,} bytes; at most {most_bytes:,} are read of it")


def check_fold(where: str, n_bytes: int, stored_bytes: int) -> None:
    """Refuses what would inflate to far more than it takes.

    Raises:
        DipsimError: more than `MOST_FOLD` times as much, and that is more than `LEAST_INFLATED`.
    """
    if n_bytes > max(LEAST_INFLATED, MOST_FOLD * stored_bytes):
        raise DipsimError(
            f"{where}: {stored_bytes:,} bytes say that they hold {n_bytes:,}; at most {MOST_FOLD} times as many"
        )


def content_sha256(path: Path) -> str:
    """Hash of a file's or a folder's content, whatever its name: SHA-256 over names, sizes and CRC-32s of the files in
    it. A zip counts as the folder that it holds, and its index has all three, so that gigabytes need not be read.

    Raises:
        DipsimError: it is a device or a pipe, or a zip that cannot be.
    """
    if path.is_dir():
        entries = {file.relative_to(path).as_posix(): _size_and_crc32(file) for file in _files(path)}
    elif path.is_file() and zipfile.is_zipfile(path):
        with Archive(path, str(path)) as archive:
            entries = {entry.filename: (entry.file_size, entry.CRC) for entry in archive.entries}
    else:
        entries = {"": _size_and_crc32(path)}
    digest = hashlib.sha256()
    for name, (size, crc) in sorted(entries.items()):
        if not name.endswith("/"):
            digest.update(f"{name}\0{size}\0{crc}\n".encode())
    return digest.hexdigest()


def contents_sha256(paths: Sequence[Path]) -> str:
    """Hash of what several files hold in this order; of one alone, its own.

    Raises:
        DipsimError: as `content_sha256`.
    """
    each = [content_sha256(path) for path in paths]
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    """Regular files and links to such, as folders of models have them; links to folders are not followed."""
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)
            elif path.is_file():
                found.append(path)
    return found


def _size_and_crc32(path: Path) -> tuple[int, int]:
    n_bytes = crc = 0
    with os.fdopen(open_regular(path, str(path)), "rb") as file:
        while chunk := file.read(1 << 20):
            n_bytes, crc = n_bytes + len(chunk), zlib.crc32(chunk, crc)
    return n_bytes, crc
