"""What may stand in a file or on the command line where a run has names, or options of what it names."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic

from dipsim.schema import ShortText


def _names(value: Any) -> Any:
    """One name, or a list of them as files have it."""
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be a name, or a list of names")
    return (value,) if isinstance(value, str) else tuple(value)


def _by_name(value: Any) -> Any:
    """`{"NAME.KEY": value}`, as flags and specs have it, as `{"NAME": {"KEY": value}}`."""
    if not isinstance(value, dict):
        return value
    tables: dict[str, Any] = {name: dict(own) for name, own in value.items() if isinstance(own, dict)}
    for key, own in value.items():
        if not isinstance(own, dict):
            name, dot, rest = str(key).partition(".")
            if not (name and dot and rest):
                raise ValueError("must be NAME.KEY=VALUE, NAME that of a load")
            tables.setdefault(name, {})[rest] = own
    return tables


Names = Annotated[tuple[ShortText, ...], pydantic.BeforeValidator(_names)]
Tables = Annotated[dict[str, dict[str, Any]], pydantic.BeforeValidator(_by_name)]
