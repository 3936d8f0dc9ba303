"""What can each device be asked for by a load: reads from Flash, bytes over the bus, operations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import simpy

from dipsim.devices import Compute, Dram, Flash
from dipsim.engine.processes.contract import amount_of
from dipsim.engine.processes.devices import Device
from dipsim.engine.processes.job import Job
from dipsim.errors import DipsimError


class FlashDevice(Device):
    """Flash storage.

    Attributes:
        formulas: how long reads take by the profile.
    """

    name = "flash"
    formulas: Flash

    def read(self, n_bytes: float, n_reads: int = 1) -> simpy.Event:
        """For a load: so many bytes by so many reads of one size, submitted together; the event is their end.

        Raises:
            DipsimError: a number of bytes or reads that is negative, infinite or none, or reads that are not whole.
        """
        n_bytes, reads = amount_of(n_bytes, "flash.read: n_bytes"), amount_of(n_reads, "flash.read: n_reads")
        if reads < 1 or reads % 1:
            raise DipsimError(f"flash.read: n_reads: got {n_reads!r}; must be a whole number, at least 1")
        moved, service_s, hidden_s = _by_others(self.formulas, n_bytes, reads)
        return self._of_load(Job(service_s, hidden_s, n_bytes=moved, n_reads=reads))


@lru_cache(maxsize=256)  # apps ask for the same again and again
def _by_others(formulas: Flash, n_bytes: float, n_reads: float) -> tuple[float, float, float]:
    """Bytes moved, seconds, and what of these passes while others are served, of reads by another app: all that they
    take beyond their turn in a full queue."""
    batch = formulas.of_others.rows(n_bytes / n_reads, np.array([n_reads]))
    service_s = float(batch.service_s[0])
    return float(batch.n_bytes[0]), service_s, service_s - float(batch.occupied_s[0])


class DramDevice(Device):
    """The bus of the memory.

    Attributes:
        formulas: how long transfers take by the profile.
    """

    name = "dram"
    formulas: Dram

    def move(self, n_bytes: float) -> simpy.Event:
        """For a load: so many bytes are read or written; the event is their end.

        Raises:
            DipsimError: a number of bytes that is negative, infinite or none.
        """
        n_bytes = amount_of(n_bytes, "dram.move: n_bytes")
        return self._of_load(Job(self.formulas.write_seconds(n_bytes), n_bytes=n_bytes))


class ComputeDevice(Device):
    """The compute unit that the model uses; a launch is never interrupted.

    Attributes:
        formulas: how long operations take by the profile.
    """

    name = "compute"
    formulas: Compute

    def run(self, n_ops: float) -> simpy.Event:
        """For a load: so many operations in one launch; the event is their end.

        Raises:
            DipsimError: a number of operations that is negative, infinite or none.
        """
        n_ops = amount_of(n_ops, "compute.run: n_ops")
        return self._of_load(Job(float(self.formulas.seconds(np.array(n_ops))), n_ops=n_ops, occupies_unit=True))
