"""How should a density be split? Splits fitted on one text, and what they are worth on another.

    python -m benchmarks.models.allocate models/smollm2-135m.gguf test.txt valid.txt --json FILE

By `dipsim allocate`: one split for all layers, and one for each with a density of its own, beside the rule of the
paper. The text that is measured plays no part in the search.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import Row, Table, main
from benchmarks.models.runs import WINDOW, add_model, simulation
from dipsim import Dip, DipCa, Simulation, Trace
from dipsim.evaluation import evaluate
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.tuning import allocate

FITTED_WINDOW = 256


def described(kind: type[Dip], trace: Trace, keep_input: object, keep_glu: object) -> Simulation:
    return simulation(trace, kind(keep_input=keep_input, keep_glu=keep_glu))  # type: ignore[arg-type]


def rows(loaded: LoadedModel, kind: type[Dip], given: argparse.Namespace, journal: Path) -> Iterator[Row]:
    fitted_on = windows(loaded.tokenizer, read_text(str(given.fitted_text)), FITTED_WINDOW, given.windows)
    other = windows(loaded.tokenizer, read_text(str(given.text)), WINDOW, given.other_windows)

    def describe(trace: Trace, keep_input: object, keep_glu: object) -> Simulation:
        return described(kind, trace, keep_input, keep_glu)

    def measured(keeps: tuple[object, object]) -> tuple[NDArray[np.float64], Row]:
        found = evaluate(loaded, other, lambda trace: describe(trace, *keeps))
        own = found.losses.groupby("window")["loss"].mean().to_numpy()
        numbers = {"perplexity": found.perplexity, "tok/s": found.result.to_dict()["tok_per_s"]}
        return own, {"input": shown(keeps[0]), "product": shown(keeps[1]), "other text": found.loss, **numbers}

    paper = kind(density=given.density)
    of_paper, told = measured(paper.keeps)
    own: Row = {"method": paper.name, "density": given.density}
    for name, per_layer, n_trials in (("all layers", False, given.trials), ("per layer", True, 2 * given.trials)):
        split = allocate(
            loaded, fitted_on, describe, given.density, journal=journal, per_layer=per_layer, n_trials=n_trials
        )
        if not per_layer:
            yield own | {"split": "paper's rule", "trials": 1, "fitted text": split.loss_of_paper_rule} | told
        losses, numbers = measured((split.keep_input, split.keep_glu))
        gained = of_paper - losses
        spread = {"gained": gained.mean(), "se": gained.std(ddof=1) / math.sqrt(len(gained))}
        yield own | {"split": name, "trials": n_trials, "fitted text": split.loss} | numbers | spread


def shown(keep: object) -> str:
    """One keep, or the least and the largest of the layers'."""
    values = keep if isinstance(keep, list | tuple) else [keep]
    return " to ".join(f"{one:.3f}" for one in sorted({min(values), max(values)}))


def options(asked: argparse.ArgumentParser) -> None:
    add_model(asked)
    asked.add_argument("fitted_text", type=Path, help="other text, such as WikiText-2's validation part")
    asked.add_argument("--density", type=float, default=0.5)
    asked.add_argument("--trials", type=int, default=12, help="splits of all layers; twice as many per layer (12)")
    asked.add_argument("--windows", type=int, default=4, help="windows of 256 tokens to fit on (4)")
    asked.add_argument("--other-windows", type=int, default=4, help="windows of 512 tokens of the other text (4)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    loaded = load_model(str(given.model), dtype="float32")
    torch.set_num_threads(given.threads)
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in (Dip, DipCa):
            for row in rows(loaded, kind, given, Path(folder) / "trials"):
                found.append(row)
                yield Table(f"loss in nats per token by split; {loaded.name}, density {given.density}", found)


if __name__ == "__main__":
    main(__doc__, tables, options)
