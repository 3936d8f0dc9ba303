"""What a user can mend, said in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

Name = TypeVar("Name", bound=str)


MOST_LETTERS = 2000  # of a message


class DipsimError(Exception):
    """A mistake the user can mend. The message is one line: `where: what, got value; rule or choices`.

    Strangers' text may stand in it: what no terminal prints is shown as Python writes it, and the longest are cut.
    """

    def __init__(self, message: str) -> None:
        shown = message if message.isprintable() else "".join(map(_printable, message))
        super().__init__(shown if len(shown) <= MOST_LETTERS else f"{shown[:MOST_LETTERS]} ...")


class DipsimWarning(UserWarning):
    """Something that changes how a result must be read, but does not stop it."""


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def suggestion(name: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` where one of the choices is close to the name, else every choice."""
    known = sorted(choices)
    if not known:
        return "; there are none"
    parts = name.split(",")
    if len(parts) > 1 and all(meant(part.strip(), known) for part in parts):
        return "; one of them here; several are an axis of a sweep"
    plain, asked = {_plain(choice): choice for choice in known}, _plain(name).replace(" ", "-")
    begun = [own for own in plain if len(asked) >= 3 and own.startswith(asked)]
    if close := begun or get_close_matches(asked, plain, n=1, cutoff=0.6):
        return f"; did you mean '{plain[close[0]]}'? (choices: {', '.join(known)})"
    return f"; choices: {', '.join(known)}"


def choose(kind: str, name: str, choices: Sequence[Name]) -> Name:
    """The one of the choices that has this name.

    Raises:
        DipsimError: none has.
    """
    if (known := meant(str(name), choices)) is not None:
        return known
    raise DipsimError(f"{kind}: unknown name, got '{name}'{suggestion(str(name), choices)}")


def meant(name: str, choices: Iterable[Name]) -> Name | None:
    """The choice of that name, or the only one that differs in capitals or in `_` for `-` alone; None where none is."""
    known = list(choices)
    same = [choice for choice in known if choice == name]
    return next(iter(same or _alike(name, known)), None)


def _alike(name: str, choices: list[Name]) -> list[Name]:
    found = [choice for choice in choices if _plain(choice) == _plain(name)]
    return found if len(found) == 1 else []


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")
