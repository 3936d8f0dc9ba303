"""Strict records for what comes from files: unknown keys, wrong types and typos become one clear line."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeVar

import pydantic

from dipsim.errors import DipsimError, suggestion

# Bounded, so that arithmetic on what a stranger's file says cannot overflow.
Count = Annotated[int, pydantic.Field(gt=0, le=2**40)]
CountOrZero = Annotated[int, pydantic.Field(ge=0, le=2**40)]
# One for each sequence of a trace, and one for each axis of an array. Lists without a bound would have a fault for each
# item, and take minutes to list them.
Counts = Annotated[list[CountOrZero], pydantic.Field(max_length=2**16), pydantic.FailFast()]
Sizes = Annotated[list[Count], pydantic.Field(max_length=8)]
Share = Annotated[float, pydantic.Field(gt=0, le=1)]
PositiveNumber = Annotated[float, pydantic.Field(gt=0, le=1e30)]
ShortText = Annotated[str, pydantic.Field(max_length=1000)]

Value = TypeVar("Value")
# A value for each layer, or some. Of many that are wrong, the first is enough.
PerLayer = Annotated[list[Value], pydantic.Field(min_length=1, max_length=100_000, fail_fast=True)]

Ends = Annotated[list[float], pydantic.Field(min_length=2, max_length=2)]  # of an interval
# One for all layers, or one for each.
ShareOrShares = Annotated[
    Annotated[Share, pydantic.Tag("number")] | Annotated[PerLayer[Share], pydantic.Tag("list")],
    pydantic.Discriminator(lambda value: "list" if isinstance(value, list) else "number"),
]


class Record(pydantic.BaseModel):
    """A frozen record that refuses unknown keys and does not guess types (integers pass for floats)."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """A record from plain data; `where` opens the message, for example a file's name.

        Raises:
            DipsimError: the first thing that is wrong, with a suggestion for a mistyped key.
        """
        try:
            return cls.model_validate(data)
        except pydantic.ValidationError as error:
            raise DipsimError(f"{where}: {_first_fault(cls, error)}") from None


def _first_fault(cls: type[pydantic.BaseModel], error: pydantic.ValidationError) -> str:
    # A typo makes two faults, an unknown key and a missing one: the typo is the one to name.
    fault = min(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    place = ".".join(_cut(str(part)) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key{suggestion(str(fault['loc'][-1]), _keys_at(cls, fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{place}: missing; it is required"
    what = fault["msg"].removeprefix("Value error, ")
    return f"{place or 'record'}: got {_cut(repr(fault['input']))}; {what[:1].lower()}{what[1:]}"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(cls: type[pydantic.BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys known at a path of nested records."""
    for part in path:
        field = cls.model_fields.get(str(part))
        if field is None:
            continue  # a name that the user gave, in a table of records
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)]
        if not nested:
            return []
        cls = nested[0]
    return [field.alias or name for name, field in cls.model_fields.items()]
