"""The layout of GGUF files: each matrix a tensor of its own, which begins where the one before it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.kernels import BoolArray, Int32Array
from dipsim.layouts.protocol import register_layout


@register_layout("gguf")
@dataclass(frozen=True)
class Gguf:
    """Each matrix apart, from anywhere in a page.

    Source: general.alignment of GGUF files, 32 bytes by default; GitHub ggml-org/ggml, docs/gguf.md.

    An expert is three reads, each of a page more than its own, and what is read is copied to its place where the
    profile has `copy_bytes_per_s`. Matrices are multiplied in turn, each by all that is used of it, as ggml's
    `mul_mat_id` does: only the first one's products with what lies in DRAM do not wait for reads.

    Args:
        fused: gate and up are one matrix, so that an expert is two reads.
    """

    fused: bool = False
    bundled: ClassVar[bool] = False
    aligned: ClassVar[bool] = False
    in_turn: ClassVar[bool] = True
    calibration_tokens: ClassVar[int] = 0

    def order(self, active: BoolArray) -> Int32Array:
        """By index."""
        return np.arange(active.shape[1], dtype=np.int32)
