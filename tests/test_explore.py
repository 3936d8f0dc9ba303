"""The live page: its numbers are those of `dipsim estimate`, every control does something, and it asks nobody."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pandas as pd
import pytest
from conftest import tight_slots
from playwright.sync_api import Browser, Page, expect
from test_cli import complaint, run

import dipsim as ds
from dipsim.cli import main
from dipsim.description import OPTIONS
from dipsim.explore import figures, serving, words
from dipsim.explore.answers import Answer, Answers, Stale
from dipsim.explore.chosen import Chosen, address_of, from_address
from dipsim.explore.recorded import Recorded, read_recorded
from dipsim.installation import how_to_add

OF_TINY = {"profile": "iphone-16", "method": "dip-ca", "density": 0.6, "gamma": 0.3, "dram": "0.7x"}
TINY = Chosen.of("tiny", OF_TINY)
FIRST = Chosen.of("tiny", {"profile": "iphone-16"})
MORE: dict[str, Any] = {
    "profile_values": {"flash.queue_depth": 4},
    "policy": "lru",
    "stream_pinned": False,
    "layout_options": {"bundled": False},
    "loads": ("flash-reader", "dram-traffic"),
    "load_options": {"flash-reader": {"rate_bytes_per_s": 2e8}},
    "io_depth": 8,
}


def answered(chosen: Chosen, answers: Answers | None = None) -> list[Answer]:
    return list((answers or Answers()).of(chosen, lambda: False, lambda text: None))


def known(chosen: Chosen) -> Answer:
    return answered(chosen)[-1]


@pytest.mark.parametrize("options", [{}, OF_TINY, OF_TINY | MORE])
def test_an_address_says_all_of_a_set_up(options: dict[str, Any]) -> None:
    chosen = Chosen.of("tiny", {"profile": "iphone-16"} | options)
    pairs = parse_qsl(urlsplit(address_of(chosen, TINY)).query)
    assert from_address(pairs, FIRST) == (chosen, TINY)
    assert from_address([], FIRST) == (FIRST, None)


@pytest.mark.parametrize("options", [OF_TINY, OF_TINY | MORE])
def test_the_command_can_be_typed_and_gives_the_same_numbers(options: dict[str, Any], tmp_path: Path) -> None:
    answer = known(Chosen.of("tiny", options))
    program, *words_typed = shlex.split(answer.chosen.command)
    assert program == "dipsim"
    done = run(*words_typed, "--json", str(tmp_path / "e.json"))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "e.json").read_text())["runs"]
    assert [row["tok_per_s"] for row in told] == answer.estimate.runs["tok_per_s"].tolist()
    assert [row["hit_rate"] for row in told] == answer.estimate.runs["hit_rate"].tolist()


@tight_slots
def test_answers_come_in_steps_and_end_as_an_estimate() -> None:
    steps = answered(TINY)
    assert [[*answer.estimate.results] for answer in steps] == [
        ["default"],
        ["default"],
        ["low", "default", "high", "dense"],
    ]
    assert [answer.estimate.results["default"].to_dict()["n_tokens"] for answer in steps] == [2, 16, 16]
    assert [answer.is_whole for answer in steps] == [False, False, True]
    found = ds.estimate("tiny", **OF_TINY)
    assert steps[-1].estimate.runs.equals(found.runs)
    assert steps[-1].estimate.headline == found.headline


def test_what_is_known_is_not_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers()
    first = answered(TINY, answers)[-1]
    monkeypatch.setattr("dipsim.estimation.synthesize_in_memory", None)  # scores are kept too
    assert [answer.estimate.runs["tok_per_s"].iloc[-1] for answer in answered(TINY, answers)] == [
        first.estimate.runs["tok_per_s"].iloc[-1]
    ]
    assert answered(Chosen.of("tiny", OF_TINY | {"density": 0.5}), answers)[-1].is_whole


@tight_slots
@pytest.mark.parametrize("loads", [(), ("flash-reader",)])
def test_a_run_for_which_nobody_waits_is_dropped(loads: tuple[str, ...]) -> None:
    n_asked = 0

    def is_stale() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked > 6

    steps = Answers().of(Chosen.of("tiny", OF_TINY | {"loads": loads}), is_stale, lambda text: None)
    with pytest.raises(Stale):
        list(steps)
    assert n_asked <= 9  # and not once for each of thousands of events


def test_of_a_mixture_it_is_experts() -> None:
    answer = known(Chosen.of("granite-3.1-1b-a400m", {"profile": "oneplus-12-ufs4", "dram": "0.6x"}))
    assert [*answer.estimate.results] == ["low", "default", "high", "no cache"]
    assert answer.estimate.described.method == "experts"
    found = ds.estimate("granite-3.1-1b-a400m", "oneplus-12-ufs4", dram="0.6x")
    assert answer.estimate.runs.equals(found.runs)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("model", "tiny"), ("colour", "3")], "colour: unknown key"),
        ([("density", "0.3")], "has no model"),
        ([("model", "tiny"), ("density", "much")], "density: got 'much'"),
        ([("model", "tiny"), ("tokens", "3")], "tokens: an estimate has its own"),
        ([("model", "tiny"), ("with.model", "tiny"), ("with.policy", "7")], "policy"),
    ],
)
def test_addresses_that_say_nothing(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ds.DipsimError, match=message):
        from_address(pairs, FIRST)


def test_figures_show_the_very_numbers() -> None:
    answer = known(TINY)
    numbers = answer.default
    places = pd.read_csv(BytesIO(figures.drawn("memory", {"this": answer}).csv))
    device = ds.HardwareProfile.load("iphone-16").dram
    assert places[places["device"] == "DRAM"]["n_bytes"].sum() == pytest.approx(device.capacity_bytes)
    model = ds.ModelSpec.load("tiny")
    assert places[places["part"] == "MLP"]["n_bytes"].sum() == pytest.approx(model.mlp_bytes)
    in_flash = places[(places["device"] == "Flash") & (places["part"] == "MLP")]["n_bytes"].iloc[0]
    assert in_flash == pytest.approx(model.mlp_bytes - numbers["dram"]["cache_bytes"])
    parts = pd.read_csv(BytesIO(figures.drawn("breakdown", {"this": answer, "pinned": answer}).csv))
    assert parts.groupby("run")["s_per_token"].sum().to_dict() == pytest.approx(
        {name: own["tpot_s"]["mean"] for name, own in answer.numbers.items()}
        | {"pinned: default": numbers["tpot_s"]["mean"]}
    )


def test_a_timeline_is_that_of_the_last_token() -> None:
    answer = known(TINY)
    assert answer.spans is not None
    assert answer.spans.title == "all layers, last token"  # of three
    table = answer.spans.table
    assert set(table["track"]) == {"Flash", "DRAM", "compute"}
    assert (table["end_s"] >= table["start_s"]).all()
    assert table["start_s"].min() == 0
    last = answer.estimate.results["default"].tokens.iloc[-1]
    assert table["end_s"].max() <= last["token_s"]
    # The embedding's and the LM head's work are not of a layer.
    own = table[(table["track"] == "Flash") & (table["category"] == "miss")]
    assert (own["end_s"] - own["start_s"]).sum() == pytest.approx(last["flash_s"], rel=0.2)


def test_only_some_layers_of_many_are_shown() -> None:
    answer = known(Chosen.of("llama-3.2-1b", {"profile": "iphone-16", "dram": "0.7x"}))
    assert answer.spans is not None
    assert answer.spans.title == "layers 6 to 8 of 16, last token"
    assert set(answer.spans.table["layer"].dropna()) == {6, 7, 8}


def test_what_is_yet_to_come_has_its_place() -> None:
    first, *_, last = answered(TINY)
    cells = [re.findall(r"<td>([^<]+)</td>", words.table({"this": one})) for one in (first, last)]
    assert len(cells[0]) == len(cells[1])
    assert cells[0].count("...") == 3 * len(cells[0]) / 4  # low, high and dense
    assert "..." not in cells[1]


def test_strangers_text_is_shown_as_it_is() -> None:
    answer = known(TINY)
    evil = {"this": answer, "<b>": replace(answer)}
    assert "<b>" not in words.table(evil) + words.band(evil, 0)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept") / "results"
    spec: dict[str, Any] = {"trace": "tiny", "profile": "iphone-16", "method": ["dip-ca", "dip"], "density": 0.5}
    spec |= {"policy": ["lru", "lfu-decay"], "dram": "0.7x", "tokens": 8, "profile.flash.derate": [1.0, 0.5]}
    ds.sweep(spec, folder, workers=1)
    return folder


def test_runs_of_results_are_set_ups(results: Path) -> None:
    found = {run.label: run for run in read_recorded(results)}
    assert len(found) == 8
    for one in found.values():
        options = one.chosen.options
        assert options["profile"] == "iphone-16"
        assert options["density"] == 0.5
        assert options["dram"] == "0.7x"
        assert {*options} <= {*OPTIONS} - {"tokens", "context", "model"}
        assert one.chosen.described.policy in one.label
        assert (options.get("profile_values") == {"flash.derate": 0.5}) == ("derate 0.5" in one.label)
        assert options.get("gamma") == (0.2 if options["method"] == "dip-ca" else None)
        assert not {"rule", "exempt_top", "top_m", "policy_options"} & {*options}  # as by default


@pytest.mark.parametrize(
    ("arguments", "message"), [(("--port", "70000"), "port: got 70000; must be from 0"), (("nowhere",), "nowhere")]
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    assert message in complaint(run("explore", "--no-browser", *arguments))


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind((serving.HOST, 0))
        taken.listen()
        assert "give another" in complaint(run("explore", "--no-browser", "--port", str(taken.getsockname()[1])))


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["dipsim", "explore"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert how_to_add("explore") in capsys.readouterr().err


class Served:
    """The command, at work."""

    def __init__(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-c",
            "from dipsim.cli import main; main()",
            "explore",
            "--no-browser",
            "--port",
            "0",
        ]
        self.process = subprocess.Popen(
            [*command, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line
        self.address = found[0]


@pytest.fixture(scope="module")
def served(results: Path) -> Iterator[Served]:
    one = Served(str(results))
    yield one
    one.process.kill()
    one.process.communicate()


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, served: Served) -> Iterator[Open]:
    """Opens the page; afterwards, nobody else was asked and nothing complained."""
    complaints: list[str] = []
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])

    def refuse(route: Any) -> None:
        url = route.request.url
        if url.startswith((served.address, "data:", "blob:")):
            route.continue_()
        else:
            complaints.append(url)
            route.abort()

    context.route("**/*", refuse)

    def open_page(chosen: Chosen | str = TINY) -> Page:
        tab = context.new_page()
        tab.set_viewport_size({"width": 1280, "height": 900})
        tab.set_default_timeout(20_000)
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        query = chosen if isinstance(chosen, str) else address_of(chosen, None)
        tab.goto(served.address + query.removeprefix("/"))
        return tab

    yield open_page
    context.close()
    assert complaints == []


def settled(tab: Page) -> str:
    """Waits for the whole answer; its command."""
    expect(tab.get_by_role("status")).to_have_text("up to date", timeout=20_000)
    return tab.locator(".command").inner_text()


def pick(tab: Page, menu: str, name: str) -> None:
    tab.get_by_role("combobox", name=menu, exact=True).click()
    tab.get_by_role("option", name=name, exact=True).click()


def shows(tab: Page, command: str) -> None:
    """Waits until the page shows this set-up, whole."""
    expect(tab.locator(".command")).to_have_text(command)
    settled(tab)


def slid(tab: Page, slider: str, value: float) -> None:
    tab.get_by_role("slider", name=slider, exact=True).fill(str(value))


def rate_of(tab: Page) -> str:
    return tab.locator(".rate").inner_text()


def names_are_said(tab: Page) -> None:
    """Whatever takes the keyboard has a name for those who do not see it."""
    unnamed = tab.locator("input, button, [tabindex='0']").evaluate_all(
        "all => all.filter(e => e.checkVisibility() && !(e.ariaLabel || e.innerText || e.labels?.[0]?.innerText))"
        ".map(e => e.outerHTML)"
    )
    assert unnamed == []
    assert tab.locator("input[type=range]").count() == tab.get_by_role("slider").count() == 3  # the browser's own


@tight_slots
def test_every_control_does_something(opened: Open) -> None:
    tab = opened()
    assert settled(tab) == TINY.command
    assert rate_of(tab) == ds.estimate("tiny", **OF_TINY).headline.split(": ")[1].split(" tok/s")[0]
    names_are_said(tab)
    for place in range(30, 60):  # what a slider passes on its way is dropped
        slid(tab, "Density", place / 100)
    expected: dict[str, Any] = {**OF_TINY}
    steps: list[tuple[Callable[[], None], dict[str, Any]]] = [
        (lambda: slid(tab, "Density", 0.4), {"density": 0.4}),
        (lambda: tab.get_by_role("spinbutton", name="Density, as a number").fill("0.45"), {"density": 0.45}),
        (lambda: slid(tab, "Gamma", 0.5), {"gamma": 0.5}),
        (lambda: tab.get_by_role("slider", name="Gamma", exact=True).press("ArrowRight"), {"gamma": 0.51}),
        (lambda: pick(tab, "Policy", "lru"), {"policy": "lru"}),
        (lambda: tab.get_by_role("textbox", name="DRAM, as text").fill("0.8x"), {"dram": "0.8x"}),
        (lambda: slid(tab, "DRAM in GB", 1.5), {"dram": "1.5GB"}),
        (lambda: slid(tab, "DRAM in GB", 3), {"dram": None}),
        (lambda: pick(tab, "Loads", "flash-reader"), {"loads": ("flash-reader",)}),
        (lambda: pick(tab, "Loads", "flash-reader"), {"loads": None}),
        (lambda: pick(tab, "Device", "oneplus-15r"), {"profile": "oneplus-15r"}),
        (lambda: pick(tab, "Method", "dip"), {"method": "dip", "gamma": None}),
    ]
    for act, change in steps:
        act()
        if "loads" in change:
            tab.keyboard.press("Escape")
        expected |= change
        expect(tab.locator(".command")).to_have_text(Chosen.of("tiny", expected).command)
    settled(tab)
    pick(tab, "Model", "llama-3.2-1b")
    shows(tab, Chosen.of("llama-3.2-1b", expected).command)
    assert tab.get_by_role("slider", name="Gamma").count() == 0
    assert tab.url.endswith(address_of(Chosen.of("llama-3.2-1b", expected), None))
    tab.get_by_role("button", name="Copy command").click()
    expect(tab.get_by_text("Copied")).to_be_visible()
    assert tab.evaluate("navigator.clipboard.readText()") == Chosen.of("llama-3.2-1b", expected).command


def test_a_run_of_the_results_sets_the_controls(opened: Open, results: Path) -> None:
    tab = opened("")
    one: Recorded = next(run for run in read_recorded(results) if {"profile_values", "gamma"} <= {*run.chosen.options})
    pick(tab, "Run of the results", one.label)
    shows(tab, one.chosen.command)
    expect(tab.get_by_text(one.told)).to_be_visible()
    tab.get_by_role("button", name="Leave out set").click()
    left = {name: value for name, value in one.chosen.options.items() if name != "profile_values"}
    shows(tab, Chosen.of("tiny", left).command)


def fits(tab: Page, width: int) -> None:
    """Nothing goes beyond the right edge."""
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    rights = tab.locator("input, button, .card").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert max(rights) <= width


def test_two_set_ups_stand_side_by_side(opened: Open) -> None:
    tab = opened()
    settled(tab)
    rate = rate_of(tab)
    tab.get_by_role("button", name="Compare with this").click()
    settled(tab)
    slid(tab, "Density", 0.9)
    other = Chosen.of("tiny", OF_TINY | {"density": 0.9})
    shows(tab, other.command)
    assert tab.get_by_role("columnheader").all_inner_texts() == ["default", "pinned", "low", "high", "dense"]
    throughput = tab.get_by_role("row", name="throughput").get_by_role("cell").all_inner_texts()
    assert throughput[1] == rate != throughput[0]
    assert tab.locator(".bands .line").count() == 2
    assert tab.url.endswith(address_of(other, TINY))
    tab.reload()
    settled(tab)
    assert tab.get_by_role("row", name="throughput").get_by_role("cell").all_inner_texts() == throughput
    fits(tab, 1280)
    tab.set_viewport_size({"width": 390, "height": 844})
    fits(tab, 390)
    tab.get_by_role("button", name="Swap with the pinned").click()
    shows(tab, TINY.command)
    assert rate_of(tab) == rate
    tab.get_by_role("button", name="Unpin").click()
    settled(tab)
    expect(tab.locator(".bands .line")).to_have_count(1)
    assert tab.url.endswith(address_of(TINY, None))


def test_figures_are_downloaded(opened: Open, tmp_path: Path) -> None:
    tab = opened()
    settled(tab)
    answer = known(TINY)
    for name, (title, _) in figures.FIGURES.items():
        assert tab.get_by_role("img", name=title).evaluate("image => image.naturalWidth") > 100
        for kind in ("svg", "csv"):
            with tab.expect_download() as download:
                tab.get_by_role("button", name=f"Download {title} as {kind.upper()}").click()
            assert download.value.suggested_filename == f"{name}.{kind}"
            download.value.save_as(tmp_path / f"{name}.{kind}")
        drawn = figures.drawn(name, {"this": answer})
        assert (tmp_path / f"{name}.svg").read_bytes() == drawn.svg
        assert (tmp_path / f"{name}.csv").read_bytes() == drawn.csv


def test_mistakes_are_sentences(opened: Open) -> None:
    tab = opened()
    settled(tab)
    dram = tab.get_by_role("textbox", name="DRAM, as text")
    alert = tab.get_by_role("alert").filter(has_text=re.compile("."))
    for typed, message in (
        ("lots", "dram: not an amount of bytes, got 'lots'"),
        ("9kB", "dram: KV cache of 544 positions"),
    ):
        dram.fill(typed)
        expect(alert).to_contain_text(message)
        expect(tab.get_by_role("status")).to_have_text(
            re.compile("no answer; the numbers shown are of the set-up before")
        )
    dram.fill("0.7x")
    settled(tab)
    expect(alert).to_have_count(0)
    tab.get_by_role("combobox", name="Model", exact=True).fill("/nowhere/config.json")
    tab.keyboard.press("Enter")
    expect(alert).to_contain_text("/nowhere/config.json")
    other = opened("?model=tiny&colour=3")
    expect(other.get_by_text("The address says nothing that can be shown: options: colour")).to_be_visible()


def test_other_names_of_this_machine_are_refused(served: Served) -> None:
    asked = urllib.request.Request(served.address, headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(asked)
    assert serving._listen(0).getsockname()[0] == "127.0.0.1"


def test_ctrl_c_ends_it_with_a_line(served: Served) -> None:
    served.process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = served.process.communicate(timeout=20)
    assert (served.process.returncode, out, err) == (0, "", "dipsim: ended\n")
    assert time.monotonic() - begun < 10
