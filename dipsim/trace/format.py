"""What a trace file must hold: the attribute `dipsim` and the arrays beside it."""

from __future__ import annotations

from typing import Any, Literal

from dipsim.model import ModelSpec
from dipsim.schema import Count, Counts, Record

Scores = Literal["exact", "compact"]
# What a trace's arrays hold: scores as they are, or what `compact` makes of them, which earlier readers refuse.
FORMAT_VERSIONS: dict[int, Scores] = {1: "exact", 2: "compact"}
ATTRIBUTE = "dipsim"
# Scores lie in chunks of this many tokens by one layer.
CHUNK_TOKENS = 128
# Ids are held in memory; chunks are looked at one by one when a trace is opened, a zip's index is read whole.
MOST_TOKENS, MOST_CHUNKS, MOST_ZIPPED_CHUNKS = 2**24, 2**20, 150_000


class TraceAttributes(Record):
    """The attribute `dipsim` of a trace's group. `source` and `masking` are told to people; acted upon is
    only `source`'s `bos`: `true` where every sequence begins with the BOS token. `chosen_per_token` is there where the
    scores of so many columns of each token are known, those that were used, and the others stand as 0."""

    format_version: int
    model: ModelSpec
    source: Any = None
    masking: Any = None
    prompt_lengths: Counts
    chosen_per_token: Count | None = None
    dipsim_version: str | None = None
