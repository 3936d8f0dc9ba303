"""The report's page, opened in a browser as its readers do: what it shows equals the frame, and it asks nobody."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect
from report_frames import PARTS, frame_of
from test_report import EVIL

from dipsim.report import page

GRAVE = ("error", "assert")


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a frame from a file; afterwards, nothing else was asked for and nothing complained."""
    complaints: list[str] = []
    requests: list[str] = []
    path = tmp_path / "report.html"
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_init_script("addEventListener('securitypolicyviolation', (e) => console.error(e.violatedDirective))")

    def open_page(frame: pd.DataFrame | None, address: str = "", **others: Any) -> Page:
        """Of a frame, or the page that is there already."""
        if frame is not None:
            path.write_text(page(frame, **others), encoding="utf-8")
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        tab.on("console", lambda message: message.type in GRAVE and complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri() + address)
        tab.wait_for_selector("#plot .main-svg")
        return tab

    yield open_page
    context.close()
    assert complaints == []
    assert {request.partition("#")[0] for request in requests} == {path.as_uri()}


def plotted(tab: Page) -> dict[int, tuple[Any, Any]]:
    """Row of the frame -> (x, y) as plotly has them, gaps left out."""
    points = tab.evaluate(
        """() => document.getElementById("plot").data.filter((trace) => trace.mode !== "lines").flatMap(
            (trace) => trace.customdata.map((row, i) => [row, trace.x[i], trace.y[i]]))"""
    )
    return {row: (x, y) for row, x, y in points if row is not None}


def show_all(tab: Page) -> None:
    """Nothing is fixed any more."""
    for menu in tab.locator("#fixed select").all():
        menu.select_option("all")


def table_rows(tab: Page, table: str = "runs-table") -> list[int]:
    return tab.eval_on_selector_all(f"#{table} tbody tr", "rows => rows.map((row) => Number(row.dataset.run))")


def test_the_first_view_shows_every_run_where_the_frame_has_it(opened: Open) -> None:
    frame = frame_of()
    tab = opened(frame)
    show_all(tab)
    points = plotted(tab)
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
    show_all(tab)
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
    show_all(tab)
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
    show_all(tab)
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
    frame["tpot_s.mean"] = 1 / frame["tok_per_s"]
    tab = opened(frame)
    first = {"tok_per_s": False, "retained_magnitude": False, "tpot_s.mean": True, "density": True}
    for column, best in first.items():
        for ascending in (best, not best):
            tab.locator(f"#runs-table th[data-column='{column}'] button").click()
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
    show_all(tab)
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
    show_all(tab)
    assert len(plotted(tab)) == tab.locator("#plot .point").count() == 2400
    tab.locator("[data-column=seed]").get_by_label("least").fill("2390")
    assert table_rows(tab) == list(range(2390, 2400))
    tab.locator("[data-column=tag] select").select_option(label=["t33", "t34"])
    assert table_rows(tab) == [2393, 2394]


def labels(tab: Page, axis: str = "y") -> list[float]:
    return [float(text) for text in tab.locator(f"#plot .{axis}axislayer-above .{axis}tick text").all_text_contents()]


def swept_over(profiles: tuple[str, ...]) -> pd.DataFrame:
    """Devices, methods, densities, sizes of DRAM and policies; dense runs have no density."""
    parts = [frame_of(("dense", "dip", "dip-ca"), profile=profile) for profile in profiles]
    frame = pd.concat([part.assign(policy=policy) for part in parts for policy in ("lru", "lfu")], ignore_index=True)
    frame["key"] = [f"{n:064x}" for n in range(len(frame))]
    frame["dram.capacity_bytes"] = frame["dram"].map({"0.5x": 4e9, "1x": 8e9})
    dense = frame["method"] == "dense"
    frame["density"] = frame["density"].where(~dense)
    return frame[~(dense & frame.duplicated(["profile", "method", "policy", "density", "dram"]))].reset_index(drop=True)


def test_the_first_picture_fixes_what_it_does_not_tell_apart(opened: Open) -> None:
    frame = swept_over(("phone", "other"))
    tab = opened(frame)
    density, policy = tab.get_by_label("density, fixed"), tab.get_by_label("policy, fixed")

    def check(fixed: pd.Series[bool]) -> None:
        assert sorted(plotted(tab)) == frame.index[fixed].tolist()
        assert sorted(table_rows(tab)) == frame.index.tolist(), "the table has them all"

    applies = frame["density"].isin([0.5]) | frame["density"].isna()
    check(applies & (frame["policy"] == "lru"))
    assert tab.locator("#fixed").inner_text().startswith("Fixed in this picture:")
    assert [menu.locator("option:checked").inner_text() for menu in (density, policy)] == ["0.5", "lru"]
    tab.locator("#runs-table th[data-column=tok_per_s] button").click()
    assert policy.locator("option:checked").inner_text() == "lru", "in whatever order"
    policy.focus()
    policy.select_option("lfu")
    check(applies & (frame["policy"] == "lfu"))
    assert policy.evaluate("(menu) => menu === document.activeElement"), "one can go on with the keyboard"
    policy.select_option("all")
    check(applies)
    tab.get_by_role("button", name="Throughput by density").click()
    assert density.count() == 0
    known = frame["density"].notna() & (frame["dram"] == "0.5x")
    check(known)
    tab.locator("[data-column=dram]").get_by_label("0.5x").uncheck()
    assert sorted(plotted(tab)) == frame.index[frame["density"].notna() & (frame["dram"] == "1x")].tolist()
    tab.get_by_role("button", name="Accuracy by throughput").click()
    assert tab.locator("#fixed").is_hidden(), "a cloud needs nothing fixed"


