"""Which share does each matrix keep: a split that was fitted on a text, as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from dipsim.errors import DipsimError
from dipsim.schema import Count, Record


class Keeps(Record):
    """What `dipsim allocate` writes.

    Attributes:
        keep_input, keep_glu: as of `Dip`; one number for all layers, or one for each.
        density: active share of the three matrices, the mean over layers.
        loss: mean cross-entropy in nats on the text that the split was fitted on.
        loss_of_paper_rule: the same under `split_density(density)`.
        trials: how many splits were tried.
        model: the model's name.
        method: the method and its other options, and the cache where its masks depend on one.
        text: name and hash of the text.
        bos: every window of it began with the BOS token.
    """

    keep_input: float | list[float]
    keep_glu: float | list[float]
    density: float
    loss: float
    loss_of_paper_rule: float
    trials: Count
    model: str
    method: dict[str, Any]
    text: dict[str, Any] | None
    bos: bool = False
    dipsim_version: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """From a file.

        Raises:
            DipsimError: it cannot be read, or is no such file.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DipsimError(f"keeps '{path}': cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise DipsimError(f"keeps '{path}': not JSON: {error}") from None
        return cls.parse(data, f"keeps '{path}'")
