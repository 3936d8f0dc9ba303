"""The application that the commands belong to, and how a command ends: well, by a mistake, a fault or a signal."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, cast

import typer

from dipsim.cli.ending import INTERRUPTED, TERMINATED, last_words
from dipsim.cli.help_pages import SETTINGS
from dipsim.cli.index import Index
from dipsim.cli.mistakes import told
from dipsim.cli.terminal import complain, own_terminal, say
from dipsim.errors import DipsimError

app = typer.Typer(
    name="dipsim",
    cls=Index,
    no_args_is_help=True,
    context_settings=SETTINGS,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How fast, how accurate and how hungry is a large language model on a device too small for it? "
    "Replays recorded activation scores through simulated Flash, DRAM, weight cache and compute.",
    epilog="Begin with 'dipsim demo'. 'dipsim COMMAND --help' tells the options of a command.",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where it happened, if dipsim itself fails.")] = False,
) -> None:
    if version:
        from dipsim.version import __version__

        typer.echo(__version__)
        raise typer.Exit


# What the parser raises for a wrong command line; typer shows only this subclass of it.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])


FAULT = 70  # EX_SOFTWARE of sysexits.h
_is_interrupted = False


def run(on_interrupt: Callable[..., None]) -> None:
    """Runs the command line.

    Args:
        on_interrupt: what Ctrl-C has called so far, unless it is ignored.
    """
    with own_terminal():
        _run(on_interrupt)


def _run(on_interrupt: Callable[..., None]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    if signal.getsignal(signal.SIGINT) is on_interrupt:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = app(standalone_mode=False, prog_name="dipsim")
    except BaseException as error:  # libraries written in Rust panic past Exception, and some take Ctrl-C for a failure
        code = INTERRUPTED if _is_interrupted else _code_of(error)
    if code in (INTERRUPTED, TERMINATED):
        say(last_words("interrupted" if code == INTERRUPTED else "terminated", sys.argv[1:]))
        sys.stdout.flush()
        os._exit(code)  # past the exit hooks: zarr's would complain of reads that were cut short
    sys.exit(code)


def _code_of(error: BaseException) -> int:
    """The exit code of a command that ended so; what it was is told in a line."""
    if isinstance(error, DipsimError):
        complain(str(error))
    if isinstance(error, UsageError):
        if type(error).__name__ == "NoArgsIsHelpError":  # no command was given
            typer.echo(error.format_message())
            sys.exit(2)
        complain(told(error, sys.argv[1:]))
    if isinstance(error, OSError):
        complain(f"{error.filename or 'system'}: {error.strerror or error}")
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        if error.code != TERMINATED:
            raise error
        return TERMINATED
    _own_up(error, sys.argv[1:])
    return FAULT


def _interrupt(*_: object) -> None:
    """Ctrl-C. What it leaves half-made complains as it is torn down (an event loop without its socket, a coroutine that
    nobody awaits): of no use to who pressed it."""
    global _is_interrupted
    _is_interrupted = True
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda ignored: None
    raise KeyboardInterrupt


def _own_up(error: BaseException, words: list[str]) -> None:
    """Says which files were being read, by the command's own words, or else which command it was. The traceback only
    after `dipsim --debug`."""
    is_debugged = words[:1] == ["--debug"]  # the command has a --help beside it, no other option comes before
    if is_debugged:
        traceback.print_exception(error)
    named = [word.rpartition("=")[2] for word in words]
    files = [f"'{name}'" for name in dict.fromkeys(named) if os.path.exists(name)]  # noqa: PTH110 - names of any length
    doing = f"reading {', '.join(files)}" if files else " ".join(["dipsim", *words])[:200]
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(": ")
    where = "" if is_debugged else "; 'dipsim --debug ...' shows where"
    say(f"error: {doing}: {what}; this is a fault of dipsim's, please report it with this line{where}")
