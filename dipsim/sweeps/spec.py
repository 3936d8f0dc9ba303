"""What is to be varied: a sweep's spec, strict TOML, unfolded into points.

Keys are the names of `dipsim simulate`'s options; a list is an axis. Dotted keys reach into profiles and options:
`profile.flash.read_bytes_per_s = [1e9, 2e9]`, `policy_options.half_life = [16, 32]` (or `policy_option`, as the flag).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import tomlkit
from tomlkit.items import Array, Item, Trivia, Whitespace

from dipsim.description import SPELLINGS, TABLES, Description
from dipsim.documents import check_bounds, read_text, read_toml
from dipsim.errors import DipsimError, suggestion
from dipsim.schema import Count, CountOrZero, Record
from dipsim.sweeps.grid import Grid, Key, Point
from dipsim.sweeps.values import MOST_POINTS, Range, as_toml

_MOST_BYTES = 2 * 2**20  # of a file: 100,000 numbers, written out
# Of all points, written out: so much is held in memory.
_MOST_CHARACTERS = 200_000_000

HEADROOM = "headroom"
_OPTIONS = tuple(spelling for spelling, name in SPELLINGS.items() if name in TABLES)
_TABLES = ("profile", "evaluate", *_OPTIONS)
# Options of `simulate` that mean something else, or nothing, where a model runs on a text.
_NOT_EVALUATED = ("trace", "tokens", "rank")


class Text(Record):
    """`[evaluate]`: a model runs on a text with the mask in the loop, instead of a trace that is replayed. Names and
    defaults as of `dipsim evaluate`."""

    model: str
    text: str
    tokens: Count | None = None
    window_tokens: Count = 256
    prompt_tokens: CountOrZero = 0
    stride: Count | None = None
    bos: Literal["auto", "yes", "no"] = "auto"
    predictor: str | None = None
    batch: Count = 1
    device: str = "cpu"
    dtype: str = "auto"


@dataclass(frozen=True)
class Spec:
    """A sweep's spec.

    Attributes:
        points: one per run, each the values of the axes (and single values) that describe it; `headroom` in them says
            that it is measured too.
        folder: where relative paths begin.
        text: as it was written.
        name: of its file.
    """

    points: tuple[Point, ...]
    folder: Path
    text: str
    name: str

    @classmethod
    def load(cls, spec: str | Path | dict[str, Any]) -> Self:
        """From a TOML file, or from the same as a dict.

        Raises:
            DipsimError: not readable, not TOML, an unknown axis, a value of the wrong kind, or no points.
        """
        if isinstance(spec, dict):
            check_bounds(spec, "spec")
            data = as_toml(spec, "spec")
            return cls._of(data, tomlkit.dumps(_with_arrays(data)), Path.cwd(), "spec")
        path = Path(spec)
        try:
            data, text = read_toml(path, str(path), _MOST_BYTES)
        except DipsimError as error:
            raise DipsimError(f"{error}{_hint(path) if 'not valid TOML' in str(error) else ''}") from None
        return cls._of(data, text, path.resolve().parent, path.name)

    @classmethod
    def _of(cls, data: dict[str, Any], text: str, folder: Path, name: str) -> Self:
        points: dict[Key, Point] = {}
        for grid in _grids(data, name):
            for key, point in grid.points(name):
                points.setdefault(key, point)
        if not points:
            raise DipsimError(f"{name}: no runs; the filter leaves none")
        known: set[object] = set()
        for key, point in points.items():
            # Values are checked each on its own, so that one which was seen elsewhere need not be again.
            if new := {key[0], *zip(*key, strict=True)} - known:
                describe(point, name)
                known |= new
        return cls(tuple(points.values()), folder, text, name)

    @property
    def axes(self) -> dict[str, list[Any]]:
        """What varies, with its values in the order of the spec."""
        names = dict.fromkeys(name for point in self.points for name in point if name != HEADROOM)
        seen = {name: [*dict.fromkeys(_hashable(point.get(name)) for point in self.points)] for name in names}
        return {name: values for name, values in seen.items() if len(values) > 1}


def _with_arrays(data: dict[str, Any]) -> dict[str, Any]:
    """The same for tomlkit, which would look at all values of a list before it for each."""

    def own(value: Any) -> Any:
        if isinstance(value, dict):
            return _with_arrays(value)
        if not isinstance(value, list) or not all(isinstance(one, int | float | str) for one in value):
            return value
        parts: list[Item] = [part for one in value for part in (Whitespace(","), Whitespace(" "), tomlkit.item(one))]
        return Array(parts[2:], Trivia())

    return {name: own(value) for name, value in data.items()}


def describe(point: Point, where: str) -> tuple[Description, Text | None]:
    """What a point says of the run, and of the text where a model runs on one.

    Raises:
        DipsimError: a value of the wrong kind, or names that do not go together.
    """
    tables: dict[str, Point] = {table: {} for table in _TABLES}
    plain: Point = {}
    for name, value in point.items():
        _check_name(name, where)
        table, _, rest = name.partition(".")
        if rest:
            tables[table][rest] = value
        else:
            plain[name] = value
    if not isinstance(plain.get(HEADROOM, False), bool):
        raise DipsimError(f"{where}: headroom: got {plain[HEADROOM]!r}; must be true or false")
    given: Point = {"profile_values": tables["profile"]}
    for spelling, value in (*plain.items(), *((table, tables[table]) for table in _OPTIONS)):
        if spelling in SPELLINGS:
            _give(given, spelling, value, where)
    description = Description.parse(given, where)
    text = Text.parse(tables["evaluate"], f"{where}: evaluate") if tables["evaluate"] else None
    if text is not None and (unfit := [name for name in _NOT_EVALUATED if name in plain]):
        raise DipsimError(f"{where}: {unfit[0]}: does not go with [evaluate], which runs a model on a text")
    if text is None and not isinstance(plain.get("trace"), str):
        raise DipsimError(f"{where}: trace: missing; name one or several, or run a model by [evaluate]")
    return description, text


def _give(given: Point, spelling: str, value: Any, where: str) -> None:
    """Adds an option, or some of its table, under its one name.

    Raises:
        DipsimError: it was given under another spelling.
    """
    name = SPELLINGS[spelling]
    earlier = given.get(name, {}) if name in TABLES else None
    if name in given and (earlier is None or value.keys() & earlier):
        raise DipsimError(f"{where}: {spelling}: given twice; write '{name}'")
    given[name] = value if earlier is None else earlier | value


def _hint(path: Path) -> str:
    """For who names a device, and then a field of it below."""
    starts = [line.split("=")[0].strip() for line in read_text(path, str(path)).splitlines() if "=" in line]
    if "profile" not in starts or not any(start.startswith("profile.") for start in starts):
        return ""
    return (
        '; beside profile = ..., put the name of its field into quotes: "profile.flash.read_bytes_per_s" = [1e9, 2e9]'
    )


def _grids(data: dict[str, Any], where: str) -> list[Grid]:
    """The grids, none of which is unfolded before all are known to be few enough.

    Raises:
        DipsimError: what stands in the spec makes none, or too many points.
    """
    if not isinstance(tables := data.get("grid", [{}]), list) or not all(isinstance(one, dict) for one in tables):
        raise DipsimError(f"{where}: grid: write each as [[grid]] and axes of its own below")
    if not tables:
        raise DipsimError(f"{where}: grid: got none; leave it out, or give one at least")
    common = _grid({key: value for key, value in data.items() if key != "grid"}, where)
    grids: list[Grid] = []
    n_points = n_characters = 0.0
    for own in (_grid(table, where) for table in tables):
        axes = common.axes | own.axes
        zips = [group for group in (*common.zip, *own.zip) if not axes.keys().isdisjoint(group)]
        grids.append(grid := Grid(axes, zips, [*common.filters, *own.filters]))
        n_points += (n := grid.n_points(where))
        n_characters += n * grid.n_characters
        if n_points > MOST_POINTS:
            raise DipsimError(f"{where}: {n_points:,.15g} points, before filters; at most {MOST_POINTS:,}")
        if n_characters > _MOST_CHARACTERS:
            raise DipsimError(
                f"{where}: {n_points:,.15g} points of {len(axes)} axes are {n_characters:,.15g} characters written "
                f"out; at most {_MOST_CHARACTERS:,}"
            )
    return grids


def _grid(data: dict[str, Any], where: str) -> Grid:
    """What one table says."""
    text = data.get("filter")
    if text is not None and not isinstance(text, str):
        raise DipsimError(f'{where}: filter: got {_short(text)}; must be text, as "density < 0.5"')
    return Grid(dict(_axes(data, where)), _zips(data, where), [] if text is None else [text])


def _zips(data: dict[str, Any], where: str) -> list[list[str]]:
    zips = data.get("zip", [])
    if not isinstance(zips, list) or not all(isinstance(group, list) for group in zips):
        raise DipsimError(
            f'{where}: zip: got {_short(zips)}; must be lists of names: zip = [["keep_input", "keep_glu"]]'
        )
    for name in itertools.chain.from_iterable(zips):
        _check_name(str(name), f"{where}: zip")
    return [[_renamed(name) for name in group] for group in zips]


def _axes(data: dict[str, Any], where: str) -> Iterator[tuple[str, list[Any] | Range]]:
    for name, value in _flat(data, where):
        _check_name(name, where)
        if isinstance(value, dict):
            yield _renamed(name), Range.parse(value, f"{where}: {name}")
            continue
        values = value if isinstance(value, list) else [value]
        if not values:
            raise DipsimError(f"{where}: {name}: got no value; an axis needs one at least")
        for one in values:
            _check_value(one, f"{where}: {name}")
        yield _renamed(name), values


def _check_value(value: object, where: str) -> None:
    """Text, numbers, true and false, or lists of these: TOML has tables, dates and times beside them."""
    if isinstance(value, list | tuple):
        for one in value:
            _check_value(one, where)
    elif not isinstance(value, str | int | float) or value != value:
        raise DipsimError(f"{where}: got {_short(value)}; must be text, a number, true, false, or a list of these")


def _flat(data: dict[str, Any], where: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and their values; a table that is a range is a value."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if name in ("zip", "filter"):
            continue
        if isinstance(value, dict) and not ("start" in value and value.keys() <= Range.model_fields.keys()):
            if not value:
                raise DipsimError(f"{where}: {name}: got an empty table; leave it out")
            yield from _flat(value, where, f"{name}.")
        else:
            yield name, value


def _renamed(name: str) -> str:
    """A device may be named as in a profile's file: `profile.extends`."""
    return "profile" if name == "profile.extends" else name


def _check_name(name: str, where: str) -> None:
    table, _, rest = name.partition(".")
    if rest and table in _TABLES:
        return
    known = [spelling for spelling in SPELLINGS if spelling not in _OPTIONS]
    if name not in ("trace", HEADROOM, *known):
        choices = ["trace", "zip", "filter", HEADROOM, "grid", *known, *(f"{own}.*" for own in _TABLES)]
        raise DipsimError(f"{where}: {name}: unknown axis{suggestion(name, choices)}")


def _hashable(value: object) -> object:
    return repr(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _short(value: object) -> str:
    return said if len(said := repr(value)) <= 60 else f"{said[:57]}..."
