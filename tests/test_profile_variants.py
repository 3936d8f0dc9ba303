"""Variants of profiles: files that extend others, with the origin of every number, and values set for a run."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dipsim import DipsimError, HardwareProfile
from dipsim.profile import read

PARENT = """schema = 1
name = "parent"
description = "theirs"

# Where numbers come from.

[flash]
read_bytes_per_s = 2e9  # A: theirs
latency_s = 1e-4  # B: theirs
page_bytes = 4096  # C: theirs
read_curve = [
    # Their curve.
    [4096, 1e9],  # A: their first
    [8192, 1.5e9],  # A: their second
]

[dram]
capacity_bytes = 8e9  # A: theirs
read_bytes_per_s = 40e9  # A: theirs
dma_writes = true  # D: theirs

[compute]
ops_per_s = 1e12  # D: theirs

[compute.units.gpu]
ops_per_s = 2e12  # D: theirs
launch_s = 1e-5  # D: theirs
"""


def variant(tmp_path: Path, text: str, parent: str = PARENT) -> Path:
    """The path of `mine.toml`, which extends `parent.toml` beside it."""
    (tmp_path / "parent.toml").write_text(parent)
    (tmp_path / "mine.toml").write_text('extends = "parent.toml"\n' + text)
    return tmp_path / "mine.toml"


def test_a_variant_has_its_own_values_and_otherwise_the_others(tmp_path: Path) -> None:
    path = variant(tmp_path, "[flash]\nlatency_s = 2e-4\nderate = 0.5\n[energy]\nidle_w = 1.0\n")
    mine, theirs = (HardwareProfile.load(tmp_path / name).model_dump() for name in ("mine.toml", "parent.toml"))
    assert path.stem == mine["name"] == "mine"
    theirs["name"] = "mine"
    theirs["flash"] |= {"latency_s": 2e-4, "derate": 0.5}
    per = {"flash_j_per_byte": None, "dram_j_per_byte": None, "compute_j_per_op": None}
    theirs["energy"] = per | {"flash_busy_w": None, "idle_w": 1.0}
    assert mine == theirs


def test_units_are_merged_key_by_key(tmp_path: Path) -> None:
    text = "[compute.units.gpu]\nlaunch_s = 3e-5\n[compute.units.npu]\nops_per_s = 9e12\n"
    compute = HardwareProfile.load(variant(tmp_path, text)).compute
    assert compute is not None
    assert compute.ops_per_s == 1e12
    assert {name: (unit.ops_per_s, unit.launch_s) for name, unit in compute.units.items()} == {
        "gpu": (2e12, 3e-5),
        "npu": (9e12, 0.0),
    }


def test_names_descriptions_and_whom_a_file_extends(tmp_path: Path) -> None:
    path = variant(tmp_path, 'name = "ours"\ndescription = "better"\n')
    assert (HardwareProfile.load(path).name, HardwareProfile.load(path).description) == ("ours", "better")
    (tmp_path / "mine.toml").write_text('extends = "oneplus-12-ufs4"\n')  # by name, from any folder
    assert HardwareProfile.load(path).dram == HardwareProfile.load("oneplus-12-ufs4").dram
    # A shipped name goes before a file of that name, as it does on the command line.
    (tmp_path / "a18-paper").write_text(PARENT)
    (tmp_path / "mine.toml").write_text('extends = "a18-paper"\n')
    assert HardwareProfile.load(path).flash.read_bytes_per_s == 1e9


def test_paths_begin_where_the_file_lies_and_chains_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variant(tmp_path, "[flash]\nlatency_s = 2e-4\nderate = 0.5\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "third.toml").write_text('extends = "../mine.toml"\n[flash]\nderate = 0.25\n')
    profile = HardwareProfile.load("inner/third.toml")
    flash = profile.flash
    assert (profile.name, flash.derate, flash.latency_s, flash.page_bytes) == ("third", 0.25, 2e-4, 4096)
    text = read(Path("inner/third.toml")).as_string()
    assert text.startswith("# third extends ../mine.toml.\n# mine extends parent.toml.\nschema = 1\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'extends = "oneplus-12-ufs"',
            "extends: profile: neither a name nor a file, got 'oneplus-12-ufs'; did you mean",
        ),
        ('extends = "no/where.toml"', "extends: profile: neither a name nor a file, got 'no/where.toml'"),
        ("extends = 3", "extends: got 3; must be a profile's name or path"),
        ('extends = "mine.toml"', "extends: got 'mine.toml', which leads back to '"),
        ('extends = "a18-paper"\n[flash]\nderate = 2', "flash.derate: got 2; input should be less than or equal to 1"),
        ('extends = "a18-paper"\n[flash]\nderat = 1', "flash.derat: unknown key; did you mean 'derate'"),
        ('extends = "a18-paper"\n[flash]\nlatency_s = "1"', "flash.latency_s: got '1'"),
        ('extends = "a18-paper"\nflash = 3', "flash: got 3"),
        ('extends = "a18-paper"\n[flash', "not valid TOML"),
        ('extend = "a18-paper"', "extend: unknown key"),
    ],
)
def test_what_is_wrong_in_a_variant_is_said_of_its_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(DipsimError) as caught:
        HardwareProfile.load(tmp_path / "mine.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}: {message}")
    assert "\n" not in str(caught.value)


def test_what_is_wrong_in_the_other_file_is_said_of_that(tmp_path: Path) -> None:
    path = variant(tmp_path, "", parent="[flash")
    with pytest.raises(DipsimError, match=f"^{re.escape(str(tmp_path / 'parent.toml'))}: not valid TOML"):
        HardwareProfile.load(path)


def test_a_cycle_is_found_however_its_paths_are_spelled(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "p.toml").write_text('extends = "../b/q.toml"\n')
    (tmp_path / "b" / "q.toml").write_text('extends = "../b/../a/p.toml"\n')
    with pytest.raises(DipsimError, match=r"q.toml: extends: got '../b/../a/p.toml', which leads back to '.*p.toml'"):
        HardwareProfile.load(tmp_path / "a" / "p.toml")


def test_every_value_is_shown_with_its_own_origin(tmp_path: Path) -> None:
    text = (
        "# About mine.\n[flash]\nlatency_s = 2e-4  # D: mine\npage_bytes = 512\n"
        "read_curve = [\n    # My curve.\n    [512, 1e9],  # D: my point\n]\n"
        "[dram]\ndma_writes = false  # C: mine\n"
    )
    lines = read(variant(tmp_path, text)).as_string().splitlines()
    assert lines[:2] == ["# mine extends parent.toml.", "# About mine."]
    assert {"read_bytes_per_s = 2e9  # A: theirs", "# Where numbers come from."} <= set(lines)
    assert {"latency_s = 2e-4  # D: mine", "dma_writes = false  # C: mine"} <= set(lines)
    assert "page_bytes = 512" in lines  # no origin is given, and that of the number it replaces is not its own
    assert {"    # My curve.", "    [512, 1e9],  # D: my point"} <= set(lines)
    assert not [line for line in lines if "Their curve" in line or "their first" in line]


WAYS_OF_PARENTS = {
    "sections": PARENT,
    "no end of line": "[flash]\nread_bytes_per_s = 1e9\n[dram]\ncapacity_bytes = 2e9\nread_bytes_per_s = 3e9 # last",
    "dotted": "flash.read_bytes_per_s = 1e9\ndram.capacity_bytes = 2e9 # A\ndram.read_bytes_per_s = 3e9\n",
    "inline": "flash = {read_bytes_per_s = 1e9}\ndram = {capacity_bytes = 2e9, read_bytes_per_s = 3e9}\n"
    "compute = {units = {cpu = {ops_per_s = 2.0}}}\n",
    "scattered": "[compute]\nops_per_s = 1.0\n[flash]\nread_bytes_per_s = 1e9\n[compute.units.cpu]\nops_per_s = 2.0\n"
    "[dram]\ncapacity_bytes = 2e9\nread_bytes_per_s = 3e9\n[compute.units.gpu]\nops_per_s = 4.0\n",
}
WAYS_OF_VARIANTS = [
    "",
    'description = "d"  # why\n',
    "[flash]\nderate = 0.5  # D: hot\n",
    "flash.derate = 0.5\nflash.latency_s = 0.25\n",
    "flash = {derate = 0.5}\n",
    "[flash]\nread_curve = [[5, 5]]\n",
    "[dram]\nread_bytes_per_s = 4e9\ndma_writes = true  # D\n",
    "[dram]\ndma_writes = false\n",
    "[energy]\nidle_w = 2.0\n",
    "energy.idle_w = 2.0\n",
    "energy = {idle_w = 2.0}\n",
    "[compute.units.cpu]\nlaunch_s = 5.0  # x\n[compute.units.dsp]\nlaunch_s = 6.0\n",
    "[compute]\nlaunch_s = 1.0\nunits.cpu.launch_s = 3.0\n",
    "[compute]\nlaunch_s = 1.0\n[energy]\nidle_w = 1.0\n[compute.units.npu]\nlaunch_s = 3.0\n",
]


def merged(theirs: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The slow twin: plain tables, key by key."""
    both = theirs | own
    for key in theirs.keys() & own.keys():
        if isinstance(theirs[key], dict) and isinstance(own[key], dict):
            both[key] = merged(theirs[key], own[key])
    return both


