"""Files that are whole or not there: written to a temporary name beside the target, then renamed."""

from __future__ import annotations

import os
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
