"""What lies in a trace's folder or archive: regular files inside it, each of a size that is known before it is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dipsim.archives import Archive, check_size
from dipsim.documents import open_regular
from dipsim.errors import DipsimError


class Folder:
    """A folder, of which only what is asked for is looked at. It answers as `Archive` does.

    Args:
        path: where it lies; may be a link to a folder.
        where: opens every message.
    """

    def __init__(self, path: Path, where: str) -> None:
        self._path = path
        self._where = where
        self._own = {""}  # folders that were seen to be no links

    def folders(self, name: str) -> list[str]:
        """Names of the folders inside a folder, sorted.

        Raises:
            DipsimError: one is a link, a device or a pipe.
        """
        if not self._is_folder(name):
            return []
        names = sorted(path.name for path in (self._path / name).iterdir())
        return [inner for inner in names if self._is_folder(f"{name}/{inner}")]

    def size(self, name: str) -> tuple[int, int] | None:
        """Bytes of a file, twice; None where there is no such file.

        Raises:
            DipsimError: it, or a folder on the way to it, is a link, a device or a pipe.
        """
        if not self._is_folder(name.rpartition("/")[0]):
            return None
        status = self._status(name)
        if status is None or stat.S_ISDIR(status.st_mode):
            return None
        return status.st_size, status.st_size

    def read(self, name: str, most_bytes: int) -> NDArray[np.uint8] | None:
        """Content of a file, which may be written over; None where there is no such file.

        Raises:
            DipsimError: as `size`, or it is longer or cannot be read.
        """
        sizes = self.size(name)
        if sizes is None:
            return None
        check_size(self._where, name, sizes[0], most_bytes)
        data = np.empty(sizes[0], np.uint8)
        with os.fdopen(open_regular(self._path / name, f"{self._where}: '{name}'"), "rb", buffering=0) as file:
            if file.readinto(data.data) != data.size:
                raise DipsimError(f"{self._where}: '{name}' became shorter while it was read")
        return data

    def _is_folder(self, name: str) -> bool:
        if name in self._own:
            return True
        if not self._is_folder(name.rpartition("/")[0]):
            return False
        status = self._status(name)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
        self._own.add(name)
        return True

    def _status(self, name: str) -> os.stat_result | None:
        try:
            status = os.lstat(f"{self._path}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise DipsimError(f"{self._where}: '{name}' cannot be read: {error}") from None
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise DipsimError(
                f"{self._where}: '{name}' is a link, a pipe or a device; a trace's members are regular files inside it"
            )
        return status


Members = Folder | Archive


def open_members(path: Path, where: str) -> Members:
    """What lies at a path: a folder, else a zip.

    Raises:
        DipsimError: neither, or a zip that cannot be.
    """
    return Folder(path, where) if path.is_dir() else Archive(path, where)
