"""What is each column of a table of results: its label, its unit, its definition, its role?

A new number of a run is one line of `COLUMNS`: figures, the report and the check of stored tables take it from there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from dipsim.results.naming import readable, unit_of

Role = Literal["parameter", "device", "result", "provenance"]
Kind = Literal["number", "text", "list"]
_PREFIXED = {"B", "B/s", "s", "s/column", "op/s", "J", "J/B", "J/op", "W"}
_DEVICE = "profile."


@dataclass(frozen=True)
class Meaning:
    """What one column, or a family of them, is.

    Attributes:
        label: its name for readers.
        unit: SI, without a prefix; empty for counts, shares and text.
        definition: how it is worked out; what a parameter is, the help of its option says.
        better: `higher`, `lower`, or empty where neither is.
        axis: its name in a figure.
        role: what it is to a run, which is given parameters and the numbers of its device, and yields results.
        kind: of its values; None for an input, whose may be any.
        follows: the parameter that it is another expression of, so that points along it may be joined.
    """

    label: str = ""
    unit: str = ""
    definition: str = ""
    better: Literal["higher", "lower", ""] = ""
    axis: str = ""
    role: Role = "result"
    kind: Kind | None = "number"
    follows: str = ""

    @property
    def is_input(self) -> bool:
        """Whether a run is given it."""
        return self.role in ("parameter", "device")

    @property
    def is_prefixed(self) -> bool:
        """Whether its unit takes a prefix, as MB; there are no Mtok/s."""
        return self.unit in _PREFIXED


# A name that ends in `.*` is a family; in its label and axis, `*` is what the star stands for, in words. A figure shows
# what has no `axis` under its column's name. Of inputs, only what their names do not say is here.
COLUMNS = {
    "tok_per_s": Meaning(
        "throughput", "tok/s", "counted tokens / seconds of decoding", "higher", "throughput (tokens/s)"
    ),
    "tpot_s.*": Meaning(
        "time per token, *", "s", "seconds per output token over the counted tokens", "lower", "time per token, *"
    ),
    "tpot_s.p50": Meaning(
        "time per token, p50",
        "s",
        "seconds per output token over the counted tokens",
        "lower",
        "time per token, median",
    ),
    "ttft_s": Meaning(
        "time to first token", "s", "seconds of the prompt phase, mean of the sequences", "lower", "time to first token"
    ),
    "n_tokens": Meaning("tokens counted", "", "tokens after warm-up; everything else is taken over these"),
    "hit_rate": Meaning(
        "hit rate", "", "hits / active columns, cold misses included", "higher", "hit rate (hits / active columns)"
    ),
    "byte_hit_rate": Meaning(
        "byte hit rate", "", "bytes of hits / bytes of active columns", "higher", "byte hit rate (hits / active bytes)"
    ),
    "hit_rate_by_group.*": Meaning("hit rate, *", "", "hits / active columns of one group of matrices", "higher"),
    "hit_rate_by_layer.*": Meaning(
        "hit rate by layer, *", "", "hits / active columns of one group, layer by layer", kind="list"
    ),
    "bytes_per_token.*": Meaning(
        "bytes per token, *", "B", "bytes read from the device, mean per token", "lower", "read from * per token"
    ),
    "flash_reads_per_token": Meaning("Flash reads per token", "", "reads after adjacent columns are joined, mean"),
    "flash": Meaning("Flash reads", "", "in columns of their own; nothing where Flash is ideal"),
    "flash.reads_per_token": Meaning("Flash reads per token", "", "reads after adjacent columns are joined, mean"),
    "flash.mean_read_bytes": Meaning("mean Flash read", "B", "bytes moved / reads"),
    "flash.amplification": Meaning("read amplification", "", "bytes moved from Flash / bytes wanted", "lower"),
    "flash.s_per_token.*": Meaning(
        "Flash time, *", "s", "seconds of Flash per token by what they are due to, waited for or not"
    ),
    "prefetch.bytes_per_token": Meaning("prefetched per token", "B", "bytes asked for ahead of their use, mean"),
    "prefetch.used_bytes_per_token": Meaning(
        "prefetched and used per token", "B", "of those, the bytes that were used"
    ),
    "prefetch.wasted_bytes_per_token": Meaning(
        "prefetched for nothing per token", "B", "of those, the bytes that were not"
    ),
    "mlp_density": Meaning(
        "MLP density",
        "",
        "active share of the three MLP matrices, mean of the counted tokens",
        axis="density (active share of the MLP)",
        follows="density",
    ),
    "mlp_error": Meaning(
        "MLP error",
        "",
        "relative error of the MLPs' outputs, estimated from scores: root of the mean over tokens and layers of 1 - "
        "the product, over masked groups, of active scores' squares / all scores' squares",
        "lower",
        "MLP error (relative, estimated)",
    ),
    "retained_magnitude": Meaning(
        "retained magnitude",
        "",
        "sum of active scores / sum of all scores",
        "higher",
        "score magnitude retained",
    ),
    "energy_j_per_token": Meaning(
        "energy per token",
        "J",
        "per byte of Flash and DRAM, per operation, power of Flash and of the unit x the time for which they are at "
        "work, and idle power x time",
        "lower",
        "energy per token",
    ),
    "energy_parts_j_per_token": Meaning(
        "energy per token by part", "J", "in columns of their own; nothing without energy"
    ),
    "energy_parts_j_per_token.*": Meaning(
        "energy per token, *", "J", "of the energy per token, what Flash, DRAM, compute and idling take", "lower"
    ),
    "average_w": Meaning("mean power", "W", "energy per token / seconds per token", "lower", "mean power"),
    "busy_s.*": Meaning("busy time, *", "s", "seconds in which the device worked, sum of the counted tokens"),
    "bound": Meaning("bound", "", "the device that the critical path leads through for longest", kind="text"),
    "critical_path_s_per_token.*": Meaning(
        "critical path, *", "s", "seconds of a token by part of its critical path; together they are its time"
    ),
    "waited_for_others_s_per_token": Meaning("waits for loads", "s", "in columns of their own; nothing without loads"),
    "waited_for_others_s_per_token.*": Meaning(
        "waits for loads, *",
        "s",
        "seconds of a token for which the device served loads while the model waited",
        "lower",
    ),
    "dram_share_of_peak": Meaning("share of DRAM's peak", "", "bytes read per second / the data sheet's peak rate"),
    "dram.capacity_bytes": Meaning(
        "DRAM for this model", "B", "bytes of DRAM that this model may use", axis="DRAM for this model", follows="dram"
    ),
    "dram.pinned_bytes": Meaning("pinned in DRAM", "B", "attention, LM head and other weights that stay in DRAM"),
    "dram.kv_bytes": Meaning("KV in DRAM", "B", "keys and values at full context"),
    "dram.cache_bytes": Meaning(
        "weight cache in DRAM", "B", "capacity - pinned - KV - prefetch buffers", axis="weight cache", follows="dram"
    ),
    "dram.streamed_pinned_bytes": Meaning("pinned, streamed", "B", "pinned weights without room, read for every token"),
    "dram.prefetch_bytes": Meaning("prefetch buffers", "B", "bytes of DRAM kept for what is read ahead"),
    "prompt_hit_rate": Meaning(
        "hit rate of prompts",
        "",
        "hits / columns looked up, each once in a prompt and layer, where prompts warm caches",
    ),
    "cumulative_hit_rate_by_group": Meaning(
        "hit rates with prompts", "", "in columns of their own; nothing where prompts leave caches cold"
    ),
    "cumulative_hit_rate_by_group.*": Meaning(
        "hit rate with prompts, *", "", "hits / active columns of the group, look-ups of prompts among them"
    ),
    "slots": Meaning("slots", "", "columns that the cache holds, mean of the layers", axis="slots of a layer (mean)"),
    "slots.*": Meaning("slots by layer, *", "", "columns that the cache holds, layer by layer", kind="list"),
    "token_s": Meaning("time of a token", "s", "seconds of one token", "lower", "time of a token"),
    "token_s_percentiles": Meaning("time per token", "s", "0th to 100th percentile of seconds per token", kind="list"),
    "headroom.step": Meaning("headroom: step", "", "replays of the same masks, each with more freedom", kind="list"),
    "headroom.changes": Meaning("headroom: changes", "", "what is better than in the step before", kind="list"),
    "headroom.tok_per_s": Meaning("headroom: throughput", "tok/s", "tokens per second of each step", kind="list"),
    "headroom.tpot_s": Meaning("headroom: time per token", "s", "seconds per token of each step", kind="list"),
    "headroom.saved_s": Meaning(
        "headroom: saved", "s", "seconds per token that the step saves over the one before", kind="list"
    ),
    "headroom.*": Meaning("headroom, *", "", "of each step", kind="list"),
    "perplexity": Meaning("perplexity", "", "exp of the mean loss, with the mask in the loop", "lower", "perplexity"),
    "perplexity_se": Meaning("perplexity, standard error", "", "perplexity x standard error of the loss"),
    "loss": Meaning(
        "loss", "nat/token", "mean negative log-likelihood of the scored tokens", "lower", "loss (nats/token)"
    ),
    "loss_se": Meaning("loss, standard error", "nat/token", "of a ratio of sums, windows as clusters"),
    "n_scored_tokens": Meaning("tokens scored", "", "tokens whose loss is in the mean"),
    "loss_by_window": Meaning("loss by window", "nat/token", "mean loss of each window's scored tokens", kind="list"),
    "scored_by_window": Meaning("tokens scored by window", "", "how many of each window's tokens count", kind="list"),
    "tokens_sha256": Meaning(
        "tokens",
        "",
        "hash of the windows' tokens and of which are scored",
        kind="text",
    ),
    "key": Meaning(
        definition="hash of the run's configuration, its trace's content and dipsim's version",
        role="provenance",
        kind="text",
    ),
    "error": Meaning(definition="why the run failed", role="provenance", kind="text"),
    "config": Meaning(
        definition="everything needed to run it again: Simulation.from_config", role="provenance", kind="text"
    ),
    "trace_sha256": Meaning(definition="hash of the trace's content", role="provenance", kind="text"),
    "dipsim_version": Meaning(definition="the version that made the run", role="provenance", kind="text"),
    "profile": Meaning("device", role="parameter"),
    "density": Meaning(axis="density (active share of the MLP)", role="parameter"),
    "keep_input": Meaning(axis="share kept at the MLP's input", role="parameter"),
    "keep_glu": Meaning(axis="share kept at the down projection", role="parameter"),
    "profile.flash.read_bytes_per_s": Meaning(axis="Flash speed", role="device"),
    "profile.flash.latency_s": Meaning(axis="Flash latency", role="device"),
    "profile.flash.queue_depth": Meaning(axis="Flash queue depth", role="device"),
    "profile.flash.page_bytes": Meaning(axis="Flash page", role="device"),
    "profile.dram.read_bytes_per_s": Meaning(axis="DRAM speed", role="device"),
    "profile.dram.capacity_bytes": Meaning(axis="DRAM of the device", role="device"),
    "profile.compute.ops_per_s": Meaning(axis="compute", role="device"),
}


@lru_cache(maxsize=2**14)
def meaning_of(name: str) -> Meaning:
    """What a column is; one that is not in `COLUMNS` is an input, and its name says the rest."""
    line = name if name in COLUMNS else _line_of(name)
    own = COLUMNS[line] if line else Meaning(role="device" if name.startswith(_DEVICE) else "parameter")
    if own.role != "result":
        label, kind = own.label or readable(name.removeprefix(_DEVICE)), None if own.is_input else own.kind
        return replace(own, label=label, unit=unit_of(name), axis=own.axis or name, kind=kind)
    star = readable(name.removeprefix(str(line).removesuffix("*")))
    return replace(own, label=own.label.replace("*", star), axis=own.axis.replace("*", star) or name)


def place(name: str) -> int:
    """Where a result comes among others: as they stand above; what is none comes first."""
    line = _line_of(name)
    return list(COLUMNS).index(line) if line and COLUMNS[line].role == "result" else -1


def _line_of(name: str) -> str | None:
    """The first line of `COLUMNS` that a column fits."""
    return next((line for line in COLUMNS if fnmatchcase(name, line)), None)
