"""Published results of mixtures of experts streamed on a phone. No constant of dipsim was chosen on any of them.

The engine's other runs of the same models gave the phone's profile its numbers (`bigmoe.py`); these are of another
model, or of fewer experts a token and another day.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.published.targets import Run, Target, Workload, same_bits
from dipsim import Experts, HardwareProfile, ModelSpec
from dipsim.layouts import Gguf

MIB = 2**20
DOCS = "GitHub Helldez/BigMoeOnEdge, commit 00bf75a, docs/"
HOT: dict[str, Any] = {"profile": "oneplus-15r-hot"}
# MXFP4: blocks of 32 with a scale of 8 bits.
GPT_OSS = ModelSpec.load("gpt-oss-120b").model_copy(update={"bits": same_bits(4.25)})


def streamed(
    name: str,
    published: float,
    run: Run,
    hit: float | None,
    cache_mib: int,
    source: str,
    *more: str,
) -> Target:
    """A run of 256 tokens; without a hit rate it had no cache."""
    cached = replace(run, cache_bytes=cache_mib * MIB, cache_scope="shared")
    return Target(
        name=f"moe-{name}",
        system="BigMoeOnEdge",
        device="OnePlus 15R",
        published=published,
        run=cached if hit else replace(run, policy="none"),
        source=f"{DOCS}{source}",
        assumptions=(
            "computation takes the seconds that the run itself states; what it waits for reads is simulated",
            "synthetic routes, locality estimated; a cold and a hot phone (rates times .67)",
            "Flash, copies and slots of the cache as the profile has them, from other runs of the engine",
            *more,
        ),
        hit_rate=hit,
        flash=(HOT, {}),
    )


def gpt_oss(
    name: str, published: float, experts: int, lanes: int, compute_s: float, read_mib: float, hit: float | None
) -> Target:
    load = Workload(GPT_OSS, ("router",), tokens=64, warmup=32)
    run = Run(
        "oneplus-15r", load, Experts(per_token=experts), layout=Gguf(), io_depth=lanes, overlap="pipelined",
        compute_s=compute_s,
    )  # fmt: skip
    return streamed(
        f"gpt-oss-{name}", published, run, hit, 2000, "benchmarks-gpt-oss.md, 17 July 2026",
        f"reads overlap with computation; {read_mib:g} MiB were read a token, slices of 4.4 MB",
        "some of these runs began on a warm phone, at two thirds of the clock",
    )  # fmt: skip


def other_day(
    name: str, published: float, preset: str, fused: bool, compute_s: float, read_mib: float, hit: float, k: int = 8
) -> Target:
    """The same models as in `bigmoe.py`, a day later, on a cooler phone; compute there has the slots' cost in it."""
    load = Workload(ModelSpec.load(preset), ("router",), tokens=64, warmup=32)
    replace_s = read_mib * MIB / (HardwareProfile.load("oneplus-15r").dram.replace_bytes_per_s or float("inf"))
    run = Run(
        "oneplus-15r", load, Experts(per_token=k), layout=Gguf(fused=fused), io_depth=4, overlap="none",
        compute_s=compute_s - replace_s,
    )  # fmt: skip
    return streamed(
        name, published, run, hit, 4000, "benchmarks.md, 'Turbo top-k', 13 July 2026",
        f"reads and computation one after the other; {read_mib:g} MiB were read a token; four bits a weight",
    )  # fmt: skip


TARGETS = [
    gpt_oss("top2", 2.191, 2, 8, 0.156, 590.3, 0.320),
    gpt_oss("top2-no-cache", 1.790, 2, 4, 0.242, 908.5, None),
    gpt_oss("top4-8-lanes", 1.300, 4, 8, 0.288, 1292.4, 0.271),
    gpt_oss("top4-4-lanes", 0.998, 4, 4, 0.436, 1292.4, 0.271),
    gpt_oss("top4-no-cache", 0.711, 4, 4, 0.948, 1817.0, None),
    other_day("qwen-top8", 4.03, "qwen3-30b-a3b", False, 0.127, 224.65, 0.765),
    other_day("qwen-top6", 5.01, "qwen3-30b-a3b", False, 0.106, 164.52, 0.767, k=6),
    other_day("gemma-top8", 4.09, "gemma-4-26b-a4b", True, 0.150, 143.50, 0.817),
    other_day("gemma-top6", 4.99, "gemma-4-26b-a4b", True, 0.134, 97.81, 0.828, k=6),
]
