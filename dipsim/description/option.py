"""What is known of an option beside its name, kind and default: said once, for whoever offers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

METHOD, CACHE, FLASH, RUN = "Method", "DRAM and cache", "Flash", "Run"  # topics of `--help`


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included; `step` apart, or any of them."""

    low: float
    high: float
    step: float | None = None


@dataclass(frozen=True)
class Option:
    """One option of a run.

    Attributes:
        help: what it is, for the command line, the documentation and a report.
        panel: the topic that it stands under.
        flag: what is typed for it, without the dashes in front; its name by default.
        kind: of its value on the command line, where that is not the first of its own.
        makes: the argument of `Simulation` that it helps to make; by default it is one itself.
        sets: the option of a method that it sets, if it does.
        thing: what `Simulation` takes beside a name.
        searched: what `tune` tries where it is not given; of choices the default first.
    """

    help: str
    panel: str | None = None
    flag: str | None = None
    kind: type | None = None
    makes: str | None = None
    sets: str | None = None
    thing: str | None = None
    searched: Interval | tuple[Any, ...] | None = None
