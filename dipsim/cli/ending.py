"""A command that is ended early: what is kept, and what to type."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
_kept: tuple[str, tuple[str, ...]] | None = None  # what is, and the words that the command lacks to go on


@contextmanager
def keeping(what: str, where: Path, *more: str) -> Iterator[None]:
    """While the body runs: who ends it early is told what is kept, and how to go on.

    Args:
        what: is kept, said in the plural.
        where: it is kept, if it is there.
        more: words that the command lacks to go on.
    """
    global _kept
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if where.exists():
            _kept = f"{what} are kept in {where}", more
        raise


def last_words(how: str, words: Sequence[str]) -> str:
    """The only word of a command that was ended early.

    Args:
        how: it ended.
        words: of the command line, behind `dipsim`.
    """
    if not words or words[0].startswith("-") or words[0] in ("list", "show"):
        return how
    kept, more = _kept or ("nothing is kept", ())
    typed = shlex.join(["dipsim", *words, *(word for word in more if word not in words)])
    return f"{how}; {kept}; to {'go on' if _kept else 'begin again'}: {typed}"
