"""`dipsim compare`: two results beside each other."""

from __future__ import annotations

import json as json_format
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options

if TYPE_CHECKING:
    from dipsim.evaluation.compare import Comparison

RUN = "A JSON of simulate or evaluate, or RESULTS#KEY: a sweep's run by (the first letters of) its key."


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=RUN)],
    second: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Two results: what differs in set-up and outcome, and whether their perplexities differ by more than noise.

    Example: dipsim compare dip.json dip-ca.json
    """
    from dipsim.cli.terminal import stdout, table
    from dipsim.evaluation.compare import Comparison
    from dipsim.files import check_output, write_text
    from dipsim.sweeps.outcome import read_outcome

    if json is not None:
        check_output(json, force)
    found = Comparison.of(read_outcome(first), read_outcome(second))
    setup = [[name, *map(_given, pair)] for name, pair in found.setup.items()]
    stdout.print(f"A: {first}\nB: {second}\n", soft_wrap=True, markup=False)
    table(["set-up", "A", "B"], setup or [["the same", "", ""]])
    stdout.print()
    table(["outcome", "A", "B", "B - A"], [_row(name, found) for name in found.outcome])
    stdout.print(f"\n{found.verdict}", soft_wrap=True, markup=False)
    if json is not None:
        write_text(json, json_format.dumps(found.to_dict(), indent=2) + "\n")


def _given(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json_format.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _row(name: str, found: Comparison) -> list[str]:
    from dipsim.results.columns import meaning_of
    from dipsim.units import scaled, three_digits, with_error

    meaning, is_loss = meaning_of(name), name in ("perplexity", "loss")
    unit = f" ({meaning.unit})" if meaning.unit and not meaning.is_prefixed else ""

    def shown(value: float | None, error: float | None) -> str:
        if value is None:
            return "-"
        if is_loss:
            return with_error(value, error)
        if meaning.is_prefixed:
            return scaled(value, meaning.unit)
        return three_digits(value) if meaning.unit else f"{value:.3f}"

    def change(first: float | None, second: float | None) -> str:
        if first is None or second is None:
            return ""
        if is_loss:
            paired = found.paired
            return "" if paired is None else _signed(getattr(paired, name), getattr(paired, f"{name}_se"))
        if not meaning.unit:
            return f"{second - first:+.3f}"
        return f"{100 * (second / first - 1):+.1f} %" if first else ""

    pair = found.outcome[name]
    errors = [run.numbers.get(f"{name}_se") for run in (found.first, found.second)]
    return [f"{meaning.label}{unit}", *map(shown, pair, errors), change(*pair)]


def _signed(value: float, error: float | None) -> str:
    from dipsim.units import with_error

    return f"{'-' if math.copysign(1, value) < 0 else '+'}{with_error(abs(value), error)}"
