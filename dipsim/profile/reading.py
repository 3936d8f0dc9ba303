"""What stands in a profile's file: TOML with the origin of each number in a comment, and what it takes from another."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from dipsim import shipped
from dipsim.errors import DipsimError, suggestion


def find(name_or_path: str | Path) -> Path:
    """The file of a profile, by name or path.

    Raises:
        DipsimError: neither a shipped name nor a file.
    """
    known = shipped.names("hwprofiles", ".toml")
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    if not Path(name_or_path).is_file():
        raise DipsimError(
            f"profile: neither a name nor a file, got '{name_or_path}'{suggestion(str(name_or_path), known)}"
        )
    return Path(name_or_path)


def read(path: Path, inner: tuple[Path, ...] = ()) -> tomlkit.TOMLDocument:
    """The document of a profile, comments and all. One that `extends` another (a shipped name, or a path from where it
    lies) has the other's values wherever it has none of its own.

    Args:
        path: the file.
        inner: files that led here, each extending the next.

    Raises:
        DipsimError: not valid TOML, or it extends what is not there or leads back to itself.
    """
    if path in inner:
        raise DipsimError(f"{path}: extends itself, by way of {', '.join(str(p) for p in inner)}")
    own = _parse(path)
    parent = own.pop("extends", None)
    if parent is None:
        return own
    if not isinstance(parent, str):
        raise DipsimError(f"{path}: extends: got {parent!r}; must be a profile's name or path")
    beside = path.parent / parent
    document = read(beside if beside.is_file() else find(parent), (*inner, path))
    document.pop("name", None)  # a variant is not called as what it varies
    _merge(document, own)
    return document


def _parse(path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except (TOMLKitError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DipsimError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise DipsimError(f"{path}: cannot be read: {error.strerror}") from None


def _merge(into: MutableMapping[str, Any], own: Mapping[str, Any]) -> None:
    for key, value in own.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), MutableMapping):
            _merge(into[key], value)
        else:
            into[key] = value
