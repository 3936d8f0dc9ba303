"""Names as people type them: capitals and underscores do not matter, a share may be per cent, and shells complete."""

from __future__ import annotations

import os
import subprocess

import pytest
from test_cli import COMMAND

import dipsim as ds
from dipsim.cli.completion import completing
from dipsim.errors import choose, meant
from dipsim.policies import policies
from dipsim.units import parse_dram


def test_capitals_and_underscores_do_not_matter() -> None:
    assert ds.HardwareProfile.load("OnePlus_12-UFS4") == ds.HardwareProfile.load("oneplus-12-ufs4")
    assert ds.ModelSpec.load("Phi_3_Medium") == ds.ModelSpec.load("phi-3-medium")
    assert policies["LRU"] is policies["lru"]
    profile, trace = ds.HardwareProfile.load("A18-Paper"), ds.Trace.open("tiny")
    spelled = [ds.Simulation(profile, trace, ds.Dip(density=0.5), name, tokens=8).config for name in ("LFU", "lfu")]
    assert spelled[0] == spelled[1]


@pytest.mark.parametrize(
    ("name", "choices", "found"),
    [
        ("lru", ["LRU", "lru"], "lru"),
        ("Lru", ["LRU", "lru"], None),
        ("Lru", ["lru", "lfu"], "lru"),
        ("s3_FIFO", ["s3-fifo"], "s3-fifo"),
        ("s3 fifo", ["s3-fifo"], None),
    ],
)
def test_a_name_means_one_thing_or_none(name: str, choices: list[str], found: str | None) -> None:
    assert meant(name, choices) == found


def test_what_is_meant_is_named_as_it_is() -> None:
    assert choose("unit", "NPU", ("cpu", "npu")) == "npu"
    with pytest.raises(ds.DipsimError, match="unit: unknown name, got 'gpu'"):
        choose("unit", "gpu", ("cpu", "npu"))


def test_methods_are_swept_by_any_spelling() -> None:
    common = {"trace": "tiny", "tokens": 8, "dram": "50%"}
    upper, lower = (ds.sweep(common | {"method": names}) for names in (["DIP", "Dense"], ["dip", "dense"]))
    assert upper["key"].tolist() == lower["key"].tolist()


def test_a_share_may_be_per_cent() -> None:
    assert parse_dram("50%") == parse_dram("0.5x") == (0.5, "model")
    assert parse_dram("12.5 %") == (0.125, "model")
    for refused in ("0%", "-5%", "%", "200000%"):
        with pytest.raises(ds.DipsimError):
            parse_dram(refused)


@pytest.mark.parametrize(
    ("option", "begun", "found"),
    [
        ("profile", "oneplus-15", ["oneplus-15r", "oneplus-15r-hot"]),
        ("method", "dip", ["dip", "dip-ca"]),
        ("model", "phi-3-me", ["phi-3-medium"]),
        ("trace", "ti", ["tiny"]),
        ("figure", "par", ["pareto"]),
    ],
)
def test_names_are_completed(option: str, begun: str, found: list[str]) -> None:
    complete = completing(option)
    assert complete is not None
    assert complete(begun) == found
    assert completing("density") is None


def test_the_shell_is_told() -> None:
    words = "dipsim simulate tiny --profile oneplus-15"
    asked = {"_DIPSIM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(COMMAND, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["oneplus-15r", "oneplus-15r-hot"]
