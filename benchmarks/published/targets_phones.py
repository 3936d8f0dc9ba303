"""Published speeds of dense models in DRAM of phones, and of a laptop, none of which their profiles know of."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.published.targets import Q4_0, Run, Target, Workload, model, preset, same_bits
from benchmarks.published.targets_sparse import LLAMA_2_7B
from dipsim import ModelSpec
from dipsim.model import Bits

EXECUTORCH = "GitHub pytorch/executorch, examples/models/llama/README.md and examples/models/llama2/README.md"
VULKAN = "GitHub pytorch/executorch issue 22968 (21 September 2026), the CPU beside which a GPU is compared"
OPENCL = "GitHub ggml-org/llama.cpp pull request 10693, slaren (19 December 2024), tg32"
FIRST = "GitHub ggml-org/llama.cpp issue 34, wizd (12 March 2023), four threads"

# 4-bit weights with a 32-bit scale per group of 128, output matrix and embedding included, sums in 32 bits.
GROUPS_OF_128 = same_bits(4.25, kv=32)
# Of Qwen3-0.6B a token reads 335 MB, says the source.
WITH_SCALES = same_bits(4.5)
# Blocks of 32 with a 32-bit scale, as llama.cpp's first files had them.
FIRST_Q4_0 = same_bits(5)

NO_PROMPT = "keys and values of a few positions"


def executorch(name: str, device: str, run: Run, published: float, *told: str) -> Target:
    """By XNNPACK, on the CPU."""
    return Target(
        name=f"phone-{name}",
        system="ExecuTorch, XNNPACK",
        device=device,
        published=published,
        run=run,
        source=VULKAN if "qwen3" in name else EXECUTORCH,
        assumptions=(NO_PROMPT + ": context not stated", *told),
    )


def with_bits(spec: ModelSpec, bits: Bits) -> ModelSpec:
    return spec.model_copy(update={"bits": bits})


S24 = "galaxy-s24-ultra"
WHICH_S24 = "a Galaxy S24 with the Ultra's chip: which of its two is not stated"
CPU_SHARE = "the profile's DRAM rate of the CPU is the OnePlus 12's with the same chip"
GALAXY_S24 = [
    executorch(
        "s24-llama-3-8b",
        "Galaxy S24",
        Run(S24, Workload(preset("llama-3-8b", GROUPS_OF_128)), unit="cpu"),
        10.91,
        WHICH_S24,
        CPU_SHARE,
    ),
    executorch(
        "s24-llama-2-7b",
        "Galaxy S24",
        Run(S24, Workload(with_bits(LLAMA_2_7B, GROUPS_OF_128)), unit="cpu"),
        10.66,
        WHICH_S24,
        CPU_SHARE,
    ),
]
S26_SHARE = "the profile's DRAM rate of the CPU is another phone's share of an assumed peak"
GALAXY_S26 = [
    executorch(
        f"s26-{name}",
        "Galaxy S26 Ultra",
        Run("galaxy-s26-ultra", Workload(preset(name, WITH_SCALES)), unit="cpu"),
        published,
        "8da4w: 4.5 bits a weight, from what the source says a token of the smaller model reads",
        S26_SHARE,
    )
    for name, published in (("qwen3-1.7b", 47.6), ("qwen3-0.6b", 109.0))
]
IPHONE = executorch(
    "iphone-15-pro-llama-2-7b",
    "iPhone 15 Pro",
    Run(
        "iphone-15-pro",
        Workload(with_bits(LLAMA_2_7B, GROUPS_OF_128)),
        changes={"dram.reserved_bytes": 2e9},
    ),
    6,
    "'~6', in an app, which cost a Galaxy S22 a third of its speed",
    "the app has the entitlement for more memory, or the weights would not fit",
    "the whole bus for the CPU: what it reads alone is not known",
)
XIAOMI = Target(
    name="phone-xiaomi-14-llama-3.2-1b",
    system="llama.cpp, OpenCL",
    device="Xiaomi 14",
    published=23.10,
    run=Run("xiaomi-14", Workload(preset("llama-3.2-1b", Q4_0)), unit="gpu"),
    source=OPENCL,
    assumptions=(
        "Q4_0 with the embedding, which is the output matrix too, in Q6_K: 727.75 MiB as the file",
        "the profile's DRAM rate of the GPU is from F16 weights of the same model, in the same report",
        NO_PROMPT + ": 32 tokens without a prompt",
    ),
)


def air(name: str, spec: ModelSpec, published_ms: float, run: Run) -> Target:
    """In DRAM of an Apple M1."""
    return Target(
        name=f"air-m1-{name}",
        system="llama.cpp in its first week, CPU",
        device="Apple M1",
        published=1e3 / published_ms,
        run=replace(run, workload=Workload(spec)),
        source=FIRST,
        assumptions=(
            "which computer with an M1 is not stated; 13B needs one of 16 GB",
            "5 bits a weight: blocks of 32 with a 32-bit scale",
            NO_PROMPT + ": context not stated",
        ),
    )


M1 = Run("macbook-air-m1", Workload(LLAMA_2_7B))
M1_16 = replace(M1, changes={"dram.capacity_bytes": 16e9, "dram.reserved_bytes": 5.33e9})
LLAMA_13B = model("llama-13b", (40, 5120, 13824), (40, 40, 128), 32000, FIRST_Q4_0)
LAPTOP = [
    air("llama-7b", with_bits(LLAMA_2_7B, FIRST_Q4_0), 94.24, M1),
    air("llama-13b", LLAMA_13B, 202.18, M1_16),
]

TARGETS = [*GALAXY_S24, *GALAXY_S26, IPHONE, XIAOMI, *LAPTOP]
