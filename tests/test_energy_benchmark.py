"""Published joules and prompts: each can be judged, and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import tight_slots

from benchmarks.published import energy
from benchmarks.published.end_to_end import Traces, simulate


def test_a_reader_can_judge_them() -> None:
    names = [one.name for one in energy.MEASURED] + [one.name for one in energy.PROMPTS]
    assert len(names) == len(set(names)) == 9
    assert all("arXiv " in one.source or "GitHub " in one.source for one in energy.MEASURED)
    for one in energy.MEASURED:
        if one.tok_per_s is not None:
            assert one.joules * one.tok_per_s == pytest.approx(one.watts)


@tight_slots
def test_a_pi_and_a_prompt(tmp_path: Path) -> None:
    """By hand: a token is its bytes at DRAM's rate, a prompt its operations at the unit's."""
    traces = Traces(tmp_path)
    pi = energy.MEASURED[3]
    row = energy.token_row(pi, simulate(pi.run, traces))
    model = pi.run.workload.model
    seconds = (model.pinned_bytes + model.mlp_bytes) / 11.4e9
    assert row["tok/s dipsim"] == pytest.approx(1 / seconds, rel=1e-3)
    assert row["W dipsim"] == pytest.approx(4.5 + 7.5 + 11.4e9 * 80e-12, rel=1e-2)
    assert row["J dipsim"] == pytest.approx(seconds * row["W dipsim"], rel=1e-3)
    gpu = energy.PROMPTS[1]
    model = gpu.run.workload.model
    n_weights = model.pinned_weights.sum() + model.mlp_weights + model.lm_head_weights
    expected = 512 * 2 * n_weights / 0.52e12
    assert energy.prompt_row(gpu, simulate(gpu.run, traces))["s dipsim"] == pytest.approx(expected, rel=1e-2)
