"""The arrays that kernels take."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Uint16Array = NDArray[np.uint16]
Uint64Array = NDArray[np.uint64]
# One number, or one for each of many.
Amount = TypeVar("Amount", float, Float64Array)
