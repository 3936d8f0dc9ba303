"""What stands in a file of routes, gathered from its rows: whole numbers within bounds, in the order of the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Float64Array, Int64Array
from dipsim.routes.rows import Block
from dipsim.trace.format import MOST_TOKENS

# As many as a trace may have.
MOST_SEQUENCES = 2**16
_LARGEST_WEIGHT = float(np.finfo(np.float16).max)


@dataclass
class Table:
    """The rows so far. Each says that a token of a sequence used an expert in a layer.

    Attributes:
        where: the file, and how its rows are called: `FILE: line` or `FILE: row`.
        n_layers, n_experts: bounds.
    """

    where: str
    n_layers: int
    n_experts: int
    _blocks: list[tuple[Int64Array, Float64Array]] = field(default_factory=list)

    def add(self, block: Block, columns: Float64Array) -> None:
        """More rows.

        Args:
            block: where they stand.
            columns: [row, 6]: sequence, token, layer, expert, whether of the prompt, weight.

        Raises:
            DipsimError: the first that is out of bounds.
        """
        bounds = {
            "sequence": MOST_SEQUENCES,
            "token": MOST_TOKENS,
            "layer": self.n_layers,
            "expert": self.n_experts,
            "prompt": 2,
        }
        whole, weights = columns[:, :5], columns[:, 5]
        is_good = (whole >= 0) & (whole < np.array(list(bounds.values()))) & (whole == np.floor(whole))
        are_weights = (weights >= 0) & (weights <= _LARGEST_WEIGHT)
        bad = np.flatnonzero(~(is_good.all(axis=1) & are_weights))
        if bad.size:
            row = int(bad[0])
            for (name, most), value, fine in zip(bounds.items(), whole[row], is_good[row], strict=True):
                if not fine:
                    block.refuse(row, f"{name}: got {_told(value)}; must be a whole number from 0 to {most - 1}")
            block.refuse(row, f"weight: got {_told(weights[row])}; must be from 0 to {_LARGEST_WEIGHT:.0f}")
        numbers = whole.astype(np.int64)
        places = ((numbers[:, 0] * MOST_TOKENS + numbers[:, 1]) * 2 + numbers[:, 4]) * self.n_layers + numbers[:, 2]
        self._blocks.append((np.stack([block.numbers, places, numbers[:, 3]]), weights.astype(np.float32)))

    def joined(self) -> Places:
        """All rows, sorted by sequence, token and layer.

        Raises:
            DipsimError: there are none.
        """
        if not self._blocks:
            raise DipsimError(f"{self.where.rpartition(':')[0]}: has no rows")
        whole = np.concatenate([numbers for numbers, _ in self._blocks], axis=1)
        weights = np.concatenate([own for _, own in self._blocks])
        self._blocks.clear()
        if (np.diff(whole[1]) < 0).any():
            order = np.argsort(whole[1], kind="stable")
            whole, weights = whole[:, order], weights[order]
        return Places.of(self.where, whole, weights, self.n_layers)


def _told(value: float) -> str:
    return "nothing or NaN" if np.isnan(value) else f"{value:.12g}"


@dataclass(frozen=True)
class Places:
    """Rows by their place, a token in a layer; rows of one place are adjacent.

    Attributes:
        where: as in `Table`.
        numbers: of the rows in the file, [row].
        experts, weights: [row].
        first: the first row of each place, [place].
        sequence, token, layer, is_prompt: [place], ascending by the first three.
    """

    where: str
    numbers: Int64Array
    experts: Int64Array
    weights: Float64Array
    first: Int64Array
    sequence: Int64Array
    token: Int64Array
    layer: Int64Array
    is_prompt: BoolArray

    @classmethod
    def of(cls, where: str, whole: Int64Array, weights: Float64Array, n_layers: int) -> Places:
        """From what `Table` holds."""
        numbers, places, experts = whole
        first = np.concatenate([[0], np.flatnonzero(np.diff(places)) + 1])
        rest, layer = np.divmod(places[first], n_layers)
        rest, is_prompt = np.divmod(rest, 2)
        sequence, token = np.divmod(rest, MOST_TOKENS)
        return cls(where, numbers, experts, weights, first, sequence, token, layer, is_prompt.astype(np.bool_))
