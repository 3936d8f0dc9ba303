"""A spec unfolds into points: expected ones are written out, or made by itertools."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from dipsim.errors import DipsimError
from dipsim.sweeps import Spec
from dipsim.sweeps.spec import _with_arrays


def points(text: str, tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "spec.toml"
    path.write_text('trace = "tiny"\n' + text)
    return [{key: value for key, value in point.items() if key != "trace"} for point in Spec.load(path).points]


def values(text: str, tmp_path: Path) -> list[float]:
    return [point["density"] for point in points(f"density = {text}", tmp_path)]


def test_lists_are_multiplied_the_last_axis_fastest(tmp_path: Path) -> None:
    found = points('policy = ["lru", "lfu"]\nmethod = "dip"\ndensity = [0.3, 0.5, 0.7]', tmp_path)
    expected = itertools.product(["lru", "lfu"], [0.3, 0.5, 0.7])
    assert found == [{"policy": policy, "method": "dip", "density": density} for policy, density in expected]


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_there_are_as_many_points_as_the_product_of_sizes(sizes: list[int]) -> None:
    axes = dict(zip(("warmup", "context", "tokens", "exempt_top"), sizes, strict=False))
    spec: dict[str, Any] = {"trace": "tiny"} | {name: list(range(1, n + 1)) for name, n in axes.items()}
    assert len(Spec.load(spec).points) == math.prod(sizes)


def test_ranges_reach_both_ends(tmp_path: Path) -> None:
    assert values("{start = 0.3, stop = 0.6, step = 0.1}", tmp_path) == [0.3, 0.4, 0.5, 0.6]
    assert values("{start = 0.3, stop = 0.59, step = 0.1}", tmp_path) == [0.3, 0.4, 0.5]
    assert values("{start = 0.2, stop = 0.8, num = 4}", tmp_path) == [0.2, 0.4, 0.6, 0.8]
    assert values("{start = 0.1, stop = 0.8, num = 4, log = true}", tmp_path) == [0.1, 0.2, 0.4, 0.8]


def test_ranges_of_whole_numbers_are_whole(tmp_path: Path) -> None:
    found = points("tokens = {start = 8, stop = 24, step = 8}\nwarmup = {start = 0, stop = 4, num = 2}", tmp_path)
    assert found == [{"tokens": tokens, "warmup": warmup} for tokens in (8, 16, 24) for warmup in (0, 4)]
    assert all(isinstance(value, int) for point in found for value in point.values())
    assert values("{start = 0, stop = 1, num = 3}", tmp_path) == [0.0, 0.5, 1.0]
    long = points(f"tokens = {{start = {2**40 - 7}, stop = {2**40 - 2}, step = 2}}", tmp_path)
    assert [point["tokens"] for point in long] == [2**40 - 7, 2**40 - 5, 2**40 - 3]


def test_zipped_axes_walk_together(tmp_path: Path) -> None:
    text = 'keep_input = [0.4, 0.6]\npolicy = ["lru", "lfu"]\nkeep_glu = [0.2, 0.3]\nzip = [["keep_input", "keep_glu"]]'
    expected = [(0.4, 0.2, "lru"), (0.4, 0.2, "lfu"), (0.6, 0.3, "lru"), (0.6, 0.3, "lfu")]
    assert [(p["keep_input"], p["keep_glu"], p["policy"]) for p in points(text, tmp_path)] == expected
    text = 'zip = [["profile.extends", "dram"]]\nprofile.extends = ["a18-paper", "iphone-16"]\ndram = ["4GB", "2GB"]'
    assert [tuple(point.values()) for point in points(text, tmp_path)] == [("a18-paper", "4GB"), ("iphone-16", "2GB")]


def test_a_filter_keeps_points_for_which_it_is_true(tmp_path: Path) -> None:
    text = 'method = ["dip", "dip-ca"]\ndensity = [0.3, 0.5, 0.7]\nfilter = "method == \'dip\' or density < 0.6"'
    kept = [(p["method"], p["density"]) for p in points(text, tmp_path)]
    assert kept == [("dip", 0.3), ("dip", 0.5), ("dip", 0.7), ("dip-ca", 0.3), ("dip-ca", 0.5)]
    dotted = 'profile.flash.derate = [0.5, 1.0]\nfilter = "`profile.flash.derate` < 1"'
    assert points(dotted, tmp_path) == [{"profile.flash.derate": 0.5}]


def test_every_filter_is_an_expression_of_its_own(tmp_path: Path) -> None:
    text = (
        'filter = "density > 0.3 or density < 0.2"\n[[grid]]\ndensity = [0.1, 0.3, 0.5, 0.7]\nfilter = "density < 0.6"'
    )
    assert [point["density"] for point in points(text, tmp_path)] == [0.1, 0.5]
    with pytest.raises(DipsimError, match=r"filter: got 'density > 1\) or \(density < 9'; unmatched"):
        points('density = [0.5]\nfilter = "density > 1) or (density < 9"', tmp_path)
    with pytest.raises(DipsimError, match="filter: got 'density > 9'; no column 'density'"):
        points('filter = "density > 9"\n[[grid]]\ndensity = 0.5\n[[grid]]\ngamma = 0.5', tmp_path)


@pytest.mark.parametrize(
    "text", ["density.to_csv('ran') == 0", "9**9**9 > density", "@pd.io.common.os.system('> ran')"]
)
def test_a_filter_runs_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DipsimError, match="filter: got "):
        points(f'density = [0.3, 0.5]\nfilter = """{text}"""', tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


def test_a_hundred_thousand_points_are_read_in_seconds(tmp_path: Path) -> None:
    text = "density = {start = 0.0001, stop = 1, num = 500}\ngamma = {start = 0, stop = 1, num = 200}"
    start = time.process_time()
    found = points(text, tmp_path)
    assert time.process_time() - start < 10
    assert len(found) == 100_000
    assert found[200] == {"density": pytest.approx(0.0001 + 0.9999 / 499, rel=1e-9), "gamma": 0.0}


def test_grids_have_what_is_common_and_go_before_it(tmp_path: Path) -> None:
    text = """policy = ["lru", "lfu"]
