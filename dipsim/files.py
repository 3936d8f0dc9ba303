"""Files that are whole or not there: written to a temporary name beside the target, then renamed.

Who writes holds a lock (flock) on what it writes. The kernel drops the lock when its holder ends, however it ends, so
whoever gets it knows that nobody writes there any more and may remove what was left. The number of a process says less:
it is used again, and means nothing on another machine or in another container that shares the folder. Where a file
system has no locks, nothing is ever taken for left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dipsim.errors import DipsimError

# `.NAME.1f2e3d4c.partial.json` of an output `NAME.json`; of a folder's temporary, `.NAME.zarr.1f2e3d4c.partial`.
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]+\.partial(\.[^.]*)?", re.DOTALL)


def user_cache() -> Path:
    """The user's folder for what can be made or fetched again; it may not exist.

    Raises:
        OSError: the user has no home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dipsim"
    except RuntimeError as error:
        raise OSError(errno.ENOENT, str(error)) from None


def check_output(path: Path, force: bool) -> None:
    """Refuses an output before any work is done.

    Raises:
        DipsimError: it exists and `force` is not set, it is no regular file, or its folder does not exist or is closed
            to writing.
    """
    if not path.parent.is_dir():
        raise DipsimError(f"output: got '{path}'; its folder does not exist")
    if path.exists() and not path.is_file():
        raise DipsimError(f"output: got '{path}'; it is there already and not a regular file")
    if path.exists() and not force:
        raise DipsimError(f"output: '{path}' exists already; give --force to replace it")
    check_writable(f"output: got '{path}'", path.parent)


def check_writable(what: str, folder: Path) -> None:
    """Refuses an output before any work is done.

    Args:
        what: is to be written, for the message.
        folder: where; if it is not there, where it can be made.

    Raises:
        DipsimError: nothing can be written there.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise DipsimError(f"{what}; nothing can be written in '{there}'")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the body ends, and vanishes when it raises. What writers of `path` that
    were killed have left is removed first."""
    remove_left(path.parent, path.name)
    with temporary_of(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextmanager
def temporary_of(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """An empty file or folder beside `path`, which nobody else removes; it vanishes when the body ends, unless it was
    renamed. Errors of the system name `path`."""
    stem, suffix = (path.name, "") if is_folder else (path.stem, path.suffix)
    temporary, lock = path.with_name(f".{stem}.{secrets.token_hex(4)}.partial{suffix}"), None
    try:
        try:
            while lock is None:
                lock = _made(temporary, is_folder)
            yield temporary
        finally:
            _remove(temporary)
            if lock is not None:
                os.close(lock)
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # which output it was, not the temporary name
        raise


def remove_left(folder: Path, name: str | None = None) -> None:
    """Removes the temporaries of writers that are gone.

    Args:
        folder: where they lie.
        name: of the output that they were to become; None for all.
    """
    with contextlib.suppress(OSError):  # who may not list or remove has nothing to tidy up
        for left in list(os.scandir(folder)):
            parts = _TEMPORARY.fullmatch(left.name)
            if parts and name in (None, parts[1] + (parts[2] or "")) and not left.is_symlink():
                with contextlib.suppress(OSError):
                    lock = _locked(Path(left.path), is_folder=left.is_dir())
                    try:
                        _remove(Path(left.path))
                    finally:
                        os.close(lock)


def _made(temporary: Path, is_folder: bool) -> int | None:
    """Makes it and gives its lock; None where somebody who tidies up had the lock first, and has removed it."""
    if is_folder:
        temporary.mkdir(exist_ok=True)
    else:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o666))
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        lock = _locked(temporary, is_folder, needs_locks=False)
        if temporary.exists():
            return lock
        os.close(lock)
    return None


def _locked(path: Path, is_folder: bool, needs_locks: bool = True) -> int:
    """Descriptor of a temporary that holds its lock.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: it is gone, or, with `needs_locks`, the file system has no locks.
    """
    lock = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if needs_locks or isinstance(error, BlockingIOError):
            os.close(lock)
            raise
    return lock


def _remove(path: Path) -> None:
    """A file or a folder. zarr writes in threads of its own, which may still finish a chunk after an interrupt."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for _ in range(100):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
