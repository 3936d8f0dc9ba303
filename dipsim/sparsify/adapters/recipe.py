"""With which settings does an adapter learn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dipsim.errors import DipsimError, choose

LOSSES = ("kl", "cross-entropy")
WARM_UP_SHARE, LAST_SHARE = 0.05, 0.05  # of the steps, of the learning rate


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        rank: of the LoRA.
        alpha: its output is multiplied by alpha / rank.
        loss: `kl`, to predict what the model without mask and adapter predicts; `cross-entropy`, to predict the text.
        learning_rate: the highest, after a linear warm-up; a cosine leads down from it.
        steps: updates, at most.
        batch: windows in each.
        evaluate_every: steps between two looks at held-out windows; a checkpoint is written at each.
        patience: looks without a gain after which training stops.
        seed: of the first weights and of the order of windows.
    """

    rank: int = 32
    alpha: float = 32
    loss: str = "kl"
    learning_rate: float = 1e-3
    steps: int = 1000
    batch: int = 8
    evaluate_every: int = 50
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        choose("loss", self.loss, LOSSES)
        for name in ("rank", "steps", "batch", "evaluate_every", "patience"):
            if getattr(self, name) < 1:
                raise DipsimError(f"{name}: got {getattr(self, name)}; must be at least 1")
        for name in ("alpha", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise DipsimError(f"{name}: got {getattr(self, name)}; must be above 0 and finite")
        if self.seed < 0:
            raise DipsimError(f"seed: got {self.seed}; must be at least 0")

    def share_of_rate(self, step: int) -> float:
        """Share of the highest learning rate: linear warm-up, then a cosine down."""
        n_warm_up = max(1, round(WARM_UP_SHARE * self.steps))
        if step < n_warm_up:
            return (step + 1) / n_warm_up
        angle = math.pi * (step - n_warm_up) / max(1, self.steps - n_warm_up)
        return LAST_SHARE + (1 - LAST_SHARE) * (1 + math.cos(angle)) / 2
