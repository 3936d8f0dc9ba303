"""What did a real model do under a method: runs on blocks of a text, each kept in a file of its own.

A block is 4 windows of 512 tokens. Interrupted, a study goes on where it was; more blocks are added to what is there.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.models.watching import Watch
from dipsim import HardwareProfile, Simulation, Trace
from dipsim.description import Description
from dipsim.evaluation import evaluate
from dipsim.evaluation.clusters import ratio, standard_error
from dipsim.files import write_text
from dipsim.methods import Method
from dipsim.simulation.described import masking_of
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.sparsify.predictors import TrainedPredictors

WINDOW, WINDOWS = 512, 4
Options = dict[str, Any]
Row = dict[str, Any]


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
        self._n_blocks, self._only_kept = given.blocks, given.kept
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

    def rows(self, cases: Iterable[Options]) -> Iterator[Row]:
        """A summary of each run, as soon as its blocks are there; of those that are kept, if no others are wanted."""
        dense = self._blocks({"method": "dense"})
        for options in cases:
            if blocks := self._blocks(options):
                yield summary(blocks, dense)

    def _blocks(self, options: Options) -> list[Row]:
        runs = [Run(options, block) for block in range(self._n_blocks)]
        if self._only_kept:
            runs = list(takewhile(lambda run: (self.folder / run.name).exists(), runs))
        return [self.row(run) for run in runs]

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


def simulation(trace: Trace, masking: Method) -> Simulation:
    """The run on the published simulator's device: attention, LM head, KV cache and half of the MLP fit into DRAM."""
    return Simulation(HardwareProfile.load("a18-paper"), trace, masking, "lfu", dram="mlp:0.5")


def summary(blocks: Sequence[Row], dense: Sequence[Row]) -> Row:
    """A run's blocks in one row, its loss beside that of the dense model on the same windows; windows are clusters."""
    own, other = losses_of(blocks), losses_of(dense[: len(blocks)])
    tokens = sum(row["n_tokens"] for row in blocks)
    told = {name: Path(value).stem if isinstance(value, str) else value for name, value in blocks[0]["options"].items()}
    lost, perplexity = own["sum"] - other["sum"], math.exp(own["sum"].sum() / own["count"].sum())
    return told | {
        "tokens": int(own["count"].sum()),
        "perplexity": perplexity,
        "perplexity_se": perplexity * error_of(own["sum"], own["count"]),
        "lost": lost.sum() / own["count"].sum(),
        "lost_se": error_of(lost, own["count"]),
        "tok_per_s": tokens / sum(row["n_tokens"] / row["tok_per_s"] for row in blocks),
        "hit_rate": float(np.mean([row["hit_rate"] for row in blocks])),
        "mlp_error": estimate(blocks[0]),
        "output_error": float(np.sqrt(np.mean(np.square(blocks[0]["error"])))),
        "retained": blocks[0]["retained_magnitude"],
    }


def losses_of(blocks: Sequence[Row]) -> pd.DataFrame:
    """Sum and count of the losses of each window, block after block."""
    frames = [pd.DataFrame(row["losses"]).groupby("window")["loss"].agg(["sum", "count"]) for row in blocks]
    return pd.concat(frames, ignore_index=True)


def error_of(tops: pd.Series[float], bottoms: pd.Series[int]) -> float:
    """Standard error of a ratio of sums over windows."""
    return standard_error(ratio(tops, bottoms)[1]) or math.nan


def estimate(row: Row) -> float:
    """What scores say of the error of the MLPs' outputs, over the tokens that were watched; NaN where they do not."""
    shares = [own for name, own in row.items() if name.startswith("energy.") and name != "energy.predictor"]
    if not shares:
        return 0.0 if row["retained_magnitude"] == 1 else math.nan
    return float(np.sqrt(np.mean(1 - np.prod(shares, axis=0))))


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
    asked.add_argument("--kept", action="store_true", help="only what is kept already")
