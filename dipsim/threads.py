"""How many threads may a run use? Results do not depend on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_MOST: ContextVar[int | None] = ContextVar("most_threads", default=None)


def n_threads() -> int:
    """All cores, or as many as `limited` allows here."""
    return _MOST.get() or os.cpu_count() or 1


@contextmanager
def limited(n: int) -> Iterator[None]:
    """In the body, runs use at most so many threads: where many runs share a machine, each does best with one."""
    token = _MOST.set(n)
    try:
        yield
    finally:
        _MOST.reset(token)
