"""What do the results' columns mean: label, unit and definition of each, and which direction is better."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Meaning:
    """What one result, or a family of them, is.

    Attributes:
        label: its name for readers.
        unit: SI, without a prefix; empty for counts and shares.
        definition: how it is worked out.
        better: `higher`, `lower`, or empty where neither is.
    """

    label: str
    unit: str
    definition: str
    better: str = ""


# A name that ends in `.*` is a family; what the star stands for is appended to the label.
RESULTS = {
    "tok_per_s": Meaning("throughput", "tok/s", "counted tokens / seconds of decoding", "higher"),
    "tpot_s.*": Meaning("time per token", "s", "seconds per output token over the counted tokens", "lower"),
    "ttft_s": Meaning("time to first token", "s", "seconds of the prompt phase, mean of the sequences", "lower"),
    "n_tokens": Meaning("tokens counted", "", "tokens after warm-up; everything else is taken over these"),
    "hit_rate": Meaning("hit rate", "", "hits / active columns, cold misses included", "higher"),
    "byte_hit_rate": Meaning("byte hit rate", "", "bytes of hits / bytes of active columns", "higher"),
    "hit_rate_by_group.*": Meaning("hit rate", "", "hits / active columns of one group of matrices", "higher"),
    "hit_rate_by_layer.*": Meaning("hit rate by layer", "", "hits / active columns of one group, layer by layer"),
    "bytes_per_token.*": Meaning("bytes per token", "B", "bytes read from the device, mean per token", "lower"),
    "flash_reads_per_token": Meaning("Flash reads per token", "", "reads after adjacent columns are joined, mean"),
    "flash.reads_per_token": Meaning("Flash reads per token", "", "reads after adjacent columns are joined, mean"),
    "flash.mean_read_bytes": Meaning("mean Flash read", "B", "bytes moved / reads"),
    "flash.amplification": Meaning("read amplification", "", "bytes moved from Flash / bytes wanted", "lower"),
    "flash.s_per_token.*": Meaning(
        "Flash time", "s", "seconds of Flash per token by what they are due to, waited for or not"
    ),
    "prefetch.bytes_per_token": Meaning("prefetched per token", "B", "bytes asked for ahead of their use, mean"),
    "prefetch.used_bytes_per_token": Meaning(
        "prefetched and used per token", "B", "of those, the bytes that were used"
    ),
    "prefetch.wasted_bytes_per_token": Meaning(
        "prefetched for nothing per token", "B", "of those, the bytes that were not"
    ),
    "mlp_density": Meaning("MLP density", "", "active share of the three MLP matrices, mean of the counted tokens"),
    "retained_magnitude": Meaning(
        "retained magnitude", "", "sum of active scores / sum of all scores: a proxy of accuracy", "higher"
    ),
    "energy_j_per_token": Meaning(
        "energy per token", "J", "per byte of Flash and DRAM, per operation, and idle power x time", "lower"
    ),
    "average_w": Meaning("mean power", "W", "energy per token / seconds per token", "lower"),
    "busy_s.*": Meaning("busy time", "s", "seconds in which the device worked, sum of the counted tokens"),
    "bound": Meaning("bound", "", "the device that the critical path leads through for longest"),
    "critical_path_s_per_token.*": Meaning(
        "critical path", "s", "seconds of a token by part of its critical path; together they are its time"
    ),
    "dram_share_of_peak": Meaning("share of DRAM's peak", "", "bytes read per second / the data sheet's peak rate"),
    "dram.capacity_bytes": Meaning("DRAM for this model", "B", "bytes of DRAM that this model may use"),
    "dram.pinned_bytes": Meaning("pinned in DRAM", "B", "attention, LM head and other weights that stay in DRAM"),
    "dram.kv_bytes": Meaning("KV in DRAM", "B", "keys and values at full context"),
    "dram.cache_bytes": Meaning("weight cache in DRAM", "B", "capacity - pinned - KV - prefetch buffers"),
    "dram.streamed_pinned_bytes": Meaning("pinned, streamed", "B", "pinned weights without room, read for every token"),
    "dram.prefetch_bytes": Meaning("prefetch buffers", "B", "bytes of DRAM kept for what is read ahead"),
    "slots.*": Meaning("slots by layer", "", "columns that the cache holds, layer by layer"),
    "token_s_percentiles": Meaning("time per token", "s", "0th to 100th percentile of seconds per token"),
    "headroom.step": Meaning("headroom: step", "", "replays of the same masks, each with more freedom"),
    "headroom.changes": Meaning("headroom: changes", "", "what is better than in the step before"),
    "headroom.tok_per_s": Meaning("headroom: throughput", "tok/s", "tokens per second of each step"),
    "headroom.tpot_s": Meaning("headroom: time per token", "s", "seconds per token of each step"),
    "headroom.saved_s": Meaning("headroom: saved", "s", "seconds per token that the step saves over the one before"),
    "headroom.*": Meaning("headroom", "", "of each step"),
    "perplexity": Meaning("perplexity", "", "exp of the mean loss, with the mask in the loop", "lower"),
    "loss": Meaning("loss", "nat/token", "mean negative log-likelihood of the scored tokens", "lower"),
    "n_scored_tokens": Meaning("tokens scored", "", "tokens whose loss is in the mean"),
}

# Unit of a number of the device, by the end of its name; the first that fits.
UNITS = {
    "s_per_column": "s/column",
    "ops_per_s": "op/s",
    "bytes_per_s": "B/s",
    "j_per_byte": "J/B",
    "j_per_op": "J/op",
    "bytes": "B",
    "_s": "s",
    "_w": "W",
    "_bits": "bit",
}

# What an end of a name becomes where its unit is told beside it.
_ENDS = {
    "_s_per_column": "",
    "ops_per_s": "rate",
    "bytes_per_s": "rate",
    "_j_per_byte": " per byte",
    "_j_per_op": " per operation",
    "_bytes": "",
    "_s": "",
    "_w": " power",
    "_bits": "",
}
_WORDS = {"flash": "Flash", "dram": "DRAM", "cpu": "CPU", "gpu": "GPU", "npu": "NPU", "kv": "KV", "dma": "DMA"}


def of_result(name: str) -> Meaning | None:
    """What a result is; None for a column that is none."""
    if name in RESULTS:
        return RESULTS[name]
    family, _, rest = name.rpartition(".")
    while family:
        if found := RESULTS.get(f"{family}.*"):
            label = f"{found.label}, {readable(rest)}"
            return Meaning(label, found.unit, found.definition, found.better)
        family, _, more = family.rpartition(".")
        rest = f"{more}.{rest}"
    return None


def place(name: str) -> int:
    """Where a result comes among others: as they stand above; what is none comes first."""
    return next((at for at, known in enumerate(RESULTS) if fnmatchcase(name, known)), -1)


def unit_of(name: str) -> str:
    """Unit of a parameter or a number of the device, by the end of its name; empty for counts and shares."""
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def readable(name: str) -> str:
    """A name of code in words: `flash.read_bytes_per_s` is the Flash read rate."""
    for end, word in _ENDS.items():
        if name.endswith(end):
            name = name.removesuffix(end) + word
            break
    words = [_WORDS.get(word, word) for word in re.split(r"[._\s]+", name) if word]
    return " ".join(words) or name
