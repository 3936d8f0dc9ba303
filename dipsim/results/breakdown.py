"""Where seconds, bytes and joules went: numbers of the summary that take a token apart, from the columns of tokens."""

from __future__ import annotations

from typing import Any

from dipsim.profile import ComputeUnit, DramSpec, EnergySpec, FlashSpec
from dipsim.results.log import Columns

# Of a token's time: parts of the critical path by what is to blame.
BLAMED = {
    "flash_latency": "flash",
    "flash_bandwidth": "flash",
    "waiting": "flash",
    "dram": "dram",
    "compute": "compute",
    "selection": "compute",
}
CAUSES = ("latency", "small_reads", "amplification", "bandwidth")


def of_flash(tokens: Columns, spec: FlashSpec) -> dict[str, Any] | None:
    """Reads, and the seconds of Flash by what they are due to, whether or not anybody waited for them; None where Flash
    is ideal. See `dipsim.devices.Flash.losses`."""
    if spec.is_ideal:
        return None
    n_reads, moved, wanted = (tokens[name].sum() for name in ("flash_reads", "flash_bytes", "flash_wanted_bytes"))
    return {
        "reads_per_token": tokens["flash_reads"].mean(),
        "mean_read_bytes": moved / n_reads if n_reads else None,
        "amplification": moved / wanted if wanted else None,
        "s_per_token": {cause: tokens[f"flash_{cause}_s"].mean() for cause in CAUSES},
    }


def of_prefetch(tokens: Columns) -> dict[str, float] | None:
    """Bytes that were asked for ahead of their use, and what became of them; None without a prefetcher."""
    if "prefetch_bytes" not in tokens:
        return None
    read, used = tokens["prefetch_bytes"].mean(), tokens["prefetch_used_bytes"].mean()
    return {"bytes_per_token": read, "used_bytes_per_token": used, "wasted_bytes_per_token": read - used}


def of_others(tokens: Columns) -> dict[str, float] | None:
    """Seconds of a token for which the model's jobs waited for those of loads, by device; None without loads."""
    devices = ("flash", "dram", "compute")
    if "flash_others_s" not in tokens:
        return None
    return {device: float(tokens[f"{device}_others_s"].mean()) for device in devices}


def of_path(tokens: Columns) -> dict[str, float]:
    """Seconds of a token by the part of its critical path; together they are its time."""
    return {part: tokens[f"{part}_on_path_s"].mean() for part in BLAMED}


def bound(tokens: Columns) -> str:
    """The device that the critical path leads through for longest; of equal ones Flash, then DRAM."""
    seconds = dict.fromkeys(BLAMED.values(), 0.0)
    for part, own in of_path(tokens).items():
        seconds[BLAMED[part]] += own
    return max(seconds, key=lambda device: seconds[device])


def share_of_peak(tokens: Columns, spec: DramSpec) -> float | None:
    """What the bus carried of what its data sheet promises; None without that number."""
    if spec.peak_bytes_per_s is None:
        return None
    return float(tokens["dram_bytes"].sum() / tokens["token_s"].sum() / spec.peak_bytes_per_s)


def of_energy(tokens: Columns, spec: EnergySpec | None, unit: ComputeUnit | None) -> dict[str, Any]:
    """Joules per token, in all and by part, and mean power; None where the profile does not tell enough."""
    spec = spec or EnergySpec()
    if spec.missing(unit):
        return {"energy_j_per_token": None, "energy_parts_j_per_token": None, "average_w": None}
    parts = {
        part: sum(float(tokens[name].mean()) * each for name, each in costs if each is not None)
        for part, costs in spec.joules(unit).items()
    }
    joules = sum(parts.values())
    return {
        "energy_j_per_token": joules,
        "energy_parts_j_per_token": parts,
        "average_w": joules / float(tokens["token_s"].mean()),
    }
