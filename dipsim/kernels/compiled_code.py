"""Where is compiled code kept, so that it is compiled once, and again when the source of any kernel has changed?"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba

SOURCES = Path(__file__).parent

# A kernel that Python calls: its code is kept.
entry = numba.njit(cache=True, nogil=True)
# What only other kernels call, and are compiled with: without a way in from Python or C, which would take a fifth of
# the time until the first run.
inner = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]


@contextmanager
def own_place(sources: Path = SOURCES) -> Iterator[None]:
    """In the body, where kernels are made, numba keeps their code in a folder named after all their sources: by itself
    it looks at a function's own file, and would go on with what other files said before. The place is the user's choice
    for numba if there is one, else beside the sources, else the user's cache, else, as in a container with a home that
    is read-only, one for this process alone."""
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    chosen = [Path(before)] if before else []
    for base in (*chosen, sources / "__pycache__", *_of_the_user()):
        if (place := _place_in(base, sources)) is not None:
            break
    else:
        place = Path(tempfile.mkdtemp(prefix="dipsim-"))  # shared with nobody, since what lies in it is run
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    numba.config.CACHE_DIR = str(place)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


def _of_the_user() -> list[Path]:
    """The user's folder for what can be made again; none for a user without a home."""
    try:
        return [Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "dipsim")]
    except RuntimeError:
        return []


def _place_in(base: Path, sources: Path) -> Path | None:
    """The folder for these sources, where it can be written. What earlier versions of the same files left is removed;
    their folders stay, for a process that is still at work with them."""
    content = hashlib.sha256()
    for path in sorted(sources.glob("*.py")):
        content.update(path.read_bytes())
    family = f"kernels-{hashlib.sha256(os.fsencode(sources)).hexdigest()[:8]}"
    place = base / f"{family}-{content.hexdigest()[:16]}"
    try:
        if not place.is_dir():
            place.mkdir(parents=True)
            for old in base.glob(f"{family}-*/*/*.nb[ic]"):
                old.unlink(missing_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError:
        return None
    return place
