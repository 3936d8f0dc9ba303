"""What is known of the options of the record: by their names, in its order."""

from __future__ import annotations

from typing import Annotated, Any, get_origin

from dipsim.description.option import Option
from dipsim.description.record import Description

OPTIONS: dict[str, Option] = {
    name: next(one for one in field.metadata if isinstance(one, Option))
    for name, field in Description.model_fields.items()
}
# Options that are tables; in a spec, their keys are dotted. What a profile holds has a name of its own there.
TABLES = tuple(
    name
    for name, field in Description.model_fields.items()
    if get_origin(field.annotation) is dict and name != "profile_values"
)


def flag_of(name: str) -> str:
    """What is typed for an option, without the dashes in front."""
    return OPTIONS[name].flag or name.replace("_", "-")


def default_of(name: str) -> Any:
    """The value of an option that is not given."""
    field = Description.model_fields[name]
    return field.get_default() if field.default_factory is None else field.default_factory()  # type: ignore[call-arg]


def kind_of(name: str) -> Any:
    """Kind and default of an option, for another record that has it."""
    field = Description.model_fields[name]
    return Annotated[(field.annotation, *field.metadata)], default_of(name)


# What a spec may call an option: by its name, or as its flag.
SPELLINGS: dict[str, str] = {
    spelling: name
    for name in OPTIONS
    if name != "profile_values"
    for spelling in (name, flag_of(name).replace("-", "_"))
}


def of_simulation() -> dict[str, Option]:
    """Options that `Simulation` has beside those that make its device and its method."""
    return {name: option for name, option in OPTIONS.items() if option.makes is None}
