"""`dipsim tune`: the fastest run that loses little."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_search
from dipsim.cli.help_pages import OUTPUT
from dipsim.description import OPTIONS
from dipsim.errors import DipsimError

if TYPE_CHECKING:
    from dipsim.description import Description
    from dipsim.sweeps.row import Row
    from dipsim.tuning import Tuned

NONE_MEETS_IT = 1
SEARCH = "Search"
NUMBERS = {
    "tok_per_s": ".4g",
    "mlp_error": ".3f",
    "perplexity": ".4g",
    "hit_rate": ".3f",
    "mlp_density": ".3f",
    "energy_j_per_token": ".3g",
}


@takes_search("rank")
def tune(
    out: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder of the results, as of 'dipsim sweep'.",
            rich_help_panel=OUTPUT,
        ),
    ],
    describe: "Callable[[], Description]",
    trace: Annotated[
        str | None, typer.Argument(help="Trace, or 'tiny' for the one that ships; or else give --evaluate.")
    ] = None,
    max_error: Annotated[
        float | None,
        typer.Option(
            help="Highest mlp_error: how far the MLPs' outputs may be off, by what their scores say; needed, "
            "or instead --max-perplexity.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    max_perplexity: Annotated[
        float | None,
        typer.Option(
            help="Instead, with --evaluate: highest perplexity, as 'dipsim evaluate' prints it.", rich_help_panel=SEARCH
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Points to try, the defaults first.", rich_help_panel=SEARCH)] = 100,
    seed: Annotated[
        int, typer.Option(help="Number that the search's random choices begin with.", rich_help_panel=SEARCH)
    ] = 0,
    evaluate: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Run this model on --text with the mask in the loop, instead of replaying a trace.",
            rich_help_panel=options.TEXT,
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="With --evaluate, which needs it: a UTF-8 text file, or 'held-out' for the text tiny "
            "never saw; none by "
            "default.",
            rich_help_panel=options.TEXT,
        ),
    ] = None,
    window_tokens: options.WindowTokens = 256,
    prompt_tokens: options.PromptTokens = 0,
    bos: options.Bos = "auto",
    batch: options.Batch = 1,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
) -> None:
    """Search for the most tokens per second at a bound on what is lost, of magnitude or of perplexity.

    What is given is held. What is not is searched, if it is density (0.1 to 1), gamma (0.05 to 1, which is dip), policy
    (lfu, lru, lfu-in-cache, fifo), admission (always, priority), budget (uniform, by-bytes; on a trace marginal, which
    knows the very tokens) or layout (column, coactivation). The same command goes on where it was interrupted, and
    with more trials it goes further.

    Example: dipsim tune tiny --profile oneplus-12-ufs4 --dram 0.6x --max-error 0.2 -o tuned
    """
    from dipsim import tuning
    from dipsim.cli.ending import keeping
    from dipsim.cli.evaluate import require_torch
    from dipsim.cli.terminal import progress

    if evaluate is not None:
        require_torch("tune")
    given = _point(describe()) | ({} if trace is None else {"trace": trace})
    about = {"model": evaluate, "text": text, "window_tokens": window_tokens, "prompt_tokens": prompt_tokens}
    given |= _evaluated(about | {"bos": bos, "batch": batch, "device": device, "dtype": dtype}, given)
    try:
        with keeping("finished runs", out), progress("trying", "runs") as on_progress:
            found = tuning.tune(
                given,
                out,
                max_error=max_error,
                max_perplexity=max_perplexity,
                n_trials=trials,
                seed=seed,
                on_progress=on_progress,
            )
    except OSError as error:
        raise DipsimError(
            f"{error.filename or out}: {error.strerror or error}; finished runs are kept, the same command goes on"
        ) from None
    _tell(found, out)


def _point(described: "Description") -> dict[str, Any]:
    """What was given, or is not as by default, under the names of a sweep's spec."""
    given = described.model_dump(exclude_defaults=True)
    searched = {name for name in described.model_fields_set if OPTIONS[name].searched}
    point: dict[str, Any] = {}
    for name, value in described.model_dump(include={*given, *searched}).items():
        point |= _dotted(name.removesuffix("_values"), value[0] if name == "loads" and len(value) == 1 else value)
    return point


def _dotted(name: str, value: Any) -> dict[str, Any]:
    """A table's values under dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    return {key: one for own, inner in value.items() for key, one in _dotted(f"{name}.{own}", inner).items()}


def _evaluated(about: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The model and its text, but for what is as by default; tokens are then those of the text."""
    from dipsim.sweeps.spec import Text

    named = {
        f"evaluate.{name}": value
        for name, value in about.items()
        if value is not None and value != Text.model_fields[name].default
    }
    return named | ({"evaluate.tokens": given.pop("tokens")} if "evaluate.model" in named and "tokens" in given else {})


def _tell(found: "Tuned", out: Path) -> None:
    """The best beside the defaults, or how far from the bound the nearest is."""
    from dipsim.cli.terminal import say, table

    n_failed = sum(row["error"] is not None for row in found.rows)
    failed = f", {n_failed} failed" if n_failed else ""
    say(f"{found.n_trials} trials, {len(found.rows)} runs in {out}: {len(found.feasible)} meet the bound{failed}")
    if found.best is None:
        say(f"no trial meets the bound: {found.bound}{_nearest(found)}")
        raise typer.Exit(NONE_MEETS_IT)
    rows = [
        [name, _shown(name, found.best), _shown(name, found.default)] for name in [*NUMBERS, "method", *found.searched]
    ]
    if noise := _noise(found):
        rows.append(["perplexity, best less default", noise, ""])
    rows.append(["meets the bound", "yes", "yes" if found.bound.excess(found.default) <= 0 else "no"])
    table(["", "best", "default"], [row for row in rows if row[1]], title=f"{found.bound}")


def _noise(found: "Tuned") -> str:
    """How far the best's perplexity is from the defaults'; nothing without a text, or where they are one run."""
    from dipsim.evaluation.paired import Paired

    best, default = found.best, found.default
    if best is None or best is default or "loss_by_window" not in best or default["error"] is not None:
        return ""
    try:
        paired = Paired.of(default, best)
    except DipsimError as error:  # a loss that is not finite
        return f"not told: {error}"
    return f"{paired}" if paired.differs else f"{paired}: within noise"


def _nearest(found: "Tuned") -> str:
    if found.nearest is None:
        return f"; all failed, the first: {found.default['error']}"
    told = ", ".join(f"{name} {_shown(name, found.nearest)}" for name in found.searched)
    number = _shown(found.bound.column, found.nearest)
    return f"; the nearest has {number} ({told}) at {_shown('tok_per_s', found.nearest)} tok/s"


def _shown(name: str, row: "Row") -> str:
    value = row.get(name)
    if value is None:
        return ""
    return format(value, NUMBERS.get(name, ".4g")) if isinstance(value, float) else str(value)
