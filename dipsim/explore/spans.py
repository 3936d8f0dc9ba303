"""What did each device do when: read back from a timeline, of a few layers in the middle of a token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

_TRACKS = ("Flash", "DRAM", "compute")
_MOST_LAYERS = 3  # whose work can be told apart in a figure


@dataclass(frozen=True)
class Spans:
    """Some layers of the last token.

    Attributes:
        table: a row for each span, by `track`, with its `layer`, `name`, `category`, `start_s` and `end_s`, which are
            counted from the first layer's begin.
        title: which they are, in words.
    """

    table: pd.DataFrame
    title: str


def spans_of(timeline: Path) -> Spans:
    """Those of a file that `dipsim simulate --timeline` writes."""
    events: list[dict[str, Any]] = json.loads(timeline.read_text())["traceEvents"]
    names = {event["tid"]: event["args"]["name"] for event in events if event.get("name") == "thread_name"}
    open_spans: dict[int, list[dict[str, Any]]] = {}
    rows: list[tuple[Any, ...]] = []
    layers: list[tuple[float, float]] = []
    for event in events:
        if event["ph"] == "B":
            open_spans.setdefault(event["tid"], []).append(event)
        elif event["ph"] == "E":
            begun = open_spans[event["tid"]].pop()
            times = (float(begun["ts"]) / 1e6, float(event["ts"]) / 1e6)
            track = names[event["tid"]]
            if begun["cat"] == "layer":
                layers.append(times)
            if track in _TRACKS:
                rows.append((track, begun["args"].get("layer"), begun["name"], begun["cat"], *times))
    return _middle(pd.DataFrame(rows, columns=["track", "layer", "name", "category", "start_s", "end_s"]), layers)


def _middle(spans: pd.DataFrame, layers: list[tuple[float, float]]) -> Spans:
    """What lies within the layers in the middle, all of them where they are few."""
    n_shown = min(_MOST_LAYERS, len(layers))
    first = (len(layers) - n_shown) // 2
    start_s, end_s = layers[first][0], layers[first + n_shown - 1][1]
    own = spans[(spans["end_s"] > start_s) & (spans["start_s"] < end_s)].copy()
    for name in ("start_s", "end_s"):
        own[name] = own[name].clip(start_s, end_s) - start_s
    shown = f"layers {first} to {first + n_shown - 1} of {len(layers)}" if n_shown < len(layers) else "all layers"
    return Spans(own.reset_index(drop=True), f"{shown}, last token")
