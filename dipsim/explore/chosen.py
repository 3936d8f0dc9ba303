"""What is chosen on the page: a model and the options of a run, as an address has them and as they are typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dipsim.description import OPTIONS, SPELLINGS, Description, default_of, typed
from dipsim.errors import DipsimError
from dipsim.estimation import OWN_OPTIONS

_OTHERS = ("model", *OWN_OPTIONS)  # options of a run that are none of a set-up
PROFILE = "oneplus-12-ufs4"  # of an estimate that names none
PINNED = "with."  # what parameters of the pinned set-up begin with


@dataclass(frozen=True)
class Chosen:
    """A set-up.

    Attributes:
        model: a preset's name, a folder with a config.json, or a .gguf file.
        options: of a run, by name; what is as by default is not there.
    """

    model: str
    options: dict[str, Any]

    @classmethod
    def of(cls, model: str, options: Mapping[str, Any]) -> Chosen:
        """The set-up with these options, None for those that are not given.

        Raises:
            DipsimError: an unknown option, one that an estimate sets itself, or a value of another kind.
        """
        given = {name: value for name, value in options.items() if value is not None}
        for name in given:
            if name in _OTHERS:
                raise DipsimError(f"{name}: an estimate has its own")
        described = Description.parse(given, "options")
        told = {name: getattr(described, name) for name in OPTIONS if name in given}
        # `estimate` has another default device than a run, and a mixture another method.
        kept = {n: v for n, v in told.items() if n in ("profile", "method") or v != default_of(n)}
        return cls(model, kept)

    @property
    def key(self) -> str:
        """What is the same for set-ups that are."""
        return json.dumps([self.model, self.options], sort_keys=True, default=list)

    @property
    def described(self) -> Description:
        """The options of its runs, but for those that an estimate sets itself."""
        return Description.parse(self.options, "options")

    @property
    def command(self) -> str:
        """What is typed for the same numbers."""
        words = (word for name, value in self.options.items() for word in typed(name, value))
        return " ".join(["dipsim estimate", shlex.quote(self.model), *words])

    def parameters(self, prefix: str = "") -> list[tuple[str, str]]:
        """Names and values, as an address has them."""
        pairs = [("model", self.model)]
        for name, value in self.options.items():
            values = value if isinstance(value, list | tuple) else [value]
            pairs += [(name, own if isinstance(own, str) else json.dumps(own)) for own in values]
        return [(prefix + name, value) for name, value in pairs]


def address_of(chosen: Chosen, pinned: Chosen | None) -> str:
    """The page's address with the set-up, and with the pinned one."""
    beside = [] if pinned is None else pinned.parameters(PINNED)
    return "/?" + urlencode(chosen.parameters() + beside)


def from_address(pairs: Iterable[tuple[str, str]], first: Chosen) -> tuple[Chosen, Chosen | None]:
    """The set-up of an address, and the pinned one if it has any.

    Args:
        pairs: names and values of its query.
        first: where it says nothing.

    Raises:
        DipsimError: a name or a value that is none of a set-up.
    """
    own: list[tuple[str, str]] = []
    beside: list[tuple[str, str]] = []
    for name, value in pairs:
        (beside if name.startswith(PINNED) else own).append((name.removeprefix(PINNED), value))
    return _of_pairs(own) if own else first, _of_pairs(beside) if beside else None


def _of_pairs(pairs: list[tuple[str, str]]) -> Chosen:
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(SPELLINGS.get(name, name), []).append(_value(value))
    if "model" not in values:
        raise DipsimError("address: has no model; write ?model=phi-3-medium&profile=...")
    model = str(values.pop("model")[-1])
    options = {name: own if len(own) > 1 else own[0] for name, own in values.items()}
    return Chosen.of(model, {"profile": PROFILE} | options)


def _value(text: str) -> Any:
    """A number, true, false, null, a list or a table as JSON has them; anything else is text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