@pytest.mark.parametrize(("way", "text"), [*itertools.product(WAYS_OF_PARENTS, WAYS_OF_VARIANTS)])
def test_any_way_of_writing_tables_merges_and_reads_back(tmp_path: Path, way: str, text: str) -> None:
    path = variant(tmp_path, text, WAYS_OF_PARENTS[way])
    expected = merged(tomllib.loads(WAYS_OF_PARENTS[way]), tomllib.loads(text) | {"name": "mine"})
    assert read(path).unwrap() == expected
    shown = read(path).as_string()
    assert tomllib.loads(shown) == expected
    (tmp_path / "shown.toml").write_text(shown)
    assert HardwareProfile.load(tmp_path / "shown.toml") == HardwareProfile.load(path)


def test_values_set_for_a_run() -> None:
    phone = HardwareProfile.load("oneplus-12-ufs4")
    changed = phone.with_values(
        {
            "flash.derate": 0.67,
            "flash.queue_depth": 1,
            "flash.page_bytes": None,
            "flash.read_curve": [[4096, 5e8]],
            "dram.read_bytes_per_s": 80e9,  # above the peak, which another value raises
            "dram.peak_bytes_per_s": 90e9,
            "compute.units.gpu.launch_s": 1e-5,
            "compute.units.dsp.ops_per_s": 3e12,
            "energy": None,
        }
    )
    expected = phone.model_dump(mode="json", by_alias=True)
    expected["flash"] |= {"derate": 0.67, "queue_depth": 1, "page_bytes": None, "read_curve": [[4096, 5e8]]}
    expected["dram"] |= {"read_bytes_per_s": 80e9, "peak_bytes_per_s": 90e9}
    expected["compute"]["units"]["gpu"]["launch_s"] = 1e-5
    nothing = dict.fromkeys(("precision_bits", "prompt_ops_per_s", "dram_bytes_per_s", "busy_w"))
    nothing |= {"launch_s": 0.0, "select_s_per_column": 0.0}
    expected["compute"]["units"]["dsp"] = {"ops_per_s": 3e12, "sparse_efficiency": 1.0} | nothing
    expected["energy"] = None
    assert changed.model_dump(mode="json", by_alias=True) == expected
    assert phone == HardwareProfile.load("oneplus-12-ufs4")
    assert phone.with_values({}) == phone


