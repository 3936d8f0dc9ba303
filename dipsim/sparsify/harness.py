"""A masked model for lm-evaluation-harness: the harness's own class for Hugging Face models, each call under hooks."""

from __future__ import annotations

import copy
from typing import Any

from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
from torch import Tensor

from dipsim.errors import DipsimError
from dipsim.methods import Method
from dipsim.sparsify.bos import bos_in_front
from dipsim.sparsify.hooks import Choose, Plan, Predictors, find_parts, hooked
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.pruned import pruned


class MaskedLM(HFLM):  # type: ignore[misc]
    """Loglikelihoods under the masks of a method. Each row of a batch is one sequence, from a cold cache; what pads it
    stands behind its tokens and changes nothing of them.

    Where the tokenizer puts a BOS in front, every sequence begins with exactly one, also those that are cut, and texts
    go through in windows as `windows` cuts them. Elsewhere texts go as the harness has them.

    Args:
        loaded: the model, which is put into evaluation mode.
        masking: the method.
        choose: its masks.
        n_positions: tokens of the longest sequence; the harness cuts longer ones on the left, behind the BOS.
        n_batch: sequences in one forward pass.
        predictors: for the method `predictor`, one for each layer.

    Raises:
        DipsimError: no gated MLPs.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        masking: Method,
        choose: Choose,
        n_positions: int,
        n_batch: int = 1,
        predictors: Predictors = (),
    ) -> None:
        # The harness gives the tokenizer a token for padding.
        tokenizer = copy.deepcopy(loaded.tokenizer)
        super().__init__(loaded.model, tokenizer=tokenizer, max_length=n_positions, batch_size=n_batch)
        self._loaded = loaded
        self._bos = bos_in_front(tokenizer, "auto")
        self._parts = find_parts(loaded.model, loaded.spec)
        self._plan = Plan(masking, choose, predictors=predictors)

    def _model_call(self, inps: Tensor, attn_mask: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        with pruned(self._loaded, self._plan.masking), hooked(self._parts, self._loaded.spec, self._plan):
            logits: Tensor = super()._model_call(inps, attn_mask, labels)
        return logits

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        """Ids of a string; a BOS is the only special token that is put in front."""
        ids: list[int] = self.tokenizer.encode(string, add_special_tokens=False)
        if self._bos is None or add_special_tokens is False or ids[:1] == [self._bos]:
            return ids
        return [self._bos, *ids]

    def _loglikelihood_tokens(self, requests: list[Any], *arguments: Any, **options: Any) -> list[tuple[float, bool]]:
        """Of what is too long the harness takes the last `max_length + 1` tokens; the BOS must be the first of them."""
        if self._bos is not None:
            requests = [
                (key, context[:1] + context[1:][max(0, len(context) + len(rest) - self.max_length - 1) :], rest)
                for key, context, rest in requests
            ]
        found: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, *arguments, **options)
        return found

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Of whole texts, each token given those before it in its window."""
        if self._bos is None:
            unchanged: list[float] = super().loglikelihood_rolling(requests, disable_tqdm)
            return unchanged
        n_text, found = max(1, self.max_length - 1), []
        for request in requests:
            ids = self.tok_encode(*request.args)[1:]
            parts = [(None, [self._bos], ids[start : start + n_text]) for start in range(0, len(ids), n_text)]
            found.append(sum(value for value, _ in self._loglikelihood_tokens(parts, disable_tqdm=True)))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Not there: masks are chosen for whole sequences, and a text that is yet to be generated is none.

        Raises:
            DipsimError: always.
        """
        raise DipsimError(
            "harness: a task wants text generated; masks are chosen for whole sequences that are there already: "
            "take tasks of the types multiple_choice, loglikelihood or loglikelihood_rolling"
        )
