"""Things found by name: built in, registered by a decorator, or offered by an installed package's entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from dipsim.errors import DipsimError, suggestion

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind.

    Args:
        kind: what one entry is called in messages, for example `policy`.
        entry_point_group: group under which other packages offer entries; each is loaded when asked for.
    """

    def __init__(self, kind: str, entry_point_group: str | None = None) -> None:
        self.kind = kind
        self._group = entry_point_group
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
        if name in self._points:
            self.register(name)(self._load(self._points[name]))
        if name not in self._entries:
            raise DipsimError(f"{self.kind}: unknown name, got '{name}'{suggestion(name, self)}")
        return self._entries[name]

    def make(self, name: str, options: dict[str, Any]) -> Any:
        """Calls the entry of that name, a dataclass, with its options.

        Raises:
            DipsimError: unknown name, an option that it does not have, or no number where one is needed.
        """
        entry: Any = self[name]
        known = _options(entry)
        for key, value in options.items():
            if key not in known:
                raise DipsimError(f"{key}: {self.kind} '{name}' has no such option{suggestion(key, known)}")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            is_switch = isinstance(known[key], bool)
            if isinstance(known[key], int | float) and not is_switch and not is_number:
                raise DipsimError(f"{key}: got {value!r}; must be a number")
            if is_switch and not isinstance(value, bool):
                raise DipsimError(f"{key}: got {value!r}; must be true or false")
        return entry(**options)

    def name_and_options(self, thing: object) -> tuple[str, dict[str, Any]]:
        """The thing as plain data, such that `make(name, options)` is the same; the class's own name where it is not
        registered."""
        names = [name for name in self if self.loaded(name) is type(thing)]
        options = {name: getattr(thing, name) for name in _options(type(thing))}
        return (names[0] if names else type(thing).__name__), options

    def loaded(self, name: str) -> T | None:
        """The entry if it is there without loading another package."""
        return self._entries.get(name)

    @property
    def offered(self) -> tuple[str, ...]:
        """Names that installed packages offer."""
        return tuple(self._points)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._entries, *self._points]))

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self._group)} if self._group else {}

    def _load(self, point: EntryPoint) -> T:
        try:
            entry: T = point.load()
        except Exception as error:  # whatever another package's code raises
            raise DipsimError(
                f"{self.kind} '{point.name}': its package ({point.value}) fails to load: {error}"
            ) from error
        return entry


def ships_with_dipsim(thing: object) -> bool:
    """Whether its code is ours: other people's is called in one order, whatever the number of threads."""
    return type(thing).__module__.partition(".")[0] == __name__.partition(".")[0]


def _options(kind: object) -> dict[str, object]:
    """The options of a dataclass and their defaults; anything else has none."""
    return {field.name: field.default for field in fields(kind)} if is_dataclass(kind) else {}


def _same_definition(one: object, other: object) -> bool:
    def place(thing: object) -> tuple[object, object]:
        return getattr(thing, "__module__", thing), getattr(thing, "__qualname__", thing)

    return place(one) == place(other)
