"""Files that are whole or not there: written to a temporary name beside the target, then renamed."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dipsim.errors import DipsimError


def check_output(path: Path, force: bool) -> None:
    """Refuses an output before any work is done.

    Raises:
        DipsimError: it exists and `force` is not set, it is no regular file, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise DipsimError(f"output: got '{path}'; its folder does not exist")
    if path.exists() and not path.is_file():
        raise DipsimError(f"output: got '{path}'; it is there already and not a regular file")
    if path.exists() and not force:
        raise DipsimError(f"output: '{path}' exists already; give --force to replace it")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the body ends, and vanishes when it raises."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # which output it was, not the temporary name
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def content_sha256(path: Path) -> str:
    """Hash of a file's or a folder's content, whatever its name: SHA-256 over names, sizes and CRC-32s of the files in
    it. A zip counts as the folder that it holds, and its index has all three, so that gigabytes need not be read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: (entry.file_size, entry.CRC) for entry in archive.infolist()}
    elif path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        entries = {file.relative_to(path).as_posix(): (file.stat().st_size, _crc32(file)) for file in files}
    else:
        entries = {"": (path.stat().st_size, _crc32(path))}
    digest = hashlib.sha256()
    for name, (size, crc) in sorted(entries.items()):
        if not name.endswith("/"):
            digest.update(f"{name}\0{size}\0{crc}\n".encode())
    return digest.hexdigest()


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc
