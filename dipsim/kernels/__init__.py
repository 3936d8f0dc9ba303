"""The compiled inner loops: selection, residency, reads. Each has a plain NumPy twin in tests/reference.py.

Scores come as the bit patterns of non-negative float16 (`uint16`): these order like the numbers they stand for.
Selection works on integer sort keys, so it is exact and the same on every machine.
"""

from dipsim.kernels.arrays import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, Uint16Array
from dipsim.kernels.future import next_uses
from dipsim.kernels.reads import form_reads
from dipsim.kernels.scores import (
    LARGEST_FINITE,
    ULP,
    blended_keys,
    first_bad,
    ranked_keys,
    reweighted_keys,
    score_sum,
    score_values,
)
from dipsim.kernels.selection import choose_victims, top_k, top_k_rows

__all__ = [
    "LARGEST_FINITE",
    "ULP",
    "BoolArray",
    "Float32Array",
    "Float64Array",
    "Int32Array",
    "Int64Array",
    "Uint16Array",
    "blended_keys",
    "choose_victims",
    "first_bad",
    "form_reads",
    "next_uses",
    "ranked_keys",
    "reweighted_keys",
    "score_sum",
    "score_values",
    "top_k",
    "top_k_rows",
]
