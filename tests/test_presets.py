"""Presets that ship: which there are, that their numbers are those of their sources, and what a variant changes."""

from __future__ import annotations

import math
import re
import tomllib
from typing import Any

import numpy as np
import pytest

from dipsim import Dip, HardwareProfile, Simulation, Trace, shipped
from dipsim.devices import Flash
from dipsim.profile import read

PRESETS = [
    "a18-paper",
    "ace-2-ufs31",
    "desktop-pcie4",
    "desktop-pcie5",
    "galaxy-a54",
    "galaxy-s23-ultra",
    "galaxy-s24-ultra",
    "galaxy-s25-ultra",
    "galaxy-s26-ultra",
    "ipad-pro-m2",
    "iphone-15-pro",
    "iphone-16",
    "iphone-16-pro",
    "jetson-agx-orin",
    "jetson-orin-nano-super",
    "macbook-air-m1",
    "macbook-m1-max",
    "oneplus-12-ufs4",
    "oneplus-12-ufs4-high",
    "oneplus-12-ufs4-hot",
    "oneplus-12-ufs4-low",
    "oneplus-15r",
    "oneplus-15r-hot",
    "oneplus-ace-3",
    "pixel-8-pro",
    "pixel-9-pro",
    "raspberry-pi-5-nvme",
    "raspberry-pi-5-nvme-gen3",
    "raspberry-pi-5-sd",
    "xiaomi-14",
]
FILES = shipped.names("hwprofiles", ".toml")
KIB = 1024


