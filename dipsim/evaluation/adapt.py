"""An adapter that learns under the very masks that a run would choose, cache state and all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dipsim.evaluation.evaluate import told_of
from dipsim.model.groups import SITES
from dipsim.progress import shown_in_notebooks
from dipsim.simulation import Simulation
from dipsim.trace import Trace

if TYPE_CHECKING:
    from dipsim.sparsify.adapters import Learnt, Recipe
    from dipsim.sparsify.hooks import Predictors
    from dipsim.sparsify.loading import LoadedModel

OnStep = Callable[[int, int, str], None]


@shown_in_notebooks("training", "steps", tells="on_step")
def adapt(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    describe: Callable[[Trace], Simulation],
    folder: str | Path,
    recipe: Recipe,
    *,
    predictors: Predictors = (),
    text_source: dict[str, Any] | None = None,
    resume: bool = False,
    on_step: OnStep = lambda done, total, note: None,
) -> Learnt:
    """Trains LoRA for a model under a method. Each window is a sequence with cold caches; the adapter's own bytes are
    not taken from these.

    Args:
        loaded: the model.
        ids: int64 [window, token].
        describe: makes the run on the trace that it is given, as for `evaluate`.
        folder: where the adapter goes.
        recipe: how to train.
        predictors: for the method `predictor`, one for each layer.
        text_source: what to say of the text.
        resume: go on from the folder's checkpoint.
        on_step: called with steps done, steps to do and the loss.

    Raises:
        DipsimError: as `Simulation` and `dipsim.sparsify.adapters.train`.
    """
    from dipsim.sparsify.adapters import train

    plan = describe(Trace.planned(loaded.spec, SITES, ids[:1], 0))
    return train(
        loaded,
        ids,
        folder,
        masking=plan.masking,
        choose_masks=plan.loop_masks(),
        about=told_of(plan),
        recipe=recipe,
        predictors=predictors,
        text_source=text_source,
        resume=resume,
        on_step=on_step,
    )
