"""What there is to choose from, in Python: the names of `dipsim list`, with numbers that one can work with."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import cloudpickle
import pytest
from test_cli import run
from test_notebook import EVIL, Tags

import dipsim as ds
from dipsim import policies
from dipsim.cli.plugged import PLUGGED, registry_of
from dipsim.listing import Listing
from dipsim.registry import ships_with_dipsim

KINDS = ("profiles", "models", "fitted", "figures", "methods", "policies", "budgets", "layouts", "prefetchers", "loads")


@pytest.mark.parametrize("kind", KINDS)
def test_python_and_the_command_line_list_the_same(kind: str) -> None:
    listing = getattr(ds, kind)()
    shown = run("list", kind).stdout
    assert len(listing) >= 3
    registry = registry_of(kind) if kind in PLUGGED else {}
    theirs = [name for name in registry if not ships_with_dipsim(registry[name])]  # of other tests, in this process
    for name in set(listing) - set(theirs):
        assert f"\n{name} " in f"\n{shown}", name
    _, *lines = repr(listing).splitlines()
    assert all(line.startswith(f"{name} ") for line, name in zip(lines, listing, strict=True))
    assert Tags(listing._repr_html_()).names.count("tr") == 1 + len(listing)
    assert list(listing.frame.index) == listing


def test_numbers_are_in_si_units_and_shown_with_a_prefix() -> None:
    phone = ds.profiles().frame.loc["oneplus-12-ufs4"]
    assert (phone["flash_bytes_per_s"], phone["usable_dram_bytes"], phone["latency_s"]) == (4e9, 19e9, 150e-6)
    (row,) = (line for line in repr(ds.profiles()).splitlines() if line.startswith("oneplus-12-ufs4 "))
    assert row.split()[1:3] == ["4.00", "GB/s"]
    assert "150 \u00b5s" in row
    paper = ds.profiles().frame.loc["a18-paper"]
    assert paper[["latency_s", "compute_ops_per_s"]].isna().all()
    # 40 layers of 3 matrices 5120 x 17920, at 4 bits
    assert ds.models().frame.loc["phi-3-medium", "mlp_bytes"] == 40 * 3 * 5120 * 17920 / 2


def test_a_listing_is_a_list_of_names() -> None:
    assert "lfu" in ds.policies()
    assert ds.policies() == list(policies.policies)
    frame = ds.sweep({"trace": "tiny", "policy": ds.policies()[1:3], "tokens": 8, "dram": "0.8x"}, workers=1)
    assert list(frame["policy"]) == ds.policies()[1:3]


def test_what_is_registered_is_listed_and_a_strangers_words_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(ds.ScorePolicy):
        __doc__ = f"Evict {EVIL}.\n\nSource: {EVIL}."

    monkeypatch.setitem(policies.policies._entries, EVIL, Own)
    listing = ds.policies()
    assert listing.rows[EVIL] == {"what_it_does": f"Evict {EVIL}.", "source": EVIL}
    assert "script" not in Tags(listing._repr_html_()).names


def test_a_column_with_nothing_in_it_is_left_out() -> None:
    listing = Listing("thing", {"a": {"n": 1, "x": None, "y": ""}, "b": {"n": 1234.5, "t_s": 0.002, "y": ""}})
    assert repr(listing).splitlines() == ["thing  n     t", "a      1     -", "b      1234  2.00 ms"]
    assert repr(Listing("thing", {})) == "no thing"


def test_units_of_numbers_are_told_from_counts() -> None:
    rows = {
        "low": {"tok_per_s": 3.4567, "flash_bytes_per_token": 2.5e9, "energy_j_per_token": 1.25, "hit_rate": math.nan}
    }
    assert repr(Listing("scores", rows)).splitlines() == [
        "scores  tok per s  flash per token  energy per token  hit rate",
        "low     3.46       2.50 GB          1.25 J            -",
    ]


def test_folders_go_to_workers_by_name() -> None:
    assert pickle.loads(cloudpickle.dumps(policies)) is policies
    assert Path(policies.__file__).name == "__init__.py"
