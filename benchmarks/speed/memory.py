"""How much memory does a simulation take, by the length of its trace and by the layers of its model?

    python -m benchmarks.speed.memory --tokens 1024 4096 20000 --layers 40 100            2 GB of disk, some ten minutes

phi-3-medium's run as `benchmarks.speed.whole` has it, with other numbers of layers too, each length in a process of its
own, without PyTorch. A trace is one chunk of tokens over and over, by links: the simulation reads as many files as of
any other trace of that length.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

from benchmarks.command import Row, Table, main
from dipsim import ModelSpec, synthesize
from dipsim.trace.format import CHUNK_TOKENS

# The peak of the process's own memory: getrusage would report that of the process that started it, if larger.
_PEAK = """
from pathlib import Path
import dipsim as ds
ds.Simulation(
    "oneplus-12-ufs4", {path!r}, ds.DipCa(density=0.5, gamma=0.2), "lfu", dram="0.5x", tokens={n_tokens}
).run()
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def repeated(chunk: Path, n_tokens: int, out: Path) -> Path:
    """A trace of so many tokens, each chunk of which is the one of another trace."""
    shutil.copytree(chunk, out, copy_function=os.link, ignore=shutil.ignore_patterns("c", "c.0.*"))
    group = zarr.open_group(out)
    for name in ("token_ids", "sequence_ids"):
        (out / name / "zarr.json").unlink()
        group.create_array(name, data=np.zeros(n_tokens, np.int32), config={"write_empty_chunks": True}, overwrite=True)
    for scores in (chunk / "scores").iterdir():
        if not scores.is_dir():
            continue
        about = json.loads((scores / "zarr.json").read_text())
        about["shape"][0] = n_tokens
        own = out / "scores" / scores.name
        (own / "zarr.json").unlink()  # a link
        (own / "zarr.json").write_text(json.dumps(about))
        for layer in range(about["shape"][1]):
            for i in range(-(-n_tokens // CHUNK_TOKENS)):
                os.link(scores / f"c.0.{layer}.0", own / f"c.{i}.{layer}.0")
    return out


def peak_mib(path: Path, n_tokens: int) -> float:
    """Peak resident memory of a fresh process that simulates so many tokens."""
    code = _PEAK.format(path=str(path.resolve()), n_tokens=n_tokens)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stdout.split()[-1]) / 1024


def memory_rows(n_layers: int, lengths: list[int], folder: Path) -> list[Row]:
    """Peak memory by length; the first row is what imports and compiled kernels need (32 tokens)."""
    model = ModelSpec.load("phi-3-medium").model_copy(update={"n_layers": n_layers, "name": f"{n_layers} layers"})
    chunk = folder / f"{n_layers}.zarr"
    synthesize(chunk, model, CHUNK_TOKENS)
    trace = repeated(chunk, max(lengths), folder / f"{n_layers}-long.zarr")
    peak_mib(trace, 32)  # kernels may have to be compiled
    peaks = {n_tokens: peak_mib(trace, n_tokens) for n_tokens in sorted({32, *lengths})}
    shutil.rmtree(trace)
    shutil.rmtree(chunk)
    return [
        {"layers": n_layers, "tokens": n_tokens, "peak_MiB": peak, "over_first_MiB": peak - peaks[32]}
        for n_tokens, peak in peaks.items()
    ]


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--tokens", type=int, nargs="+", default=[256, 1024, 4096], help="lengths (256 1024 4096)")
    asked.add_argument("--layers", type=int, nargs="+", default=[40], help="of models as wide as phi-3-medium (40)")
    asked.add_argument("--folder", type=Path, help="where to put the traces (the system's temporary folder)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        rows = [row for n_layers in given.layers for row in memory_rows(n_layers, given.tokens, Path(folder))]
        yield Table("peak memory of a simulation", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
