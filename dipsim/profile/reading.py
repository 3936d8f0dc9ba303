"""What stands in a profile's file: TOML with the origin of each number in a comment, and what it takes from another."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from copy import copy
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, InlineTable, Item

from dipsim import shipped
from dipsim.documents import read_toml
from dipsim.errors import DipsimError, meant, suggestion

# tomlkit's time grows with the fourth power of dotted keys: a thousand would take it minutes.
_MOST_BYTES, _MOST_KEYS, _MOST_DEPTH = 64 * 2**10, 100, 4
_MOST_INNER = 4  # profiles of which each extends the next


def find(name_or_path: str | Path, folder: Path = Path()) -> Path:
    """The file of a profile, by name or path.

    Args:
        name_or_path: a shipped name goes before a file that is called so.
        folder: where a relative path begins.

    Raises:
        DipsimError: neither a shipped name nor a file.
    """
    known = shipped.names("hwprofiles", ".toml")
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = folder / name_or_path
    if not isfile(path):  # noqa: PTH113 - false too of a name that no file can have
        if (name := meant(str(name_or_path), known)) is not None:
            return known[name]
        if isdir(path):  # noqa: PTH112 - as above
            raise DipsimError(f"profile: got the folder '{name_or_path}'; must be a name or a TOML file")
        raise DipsimError(
            f"profile: neither a name nor a file, got '{name_or_path}'{suggestion(str(name_or_path), known)}"
        )
    return path


def extends(path: Path) -> bool:
    """Whether a profile's file has values of another device."""
    return "extends" in _parse(path)


def read(path: Path, inner: tuple[Path, ...] = ()) -> tomlkit.TOMLDocument:
    """The document of a profile, comments and all; without a name of its own it has the file's.

    One that `extends` another (a shipped name, or a path from where it lies) has the other's values wherever it has
    none of its own, and says so in its first line.

    Args:
        path: the file.
        inner: files that led here, each extending the next.

    Raises:
        DipsimError: not valid TOML, too long, or it extends what is not there, leads back to itself or to too many.
    """
    own = _parse(path)
    parent = own.pop("extends", None)
    own.setdefault("name", path.stem)
    if parent is None:
        return own
    if not isinstance(parent, str):
        raise DipsimError(f"{path}: extends: got {parent!r}; must be a profile's name or path")
    try:
        found = find(parent, path.parent)
    except DipsimError as error:
        raise DipsimError(f"{path}: extends: {error}") from None
    outer = (*inner, path.resolve())
    if found.resolve() in outer:
        raise DipsimError(
            f"{path}: extends: got '{parent}', which leads back to '{found}'; must end at a whole profile"
        )
    if len(outer) > _MOST_INNER:
        raise DipsimError(f"{path}: extends: got '{parent}', the {len(outer)}th in a row; at most {_MOST_INNER}")
    document = _below_header(own, parent, read(found, outer))
    _merge(document, own)
    return document


def origins(document: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, str]]:
    """Dotted key -> a number of a profile's document, and the comment on its line: where it comes from."""
    found: dict[str, tuple[Any, str]] = {}
    for key in document:
        value = _item(document, key)
        if isinstance(value, Mapping):
            found |= origins(value, f"{prefix}{key}.")
        elif isinstance(value, Item) and isinstance(value.unwrap(), int | float):
            found[f"{prefix}{key}"] = value.unwrap(), value.trivia.comment.removeprefix("#").strip()
    return found


def _parse(path: Path) -> tomlkit.TOMLDocument:
    data, text = read_toml(path, str(path), _MOST_BYTES)
    _check_size(data, path)
    try:
        return tomlkit.parse(text)
    except (TOMLKitError, RecursionError, ValueError) as error:
        raise DipsimError(f"{path}: not valid TOML: {error}") from None


def _check_size(data: dict[str, Any], path: Path) -> None:
    level, n_keys = [data], len(data)
    for _ in range(_MOST_DEPTH):
        level = [inner for table in level for inner in table.values() if isinstance(inner, dict)]
        n_keys += sum(map(len, level))
    if level or n_keys > _MOST_KEYS:
        raise DipsimError(f"{path}: no profile has more than {_MOST_KEYS} keys, {_MOST_DEPTH} deep")


def _below_header(own: tomlkit.TOMLDocument, parent: str, inherited: tomlkit.TOMLDocument) -> tomlkit.TOMLDocument:
    """What is inherited, below a line that says so and the comments with which the variant's own file begins. (Parsed
    anew, since nothing can be put before a document's first key.)"""
    said = f"{own['name']} extends {parent}."
    header = tomlkit.comment("".join(letter if letter.isprintable() else "?" for letter in said)).as_string()
    comments = "".join(item.as_string() for _, item in own.body if isinstance(item, Comment))
    return tomlkit.parse(header + comments + inherited.as_string())


def _merge(into: MutableMapping[str, Any], own: Mapping[str, Any]) -> None:
    for key in own:
        value, inherited = _item(own, key), into.get(key)
        if not isinstance(value, Mapping) or not isinstance(inherited, MutableMapping):
            _put(into, key, value)
            continue
        if isinstance(inherited, InlineTable):  # has no room for sections
            into[key] = tomlkit.item(inherited.unwrap())
        _merge(into[key], value)


def _item(table: Mapping[str, Any], key: str) -> Any:
    """A value with its comment, which `table[key]` lacks for true and false."""
    return table.item(key) if hasattr(table, "item") else table[key]


def _put(into: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Sets a value with its own comment or none: that of the value which it replaces is not its origin."""
    trivia = copy(value.trivia) if isinstance(value, Item) else None
    into[key] = value
    if trivia is not None:
        value.trivia.comment_ws, value.trivia.comment = trivia.comment_ws, trivia.comment
