"""Published results of dense models: all in DRAM, or streamed from Flash for each token."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.published.neurons import LowestIndices, Neurons
from benchmarks.published.targets import Q4_0, Q4_K_M, Run, Target, Workload, model, preset, same_bits
from dipsim import ModelSpec
from dipsim.model import Bits

QWEN25_1_5B = model("qwen2.5-1.5b", (28, 1536, 8960), (12, 2, 128), 151936, Q4_K_M, tied=True)
QWEN25_3B = model("qwen2.5-3b", (36, 2048, 11008), (16, 2, 128), 151936, Q4_K_M, tied=True)
QWEN25_7B = model("qwen2.5-7b", (28, 3584, 18944), (28, 4, 128), 152064, Q4_K_M)
LLAMA_2_13B = model("llama-2-13b", (40, 5120, 13824), (40, 40, 128), 32000, Q4_0)
OPT_6_7B = model("opt-6.7b", (32, 4096, 16384), (32, 32, 128), 50272, same_bits(16), tied=True)

TEL = "GitHub NVIDIA/TensorRT-Edge-LLM issue 60, a user's measurement"
AI_BENCHMARKS = "GitHub geerlingguy/ai-benchmarks issue 7, test 1b (8 January 2025), Ollama"
LLMF = "LLM in a Flash, arXiv 2312.11514 v3"
PI2 = "PowerInfer-2, arXiv 2406.06282 v3"
OPTANE = "blog.jeanbruenn.info, ?p=1059 (speeds, 87.04 GB read in 19.5 passes) and ?p=1016 (4 GB board)"

NO_PROMPT = "context not stated: keys and values of a few positions"
FILE_SIZES = "Q4_K_M mixes formats: 4.8 bits on average, output matrix 6.56, from sizes of such files"


def orin(name: str, spec: ModelSpec, published: tuple[float, float, float], known: str) -> list[Target]:
    """16-, 8- and 4-bit weights on Jetson AGX Orin."""
    bits = {
        16: same_bits(16),
        8: Bits(mlp=8, attention=8, lm_head=16, embedding=16, kv=16),
        4: Bits(mlp=4.125, attention=4.125, lm_head=16, embedding=16, kv=16),
    }
    told = (
        "LM head kept at 16 bits, which is that library's default when weights are quantized",
        "4-bit weights with a 16-bit scale per group of 128; group size not stated",
        "the vision tower takes no part in decoding; " + NO_PROMPT,
        known,
    )
    return [
        Target(
            name=f"orin-{name}-w{width}",
            system="TensorRT-Edge-LLM",
            device="Jetson AGX Orin 64 GB",
            published=rate,
            run=Run("jetson-agx-orin", Workload(spec.model_copy(update={"bits": own}))),
            source=TEL,
            assumptions=told,
        )
        for (width, own), rate in zip(bits.items(), published, strict=True)
    ]


def pi5(name: str, spec: ModelSpec, published: float) -> Target:
    """In DRAM of a Raspberry Pi 5 of 16 GB."""
    return Target(
        name=f"pi5-{name}",
        system="llama.cpp in Ollama",
        device="Raspberry Pi 5 16 GB, SDRAM tweaks of firmware 8 January 2025",
        published=published,
        run=Run("raspberry-pi-5-nvme", Workload(spec), changes={"dram.capacity_bytes": 16e9}),
        source=AI_BENCHMARKS,
        assumptions=(FILE_SIZES, NO_PROMPT, "the profile's DRAM rate is from another model on other boards"),
    )


IN_DRAM = [
    *orin("qwen3-4b", ModelSpec.load("qwen3-4b"), (20.2, 35.5, 52.2), "w16 is where the profile's DRAM rate is from"),
    *orin("qwen2.5-3b", QWEN25_3B, (27.2, 45.2, 71.8), "independent of the profile's DRAM rate"),
    pi5("llama-3.2-3b", preset("llama-3.2-3b", Q4_K_M), 4.88),
    pi5("llama-3.1-8b", preset("llama-3-8b", Q4_K_M), 2.17),
    pi5("llama-2-13b", LLAMA_2_13B, 1.36),
    Target(
        name="m1max-llama-3.1-8b",
        system="llama.cpp, Metal",
        device="MacBook Pro M1 Max 64 GB",
        published=46.2,
        run=Run("macbook-m1-max", Workload(preset("llama-3-8b", Q4_K_M)), changes={"dram.capacity_bytes": 64e9}),
        source="GitHub brand-o/normiebench issue 40, tg128",
        assumptions=(
            FILE_SIZES,
            "128 tokens without a prompt: their keys and values, 1 % of the bytes, are left out",
            "the profile's DRAM rate of the GPU is an estimate",
        ),
    ),
    Target(
        name="orin-nano-qwen2.5-1.5b",
        system="llama.cpp, CUDA",
        device="Jetson Orin Nano 8 GB, Super mode",
        published=32.1,
        run=Run("jetson-orin-nano-super", Workload(QWEN25_1_5B)),
        source="GitHub paiml/realizar issue 120",
        assumptions=(FILE_SIZES, NO_PROMPT, "the profile has no cost of a kernel launch; its DRAM rate is an estimate"),
    ),
    Target(
        name="pi2-mistral-in-memory",
        system="LLM in a Flash, as PowerInfer-2 rendered it in llama.cpp",
        device="OnePlus 12",
        published=12.9,
        run=Run("oneplus-12-ufs4", Workload(preset("mistral-7b", Q4_0), prompt=512), unit="cpu"),
        source=f"{PI2} Table 2: 12.9 tok/s at 43.9 GB/s (PowerInfer: 12.4 at 41.1)",
        assumptions=(
            "dense: 43.9 GB/s / 12.9 tok/s is 3.4 GB per token, nearly all weights at 4 bits",
            "Q4_0 (4.5 bits); keys and values of 512 positions, half of the published output length",
            "the profile's DRAM rate of the CPU is the publication's own, the bytes per token are not",
        ),
    ),
]


def opt_dense(name: str, published: float, run: Run, source: str, *more: str) -> Target:
    """OPT-6.7B without sparsity on an M1 Max."""
    return Target(
        name=f"llmf-opt-{name}",
        system="dense baselines of LLM in a Flash",
        device="MacBook Pro M1 Max 1 TB",
        published=published,
        run=run,
        source=f"{LLMF} {source}",
        assumptions=(
            "OPT has no gate: an MLP of two matrices",
            "I/O time is the publication's theoretical best, bytes over 6.1 GB/s, which is also the profile's rate",
            *more,
        ),
        unit="ms of Flash per token",
    )


OPT_ALL = Run(
    "macbook-m1-max",
    Workload(OPT_6_7B, ("glu",), "high", tokens=4, prompt=128),
    masking=Neurons(keep=1.0, n_matrices=2),
    policy="lru",
    overlap="none",
)
OPT_KV_BYTES = OPT_ALL.bytes_beside - OPT_6_7B.pinned_bytes


def pi5_swapping(name: str, profile: str, hdparm: float, published: float, own: str) -> Target:
    """A 7B model in the swap space of a Raspberry Pi 5 of 4 GB."""
    load = Workload(QWEN25_7B)
    kv_bytes = QWEN25_7B.kv_bytes_per_position * load.tokens
    return Target(
        name=f"pi5-swap-{name}",
        system="Qwen2.5-7B swapping to Optane",
        device="Raspberry Pi 5 4 GB",
        published=published,
        run=Run(
            profile,
            load,
            overlap="none",
            dram_bytes=kv_bytes,
            changes={"flash.read_bytes_per_s": hdparm, "dram.capacity_bytes": 4e9},
        ),
        source=OPTANE,
        assumptions=(
            "every weight comes from Flash for every token: least recently used pages, read in a circle, never hit",
            "page faults stop computation: nothing overlaps",
            "reads at the Optane module's sequential rate by hdparm; swapping kept fewer requests in flight: " + own,
            FILE_SIZES,
        ),
    )


STREAMED = [
    opt_dense("naive", 2196, replace(OPT_ALL, dram_bytes=OPT_KV_BYTES), "Table 2, first row", "nothing stays in DRAM"),
    opt_dense(
        "hybrid",
        1090,
        replace(OPT_ALL, dram_bytes=OPT_KV_BYTES + 6.7e9, policy=LowestIndices, admission="priority"),
        "Table 2, second row",
        "half of the model stays in DRAM: attention, embeddings and, side by side, as many neurons as fit",
    ),
    pi5_swapping("gen2", "raspberry-pi-5-nvme", 416e6, 0.10, "278 MB/s in the end"),
    pi5_swapping("gen3", "raspberry-pi-5-nvme-gen3", 779.55e6, 0.16, "397 MB/s in the end"),
]

TARGETS = IN_DRAM + STREAMED
