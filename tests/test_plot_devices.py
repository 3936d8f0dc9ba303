"""Devices side by side: their numbers are those of their profiles, their tokens/s those of a simulation, and the figure
shows each of them once."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import small_model
from test_cli import run

import dipsim as ds
from dipsim import plots, shipped
from dipsim.cli import app
from dipsim.devices import Flash
from dipsim.estimation import estimate
from dipsim.estimation.devices import devices
from dipsim.units import scaled, three_digits

PHONES = ["iphone-16", "galaxy-a54", "a18-paper"]
COLUMNS = {
    "Flash\nGB/s": ("flash.random_4k_bytes_per_s", "flash.random_64k_bytes_per_s", "flash.sequential_bytes_per_s"),
    "DRAM\nGB/s": ("profile.dram.read_bytes_per_s", "profile.dram.peak_bytes_per_s"),
    "DRAM\nGB": ("dram.capacity_bytes", "profile.dram.capacity_bytes"),
    "model\ntokens/s": ("tok_per_s", "tok_per_s_in_dram"),
}


def made_up(n_devices: int) -> pd.DataFrame:
    """No two numbers alike, in an order that no figure can want; the last has no data sheet of DRAM."""
    n = np.random.default_rng(3).permutation(n_devices) + 1.0
    frame = pd.DataFrame({"profile": [f"phone-{i:g}" for i in n], "model": "own", "method": "dense", "bound": "dram"})
    for place, column in enumerate(itertools.chain(*COLUMNS.values())):
        frame[column] = (n + place / 10) * (1 if "tok" in column else 1e9)
    frame.loc[n_devices - 1, "profile.dram.peak_bytes_per_s"] = np.nan
    return frame


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    return ds.compare_devices(PHONES, "tiny")


def test_a_row_has_the_numbers_of_its_profile(few: pd.DataFrame) -> None:
    assert few["profile"].tolist() == PHONES
    for row in few.to_dict("records"):
        profile = ds.HardwareProfile.load(row["profile"])
        assert row["flash.sequential_bytes_per_s"] == profile.flash.read_bytes_per_s * profile.flash.derate
        assert row["flash.random_4k_bytes_per_s"] == 4096 / Flash(profile.flash).one_of_many(4096)[1]
        assert row["flash.random_64k_bytes_per_s"] == 65536 / Flash(profile.flash).one_of_many(65536)[1]
        assert row["profile.dram.read_bytes_per_s"] == profile.dram.read_bytes_per_s
        assert row["dram.capacity_bytes"] == profile.dram.capacity_bytes - profile.dram.reserved_bytes


def test_tokens_per_s_are_those_of_the_dense_model_of_an_estimate(few: pd.DataFrame) -> None:
    for row in few.to_dict("records"):
        assert (
            row["tok_per_s"] == estimate("tiny", row["profile"], method="dip").results["dense"].to_dict()["tok_per_s"]
        )
        assert row["tok_per_s_in_dram"] == row["tok_per_s"]  # it is small


def test_what_does_not_fit_would_be_faster_if_it_did(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'extends = "a18-paper"\n[dram]\ncapacity_bytes = 1e6\nread_bytes_per_s = 60e9\nreserved_bytes = 0\n'
    )
    told: list[tuple[int, int]] = []
    frame = ds.compare_devices(["a18-paper", str(tmp_path / "mine.toml")], "tiny", lambda *now: told.append(now))
    whole, mine = frame.to_dict("records")
    assert told == [(1, 2), (2, 2)]
    assert (mine["profile"], mine["bound"]) == ("mine", "flash")
    assert mine["tok_per_s"] < mine["tok_per_s_in_dram"] == pytest.approx(whole["tok_per_s"], rel=0.01)


def test_a_mixture_has_its_experts_cached() -> None:
    model = small_model(mixture=ds.Mixture(n_experts=8, experts_per_token=2, expert_size=32))
    frame = ds.compare_devices(["galaxy-a54"], model)
    expected = estimate(model, "galaxy-a54").results["default"].to_dict()["tok_per_s"]
    assert (frame["tok_per_s"][0], frame["method"][0]) == (expected, "experts")


def test_all_devices_are_those_that_are_no_variant() -> None:
    names = devices()
    every = shipped.names("hwprofiles", ".toml")
    assert {*every} - {*names} == {name for name, path in every.items() if "\nextends = " in path.read_text()}
    assert len(names) >= 25


def test_a_row_for_each_device_in_every_panel_the_fastest_above() -> None:
    frame = made_up(25)
    plot = plots.draw(frame, "devices", title="phones")
    shown = frame.sort_values("tok_per_s", ascending=False, ignore_index=True)
    pd.testing.assert_frame_equal(plot.data, shown)
    assert [axes.get_title() for axes in plot.figure.axes] == [*COLUMNS]
    assert [text.get_text() for text in plot.figure.axes[0].get_yticklabels()] == shown["profile"].tolist()
    top, bottom = (plot.figure.axes[0].transData.transform((1, row))[1] for row in (0, 24))
    assert top > bottom
    for axes, columns in zip(plot.figure.axes, COLUMNS.values(), strict=True):
        unit = 1 if "tok" in columns[0] else 1e9
        assert len(axes.get_lines()) == len(columns)
        for column, line in zip(columns, reversed(axes.get_lines()), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), shown[column] / unit)
            assert np.asarray(line.get_ydata()).tolist() == [*range(25)]
            is_open = column in ("profile.dram.peak_bytes_per_s", "profile.dram.capacity_bytes", "tok_per_s_in_dram")
            assert (line.get_markerfacecolor() == "white") == is_open
            least, most = axes.get_xlim()
            assert least < shown[column].min() / unit
            assert shown[column].max() / unit < most
    assert [text.get_text() for text in plot.figure.axes[-1].texts] == [three_digits(n) for n in shown["tok_per_s"]]
    assert plot.figure.get_suptitle() == "phones\nmodel: own, dense"
    by = plots.compared_devices(frame, by="flash.random_4k_bytes_per_s").data["flash.random_4k_bytes_per_s"]
    assert by.is_monotonic_decreasing


@pytest.mark.parametrize("n_devices", [1, 25])
@pytest.mark.parametrize("inches", [3.3465, 6.7])
def test_nothing_stands_on_anything_else(n_devices: int, inches: float, tmp_path: Path) -> None:
    style = tmp_path / "own.mplstyle"
    style.write_text(f"figure.figsize: {inches}, 2.51\n")
    with plots.looks(style):
        figure = plots.compared_devices(made_up(n_devices)).figure
        figure.draw_without_rendering()
        texts: list[Any] = [*figure.axes[0].get_yticklabels(), *figure.axes[-1].texts, figure.legends[0]]
        for axes in figure.axes:
            least, most = axes.get_xlim()
            labels = [label for label in axes.get_xticklabels() if least <= label.get_position()[0] <= most]
            texts += [axes.title, *labels]
        boxes = [text.get_window_extent() for text in texts]
    assert figure.get_figwidth() == inches
    for one, other in itertools.combinations(boxes, 2):
        assert not one.shrunk(0.99, 0.8).overlaps(other.shrunk(0.99, 0.8))
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)


def test_what_cannot_be_drawn_is_said(few: pd.DataFrame) -> None:
    refused: dict[str, Any] = {
        "plot: no column 'profile'; a figure of devices is drawn of what compare_devices gives": {
            "frame": few.drop(columns="profile")
        },
        "plot: got 101 devices; at most 100 can be read": {"frame": made_up(101)},
        "by: unknown name, got 'bound'": {"frame": few, "by": "bound"},
    }
    for message, arguments in refused.items():
        with pytest.raises(ds.DipsimError, match=f"^{message}"):
            plots.draw(kind="devices", **arguments)
    with pytest.raises(ds.DipsimError, match="profile: got 'galaxy-a54' twice"):
        ds.compare_devices(["galaxy-a54", "galaxy-a54"], "tiny")
    with pytest.raises(ds.DipsimError, match="did you mean 'galaxy-a54'"):
        ds.compare_devices(["galaxy-a55"], "tiny")


def test_the_command_needs_no_results(tmp_path: Path, few: pd.DataFrame) -> None:
    profiles = [word for name in PHONES for word in ("--profile", name)]
    words = ("plot", "devices", "-o", "f.svg", *profiles, "--model", "tiny")
    done = run(*words, "--where", "tok_per_s > 0", "--by", "dram.capacity_bytes", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    expected = few.sort_values(["dram.capacity_bytes"], ascending=False, ignore_index=True)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "f.csv"), expected, check_dtype=False)
    texts = {"".join(text.itertext()) for text in ET.parse(tmp_path / "f.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {*PHONES, "model: tiny, dense", "4 KiB at random", "if all fitted"} <= texts
    refused = {
        ("results", "devices"): "kind: figure 'devices' takes no results: dipsim plot devices -o FIGURE",
        ("results",): "kind: missing; dipsim plot results KIND -o FIGURE, KIND a name of 'dipsim list figures'",
        ("results", "dram", "--model", "tiny"): "model: figure 'dram' has no such option; 'devices' has it",
        ("results", "dram", *profiles): "profile: figure 'dram' has no such option; 'devices' has it",
        ("devices", "dram"): "results: no such folder, got 'devices'",
        (
            "devices",
            "--x",
            "bound",
            "--profile",
            "a18-paper",
            "--model",
            "tiny",
        ): "x: figure 'devices' has no such option; it has by, title",
    }
    for arguments, message in refused.items():
        with pytest.raises(ds.DipsimError, match=f"^{re.escape(message)}"):
            app(["plot", *arguments, "-o", str(tmp_path / "g.svg")], standalone_mode=False)
    assert not list(tmp_path.glob("g.*"))


def test_devices_are_listed_in_a_line_each_that_fits_a_terminal() -> None:
    lines = run("list", "devices", columns=80).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[1:]}
    assert list(rows) == list(shipped.names("hwprofiles", ".toml"))
    assert rows["galaxy-a54"] == "1.00 GB/s 238 MB/s 4.00 GB 25.6 GB/s 4.90 Top/s"
    assert rows["a18-paper"] == "1.00 GB/s 1.00 GB/s 8.00 GB 60.0 GB/s -"
    flash = ds.HardwareProfile.load("oneplus-15r-hot").flash
    assert rows["oneplus-15r-hot"].startswith(scaled(flash.read_bytes_per_s * flash.derate, "B/s"))
    assert run("show", "device", "galaxy-a54").stdout == shipped.names("hwprofiles", ".toml")["galaxy-a54"].read_text()
    with pytest.raises(ds.DipsimError, match="did you mean 'galaxy-a54'"):
        app(["show", "device", "galaxy-a5"], standalone_mode=False)


def test_a_device_that_plugs_in_is_listed_below_those_that_ship(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        'import dipsim as ds\n\n\n@ds.register_device(\'slow\')\nclass Slow(ds.FlashDevice):\n    """Slow Flash."""\n'
    )
    done = run("list", "devices", "--plugin", "mine.py", cwd=tmp_path)
    assert done.stdout.index("xiaomi-14") < done.stdout.index("slow ") < done.stdout.index("Slow Flash.")
    assert "Slow Flash." in run("show", "device", "slow", "--plugin", "mine.py", cwd=tmp_path).stdout
