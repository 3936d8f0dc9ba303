"""How long does memory take."""

from __future__ import annotations

import numpy as np

from dipsim.kernels import Amount, Float64Array
from dipsim.profile import ComputeUnit, DramSpec


class Dram:
    """One bus for all that moves: weights, KV, and what Flash delivers.

    Args:
        spec: the memory.
        unit: who reads it; None for a unit that takes all that the bus carries.
    """

    def __init__(self, spec: DramSpec, unit: ComputeUnit | None = None) -> None:
        self._bus_bytes_per_s = spec.read_bytes_per_s
        self._dma_writes = spec.dma_writes
        self._replace_bytes_per_s = spec.replace_bytes_per_s or np.inf
        own_bytes_per_s = unit.dram_bytes_per_s if unit is not None else None
        self._unit_bytes_per_s = min(own_bytes_per_s or self._bus_bytes_per_s, self._bus_bytes_per_s)

    def transfers(
        self,
        read_bytes: Float64Array,
        from_flash_bytes: Float64Array,
        bytes_per_s: Float64Array | float | None = None,
    ) -> tuple[Float64Array, Float64Array]:
        """Bytes over the bus, and seconds, of each transfer alone.

        With `dma_writes`, what Flash delivers is written and read back. The unit reads at its own rate at most, the bus
        carries reads and writes together at its own.

        Args:
            read_bytes: what lies in DRAM.
            from_flash_bytes: what Flash delivers meanwhile.
            bytes_per_s: what who reads reaches; the unit's own rate by default.
        """
        written = from_flash_bytes if self._dma_writes else np.zeros_like(from_flash_bytes)
        traffic_bytes: Float64Array = read_bytes + 2 * written
        unit_s = (read_bytes + written) / (self._unit_bytes_per_s if bytes_per_s is None else bytes_per_s)
        return traffic_bytes, np.maximum(traffic_bytes / self._bus_bytes_per_s, unit_s)

    def transfer(self, read_bytes: float, from_flash_bytes: float, bytes_per_s: float) -> tuple[float, float]:
        """The same of one transfer, in plain numbers."""
        written = from_flash_bytes if self._dma_writes else 0.0
        traffic_bytes = read_bytes + 2 * written
        unit_s = (read_bytes + written) / bytes_per_s
        return traffic_bytes, max(traffic_bytes / self._bus_bytes_per_s, unit_s)

    def write_seconds(self, n_bytes: Amount) -> Amount:
        """Time on the bus of what is only written: of one transfer, or of many."""
        return n_bytes / self._bus_bytes_per_s

    def replace_seconds(self, n_bytes: Amount) -> Amount:
        """For how long who computes is busy with the slots of what was read."""
        return n_bytes / self._replace_bytes_per_s