def numbers(name: str) -> dict[str, Any]:
    """Path -> value of everything in a profile that is given."""
    found: dict[str, Any] = {}

    def walk(table: dict[str, Any], path: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{path}{key}.")
            else:
                found[path + key] = value

    walk(HardwareProfile.load(name).model_dump(exclude_defaults=True, exclude={"name", "description"}), "")
    return found


def n_numbers(table: dict[str, Any]) -> int:
    """Numbers and points of curves in a parsed file."""
    each = (
        n_numbers(value) if isinstance(value, dict) else len(value) if isinstance(value, list) else 1
        for value in table.values()
        if not isinstance(value, str)
    )
    return sum(each)


def test_the_list_of_presets_is_closed_and_in_order() -> None:
    assert list(FILES) == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_loads_and_grades_every_number_on_its_own_line(name: str) -> None:
    profile = HardwareProfile.load(name)
    assert profile.name == name
    assert profile.description
    text = FILES[name].read_text()
    n_graded = 0
    for line in text.splitlines():
        assert len(line) <= 120, line
        code, _, comment = line.partition("#")
        if code.startswith("    [") or ("=" in code and not re.match(r"\w+ = [\"[]|schema", code)):
            assert re.match(r" (A|B|C|D|derived): \S", comment), line
            n_graded += 1
        # A comment's second line would stay when a variant replaces the value, and not come with it.
        assert code.strip() or not line.startswith(" " * 5), line
    own = tomllib.loads(text)
    assert own.pop("schema") == 1
    assert n_graded == n_numbers(own)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reaches_the_rates_of_its_own_curve(name: str) -> None:
    """A full queue of requests that take latency_s each is no slower than the curve says."""
    flash = HardwareProfile.load(name).flash
    for size, rate, *depth in flash.read_curve or []:
        assert rate <= flash.read_bytes_per_s * 1.01  # as measured, rounding included
        if flash.queue_depth is not None and not depth:
            assert flash.queue_depth * size / flash.latency_s >= 0.99 * rate, (size, rate)


@pytest.mark.parametrize("name", ["desktop-pcie4", "desktop-pcie5"])
def test_a_depth_table_is_whole_and_deeper_is_not_slower(name: str) -> None:
    flash = HardwareProfile.load(name).flash
    assert flash.read_curve is not None
    table = {(size, depth): rate for size, rate, depth in flash.read_curve}
    sizes, depths = ({key[i] for key in table} for i in (0, 1))
    assert len(table) == len(sizes) * len(depths) == len(flash.read_curve)
    assert max(depths) == flash.queue_depth
    for size in sizes:
        rates = [table[size, depth] for depth in sorted(depths)]
        assert rates == sorted(rates)


def test_measured_reads_of_pcie_4_by_size_and_depth() -> None:
    """The 64 and 256 KiB rows of a Phison PS5027-E27T, GB/s, as published."""
    flash = HardwareProfile.load("desktop-pcie4").flash
    table = {(size / KIB, depth): rate / 1e9 for size, rate, depth in flash.read_curve or []}
    for size, rates in {64: (0.49, 1.05, 3.06, 3.87, 3.90), 256: (1.06, 2.35, 5.22, 5.84, 5.88)}.items():
        assert [table[size, depth] for depth in (1, 4, 16, 64, 128)] == list(rates)
    assert table[4, 16] == pytest.approx(math.sqrt(0.544 * 1.96), abs=0.006)  # halfway from 8 to 32 in octaves
    assert table[4, 128] == pytest.approx(math.sqrt(1.96 * 4.92), abs=0.006)  # halfway from 32 to 512


@pytest.mark.parametrize(
    ("kib", "lanes", "mib_per_s"), [(128, 2, 953.6), (128, 4, 1486.1), (1024, 2, 2084.8), (4096, 4, 2205.7)]
)
def test_lanes_make_what_was_measured_on_the_phone_and_two_thirds_of_it_when_hot(
    kib: int, lanes: int, mib_per_s: float
) -> None:
    for name, share in (("oneplus-15r", 1), ("oneplus-15r-hot", 0.67)):
        batch = Flash(HardwareProfile.load(name).flash, lanes).rows(kib * KIB, np.array([60.0]))
        assert 60 * kib / KIB / batch.service_s[0] == pytest.approx(share * mib_per_s, rel=1e-3)


def test_one_lane_of_the_phone_comes_near_what_another_sweep_measured() -> None:
    """1,810 MiB/s of reads of 4 MiB, where the table, which begins at two lanes, has 2,172 for 2,460 of that sweep."""
    batch = Flash(HardwareProfile.load("oneplus-15r").flash, 1).rows(4096 * KIB, np.array([60.0]))
    assert 60 * 4 / batch.service_s[0] == pytest.approx(1810, rel=0.25)


FITS = {  # name: seconds of a read, bytes/s, sizes in KiB that were not fitted
    "iphone-16": (8e-6, 1.7e9, {1024}),
    "ace-2-ufs31": (10e-6, 2.1e9, {1024}),
    "macbook-m1-max": (5.2e-6, 6.1e9, {16, 1024}),
    "galaxy-a54": (13.1e-6, 1.0e9, {1024}),
    "ipad-pro-m2": (5.2e-6, 3.261e9, {1024}),
    "iphone-15-pro": (8e-6, 1.45e9, {1024}),
    "iphone-16-pro": (8e-6, 1.735e9, {1024}),
    "macbook-air-m1": (5.2e-6, 3.4e9, {1024}),
    "pixel-8-pro": (10e-6, 0.911e9, {1024}),
    "pixel-9-pro": (10e-6, 0.911e9, {1024}),
    "oneplus-12-ufs4-low": (8.0e-6, 3.70e9, {1024}),
    "oneplus-12-ufs4-high": (3.7e-6, 3.59e9, {1024}),
}


@pytest.mark.parametrize("name", FITS)
def test_fitted_curves_follow_their_formula(name: str) -> None:
    fixed_s, bytes_per_s, measured = FITS[name]
    points = HardwareProfile.load(name).flash.read_curve or []
    assert len(points) >= 9
    for size, rate in points:
        if size / KIB not in measured:
            assert rate == pytest.approx(size / (fixed_s + size / bytes_per_s), rel=0.01), size


def test_curve_p_is_two_lines_in_the_logarithm_of_size() -> None:
    points = dict(HardwareProfile.load("oneplus-12-ufs4").flash.read_curve or [])  # type: ignore[arg-type]
    for kib in (4, 8, 16, 32):
        assert points[kib * KIB] / 1e9 == pytest.approx(0.85 + 0.90 * math.log2(kib / 4) / 3, abs=0.006)
    for kib in (32, 64, 128, 256, 512):
        assert points[kib * KIB] / 1e9 == pytest.approx(1.75 + 1.75 * math.log2(kib / 32) / 4, abs=0.006)


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith(("galaxy-s2", "oneplus-ace", "xiaomi"))])
def test_phones_with_ufs_4_read_as_the_oneplus_12_does_and_no_faster_than_in_sequence(name: str) -> None:
    flash = HardwareProfile.load(name).flash
    curve_p = HardwareProfile.load("oneplus-12-ufs4").flash.read_curve or []
    expected = [(size, min(rate, flash.read_bytes_per_s)) for size, rate in curve_p]
    assert flash.read_curve == expected


