"""Published results of sparse models whose weights do not all fit into DRAM."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.published.neurons import EveryLinear, LowestIndices, Neurons
from benchmarks.published.targets import DENSE, Q4_0, UNBUNDLED, Run, Target, Unit, Workload, model, preset, same_bits
from benchmarks.published.targets_dense import LLMF, OPT_6_7B, PI2
from dipsim import DipCa, ModelSpec
from dipsim.layouts import GateFirst, LayerGroups
from dipsim.policies import Window

PERFECT = "the predictor makes no mistakes: a token uses exactly the neurons of highest score"
MIXED = "synthetic scores, columns independent of each other, locality estimated (preset 'high' for ReLU)"

# Products that skip columns reach half of a CPU's rate. Chosen so that 7B computes in the 101 ms that PowerInfer-2
# leaves its baseline; Ripple's products (arXiv 2410.19274) reach .29, .29 and .63 of DRAM's rate on the same phone.
SPARSE_CPU: dict[str, Any] = {"compute.units.cpu.sparse_efficiency": 0.5}
# The NPU works on the hot half whole, the CPU on what a token uses of the other: 1.2 % of the neurons, 21 % without
# ReLU, by the density that is simulated.
BESIDE_NPU, SILU_BESIDE_NPU = "npu=0.977,cpu=0.023", "npu=0.7,cpu=0.3"
SPARSE_ALL: dict[str, Any] = {"compute.sparse_efficiency": 0.5}

# LLM in a Flash on M1 Max. The publication mixes GB and GiB: its rates may all be 2^30 / 1e9 times as high.
GIB = 2**30 / 1e9
M1_FAST: dict[str, Any] = {
    "changes": {
        "flash.read_bytes_per_s": 6.1e9 * GIB,
        "flash.read_curve": [[8192, 1.25e9 * GIB], [16384, 2.25e9 * GIB], [32768, 3.1e9 * GIB], [2**20, 6.1e9 * GIB]],
    }
}
OPT_RUN = Run(
    "macbook-m1-max",
    Workload(OPT_6_7B, ("glu",), "high", tokens=192, warmup=128, prompt=128),
    masking=Neurons(keep=0.10, n_matrices=2),
    policy=partial(Window, k=4),
    overlap="none",
    predictor_bytes=2 * (28 * 128 + 4 * 1024) / 32 * (4096 + 16384),
)
OPT_WINDOW = OPT_RUN.holding(0.24)
LLAMA_2_7B_32 = model("llama-2-7b", (32, 4096, 11008), (32, 32, 128), 32000, same_bits(32))
LLAMA_2_RUN = Run(
    "macbook-m1-max",
    Workload(LLAMA_2_7B_32, ("glu",), "high", tokens=192, warmup=128, prompt=128),
    masking=Neurons(keep=0.10),
    policy=partial(Window, k=2),
    overlap="none",
    unit="cpu",
).holding(0.26)
FLASH_MS: Unit = "ms of Flash per token"


def llmf(
    name: str, published: float, run: Run, source: str, *more: str, unit: Unit = FLASH_MS, hit: float | None = None
) -> Target:
    return Target(
        name=f"llmf-{name}",
        system="LLM in a Flash",
        device="MacBook Pro M1 Max 1 TB",
        published=published,
        run=run,
        source=f"{LLMF} {source}",
        assumptions=(
            PERFECT,
            MIXED,
            "the profile's rates at 8 and 16 KiB are the publication's own, in GB or in GiB",
            "32 threads read; I/O, memory management and computation one after another",
            *more,
        ),
        unit=unit,
        hit_rate=hit,
        flash=({}, M1_FAST),
    )


OPT_STATED = "a token uses 10 % of the neurons ('about 10 %'); MLP of two matrices, 16 bits"
WINDOW_STATED = (
    "24 % of the MLP in DRAM and 2.4 % new neurons per token, thus 76 % hits, are a window of four tokens (Appendix "
    "C.1); synthetic scores at 10 % give 20 and 2.2 % there at preset 'high', 28 and 4.6 % at 'default'"
)
# 13.4 GB in 193 ms of a dense token's computation (Table 3, Metal).
OPT_COMPUTED = replace(OPT_WINDOW, changes={"dram.read_bytes_per_s": 69e9} | SPARSE_ALL)
UNMODELLED = (
    "computation at the 69 GB/s that a dense token's 193 ms make, half of it where columns are skipped; published are "
    "438 ms of computation and 35 of memory management, of which nothing here tells"
)
LLM_IN_A_FLASH = [
    llmf("opt-predictor", 738, replace(OPT_RUN, policy="none", layout=UNBUNDLED), "Table 2, third row", OPT_STATED),
    llmf(
        "opt-window", 164, replace(OPT_WINDOW, layout=UNBUNDLED), "Table 2, fourth row; Appendix C.1",
        OPT_STATED, WINDOW_STATED, hit=0.76,
    ),
    llmf("opt-bundle", 87, OPT_WINDOW, "Table 2, fifth row (Table 3: 92)", OPT_STATED, WINDOW_STATED, hit=0.76),
    llmf(
        "opt-total", 1 / 0.565, OPT_COMPUTED, "Table 3, 'All', Metal M1: 565 ms",
        OPT_STATED, WINDOW_STATED, UNMODELLED, unit="tok/s", hit=0.76,
    ),
    llmf(
        "llama-2-7b", 279, LLAMA_2_RUN, "Table 3, 'All', CPU; Appendix C.5",
        "a window of two tokens",
        "above 90 % sparsity by FATReLU: 10 % of the neurons; 32 bits on the CPU, as for OPT there",
        "55 % of the model in DRAM: 26 % of the MLP beside attention, embeddings and predictors",
    ),
]  # fmt: skip

# PowerInfer-2 on OnePlus 12. Per matrix and neuron 2 KB of INT4 and 0.5 KB of scales: 5 bits a weight.
BAMBOO = preset("mistral-7b", same_bits(5)).model_copy(update={"name": "bamboo-7b", "activation": "relu"})
BAMBOO_LOAD = Workload(BAMBOO, ("glu",), "high", tokens=192, warmup=128, prompt=512)
SPARSE = Neurons(keep=0.15, column_bytes=8192, fills_cache=True)
# 2.6 GB of predictors of eight experts in 32 layers (section 7.2.3); one of a 7B model is as large as an expert's.
EXPERT_PREDICTOR_BYTES = 2.6e9 / 8 / 32
# PowerInfer-2's one I/O thread: its first two rungs take 30 to 34 us for each read that is formed, where one alone
# takes 150: four to six are in flight. What other engines and the pipeline reach is not known: six to a full queue.
ONE_THREAD: tuple[dict[str, Any], dict[str, Any]] = (
    {"profile": "oneplus-12-ufs4-low", "io_depth": 4},
    {"profile": "oneplus-12-ufs4-high", "io_depth": 6},
)
ANY_DEPTH: tuple[dict[str, Any], dict[str, Any]] = (
    {"profile": "oneplus-12-ufs4-low", "io_depth": 6},
    {"profile": "oneplus-12-ufs4-high"},
)
ONLY_BUNDLE = Run(
    "oneplus-12-ufs4", BAMBOO_LOAD, SPARSE, LowestIndices, admission="priority", overlap="io", unit="cpu",
    io_depth=5, predictor_bytes=EXPERT_PREDICTOR_BYTES, changes=SPARSE_CPU,
).holding(0.5)  # fmt: skip
WITH_CACHE = replace(ONLY_BUNDLE, policy="lru", admission="always", layout=GateFirst())
WITH_PIPELINE = replace(WITH_CACHE, overlap="pipelined", io_depth=None)
# Memory of the phone's CPU and NPU together, as the profile's default unit has it.
WITH_NPU = replace(
    WITH_PIPELINE,
    unit=None,
    units=BESIDE_NPU,
    masking=replace(SPARSE, hot_share=0.5),
    workload=replace(BAMBOO_LOAD, hottest_first=True),
)
SILU_LOAD = Workload(preset("mistral-7b", Q4_0), ("glu",), "default", tokens=192, warmup=128, prompt=512)
HALF = Neurons(keep=0.5, fills_cache=True)
SILU_RUN = Run(
    "oneplus-12-ufs4", SILU_LOAD, HALF, "lru", overlap="io", unit="cpu",
    predictor_bytes=EXPERT_PREDICTOR_BYTES, changes=SPARSE_CPU,
).holding(0.5)  # fmt: skip
SILU_WITH_NPU = replace(
    SILU_RUN,
    overlap="pipelined",
    unit=None,
    units=SILU_BESIDE_NPU,
    layout=GateFirst(),
    masking=replace(HALF, hot_share=0.5),
    workload=replace(SILU_LOAD, hottest_first=True),
)


def pi2(
    name: str,
    published: float,
    run: Run,
    source: str,
    *more: str,
    hit: float | None = None,
    chosen_on: tuple[str, ...] = (),
) -> Target:
    return Target(
        name=f"pi2-{name}",
        system="PowerInfer-2 and its baselines",
        device="OnePlus 12",
        published=published,
        run=run,
        source=f"{PI2} {source}",
        assumptions=(
            PERFECT,
            MIXED,
            "50 % of the MLP in DRAM, LRU, as published, unless said otherwise; full when decoding begins",
            "three candidate curves for small reads; keys and values of 512 positions at 16 bits",
            "the profile's rates are largely the publication's own measurements, its compute an estimate",
            "a predictor as large as that of one expert of Mixtral; products that skip columns at half speed",
            *more,
        ),
        hit_rate=hit,
        chosen_on=chosen_on,
        flash=ONE_THREAD if run.io_depth else ANY_DEPTH,
    )


BAMBOO_STATED = (
    "Bamboo-7B keeps its perplexity with 15 % of its neurons (GitHub SJTU-IPADS/Bamboo): a token uses 15 %",
    "a neuron is 7.5 KB padded to 8 KB, as published; one read on the second rung, where they are 2.7 times fewer "
    "than on the first; from the third on two of 4 KiB, the second for the 80 % whose gate is not zero (section 4.4)",
)
IO_THEN_COMPUTE = (
    "without the pipeline I/O and computation alternate (overlap 'io'); computation at the CPU's DRAM rate"
)
HOT_HALF = (
    "the hot half of the neurons, counted on tokens before those that are measured, is computed whole by the NPU, "
    "as published for batch size 1; all of what DRAM holds of the MLP is then that half"
)
SILU_STATED = "SiLU models have about 50 % sparsity (section 7.2.5): a token uses half of the neurons, Q4_0"
MOE_AS_ONE = (
    "eight experts are one MLP of 8 x 14,336 neurons, of which a token uses 3.75 %: 2 of 8 experts, 15 % of their "
    "neurons (TurboSparse, arXiv 2406.05955, section 6.2); nothing is known of experts, or of their locality"
)
MIXTRAL_BUNDLE = (
    "a neuron's bundle is 6 KiB of INT4, read as two pages; its scales (2.7 GB, section 7.2.3) stay in DRAM and their "
    "use there is left out"
)


def mixtral(name: str, published: float, share: float, hit: float | None, *more: str) -> Target:
    spec = model("turbosparse-mixtral-47b", (32, 4096, 8 * 14336), (32, 8, 128), 32000, same_bits(4))
    load = Workload(spec, ("glu",), "high", tokens=48, warmup=24, prompt=512)
    run = Run(
        "oneplus-12-ufs4", load, Neurons(keep=0.0375, fills_cache=True), "lru", layout=GateFirst(),
        predictor_bytes=2 * EXPERT_PREDICTOR_BYTES, changes=SPARSE_ALL,
    )  # fmt: skip
    source = "section 7.2.3, Fig. 10" if hit is None else "sections 7.2.1, 7.2.4"
    return pi2(f"mixtral-{name}", published, run.holding(share), source, MOE_AS_ONE, MIXTRAL_BUNDLE, *more, hit=hit)


LOADED_ONCE = "no cache: some half of the MLP was loaded once; the other half is read when it is used"
POWERINFER_2 = [
    pi2(
        "bamboo-1-baseline", 0.40, replace(ONLY_BUNDLE, layout=UNBUNDLED), "Fig. 14",
        *BAMBOO_STATED, IO_THEN_COMPUTE, LOADED_ONCE, chosen_on=("reads in flight",),
    ),
    pi2(
        "bamboo-2-bundle", 1.09, ONLY_BUNDLE, "Fig. 14",
        *BAMBOO_STATED, IO_THEN_COMPUTE, LOADED_ONCE, chosen_on=("reads in flight", "reads of a bundle"),
    ),
    pi2(
        "bamboo-3-cache", 4.18, WITH_CACHE, "Fig. 14", *BAMBOO_STATED, IO_THEN_COMPUTE, hit=0.95,
        chosen_on=("reads of a bundle",),
    ),
    pi2(
        "bamboo-4-pipeline", 9.60, WITH_PIPELINE, "Fig. 14", *BAMBOO_STATED, hit=0.95,
        chosen_on=("least reads in flight elsewhere",),
    ),
    pi2("bamboo-5-npu", 11.07, WITH_NPU, "Fig. 14, section 4.1.2", *BAMBOO_STATED, HOT_HALF),
    pi2(
        "llmflash-mistral", 2.3, SILU_RUN, "Table 2; section 7.2.1: about 10 % of active neurons come from Flash",
        SILU_STATED, IO_THEN_COMPUTE, hit=0.90,
        chosen_on=("speed of sparse products", "least reads in flight elsewhere"),
    ),
    pi2(
        "powerinfer-mistral", 1.4, replace(SILU_RUN, policy="static", layout=UNBUNDLED), "Table 2",
        SILU_STATED, IO_THEN_COMPUTE,
        "PowerInfer keeps the neurons that are hot offline, here those of the first 32 tokens, and bundles nothing",
    ),
    pi2("mistral-silu", 5.3, SILU_WITH_NPU, "Table 6, section 4.1.2", SILU_STATED, HOT_HALF),
    mixtral("7gb", 2.13, 0.018, None, "of 7 GB, 6.6 are something else: 1.8 % of the MLP, as published"),
    mixtral("19gb", 11.68, 0.55, None, "of 19 GB, 6.6 are something else: 12.4 GB of 22.5 GB of INT4"),
    mixtral("half", 9.96, 0.5, 0.965),
]  # fmt: skip

# ActiveFlow on OnePlus 12.
LLAMA_2_7B = model("llama-2-7b", (32, 4096, 11008), (32, 32, 128), 32000, Q4_0)
# Attention is among what is cached and streamed: none of it is pinned.
LLAMA_2_STREAMED = LLAMA_2_7B.model_copy(update={"bits": Q4_0.model_copy(update={"attention": 1e-9})})


# One layer's activations choose for four layers, whose columns lie side by side (section 4).
AF_LOAD = Workload(LLAMA_2_STREAMED, ("mlp_input", "glu"), tokens=128, warmup=64, alike=4)
AF_RUN = Run(
    "oneplus-12-ufs4", AF_LOAD, EveryLinear(keep=0.25), "lfu", unit="cpu", prefetch="oracle", prefetch_layers=4,
    layout=LayerGroups(4), changes=SPARSE_CPU,
)  # fmt: skip
AF_BYTES = AF_RUN.masked_bytes + LLAMA_2_STREAMED.lm_head_bytes
ACTIVEFLOW = [
    Target(
        name="af-llama-2-7b",
        system="ActiveFlow, on llama.cpp's CPU backend",
        device="OnePlus 12 16 GB",
        published=5.9,
        run=replace(
            AF_RUN, dram_bytes=0.25 * AF_BYTES, prefetch_bytes=0.25 * AF_RUN.masked_bytes / LLAMA_2_7B.n_layers
        ),
        source="ActiveFlow, arXiv 2504.08378, section 7.2",
        assumptions=(
            "'at 75 % memory cost' read as 75 % less memory, as two sentences earlier; the other reading would need a "
            "sparsity of 25 %, which the publication nowhere has",
            "sparsity = 1 - memory / model, the publication's own rule (section 4.1), for attention and MLP alike",
            "the next four layers use the same columns, which are read ahead without error, one read of a column for "
            "all of them (published: about 5 % are loaded on demand, section 3)",
            "Q4_0; per-tensor LFU; scores at attention's inputs stand in by the MLP's; preset 'default'",
            "three candidate curves for small reads; short context; products that skip columns at half speed",
            "74 to 77 % hits (section 7.3) were published for 10 to 40 tokens, sparsity and cache not stated",
        ),
        hit_rate=0.74,
        flash=ANY_DEPTH,
    )
]

# DIP on its own simulator's device.
PHI_3_MEDIUM = ModelSpec.load("phi-3-medium")
PHI_LOAD = Workload(PHI_3_MEDIUM, ("mlp_input", "glu"), tokens=128, warmup=64)
PHI_DENSE = Run("a18-paper", PHI_LOAD, DENSE, "lfu", overlap="io")
HALF_BYTES = 0.5 * (PHI_DENSE.bytes_beside + PHI_DENSE.masked_bytes)


LESS_DRAM = replace(PHI_DENSE, dram_bytes=0.54 * HALF_BYTES)
SAME_DRAM = replace(PHI_DENSE, dram_bytes=HALF_BYTES)
DIP = [
    Target(
        name="dip",
        system="DIP against streaming the dense model",
        device="the publication's simulator, A18-like",
        published=1.40,
        run=replace(LESS_DRAM, masking=DipCa(density=0.5, gamma=0.2)),
        source="DIP, arXiv 2412.01380 v2, abstract: memory -46 %, throughput +40 %, perplexity + less than 0.1",
        assumptions=(
            "memory read as DRAM: 46 % less than the dense model has, density 0.5, gamma 0.2",
            "other readings of the same sentence are not simulated: the same without cache-awareness; 46 % fewer "
            "weights per token in the same DRAM",
            "budget and density of that number are not known: the dense model has DRAM for half of its bytes",
            "attention and MLP at 4 bits, embedding, head and KV at 8, as in the publication's code; LFU",
            "scores are synthetic, preset 'default'; perplexity is not looked at",
        ),
        unit="times dense tok/s",
        baseline=SAME_DRAM,
    )
]

TARGETS = LLM_IN_A_FLASH + POWERINFER_2 + ACTIVEFLOW + DIP