def test_a_random_search_is_a_cloud_in_which_nothing_is_fixed(opened: Open) -> None:
    frame = frame_of(n_seeds=4)
    frame["gamma"] = np.random.default_rng(0).uniform(0, 1, len(frame))
    frame["density"] = np.random.default_rng(1).uniform(0.3, 0.7, len(frame))
    tab = opened(frame)
    assert len(plotted(tab)) == len(frame)
    assert tab.locator("#fixed").is_hidden()


def test_the_first_picture_is_along_an_axis_of_the_sweep(opened: Open) -> None:
    frame = frame_of()
    frame = frame[(frame["density"] == 0.5) & (frame["dram"] == "1x")].assign(**{"dram.capacity_bytes": 8e9})
    frame = pd.concat([frame.assign(batch=n) for n in (1, 2, 4)], ignore_index=True)
    tab = opened(frame)
    assert {row: x for row, (x, _) in plotted(tab).items()} == frame["batch"].to_dict()
    views = tab.locator("#views button").all_inner_texts()
    assert views[:2] == ["Throughput by batch", "Accuracy by throughput"]


def test_logarithmic_axes_are_labelled_at_every_range(opened: Open) -> None:
    frame = frame_of()
    ramp = np.arange(len(frame)) / (len(frame) - 1)
    ranges = {"tpot_s.p95": 0.02, "tpot_s.p99": 0.5, "perplexity": 1.3, "loss": 2.2, "tok_per_s": 4, "tpot_s.p50": 0}
    for name, decades in ranges.items():
        frame[name] = 0.61 * 10 ** (decades * ramp)
    tab = opened(frame)
    tab.get_by_label("log y").check()
    show_all(tab)
    for name in ranges:
        tab.get_by_label("y", exact=True).select_option(name)
        found = labels(tab)
        assert 2 <= len(found) <= 9, (name, found)
        assert found == tab.evaluate(
            "document.getElementById('plot').layout.yaxis.tickvals.filter((v) => "
            "Math.log10(v) >= document.getElementById('plot').layout.yaxis.range[0] && "
            "Math.log10(v) <= document.getElementById('plot').layout.yaxis.range[1])"
        ), "written in full"
    tab.evaluate("Plotly.relayout('plot', {'yaxis.range': [Math.log10(0.6), Math.log10(0.63)]})")
    expect(tab.locator("#plot .ytick", has_text="0.61")).to_have_count(1)
    assert labels(tab) == [0.6, 0.61, 0.62, 0.63], "after a zoom too"
    counts = tab.evaluate("""() => Array.from({length: 4000}, (_, n) => {
        const [least, decades] = [10 ** (12 * Math.sin(n)), 10 ** (-3 + 4.5 * (n / 4000))];
        return logTicks(least, least * 10 ** decades).length; })""")
    assert min(counts) >= 2
    assert max(counts) <= 11


def test_colours_stay_with_their_values(opened: Open) -> None:
    frame = frame_of(("dense", "dip", "dip-ca"), n_seeds=2)
    tab = opened(frame)
    looks = """() => Object.fromEntries(document.getElementById("plot").data.map(
        (trace) => [trace.name, [trace.marker.color, trace.marker.symbol]]))"""
    before = tab.evaluate(looks)
    assert len({tuple(look) for look in before.values()}) == 3
    tab.locator("[data-column=method]").get_by_label("dense").uncheck()
    assert tab.evaluate(looks) == {name: before[name] for name in ("dip", "dip-ca")}
    tab.get_by_label("Colour").select_option("tok_per_s")
    ends = [tab.evaluate(f"document.getElementById('plot').layout.coloraxis.{end}") for end in ("cmin", "cmax")]
    assert ends == [frame["tok_per_s"].min(), frame["tok_per_s"].max()]


