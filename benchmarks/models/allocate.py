"""How should a density be split? Splits fitted on one half of the held-out text, and what they are worth on the other.

    python -m benchmarks.models.allocate

On the model that ships, by `dipsim allocate`: one split for all layers, and one for each with a density of its own,
beside the rule of the paper. The second half plays no part in the search.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import Row, Table, main
from dipsim import Dip, DipCa, HardwareProfile, Simulation, Trace
from dipsim.evaluation import evaluate
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.tuning import allocate

CASES: list[tuple[type[Dip], float]] = [(Dip, 0.3), (Dip, 0.5), (DipCa, 0.5)]
N_WINDOW = 256


def described(kind: type[Dip], given: argparse.Namespace) -> Callable[..., Simulation]:
    profile = HardwareProfile.load("a18-paper")
    return lambda trace, keep_input, keep_glu: Simulation(
        profile, trace, kind(keep_input=keep_input, keep_glu=keep_glu), "lfu", dram=given.dram
    )


def measured(
    loaded: LoadedModel, describe: Callable[..., Simulation], ids: NDArray[np.int64], keeps: tuple[object, object]
) -> Row:
    def run(trace: Trace) -> Simulation:
        return describe(trace, *keeps)

    found = evaluate(loaded, ids, run, n_batch=8)
    numbers = found.result.to_dict()
    return {"other text": found.loss, "perplexity": found.perplexity, "tok/s": numbers["tok_per_s"]}


def rows(loaded: LoadedModel, kind: type[Dip], density: float, given: argparse.Namespace, folder: Path) -> list[Row]:
    text, describe = read_text("held-out"), described(kind, given)
    fitted_on = windows(loaded.tokenizer, text[: len(text) // 2], N_WINDOW, given.windows)
    other = windows(loaded.tokenizer, text[len(text) // 2 :], N_WINDOW, given.other_windows)
    found: list[Row] = []
    for name, per_layer, n_trials in (("all layers", False, given.trials), ("per layer", True, 2 * given.trials)):
        split = allocate(
            loaded,
            fitted_on,
            describe,
            density,
            journal=folder / "trials",
            per_layer=per_layer,
            n_trials=n_trials,
            n_batch=given.windows,
        )
        own: Row = {"method": kind.name, "density": density}
        if not found:
            paper = Dip(density=density).keeps
            keeps = {"keep_input": f"{paper[0]:.3f}", "keep_glu": f"{paper[1]:.3f}"}
            fitted = {"fitted text": split.loss_of_paper_rule}
            found.append(own | {"split": "paper's rule", "trials": 1} | keeps | fitted)
            found[-1] |= measured(loaded, describe, other, paper)
        keeps = {"keep_input": shown(split.keep_input), "keep_glu": shown(split.keep_glu)}
        found.append(own | {"split": name, "trials": n_trials} | keeps | {"fitted text": split.loss})
        found[-1] |= measured(loaded, describe, other, (split.keep_input, split.keep_glu))
    return found


def shown(keep: float | list[float]) -> str:
    return " ".join(f"{one:.3f}" for one in (keep if isinstance(keep, list) else [keep]))


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument(
        "--trials", type=int, default=16, help="splits of all layers to try; twice as many per layer (16)"
    )
    asked.add_argument("--windows", type=int, default=4, help="windows of 256 tokens to fit on (4)")
    asked.add_argument("--density", type=float, help="only the cases of this density")
    asked.add_argument("--other-windows", type=int, default=16, help="windows of the other half (16)")
    asked.add_argument("--dram", default="0.6x", help="for this model, as of 'dipsim simulate' (0.6x)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    loaded, found = load_model("tiny"), []
    with tempfile.TemporaryDirectory() as folder:
        for kind, density in CASES:
            if given.density in (None, density):
                found += rows(loaded, kind, density, given, Path(folder))
    yield Table("loss in nats per token by split; tiny, a18-paper, lfu", found)


if __name__ == "__main__":
    main(__doc__, tables, options)
