"""`dipsim explain`: why a token was slow, and what would have helped."""

import json as json_format
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dipsim.cli import options
from dipsim.cli.described import takes_simulation
from dipsim.description import RUN

if TYPE_CHECKING:
    import pandas as pd

    from dipsim.results import Explanation
    from dipsim.simulation import Simulation

NOTE = """
Each what-if is a run of its own from the first token on, with that one thing changed; where masks follow the cache
(dip-ca), they change with it. What is resident comes on top of the DRAM that the run has."""
N_SHOWN = 8
PARTS = ("flash_latency_s", "flash_bandwidth_s", "waiting_s", "dram_s", "compute_s", "selection_s")


@takes_simulation()
def explain(
    describe: "Callable[..., Simulation]",
    token: Annotated[
        int | None,
        typer.Option(help="Index in the trace; the slowest token after warm-up by default.", rich_help_panel=RUN),
    ] = None,
    json: options.Json = None,
    force: options.Force = False,
) -> None:
    """Why was a token slow? Its critical path by layer and group, and runs with one thing changed at a time.

    Example: dipsim explain tiny --profile oneplus-12-ufs4 --method dip-ca --density 0.5 --dram 0.5x --warmup 16
    """
    from dipsim.cli.terminal import progress, stdout, table
    from dipsim.files import check_output, write_text

    if json is not None:
        check_output(json, force)
    with progress("reading"):
        simulation = describe()
    with progress("simulating", "tokens") as on_progress:
        found = simulation.explain(token, on_progress)
    which = "" if token is not None else " It is the slowest counted token."
    stdout.print(f"{found.run}\n{found.headline}{which}\n", soft_wrap=True, markup=False)
    parts = [part for part in PARTS if found.stages[part].any()]
    names = [part.removesuffix("_s").replace("_", " ").replace("flash", "Flash") for part in parts]
    table(["layer", "stage", "time", *names, "missed", "reads", "read"], _stage_rows(found.stages, parts), left=2)
    stdout.print()
    columns = ["what if", "the token", "faster", "run", "hit rate", "MLP error"]
    table(columns, _what_if_rows(found))
    stdout.print(NOTE, soft_wrap=True, markup=False)
    if json is not None:
        write_text(json, json_format.dumps(_as_data(found, simulation), indent=2, allow_nan=False) + "\n")


def _stage_rows(stages: "pd.DataFrame", parts: list[str]) -> list[list[str]]:
    """The stages that cost most, all others in one row, and the token: the rows above the last add up to it."""
    ranked = stages.sort_values("seconds", ascending=False, kind="stable")
    rows = [
        [str(row["layer"]) if row["layer"] is not None else "", row["stage"], *_numbers(row, parts)]
        for row in _records(ranked.head(N_SHOWN))
    ]
    if len(ranked) > N_SHOWN:
        others = ranked.iloc[N_SHOWN:]
        rows.append(["", f"{len(others)} others", *_numbers(others.sum(numeric_only=True), parts)])
    return [*rows, ["", "token", *_numbers(stages.sum(numeric_only=True), parts)]]


def _numbers(row: Any, parts: list[str]) -> list[str]:
    from dipsim.units import scaled

    return [
        *(scaled(row[part], "s") for part in ("seconds", *parts)),
        f"{row['missed_columns']:.0f} of {row['active_columns']:.0f}" if row["active_columns"] else "",
        f"{row['flash_reads']:.0f}",
        scaled(row["flash_bytes"], "B"),
    ]


def _what_if_rows(found: "Explanation") -> list[list[str]]:
    from dipsim.units import scaled, three_digits

    return [
        [
            row["what_if"],
            scaled(row["token_s"], "s"),
            f"{found.token_s / row['token_s']:.2f} x",
            f"{three_digits(row['tok_per_s'])} tok/s",
            f"{row['hit_rate']:.3f}",
            "" if row["mlp_error"] is None else f"{row['mlp_error']:.3f}",
        ]
        for row in _records(found.what_ifs)
    ]


def _as_data(found: "Explanation", simulation: "Simulation") -> dict[str, Any]:
    return {
        "token": found.token,
        "token_s": found.token_s,
        "median_s": found.median_s,
        "headline": found.headline,
        "stages": _records(found.stages),
        "what_ifs": _records(found.what_ifs),
        "config": simulation.config,
        "dipsim_version": version("dipsim"),
    }


def _records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as plain data; None where there is no number."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return [{str(name): value for name, value in row.items()} for row in rows]
