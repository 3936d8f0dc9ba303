"""What did the devices do, and when: what both engines produce, and all that is told of time is derived from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from dipsim.kernels import Float64Array, stages


@dataclass(frozen=True)
class Jobs:
    """Jobs of a block's tokens, or of a prompt as one token, in simulated seconds. A job that there was no need of
    begins and ends when it could have, and takes no time.

    The parts of a stage are `READ`, `TRANSFER`, `SELECT`, `EARLY` and `LATE`, and the fields of a job `READY`, `START`,
    `END`, `ALONE`, `SERVICE`, `GAVE_WAY` and `OTHERS` of `dipsim.kernels.stages`.

    Attributes:
        of_stages: float64 [token, stage, part, field].
        ahead: float64 [token, layer, group, device, field], reads ahead on Flash and what they write to DRAM; of no
            layers where nothing is read ahead.
        edges_s: float64 [token, stage + 1], when each stage began, and when the last ended.
    """

    of_stages: Float64Array
    ahead: Float64Array
    edges_s: Float64Array

    @classmethod
    def empty(cls, n_tokens: int, n_stages: int, n_layers_ahead: int, n_groups: int) -> Self:
        """To be filled."""
        return cls(
            np.zeros((n_tokens, n_stages, stages.N_PARTS, stages.N_FIELDS)),
            np.zeros((n_tokens, n_layers_ahead, n_groups, 2, stages.N_FIELDS)),
            np.zeros((n_tokens, n_stages + 1)),
        )

    @property
    def token_s(self) -> Float64Array:
        """How long each token took, [token]."""
        seconds: Float64Array = self.edges_s[:, -1] - self.edges_s[:, 0]
        return seconds

    def of_device(self, device: int, field: int) -> Float64Array:
        """One field of all jobs of a device (`FLASH`, `DRAM`, `COMPUTE`), [token, job]: those of stages, then those
        ahead."""
        own = self.of_stages[:, :, _PARTS_OF[device], field].reshape(len(self.of_stages), -1)
        if device == stages.COMPUTE:
            return own
        ahead = self.ahead[:, :, :, device, field]
        return np.concatenate([own, ahead.reshape(len(own), -1)], axis=1)

    @property
    def unit_s(self) -> Float64Array:
        """For how long the unit that computes was at work in each token, [token]: on operations, or on transfers from
        DRAM, which it waits for."""
        starts, ends = self._of_unit(stages.START), self._of_unit(stages.END)
        both_s = np.minimum(ends[..., :-1], ends[..., -1:]) - np.maximum(starts[..., :-1], starts[..., -1:])
        seconds: Float64Array = (ends - starts).sum(axis=(1, 2)) - np.maximum(both_s, 0).sum(axis=(1, 2))
        return seconds

    def _of_unit(self, field: int) -> Float64Array:
        """One field of what the unit works on, [token, stage, job]: its own, one after another, then the transfer."""
        own, moved = self.of_stages[:, :, stages.SELECT :, field], self.of_stages[:, :, stages.TRANSFER, field]
        return np.concatenate([own, moved[..., None]], axis=2)

    def busy_s(self, device: int) -> Float64Array:
        """Seconds for which the device worked on each job and on nothing before it, [token, job]."""
        fields = stages.SERVICE, stages.START, stages.ALONE
        service_s, start_s, alone_s = (self.of_device(device, field) for field in fields)
        return service_s - (alone_s - start_s)


_PARTS_OF = {
    stages.FLASH: slice(stages.READ, stages.READ + 1),
    stages.DRAM: slice(stages.TRANSFER, stages.TRANSFER + 1),
    stages.COMPUTE: slice(stages.SELECT, stages.LATE + 1),
}
