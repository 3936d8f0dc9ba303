"""A masked model for lm-evaluation-harness: the harness's own class for Hugging Face models, each call under hooks."""

from __future__ import annotations

import copy
from typing import Any

from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
from torch import Tensor

from dipsim.errors import DipsimError
from dipsim.masking import Masking
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.hooks import Choose, Plan, Predictors, hooked
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.pruned import pruned


class MaskedLM(HFLM):  # type: ignore[misc]
    """Loglikelihoods under the masks of a method. Each row of a batch is one sequence, from a cold cache; what pads it
    stands behind its tokens and changes nothing of them.

    Args:
        loaded: the model, which is put into evaluation mode.
        masking: the method.
        choose: its masks.
        n_positions: tokens of the longest sequence; the harness cuts longer ones on the left.
        n_batch: sequences in one forward pass.
        predictors: for the method `predictor`, one for each layer.

    Raises:
        DipsimError: no gated MLPs.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        masking: Masking,
        choose: Choose,
        n_positions: int,
        n_batch: int = 1,
        predictors: Predictors = (),
    ) -> None:
        # The harness gives the tokenizer a token for padding.
        tokenizer = copy.deepcopy(loaded.tokenizer)
        super().__init__(loaded.model, tokenizer=tokenizer, max_length=n_positions, batch_size=n_batch)
        self._loaded = loaded
        self._mlps = find_gated_mlps(loaded.model, loaded.spec.n_layers)
        self._plan = Plan(masking, choose, predictors=predictors)

    def _model_call(self, inps: Tensor, attn_mask: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        with pruned(self._loaded, self._plan.masking), hooked(self._mlps, self._loaded.spec, self._plan):
            logits: Tensor = super()._model_call(inps, attn_mask, labels)
        return logits

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Not there: masks are chosen for whole sequences, and a text that is yet to be generated is none.

        Raises:
            DipsimError: always.
        """
        raise DipsimError(
            "harness: a task wants text generated; masks are chosen for whole sequences that are there already: "
            "take tasks of the types multiple_choice, loglikelihood or loglikelihood_rolling"
        )
