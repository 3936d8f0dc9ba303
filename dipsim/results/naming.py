"""What does the name of a number say by itself: its unit, the name in words, and its place in nested tables."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

# Unit of a number by the end of its name, and what that end becomes in words; the first that fits.
_ENDS = (
    ("_s_per_column", "s/column", ""),
    ("ops_per_s", "op/s", "rate"),
    ("bytes_per_s", "B/s", "rate"),
    ("_j_per_byte", "J/B", " per byte"),
    ("_j_per_op", "J/op", " per operation"),
    ("_bytes", "B", ""),
    ("bytes", "B", "bytes"),
    ("_s", "s", ""),
    ("_w", "W", " power"),
    ("_bits", "bit", ""),
)
_WORDS = {"flash": "Flash", "dram": "DRAM", "cpu": "CPU", "gpu": "GPU", "npu": "NPU", "kv": "KV", "dma": "DMA"}


def unit_of(name: str) -> str:
    """Unit of a number, by the end of its name; empty for counts and shares."""
    return next((unit for end, unit, _ in _ENDS if name.endswith(end)), "")


def readable(name: str) -> str:
    """A name of code in words, without its unit: `flash.read_bytes_per_s` is the Flash read rate."""
    for end, _, word in _ENDS:
        if name.endswith(end):
            name = name.removesuffix(end) + word
            break
    words = [_WORDS.get(word, word) for word in re.split(r"[._\s]+", name) if word]
    return " ".join(words) or name


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables under dotted names; numbers of NumPy's as Python's."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value.item() if isinstance(value, np.generic) else value
    return found
