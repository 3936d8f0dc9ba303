"""Where is compiled code kept, so that it is compiled once: numba's own places, else one for this process alone."""

from __future__ import annotations

import atexit
import shutil
import tempfile

import numba


def find_a_place() -> None:
    """To be called before the first kernel is made. numba keeps code beside the sources or in the user's cache, and
    fails where neither can be written, as in a container with a home that is read-only."""
    try:
        numba.njit(cache=True)(_nothing)
    except RuntimeError:  # no place that can be written
        folder = tempfile.mkdtemp(prefix="dipsim-")  # shared with nobody, since what lies in it is run
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]


def _nothing() -> None:
    """Is never compiled."""
