"""The report's page, opened in a browser as its readers do: what it shows equals the frame, and it asks nobody."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import WANTED, find
from playwright.sync_api import Browser, Page, sync_playwright

from dipsim import DipsimError
from dipsim.cli import main
from dipsim.cli.report import meanings, origins_of
from dipsim.report import page
from dipsim.report.embedding import inert_json, packed, packed_configs

EVIL = '<b>bold</b><a href="https://e.org">go</a></script><img src=x onerror="alert(1)"> & "q"\u2028'
GRAVE = ("error", "assert")
PARTS = ("flash_latency", "dram", "compute")


def frame_of(methods: tuple[str, ...] = ("dip", "dip-ca"), n_seeds: int = 1, profile: str = "phone") -> pd.DataFrame:
    """Made-up results: no two runs have the same number, so that a mix-up shows."""
    rows: list[dict[str, Any]] = []
    for method in methods:
        for density in (0.4, 0.5, 0.7):
            for dram in ("0.5x", "1x"):
                for _ in range(n_seeds):
                    n = len(rows)
                    rows.append(row_of(n, method, density, dram, profile))
    return pd.DataFrame(rows)


def row_of(n: int, method: str, density: float, dram: str, profile: str) -> dict[str, Any]:
    config = {
        "trace": "tiny",
        "profile": {"name": profile, "description": "a phone", "flash": {"read_bytes_per_s": 4e9}, "compute": None},
        "method": method,
        "policy_options": {},
        "density": density,
        "gamma": 0.2 if method == "dip-ca" else None,
        "curve": [[4096.0, 1e9]],
    }
    own = {
        "tok_per_s": 20 + (n * 7) % 12 + n / 100,
        "retained_magnitude": 0.9 - (n * 5) % 12 / 100 - n / 1e4,
        "critical_path_s_per_token.flash_latency": 1e-3 * (n + 1),
        "critical_path_s_per_token.dram": 2e-3,
        "critical_path_s_per_token.compute": 0.0,
        "dram.capacity_bytes": (4e9 if dram == "0.5x" else 8e9) + n,
    }
    return {
        "key": f"{n:064x}",
        "error": None,
        "trace": "tiny",
        "profile": profile,
        "method": method,
        "density": density,
        "gamma": config["gamma"],
        "dram": dram,
        "warm_up": False,
        "profile.flash.read_bytes_per_s": 4e9,
        **own,
        "bound": "flash",
        "slots.down": [n, n + 1, n + 2],
        "token_s_percentiles": [(n + 1) * 1e-3 + q * 1e-5 for q in range(101)],
        "config": json.dumps(config),
        "trace_sha256": "ab" * 32,
        "dipsim_version": "0.1.0",
    }


# ---- without a browser


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


# ---- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find()
    assert path, WANTED
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a frame from a file; afterwards, nothing else was asked for and nothing complained."""
    complaints: list[str] = []
    requests: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")

    def open_page(frame: pd.DataFrame, **others: Any) -> Page:
        path = tmp_path / "report.html"
        path.write_text(page(frame, **others), encoding="utf-8")
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        tab.on("console", lambda message: message.type in GRAVE and complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        tab.wait_for_selector("#plot .main-svg")
        return tab

    yield open_page
    context.close()
    assert complaints == []
    assert len(requests) == 1
    assert requests[0].startswith("file://")


def plotted(tab: Page) -> dict[int, tuple[Any, Any]]:
    """Row of the frame -> (x, y) as plotly has them, gaps left out."""
    points = tab.evaluate(
        """() => document.getElementById("plot").data.filter((trace) => trace.mode !== "lines").flatMap(
            (trace) => trace.customdata.map((row, i) => [row, trace.x[i], trace.y[i]]))"""
    )
    return {row: (x, y) for row, x, y in points if row is not None}


def table_rows(tab: Page, table: str = "runs-table") -> list[int]:
    return tab.eval_on_selector_all(f"#{table} tbody tr", "rows => rows.map((row) => Number(row.dataset.run))")


def test_the_first_view_shows_every_run_where_the_frame_has_it(opened: Open) -> None:
    frame = frame_of()
    points = plotted(opened(frame))
    assert sorted(points) == list(range(len(frame)))
    for row, (x, y) in points.items():
        assert x == pytest.approx(frame["dram.capacity_bytes"][row] / 1e9, rel=1e-15)
        assert y == frame["tok_per_s"][row]


def test_no_button_sends_data_away(opened: Open) -> None:
    tab = opened(frame_of())
    titles = tab.eval_on_selector_all(".modebar-btn", "all => all.map((one) => one.dataset.title)")
    assert titles == ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]


