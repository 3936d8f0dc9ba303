"""When do stages begin and end: queues of devices in closed form, stage after stage.

The same rules as the processes of `dipsim.engine.processes` play out event by event.
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry, inner

# How devices overlap.
NONE, IO, PIPELINED = range(3)
# What is told of a job: when it could begin, began and ended; since when nobody before it was served; for how long the
# device worked on it; for how long it gave way to others after it had begun, and how long it waited for others in all.
READY, START, END, ALONE, SERVICE, GAVE_WAY, OTHERS = range(7)
N_FIELDS = 7
# The jobs of a stage: reads from Flash, the transfer from DRAM, choosing the mask, operations on what was in DRAM, and
# on what comes from Flash.
READ, TRANSFER, SELECT, EARLY, LATE = range(5)
N_PARTS = 5
# How long the parts of a stage take alone: the batch of reads, what of it passes while others are served, and until its
# first data; the transfer from DRAM; choosing the mask; operations on what was in DRAM, and on what comes from Flash.
FLASH_S, HIDDEN_S, FIRST_DATA_S, DRAM_S, SELECT_S, EARLY_S, LATE_S = range(7)
FLASH, DRAM, COMPUTE = range(3)  # the devices, whose jobs before these end at `free_s`
# As numbers that are no literals: for each of those numba compiles what takes them once more.
_FLASH, _DRAM, _COMPUTE = np.arange(3)


@inner
def _submit(free_s, device, service_s, ready_s, hidden_s, job):  # type: ignore[no-untyped-def]
    """A job queues: it begins when it is ready and those before it are done, but for what passes meanwhile."""
    start_s = max(ready_s, free_s[device] - hidden_s)
    end_s = start_s + service_s
    job[READY], job[START], job[END], job[SERVICE] = ready_s, start_s, end_s, service_s
    job[ALONE] = max(start_s, free_s[device])
    free_s[device] = end_s
    return end_s


@inner
def _nothing(at_s, job):  # type: ignore[no-untyped-def]
    """No job: it would begin and end at once."""
    job[READY], job[START], job[END], job[ALONE] = at_s, at_s, at_s, at_s
    return at_s


@inner
def _do(free_s, device, service_s, ready_s, job):  # type: ignore[no-untyped-def]
    """A job of no seconds is none."""
    return _submit(free_s, device, service_s, ready_s, 0.0, job) if service_s > 0 else _nothing(ready_s, job)


@inner
def _in_turn(overlap, parts, now_s, free_s, jobs):  # type: ignore[no-untyped-def]
    """One device after another (`none`), or Flash beside DRAM and then compute (`io`)."""
    read_s = _do(free_s, _FLASH, parts[FLASH_S], now_s, jobs[READ])
    moved_s = _do(free_s, _DRAM, parts[DRAM_S], read_s if overlap == NONE else now_s, jobs[TRANSFER])
    chosen_s = _do(free_s, _COMPUTE, parts[SELECT_S], max(read_s, moved_s), jobs[SELECT])
    early_end_s = _do(free_s, _COMPUTE, parts[EARLY_S], chosen_s, jobs[EARLY])
    return _do(free_s, _COMPUTE, parts[LATE_S], early_end_s, jobs[LATE])


@inner
def _at_once(parts, due_s, now_s, free_s, jobs):  # type: ignore[no-untyped-def]
    """All devices at once: data is worked on as it arrives, that from Flash from its first data on, and what was read
    ahead when all of it has come (`due_s`). Reads wait for the mask."""
    chosen_s = _do(free_s, _COMPUTE, parts[SELECT_S], now_s, jobs[SELECT])
    arrived_s = read_s = _nothing(chosen_s, jobs[READ])
    if parts[FLASH_S] > 0:
        read_s = _submit(free_s, _FLASH, parts[FLASH_S], chosen_s, parts[HIDDEN_S], jobs[READ])
        arrived_s = jobs[READ, START] + parts[FIRST_DATA_S]
    arrived_s = max(arrived_s, due_s)
    moved_s = _do(free_s, _DRAM, parts[DRAM_S], chosen_s, jobs[TRANSFER])
    early_end_s = _do(free_s, _COMPUTE, parts[EARLY_S], chosen_s, jobs[EARLY])
    late_end_s = _do(free_s, _COMPUTE, parts[LATE_S], arrived_s, jobs[LATE])
    return max(read_s, moved_s, early_end_s, late_end_s)


@inner
def _begin(free_s, at_s, seconds, jobs):  # type: ignore[no-untyped-def]
    """Reads ahead for a layer queue, behind the stage's own: [group, part], [group, device, field]."""
    for g in range(seconds.shape[0]):
        read_s, hidden_s, write_s = seconds[g, 0], seconds[g, 1], seconds[g, 2]
        if read_s > 0:
            _submit(free_s, _FLASH, read_s, at_s, hidden_s, jobs[g, FLASH])
            _submit(free_s, _DRAM, write_s, at_s, 0.0, jobs[g, DRAM])


@entry
def time_stages(overlap, seconds, ahead_seconds, is_used, begun, firsts, now_s, free_s, jobs, ahead, edges_s):  # type: ignore[no-untyped-def]
    """Runs the stages of some tokens, each of which waits for the one before.

    Args:
        overlap: `NONE`, `IO` or `PIPELINED`.
        seconds: float64 [token, stage, part], by the names above.
        ahead_seconds: float64 [token, layer, group, 3] of what is read ahead: as the first two of `seconds`, and
            writing to DRAM. Of no layers where nothing is.
        is_used: bool [token, layer, group], whether any of it is used.
        begun: int64 [stage, 2], the layers from and up to which reads ahead begin with a stage.
        firsts: int64 [layer, group], with which layer each of them is read ahead.
        now_s: when the first token begins.
        free_s: float64 [device], when the jobs so far are done; is updated.
        jobs: float64 [token, stage, part, field], to be filled.
        ahead: float64 [token, layer, group, 2, field], reads ahead on Flash and on DRAM, to be filled.
        edges_s: float64 [token, stage + 1], to be filled: when each stage begins, and the last ends.

    Returns:
        When the last token ends.
    """
    n_layers, n_groups = ahead_seconds.shape[1:3]
    for t in range(seconds.shape[0]):
        for s in range(seconds.shape[1]):
            edges_s[t, s] = now_s
            if overlap != PIPELINED:
                now_s = _in_turn(overlap, seconds[t, s], now_s, free_s, jobs[t, s])
                continue
            # Stage 0 is the embedding; then come, layer by layer, attention and the groups; the LM head is last.
            layer, place = (s - 1) // (1 + n_groups), (s - 1) % (1 + n_groups)
            due_s = 0.0
            if s > 0 and layer < n_layers and place > 0 and is_used[t, layer, place - 1]:
                due_s = ahead[t, firsts[layer, place - 1], place - 1, FLASH, END]
            end_s = _at_once(seconds[t, s], due_s, now_s, free_s, jobs[t, s])
            for own in range(begun[s, 0], begun[s, 1]):
                _begin(free_s, jobs[t, s, SELECT, END], ahead_seconds[t, own], ahead[t, own])
            now_s = max(now_s, end_s)
        edges_s[t, seconds.shape[1]] = now_s
    return now_s
