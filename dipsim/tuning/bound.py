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
        column: `mlp_error` or `perplexity`.
        limit: the highest value that meets it.
    """

    column: str
    limit: float

    @classmethod
    def of(cls, max_error: float | None, max_perplexity: float | None) -> Self:
        """The one bound that is given.

        Args:
            max_error: highest `mlp_error`.
            max_perplexity: as `dipsim evaluate` prints it.

        Raises:
            DipsimError: none or both are given, or one is out of range.
        """
        if (max_error is None) == (max_perplexity is None):
            raise DipsimError("bound: give max-error or max-perplexity, one of the two")
        if max_error is not None:
            if not 0 <= max_error < 1:
                raise DipsimError(f"max-error: got {max_error}; a share of the MLPs' outputs, at least 0 and below 1")
            return cls("mlp_error", max_error)
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
        return math.inf if math.isnan(value) else value - self.limit

    def __str__(self) -> str:
        return f"{self.column} at most {self.limit:.6g}"
