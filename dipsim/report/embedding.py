"""How do data get into a page: each column once, small, and as text that no browser takes for anything else."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from dipsim.documents import parse_json
from dipsim.errors import DipsimError

# Drawn only, so that five digits are plenty.
LIST_DIGITS = 5
_INFINITE = frozenset({math.inf, -math.inf})
_INERT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def inert_json(data: object) -> str:
    """JSON that may stand between two tags of HTML: whatever it holds, it neither closes them nor opens others."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_INERT)


def packed(values: Sequence[Hashable]) -> dict[str, Any]:
    """A column in few bytes: its one value, its distinct values with a code for each row, or all of them.

    Args:
        values: one per row; None where there is none. Infinite numbers, which JSON lacks, become the text ∞ or -∞.
    """
    seen: dict[Hashable, int] = {}
    codes = [seen.setdefault(value, len(seen)) for value in values]
    distinct = [_finite(value) for value in seen]
    if len(distinct) == 1:
        return {"one": distinct[0]}
    if 2 * len(distinct) <= len(values):
        return {"table": distinct, "codes": codes}
    return {"all": [_finite(value) for value in values]}


def rounded(values: Sequence[Any]) -> list[Any]:
    """Lists with few digits; None stays."""
    return [value if value is None else tuple(_short(one) for one in value) for value in values]


def packed_configs(texts: Sequence[str | None]) -> list[dict[str, Any]]:
    """Configurations, leaf by leaf: for each the keys that lead to it and a packed column of its JSON, None in rows
    that lack it. Numbers stay as they are written, so that a run's configuration can be put together to the letter.

    Args:
        texts: one JSON object per row; None where there is none.
    """
    leaves: dict[tuple[str, ...], list[str | None]] = {}
    for row, text in enumerate(texts):
        for path, leaf in _leaves(parsed(text), ()):
            column = leaves.get(path)
            if column is None:
                column = leaves[path] = [None] * len(texts)
            column[row] = leaf
    return [{"path": path, "packed": packed(column)} for path, column in leaves.items()]


def parsed(text: str | None) -> dict[str, Any]:
    """A configuration; nothing where it is damaged or out of bounds, which is no reason to show no page."""
    try:
        found = parse_json(text, "config") if text else {}
    except DipsimError:
        return {}
    return found if isinstance(found, dict) else {}


def _leaves(tree: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), json.dumps(value) if isinstance(value, list | dict) else _scalar(value)


@lru_cache(maxsize=100_000, typed=True)
def _scalar(value: str | float | bool | None) -> str:
    return json.dumps(value)


def _short(value: Any) -> Any:
    return float(f"{value:.{LIST_DIGITS}g}") if type(value) is float else value


def _finite(value: Any) -> Any:
    if type(value) is tuple:
        return value if _INFINITE.isdisjoint(value) else [_finite(one) for one in value]
    if type(value) is not float:
        return value
    if value in _INFINITE:
        return "∞" if value > 0 else "-∞"
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
