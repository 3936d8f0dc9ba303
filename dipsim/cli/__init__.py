"""The command `dipsim`: tables on stdout, messages and progress on stderr, exit 2 for what the user can mend."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys

from dipsim.cli.ending import INTERRUPTED, last_words


def main() -> None:
    """Runs the command line: a mistake of the user's is one line on stderr and exit code 2, a fault of dipsim's own
    one line and exit code 70. Ctrl-C is one line from the first moment on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, _before_it_began)
    # A command loads a thousand modules and keeps them. Looking through them for garbage, as they come and once more at
    # the end, would be a third of a short command's time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    from dipsim.cli.application import run

    run(_before_it_began)


def _before_it_began(*_: object) -> None:
    """Ctrl-C while libraries are loaded: an exception would be taken there for a failure of theirs."""
    os.write(2, f"dipsim: {last_words('interrupted', sys.argv[1:])}\n".encode(errors="replace"))
    os._exit(INTERRUPTED)


def __getattr__(name: str) -> object:
    if name != "app":
        raise AttributeError(f"module 'dipsim.cli' has no attribute '{name}'")
    from dipsim.cli.application import app

    return app
