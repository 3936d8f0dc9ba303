"""Things found by name: built in, registered by a decorator, or offered by an installed package's entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from dipsim.errors import DipsimError, suggestion

T = TypeVar("T")


class Registry(Generic[T]):
    """Named things of one kind.

    Args:
        kind: what one entry is called in messages, for example `policy`.
        entry_point_group: group under which other packages offer entries; loaded at the first look-up.
    """

    def __init__(self, kind: str, entry_point_group: str | None = None) -> None:
        self.kind = kind
        self._group = entry_point_group
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files its argument under the name.

        Raises:
            DipsimError: the name is taken.
        """

        def add(entry: T) -> T:
            if name in self._entries:
                raise DipsimError(f"{self.kind} '{name}': registered twice; each name once")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        self._load_entry_points()
        if name not in self._entries:
            raise DipsimError(f"{self.kind}: unknown name, got '{name}'{suggestion(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(self._entries)

    def _load_entry_points(self) -> None:
        if self._group is None:
            return
        group, self._group = self._group, None
        for point in entry_points(group=group):
            entry: T = point.load()
            if self._entries.get(point.name) is not entry:
                self.register(point.name)(entry)
