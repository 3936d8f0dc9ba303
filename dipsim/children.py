"""Processes that dipsim starts: they end with it, and say nothing that a user has not asked for.

Light to import: a worker that has just begun must soon see that its parent is gone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

_SECONDS_BETWEEN_LOOKS = 1.0
_WARNINGS = "PYTHONWARNINGS"


def end_with(parent: int) -> None:
    """Ends this process when its parent has ended, however that was: nobody else would tell it. Ctrl-C, which a
    terminal sends to all, is the parent's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


@contextmanager
def silent() -> Iterator[None]:
    """Processes started inside warn of nothing, unless the user has said of what: those that tidy up after an
    interrupted sweep would tell the terminal what they have found."""
    if _WARNINGS in os.environ:
        yield
        return
    os.environ[_WARNINGS] = "ignore"
    try:
        yield
    finally:
        os.environ.pop(_WARNINGS, None)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started inside leave Ctrl-C to their parent from their first moment on. The parent hears it when the
    body has ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
