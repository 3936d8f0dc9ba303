"""What is to be varied: a sweep's spec, strict TOML, unfolded into points.

Keys are the names of `dipsim simulate`'s options; a list is an axis. Dotted keys reach into profiles and options:
`profile.flash.read_bytes_per_s = [1e9, 2e9]`, `policy_option.half_life = [16, 32]`.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
import pydantic
import tomlkit

from dipsim.description import Description
from dipsim.errors import DipsimError, suggestion
from dipsim.schema import Count, CountOrZero, Record
from dipsim.sweeps.values import Range, as_toml

Point = dict[str, Any]

HEADROOM = "headroom"
_PLUGGED = ("policy_option", "layout_option", "prefetch_option")
_TABLES = ("profile", "evaluate", *_PLUGGED)
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


class Grid(Record):
    """One product of axes.

    Attributes:
        axes: dotted name -> its values, in the order of the spec.
        zip: axes that walk together instead of being multiplied, as lists of their names.
        filter: an expression over the axes; points for which it is false are left out.
    """

    axes: dict[str, list[Any]]
    zip: list[list[str]] = pydantic.Field(default_factory=list)
    filter: str | None = None

    def points(self, where: str) -> list[Point]:
        """The points, last axis fastest.

        Raises:
            DipsimError: zipped axes of unequal length, or a filter that cannot be evaluated.
        """
        bundles = self._bundles(where)
        points = [dict(itertools.chain.from_iterable(parts)) for parts in itertools.product(*bundles)]
        ordered = [{name: point[name] for name in self.axes} for point in points]
        return ordered if self.filter is None else list(_kept(ordered, self.filter, where))

    def _bundles(self, where: str) -> list[list[tuple[tuple[str, Any], ...]]]:
        """Axes as lists of (name, value) pairs that go together."""
        zipped = {name: group[0] for group in self.zip for name in group}
        if sum(map(len, self.zip)) > len(zipped):
            raise DipsimError(f"{where}: zip: got {self.zip}; an axis may stand in one list, once")
        for group in self.zip:
            if missing := [name for name in group if name not in self.axes]:
                raise DipsimError(f"{where}: zip: '{missing[0]}' is no axis{suggestion(missing[0], self.axes)}")
            if len(sizes := {name: len(self.axes[name]) for name in group}) < 2 or len(set(sizes.values())) > 1:
                raise DipsimError(f"{where}: zip: got {sizes}; needs two axes or more, of as many values each")
        bundles: dict[str, list[tuple[tuple[str, Any], ...]]] = {}
        for name, values in self.axes.items():
            own: list[tuple[tuple[str, Any], ...]] = [((name, value),) for value in values]
            leader = zipped.get(name, name)
            bundles[leader] = [a + b for a, b in zip(bundles[leader], own, strict=True)] if leader in bundles else own
        return list(bundles.values())


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
            data = as_toml(spec, "spec")
            return cls._of(data, tomlkit.dumps(data), Path.cwd(), "spec")
        path = Path(spec)
        try:
            text = path.read_text(encoding="utf-8")
            data = tomllib.loads(text)
        except OSError as error:
            raise DipsimError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            is_text = not isinstance(error, UnicodeDecodeError)
            hint = _HINT if is_text and ("profile" in str(error) or _names_profile_twice(path)) else ""
            raise DipsimError(f"{path}: not valid TOML: {error}{hint}") from None
        return cls._of(data, text, path.resolve().parent, path.name)

    @classmethod
    def _of(cls, data: dict[str, Any], text: str, folder: Path, name: str) -> Self:
        if not isinstance(grids := data.get("grid", [{}]), list) or not all(isinstance(one, dict) for one in grids):
            raise DipsimError(f"{name}: grid: write each as [[grid]] and axes of its own below")
        if not grids:
            raise DipsimError(f"{name}: grid: got none; leave it out, or give one at least")
        common = {key: value for key, value in data.items() if key != "grid"}
        points: dict[str, Point] = {}
        for own in grids:
            for point in _grid(common, own, name).points(name):
                points.setdefault(repr(point), point)
        if not points:
            raise DipsimError(f"{name}: no runs; the filter leaves none")
        for point in points.values():
            describe(point, name)
        return cls(tuple(points.values()), folder, text, name)

    @property
    def axes(self) -> dict[str, list[Any]]:
        """What varies, with its values in the order of the spec."""
        names = dict.fromkeys(name for point in self.points for name in point if name != HEADROOM)
        seen = {name: [*dict.fromkeys(_hashable(point.get(name)) for point in self.points)] for name in names}
        return {name: values for name, values in seen.items() if len(values) > 1}


def describe(point: Point, where: str) -> tuple[Description, Text | None]:
    """What a point says of the run, and of the text where a model runs on one.

    Raises:
        DipsimError: a value of the wrong kind, or names that do not go together.
    """
    tables: dict[str, Point] = {table: {} for table in _TABLES}
    plain: Point = {}
    for name, value in point.items():
        table, _, rest = name.partition(".")
        if rest:
            tables[table][rest] = value
        else:
            plain[name] = value
    if not isinstance(plain.get(HEADROOM, False), bool):
        raise DipsimError(f"{where}: headroom: got {plain[HEADROOM]!r}; must be true or false")
    given = {key: value for key, value in plain.items() if key not in ("trace", HEADROOM)}
    given |= {key: tables[key] for key in _PLUGGED}
    description = Description.parse(given | {"profile_values": tables["profile"]}, where)
    text = Text.parse(tables["evaluate"], f"{where}: evaluate") if tables["evaluate"] else None
    if text is not None and (unfit := [name for name in _NOT_EVALUATED if name in plain]):
        raise DipsimError(f"{where}: {unfit[0]}: does not go with [evaluate], which runs a model on a text")
    if text is None and not isinstance(plain.get("trace"), str):
        raise DipsimError(f"{where}: trace: missing; name one or several, or run a model by [evaluate]")
    return description, text


_HINT = '; beside profile = ..., put the name of its field into quotes: "profile.flash.read_bytes_per_s" = [1e9, 2e9]'


def _names_profile_twice(path: Path) -> bool:
    starts = [line.split("=")[0].strip() for line in path.read_text(encoding="utf-8").splitlines() if "=" in line]
    return "profile" in starts and any(start.startswith("profile.") for start in starts)


def _grid(common: dict[str, Any], own: dict[str, Any], where: str) -> Grid:
    """Common keys and a grid's own, which go before."""
    axes = dict(_axes(common, where)) | dict(_axes(own, where))
    zips = [group for group in (*_zips(common, where), *_zips(own, where)) if not set(group).isdisjoint(axes)]
    filters = [f"({data['filter']})" for data in (common, own) if data.get("filter") is not None]
    return Grid.parse({"axes": axes, "zip": zips, "filter": " and ".join(filters) or None}, where)


