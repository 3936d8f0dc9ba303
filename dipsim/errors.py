"""What a user can mend, said in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

Name = TypeVar("Name", bound=str)


class DipsimError(Exception):
    """A mistake the user can mend. The message is one line: `where: what, got value; rule or choices`."""


class DipsimWarning(UserWarning):
    """Something that changes how a result must be read, but does not stop it."""


def suggestion(name: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` where one of the choices is close to the name, else every choice."""
    known = sorted(choices)
    if not known:
        return "; there are none"
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'? (choices: {', '.join(known)})"
    return f"; choices: {', '.join(known)}"


def choose(kind: str, name: str, choices: Sequence[Name]) -> Name:
    """The one of the choices that has this name.

    Raises:
        DipsimError: none has.
    """
    for known in choices:
        if known == name:
            return known
    raise DipsimError(f"{kind}: unknown name, got '{name}'{suggestion(str(name), choices)}")
