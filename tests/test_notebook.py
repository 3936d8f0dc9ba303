"""What a notebook shows: the numbers of each thing, every name of a stranger's escaped, bars in proportion."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

import dipsim as ds
from dipsim.notebook import as_bar, as_table
from dipsim.results.headline import headline

EVIL = "<script>alert(1)</script>&"


class Tags(HTMLParser):
    """Names of all elements, in order, and that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def things() -> dict[str, Any]:
    profile, trace = ds.HardwareProfile.load("oneplus-12-ufs4"), ds.Trace.open("tiny")
    simulation = ds.Simulation(profile, trace, ds.Dip(density=0.5), "lfu", dram="0.8x", tokens=16)
    found = {"profile": profile, "trace": trace, "model": trace.model, "simulation": simulation}
    result = simulation.run()
    return found | {"result": result, "headroom": result.headroom(), "explanation": simulation.explain()}


def test_everything_that_is_shown_in_a_notebook_is_whole() -> None:
    found = things()
    shown = {name: thing._repr_html_() for name, thing in found.items()}
    for name, html in shown.items():
        assert "table" in Tags(html).names, name
    for name, value in headline(found["result"].to_dict()).items():
        assert f"<b>{name}</b>" in shown["result"]
        assert value.replace("&", "&amp;").replace("'", "&#x27;") in shown["result"]
    assert found["headroom"].verdict in shown["headroom"]
    assert f"Token {found['explanation'].token} took" in shown["explanation"]
    assert "4.00 GB/s in sequence, latency 150 \u00b5s, 32 reads" in shown["profile"]
    assert "3 layers of 256" in shown["model"]
    assert "tiny" in shown["trace"]
    assert found["simulation"].title in shown["simulation"]


def test_a_bar_is_in_proportion() -> None:
    html = as_bar({"Flash": 3.0, "compute": 1.0, "nothing": 0.0})
    assert re.findall(r"width:([0-9.]+)%;background", html) == ["75.000", "25.000"]
    assert "Flash 75 %" in html
    assert "nothing" not in html
    assert "width:480px" in html  # no em: between the parts, letters have no width
    assert Tags(as_bar({})).names == ["div", "small"]


@pytest.mark.parametrize("html", [as_table(EVIL, {EVIL: EVIL}), as_bar({EVIL: 1.0})])
def test_names_are_escaped(html: str) -> None:
    assert "script" not in Tags(html).names
    assert "&lt;script&gt;" in html


def test_a_profile_of_a_stranger_is_escaped() -> None:
    profile = ds.HardwareProfile.load("a18-paper").with_values({"name": EVIL, "description": EVIL})
    assert "script" not in Tags(profile._repr_html_()).names


def test_a_figure_is_an_svg_twice_as_wide_as_in_print() -> None:
    frame = pd.DataFrame({"policy": ["lru", "lfu"] * 2, "density": [0.3, 0.3, 0.5, 0.5], "tok_per_s": [2.0, 3, 1, 2]})
    plot = ds.plots.curves(frame, x="density", by="policy")
    svg = ET.fromstring(plot._repr_svg_())
    box = [float(number) for number in svg.attrib["viewBox"].split()]
    shown = [float(svg.attrib[name].removesuffix("pt")) for name in ("width", "height")]
    assert shown == pytest.approx([2 * box[2], 2 * box[3]], rel=1e-5)
    assert box[2] == pytest.approx(72 * plot.figure.get_figwidth(), rel=1e-3)
