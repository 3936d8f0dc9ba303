"""The command `dipsim`: tables on stdout, messages and progress on stderr, exit 2 for what the user can mend."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from typing import Annotated, cast

import typer

from dipsim.cli import catalogue
from dipsim.cli.adapt import adapt
from dipsim.cli.allocate import allocate
from dipsim.cli.calibrate import calibrate_app
from dipsim.cli.capture import capture
from dipsim.cli.compare import compare
from dipsim.cli.demo import demo
from dipsim.cli.drift import drift
from dipsim.cli.estimate import estimate
from dipsim.cli.evaluate import evaluate
from dipsim.cli.explain import explain
from dipsim.cli.explore import explore
from dipsim.cli.headroom import headroom
from dipsim.cli.import_routes import import_app
from dipsim.cli.plot import plot
from dipsim.cli.plugged import add_plugged
from dipsim.cli.plugin import take_plugins
from dipsim.cli.report import report
from dipsim.cli.simulate import simulate
from dipsim.cli.stats import stats
from dipsim.cli.sweep import sweep
from dipsim.cli.synth import synth
from dipsim.cli.table import table
from dipsim.cli.terminal import complain, own_terminal, say
from dipsim.cli.train_predictor import train_predictor
from dipsim.cli.tune import tune
from dipsim.errors import DipsimError

app = typer.Typer(
    name="dipsim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="How fast, how accurate and how hungry is a large language model on a device too small for it? "
    "Replays recorded activation scores through simulated Flash, DRAM, weight cache and compute.",
    epilog="Start with 'dipsim demo'. Every command has its own --help.",
)
app.command()(demo)
app.command()(estimate)
app.command()(simulate)
app.command()(explore)
app.command()(explain)
app.command()(headroom)
app.command()(sweep)
app.command()(tune)
app.command()(capture)
app.command()(evaluate)
app.command()(compare)
app.command()(synth)
app.command()(stats)
app.command()(plot)
app.command()(table)
app.command()(report)
app.command()(train_predictor)
app.command()(drift)
app.command()(allocate)
app.command()(adapt)
app.add_typer(import_app, name="import")
app.add_typer(calibrate_app, name="calibrate")
add_plugged(catalogue.list_app, catalogue.show_app)
app.add_typer(catalogue.list_app, name="list")
app.add_typer(catalogue.show_app, name="show")
take_plugins(app)


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


INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
FAULT = 70  # EX_SOFTWARE of sysexits.h


def main() -> None:
    """Runs the command line: a mistake of the user's is one line on stderr and exit code 2, a fault of dipsim's own
    one line and exit code 70."""
    with own_terminal():
        _run()


def _run() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = app(standalone_mode=False)
    except DipsimError as error:
        complain(str(error))
    except UsageError as error:
        if message := error.format_message():
            complain(message)
        sys.exit(2)  # no command was given, and typer has printed the help
    except OSError as error:
        complain(f"{error.filename or 'system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as ended:
        if ended.code != TERMINATED:
            raise
        code = TERMINATED
    except BaseException as error:  # libraries written in Rust panic past Exception
        _own_up(error, sys.argv[1:])
        code = FAULT
    if code in (INTERRUPTED, TERMINATED):
        say("interrupted" if code == INTERRUPTED else "terminated")
        sys.stdout.flush()
        os._exit(code)  # past the exit hooks: zarr's would complain of reads that were cut short
    sys.exit(code)


def _interrupt(*_: object) -> None:
    """Ctrl-C. What it leaves half-made complains as it is torn down (an event loop without its socket, a coroutine that
    nobody awaits): of no use to who pressed it."""
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
