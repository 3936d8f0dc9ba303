"""How is a timeline written: as Chrome Trace Event JSON, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dipsim.files import replacing

# One track each, in this order from above.
TRACKS = ("tokens", "layers", "Flash", "prefetch", "DRAM", "compute")
_PROCESS = 1
_TRACK_IDS = {track: index for index, track in enumerate(TRACKS, 1)}
_MICROSECONDS = 1e6


class TraceEvents:
    """Writes events as they come, one a line, and keeps none of them.

    A span is two events, begin and end, rather than one with a duration: viewers cut every number to nanoseconds, and
    cut durations may reach into the span after them. Of events at one time, what comes first in the file comes first.
    Source: Trace Event Format, Google, 2016.

    Args:
        file: where they go.
        process: what the tracks are of, in words.
    """

    def __init__(self, file: TextIO, process: str) -> None:
        self._file = file
        self._separator = ""
        self._n_arrows = 0
        self._name("process_name", 0, name=process)
        for track, index in _TRACK_IDS.items():
            self._name("thread_name", index, name=track)
            self._name("thread_sort_index", index, sort_index=index)

    def begin(self, track: str, name: str, at_s: float, category: str, args: dict[str, Any]) -> None:
        """A span begins, within the one that has begun on its track if any has."""
        self._write("B", track, at_s, name=name, cat=category, args=args)

    def end(self, track: str, at_s: float) -> None:
        """The span that began last on the track ends."""
        self._write("E", track, at_s)

    def span(self, track: str, name: str, start_s: float, end_s: float, category: str, args: dict[str, Any]) -> None:
        """A span without others within it."""
        self.begin(track, name, start_s, category, args)
        self.end(track, end_s)

    def arrow(self, name: str, track: str, at_s: float, to_track: str, to_s: float) -> None:
        """An arrow between two spans that have been written, each named by its track and a time within it."""
        self._n_arrows += 1
        self._write("s", track, at_s, name=name, cat="wait", id=self._n_arrows)
        self._write("f", to_track, to_s, name=name, cat="wait", id=self._n_arrows, bp="e")

    def counter(self, name: str, at_s: float, values: dict[str, float]) -> None:
        """From now on these are the values; they are stacked in one chart."""
        event = {"ph": "C", "pid": _PROCESS, "ts": at_s * _MICROSECONDS, "name": name, "args": values}
        self._line(event)

    def _name(self, what: str, track_id: int, **args: object) -> None:
        self._line({"ph": "M", "pid": _PROCESS, "tid": track_id, "ts": 0.0, "name": what, "args": args})

    def _write(self, phase: str, track: str, at_s: float, **more: object) -> None:
        self._line({"ph": phase, "pid": _PROCESS, "tid": _TRACK_IDS[track], "ts": at_s * _MICROSECONDS, **more})

    def _line(self, event: dict[str, object]) -> None:
        self._file.write(self._separator + json.dumps(event, separators=(",", ":"), allow_nan=False))
        self._separator = ",\n"


@contextmanager
def write_events(path: Path, process: str, about: dict[str, Any]) -> Iterator[TraceEvents]:
    """A file of events that is there when the body has ended.

    Args:
        path: the file.
        process: what the tracks are of, in words.
        about: what else the file is to tell, as plain data.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit":"ms","otherData":' + json.dumps(about) + ',"traceEvents":[\n')
        yield TraceEvents(file, process)
        file.write("\n]}\n")
