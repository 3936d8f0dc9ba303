"""Which share does each matrix keep: a split that was fitted on a text, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from dipsim.documents import read_json
from dipsim.schema import Count, Record, Share, ShareOrShares, ShortText

_MOST_BYTES = 2**20


class Keeps(Record):
    """What `dipsim allocate` writes.

    Attributes:
        keep_input, keep_glu: as of `Dip`; one number for all layers, or one for each.
        density: active share of the three matrices, the mean over layers.
        loss: mean cross-entropy in nats on the text that the split was fitted on.
        loss_of_paper_rule: the same under `split_density(density)`.
        loss_interval: 95 % confidence interval of the one less the other, paired by window; None for one window, or
            where the split is the paper's. It was chosen on this very text: the interval is rather too sure.
        trials: how many splits were tried.
        model: the model's name.
        method: the method and its other options, and the cache where its masks depend on one.
        text: name and hash of the text.
        bos: every window of it began with the BOS token.
    """

    keep_input: ShareOrShares
    keep_glu: ShareOrShares
    density: Share
    loss: float
    loss_of_paper_rule: float
    loss_interval: list[float] | None = None
    trials: Count
    model: ShortText
    method: dict[str, Any]
    text: dict[str, Any] | None
    bos: bool = False
    dipsim_version: ShortText

    @classmethod
    def load(cls, path: Path) -> Self:
        """From a file.

        Raises:
            DipsimError: it cannot be read, or is no such file.
        """
        where = f"keeps '{path}'"
        return cls.parse(read_json(path, where, _MOST_BYTES), where)
