"""What goes into the report's page: data that come back as they were, and where numbers come from."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_frames import frame_of

from dipsim import DipsimError
from dipsim.cli import main
from dipsim.cli.report import meanings, origins_of
from dipsim.report import page
from dipsim.report.embedding import inert_json, packed, packed_configs

EVIL = '<b>bold</b><a href="https://e.org">go</a></script><img src=x onerror="alert(1)"> & "q"\u2028'


def test_embedded_json_comes_back_and_closes_no_tag() -> None:
    data = {"name": EVIL, "deep": [EVIL, {"\u2029<!--": "<script>"}], "number": 0.1}
    text = inert_json(data)
    assert json.loads(text) == data
    assert not re.search("[<>&\u2028\u2029]", text)


@pytest.mark.parametrize(
    "values",
    [
        [1.5],
        [None, None],
        ["a", "b", "a", "a", "b", None],
        [0.1, 0.2, None, 1e-300],
        [(1, 2), (1, 2), None, (1, 2)],
        [3.0, math.inf, -math.inf],
    ],
)
def test_packed_columns_hold_what_was_put_in(values: list[Any]) -> None:
    column = json.loads(inert_json(packed(values)))
    if "one" in column:
        got = [column["one"]] * len(values)
    else:
        got = column["all"] if "all" in column else [column["table"][code] for code in column["codes"]]
    names = {math.inf: "∞", -math.inf: "-∞"}
    assert got == [list(value) if isinstance(value, tuple) else names.get(value, value) for value in values]


def test_configurations_share_what_they_have_in_common() -> None:
    columns = packed_configs(['{"a": {"b": 1.0, "c": {}}, "d": [1]}', '{"a": null, "d": [1]}', None])
    assert {tuple(column["path"]): column["packed"] for column in columns} == {
        ("a", "b"): {"all": ["1.0", None, None]},
        ("a", "c"): {"all": ["{}", None, None]},
        ("d",): {"all": ["[1]", "[1]", None]},
        ("a",): {"all": [None, "null", None]},
    }


def test_the_page_says_what_was_swept_and_where_numbers_come_from() -> None:
    origins = {"phone": {"flash.read_bytes_per_s": (4e9, "A: data sheet")}}
    frame = frame_of()
    frame.loc[3, ["error", "profile.flash.read_bytes_per_s"]] = ["no", None]
    made = page(frame, options={"density": "active share"}, origins=origins)
    swept = re.search(r"Swept: (.*)\.", made)
    assert swept is not None
    assert re.sub("<.*?>", "", swept[1]) == "method dip, dip-ca; density 0.4, 0.5, 0.7; DRAM 0.5x, 1x"
    for line in (
        "input of the sweep: active share",
        "A: data sheet",
        "Flash read rate (GB/s)",
        "Device phone: a phone",
    ):
        assert line in made
    assert "given for the runs" not in made


def test_what_a_failed_run_lacks_is_no_axis() -> None:
    frame = frame_of().assign(policy="lfu", context=256.0)
    frame.loc[3, ["error", "policy", "context", "profile.flash.read_bytes_per_s"]] = ["no", None, None, None]
    assert "Swept: <b>method</b> dip, dip-ca; <b>density</b> 0.4, 0.5, 0.7; <b>DRAM</b> 0.5x, 1x." in page(frame)


def test_a_devices_number_is_an_axis_where_it_differs_on_one_device() -> None:
    frame = pd.concat([frame_of(("dip",)), frame_of(("dip",), profile="other")], ignore_index=True)
    rate = "profile.flash.read_bytes_per_s"
    frame.loc[frame["profile"] == "other", rate] = 1e9
    assert "Flash read rate (GB/s)</b>" not in page(frame)
    frame.loc[0, rate] = 2e9
    assert "<b>Flash read rate (GB/s)</b> 2, 4, 1" in page(frame)


def test_a_number_that_the_runs_were_given_is_not_the_files() -> None:
    made = page(frame_of(), origins={"phone": {"flash.read_bytes_per_s": (2e9, "A: data sheet")}})
    assert "given for the runs; in the profile&#39;s file 2000000000.0: A: data sheet" in made


def test_a_curve_that_was_varied_is_an_axis() -> None:
    frame = frame_of(("dip",))
    curves = [np.array([[4096, rate], [131072, 1e9]]) for rate in (1e8, 2e8)]
    frame["profile.flash.read_curve"] = [curves[row % 2] for row in range(len(frame))]
    assert "[[4096.0, 100000000.0], [131072.0, 1000000000.0]]" in page(frame).replace("(", "[").replace(")", "]")


def test_no_runs_are_an_error() -> None:
    with pytest.raises(DipsimError, match="report: no runs"):
        page(frame_of().head(0))


def test_origins_are_the_comments_of_a_profiles_file() -> None:
    found = origins_of(["oneplus-12-ufs4-hot", "somebody's"])
    assert list(found) == ["oneplus-12-ufs4-hot"]
    assert found["oneplus-12-ufs4-hot"]["flash.latency_s"] == (
        150e-6,
        "D: one 4 KiB request alone; sweep 80e-6 to 200e-6",
    )
    assert found["oneplus-12-ufs4-hot"]["dram.dma_writes"][1].startswith("D: a UFS controller")


def test_parameters_mean_what_the_help_says() -> None:
    found = meanings()
    assert found["budget"].startswith("How cache memory becomes slots")
    assert {"trace", "density", "dram", "policy_option", "warm_up"} <= set(found)


def test_the_command_reads_a_folder_and_writes_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, output = tmp_path / "phones", tmp_path / "report.html"
    (results / "_specs").mkdir(parents=True)
    (results / "_specs" / "a.toml").write_text('method = ["dip"] # <mine>')
    frame_of(profile="oneplus-12-ufs4").to_parquet(results / "results.parquet")
    monkeypatch.setattr("sys.argv", ["dipsim", "report", str(results), "-o", str(output)])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    made = output.read_text()
    for line in ("<title>phones</title>", "method = [&#34;dip&#34;] # &lt;mine&gt;", "A: sequential read, PI2 section"):
        assert line in made
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "exists already" in capsys.readouterr().err
