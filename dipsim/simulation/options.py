"""Which options does `Simulation` take: those of the record of a run."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic

from dipsim.description import OPTIONS, Description, default_of, kind_of, of_simulation, written
from dipsim.schema import Record
from dipsim.units import parse_bytes

# Device and policy are arguments with a place of their own.
_NAMES = tuple(name for name in OPTIONS if name not in ("profile", "policy"))
OF_METHOD = tuple(name for name, option in OPTIONS.items() if option.makes == "masking")


class _Kinds(Record):
    """Kinds alone; ranges and names are checked by whoever uses them, what is no plain value by whoever takes it."""

    model_config = pydantic.ConfigDict(allow_inf_nan=True)


def _kind(name: str) -> Any:
    return (Any, default_of(name)) if OPTIONS[name].thing else kind_of(name)


_OPTIONS: type[_Kinds] = pydantic.create_model("_OPTIONS", __base__=_Kinds, **{name: _kind(name) for name in _NAMES})


def checked(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every option of the run by name, and every option of what the run's names stand for (its device, its method, what
    plugs in): as it was given (whole numbers stay so), or its default.

    Raises:
        DipsimError: an unknown one, or a value of the wrong kind.
    """
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    parsed = _OPTIONS.parse(plain, "Simulation")
    own, whole = of_simulation(), {name: plain[name] if name in plain else default_of(name) for name in _NAMES}
    of_names = {name: getattr(parsed, name) for name in _NAMES if name not in own}
    return {name: whole[name] for name in _NAMES if name in own}, of_names


def bytes_of(given: dict[str, Any], name: str) -> float:
    """An amount that is 0 where it is not given."""
    value: str | float = given[name] or 0
    return parse_bytes(value, name.replace("_", "-")) if isinstance(value, str) else value


def documented(made: Callable[..., object]) -> inspect.Signature:
    """The signature of a class, with each option in place of `**options`."""
    signature = inspect.signature(made)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    named = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if name == "method" else default_of(name),
            annotation=written(Description.model_fields[name].annotation, OPTIONS[name].thing),
        )
        for name in _NAMES
    ]
    return signature.replace(parameters=[*own, *named])


def with_options(docstring: str | None) -> str | None:
    """A docstring whose line on `**options` is replaced by one on each."""
    if docstring is None:  # python -OO
        return None
    told = [
        textwrap.fill(f"{name}: {_told(name)}", 112, initial_indent=" " * 8, subsequent_indent=" " * 12)
        for name in _NAMES
    ]
    return re.sub(r" +\*\*options:.*\n", lambda found: "\n".join([*told, ""]), docstring)


def _told(name: str) -> str:
    """The help of the command line, as one reads it in Python."""
    option = OPTIONS[name]
    text = re.sub(r"[;,] may be given several times", "", option.help)
    text = re.sub(r"--([a-z-]+)", lambda flag: f"`{flag[1].replace('-', '_')}`", text)
    thing = "class" if option.thing == "type" else option.thing
    return f"{text.removesuffix('.')}; or a {thing}." if thing else text
