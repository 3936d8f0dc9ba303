"""What did a real model do under a method: runs on blocks of a text, each kept in a file of its own.

A block is 4 windows of 512 tokens. Interrupted, a study goes on where it was; more blocks are added to what is there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.models.watching import Watch
from dipsim import HardwareProfile, Simulation, Trace
from dipsim.description import Description
from dipsim.evaluation import evaluate
from dipsim.files import write_text
from dipsim.methods import Method
from dipsim.model import ModelSpec
from dipsim.simulation.described import masking_of
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.sparsify.predictors import TrainedPredictors

WINDOW, WINDOWS = 512, 4
Options = dict[str, Any]


class Run(NamedTuple):
    """Options as of a sweep's spec, and the block of the text."""

    options: Options
    block: int

    @property
    def name(self) -> str:
        """Of its file."""
        told = [f"{Path(value).stem if isinstance(value, str) else value}" for value in self.options.values()]
        names = [name if name != "method" else "" for name in self.options]
        return "_".join(filter(None, (f"{a}{b}" for a, b in zip(names, told, strict=True)))) + f".{self.block}.json"


class Place:
    """One model and one text, loaded when the first run needs them.

    Args:
        given: the options of `add_place`.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        torch.set_num_threads(given.threads)
        self._model, self._text, self._threads = given.model, given.text, given.threads
        self.folder: Path = given.results / Path(given.model).name
        self.folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def loaded(self) -> LoadedModel:
        found = load_model(str(self._model), dtype="float32")
        torch.set_num_threads(self._threads)
        return found

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        return windows(self.loaded.tokenizer, read_text(str(self._text)), WINDOW)

    def row(self, run: Run) -> Row:
        """What was kept, or else found now."""
        path = self.folder / run.name
        if not path.exists():
            write_text(path, json.dumps(self._found(run)))
        found: Row = json.loads(path.read_text())
        return found

    def rows(self, options: Iterable[Options], n_blocks: int) -> Iterator[list[Row]]:
        """The blocks of each run."""
        for own in options:
            yield [self.row(Run(own, block)) for block in range(n_blocks)]

    def _found(self, run: Run) -> Row:
        others = dict(run.options)
        predictor = others.pop("predictor", None)
        networks = None if predictor is None else TrainedPredictors.load(self.folder / predictor)
        if networks is not None:
            others["rank"] = networks.rank
        if "calibration" in others:
            others["calibration"] = str(self.folder / others["calibration"])
        masking = masking_of(Description.parse(others, run.name))
        ids = self.ids[run.block * WINDOWS : (run.block + 1) * WINDOWS]
        with Watch(self.loaded, masking, is_on=run.block == 0) as watch:  # one window says enough of the layers
            found = evaluate(
                self.loaded,
                ids,
                lambda trace: watch.around(simulation(trace, masking)),
                predictors=() if networks is None else networks.fitting(self.loaded),
                on_progress=lambda done, total: watch.stop(),
            )
        numbers = {key: value for key, value in found.to_dict().items() if key not in ("config", "slots", "breakdown")}
        losses = found.losses[["window", "loss"]].to_dict("list")
        return json.loads(
            json.dumps(
                {"options": run.options, "block": run.block, **numbers, "losses": losses, **watch.seen}, default=float
            )
        )


Row = dict[str, Any]


def simulation(trace: Trace, masking: Method) -> Simulation:
    """The run on the published simulator's device: attention, LM head, KV cache and half of the MLP fit into DRAM."""
    return Simulation(
        HardwareProfile.load("a18-paper"), trace, masking, "lfu", dram=f"{half(trace.model, trace.n_positions)}B"
    )


def half(model: ModelSpec, n_positions: int) -> float:
    """Bytes of DRAM."""
    return model.pinned_bytes + float(model.kv_bytes(n_positions).sum()) + model.mlp_bytes / 2


def add_model(asked: argparse.ArgumentParser) -> None:
    """The options of every study of a real model."""
    asked.add_argument("model", type=Path, help="a folder that transformers reads, or a GGUF file")
    asked.add_argument("text", type=Path, help="WikiText-2's test part as one file")
    asked.add_argument("--threads", type=int, default=2, help="of torch (2)")


def add_place(asked: argparse.ArgumentParser) -> None:
    """Also where runs are kept."""
    add_model(asked)
    asked.add_argument("--results", type=Path, required=True, metavar="DIR", help="where every run is kept")
    asked.add_argument("--blocks", type=int, default=4, help="blocks of 4 windows of 512 tokens (4)")
