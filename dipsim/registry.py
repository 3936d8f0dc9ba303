"""Things found by name: built in, registered by a decorator, or offered by an installed package's entry point."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from dipsim.errors import DipsimError, choose, suggestion

T = TypeVar("T")

# Where installed packages and Python itself live: not what a user is asked to look at.
INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_OWN = f"{Path(__file__).parent}{os.sep}"


class Registry(Generic[T]):
    """Named things of one kind.

    Args:
        kind: what one entry is called in messages, for example `policy`.
        entry_point_group: group under which other packages offer entries; each is loaded when asked for.
        needs: what everything that `make` returns must have.
    """

    def __init__(self, kind: str, entry_point_group: str | None = None, needs: Sequence[str] = ()) -> None:
        self.kind = kind
        self._group = entry_point_group
        self._needs = needs
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files its argument under the name.

        Raises:
            DipsimError: the name is taken, unless by an earlier definition of the same class (a notebook cell run
                again).
        """

        def add(entry: T) -> T:
            if name in self._entries and not _same_definition(self._entries[name], entry):
                raise DipsimError(f"{self.kind} '{name}': registered twice; each name once")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        known = choose(self.kind, name, tuple(self))
        if known in self._points:
            self.register(known)(self._load(self._points[known]))
        return self._entries[known]

    def replace(self, name: str, entry: T) -> None:
        """Files the entry under the name, whatever was there: as another process has it."""
        self._entries[name] = entry

    def make(self, name: str, options: dict[str, Any]) -> Any:
        """Calls the entry of that name with its options; one that has any is a dataclass.

        Raises:
            DipsimError: unknown name, an option that it does not have or lacks, no number where one is needed, or
                whatever a stranger's entry raises.
        """
        entry: Any = self[name]
        known = options_of(entry)
        for key, value in options.items():
            if key not in known:
                raise DipsimError(f"{key}: {self.kind} '{name}' has no such option{suggestion(key, known)}")
            _check_kind(key, value, known[key])
        if missing := [key for key, default in known.items() if is_missing(default) and key not in options]:
            raise DipsimError(f"{self.kind} '{name}' needs {' and '.join(missing)}")
        try:
            made = entry(**options)
        except DipsimError:
            raise
        except Exception as error:  # a value of a kind that a class of ours does not expect, or a stranger's class
            raise DipsimError(f"{self.kind} '{name}': cannot be made: {told_of(error)}") from error
        if lacks := [need for need in self._needs if not hasattr(made, need)]:
            raise DipsimError(
                f"{self.kind} '{name}': {type(made).__name__} has no {', '.join(lacks)}; "
                f"must have {', '.join(self._needs)}"
            )
        return made

    def name_and_options(self, thing: object) -> tuple[str, dict[str, Any]]:
        """The thing as plain data, such that `make(name, options)` is the same; the class's own name where it is not
        registered."""
        return self.name_of(thing), {name: getattr(thing, name) for name in options_of(type(thing))}

    def name_of(self, thing: object) -> str:
        """The name under which its class is registered; the class's own name where it is not."""
        names = [name for name, entry in self._entries.items() if entry is type(thing)]
        return names[0] if names else type(thing).__name__

    def loaded(self, name: str) -> T | None:
        """The entry if it is there without loading another package."""
        return self._entries.get(name)

    @property
    def offered(self) -> tuple[str, ...]:
        """Names that installed packages offer."""
        return tuple(self._points)

    def package_of(self, name: str) -> str | None:
        """Name and version of the installed package that offers the entry; None where none does."""
        point = self._points.get(name)
        return None if point is None else f"{point.dist.name} {point.dist.version}" if point.dist else point.value

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._entries, *self._points]))

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        return (
            {point.name: point for point in _offered(tuple(sys.path)).select(group=self._group)} if self._group else {}
        )

    def _load(self, point: EntryPoint) -> T:
        try:
            entry: T = point.load()
        except Exception as error:  # whatever another package's code raises
            raise DipsimError(
                f"{self.kind} '{point.name}': its package ({point.value}) fails to load: {error}"
            ) from error
        return entry


@cache
def _offered(path: tuple[str, ...]) -> Any:  # of a type that differs between Python's versions
    """Of all groups on that path: to look through the installed packages takes longer than to choose."""
    return entry_points()


def ships_with_dipsim(thing: object) -> bool:
    """Whether its code is ours: other people's is called in one order, whatever the number of threads."""
    return getattr(thing, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


@contextmanager
def blaming(thing: object, who: Callable[[], str]) -> Iterator[None]:
    """What other people's code raises is one line that names it; what ours raises is a fault of ours.

    Args:
        thing: whose code runs.
        who: what opens the message.

    Raises:
        DipsimError: it raised something.
    """
    try:
        yield
    except DipsimError:
        raise
    except Exception as error:
        if ships_with_dipsim(thing):
            raise
        raise DipsimError(f"{who()}: {told_of(error)}") from error


def told_of(error: BaseException) -> str:
    """What went wrong in code that somebody else wrote, in one line, and where in it."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith((*INSTALLED, _OWN, "<string>", "<frozen"))]
    return f"{text} ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else text


def is_fault_of_ours(error: BaseException) -> bool:
    """Whether it was raised in dipsim's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_OWN)


def options_of(kind: object) -> dict[str, object]:
    """The options of a dataclass and their defaults, `MISSING` where one must be given; anything else has none."""
    if not is_dataclass(kind):
        return {}
    own = [field for field in fields(kind) if field.init]
    made: dict[str, Any] = {f.name: f.default_factory for f in own if not is_missing(f.default_factory)}
    return {f.name: made[f.name]() if f.name in made else f.default for f in own}


def is_missing(default: object) -> bool:
    """Whether an option has no default. (In a class that another process has sent, `MISSING` is a copy.)"""
    return isinstance(default, type(MISSING))


def _check_kind(key: str, value: object, default: object) -> None:
    """Numbers stay numbers, and switches switches."""
    is_switch = isinstance(default, bool)
    if is_switch and not isinstance(value, bool):
        raise DipsimError(f"{key}: got {value!r}; must be true or false")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, int | float) and not is_switch and not is_number:
        raise DipsimError(f"{key}: got {value!r}; must be a number")


def _same_definition(one: object, other: object) -> bool:
    def place(thing: object) -> tuple[object, object]:
        return getattr(thing, "__module__", thing), getattr(thing, "__qualname__", thing)

    return place(one) == place(other)
