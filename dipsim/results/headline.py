"""What a reader wants first: the numbers of a run in words, with units."""

from __future__ import annotations

from typing import Any

from dipsim.model import ModelSpec
from dipsim.units import scaled, three_digits


def headline(numbers: dict[str, Any]) -> dict[str, str]:
    """The numbers that a reader wants first, with units, from `Result.to_dict()`."""
    tpot, ttft = numbers["tpot_s"], numbers["ttft_s"]
    lines = {
        "throughput": f"{three_digits(numbers['tok_per_s'])} tok/s",
        "TPOT": f"mean {scaled(tpot['mean'], 's')}, p50 {scaled(tpot['p50'], 's')}, "
        f"p95 {scaled(tpot['p95'], 's')}, p99 {scaled(tpot['p99'], 's')}",
        "TTFT": "no prompts in the trace" if ttft is None else scaled(ttft, "s"),
        "hit rate": f"{numbers['hit_rate']:.3f} of columns, {numbers['byte_hit_rate']:.3f} of bytes ("
        + ", ".join(f"{group} {rate:.3f}" for group, rate in numbers["hit_rate_by_group"].items())
        + ")",
        "MLP error": _error_line(numbers),
        "per token": f"Flash {scaled(numbers['bytes_per_token']['flash'], 'B')}, "
        f"DRAM {scaled(numbers['bytes_per_token']['dram'], 'B')}{_of_peak(numbers)}",
        "Flash reads": _flash_line(numbers["flash"]),
        "bound": numbers["bound"],
        "energy": "not modelled"
        if numbers["energy_j_per_token"] is None
        else f"{scaled(numbers['energy_j_per_token'], 'J')} per token, {scaled(numbers['average_w'], 'W')} on average",
        "DRAM": _dram_line(numbers),
    }
    if numbers["prefetch"] is not None:
        lines["prefetch"] = _prefetch_line(numbers["prefetch"])
    if (waited := numbers["waited_for_others_s_per_token"]) is not None:
        names = {"flash": "Flash", "dram": "DRAM", "compute": "compute"}
        told = ", ".join(f"{names[device]} {scaled(seconds, 's')}" for device, seconds in waited.items())
        lines["waits for loads"] = f"{told} per token"
    return lines


def time_rows(numbers: dict[str, Any]) -> list[list[str]]:
    """Where a token's time goes, from `Result.to_dict()`: part, seconds and share of the critical path; and for Flash,
    which may be busy while nobody waits for it, seconds by cause and their share of its own time."""
    path = numbers["critical_path_s_per_token"]
    tables = {"critical path": path} | ({"Flash alone": numbers["flash"]["s_per_token"]} if numbers["flash"] else {})
    rows = []
    for table, parts in tables.items():
        whole = sum(parts.values())
        for part, seconds in parts.items():
            share = f"{100 * seconds / whole:.1f} %" if whole else ""
            rows.append([table, part.replace("_", " "), scaled(seconds, "s"), share])
    return rows


def _error_line(numbers: dict[str, Any]) -> str:
    error, retained = (numbers[name] for name in ("mlp_error", "retained_magnitude"))
    known = "not modelled" if error is None else f"{error:.3f} of the output, estimated"
    magnitude = "" if retained is None else f", {retained:.3f} of the magnitude retained"
    return f"{known}{magnitude}, at MLP density {numbers['mlp_density']:.3f}"


def _of_peak(numbers: dict[str, Any]) -> str:
    share = numbers["dram_share_of_peak"]
    return "" if share is None else f" ({100 * share:.0f} % of its peak rate)"


def _flash_line(flash: dict[str, Any] | None) -> str:
    if flash is None:
        return "not modelled: bytes / rate"
    if not flash["reads_per_token"]:
        return "none"
    return (
        f"{three_digits(flash['reads_per_token'])} per token of {scaled(flash['mean_read_bytes'], 'B')}, "
        f"{flash['amplification']:.2f} times the bytes wanted"
    )


def _prefetch_line(prefetch: dict[str, float]) -> str:
    return (
        f"{scaled(prefetch['bytes_per_token'], 'B')} per token, of which "
        f"{scaled(prefetch['wasted_bytes_per_token'], 'B')} for nothing"
    )


def _dram_line(numbers: dict[str, Any]) -> str:
    dram, mlp_bytes = numbers["dram"], ModelSpec.parse(numbers["config"]["model"], "config: model").mlp_bytes
    streamed, buffers = dram["streamed_pinned_bytes"], dram["prefetch_bytes"]
    return (
        f"{scaled(dram['capacity_bytes'], 'B')}: attention and LM head {scaled(dram['pinned_bytes'], 'B')}"
        + (f" ({scaled(streamed, 'B')} of them streamed from Flash)" if streamed else "")
        + f", KV {scaled(dram['kv_bytes'], 'B')}"
        + (f", prefetch {scaled(buffers, 'B')}" if buffers else "")
        + f", room for cache {scaled(dram['cache_bytes'], 'B')}"
        + f" (MLP {scaled(mlp_bytes, 'B')}{', all of it fits' if dram['cache_bytes'] >= mlp_bytes else ''})"
    )