def test_a_value_in_a_section_that_is_not_there() -> None:
    changed = HardwareProfile.load("a18-paper").with_values({"compute.launch_s": 1e-6, "energy.idle_w": 2})
    assert changed.compute is not None
    assert changed.energy is not None
    assert (changed.compute.launch_s, changed.compute.ops_per_s, changed.energy.idle_w) == (1e-6, None, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flash.derat": 0.5}, "flash.derat: unknown key; did you mean 'derate'"),
        ({"flsh.derate": 0.5}, "flsh: unknown key; did you mean 'flash'"),
        ({"compute.units.gpu.op_per_s": 1}, "compute.units.gpu.op_per_s: unknown key; did you mean 'ops_per_s'"),
        ({"flash.derate": 0}, "flash.derate: got 0; input should be greater than 0"),
        ({"flash.queue_depth": 2.0}, "flash.queue_depth: got 2.0; input should be a valid integer"),
        ({"flash.read_bytes_per_s": "2GB"}, "flash.read_bytes_per_s: got '2GB'; input should be a valid number"),
        ({"flash.read_bytes_per_s": None}, "flash.read_bytes_per_s: got None"),
        ({"flash.derate.hot": 0.5}, "flash.derate.hot: 'derate' is a value, not a table"),
        ({"flash.gap_bytes.x": 0.5}, "flash.gap_bytes.x: 'gap_bytes' is a value, not a table"),
        ({"dram.peak_bytes_per_s": 1e9}, "dram: got {"),
    ],
)
def test_a_value_that_cannot_be_set(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=f"^{re.escape('oneplus-12-ufs4: ' + message)}"):
        HardwareProfile.load("oneplus-12-ufs4").with_values(values)
