"""Whose scores are there: synthetic ones of a model and a preset, drawn once and kept."""

from __future__ import annotations

from dipsim.estimation import PROMPT_TOKENS, n_tokens_of
from dipsim.model import ModelSpec
from dipsim.synthetic import synthesize_in_memory
from dipsim.trace import Trace

_MOST = 12  # four models


class Scores:
    """The scores that estimates replay."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Trace] = {}

    def __contains__(self, wanted: tuple[ModelSpec, str]) -> bool:
        return _key(*wanted) in self._kept

    def of(self, model: ModelSpec, preset: str) -> Trace:
        """Those of a model at a preset of locality; the oldest make room for new ones."""
        key = _key(model, preset)
        if key not in self._kept:
            n_tokens = n_tokens_of(model)
            self._kept[key] = synthesize_in_memory(model, n_tokens, preset=preset, prompt_tokens=PROMPT_TOKENS)
            for oldest in list(self._kept)[:-_MOST]:
                del self._kept[oldest]
        return self._kept[key]


def _key(model: ModelSpec, preset: str) -> tuple[str, str]:
    return model.model_dump_json(), preset
