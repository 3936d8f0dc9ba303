"""What is the code of a plug-in, as plain data: its results must not outlive it.

Whatever its author wrote counts: its classes and those they build on, the functions they call and the constants they
name, and of a plug-in file all that it says. A file counts by its text; what notebooks define has none, and counts by
what it is compiled to.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from dipsim.plugin_files import is_users_own, text_of


def code_of(entry: object) -> object:
    """The code of a class or a function, and of whatever of its author's it refers to."""
    return _Walk(entry).told(entry)


class _Walk:
    def __init__(self, entry: object) -> None:
        self._package = _module(entry).partition(".")[0]  # an installed one's counts as well
        self._seen: dict[int, object] = {}
        self._texts: set[str] = set()

    def told(self, thing: Any) -> object:
        """Plain data; what was told before, and what others wrote, by its name."""
        if isinstance(thing, np.ndarray):
            return [str(thing.dtype), thing.shape, hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()]
        if isinstance(thing, list | dict | set):
            if id(thing) in self._seen:
                return "..."
            self._seen[id(thing)] = thing  # kept, so that nothing else gets its place in memory
        if isinstance(thing, set | frozenset):
            return ["set", *sorted(repr(self.told(one)) for one in thing)]
        if isinstance(thing, tuple | list):
            return [self.told(one) for one in thing]
        if isinstance(thing, dict):
            return [[self.told(key), self.told(value)] for key, value in thing.items()]
        if isinstance(thing, CodeType):
            return [thing.co_code.hex(), thing.co_names, thing.co_varnames, self.told(thing.co_consts)]
        if thing is None or isinstance(thing, bool | int | float | complex | str | bytes | type(...)):
            return repr(thing)
        return self._named(thing)

    def _named(self, thing: Any) -> object:
        module = thing.__name__ if isinstance(thing, ModuleType) else _module(thing)
        name = getattr(thing, "__qualname__", type(thing).__qualname__)
        if id(thing) in self._seen or not (is_users_own(module) or module.partition(".")[0] == self._package):
            return name
        self._seen[id(thing)] = thing
        if (text := text_of(module)) is not None:
            return [name, self._once(text)]
        if isinstance(thing, ModuleType):
            return _source(thing)
        if isinstance(thing, type):
            return [name, *map(self.told, thing.__bases__), *self._members(thing)]
        if (function := _function(thing)) is not None:
            return [name, self._function(function)]
        return [name, self.told(type(thing)), self.told(getattr(thing, "__dict__", {}))]

    def _once(self, text: str) -> str:
        """A file that defines several things is told once."""
        is_told = text in self._texts
        self._texts.add(text)
        return "" if is_told else text

    def _members(self, kind: type) -> list[object]:
        told: list[object] = []
        for name, value in vars(kind).items():
            is_made = is_dataclass(kind) and name.startswith("__")  # by `dataclass`, where no file has it
            functions = [f for f in _functions(value) if not (is_made and f.__code__.co_filename == "<string>")]
            if functions:
                told.append([name, [self._function(function) for function in functions]])
            elif not name.startswith("__") and not hasattr(value, "__get__"):
                told.append([name, self.told(value)])
        return told

    def _function(self, function: FunctionType) -> object:
        cells = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
        named = {name: function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__}
        about = (function.__defaults__, function.__kwdefaults__, cells, named)
        return [self.told(function.__code__), *(self.told(one) for one in about)]


def _module(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or type(thing).__module__)


def _function(thing: Any) -> FunctionType | None:
    """What is called in the end: beneath decorators such as `functools.cache` and numba's."""
    thing = inspect.unwrap(getattr(thing, "py_func", thing))
    return thing if isinstance(thing, FunctionType) else None


def _functions(value: Any) -> list[FunctionType]:
    """Those of one name in a class: a method, a property, a class's or a static method."""
    parts: Iterable[Callable[..., Any] | None] = (value,)
    if isinstance(value, property):
        parts = (value.fget, value.fset, value.fdel)
    elif isinstance(value, classmethod | staticmethod | functools.cached_property):
        parts = (getattr(value, "__func__", None) or getattr(value, "func", None),)
    return [function for part in parts if part is not None and (function := _function(part)) is not None]


def _names(code: CodeType) -> list[str]:
    """Names that a function may look up, functions within it included."""
    within = [name for one in code.co_consts if isinstance(one, CodeType) for name in _names(one)]
    return sorted({*code.co_names, *within})


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where nothing is in it yet
    except ValueError:
        return True
    return False


def _source(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return module.__name__