@pytest.fixture(scope="module")
def tiny() -> Trace:
    return Trace.open("tiny")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_runs(tiny: Trace, name: str) -> None:
    """Both engines agree, on every unit; each of its own numbers is positive."""
    profile = HardwareProfile.load(name)
    for unit in (None, *(profile.compute.units if profile.compute else ())):
        rates = [
            Simulation(profile, tiny, Dip(density=0.5), "lru", dram="0.9x", tokens=4, unit=unit, engine=engine)
            .run()
            .to_dict()["tok_per_s"]
            for engine in ("compiled", "processes")
        ]
        assert 0 < rates[0] < math.inf
        assert rates[0] == pytest.approx(rates[1], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "latency_s", "knee_kib", "knee_rate"),
    [("jetson-orin-nano-super", 100e-6, 348, 3.465e9), ("jetson-agx-orin", 60e-6, 236, 7.3755e9)],
)
def test_jetsons_have_six_requests_in_flight_then_a_line_to_what_was_measured(
    name: str, latency_s: float, knee_kib: float, knee_rate: float
) -> None:
    first = 6 * 4 * KIB / latency_s
    for size, rate in HardwareProfile.load(name).flash.read_curve or []:
        line = first + (knee_rate - first) * math.log2(size / KIB / 4) / math.log2(knee_kib / 4)
        assert rate == pytest.approx(min(6 * size / latency_s, line, knee_rate), rel=0.012), size


@pytest.mark.parametrize(
    ("variant", "parent", "changed"),
    [
        ("oneplus-12-ufs4-low", "oneplus-12-ufs4", {"flash.read_curve"}),
        ("oneplus-12-ufs4-high", "oneplus-12-ufs4", {"flash.read_curve"}),
        ("oneplus-12-ufs4-hot", "oneplus-12-ufs4", {"flash.derate"}),
        (
            "raspberry-pi-5-nvme-gen3",
            "raspberry-pi-5-nvme",
            {"flash.read_bytes_per_s", "flash.queue_depth", "flash.read_curve"},
        ),
    ],
)
def test_a_variant_changes_what_it_says_and_nothing_else(variant: str, parent: str, changed: set[str]) -> None:
    ours, theirs = numbers(variant), numbers(parent)
    assert {key for key in ours | theirs if ours.get(key) != theirs.get(key)} == changed


def test_curve_p_lies_between_l_and_h_for_small_reads() -> None:
    low, default, high = (
        dict(HardwareProfile.load(f"oneplus-12-ufs4{suffix}").flash.read_curve or [])  # type: ignore[arg-type]
        for suffix in ("-low", "", "-high")
    )
    for size in (4 * KIB, 8 * KIB, 16 * KIB):
        assert low[size] < default[size] <= high[size]


