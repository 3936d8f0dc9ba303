"""Speed of the whole simulation: against PyTorch, where the time goes, how much memory, how fast a trace is read."""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import published
import simpy
from measuring import Row, alternate, forget_cached, rates, repeat, seconds, spread

from dipsim import DipCa, HardwareProfile, Simulation, Trace

MASKING = DipCa(density=0.5, gamma=0.2)
PROFILES = ("a18-paper", "oneplus-12-ufs4")
DRAM = 0.5


def score_bytes(trace: Trace) -> int:
    """Decoded bytes of one token's scores at the sites that dip-ca reads."""
    return 2 * trace.model.n_layers * (trace.model.hidden_size + trace.model.intermediate_size)


def speed_rows(path: Path, options: argparse.Namespace, bytes_per_s: float) -> list[Row]:
    """Simulated tokens per second with the reading of the trace, and what one pass over the scores would allow."""
    trace = Trace.open(path)
    n_tokens = min(options.tokens, trace.n_tokens)
    one_pass = bytes_per_s / score_bytes(trace)
    # The rivals know bytes over bandwidths only, whatever the device.
    works, _ = published.rivals(path, HardwareProfile.load(PROFILES[0]), MASKING, DRAM, n_tokens, "pipelined")
    del works["dipsim"]
    ours = {f"dipsim, {profile}": partial(simulate, path, profile, n_tokens) for profile in PROFILES}
    times = alternate(ours | works, options.runs)
    got = {who: rates(n_tokens, own) for who, own in times.items()}
    rows = []
    for who, rate in got.items():
        row: Row = {"who": who, "tokens_per_s": rate}
        row |= {f"ratio to {rival}": rate["median"] / got[rival]["median"] for rival in works}
        rows.append(row | {"one_pass_tokens_per_s": one_pass, "share_of_one_pass": rate["median"] / one_pass})
    return rows


def simulate(path: Path, profile: str, n_tokens: int) -> None:
    trace = Trace.open(path)
    n_tokens = min(n_tokens, trace.n_tokens)
    Simulation(HardwareProfile.load(profile), trace, MASKING, "lfu", dram=f"{DRAM}x", tokens=n_tokens).run()


class Sampler:
    """Every millisecond of wall time, which file is the main thread in? A timer's signal is handled at the next step
    of the interpreter, in the frame that called when compiled code ran: so that code counts for its caller."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.files[frame.f_code.co_filename if frame is not None else ""] += 1

    def __enter__(self) -> Sampler:
        self._before = signal.signal(signal.SIGALRM, self._take)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        return self

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def share(self, folder: str) -> float:
        inside = sum(count for file, count in self.files.items() if file.startswith(folder))
        return inside / max(1, self.files.total())


def simpy_rows(path: Path, options: argparse.Namespace) -> list[Row]:
    """Time spent in functions of the package simpy itself, callees elsewhere left out, as a share of all."""
    folder, rows = str(Path(simpy.__file__).parent), []
    for profile in PROFILES:
        simulate(path, profile, min(32, options.tokens))
        shares, n_samples = [], 0
        for _ in range(options.runs):
            with Sampler() as sampler:
                simulate(path, profile, options.tokens)
            shares.append(sampler.share(folder))
            n_samples += sampler.files.total()
        row: Row = {"profile": profile, "method": "sampled every 1 ms", "simpy_share": spread(shares)}
        rows.append(row | {"samples": n_samples})
        rows.append(
            {"profile": profile, "method": "cProfile", "simpy_share": _profiled(path, profile, options, folder)}
        )
    return rows


def _profiled(path: Path, profile: str, options: argparse.Namespace, folder: str) -> float:
    """Own time of simpy's functions; the profiler makes Python calls look dearer than compiled code."""
    with cProfile.Profile() as profiler:
        simulate(path, profile, options.tokens)
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    own = {key: numbers[2] for key, numbers in stats.items()}
    return float(sum(t for (file, _, _), t in own.items() if file.startswith(folder)) / sum(own.values()))


# The peak of the process's own memory: getrusage would report that of the process that started it, if larger.
_PEAK = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
{work}
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def peak_mib(work: str) -> float:
    """Peak resident memory of a fresh process that runs `work`."""
    code = _PEAK.format(benchmarks=str(Path(__file__).parent), work=work)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1024


def memory_rows(path: Path, lengths: list[int]) -> list[Row]:
    """Peak memory by length; the first row is what imports and compiled kernels need (32 tokens)."""
    rows, n_all = [], Trace.open(path).n_tokens
    for n_tokens in [32, *(n for n in lengths if n <= n_all)]:
        work = f"import whole; whole.simulate({str(path)!r}, 'oneplus-12-ufs4', {n_tokens})"
        rows.append({"tokens": n_tokens, "peak_MiB": peak_mib(work)})
    return [row | {"over_first_MiB": row["peak_MiB"] - rows[0]["peak_MiB"]} for row in rows]


def reading_rows(path: Path, options: argparse.Namespace, bytes_per_s: float) -> list[Row]:
    """Decoded bytes per second of reading every block and layer of a trace, checked, as a simulation does."""
    trace = Trace.open(path)
    n_tokens = min(options.tokens, trace.n_tokens)
    n_bytes = n_tokens * score_bytes(trace)

    def read() -> None:
        for block in trace.blocks(n_tokens):
            for site, layer in itertools.product(trace.sites, range(trace.model.n_layers)):
                trace.read(site, block.start, block.stop, layer)

    def read_cold() -> float:
        forget_cached(path)
        return seconds(read)

    cases: dict[str, Callable[[], list[float]]] = {
        "from disk (pages dropped first)": lambda: [read_cold() for _ in range(options.runs)],
        "from the page cache": lambda: repeat(read, options.runs),
    }
    rows = []
    for name, measure in cases.items():
        got = rates(n_bytes / 1e9, measure())
        rows.append({"reading": name, "GB_per_s": got, "share_of_memory_bandwidth": got["median"] * 1e9 / bytes_per_s})
    return rows
