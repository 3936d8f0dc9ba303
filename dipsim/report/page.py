"""The page: one file of HTML with its data, its script and its plotting library, which asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template

from dipsim.errors import DipsimError
from dipsim.report.columns import Column, describe
from dipsim.report.embedding import inert_json, packed, packed_configs, parsed, rounded

# Values of an axis are named one by one up to so many.
MOST_NAMED = 8
SCRIPTS = ("data", "filters", "fixed", "ticks", "points", "parts", "table", "run", "address", "page")
PLOTLY = "libraries/plotly/plotly-basic.min.js"  # its smallest bundle, with points and bars; it evaluates no text
LIBRARIES = ("dipsim", "numpy", "simpy")
_HERE = Path(__file__).parent

# Profile's name -> dotted key of a number -> (the number, where it comes from).
Origins = Mapping[str, Mapping[str, tuple[Any, str]]]


def page(
    frame: pd.DataFrame,
    title: str = "",
    specs: Sequence[tuple[str, str]] = (),
    options: Mapping[str, str] | None = None,
    origins: Origins | None = None,
) -> str:
    """A page of HTML that explores a results frame; it works from a file, offline.

    Args:
        frame: one row per run, as a sweep gives it.
        title: of the page.
        specs: (name, text) of what was asked for, shown as they are.
        options: parameter -> what it is, in words.
        origins: of the devices' numbers, where they are known.

    Raises:
        DipsimError: there are no rows.
    """
    if frame.empty:
        raise DipsimError("report: no runs; must be at least one")
    columns = describe(frame, options or {})
    scripts, data = _scripts(), _data(columns)
    values = data.pop("values")
    return _template().render(
        title=title or "dipsim: results of a sweep",
        n_runs=len(frame),
        n_failed=sum(_failed(columns)),
        swept=[(column.heading, _named(column)) for column in columns if column.is_axis],
        specs=specs,
        columns=columns,
        devices=_devices(columns, origins or {}),
        versions=_versions(columns),
        policy=_security_policy(scripts),
        style=_text_of("report.css"),
        scripts=scripts,
        **{name: inert_json(data) for name, data in data.items()},
        values=[inert_json(one) for one in values],
    )


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text_of("template.html"))


def _scripts() -> list[str]:
    """Plotly's, and our own as one."""
    own = "\n".join(_text_of(f"{name}.js") for name in SCRIPTS)
    return [_text_of(PLOTLY), f'"use strict";\n{own}']


def _text_of(name: str) -> str:
    return (_HERE / name).read_bytes().decode()


def _security_policy(scripts: Sequence[str]) -> str:
    """Only these scripts may run, and nothing may be fetched: what slipped through escaping would still do nothing."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(columns: Sequence[Column]) -> dict[str, Any]:
    """What the script reads: what columns are at once, what they hold when it is asked for."""
    told = ("name", "label", "unit", "scale", "kind", "role", "is_axis", "follows", "better")
    shown = [column for column in columns if column.name != "config"]
    failed = _failed(columns)
    return {
        "data": {
            "n_runs": len(columns[0].by_row),
            "columns": [
                {name: getattr(column, name) for name in told} | {"n_values": _n_values(column, failed)}
                for column in shown
            ],
        },
        "values": [packed(column.by_row) if column.kind != "list" else None for column in shown],
        "lists": {column.name: packed(rounded(column.by_row)) for column in columns if column.kind == "list"},
        "configs": next((packed_configs(column.by_row) for column in columns if column.name == "config"), []),
    }


def _failed(columns: Sequence[Column]) -> list[bool]:
    """Whether it did, by run."""
    errors = next((column.by_row for column in columns if column.name == "error"), [None] * len(columns[0].by_row))
    return [error is not None for error in errors]


def _n_values(column: Column, failed: Sequence[bool]) -> int:
    """How many different ones runs have that succeeded, missing as one of them; of lists, none are asked for."""
    if column.kind == "list":
        return 0
    return len({value for value, is_failed in zip(column.by_row, failed, strict=True) if not is_failed})


def _named(column: Column) -> str:
    """The values of an axis, or how many there are."""
    distinct = list(dict.fromkeys(column.by_row))
    if len(distinct) <= MOST_NAMED:
        return ", ".join(column.shown(value) for value in distinct)
    numbers = [value for value in distinct if value is not None]
    if column.kind != "number":
        return f"{len(distinct)} values"
    return f"{len(distinct)} values from {column.shown(min(numbers))} to {column.shown(max(numbers))}"


def _devices(columns: Sequence[Column], origins: Origins) -> list[dict[str, Any]]:
    """Each device: its name and description, and its numbers with where they come from."""
    by_name = {column.name: column for column in columns}
    if "profile" not in by_name:
        return []
    names = by_name["profile"].by_row
    rows = {name: [row for row, other in enumerate(names) if other == name] for name in dict.fromkeys(names) if name}
    numbers = [column for column in columns if column.role == "device"]
    return [
        {
            "name": name,
            "description": _description(by_name["config"].by_row, own) if "config" in by_name else "",
            "numbers": [
                (column.heading, *_value_and_origin(column, own, origins.get(name, {})))
                for column in numbers
                if any(column.by_row[row] is not None for row in own)
            ],
        }
        for name, own in rows.items()
    ]


def _description(configs: Sequence[str | None], rows: Sequence[int]) -> str:
    profile = parsed(next((configs[row] for row in rows if configs[row]), None)).get("profile")
    return str(profile.get("description", "")) if isinstance(profile, dict) else ""


def _value_and_origin(column: Column, rows: Sequence[int], origins: Mapping[str, tuple[Any, str]]) -> tuple[str, str]:
    """A device's number and the origin of its file's; where the runs have another, that it was given."""
    distinct = list(dict.fromkeys(column.by_row[row] for row in rows if column.by_row[row] is not None))
    value, origin = origins.get(column.name.removeprefix("profile."), (None, ""))
    shown = ", ".join(map(column.shown, distinct[:MOST_NAMED])) + (", ..." if len(distinct) > MOST_NAMED else "")
    if value is None:
        return shown, ""
    as_shown = str(value).lower() if isinstance(value, bool) else value
    return shown, origin if distinct == [as_shown] else f"given for the runs; in the profile's file {value}: {origin}"


def _versions(columns: Sequence[Column]) -> list[tuple[str, str]]:
    made_by = next((column.by_row for column in columns if column.name == "dipsim_version"), ())
    runs = ", ".join(dict.fromkeys(str(value) for value in made_by if value is not None)) or "not known"
    here = [("python", platform.python_version()), *((name, version(name)) for name in LIBRARIES)]
    here.append(("plotly.js", _text_of(PLOTLY).partition("(basic - minified) v")[2].split()[0]))
    return [("runs made by dipsim", runs), *((f"page written with {name}", number) for name, number in here)]
