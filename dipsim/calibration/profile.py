"""How do measured numbers stand in a profile: as TOML, each with its origin in a comment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Array, Item, Table

from dipsim.files import write_text

GRADES = "Grades: A measured, derived = arithmetic on measured numbers, D estimate."


@dataclass(frozen=True)
class Measured:
    """A number and where it is from, its grade first; or a number's row in a list, such as a point of a curve."""

    value: float | tuple[float, ...]
    origin: str


Section = Mapping[str, Measured | Sequence[Measured]]


def document(
    description: str, facts: Iterable[str], sections: Mapping[str, Section], extends: str | None = None
) -> tomlkit.TOMLDocument:
    """A profile.

    Args:
        description: the profile's own.
        facts: lines for its head, on how the numbers were measured.
        sections: "flash", "dram" ... and their numbers.
        extends: the profile that everything else is taken from.
    """
    made = tomlkit.document()
    for fact in (*facts, GRADES):
        made.add(tomlkit.comment(_one_line(fact)))
    made.add(tomlkit.nl())
    made.add("schema", tomlkit.item(1))
    if extends is not None:
        made.add("extends", tomlkit.item(extends))
    made.add("description", tomlkit.item(description))
    for name, numbers in sections.items():
        made.add(tomlkit.nl())
        made.add(name, _table(numbers))
    return made


def write(document: tomlkit.TOMLDocument, path: Path) -> None:
    """Writes a profile; `HardwareProfile.load` reads it, and calls it by the file's name."""
    write_text(path, document.as_string())


def numbers(document: tomlkit.TOMLDocument) -> list[tuple[str, Any, str]]:
    """Every number of a profile with its place (`flash.latency_s`) and its origin; a curve's rows are their own."""
    found = []
    for section, table in document.items():
        for key in table if isinstance(table, Table) else ():
            item = table.item(key)
            found.append((f"{section}.{key}", item.unwrap(), item.trivia.comment.removeprefix("# ")))
    return found


def _table(numbers: Section) -> Table:
    table = tomlkit.table()
    for key, number in numbers.items():
        if isinstance(number, Measured):
            item = _item(number.value)
            item.comment(_one_line(number.origin))
            table.add(key, item)
        else:
            table.add(key, _array(number))
    return table


def _array(rows: Sequence[Measured]) -> Array:
    array = tomlkit.array()
    for row in rows:
        array.add_line(_item(row.value), comment=_one_line(row.origin))
    array.add_line(indent="")
    return array


def _one_line(text: str) -> str:
    """Of other people's words, what a comment can hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _item(value: float | tuple[float, ...]) -> Item:
    """As it is written: integers as they are, others with four digits and a power of 1000."""
    if isinstance(value, tuple):
        row = tomlkit.array()
        row.extend([_item(number) for number in value])
        return row
    if isinstance(value, int):  # truth values too
        return tomlkit.item(value)
    power = 3 * math.floor(math.log10(value) / 3) if value else 0
    digits = f"{value / 10**power:.4g}"
    return tomlkit.value(f"{digits}e{power}" if power or "." in digits else f"{digits}.0")
