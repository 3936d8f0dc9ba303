"""What columns of results mean: each number of a run is defined once, and the names of inputs say what they can."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from conftest import tight_slots

import dipsim as ds
from dipsim import DipsimError, methods
from dipsim.results.columns import COLUMNS, meaning_of
from dipsim.sweeps.row import Row, inputs, row_of
from dipsim.sweeps.table import check_row

PROVENANCE = {"key": "ab", "error": None, "trace_sha256": "cd", "dipsim_version": "0.1.0"}
# Columns of a run's own summary, of tables that figures make, and of runs beside loads.
WAITED = "waited_for_others_s_per_token"
CUMULATIVE = "cumulative_hit_rate_by_group"
NOT_IN_ROWS = {"prompt_hit_rate", "flash", "slots", "token_s", WAITED, f"{WAITED}.*", CUMULATIVE, f"{CUMULATIVE}.*"} | {
    "energy_parts_j_per_token"
}


@pytest.fixture(scope="module", params=["none", "previous-token"])
def row(request: pytest.FixtureRequest) -> tuple[Row, set[str]]:
    """A run's row with all that a sweep may store of it, and what the run was given."""
    device, trace = ds.HardwareProfile.load("oneplus-12-ufs4"), ds.Trace.open("tiny")
    masking = methods.make("dip", density=0.4)
    result = ds.Simulation(device, trace, masking, "lfu", dram="0.8x", tokens=8, prefetch=request.param).run()
    headroom = result.headroom() if request.param == "none" else None
    quality = {"perplexity": 9.0, "perplexity_se": 0.9, "loss": 2.2, "loss_se": 0.1, "n_scored_tokens": 7}
    quality |= {"loss_by_window": [2.1, 2.3], "scored_by_window": [4, 3], "tokens_sha256": "ef"}
    return row_of(result.config, result, quality, headroom) | PROVENANCE, set(inputs(result.config))


@tight_slots
def test_what_a_run_yields_is_defined_and_what_it_is_given_is_an_input(row: tuple[Row, set[str]]) -> None:
    columns, given = row
    assert {name for name in columns if meaning_of(name).is_input} == given
    assert not [name for name in columns if name not in given and not meaning_of(name).definition]
    check_row(columns, "row")  # values are of the kinds that are told


@tight_slots
def test_nothing_is_defined_that_no_run_yields(row: tuple[Row, set[str]]) -> None:
    columns, _ = row
    only_with = "headroom." if "prefetch.bytes_per_token" in columns else "prefetch."
    results = [name for name in COLUMNS if not meaning_of(name).is_input and not name.startswith(only_with)]
    missing = {line for line in results if not any(fnmatchcase(name, line) for name in columns)}
    assert missing == NOT_IN_ROWS


def test_what_an_ideal_flash_has_no_numbers_of_is_no_input() -> None:
    run = ds.Simulation(
        ds.HardwareProfile.load("a18-paper"), ds.Trace.open("tiny"), ds.Dip(0.4), dram="1x", tokens=2
    ).run()
    assert {name for name in run.summary if meaning_of(name).is_input} == {"prefetch"}  # none, as it was told


@pytest.mark.parametrize(
    ("name", "label", "unit", "axis", "role"),
    [
        ("tok_per_s", "throughput", "tok/s", "throughput (tokens/s)", "result"),
        ("tpot_s.p99", "time per token, p99", "s", "time per token, p99", "result"),
        ("tpot_s.p50", "time per token, p50", "s", "time per token, median", "result"),
        ("bytes_per_token.dram", "bytes per token, DRAM", "B", "read from DRAM per token", "result"),
        ("headroom.byte_hit_rate", "headroom, byte hit rate", "", "headroom.byte_hit_rate", "result"),
        ("prefetch.used_bytes_per_token", "prefetched and used per token", "B", "", "result"),
        ("prefetch", "prefetch", "", "prefetch", "parameter"),
        ("profile", "device", "", "profile", "parameter"),
        ("adapter_bytes", "adapter", "B", "adapter_bytes", "parameter"),
        ("profile.flash.read_bytes_per_s", "Flash read rate", "B/s", "Flash speed", "device"),
        ("profile.compute.select_s_per_column", "compute select", "s/column", "", "device"),
        ("profile.energy.idle_w", "energy idle power", "W", "", "device"),
        ("key", "key", "", "key", "provenance"),
    ],
)
def test_a_column_has_label_unit_and_role(name: str, label: str, unit: str, axis: str, role: str) -> None:
    found = meaning_of(name)
    assert (found.label, found.unit, found.axis, found.role) == (label, unit, axis or name, role)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("bound", 3, "text"),
        ("tok_per_s", "fast", "a number"),
        ("slots.down", 5, "a list"),
        ("headroom.step", "one", "a list"),
    ],
)
def test_a_stored_result_of_another_kind_is_refused(name: str, value: object, rule: str) -> None:
    with pytest.raises(DipsimError, match=f"^row: {name}: got {value!r}; must be {rule}$"):
        check_row({"key": "ab", "error": None, "dipsim_version": "0.1.0", name: value}, "row")
