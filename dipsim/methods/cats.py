"""CATS: neurons whose gate is above a threshold, found once for each layer on other text (arXiv 2404.08763)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.methods.one_site import Gate
from dipsim.methods.protocol import Method, check_layers, register_method
from dipsim.model import ModelSpec
from dipsim.model.groups import Group, mlp_group
from dipsim.trace import Trace

_N_PATTERNS = 1 << 15  # of float16 without a sign


@register_method("cats")
@dataclass(frozen=True)
class Cats(Method):
    """Gate dense; `up` and `down` where the gate's activation is above a threshold, so that density varies by token.

    Source: CATS, arXiv 2404.08763.

    Example: dipsim capture tiny held-out -o gates.zarr --sites gate --sequences 2 &&
        dipsim simulate tiny --method cats --density 0.7 --calibration gates.zarr

    Args:
        thresholds: least magnitude of the gate's activation, one for each layer; --density and --calibration find
            them, as does `calibrated`.
    """

    thresholds: tuple[float, ...]
    looks_at_residency: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(self.thresholds))
        if not self.thresholds or not all(np.isfinite(t) and t >= 0 for t in self.thresholds):
            raise DipsimError(f"thresholds: got {self.thresholds}; must be finite and not negative, one for each layer")

    @classmethod
    def calibrated(cls, trace: Trace, density: float) -> Self:
        """Thresholds that the wanted share of the trace's gate activations reaches, layer by layer.

        Args:
            trace: scores at site `gate`, recorded on other text than is evaluated.
            density: active share of the three matrices, above a third, since the gate's stays dense.

        Raises:
            DipsimError: no scores at site `gate`, or a density that the method cannot have.
        """
        keep = Gate(density=density).masked_keep
        counts = np.zeros((trace.model.n_layers, _N_PATTERNS), np.int64)
        for block in trace.blocks(trace.n_tokens):
            for layer, own in enumerate(counts):
                own += np.bincount(
                    trace.read("gate", block.start, block.stop, layer).reshape(-1), minlength=_N_PATTERNS
                )
        return cls(tuple(_threshold(own, keep) for own in counts))

    def in_layer(self, layer: int) -> Self:
        """The method with the threshold of one layer."""
        return type(self)((self.thresholds[layer],))

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """`gate` dense, then `up_down` by `gate`."""
        check_layers("thresholds", self.thresholds, model)
        return mlp_group(model, "gate", None), mlp_group(model, "up_down", "gate")

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Scores that reach the threshold; where none does, the highest."""
        (threshold,) = self.thresholds
        # Bit patterns of float16 that are not negative are in the order of their values.
        np.greater_equal(scores, np.array(threshold, np.float16).view(np.uint16), out=mask)
        if not mask.any():
            mask[scores.argmax()] = True


def _threshold(counts: np.ndarray[tuple[int], np.dtype[np.int64]], keep: float) -> float:
    """The pattern at which the share of scores at or above it comes nearest to `keep`."""
    reached = counts[::-1].cumsum()[::-1]
    wanted = keep * reached[0]
    present = np.flatnonzero(counts)
    best = present[np.abs(reached[present] - wanted).argmin()]
    return float(np.array(best, np.uint16).view(np.float16))
