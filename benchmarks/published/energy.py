"""Published joules of a token, watts, and seconds of a prompt in memory, beside dipsim's.

    python -m benchmarks.published.energy               # a minute
    python -m benchmarks.published.energy --only pi5    # those whose names begin like this

No constant is fitted on a number of these tables. Power at work is given: a phone's from the same publication's peak
power, a Raspberry Pi's from Linpack on it; dipsim's part of a token's joules there is how long the token takes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.command import Row, Table, main
from benchmarks.published.end_to_end import Traces, simulate
from benchmarks.published.targets import Q4_K_M, Run, Workload, preset, same_bits
from benchmarks.published.targets_dense import LLAMA_2_13B
from benchmarks.published.targets_sparse import LLAMA_2_7B, WITH_NPU
from dipsim import ModelSpec, Result

TABLE_8 = "PowerInfer-2, arXiv 2406.06282 v3, Table 8 (model not named, taken as 7B at Q4_0)"
AI_BENCHMARKS = "GitHub geerlingguy/ai-benchmarks issue 7, test 1b, peak power at the wall / tok/s"


class Measured(NamedTuple):
    """Published: watts, joules of a token, tokens a second where they are told."""

    name: str
    run: Run
    watts: float
    joules: float
    source: str
    tok_per_s: float | None = None


class Prompt(NamedTuple):
    """Published: tokens of a prompt a second."""

    name: str
    run: Run
    tok_per_s: float
    source: str


def phone(spec: ModelSpec, unit: str | None = None) -> Run:
    return Run("oneplus-12-ufs4", Workload(spec, prompt=512), unit=unit)


def pi5(name: str, spec: ModelSpec, watts: float, tok_per_s: float) -> Measured:
    run = Run("raspberry-pi-5-nvme", Workload(spec), changes={"dram.capacity_bytes": 16e9})
    return Measured(f"pi5-{name}", run, watts, watts / tok_per_s, AI_BENCHMARKS, tok_per_s)


IN_MEMORY = replace(WITH_NPU, workload=replace(WITH_NPU.workload, tokens=40, warmup=16)).holding(1.0)
MEASURED = [
    Measured("qnn", phone(LLAMA_2_7B, "npu"), 5.1, 0.373, TABLE_8),
    Measured("powerinfer-2", IN_MEMORY, 5.1, 0.257, f"{TABLE_8}, here Bamboo-7B as in the end-to-end target"),
    Measured("llama.cpp", phone(LLAMA_2_7B, "cpu"), 4.1, 0.672, TABLE_8),
    pi5("llama-3.2-3b", preset("llama-3.2-3b", Q4_K_M), 11.9, 4.88),
    pi5("llama-3.1-8b", preset("llama-3-8b", Q4_K_M), 11.6, 2.17),
    pi5("llama-2-13b", LLAMA_2_13B, 10.9, 1.36),
]
SECTION_2_3_1 = "PowerInfer-2, section 2.3.1, 7B at 4 bits: the rates of the units were derived from it"
PROMPTS = [
    Prompt("npu", phone(preset("mistral-7b", same_bits(4)), "npu"), 770.0, SECTION_2_3_1),
    Prompt("gpu", phone(preset("mistral-7b", same_bits(4)), "gpu"), 37.0, SECTION_2_3_1),
    Prompt("cpu", phone(preset("mistral-7b", same_bits(4)), "cpu"), 8.0, SECTION_2_3_1),
]


def token_row(one: Measured, result: Result) -> Row:
    numbers = result.to_dict()
    joules = numbers["energy_j_per_token"]
    shown: Row = {"name": one.name, "J published": one.joules, "J dipsim": joules, "ratio": joules / one.joules}
    shown |= {"W published": one.watts, "W dipsim": numbers["average_w"]}
    # Where none is told, what joules and watts make of it.
    shown |= {"tok/s published": one.tok_per_s or one.watts / one.joules, "tok/s dipsim": numbers["tok_per_s"]}
    return shown | {f"J {part}": own for part, own in numbers["energy_parts_j_per_token"].items()}


def prompt_row(one: Prompt, result: Result) -> Row:
    published_s, own_s = one.run.workload.prompt / one.tok_per_s, sum(result.ttft_s)
    return {"name": one.name, "s published": published_s, "s dipsim": own_s, "ratio": own_s / published_s}


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--only", nargs="+", metavar="NAME", default=[""], help="by how their names begin (all)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    only = tuple(given.only)
    with tempfile.TemporaryDirectory() as folder:
        traces = Traces(Path(folder))
        measured = [one for one in MEASURED if one.name.startswith(only)]
        if measured:
            yield Table("a token in memory", [token_row(one, simulate(one.run, traces)) for one in measured])
        prompts = [one for one in PROMPTS if one.name.startswith(only)]
        if prompts:
            yield Table(
                "512 tokens of a prompt in memory", [prompt_row(one, simulate(one.run, traces)) for one in prompts]
            )
        sources = {one.name: one.source for one in measured} | {one.name: one.source for one in prompts}
        yield Table("sources", [{"name": name, "source": source} for name, source in sources.items()])


if __name__ == "__main__":
    main(__doc__, tables, options)