def test_ready_views_change_the_plot(opened: Open) -> None:
    frame = frame_of()
    tab = opened(frame)
    tab.get_by_role("button", name="Throughput by density").click()
    assert {row: x for row, (x, _) in plotted(tab).items()} == frame["density"].to_dict()
    tab.get_by_role("button", name="Accuracy by throughput").click()
    assert plotted(tab) == dict(enumerate(zip(frame["tok_per_s"], frame["retained_magnitude"], strict=True)))
    tab.get_by_role("button", name="Time breakdown").click()
    bars = tab.evaluate("document.getElementById('plot').data.map((trace) => trace.x)")
    for part, x in zip(PARTS, bars, strict=True):
        np.testing.assert_allclose(x, frame[f"critical_path_s_per_token.{part}"] * 1e3)
    tab.get_by_role("button", name="show run 4", exact=True).click()
    tab.get_by_role("button", name="Latency percentiles").click()
    line = tab.evaluate("document.getElementById('plot').data[0].y")
    np.testing.assert_allclose(line, np.array(frame["token_s_percentiles"][3]) * 1e3, rtol=1e-5)


def test_pareto_front_is_the_runs_that_no_other_beats(opened: Open) -> None:
    frame = frame_of()
    tab = opened(frame)
    tab.get_by_role("button", name="Accuracy by throughput").click()
    front = tab.evaluate("document.getElementById('plot').data.find((t) => t.name === 'Pareto front').customdata")
    speed, kept = frame["tok_per_s"], frame["retained_magnitude"]
    best = [n for n in frame.index if not ((speed > speed[n]) & (kept > kept[n])).any()]
    assert sorted(front) == best
    tab.get_by_label("Pareto front").uncheck()
    assert not tab.evaluate("document.getElementById('plot').data.some((t) => t.name === 'Pareto front')")


def test_choosing_other_axes_colours_and_panels(opened: Open) -> None:
    frame = frame_of()
    tab = opened(frame)
    tab.get_by_label("x", exact=True).select_option("density")
    tab.get_by_label("y", exact=True).select_option("critical_path_s_per_token.flash_latency")
    expected = frame["critical_path_s_per_token.flash_latency"] * 1e3
    points = plotted(tab)
    assert {row: y for row, (_, y) in points.items()} == pytest.approx(expected.to_dict())
    assert {row: x for row, (x, _) in points.items()} == frame["density"].to_dict()
    tab.get_by_label("Colour").select_option("dram")
    tab.get_by_label("Panels").select_option("method")
    traces = tab.evaluate("document.getElementById('plot').data.map((t) => [t.name, t.xaxis, t.customdata])")
    for name, axis, rows in traces:
        drawn = frame.loc[[row for row in rows if row is not None]]
        assert set(drawn["dram"]) == {name}
        assert set(drawn["method"]) == {"dip" if axis == "x" else "dip-ca"}
    tab.get_by_label("log y").check()
    assert tab.evaluate("document.getElementById('plot').layout.yaxis.type") == "log"
    tab.get_by_label("y", exact=True).select_option("critical_path_s_per_token.compute")
    assert "0 of 12 runs, 12 without a number to draw" in tab.locator("#caption").inner_text(), "the logarithm of 0"
    tab.get_by_label("y", exact=True).select_option("tok_per_s")
    tab.get_by_label("Colour").select_option("tok_per_s")
    assert len(plotted(tab)) == len(frame)


