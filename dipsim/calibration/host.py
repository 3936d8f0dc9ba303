"""What can this machine do: its storage by fio, its DRAM and its cores by loops of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tomlkit import TOMLDocument

FILE_BYTES = 4_000_000_000
SECONDS_PER_POINT = 2.0


def calibrate_host(
    folder: Path = Path(),
    file_bytes: int = FILE_BYTES,
    seconds_per_point: float = SECONDS_PER_POINT,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TOMLDocument:
    """A profile of this machine, to be written with `write`.

    Args:
        folder: on the storage to be measured; a file is made there and removed.
        file_bytes: length of that file; a small one makes storage look faster than it is.
        seconds_per_point: time for each block size and depth.
        on_progress: called with points done and all points.

    Raises:
        DipsimError: fio is not installed or fails, the folder has no room, or it does not lie on storage.
    """
    raise NotImplementedError