def test_the_device_is_in_every_label(opened: Open) -> None:
    frame = swept_over(("phone", "other"))
    tab = opened(frame)
    assert tab.locator("#plot .annotation-text").all_text_contents() == ["device other", "device phone"]
    tab.get_by_label("Panels").select_option("")
    tab.get_by_label("device, fixed").select_option("all")
    names = [f"{method} \u00b7 {device}" for method in ("dense", "dip", "dip-ca") for device in ("other", "phone")]
    assert tab.locator("#plot .legendtext").all_text_contents() == names
    looks = tab.evaluate("document.getElementById('plot').data.map((t) => `${t.marker.color} ${t.marker.symbol}`)")
    assert len(set(looks)) == len(names)
    for trace in tab.evaluate("document.getElementById('plot').data.map((t) => [t.name, t.customdata])"):
        device = trace[0].split(" ")[-1]
        assert {frame["profile"][row] for row in trace[1] if row is not None} == {device}
    tab.locator("#plot .point").first.hover(force=True)
    first = tab.locator("#hover div").first.inner_text()
    assert "other" in first or "phone" in first
    assert "device" in tab.locator("#runs-table thead").inner_text()
    tab.get_by_role("button", name="Time breakdown").click()
    assert all("phone" in text or "other" in text for text in tab.locator("#plot .ytick text").all_text_contents())
    bars = tab.evaluate("document.getElementById('plot').data[0].hovertext")
    assert [text.split(" ")[2].rstrip(":") for text in bars] == frame["profile"][:40].tolist()
    tab.get_by_role("button", name="Latency percentiles").click()
    assert "phone" in tab.locator("#caption").inner_text()


def state_of(tab: Page) -> dict[str, Any]:
    """All that a reader sees of what is chosen."""
    controls = "(all) => all.map((one) => one.type === 'checkbox' ? one.checked : one.value)"
    return {
        "controls": tab.eval_on_selector_all(
            "#controls input, #controls select, #fixed select, #all-columns", controls
        ),
        "points": plotted(tab),
        "rows": table_rows(tab),
        "headers": tab.locator("#runs-table th").all_inner_texts(),
        "run": tab.locator("#run").inner_text(),
        "views": tab.eval_on_selector_all("#views button", "all => all.map((one) => one.ariaPressed)"),
    }


def address_of(tab: Page) -> str:
    tab.wait_for_timeout(300)  # it is written when a reader pauses
    return "#" + tab.url.partition("#")[2] if "#" in tab.url else ""


def test_the_address_keeps_what_is_chosen(opened: Open) -> None:
    frame = swept_over((EVIL, "a;b=c&d#e%20+f"))
    frame["seed"] = np.arange(len(frame))
    frame["tag"] = [None if n % 20 == 3 else f"t {n % 20}" for n in range(len(frame))]
    tab = opened(frame)
    opening = state_of(tab)
    assert address_of(tab) == ""
    tab.get_by_label("y", exact=True).select_option("critical_path_s_per_token.flash_latency")
    tab.get_by_label("Colour").select_option("policy")
    tab.get_by_label("method, fixed").select_option("all")
    tab.get_by_label("density, fixed").select_option(label="0.7")
    tab.get_by_label("log x").check()
    tab.get_by_label("lines").uncheck()
    tab.locator("[data-column=profile]").get_by_label(EVIL).uncheck()
    tab.locator("[data-column=density]").get_by_label("0.4").uncheck()
    tab.locator("[data-column=seed]").get_by_label("least").fill("3")
    tab.locator("[data-column=tag] select").select_option(label=[f"t {n}" for n in range(4, 18)] + ["\u2013"])
    tab.get_by_label("throughput (tok/s), most").fill("40.5")
    tab.get_by_label("all columns").check()
    tab.locator("#runs-table th[data-column=tok_per_s] button").click()
    tab.get_by_role("button", name=f"show run {table_rows(tab)[1] + 1}", exact=True).click()
    chosen, address = state_of(tab), address_of(tab)
    assert chosen["points"]
    assert state_of(opened(None, address)) == chosen, "a copied link"
    tab.get_by_role("link", name="Table").click()
    assert address_of(tab) == address, "a part of the page is no choice"
    tab.reload()
    assert state_of(tab) == chosen
    tab.evaluate("location.hash = 'plot=breakdown&run=2'")
    expect(tab.locator("#run h2")).to_contain_text("#2")
    assert address_of(tab) == "#plot=breakdown&run=2"
    tab.evaluate("location.hash = ''")
    expect(tab.locator("#run h2")).to_have_count(0)
    assert state_of(tab) == opening


def test_an_address_that_nobody_wrote_breaks_nothing(opened: Open) -> None:
    frame = frame_of()
    opening = state_of(opened(frame))
    nonsense = (
        "#x=__proto__&y=&colour=nobody&plot=no&run=0&run=99&up=gone&only.density=[&only.method=[%22gone%22]&at.dram=1"
        "&least.tok_per_s=a&most.tok_per_s=&only.x=3&lines=yes&%E0%A4%A=%&__proto__=1&any.nobody="
    )
    for address in (nonsense, "#runs", "#="):
        assert state_of(opened(None, address)) == opening
