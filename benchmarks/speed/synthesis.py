"""How fast are synthetic traces of full-size models made?

    python -m benchmarks.speed.synthesis --json FILE                 half a minute, 1 GB of disk

Whole traces, from the first parameter to the last byte on disk, after one run that compiles; and the parts of a token:
drawing scores, and writing them with their checksum.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import alternate, rates, repeat, spread
from dipsim import ModelSpec, TraceWriter, synthesize
from dipsim.synthetic import Columns, parameters

MODEL = "phi-3-medium"
BLOCK_TOKENS = 128


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--tokens", type=int, default=512, help="of a trace (512)")
    asked.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="threads (1 2)")
    asked.add_argument("--folder", type=Path, help="where to put the traces (the system's temporary folder)")


def whole_rows(given: argparse.Namespace, folder: Path) -> list[Row]:
    model = ModelSpec.load(MODEL)

    def work(workers: int) -> Callable[[], object]:
        return lambda: synthesize(folder / "whole.zarr", model, given.tokens, workers=workers, force=True)

    times = alternate({str(workers): work(workers) for workers in given.workers}, given.runs)
    return [{"workers": name, "tok_per_s": rates(given.tokens, own)} for name, own in times.items()]


def part_rows(given: argparse.Namespace, folder: Path) -> list[Row]:
    """Milliseconds of one token of the whole model on one thread, from one layer's."""
    model = ModelSpec.load(MODEL)
    columns = Columns(parameters("glu", 0.5), model.intermediate_size, [0])
    starts, ids = np.zeros(BLOCK_TOKENS, np.bool_), np.zeros(BLOCK_TOKENS, np.int32)
    block = columns.scores(starts).view(np.float16)
    drawing = repeat(lambda: columns.scores(starts), 10 * given.runs)
    with TraceWriter(folder / "a.zarr", model, ["glu"], ids, [BLOCK_TOKENS], [0], {}, {}) as writer:
        layers = iter(range(model.n_layers))
        writing = repeat(lambda: writer.write("glu", next(layers), 0, block), model.n_layers - 1)
    share = model.intermediate_size / (model.n_layers * (model.hidden_size + model.intermediate_size))
    return [
        {"part": name, "ms_per_token": spread([1e3 * time / share / BLOCK_TOKENS for time in times])}
        for name, times in (("drawing", drawing), ("writing", writing))
    ]


def tables(given: argparse.Namespace) -> Iterator[Table]:
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        yield Table(f"{MODEL}, {given.tokens} tokens", whole_rows(given, Path(folder)))
        yield Table("parts", part_rows(given, Path(folder)))


if __name__ == "__main__":
    main(__doc__, tables, options)
