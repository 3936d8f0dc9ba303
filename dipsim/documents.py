"""What may a document from elsewhere hold: bytes, JSON and TOML, bounded before anything is built from them.

Files that describe things travel between people. One that is longer, deeper or larger in its numbers than any of its
kind is refused in one line, so that what is read can be walked, compared, printed and written again without surprises.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from dipsim.errors import DipsimError

# Of a document. The longest that people have are fio's results of many jobs: about a megabyte.
MOST_BYTES = 8 * 2**20
MOST_DEPTH = 64
# Whole numbers of 64 bits have at most 20 digits; more overflow a float sooner or later.
MOST_DIGITS = 30
_MOST_WHOLE = 10**MOST_DIGITS


def open_regular(path: Path, where: str) -> int:
    """A descriptor of a file, which the caller closes; a link to one will do, a device or a pipe will not.

    Raises:
        DipsimError: it is missing, unreadable or no regular file; caused by the OSError if there was one.
    """
    try:
        # A pipe would not open until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DipsimError(f"{where}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name with a NUL
        raise DipsimError(f"{where}: cannot be read: {error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DipsimError(f"{where}: cannot be read: not a regular file")
    return descriptor


def read_bytes(path: Path, where: str, most_bytes: int = MOST_BYTES) -> bytes:
    """A file's content.

    Args:
        path: the file; a link to one will do, a device or a pipe will not.
        where: opens the message.
        most_bytes: a longer file is refused before it is read.

    Raises:
        DipsimError: it is missing, unreadable, no regular file, or too long; caused by the OSError if there was one.
    """
    try:
        with os.fdopen(open_regular(path, where), "rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise DipsimError(f"{where}: cannot be read: {error.strerror or error}") from error
    if len(data) > most_bytes:
        raise DipsimError(f"{where}: has more than {most_bytes:,} bytes, the most that is read of such a file")
    return data


def read_text(path: Path, where: str, most_bytes: int = MOST_BYTES) -> str:
    """A file of UTF-8, with or without a byte order mark, line ends as `\\n`.

    Raises:
        DipsimError: as `read_bytes`, or it is not UTF-8.
    """
    data = read_bytes(path, where, most_bytes)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DipsimError(f"{where}: not UTF-8: {error.reason} at byte {error.start}") from None


def read_json(path: Path, where: str, most_bytes: int = MOST_BYTES) -> Any:
    """What a JSON file says.

    Raises:
        DipsimError: as `read_bytes` and `parse_json`.
    """
    return parse_json(read_bytes(path, where, most_bytes), where)


def parse_json(text: str | bytes, where: str) -> Any:
    """What a JSON document says; bytes may be UTF-8, -16 or -32, with a byte order mark or without.

    Raises:
        DipsimError: no JSON, or out of bounds as in `check_bounds`.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DipsimError(f"{where}: not JSON: {_reason(error)}") from None
    check_bounds(data, where)
    return data


def read_toml(path: Path, where: str, most_bytes: int = MOST_BYTES) -> tuple[dict[str, Any], str]:
    """What a TOML file says, and its text.

    Raises:
        DipsimError: as `read_text`, no TOML, or out of bounds as in `check_bounds`.
    """
    text = read_text(path, where, most_bytes)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DipsimError(f"{where}: not valid TOML: {_reason(error)}") from None
    check_bounds(data, where)
    return data, text


def check_bounds(data: Any, where: str) -> None:
    """Refuses plain data that could not be handled like any other of its kind.

    Raises:
        DipsimError: nested deeper than `MOST_DEPTH`, a whole number of more than `MOST_DIGITS` digits, or text with a
            NUL or half a character, which can be neither printed nor written.
    """
    level = [data]
    for _ in range(MOST_DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            kind = type(value)  # millions of them: no call for each
            if kind is dict:
                inner += value.keys()
                inner += value.values()
            elif kind is list:
                inner += value
            elif kind is str:
                if not value.isascii() or "\0" in value:
                    _check_text(value, where)
            elif kind is int and not -_MOST_WHOLE < value < _MOST_WHOLE:
                raise DipsimError(f"{where}: holds a whole number of more than {MOST_DIGITS} digits")
        if not inner:
            return
        level = inner
    raise DipsimError(f"{where}: nested more than {MOST_DEPTH} deep")


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise DipsimError(f"{where}: holds text with a NUL, got {text[:40]!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DipsimError(f"{where}: holds half a character (a surrogate), got {text[:40]!r}") from None


def _reason(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
