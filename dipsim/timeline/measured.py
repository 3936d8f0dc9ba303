"""What is told of each token: seconds of devices, parts of its critical path, bytes, reads and what they are due to."""

from __future__ import annotations

import numpy as np

from dipsim.devices import Flash, ReadBatches
from dipsim.engine.blocks import Done
from dipsim.engine.jobs import Jobs
from dipsim.engine.workload import Work
from dipsim.kernels import Float64Array
from dipsim.kernels.stages import ALONE, COMPUTE, DRAM, END, FLASH, OTHERS, SERVICE
from dipsim.planning.setup import Setup

DEVICES = {"flash": FLASH, "dram": DRAM, "compute": COMPUTE}


class Measure:
    """Turns what was simulated into columns of the table of tokens, block after block.

    Args:
        setup: the run.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._flash = Flash(setup.profile.flash, setup.io_depth)
        # Of Flash and DRAM: what jobs so far have still to do after the last token.
        self._begun = {"flash": _Begun(FLASH), "dram": _Begun(DRAM)}

    def prompt(self, done: Done) -> float:
        """Seconds of a prompt."""
        for begun in self._begun.values():
            begun.busy_s(done.jobs)
        return float(done.jobs.token_s[0])

    def tokens(self, done: Done, work: Work, path: dict[str, Float64Array]) -> dict[str, Float64Array]:
        """Columns by name, [token] each.

        Args:
            done: the block.
            work: what its tokens used.
            path: its critical path.
        """
        jobs = done.jobs
        columns = {"token_s": jobs.token_s}
        columns |= {f"{name}_s": begun.busy_s(jobs) for name, begun in self._begun.items()}
        columns |= {f"{part}_on_path_s": own.sum(axis=1) for part, own in path.items()}
        columns |= {"dram_bytes": done.timed.dram_bytes.sum(axis=1), "n_ops": done.timed.n_ops.sum(axis=1)}
        columns["compute_s"] = jobs.of_device(COMPUTE, SERVICE).sum(axis=1)
        columns["unit_s"] = jobs.unit_s
        of_flash = self._of_flash(done.stages.batches)
        if self._setup.reads_ahead:
            ahead = self._of_flash(work.ahead)
            of_flash = {name: own + ahead[name] for name, own in of_flash.items()}
            columns["dram_bytes"] += ahead["flash_bytes"]
            layers = range(self._setup.model.n_layers)
            column_bytes = np.array([[group.bytes_in(layer) for group in self._setup.groups] for layer in layers])
            columns["prefetch_bytes"] = ahead["flash_wanted_bytes"]
            columns["prefetch_used_bytes"] = (work.n_used_ahead * column_bytes).sum(axis=(1, 2))
        if self._setup.loads:
            columns |= {f"{name}_others_s": jobs.of_device(d, OTHERS).sum(axis=1) for name, d in DEVICES.items()}
        return columns | of_flash

    def _of_flash(self, batches: ReadBatches) -> dict[str, Float64Array]:
        """Reads, bytes and seconds of each token, and what the seconds are due to."""
        amounts = {
            "flash_reads": batches.n_reads,
            "flash_bytes": batches.n_bytes,
            "flash_wanted_bytes": batches.wanted_bytes,
            **{f"flash_{cause}_s": own for cause, own in self._flash.losses(batches).items()},
        }
        return {name: own.reshape(len(own), -1).sum(axis=1) for name, own in amounts.items()}


class _Begun:
    """A device's seconds: what a job has still to do when its token ends is the next one's."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._late = np.zeros((0, 3))  # jobs of tokens before that have not ended: alone since, end, busy seconds
        self._left_s = 0.0

    def busy_s(self, jobs: Jobs) -> Float64Array:
        """Busy seconds within each token, [token]. Those of a job lie evenly between its beginning and its end, and
        fill that time unless it gave way to others."""
        alone_s, end_s = (jobs.of_device(self._device, field) for field in (ALONE, END))
        busy_s, edges_s = jobs.busy_s(self._device), jobs.edges_s[:, -1]
        token, job = np.nonzero(end_s > np.maximum(edges_s[:, None], alone_s))
        own = np.stack([alone_s, end_s, busy_s], axis=-1)[token, job]
        token, late = np.concatenate([np.full(len(self._late), -1), token]), np.concatenate([self._late, own])
        begin_s, until_s, work_s = late.T
        after_s = until_s - np.maximum(edges_s[:, None], begin_s)
        is_left = (after_s > 0) & (token <= np.arange(len(edges_s))[:, None])
        left_s = (np.where(is_left, after_s, 0) * (work_s / (until_s - begin_s))).sum(axis=1)
        before_s = np.concatenate([[self._left_s], left_s[:-1]])
        self._late, self._left_s = late[until_s > edges_s[-1]], float(left_s[-1])
        seconds: Float64Array = busy_s.sum(axis=1) + before_s - left_s
        return seconds