def test_filters_take_runs_from_plot_and_table(opened: Open) -> None:
    frame = frame_of()
    tab = opened(frame)
    tab.locator("[data-column=density]").get_by_label("0.5").uncheck()
    left = frame.index[frame["density"] != 0.5].tolist()
    assert sorted(plotted(tab)) == left
    assert sorted(table_rows(tab)) == left
    least = float(frame["tok_per_s"].median())
    tab.get_by_label("throughput (tok/s), least").fill(str(least))
    left = frame.index[(frame["density"] != 0.5) & (frame["tok_per_s"] >= least)].tolist()
    assert sorted(plotted(tab)) == sorted(table_rows(tab)) == left
    tab.get_by_role("button", name="Show all runs").click()
    assert sorted(table_rows(tab)) == frame.index.tolist()


def test_a_click_on_a_header_sorts_and_pages_turn(opened: Open) -> None:
    frame = frame_of(n_seeds=10)
    frame.loc[5, "retained_magnitude"] = None
    tab = opened(frame)
    for column in ("tok_per_s", "retained_magnitude", "density"):
        for ascending in (True, False):
            tab.locator(f"#runs-table th[data-column={column}] button").click()
            order = frame.sort_values(column, ascending=ascending, kind="stable").index.tolist()
            assert table_rows(tab) == order[:100], (column, ascending)
    tab.get_by_role("button", name="Later").click()
    assert table_rows(tab) == order[100:]
    shown = tab.locator("#runs-table .pager").inner_text()
    assert "101 to 120 of 120" in shown


def test_a_run_in_full_and_its_configuration_to_the_letter(opened: Open) -> None:
    frame = frame_of()
    tab = opened(frame)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    point = tab.locator("#plot .scatterlayer .trace").last.locator(".point").last
    point.hover(force=True)
    assert "throughput" in tab.locator("#hover").inner_text()
    assert "density 0." in tab.locator("#hover").inner_text()
    point.click(force=True)
    row = int(tab.locator("#run h2").inner_text().split("#")[1].split(" ")[0]) - 1
    tab.get_by_role("button", name="Copy JSON").click()
    tab.locator("[role=status]", has_text="copied").wait_for()
    for text in (tab.locator("#config").inner_text(), tab.evaluate("navigator.clipboard.readText()")):
        assert json.dumps(json.loads(text)) == frame["config"][row]
    facts = tab.locator("#run .facts").all_inner_texts()
    assert any(f"{frame['key'][row]}" in text for text in facts)
    assert any(f"{row}, {row + 1}, {row + 2}" in text for text in facts)


def test_the_switch_makes_it_dark_and_light(opened: Open) -> None:
    tab = opened(frame_of())

    def papers() -> list[str]:
        return [
            tab.evaluate("getComputedStyle(document.body).backgroundColor"),
            tab.evaluate("document.getElementById('plot').layout.paper_bgcolor"),
        ]

    for scheme in ("dark", "light"):
        tab.emulate_media(color_scheme=scheme)
        tab.locator(f":root[data-theme={scheme}]").wait_for(state="attached")
    light = papers()
    assert light == ["rgb(255, 255, 255)", "#ffffff"]
    tab.get_by_role("button", name="Dark").click()
    assert papers() == ["rgb(21, 23, 27)", "#15171b"]
    tab.get_by_role("button", name="Dark").click()
    assert papers() == light
    tab.emulate_media(color_scheme="dark")
    assert papers() == light, "the reader's own choice stays"


