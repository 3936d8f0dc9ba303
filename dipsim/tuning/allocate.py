"""Which split of a density keeps the loss lowest: `dip`'s two keeps, for all layers or each, fitted on a text."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.evaluation.evaluate import Evaluation, OnProgress, evaluate, told_of
from dipsim.evaluation.paired import Paired
from dipsim.methods import Dip, Keeps, split_density
from dipsim.model.groups import SITES
from dipsim.progress import shown_in_notebooks
from dipsim.simulation import Simulation
from dipsim.trace import Trace
from dipsim.tuning.search import Point, search
from dipsim.version import __version__

if TYPE_CHECKING:
    from dipsim.sparsify.loading import LoadedModel

Keep = float | tuple[float, ...]
# How far a split may be from the paper's, in logits of keep_input: from half of what is kept there to nearly all.
_MOST_SHIFT = 2.0
_LEAST_SHARE = 1e-3  # of the density, at either site: a keep of 0 would be no mask


@dataclass(frozen=True)
class Splits:
    """All splits of one density. A point has a shift of keep_input from the paper's rule, in logits, and where layers
    differ an offset of each one's density; zeros are the paper's rule. The density is held whatever the point.

    Attributes:
        density: active share of the three matrices, the mean over layers.
        n_layers: None for one split of all layers.
    """

    density: float
    n_layers: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.density < 1:
            raise DipsimError(f"density: got {self.density}; to be split it must be above 0 and below 1")

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each coordinate."""
        if self.n_layers is None:
            return {"shift": (-_MOST_SHIFT, _MOST_SHIFT)}
        # Less their mean, offsets reach less than twice as far: every layer's density stays between 0 and 1.
        most = min(self.density, 1 - self.density) / 2
        layers = range(self.n_layers)
        shifts = {f"shift_{layer}": (-_MOST_SHIFT, _MOST_SHIFT) for layer in layers}
        return shifts | {f"offset_{layer}": (-most, most) for layer in layers}

    def at(self, point: Point) -> tuple[Keep, Keep]:
        """keep_input and keep_glu of a point."""
        if self.n_layers is None:
            return _split(self.density, point["shift"])
        layers = range(self.n_layers)
        offsets = np.array([point[f"offset_{layer}"] for layer in layers])
        densities = (self.density + offsets - offsets.mean()).tolist()
        pairs = [_split(densities[layer], point[f"shift_{layer}"]) for layer in layers]
        return tuple(own for own, _ in pairs), tuple(glu for _, glu in pairs)


@shown_in_notebooks("trying splits", "windows")
def allocate(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    describe: Callable[[Trace, Keep, Keep], Simulation],
    density: float,
    *,
    journal: Path,
    per_layer: bool = False,
    n_trials: int = 50,
    seed: int = 0,
    n_prompt: int = 0,
    n_batch: int = 1,
    text_source: dict[str, Any] | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Keeps:
    """The split of the lowest loss among some, of which the paper's rule is the first. Same arguments, same split.

    Args:
        loaded: the model.
        ids: int64 [window, token], as for `evaluate`, which measures the loss: the mask in the loop, cache and all.
        describe: makes the run on a trace with keep_input and keep_glu.
        density: held exactly.
        journal: where trials are kept, to go on from after an interruption, or with more of them.
        per_layer: let each layer have a density and a split of its own; the mean density is held.
        n_trials: how many splits are tried.
        seed: of the search.
        n_prompt, n_batch: as for `evaluate`.
        text_source: what to say of the text.
        on_progress: called with the windows run and the windows to run, those of all trials.

    Raises:
        DipsimError: the method has no such split, optuna is missing, or as `evaluate`.
    """
    from dipsim.sparsify.bos import begin_with_bos

    splits = Splits(density, loaded.spec.n_layers if per_layer else None)
    planned = describe(Trace.planned(loaded.spec, SITES, ids[:, n_prompt:], n_prompt), *split_density(density))
    if not isinstance(planned.masking, Dip):
        raise DipsimError(
            f"method '{planned.masking.name}': has no two keeps to split a density into; dip and dip-ca have"
        )

    def evaluated(point: Point, on_window: OnProgress = lambda done, total: None) -> Evaluation:
        keeps = splits.at(point)
        return evaluate(
            loaded,
            ids,
            lambda trace: describe(trace, *keeps),
            n_prompt=n_prompt,
            n_batch=n_batch,
            on_progress=on_window,
        )

    def loss(point: Point) -> float:
        return evaluated(point, lambda done, total: on_progress(n_before + done, n_trials * total)).loss

    n_before = 0  # windows of earlier trials

    def on_trial(done: int, total: int) -> None:
        nonlocal n_before
        n_before = done * len(ids)
        on_progress(n_before, total * len(ids))

    name = _search_name(loaded, ids, [splits, seed, _settings(planned), n_prompt, n_batch])
    tried = search(loss, splits.ranges, n_trials, seed, journal, name, on_trial)
    best, lowest = min(tried, key=lambda trial: trial[1])
    paper, _ = tried[0]
    interval = None if best == paper else _interval(evaluated(paper), evaluated(best))
    keep_input, keep_glu = splits.at(best)
    method = {key: told for key, told in told_of(planned).items() if key not in ("density", "keep_input", "keep_glu")}
    return Keeps(
        keep_input=_listed(keep_input),
        keep_glu=_listed(keep_glu),
        density=density,
        loss=lowest,
        loss_of_paper_rule=tried[0][1],
        loss_interval=interval,
        trials=len(tried),
        model=loaded.name,
        method=method,
        text=text_source,
        bos=begin_with_bos(loaded.tokenizer, ids),
        dipsim_version=__version__,
    )


def _interval(paper: Evaluation, best: Evaluation) -> list[float] | None:
    """Of the difference of their losses; None for one window, or where one is not finite."""
    if not (math.isfinite(paper.loss) and math.isfinite(best.loss)):
        return None
    found = Paired.of(paper.quality(), best.quality()).loss_interval
    return None if found is None else [*found]


def _split(density: float, shift: float) -> tuple[float, float]:
    """The keeps of a density, keep_input shifted from the paper's by some logits as far as keep_glu allows."""
    paper, _ = split_density(density)
    wanted = paper if shift == 0 else 1 / (1 + math.exp(-math.log(paper / (1 - paper)) - shift))
    least = _LEAST_SHARE * density
    keep_input = min(max(wanted, (3 * density - 1) / 2, least), 1.0, (3 * density - least) / 2)
    return keep_input, min(1.0, 3 * density - 2 * keep_input)


def _search_name(loaded: LoadedModel, ids: NDArray[np.int64], settings: list[object]) -> str:
    """A hash of everything that the loss depends on, the weights among it."""
    from dipsim.sparsify.fingerprint import fingerprint

    own = [loaded.name, loaded.revision, str(loaded.model.dtype), fingerprint(loaded)]
    return hashlib.sha256(repr(settings + own).encode() + ids.tobytes()).hexdigest()


def _settings(run: Simulation) -> str:
    """Everything but the keeps and the place of the trace."""
    config = {key: value for key, value in run.config.items() if key not in ("trace", "keep_input", "keep_glu")}
    return json.dumps(config, sort_keys=True)


def _listed(keep: Keep) -> float | list[float]:
    return list(keep) if isinstance(keep, tuple) else keep
