"""Figures show every row of their table and nothing else, name their axes with units, and come with their data."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from dipsim import DipsimError, plots
from dipsim.plots.labels import apart
from dipsim.plots.pareto import on_front
from dipsim.plots.quantities import as_text, on_axis
from dipsim.results import Headroom

DENSITIES, DRAMS = (0.5, 0.25), (3e9, 1e9, 2e9)


def sweep(methods: tuple[str, ...] = ("dip", "dip-ca"), policies: tuple[str, ...] = ("lru", "lfu")) -> pd.DataFrame:
    """Made-up results in an order that no figure can want, no two numbers alike; dense has no density."""
    rows: list[dict[str, Any]] = []
    for method, policy, density, dram in itertools.product(methods, policies, DENSITIES, DRAMS):
        if method == "dense":
            density = None
        n = len(rows) + 1
        rows.append({"key": f"k{n}", "error": None, "method": method, "policy": policy, "density": density})
        rows[-1] |= {"gamma": 0.2 if method == "dip-ca" else None, "dram": f"{dram / 1e9:g}GB", "profile": "phone"}
        rows[-1] |= {
            "profile.flash.read_bytes_per_s": 1e9,
            "tok_per_s": 1 + n / 10,
            "hit_rate": n / 100,
            "bound": "flash",
        }
        rows[-1] |= {"dram.capacity_bytes": dram, "dram.cache_bytes": dram / 2, "retained_magnitude": 1 - n / 100}
        rows[-1] |= {"slots.down": [n, n + 2], "hit_rate_by_layer.down": [n / 100, n / 200]}
        rows[-1] |= {"slots.up_gate": [2 * n, 2 * n], "hit_rate_by_layer.up_gate": [n / 300, n / 400]}
        rows[-1] |= {"hit_rate_by_group.down": n / 110, "hit_rate_by_group.up_gate": n / 120}
        rows[-1] |= {"token_s_percentiles": list(n * (1 + np.arange(101) / 100) / 1e3)}
        rows[-1] |= {
            f"critical_path_s_per_token.{cause}": n * (i + 1) / 1e3 for i, cause in enumerate(("compute", "dram"))
        }
    return pd.DataFrame(rows)


def points(axes: Axes) -> list[list[list[float]]]:
    """Of each line, in the order in which they were drawn."""
    return [np.asarray(line.get_xydata()).round(9).tolist() for line in axes.get_lines()]


def expected(rows: pd.DataFrame, x: str, y: str, x_unit: float = 1) -> list[list[float]]:
    """Points of a line through these rows, from left to right."""
    return sorted([round(a / x_unit, 9), round(b, 9)] for a, b in zip(rows[x], rows[y], strict=True))


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_a_single_line_has_its_accuracy_below_the_axis() -> None:
    """There is no name beside it that could have brackets."""
    frame = sweep(("dip",), ("lfu",))
    own = frame[frame["density"] == 0.5]["retained_magnitude"]
    (axes,) = plots.draw(frame, "dram", where="density == 0.5").figure.axes
    span = f"{own.min():.2f}\u2013{own.max():.2f}"
    assert axes.get_xlabel() == f"DRAM for this model (GB)\nscore magnitude retained ({span})"


def test_a_line_for_each_method_from_left_to_right_in_units_of_people() -> None:
    frame = sweep()
    own = frame[(frame["policy"] == "lfu") & (frame["density"] == 0.5)]
    plot = plots.draw(frame, "dram", where="policy == 'lfu' and density == 0.5", title="a phone")
    (axes,) = plot.figure.axes
    lines = [own[own["method"] == method] for method in ("dip", "dip-ca")]
    assert points(axes) == [expected(line, "dram.capacity_bytes", "tok_per_s", 1e9) for line in lines]
    assert axes.get_xlabel() == "DRAM for this model (GB)\nin brackets: score magnitude retained"
    assert axes.get_ylabel() == "throughput (tokens/s)"
    assert axes.get_title() == "a phone"
    spans = [f"{rows['retained_magnitude'].min():.2f}\u2013{rows['retained_magnitude'].max():.2f}" for rows in lines]
    assert {text.get_text() for text in axes.texts} == {f"dip ({spans[0]})", f"dip-ca ({spans[1]})"}
    assert {text.get_color() for text in axes.texts} == {line.get_color() for line in axes.get_lines()}
    assert len({line.get_marker() for line in axes.get_lines()}) == 2  # told apart without colour
    np.testing.assert_allclose(plot.figure.get_size_inches()[0] * 2.54, 8.5, rtol=1e-4)
    names = ["method", "dram.capacity_bytes", "tok_per_s", "retained_magnitude", "key"]
    ordered = own.sort_values(["method", "dram.capacity_bytes"])[names].reset_index(drop=True)
    pd.testing.assert_frame_equal(plot.data, ordered)


def test_a_panel_for_each_density_and_a_common_legend() -> None:
    frame = sweep()
    plot = plots.draw(frame, "dram", where="method == 'dip'", by="policy", panels="density")
    dip = frame[frame["method"] == "dip"]
    for axes, density in zip(plot.figure.axes, sorted(DENSITIES), strict=True):
        assert axes.get_title() == f"density {density:g}"
        own = dip[dip["density"] == density]
        lines = [own[own["policy"] == policy] for policy in ("lru", "lfu")]
        assert points(axes) == [expected(line, "dram.capacity_bytes", "tok_per_s", 1e9) for line in lines]
    assert [name.partition(" ")[0] for name in legend_of(plot.figure)] == ["lru", "lfu"]
    assert plot.figure.axes[0].get_ylim() == plot.figure.axes[1].get_ylim()
    assert len(plot.data) == len(dip)
    assert plot.figure.get_supxlabel().startswith("DRAM for this model (GB)")


def test_who_has_no_density_is_a_line_across() -> None:
    frame = sweep(("dip", "dense"), ("lru",)).drop_duplicates(["method", "density", "dram"])
    plot = plots.draw(frame, "density", where="dram == '2GB'")
    (axes,) = plot.figure.axes
    across = frame[(frame["method"] == "dense") & (frame["dram"] == "2GB")]["tok_per_s"].iloc[0]
    assert points(axes)[1] == [[0, across], [1, across]]  # from edge to edge, in shares of the width
    assert len(plot.data) == 3


def test_hit_rate_has_a_line_for_each_policy_and_a_panel_for_each_method() -> None:
    frame = sweep()
    plot = plots.draw(frame, "hit-rate", where="density == 0.5")
    assert [axes.get_title() for axes in plot.figure.axes] == ["dip", "dip-ca"]
    own = frame[(frame["density"] == 0.5) & (frame["method"] == "dip-ca")]
    lines = [own[own["policy"] == policy] for policy in ("lru", "lfu")]
    assert points(plot.figure.axes[1]) == [expected(line, "dram.cache_bytes", "hit_rate", 1e9) for line in lines]
    assert legend_of(plot.figure) == ["lru", "lfu"]


def test_slots_are_those_of_a_group_with_its_own_hit_rate() -> None:
    frame = sweep()
    where = "density == 0.5 and method == 'dip'"
    plot = plots.draw(frame, "hit-rate", where=where, x="slots", panels="group")
    own = frame.query(where)
    assert {axes.get_title() for axes in plot.figure.axes} == {"down", "up_gate"}
    for axes in plot.figure.axes:
        name = axes.get_title()
        for drawn, policy in zip(points(axes), ("lru", "lfu"), strict=True):
            rows = own[own["policy"] == policy]
            means = rows[f"slots.{name}"].map(lambda slots: sum(slots) / 2)
            assert drawn == expected(rows.assign(mean=means), "mean", f"hit_rate_by_group.{name}")
    with pytest.raises(DipsimError, match=r"differ in more than what is drawn: .*group \(down, up_gate\)"):
        plots.draw(frame, "hit-rate", where=where, x="slots")


def test_names_on_the_axis_have_bars() -> None:
    frame = sweep().query("density == 0.5 and dram == '2GB'")
    plot = plots.curves(frame[1:], "policy", "hit_rate", by="method")
    (axes,) = plot.figure.axes
    heights = {round(float(bar.get_x() + bar.get_width() / 2), 2): bar.get_height() for bar in axes.patches}
    rates = frame.set_index(["method", "policy"])["hit_rate"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lfu", "lru"]
    drawn = {("dip", "lfu"): -0.2, ("dip-ca", "lfu"): 0.2, ("dip-ca", "lru"): 1.2}
    assert heights == {place: rates[run] for run, place in drawn.items()}
    assert legend_of(plot.figure) == ["dip", "dip-ca"]
    assert {text.get_text() for text in axes.texts} == {f"{rates[run]:.2f}" for run in drawn}
    assert len({bar.get_hatch() for bar in axes.patches}) == 2  # told apart without colour


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_front_is_what_no_row_beats(pairs: list[tuple[int, int]]) -> None:
    one, other = (pd.Series(values, dtype=float, index=range(7, 7 + len(pairs))) for values in zip(*pairs, strict=True))
    beaten = [any(c >= a and d >= b and (c, d) != (a, b) for c, d in pairs) for a, b in pairs]
    found = on_front(one, other)
    assert found.index.equals(one.index)
    assert found.tolist() == [not each for each in beaten]


def test_pareto_fills_what_no_run_beats_and_prefers_perplexity() -> None:
    frame = sweep()
    for better, column in ((1, "retained_magnitude"), (-1, "perplexity")):
        shuffled = frame.assign(tok_per_s=[(7 * n) % 24 + 1 for n in range(24)])
        plot = plots.draw(shuffled, "pareto", by="method", over="policy,dram")
        (axes,) = plot.figure.axes
        runs = list(zip(plot.data["tok_per_s"], better * plot.data[column], strict=True))
        front = [not any(c >= a and d >= b and (c, d) != (a, b) for c, d in runs) for a, b in runs]
        assert plot.data["on_front"].tolist() == front
        line, *marks = axes.get_lines()
        assert line.get_linestyle() == "--"
        filled = [mark for mark in marks if mark.get_markerfacecolor() != "none"]
        shown = sorted(tuple(point) for mark in filled for point in np.asarray(mark.get_xydata()))
        assert shown == sorted((a, better * b) for (a, b), on in zip(runs, front, strict=True) if on)
        assert shown == [tuple(point) for point in np.asarray(line.get_xydata())]
        assert sum(len(np.asarray(mark.get_xydata())) for mark in marks) == len(frame)
        assert legend_of(plot.figure) == ["dip", "dip-ca", "Pareto front"]
        assert axes.get_ylabel() == ("perplexity" if better < 0 else "score magnitude retained")
        frame = frame.assign(perplexity=np.linspace(20, 10, 24) ** 2 / 10)


def test_layers_are_a_cell_each() -> None:
    frame = sweep()
    where = "policy == 'lru' and dram == '2GB'"
    plot = plots.draw(frame, "layers", where=where, panels="method")
    panels = [axes for axes in plot.figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == [
        f"{m}, {g}" for m in ("dip", "dip-ca") for g in ("down", "up_gate")
    ]
    for axes in panels:
        assert axes.get_ylim() == (-0.5, 1.5)  # the first layer lies below
        method, group = axes.get_title().split(", ")
        own = frame.query(where)[lambda rows, method=method: rows["method"] == method].sort_values("density")
        np.testing.assert_array_equal(
            axes.images[0].get_array(), np.array(own[f"hit_rate_by_layer.{group}"].tolist()).T
        )
    assert [label.get_text() for label in panels[-1].get_xticklabels()] == ["0.25", "0.5"]
    assert len(plot.data) == 2 * 2 * 2 * 2


def test_headroom_waterfall_shows_what_each_step_leaves_and_saves() -> None:
    steps = Headroom.of([(1 / s, 0.1 * i, 0.15 * i) for i, s in enumerate([10, 8, 9, 4, 2, 1])], "a run").steps
    row = sweep()[:1].assign(**{f"headroom.{name}": [steps[name].tolist()] for name in steps})
    for plot in (plots.headroom_waterfall(steps, "a run"), plots.draw(row, "headroom", title="a run")):
        (axes,) = plot.figure.axes
        bars = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in axes.patches]
        left, saved = bars[:6], bars[6:]
        assert left == [(0, s) for s in (10, 8, 9, 4, 2, 1)]
        assert saved == [(10, 0), (8, 2), (9, 0), (4, 5), (2, 2), (1, 1)]
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels[:2] == ["policy", "forced oracle\n(eviction policy)"]
        assert "(s)" in axes.get_xlabel()
        assert axes.texts[3].get_text() == " 0.250 tok/s, hits 0.45"
        assert axes.yaxis_inverted()
        pd.testing.assert_frame_equal(plot.data, steps, check_column_type=False)


def test_breakdown_stacks_the_causes_of_each_run() -> None:
    frame = sweep().query("density == 0.5 and policy == 'lru'")
    plot = plots.draw(frame, "breakdown")
    (axes,) = plot.figure.axes
    dram, compute = (frame[f"critical_path_s_per_token.{cause}"] * 1e3 for cause in ("dram", "compute"))
    bars = [(round(bar.get_x(), 9), round(bar.get_width(), 9)) for bar in axes.patches]
    assert bars == [*((0, round(s, 9)) for s in dram), *zip(dram.round(9), compute.round(9), strict=True)]
    names = [f"{method}, {dram}" for method, dram in zip(frame["method"], frame["dram"], strict=True)]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.get_xlabel() == "time of a token (ms)"
    assert legend_of(plot.figure) == ["DRAM", "compute"]
    assert plot.data.groupby("cause")["s_per_token"].sum().to_dict() == pytest.approx(
        {"dram": dram.sum() / 1e3, "compute": compute.sum() / 1e3}
    )


def test_token_times_mark_percentiles_of_each_run() -> None:
    frame = sweep().query("density == 0.5 and dram == '2GB'")
    plot = plots.draw(frame, "latency", by="policy", panels="method")
    for axes, method in zip(plot.figure.axes, ("dip", "dip-ca"), strict=True):
        own = frame[frame["method"] == method]["token_s_percentiles"]
        lines = [line for line in points(axes) if len(line) > 1]
        assert lines == [
            [[round(1e3 * times[p], 9), row] for p in (0, 100)] for row, times in enumerate(own)
        ]  # fastest to slowest
        boxes = [(round(box.get_x(), 9), round(box.get_x() + box.get_width(), 9)) for box in axes.patches]
        assert boxes == [(round(1e3 * times[25], 9), round(1e3 * times[75], 9)) for times in own]
        marks = [line[0] for line in points(axes) if len(line) == 1]
        assert marks == [[pytest.approx(1e3 * times[p]), row] for row, times in enumerate(own) for p in (50, 95, 99)]
    assert [label.get_text() for label in plot.figure.axes[0].get_yticklabels()] == ["lru", "lfu"]
    assert legend_of(plot.figure) == ["middle half", "p50", "p95", "p99", "fastest to slowest"]
    assert len(plot.data) == 4 * 101


def regimes(policies: dict[str, float]) -> pd.DataFrame:
    """Each policy is so much faster for every byte per second of DRAM; the others gain by Flash."""
    flash, dram = (1e9, 4e9, 1.6e10), (1e10, 2e10)
    rows = [
        {"profile.flash.read_bytes_per_s": f, "profile.dram.read_bytes_per_s": d, "policy": name, "bound": f"{f > 1e9}"}
        | {"tok_per_s": gain * d / 1e9 + (1 - gain) * f / 1e8}
        for (f, d), (name, gain) in itertools.product(itertools.product(flash, dram), policies.items())
    ]
    return pd.DataFrame(rows)


def cells(plot: plots.Plot) -> dict[tuple[float, float], str]:
    """The middle of each cell, on a logarithmic and a linear axis, and the name of its colour in the legend."""
    (legend,) = plot.figure.legends
    named = {
        to_hex(patch.get_facecolor()): text.get_text()
        for patch, text in zip(legend.get_patches(), legend.get_texts(), strict=True)
    }
    found = {}
    for area in plot.figure.axes[0].collections:
        for path in area.get_paths():
            (left, low), (right, high) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            found[round(float(left * right) ** 0.5, 6), round(float(low + high) / 2, 6)] = named[
                to_hex(area.get_facecolor()[0])
            ]
    return found


def test_regime_map_colours_each_cell_by_the_winner() -> None:
    frame = regimes({"lru": 0.0, "lfu": 1.0})
    plot = plots.draw(frame, "regimes")
    places = {}
    for (f, d), own in frame.groupby(["profile.flash.read_bytes_per_s", "profile.dram.read_bytes_per_s"]):
        best = own["tok_per_s"].max()
        winners = own[own["tok_per_s"] == best]["policy"].tolist()
        places[f / 1e9, d / 1e9] = winners[0] if len(winners) == 1 else "no difference"
    assert len(set(places.values())) == 3
    assert cells(plot) == places
    shown = plot.data.set_index(["profile.flash.read_bytes_per_s", "profile.dram.read_bytes_per_s"])["winner"]
    assert {(f / 1e9, d / 1e9): name for (f, d), name in shown.items()} == places
    (axes,) = plot.figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Flash speed (GB/s)", "DRAM speed (GB/s)")


def test_regime_map_shows_what_bounds_a_run() -> None:
    frame = regimes({"lru": 0.3})
    plot = plots.draw(frame, "regimes", by="bound")
    bounds = frame.set_index(["profile.flash.read_bytes_per_s", "profile.dram.read_bytes_per_s"])["bound"]
    assert cells(plot) == {(f / 1e9, d / 1e9): bound for (f, d), bound in bounds.items()}
    with pytest.raises(DipsimError, match=r"differ in more than what is drawn: policy \(lru, lfu\)"):
        plots.draw(regimes({"lru": 0.3, "lfu": 0.4}), "regimes", by="bound")


def test_one_device_may_bound_all_runs() -> None:
    plot = plots.draw(regimes({"lru": 0.3}).assign(bound="flash"), "regimes", by="bound")
    assert set(cells(plot).values()) == {"flash"}


def test_devices_stand_at_their_place_and_share_it() -> None:
    x, y = "profile.flash.read_bytes_per_s", "profile.dram.read_bytes_per_s"
    devices = pd.DataFrame({"profile": ["a", "b", "c", "far"], x: [1e9, 4e9, 1e9, 1e12], y: [2e10, 1e10, 2e10, 2e10]})
    (axes,) = plots.draw(regimes({"lru": 0.0, "lfu": 1.0}), "regimes", devices=devices).figure.axes
    assert points(axes) == [[[1, 20]], [[4, 10]]]
    assert [text.get_text() for text in axes.texts] == ["a +1", "b"]


def test_names_of_points_do_not_lie_on_each_other() -> None:
    x, y = "profile.flash.read_bytes_per_s", "profile.dram.read_bytes_per_s"
    places = [(2e9 * (1 + i / 30), 1.5e10 * (1 + i / 50)) for i in range(4)]
    devices = pd.DataFrame([{"profile": f"a long name {i}", x: a, y: b} for i, (a, b) in enumerate(places)])
    figure = plots.draw(regimes({"lru": 0.0, "lfu": 1.0}), "regimes", devices=devices).figure
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_names_beside_lines_are_a_line_apart(places: list[float]) -> None:
    falling = sorted(places, reverse=True)
    found = apart(falling, 0.1)
    assert all(above - below >= 0.1 - 1e-9 for above, below in itertools.pairwise(found))
    assert min(found) >= -1e-9
    if all(above - below >= 0.1 for above, below in itertools.pairwise(falling)):
        assert found == falling


@pytest.mark.parametrize(
    ("column", "values", "label", "shown"),
    [
        ("dram.cache_bytes", [1e9, 5e8], "weight cache (GB)", [1, 0.5]),
        ("profile.flash.read_bytes_per_s", [4e6], "Flash speed (MB/s)", [4]),
        ("tpot_s.mean", [2e-3, 0], "time per token, mean (ms)", [2, 0]),
        ("profile.flash.gap_bytes", [4096], "profile.flash.gap_bytes (kB)", [4.096]),
        ("tok_per_s", [5000], "throughput (tokens/s)", [5000]),
        ("bytes_per_token.flash", [0], "read from Flash per token (B)", [0]),
        ("slots", [5000], "slots of a layer (mean)", [5000]),
    ],
)
def test_axes_have_units_of_people(column: str, values: list[float], label: str, shown: list[float]) -> None:
    found, scaled = on_axis(column, pd.Series(values, dtype=float))
    assert (found, scaled.tolist()) == (label, pytest.approx(shown))


def test_names_are_no_formulas(tmp_path: Path) -> None:
    name = r"$\nothing{$"
    frame = pd.DataFrame({"policy": ["lru", "lru", name, name], "density": [0.1, 0.2] * 2, "tok_per_s": [1, 2, 3, 4]})
    plots.curves(frame, "density", by="policy", title=name).save(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8").count(name) >= 2


def test_values_have_names() -> None:
    values = {"policy": "lfu", "density": 0.4, "profile.flash.read_bytes_per_s": 4e9, "tokens": 128, "gamma": np.nan}
    named = [as_text(column, value) for column, value in values.items()]
    assert named == ["lfu", "density 0.4", "4.00 GB/s", "tokens 128", "no gamma"]


def test_an_axis_that_spans_more_than_a_decade_is_logarithmic() -> None:
    for factor, scale in ((9, "linear"), (11, "log")):
        frame = pd.DataFrame({"density": [0.1, 0.2], "tok_per_s": [1, factor]})
        assert plots.draw(frame, "density").figure.axes[0].get_yscale() == scale


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_saved_with_data_beside_and_the_same_bytes_twice(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    frame = sweep().query("policy == 'lru'")
    for path in paths:
        plot = plots.draw(frame, "pareto", panels="density", over="dram")
        plot.save(path)
    pd.testing.assert_frame_equal(pd.read_csv(paths[0].with_suffix(".csv")), plot.data)
    if suffix != ".pdf":  # a PDF holds the time it was made
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_what_the_user_has_set_for_other_figures_does_not_matter(tmp_path: Path) -> None:
    frame = sweep().query("policy == 'lru' and density == 0.5")
    plots.draw(frame, "dram").save(tmp_path / "a.svg")
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 20}):
        plots.draw(frame, "dram").save(tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_style_of_ones_own_replaces_lines_of_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.mplstyle"
    mine.write_text('# wide\nfigure.figsize: 7, 2\naxes.prop_cycle: cycler(color=["ff0000", "00ff00"])\n')
    frame = sweep().query("policy == 'lru' and density == 0.5")
    with plots.looks(mine):
        plot = plots.draw(frame, "dram")
    assert tuple(plot.figure.get_size_inches()) == (7, 2)
    assert [to_hex(line.get_color()) for line in plot.figure.axes[0].get_lines()] == ["#ff0000", "#00ff00"]
    assert plots.draw(frame, "dram").figure.get_size_inches()[0] < 4  # outside, all is as before


def test_a_style_of_more_pixels_than_fit_into_memory_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.mplstyle"
    mine.write_text("savefig.dpi: 100000\naxes.prop_cycle: cycler(marker=['*', 'o'])\n")
    with plots.looks(mine), pytest.raises(DipsimError, match="at 100000 dpi; at most 100,000,000 pixels"):
        plots.draw(sweep(), "latency", "policy == 'lru' and density == 0.5").save(tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.mplstyle"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("font.size 9", "line 2: got 'font.size 9'; must be 'KEY: VALUE'"),
        ("font.sise: 9", "line 2: got 'font.sise: 9'"),
        ("font.size: huge-ish", "line 2: .*font.size"),
        ("text.usetex: True", "line 2: text.usetex: runs other programs"),
        ("axes.prop_cycle: cycler('color', 'rgb') * 1000000000", "line 2: axes.prop_cycle: a product"),
    ],
)
def test_a_style_that_matplotlib_would_not_understand_is_refused(tmp_path: Path, text: str, message: str) -> None:
    mine = tmp_path / "mine.mplstyle"
    mine.write_text(f"font.size: 9\n{text}\n")
    with pytest.raises(DipsimError, match=message), plots.looks(mine):
        pass


@pytest.mark.parametrize("index", range(21))
def test_every_look_is_its_own_in_grey_too(index: int) -> None:
    with plots.looks():
        own = plots.look(index)
        assert all(
            (own.marker, own.line) != (plots.look(other).marker, plots.look(other).line) for other in range(index)
        )


def test_statistics_have_a_row_per_site_and_a_line_per_statistic() -> None:
    values = {"q25": 0.5, "q75": 2, "q90": 3, "q95": 4, "q99": 9, "top_quarter_share": 0.3, "columns_for_80": 0.7}
    values |= {"static_hit_rate": 0.6, "overlap_1": 0.63, "overlap_10": 0.58, "overlap_100": 0.57, "overlap_other": 0.5}
    rows = [
        {"site": site, "layer": layer} | {name: value + layer / 100 for name, value in values.items()}
        for site in ("mlp_input", "glu")
        for layer in (2, 0)
    ]
    rows[-1]["overlap_other"] = np.nan
    figure = plots.statistics_by_depth(pd.DataFrame(rows), "a trace").figure
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