[[grid]]
method = "dense"
policy = "none"
[[grid]]
method = "dip"
density = [0.4, 0.5]
"""
    expected = [("dense", "none", None)] + [("dip", policy, d) for policy in ("lru", "lfu") for d in (0.4, 0.5)]
    assert [(p["method"], p["policy"], p.get("density")) for p in points(text, tmp_path)] == expected


def test_a_point_that_is_named_twice_is_one(tmp_path: Path) -> None:
    assert len(points("density = [0.5, 0.5]\n[[grid]]\n[[grid]]\n", tmp_path)) == 1


def test_devices_are_named_as_in_a_profile_or_beside_quoted_names(tmp_path: Path) -> None:
    expected = [{"profile": name, "profile.flash.derate": 0.5} for name in ("a18-paper", "oneplus-12-ufs4")]
    table = '[profile]\nextends = ["a18-paper", "oneplus-12-ufs4"]\nflash.derate = 0.5'
    quoted = 'profile = ["a18-paper", "oneplus-12-ufs4"]\n"profile.flash.derate" = 0.5'
    assert points(table, tmp_path) == points(quoted, tmp_path) == expected


def test_a_dict_is_a_spec_too(tmp_path: Path) -> None:
    spec = Spec.load({"trace": "tiny", "density": [0.3, 0.4], "profile": {"flash": {"derate": [0.5]}}})
    assert [point["density"] for point in spec.points] == [0.3, 0.4]
    (tmp_path / "again.toml").write_text(spec.text)
    assert Spec.load(tmp_path / "again.toml").points == spec.points


def test_an_axis_of_a_dict_is_written_as_tomlkit_writes_it_and_in_time_as_it_is_long() -> None:
    mixed: list[Any] = [1, 2.5, 3e-9, 'a"b', True, 10**9]
    spec: dict[str, Any] = {"trace": "tiny", "tokens": [1], "policy_option": {"a": [1, 2]}, "density": [0.1, 0.2]}
    grids = {"grid": [{"method": "dip", "policy": ["lru", "lfu"]}, {"method": "dense"}]}
    assert tomlkit.dumps(_with_arrays({"x": mixed, "y": {"z": mixed}} | grids)) == tomlkit.dumps(
        {"x": mixed, "y": {"z": mixed}} | grids
    )
    assert Spec.load(spec).text == tomlkit.dumps(spec)
    start = time.process_time()
    found = Spec.load({"trace": "tiny", "density": [i / 30_000 for i in range(1, 20_000)]})
    assert time.process_time() - start < 10
    assert len(found.points) == 19_999


def test_a_dict_may_hold_what_python_has_for_lists() -> None:
    spec: dict[str, Any] = {"trace": Path("tiny"), "density": np.array([0.3, 0.4]), "tokens": range(8, 10)}
    expected = [{"trace": "tiny", "density": d, "tokens": n} for d in (0.3, 0.4) for n in (8, 9)]
    assert [*Spec.load(spec | {"policy": ("lru",)}).points] == [point | {"policy": "lru"} for point in expected]
    by_layer = Spec.load({"trace": "tiny", "keep_input": [(0.4, 0.5), (0.5, 0.4)]})
    assert [point["keep_input"] for point in by_layer.points] == [(0.4, 0.5), (0.5, 0.4)]
    with pytest.raises(DipsimError, match="dram: got None; leave it out"):
        Spec.load({"trace": "tiny", "dram": None})


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DipsimError, match=r"spec\.toml: not UTF-8"):
        Spec.load(tmp_path / "spec.toml")
    (tmp_path / "spec.toml").write_bytes(b"#" * 3 * 2**20)
    with pytest.raises(DipsimError, match=r"spec\.toml: has more than 2,097,152 bytes"):
        Spec.load(tmp_path / "spec.toml")


def test_axes_are_what_varies() -> None:
    spec = Spec.load({"trace": "tiny", "policy": ["lru", "lfu"], "density": [0.4]})
    assert spec.axes == {"policy": ["lru", "lfu"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("densty = [0.5]", "densty: unknown axis; did you mean 'density'"),
        ("flash.derate = [0.5]", "flash.derate: unknown axis"),
        ("density = []", "density: got no value"),
        ("[[grid]]\n[[grid]]\npolicy = []", "policy: got no value"),
        ("density = {start = 0.3, num = 3}", "density: stop: missing"),
        ("grid = []", "grid: got none"),
        ("tokens = [8, 99999999999999999999999]", "tokens: got 9{20,}"),
        ("density = [0.4, 'a']".replace("'", '"'), "density: got 'a'; input should be a valid number"),
        ('density = [0.4]\nfilter = "density > 1"', "no runs"),
        ('filter = "nothing > 1"', "filter: got .*no column 'nothing'; choices: trace; text stands"),
        ('density = [0.4, 0.5]\npolicy = ["lru"]\nzip = [["density", "policy"]]', "zip: got .*as many values each"),
        ('zip = [["density", "polic"]]\ndensity = [0.4]', "zip: polic: unknown axis; did you mean 'policy'"),
        ('zip = [["density", "policy"]]\ndensity = [0.4]', "zip: 'policy' is no axis"),
        (
            'zip = [["gamma", "tokens"], ["tokens", "warmup"]]\ngamma = [0.4, 0.5]\ntokens = [8, 9]\nwarmup = [0, 1]',
            "zip: got .*an axis may stand in one list, once",
        ),
        ('zip = [["densty", "polcy"]]\ndensity = [0.4, 0.5]', "zip: densty: unknown axis; did you mean 'density'"),
        ("exempt_top = [0, 1]\nfilter = 'exempt_top'", "filter: got .*neither true nor false"),
        ("density = {start = 0.1, stop = 0.5}", "density: .*needs step or num"),
        ("density = {start = 0.5, stop = 0.1, num = 3}", "density: .*ascends"),
        ("density = {start = 0.0, stop = 0.1, num = 3, log = true}", "density: .*above 0"),
        ('[evaluate]\nmodel = "tiny"\ntext = "held-out"', "trace: does not go with"),
        ("headroom = 1", "headroom: got 1; must be true or false"),
        ("headrom = true", "headrom: unknown axis; did you mean 'headroom'"),
        ("grid = 3", "grid: write each as"),
        ('profile = "a18-paper"\nprofile.flash.derate = [0.5]', "put the name of its field into quotes"),
        ("density = [", "not valid TOML"),
        ("density = {start = 0.1, stop = 1, num = 1000000000}", "density: .*1,000,000,000 values; at most 100,000"),
        ("density = {start = 0, stop = 1, step = 1e-12}", "density: .*1,000,000,000,001 values; at most"),
        ("density = {start = 0, stop = 1, step = 5e-324}", "density: .*1e.30 values; at most"),
        ("tokens = {start = 0, stop = 999999999999999999, step = 1}", "tokens: .* values; at most 100,000"),
        ("density = {start = -1e308, stop = 1e308, num = 3}", "density: .*between -1e.30 and 1e.30"),
        ("density = {start = 0, stop = inf, num = 3}", "density: stop.*: got inf; input should be"),
        ("density = {start = 0, stop = nan, num = 3}", "density: stop.*: got nan; input should be"),
        ("density = {start = 0, stop = 1, step = nan}", "density: step.*: got nan; input should be"),
        ("density = {start = 0, stop = 1, step = 0}", "density: step.*: got 0; input should be greater than 0"),
        ("density = {start = 1e20, stop = 1.0000000000000005e20, step = 1e4}", "density: .*same to 12 digits"),
        ("density = {start = 0.5, stop = 0.5000000000001, num = 3}", "density: 3 values, .*same to 12 digits"),
        ("density = {start = true, stop = 1, num = 3}", "density: start.*: got True"),
        ("layout = {start = 1, stop = 2, num = 2}", "layout: got 1; input should be a valid string"),
        (
            "density = {start = 0, stop = 1, num = 10001}\ngamma = {start = 0, stop = 1, num = 100}",
            "1,000,100 points, before filters; at most 100,000",
        ),
        (
            "density = {start = 0, stop = 1, num = 2000}\ngamma = {start = 0, stop = 1, num = 2000}\n"
            'zip = [["density", "gamma"]]\ntokens = {start = 1, stop = 1000, step = 1}',
            "2,000,000 points",
        ),
        ("[[grid]]\ndensity = {start = 0, stop = 1, num = 60000}\n" * 2, "120,000 points"),
        ("\n".join(f"profile.x{i} = [1, 2]" for i in range(2000)), "inf points, before filters"),
        (
            f'policy_option.x = "{"x" * 100000}"\ndensity = {{start = 0, stop = 1, num = 3000}}',
            "3,000 points of 3 axes are 300,.* characters written out; at most 200,000,000",
        ),
        ("density = [1979-05-27]", "density: got datetime.date.*; must be text, a number"),
        ("policy_option.x = 07:32:00", "policy_option.x: got datetime.time"),
        ("policy_option.x = [{a = 1}]", "policy_option.x: got {'a': 1}; must be text"),
        ("policy_option.x = [[nan]]", "policy_option.x: got nan; must be text"),
        ("density = {}", "density: got an empty table"),
        ("filter = 3", "filter: got 3; must be text"),
        ('filter = ["density > 1"]', "filter: got .*; must be text"),
        ("zip = [" + "1, " * 1000 + "]", "zip: got .{60}; must be lists of names"),
        ("density.to_csv = 1", "density.to_csv: unknown axis"),
        ('"a\\u0000b" = 1', "holds text with a NUL"),
        ("tokens = 1" + "0" * 40, "more than 30 digits"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DipsimError, match=message) as caught:
        points(text, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_spec_without_a_trace_or_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DipsimError, match="trace: missing"):
        Spec.load({"density": [0.5]})
    with pytest.raises(DipsimError, match="cannot be read"):
        Spec.load(tmp_path / "none.toml")
    with pytest.raises(DipsimError, match="evaluate: txt: unknown key; did you mean 'text'"):
        Spec.load({"evaluate": {"model": "tiny", "txt": "held-out"}})
