"""Figures show every row of their table, name their axes with units, and come with their data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dipsim import plots
from dipsim.results import Headroom

DRAM = pd.DataFrame(
    {
        "method": ["dip"] * 3 + ["dense"] * 3,
        "dram_bytes": [3e6, 1e6, 2e6] * 2,
        "tok_per_s": [30.0, 10, 20, 3, 1, 2],
        "retained_magnitude": [0.7, 0.8, 0.75, 1, 1, 1],
    }
)
POLICIES = pd.DataFrame(
    {"method": ["dip", "dip", "dip-ca"], "policy": ["lru", "belady", "lru"], "hit_rate": [0.4, 0.6, 0.8]}
)
DENSITIES = pd.DataFrame(
    {
        "device": ["phone"] * 5 + ["PC"] * 3,
        "reading": ["ideal", "ideal", "real", "real", "dense", "ideal", "real", "dense"],
        "density": [0.5, 0.25, 0.25, 0.5, 1, 0.5, 0.5, 1],
        "tok_per_s": [8.0, 16, 4, 2, 3, 80, 60, 20],
        "retained_magnitude": [0.8, 0.6, 0.62, 0.8, 1, 0.8, 0.8, 1],
    }
)


def test_throughput_by_dram_draws_a_sorted_line_per_method() -> None:
    figure = plots.throughput_by_dram(DRAM, "tiny")
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    dip, dense = "dip, retains 0.70\u20130.80", "dense, retains 1.00"
    assert lines == {dip: [[1, 10], [2, 20], [3, 30]], dense: [[1, 1], [2, 2], [3, 3]]}
    assert axes.get_xlabel() == "DRAM for this model (MB)"
    assert axes.get_ylabel() == "throughput (tokens/s)"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {dip, dense}
    assert axes.get_title() == "tiny"
    assert len({line.get_marker() for line in axes.get_lines()}) == 2  # told apart without colour


def test_throughput_by_density_has_a_panel_per_device_a_line_per_reading_and_dense_across() -> None:
    figure = plots.throughput_by_density(DENSITIES, "a model")
    phone, pc = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in phone.get_lines()}
    # A line across runs from edge to edge of the axes, in shares of their width.
    assert lines == {"ideal": [[0.25, 16], [0.5, 8]], "real": [[0.25, 4], [0.5, 2]], "dense": [[0, 3], [1, 3]]}
    assert [list(line.get_ydata()) for line in pc.get_lines()] == [[80], [60], [20, 20]]
    assert [axes.get_title() for axes in figure.axes] == ["phone", "PC"]
    assert phone.get_ylabel() == "throughput (tokens/s)"
    assert phone.get_yscale() == "log"
    assert phone.get_ylim() == pc.get_ylim()
    assert [label.get_text() for label in pc.get_xticklabels()] == ["0.25\n0.60\u20130.62", "0.5\n0.80"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ideal", "real", "dense"]
    assert figure.get_suptitle() == "a model"
    looks = {(line.get_marker(), line.get_linestyle(), line.get_color()) for line in phone.get_lines()}
    assert len({look[:2] for look in looks}) == 3  # told apart without colour
    np.testing.assert_allclose(figure.get_size_inches()[0] * 2.54, 17.8)  # a page's


def test_hit_rate_by_policy_has_a_bar_per_row() -> None:
    (axes,) = plots.hit_rate_by_policy(POLICIES).axes
    heights = {round(float(bar.get_x() + bar.get_width() / 2), 2): bar.get_height() for bar in axes.patches}
    assert heights == {-0.2: 0.4, 0.8: 0.6, 0.2: 0.8}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lru", "belady"]
    assert axes.get_ylim() == (0, 1)
    assert axes.get_ylabel() == "hit rate (hits / active columns)"


def test_headroom_waterfall_shows_what_each_step_leaves_and_saves() -> None:
    steps = Headroom.of([(1 / s, 0.1 * i, 0.15 * i) for i, s in enumerate([10, 8, 9, 4, 2, 1])], "a run").steps
    figure = plots.headroom_waterfall(steps, "a run")
    (axes,) = figure.axes
    bars = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in axes.patches]
    left, saved = bars[:6], bars[6:]
    assert left == [(0, 1e3 * s) for s in (10, 8, 9, 4, 2, 1)]
    assert saved == [(10e3, 0), (8e3, 2e3), (9e3, 0), (4e3, 5e3), (2e3, 2e3), (1e3, 1e3)]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "policy"
    assert labels[1] == "forced oracle\n(eviction policy)"
    assert "(ms)" in axes.get_xlabel()
    assert axes.texts[3].get_text() == " 0.250 tok/s, hits 0.45"
    assert axes.yaxis_inverted()


def test_perplexity_by_throughput_has_a_named_line_per_method_and_a_point_for_dense() -> None:
    methods = {"dense": [(1.0, 10.0)], "dip": [(2.0, 10.5), (4.0, 14.0)], "gate": [(1.5, 11.0), (3.0, 13.9)]}
    rows = [{"method": m, "tok_per_s": t, "perplexity": p} for m, runs in methods.items() for t, p in runs]
    figure = plots.perplexity_by_throughput(pd.DataFrame(rows), "tiny")
    (axes,) = figure.axes
    drawn = [[tuple(point) for point in line.get_xydata()] for line in axes.get_lines()]
    assert drawn == list(methods.values())
    assert len({line.get_marker() for line in axes.get_lines()}) == 3  # told apart without colour
    names = {text.get_text(): text for text in axes.texts}
    assert {name: text.xy for name, text in names.items()} == {m: runs[-1] for m, runs in methods.items()}
    assert names["dip"].xyann[1] - names["gate"].xyann[1] > 0.05  # they can be read
    colours = {line.get_color() for line in axes.get_lines()}
    assert colours == {text.get_color() for text in axes.texts}
    assert axes.get_xlabel() == "throughput (tokens/s)"
    assert axes.get_ylabel() == "perplexity"
    assert axes.get_title() == "tiny"
    np.testing.assert_allclose(figure.get_size_inches()[0] * 2.54, 8.5)


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_saved_with_data_beside_and_the_same_bytes_twice(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        plots.save(plots.throughput_by_dram(DRAM), DRAM, path)
    pd.testing.assert_frame_equal(pd.read_csv(paths[0].with_suffix(".csv")), DRAM)
    if suffix != ".pdf":  # a PDF holds the time it was made
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_width_is_a_column_of_a_paper() -> None:
    figure = plots.throughput_by_dram(DRAM)
    np.testing.assert_allclose(figure.get_size_inches()[0] * 2.54, 8.5)


def test_more_methods_than_colours_still_draw() -> None:
    many = pd.concat([POLICIES.assign(method=f"m{number}") for number in range(9)])
    assert len(plots.hit_rate_by_policy(many).axes[0].patches) == 27


def test_statistics_have_a_row_per_site_and_a_line_per_statistic() -> None:
    values = {"q25": 0.5, "q75": 2, "q90": 3, "q95": 4, "q99": 9, "top_quarter_share": 0.3, "columns_for_80": 0.7}
    values |= {"static_hit_rate": 0.6, "overlap_1": 0.63, "overlap_10": 0.58, "overlap_100": 0.57, "overlap_other": 0.5}
    rows = [
        {"site": site, "layer": layer} | {name: value + layer / 100 for name, value in values.items()}
        for site in ("mlp_input", "glu")
        for layer in (2, 0)
    ]
    rows[-1]["overlap_other"] = np.nan
    figure = plots.statistics_by_depth(pd.DataFrame(rows), "a trace")
    assert len(figure.axes) == 6
    drawn = [line.get_xydata() for axes in figure.axes[:3] for line in axes.get_lines()]
    expected = [[[0, value], [2, value + 0.02]] for value in values.values()]
    np.testing.assert_allclose(drawn, expected)
    assert len({line.get_marker() for line in figure.axes[0].get_lines()}) == 5
    assert [axes.get_ylabel() for axes in figure.axes[:3]] == [
        "mlp_input\nscore / median",
        "share",
        "share active again",
    ]
    assert figure.axes[3].get_ylabel() == "glu\nscore / median"
    assert {axes.get_xlabel() for axes in figure.axes[3:]} == {"layer"}
    labels = [text.get_text() for axes in figure.axes[3:] for text in axes.get_legend().get_texts()]
    assert len(set(labels)) == len(values)
