"""Which runs a figure shows: nothing is averaged or zigzagged through, and what is wrong is said in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_plots import sweep

from dipsim import DipsimError, DipsimWarning, plots
from dipsim.plots.runs import check_alone, succeeded, varying

ONE = "policy == 'lru' and density == 0.5"


def drawn_of(frame: pd.DataFrame, kind: str, **options: Any) -> int:
    return len(plots.draw(frame, kind, **options).data)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("parteo", {}, "kind: unknown name, got 'parteo'; did you mean 'pareto'?"),
        ("pareto", {"x": "density"}, "x: figure 'pareto' has no such option; it has by, panels, over, log, fr"),
        ("dram", {"x": "dram.cash_bytes"}, "x: no column 'dram.cash_bytes' in the results; did you mean 'dram.cac"),
        ("dram", {"by": "nothing"}, "by: no column 'nothing' in the results; those that vary: method, policy, de"),
        ("flash", {}, "x: column 'profile.flash.read_bytes_per_s' was not swept, all 24 runs have 1.00 GB/s; those"),
        ("dram", {"panels": "profile"}, "panels: column 'profile' was not swept, all 24 runs have phone; those that"),
        ("dram", {"y": "bound", "where": ONE}, "y: column 'bound' has no numbers, got 'flash'"),
        ("dram", {"where": "policy == 'arc'"}, "where: none of 24 runs has policy == 'arc'"),
        ("dram", {"where": "polcy == 'lfu'"}, "where: got .polcy == 'lfu'.; no column 'polcy'; did you mean 'policy'?"),
        ("dram", {"where": "policy =="}, "where: got 'policy =='; invalid syntax"),
        ("dram", {"where": "policy"}, "where: got 'policy'; 'lru' is neither true nor false; write"),
        ("dram", {"where": "@pd"}, "where: got '@pd'; '@' may not stand in it; write"),
        ("headroom", {}, r"plot: the results have no columns headroom\.\*; sweep with headroom = true"),
        ("regimes", {"x": "dram.capacity_bytes", "y": "dram"}, "y: got 'dram.capacity_bytes', as x; a map is over two"),
        ("regimes", {"x": "density", "y": "policy", "by": "method"}, "y: column 'policy' has no numbers, got 'lru'"),
        ("pareto", {"by": "method,polcy"}, "by: no column 'polcy' in the results; did you mean 'policy'"),
        ("pareto", {"over": "dran"}, "over: no column 'dran' in the results; did you mean 'dram'"),
        ("dram", {"log": "z", "where": ONE}, "log: got 'z'; must be one of x, y, xy, none"),
        ("dram", {"by": "slots.down"}, "by: column 'slots.down' holds lists; choose one with a single value"),
        ("dram", {"by": "key"}, "by: 'key' has 24 values; at most 14 lines can be told apart"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said_in_one_line(kind: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(DipsimError, match=f"^{message}") as caught:
        plots.draw(sweep(), kind, **options)
    assert "\n" not in str(caught.value)


def test_what_still_varies_is_named_with_a_way_out() -> None:
    frame = sweep()
    message = (
        r"^plot: 12 runs of 'dip' differ in more than what is drawn: policy \(lru, lfu\), density \(0.5, 0.25\); "
        r"choose, as --where 'policy == \"lru\" and density == 0.5', or give a column to --by or --panels, if there "
        r"are such$"
    )
    with pytest.raises(DipsimError, match=message):
        plots.draw(frame, "dram")
    assert drawn_of(frame, "dram", panels="policy", where="density == 0.5") == 12


def test_a_line_does_not_zigzag_where_no_two_runs_share_a_place() -> None:
    """Each density has DRAM of its own, so that no place is taken twice."""
    frame = sweep(("dip",), ("lru",))
    frame["dram.capacity_bytes"] += frame["density"]
    with pytest.raises(DipsimError, match=r"differ in more .*: density \(0.5, 0.25\), dram \(3GB, 1GB, 2GB\)"):
        plots.curves(frame, "dram.capacity_bytes")
    assert len(plots.curves(frame, "dram.capacity_bytes", by="density").data) == 6


def test_a_parameter_below_lets_no_other_vary() -> None:
    frame = sweep(("dip",)).query("dram == '2GB'")
    crossed = frame[(frame["policy"] == "lru") == (frame["density"] == 0.5)]  # each density with a policy of its own
    with pytest.raises(DipsimError, match=r"policy \(lru, lfu\)"):
        plots.curves(crossed, "density")


def test_a_result_below_follows_one_parameter_only() -> None:
    frame = sweep(("dip",)).query("density == 0.5 and dram != '3GB'")
    crossed = frame[(frame["policy"] == "lru") == (frame["dram"] == "1GB")]  # more DRAM, and another policy too
    with pytest.raises(DipsimError, match=r"drawn: policy \(lru, lfu\); choose"):
        plots.curves(crossed, "dram.capacity_bytes")


def test_devices_that_differ_in_more_than_the_axis_are_no_line() -> None:
    frame = sweep(("dip",), ("lru",)).query("density == 0.5 and dram == '2GB'")
    speeds = {"profile.flash.read_bytes_per_s": [1e9, 2e9], "profile.dram.read_bytes_per_s": [1e10, 2e10]}
    devices = pd.concat([frame, frame], ignore_index=True).assign(profile=["phone", "tablet"], **speeds)
    x = "profile.flash.read_bytes_per_s"
    with pytest.raises(DipsimError, match=r"differ in more than what is drawn: profile \(phone, tablet\)"):
        plots.curves(devices, x)
    assert len(plots.curves(devices, x, by="profile").data) == 2
    same_dram = devices.assign(**{"profile.dram.read_bytes_per_s": 1e10})
    assert len(plots.curves(same_dram, x).data) == 2  # names of variants that differ in the axis alone


def test_runs_that_are_there_twice_are_refused() -> None:
    frame = sweep(("dip",), ("lru",)).query("density == 0.5")
    with pytest.raises(DipsimError, match="runs are there twice, with the same parameters"):
        plots.curves(pd.concat([frame, frame]), "dram.capacity_bytes")


def test_missing_values_of_every_kind_are_null() -> None:
    frame = sweep(("dip", "dense"))
    for own in (frame, frame.convert_dtypes(), frame.astype(object), frame.convert_dtypes(dtype_backend="pyarrow")):
        over = {"over": "dram"}
        assert drawn_of(own, "pareto", where="gamma is null and method != 'dip' and density is null", **over) == 12
        assert drawn_of(own, "pareto", where="density != 0.5 and density not in [0.25]", **over) == 12


def test_pareto_refuses_to_pool_and_names_the_ways_out() -> None:
    message = (
        r"^plot: 6 runs of 'dip, lru' have one mark and differ in dram \(3GB, 1GB, 2GB\); tell them apart by "
        r"--by method,policy,dram or --panels dram, choose by --where 'dram == \"3GB\"', or have them "
        r"compete by --over dram$"
    )
    with pytest.raises(DipsimError, match=message):
        plots.draw(sweep(), "pareto")
    with pytest.raises(DipsimError, match=r"12 runs of 'dip' have one mark and differ in policy \(lru, lfu\), dram"):
        plots.draw(sweep(), "pareto", by="method")
    for way_out, n_drawn in (
        ({"by": "method,policy,dram"}, 24),
        ({"panels": "dram"}, 24),
        ({"where": "dram == '3GB'"}, 8),
        ({"over": "dram"}, 24),
        ({"by": "method", "over": "dram, policy"}, 24),
    ):
        assert drawn_of(sweep(), "pareto", **way_out) == n_drawn


def test_what_follows_from_what_competes_need_not_be_named() -> None:
    frame = sweep(policies=("lru",)).query("dram == '2GB'")
    devices = [
        frame.assign(profile=name, **{"profile.flash.read_bytes_per_s": speed}) for name, speed in (("a", 1), ("b", 2))
    ]
    both = pd.concat(devices, ignore_index=True)
    assert drawn_of(both, "pareto", by="method", over="profile") == 8
    with pytest.raises(DipsimError, match=r"differ in profile \(a, b\); tell"):
        plots.pareto(both, by="method")


def test_failed_runs_are_left_out_and_counted() -> None:
    frame = sweep().query(ONE)
    failed = frame.assign(error=["out of memory", *[None] * 5])
    with pytest.warns(DipsimWarning, match="1 of 6 runs failed and are left out"):
        assert drawn_of(failed, "dram") == 5
    with pytest.raises(DipsimError, match="plot: all 6 runs failed; the first: out of memory"):
        plots.draw(frame.assign(error="out of memory"), "dram")
    with pytest.raises(DipsimError, match="plot: there are no runs"):
        succeeded(frame[:0])


def test_runs_without_the_number_that_is_drawn_are_left_out_and_counted() -> None:
    frame = sweep().query(ONE)
    frame["energy_j_per_token"] = [None, 1.0, 2, 3, 4, 5]
    with pytest.warns(DipsimWarning, match="1 of 6 runs have no energy_j_per_token and are left out"):
        assert drawn_of(frame, "dram", y="energy_j_per_token") == 5
    with pytest.raises(DipsimError, match="y: column 'energy_j_per_token' is empty in all 6 runs"):
        plots.draw(frame.assign(energy_j_per_token=None), "dram", y="energy_j_per_token")


def test_columns_that_follow_from_others_are_not_named() -> None:
    assert varying(sweep()) == ["method", "policy", "density", "dram"]  # gamma follows from the method
    other = sweep()
    other.loc[other["method"] == "dip-ca", "gamma"] = 0.5
    assert varying(pd.concat([sweep(), other])) == ["method", "policy", "density", "dram", "gamma"]


def test_lists_among_parameters_and_missing_ones_are_compared_by_what_they_hold() -> None:
    frame = pd.DataFrame({"keeps": [[1, 2], [1, 2], [3]], "gamma": [None, float("nan"), None]})
    assert varying(frame) == ["keeps"]
    check_alone(frame[1:], [], ["keeps"])


def test_runs_that_differ_in_a_curve_are_named_by_it() -> None:
    curves = [np.array([[4096, 1e8], [131072, 1e9]]), np.array([[4096, 2e8], [131072, 1e9]])]
    runs = sweep().query("method == 'dip' and policy == 'lru' and density == 0.5").iloc[[0, 0, 1]]
    runs["profile.flash.read_curve"] = [*curves, curves[0]]
    assert drawn_of(runs.iloc[:2], "breakdown") > 0
    with pytest.raises(DipsimError, match=r"differ in more than what is drawn: profile\.flash\.read_curve"):
        plots.draw(runs, "dram")