def test_names_from_files_are_text_and_nothing_else(opened: Open) -> None:
    frame = pd.concat([frame_of((EVIL, "dip"), profile=EVIL), frame_of((EVIL,), profile="other")], ignore_index=True)
    frame["policy"] = [EVIL, "lru", "lfu"] * 6
    frame.loc[1, ["error", "tok_per_s"]] = [f"failed: {EVIL}", None]
    tab = opened(frame, title=EVIL, specs=[(EVIL, EVIL)], origins={EVIL: {"flash.read_bytes_per_s": (4e9, EVIL)}})

    def is_text() -> None:
        assert tab.locator("#plot text", has_text="<b>bold</b>").count() > 0
        assert tab.locator("#plot a, #plot [style*=bold], img, body b:not(header b)").count() == 0

    is_text()
    tab.get_by_label("Panels").select_option("policy")
    is_text()
    tab.get_by_label("Colour").select_option("profile")
    tab.locator("#plot .point").first.hover(force=True)
    is_text()
    tab.get_by_role("button", name="Time breakdown").click()
    is_text()
    tab.get_by_label("x", exact=True).select_option("method")
    tab.get_by_label("Colour").select_option("")
    tab.get_by_label("Panels").select_option("")
    is_text()
    tab.get_by_role("button", name="show run 1", exact=True).click()
    assert tab.locator("h1").text_content() == EVIL
    assert EVIL in (tab.locator("#spec pre").text_content() or "")
    assert json.loads(tab.locator("#config").inner_text())["profile"]["name"] == EVIL


def test_failures_have_their_own_table(opened: Open) -> None:
    frame = frame_of()
    results = ["tok_per_s", "retained_magnitude", "dram.capacity_bytes", "token_s_percentiles", "slots.down", "bound"]
    frame.loc[[2, 7], results] = None
    frame.loc[[2, 7], "error"] = ["dram: too small", "trace: gone"]
    tab = opened(frame)
    assert "12 runs, 2 failed" in tab.locator("header").inner_text()
    assert table_rows(tab, "failures-table") == [2, 7]
    assert "dram: too small" in tab.locator("#failures-table").inner_text()
    left = [n for n in frame.index if n not in (2, 7)]
    assert sorted(plotted(tab)) == sorted(table_rows(tab)) == left
    tab.get_by_role("button", name="show run 8", exact=True).click()
    assert "Failed: trace: gone" in tab.locator("#run").inner_text()


def test_one_run_alone(opened: Open) -> None:
    tab = opened(frame_of().head(1))
    assert "Nothing was swept." in tab.locator("header").inner_text()
    assert plotted(tab) == {0: (4.0, 20.0)}
    assert table_rows(tab) == [0]


def test_missing_and_infinite_numbers(opened: Open) -> None:
    frame = frame_of()
    frame["perplexity"] = [math.nan, math.inf, *np.linspace(5, 9, 10)]
    frame["empty"] = None
    frame["density"] = frame["density"].astype(object).where(frame.index != 4, None)
    tab = opened(frame)
    tab.get_by_role("button", name="Accuracy by throughput").click()
    assert {row: y for row, (_, y) in plotted(tab).items()} == frame["perplexity"][2:].to_dict()
    assert "10 of 12 runs, 2 without a number to draw here" in tab.locator("#caption").inner_text()
    cells = tab.locator("#runs-table tbody tr", has=tab.get_by_role("button", name="show run 2", exact=True))
    assert "∞" in cells.inner_text()
    tab.locator("[data-column=density]").get_by_label("\u2013").uncheck()
    assert 4 not in table_rows(tab)


def test_every_run_failed(opened: Open) -> None:
    frame = frame_of().assign(error="no", tok_per_s=None, retained_magnitude=None)
    tab = opened(frame)
    assert table_rows(tab) == []
    assert table_rows(tab, "failures-table") == frame.index.tolist()


def test_many_runs_and_many_values(opened: Open) -> None:
    frame = frame_of(n_seeds=200)
    frame["seed"] = np.arange(len(frame))
    frame["tag"] = [f"t{n % 40}" for n in range(len(frame))]
    tab = opened(frame)
    assert len(plotted(tab)) == 2400
    tab.locator("[data-column=seed]").get_by_label("least").fill("2390")
    assert table_rows(tab) == list(range(2390, 2400))
    tab.locator("[data-column=tag] select").select_option(label=["t33", "t34"])
    assert table_rows(tab) == [2393, 2394]
