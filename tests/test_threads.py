"""Results do not depend on how many threads a run has."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytest
from conftest import MakeTrace, device, random_scores, small_model

from dipsim import DipCa, Simulation
from dipsim.engine.workload import GroupUse, Inputs
from dipsim.threads import limited
from dipsim.trace.reading import Block


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "lfu"},
        {"policy": "clock"},
        {"policy": "lfu", "prefetch": "previous-token", "prefetch_bytes": 60.0},
        {"policy": "lru", "cache_scope": "shared"},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
@pytest.mark.filterwarnings("ignore:cache_scope", "ignore:slots")
def test_threads_change_nothing(
    make_trace: MakeTrace, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three blocks, of two sequences; the first takes long, so that who does not wait for it finds its caches as they
    were."""
    trace = make_trace(small_model(), random_scores(small_model(), 300), lengths=[200, 100])
    plain = GroupUse.inputs

    def slow(use: GroupUse, index: int, block: Block) -> Inputs:
        time.sleep(0.03 if index == 0 else 0)
        return plain(use, index, block)

    monkeypatch.setattr(GroupUse, "inputs", slow)
    profile, masking, runs = device(flash_more={"latency_s": 1e-4}), DipCa(density=0.5), []
    for n_threads in (1, 2, 5):
        with limited(n_threads):
            runs.append(Simulation(profile, trace, masking, dram="mlp:0.6", engine="compiled", **options).run())
    for run in runs[1:]:
        pd.testing.assert_frame_equal(run.tokens, runs[0].tokens, check_exact=True)
