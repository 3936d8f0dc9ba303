"""dipsim against a PyTorch rendering of the published simulator, on scores without ties: same hits, same seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import tight_slots

from benchmarks.published import simulator
from dipsim import DipCa, HardwareProfile


@tight_slots
@pytest.mark.parametrize("dram", [0.3, 0.5, 0.9])
def test_hits_and_seconds_agree(tmp_path: Path, dram: float) -> None:
    """From slots for few of the active columns to slots for more than all of them."""
    trace = simulator.distinct_trace(tmp_path / "distinct.zarr", 60)
    profile, masking = HardwareProfile.load("a18-paper"), DipCa(density=0.5, gamma=0.2137)
    works, found = simulator.rivals(trace.path, profile, masking, dram, trace.n_tokens, "none")
    for work in works.values():
        work()
    own = found.pop("dipsim")
    assert len(found) == 2
    for other in found.values():
        assert other["simulated_s"] == pytest.approx(own["simulated_s"], rel=1e-9)
        assert {**other, "simulated_s": 0} == {**own, "simulated_s": 0}
