"""How well does a method do on the tasks of lm-evaluation-harness: a model to be given to it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dipsim.errors import DipsimError
from dipsim.installation import how_to_add
from dipsim.model.groups import SITES
from dipsim.simulation import Simulation
from dipsim.trace import Trace

if TYPE_CHECKING:
    from dipsim.sparsify.harness import MaskedLM
    from dipsim.sparsify.hooks import Predictors
    from dipsim.sparsify.loading import LoadedModel


def harness_model(
    loaded: LoadedModel,
    describe: Callable[[Trace], Simulation],
    *,
    n_positions: int,
    n_batch: int = 1,
    predictors: Predictors = (),
) -> MaskedLM:
    """A model under a method, for `lm_eval.simple_evaluate(model=..., tasks=[...])`.

    Args:
        loaded: the model, which is put into evaluation mode.
        describe: makes the run on the trace that it is given, as for `evaluate`.
        n_positions: tokens of the longest sequence: the KV cache has room for so many, and the harness cuts longer
            ones on the left.
        n_batch: sequences in one forward pass.
        predictors: for the method `predictor`, one for each layer.

    Raises:
        DipsimError: as `Simulation`; no gated MLPs; lm_eval is not installed.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise DipsimError(f"harness: lm_eval is not installed; {how_to_add('lm-eval')}")
    from dipsim.sparsify.harness import MaskedLM

    plan = describe(Trace.planned(loaded.spec, SITES, np.zeros((1, n_positions), np.int64), 0))
    return MaskedLM(loaded, plan.masking, plan.loop_masks(), n_positions, n_batch, predictors)
