"""Who competes in a figure: oracles bound, methods at one accuracy, devices that a map was made for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_plots import cells, legend_of, points, sweep

from dipsim import DipsimError, DipsimWarning, plots, register_policy
from dipsim.plots.fidelity import speed_at
from dipsim.plots.marking import made_for
from dipsim.plots.oracles import are_oracles
from dipsim.policies import Lru, policies

FLASH, DRAM = "profile.flash.read_bytes_per_s", "profile.dram.read_bytes_per_s"


def runs(policy_names: list[str], prefetch: list[str], speed: list[int], error: list[int]) -> pd.DataFrame:
    rows = zip(policy_names, prefetch, speed, error, strict=True)
    names = ("policy", "prefetch", "tok_per_s", "mlp_error")
    return pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows]).assign(method="dip")


RUN = st.tuples(
    st.sampled_from(["lru", "lfu", "belady"]), st.sampled_from(["none", "oracle"]), st.integers(1, 6), st.integers(0, 6)
)


@settings(max_examples=10, deadline=None)
@given(st.lists(RUN, min_size=1, max_size=12))
@example([("belady", "none", 9, 0), ("lru", "none", 1, 5)])
def test_an_oracle_is_never_on_the_front_and_beats_nobody(rows: list[tuple[str, str, int, int]]) -> None:
    frame = runs(*(list(column) for column in zip(*rows, strict=True)))  # type: ignore[arg-type]
    data = plots.pareto(frame, over="policy,prefetch").data
    online = [(s, e) for policy, prefetch, s, e in rows if policy != "belady" and prefetch != "oracle"]
    for row in data.itertuples():
        at = (row.tok_per_s, row.mlp_error)
        is_oracle = row.policy == "belady" or row.prefetch == "oracle"
        beaten = any(s >= at[0] and e <= at[1] and (s, e) != at for s, e in online)
        assert row.is_oracle == is_oracle
        assert row.on_front == (not is_oracle and not beaten)


def test_what_an_oracle_reaches_is_a_dotted_line_of_crosses() -> None:
    frame = runs(["lru", "lru", "belady", "belady"], ["none"] * 4, [1, 2, 3, 4], [1, 3, 1, 2])
    plot = plots.pareto(frame, by="policy")
    (axes,) = plot.figure.axes
    front, bound, *marks = axes.get_lines()
    assert (front.get_linestyle(), bound.get_linestyle()) == ("--", ":")
    assert points(axes)[:2] == [[[1, 1], [2, 3]], [[3, 1], [4, 2]]]
    crosses = [line for line in marks if line.get_marker() == "x"]
    assert sorted(point for line in crosses for point in np.asarray(line.get_xydata()).tolist()) == [[3, 1], [4, 2]]
    assert legend_of(plot.figure) == ["lru", "belady", "Pareto front", "bound (oracle)"]


def test_devices_have_fronts_of_their_own() -> None:
    frame = runs(["lru"] * 4, ["none"] * 4, [1, 2, 10, 20], [1, 3, 1, 3]).assign(profile=["a", "a", "b", "b"])
    plot = plots.pareto(frame, by="profile")
    assert plot.data["on_front"].all()
    assert points(plot.figure.axes[0])[:2] == [[[1, 1], [2, 3]], [[10, 1], [20, 3]]]
    assert plots.pareto(frame, over="profile").data["on_front"].tolist() == [False, False, True, True]


def test_an_oracle_is_a_bound_among_lines_and_bars() -> None:
    frame = sweep(("dip",), ("lru", "belady")).query("density == 0.5")
    (axes,) = plots.draw(frame, "dram").figure.axes
    styles = {str(line.get_label()): line.get_linestyle() for line in axes.get_lines()}
    assert styles == {"lru": "-", "belady": ":"}
    assert legend_of(axes.get_figure())[1].endswith("), bound")
    (axes,) = plots.draw(frame.query("dram == '2GB'"), "dram", x="policy").figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lru", "belady\n(bound)"]
    faces = {round(float(bar.get_x() + bar.get_width() / 2)): bar.get_facecolor()[3] for bar in axes.patches}
    assert faces == {0: 1, 1: 0}  # a bar, and an outline


@pytest.fixture
def _a_policy_of_a_user() -> Iterator[None]:
    @register_policy("crystal-ball")
    class Ball(Lru):
        needs_future: ClassVar[bool] = True

    yield
    del policies._entries["crystal-ball"]


@pytest.mark.usefixtures("_a_policy_of_a_user")
def test_whose_class_says_so_is_an_oracle_and_what_is_not_loaded_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"policy": ["crystal-ball", "somebody-elses", None, "lru", "belady"]})
    monkeypatch.setattr(type(policies), "_load", lambda *_: pytest.fail("a name in a file loaded a package"))
    assert are_oracles(frame).tolist() == [True, False, False, False, True]


def test_oracles_do_not_win_on_a_map() -> None:
    gains = {"lru": 1, "lfu": 2, "belady": 3}
    rows = [
        {FLASH: f, DRAM: d, "policy": policy, "tok_per_s": float(gain)}
        for f, d, (policy, gain) in itertools.product((1e9, 2e9), (1e10, 2e10), gains.items())
    ]
    with pytest.warns(DipsimWarning, match="^4 runs of belady are left out, as they saw the future$"):
        plot = plots.draw(pd.DataFrame(rows), "regimes")
    assert set(plot.data["winner"]) == {"lfu"}


LOSSES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 50)), min_size=1, max_size=6, unique_by=lambda run: run[0]
)


@settings(max_examples=40, deadline=None)
@given(LOSSES, st.integers(-2, 24))
def test_speed_at_an_accuracy_lies_between_two_runs(found: list[tuple[int, int]], wanted: int) -> None:
    """Twin: the best of the runs that are accurate enough, and of every straight line between neighbours."""
    ordered = sorted(found)
    reached = [speed for loss, speed in ordered if loss <= wanted]
    for (low, slow), (high, fast) in itertools.pairwise(ordered):
        if low <= wanted <= high:
            reached.append(slow + (fast - slow) * (wanted - low) / (high - low))
    loss, speed = (pd.Series(column, dtype=float) for column in zip(*found, strict=True))
    assert speed_at(loss, speed, wanted) == pytest.approx(max(reached) if reached else np.nan, nan_ok=True)


def methods() -> pd.DataFrame:
    """`rough` is fastest at every density and least accurate; at one accuracy, `fine` is, but where Flash is fast."""
    rows = []
    for f, d, density in itertools.product((1e9, 4e9, 1.6e10), (1e10, 2e10), (0.2, 0.4, 0.6, 0.8)):
        loss = 1 - density
        rows.append({"method": "fine", "density": density, "mlp_error": loss / 2, "tok_per_s": 10 + 20 * loss})
        speed = (30 if f > 1e10 else 12) + 15 * loss
        rows.append({"method": "rough", "density": density, "mlp_error": loss, "tok_per_s": speed})
        for row in rows[-2:]:
            row |= {FLASH: f, DRAM: d}
    return pd.DataFrame(rows)


def test_a_map_holds_methods_to_one_accuracy() -> None:
    plot = plots.draw(methods(), "regimes", by="method", at=0.3)
    # fine at 0.3: loss 0.6, 22 tokens/s; rough: loss 0.3, 16.5 or 34.5.
    assert {name for (f, _), name in cells(plot).items() if f < 10} == {"fine"}
    assert {name for (f, _), name in cells(plot).items() if f > 10} == {"rough"}
    assert plot.data["tok_per_s"].round(9).unique().tolist() == [22, 34.5]
    assert plot.data["mlp_error"].unique().tolist() == [0.3]
    assert plot.figure.axes[0].get_xlabel().endswith("\nall at MLP error 0.3")
    chosen = plots.draw(methods(), "regimes", by="method")
    assert chosen.data["mlp_error"].round(9).unique().tolist() == [0.2]  # the best of rough; fine has 0.1


def test_more_is_better_of_what_is_retained() -> None:
    frame = methods()
    frame["retained_magnitude"] = 1 - frame.pop("mlp_error")
    plot = plots.draw(frame, "regimes", by="method", at=0.7)
    assert plot.data["tok_per_s"].round(9).unique().tolist() == [22, 34.5]


def test_who_is_not_accurate_enough_does_not_compete() -> None:
    plot = plots.draw(methods(), "regimes", by="method", at=0.15)
    assert set(plot.data["winner"]) == {"fine"}
    with pytest.raises(DipsimError, match=r"^at: no run reaches mlp_error 0.05; the best has 0.1$"):
        plots.draw(methods(), "regimes", by="method", at=0.05)


def test_unequal_accuracy_is_said_where_density_was_not_swept() -> None:
    frame = methods().query("density == 0.4")
    with pytest.warns(DipsimWarning, match=r"^those who compete differ in mlp_error, 0.3 to 0.6: sweep density too"):
        plot = plots.draw(frame, "regimes", by="method")
    assert legend_of(plot.figure) == ["fine (0.30)", "rough (0.60)"]
    with pytest.raises(DipsimError, match=r"^at: each has one run at a place of the map; sweep density too"):
        plots.draw(frame, "regimes", by="method", at=0.3)


def test_a_map_at_one_accuracy_pools_nothing_else() -> None:
    frame = methods()
    both = pd.concat([frame.assign(policy="lru"), frame.assign(policy="lfu", tok_per_s=1)])
    with pytest.raises(
        DipsimError, match=r"48 runs of 'fine' differ in more than what is drawn: policy|policy \(lru, lfu\)"
    ):
        plots.draw(both, "regimes", by="method", at=0.3)
    assert len(plots.draw(both, "regimes", by="method", panels="policy", at=0.3).data) == 12


@pytest.mark.parametrize(
    ("said", "label", "low"),
    [
        ("{:g}x", "DRAM (share of the model)", 0.25),
        ("mlp:{:g}", "DRAM (share of the MLP)", 0.25),
        ("{:g}GB", "DRAM for this model (GB)", 1.0),
    ],
)
def test_dram_is_a_number_below_and_at_the_left(said: str, label: str, low: float) -> None:
    rows = [
        {
            FLASH: f,
            "dram": said.format(low * n),
            "dram.capacity_bytes": n * 1e9,
            "policy": name,
            "tok_per_s": n + gain * f / 1e9,
        }
        for f, n, (name, gain) in itertools.product((1e9, 2e9), (1, 2, 3), {"lru": 1, "lfu": 2}.items())
    ]
    frame = pd.DataFrame(rows)
    plot = plots.draw(frame, "regimes", y="dram")
    assert plot.figure.axes[0].get_ylabel() == label
    assert sorted({y for _, y in cells(plot)}) == [low, 2 * low, 3 * low]
    (axes,) = plots.draw(frame.query(f"`{FLASH}` == 1e9"), "dram", x="dram").figure.axes
    assert [x for x, _ in points(axes)[0]] == [low, 2 * low, 3 * low]


def device(**changed: Any) -> dict[str, Any]:
    """A profile as a result's configuration has it; what is changed by its dotted name."""
    numbers: dict[str, Any] = {
        "flash.read_bytes_per_s": 1e9,
        "flash.latency_s": 1e-4,
        "flash.read_curve": [[4096.0, 1e8]],
    }
    numbers |= {
        "dram.read_bytes_per_s": 1e10,
        "dram.capacity_bytes": 8e9,
        "dram.dma_writes": True,
        "dram.peak_bytes_per_s": 2e10,
    }
    numbers |= {"compute.ops_per_s": 1e12, "compute.units.gpu.ops_per_s": 2e12, "energy.idle_w": 1.0, "name": "a"}
    return numbers | {key.replace("__", "."): value for key, value in changed.items()}


