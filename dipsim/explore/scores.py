"""Whose scores are there: synthetic ones of a model and a preset, drawn once and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from dipsim.estimation import N_TOKENS, PROMPT_TOKENS
from dipsim.model import ModelSpec
from dipsim.synthetic import synthesize
from dipsim.trace import Trace

_MOST = 12  # four models


class Scores:
    """The scores that estimates replay."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dipsim-")
        self._kept: dict[tuple[str, str], Trace] = {}
        self._n_drawn = 0

    def __contains__(self, wanted: tuple[ModelSpec, str]) -> bool:
        return self._key(*wanted) in self._kept

    def of(self, model: ModelSpec, preset: str, on_progress: Callable[[int, int], None]) -> Trace:
        """Those of a model at a preset of locality; the oldest make room for new ones."""
        key = self._key(model, preset)
        if key not in self._kept:
            self._n_drawn += 1
            path = Path(self._folder.name) / f"{self._n_drawn}.zarr"
            self._kept[key] = synthesize(
                path, model, N_TOKENS, preset=preset, prompt_tokens=PROMPT_TOKENS, on_progress=on_progress
            )
            for oldest in list(self._kept)[:-_MOST]:
                del self._kept[oldest]
        return self._kept[key]

    def close(self) -> None:
        """Nothing is left of them."""
        self._folder.cleanup()

    @staticmethod
    def _key(model: ModelSpec, preset: str) -> tuple[str, str]:
        return model.model_dump_json(), preset
