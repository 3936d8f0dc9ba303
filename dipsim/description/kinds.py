"""Which kinds of value does an annotation allow?"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the one kind, without constraints and without None."""
    if get_origin(annotation) is Annotated:
        return kinds_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in kinds_of(part))
    return () if annotation is NoneType else (annotation,)


def written(annotation: Any, thing: str | None = None) -> str:
    """An annotation as one writes it, without constraints.

    Args:
        annotation: the annotation.
        thing: what else may stand wherever a name may.
    """
    if annotation in (..., NoneType, Any):
        return {...: "...", NoneType: "None"}.get(annotation, "Any")
    if get_origin(annotation) is Annotated:
        return written(get_args(annotation)[0], thing)
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(written(part, thing) for part in get_args(annotation))
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        return f"dict[{written(key)}, {written(value, thing)}]"
    if parts := get_args(annotation):
        return f"{annotation.__origin__.__name__}[{', '.join(written(part, thing) for part in parts)}]"
    return f"str | {thing}" if annotation is str and thing else annotation.__name__
