"""Which seconds of a stage were whose, where devices work at once: the chain of work that it had to wait for."""

from __future__ import annotations

from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.stages import EARLY, END, GAVE_WAY, LATE, READ, READY, SELECT, SERVICE, START, TRANSFER

# The parts of a stage's seconds. The last is waiting for Flash that was busy with something else.
FLASH_LATENCY, FLASH_BANDWIDTH, FROM_DRAM, COMPUTING, SELECTION, WAITING = range(6)


@inner
def _waited(job):  # type: ignore[no-untyped-def]
    """Before it began and while it gave way."""
    return job[START] - job[READY] + job[GAVE_WAY]


@inner
def _took(job):  # type: ignore[no-untyped-def]
    """From when a job could have begun to its end. (Differences of its own seconds, not of the clock: that would cost
    digits.)"""
    return _waited(job) + job[SERVICE]


@inner
def _path(jobs, first_data_s, planned_s, queued_s, parts):  # type: ignore[no-untyped-def]
    """One stage: [part, field] and the plans of its batch, to [part]."""
    read, late, service_s = jobs[READ], jobs[LATE], jobs[READ, SERVICE]
    is_read, is_late = service_s > 0, late[SERVICE] > 0
    # Operations wait for those before them in their stage, which are on the path instead, and for others.
    begun_s = late[START] - max(late[READY], jobs[EARLY, END])
    late_s = late[SERVICE] + late[GAVE_WAY] + begun_s if is_late else 0.0
    early_s, moved_s = _took(jobs[EARLY]), _took(jobs[TRANSFER])
    first_s = min(first_data_s, service_s + read[GAVE_WAY]) if is_read else 0.0
    # What was read ahead may come after the mask is chosen: it is waited for as if it were the stage's own.
    chosen_s = jobs[SELECT, END]
    arrived_s = read[START] - chosen_s + first_s if is_read else late[READY] - chosen_s
    wait_s = arrived_s - first_s
    computed_s = max(early_s, arrived_s if is_late else 0.0) + late_s
    fetched_s = _took(read) if is_read else wait_s
    parts[:] = 0
    parts[SELECTION] = _took(jobs[SELECT])
    if fetched_s >= max(moved_s, computed_s):
        factor = service_s / planned_s if planned_s > 0 else 1.0
        parts[FLASH_LATENCY], parts[FLASH_BANDWIDTH] = (planned_s - queued_s) * factor, queued_s * factor
        parts[WAITING] = fetched_s - service_s
    elif moved_s >= computed_s:
        parts[FROM_DRAM] = moved_s
    elif is_late and arrived_s > early_s:
        parts[FLASH_LATENCY], parts[COMPUTING], parts[WAITING] = first_s, late_s, wait_s
    else:
        parts[COMPUTING] = computed_s


@entry
def path_of_stages(jobs, first_data_s, planned_s, queued_s, paths):  # type: ignore[no-untyped-def]
    """The critical path of stages whose devices work at once: of those the one that ends last decides, of equal ones
    Flash, then DRAM.

    Args:
        jobs: float64 [token, stage, part, field], what the devices did.
        first_data_s: float64 [token, stage], until the first data of each batch.
        planned_s, queued_s: float64 [token, stage], of each batch in all, and at its turn in a full queue.
        paths: float64 [part, token, stage], to be filled: the seconds of the parts above.
    """
    for t in range(jobs.shape[0]):
        for s in range(jobs.shape[1]):
            _path(jobs[t, s], first_data_s[t, s], planned_s[t, s], queued_s[t, s], paths[:, t, s])
