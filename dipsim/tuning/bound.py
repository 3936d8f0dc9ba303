"""What may a run lose at most?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from dipsim.errors import DipsimError
from dipsim.sweeps.row import Row


@dataclass(frozen=True)
class Bound:
    """A bound on one column of the results.

    Attributes:
        column: `retained_magnitude`, of which there must be enough, or `perplexity`, of which not too much.
        limit: the value that just meets it.
    """

    column: str
    limit: float

    @classmethod
    def of(cls, max_loss: float | None, max_perplexity: float | None) -> Self:
        """The one bound that is given.

        Args:
            max_loss: share of the magnitude that may be lost: `retained_magnitude` is at least 1 - max_loss.
            max_perplexity: as `dipsim evaluate` prints it.

        Raises:
            DipsimError: none or both are given, or one is out of range.
        """
        if (max_loss is None) == (max_perplexity is None):
            raise DipsimError("bound: give max-loss or max-perplexity, one of the two")
        if max_loss is not None:
            if not 0 <= max_loss < 1:
                raise DipsimError(f"max-loss: got {max_loss}; a share of the magnitude, at least 0 and below 1")
            return cls("retained_magnitude", 1 - max_loss)
        if max_perplexity is None or not 1 <= max_perplexity < math.inf:
            raise DipsimError(f"max-perplexity: got {max_perplexity}; must be at least 1 and finite")
        return cls("perplexity", max_perplexity)

    def excess(self, row: Row) -> float:
        """By how much a run breaks the bound; at most 0 where it is met, infinite where the run failed.

        Raises:
            DipsimError: the method has no such number.
        """
        if row["error"] is not None:
            return math.inf
        if (value := row.get(self.column)) is None:
            raise DipsimError(f"bound: method '{row.get('method')}' has no {self.column}")
        excess = self.limit - value if self.column == "retained_magnitude" else value - self.limit
        return math.inf if math.isnan(excess) else excess

    def __str__(self) -> str:
        relation = "at least" if self.column == "retained_magnitude" else "at most"
        return f"{self.column} {relation} {self.limit:.6g}"