def test_units_and_their_share_of_the_bus() -> None:
    phone = HardwareProfile.load("oneplus-12-ufs4")
    assert phone.compute is not None
    rates = {name: unit.dram_bytes_per_s for name, unit in phone.compute.units.items()}
    assert rates == {"npu": 56e9, "gpu": None, "cpu": 43.9e9}
    for name in PRESETS:
        profile = HardwareProfile.load(name)
        units = [] if profile.compute is None else [profile.compute, *profile.compute.units.values()]
        for unit in units:
            assert (unit.dram_bytes_per_s or 0) <= profile.dram.read_bytes_per_s


@pytest.mark.parametrize("name", PRESETS)
def test_the_effective_text_loads_to_the_same_profile(name: str) -> None:
    text = read(FILES[name]).as_string()
    assert HardwareProfile.parse(tomllib.loads(text), "text") == HardwareProfile.load(name)
    own = tomllib.loads(FILES[name].read_text())
    if "extends" in own:
        assert text.startswith(f"# {name} extends {own['extends']}.\n")
        assert "Grades: A primary source" in text
    else:
        assert text == FILES[name].read_text()


def test_the_page_about_presets_has_their_numbers() -> None:
    page = (FILES["a18-paper"].parent / "README.md").read_text()
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]]
        for line in page.split("## The same run")[0].splitlines()
        if line.startswith("| `")
    ]
    assert sorted(row[0] for row in rows) == PRESETS
    for name, *cells in (row for row in rows if len(row) > 3):
        profile = HardwareProfile.load(name)
        flash, dram = profile.flash, profile.dram
        assert float(cells[0]) * 1e6 == pytest.approx(flash.read_bytes_per_s)
        # In ascending order of depth, so that the deepest stays.
        points = {size: rate for size, rate, *_ in flash.read_curve or []}
        for cell, size in zip(cells[1:3], (4 * KIB, 64 * KIB), strict=True):
            is_known = not points or min(points) <= size  # else all that is read costs as much as the smallest measured
            expected = points.get(size, flash.read_bytes_per_s) / 1e6
            assert (float(cell) == pytest.approx(expected)) if is_known else (cell == "-"), name
        assert cells[3] == (f"{flash.latency_s * 1e6:g} µs" if flash.latency_s else "-")
        assert cells[4] == str(flash.queue_depth or "-")
        assert float(cells[6]) * 1e9 == pytest.approx(dram.capacity_bytes - dram.reserved_bytes)
        rates = [rate for rate in (dram.read_bytes_per_s, dram.peak_bytes_per_s) if rate is not None]
        assert [float(cell) * 1e9 for cell in cells[7].split(" of ")] == pytest.approx(rates)


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("oneplus-12")])
def test_a_big_core_is_in_the_measured_curve_and_a_little_one_is_not(name: str) -> None:
    """PowerInfer-2, Table 1: of 4 KB reads a big core makes 1,076 MB/s and a little one 762, above and below the 850 of
    curves P and H."""
    profile, counts = HardwareProfile.load(name), np.array([1.0, 2.0, 40.0, 5000.0])
    assert profile.flash.submit_s == pytest.approx(4096 / 1076e6, rel=0.01)
    none, own, little = (
        Flash(profile.with_values({"flash.submit_s": submit_s}).flash)
        for submit_s in (0.0, profile.flash.submit_s, 4096 / 762e6)
    )
    for kib in (4, 8, 24, 512):
        plain_s = none.rows(kib * KIB, counts).service_s
        assert own.rows(kib * KIB, counts).service_s.tolist() == plain_s.tolist()
        slowed_s = little.rows(kib * KIB, counts).service_s
        submitted_s = (counts - 1) * 4096 / 762e6 + plain_s[0]
        assert slowed_s == pytest.approx(np.maximum(plain_s, submitted_s))
        is_slower = kib == 4 and name in ("oneplus-12-ufs4", "oneplus-12-ufs4-high")
        assert (slowed_s[-1] > plain_s[-1]) == is_slower