def nested(numbers: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in numbers.items():
        *above, last = key.split(".")
        place = found
        for each in above:
            place = place.setdefault(each, {})
        place[last] = value
    return found


@pytest.mark.parametrize(
    ("changed", "run", "fits"),
    [
        ({}, {}, True),
        ({"flash__read_bytes_per_s": 7e9, "dram__read_bytes_per_s": 3e10}, {}, True),  # the axes
        ({"name": "b", "energy__idle_w": 9.0, "dram__peak_bytes_per_s": 5e10}, {}, True),  # no matter of speed
        ({"flash__latency_s": 2e-4}, {}, False),
        ({"flash__latency_s": 1.001e-4}, {}, True),  # nearly
        ({"flash__read_curve": [[4096.0, 9e8]]}, {}, False),
        ({"flash__read_curve": None}, {}, False),
        ({"dram__dma_writes": False}, {}, False),
        ({"compute__ops_per_s": 2e12}, {}, False),
        ({"compute__units__gpu__ops_per_s": 9e12}, {}, True),  # of a unit that is not used
        ({"compute__units__gpu__ops_per_s": 9e12}, {"unit": "gpu"}, False),
        ({"dram__capacity_bytes": 1.6e10}, {}, False),
        ({"dram__capacity_bytes": 1.6e10}, {"dram": "0.5x"}, True),  # what runs may use was given
    ],
)
def test_devices_are_marked_where_all_but_the_axes_is_theirs(
    changed: dict[str, Any], run: dict[str, Any], fits: bool
) -> None:
    config = {"profile": nested(device()), "unit": run.get("unit")}
    frame = pd.DataFrame({FLASH: [1e9, 2e9], DRAM: [1e10, 2e10], "config": json.dumps(config)})
    frame = frame.assign(**{key: value for key, value in run.items() if key != "unit"})
    other = pd.DataFrame([{f"profile.{key}": value for key, value in device(**changed).items()} | {"profile": "other"}])
    assert made_for(frame, other, (FLASH, DRAM))["profile"].tolist() == (["other"] if fits else [])