def _zips(data: dict[str, Any], where: str) -> list[list[str]]:
    zips = data.get("zip", [])
    if not isinstance(zips, list) or not all(isinstance(group, list) for group in zips):
        raise DipsimError(f'{where}: zip: got {zips!r}; must be lists of names: zip = [["keep_input", "keep_glu"]]')
    for name in itertools.chain.from_iterable(zips):
        _check_name(str(name), f"{where}: zip")
    return [[_renamed(name) for name in group] for group in zips]


def _axes(data: dict[str, Any], where: str) -> Iterator[tuple[str, list[Any]]]:
    for name, value in _flat(data):
        _check_name(name, where)
        if isinstance(value, dict):
            yield _renamed(name), Range.parse(value, f"{where}: {name}").values()
        else:
            if value == []:
                raise DipsimError(f"{where}: {name}: got no value; an axis needs one at least")
            yield _renamed(name), value if isinstance(value, list) else [value]


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and their values; a table that is a range is a value."""
    for key, value in data.items():
        name = f"{prefix}{key}"
        if name in ("zip", "filter"):
            continue
        if isinstance(value, dict) and not ("start" in value and value.keys() <= Range.model_fields.keys()):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _renamed(name: str) -> str:
    """A device may be named as in a profile's file: `profile.extends`."""
    return "profile" if name == "profile.extends" else name


def _check_name(name: str, where: str) -> None:
    known = [key for key in Description.model_fields if key not in ("profile_values", *_PLUGGED)]
    table, _, rest = name.partition(".")
    if rest and table in _TABLES:
        return
    if name not in ("trace", HEADROOM, *known):
        choices = ["trace", "zip", "filter", HEADROOM, "grid", *known, *(f"{own}.*" for own in _TABLES)]
        raise DipsimError(f"{where}: {name}: unknown axis{suggestion(name, choices)}")


def _kept(points: list[Point], expression: str, where: str) -> Iterator[Point]:
    frame = pd.DataFrame(points)
    try:
        is_kept = frame.eval(expression, engine="python", local_dict={}, global_dict={})
        if not isinstance(is_kept, pd.Series) or is_kept.dtype != bool:
            raise TypeError("it is neither true nor false")
    except Exception as error:  # whatever pandas makes of a stranger's expression
        message = " ".join(str(error).split())[:200]
        raise DipsimError(
            f"{where}: filter: got {expression!r}: {message}; an expression over {', '.join(map(repr, frame.columns))} "
            "(names with a dot in backticks)"
        ) from None
    return itertools.compress(points, is_kept)


def _hashable(value: object) -> object:
    return repr(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
