"""What long commands say while they run, where nobody watches a bar: by hand, and by a clock of our own."""

from __future__ import annotations

import inspect
import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dipsim as ds
from dipsim import progress
from dipsim.cli import ending, terminal
from dipsim.evaluation import adapt, drift, evaluate
from dipsim.progress import HowFar, duration
from dipsim.sparsify.capture import capture
from dipsim.sparsify.loading import load_model
from dipsim.sparsify.predictor_training import train
from dipsim.tuning.allocate import allocate


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines after hundredths of a second."""
    monkeypatch.setattr(terminal, "FIRST_LINE_S", 0.05)
    monkeypatch.setattr(terminal, "_last_line_s", time.monotonic())


@pytest.mark.usefixtures("quick")
def test_pauses_double(capsys: pytest.CaptureFixture[str]) -> None:
    begun_s = time.monotonic()
    with terminal.progress("training", "steps") as update:
        for i in range(60):
            update(i, 60, "loss 1.5")
            time.sleep(0.01)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= math.log2((time.monotonic() - begun_s) / 0.05 + 1), lines  # at .05, .15, .35 s
    assert lines[0].startswith("dipsim: training loss 1.5: ")
    assert " of 60 steps, " in lines[0]
    assert lines[0].endswith(" s left")


@pytest.mark.usefixtures("quick")
def test_a_phase_that_is_silent_is_told_of_and_one_that_has_ended_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("loading m"):
        time.sleep(0.1)
    time.sleep(0.15)
    assert capsys.readouterr().err == "dipsim: loading m: 0 s so far\n"


def test_short_phases_say_nothing_until_they_are_long_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "FIRST_LINE_S", 60.0)
    monkeypatch.setattr(terminal, "_last_line_s", time.monotonic())
    with terminal.progress("one"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(terminal, "FIRST_LINE_S", 1.0)
    monkeypatch.setattr(terminal, "_last_line_s", time.monotonic() - 1)
    with terminal.progress("two"):
        time.sleep(0.4)
    assert capsys.readouterr().err == "dipsim: two: 0 s so far\n"


def test_rate_and_time_left_count_from_where_it_went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = HowFar("running", "runs")
    assert lines.line(105.0) == "running: 5 s so far"
    lines.update(400, 1000)
    assert lines.line(130.0) == "running: 400 of 1,000 runs, 30 s so far"
    lines.update(440, 1000, "best 2")
    assert lines.line(130.0) == "running best 2: 440 of 1,000 runs, 2.00 runs/s, about 5 min left"
    lines.update(1000, 1000)
    assert lines.line(160.0) == "running: 1,000 of 1,000 runs, finishing, 60 s so far"


@pytest.mark.usefixtures("quick")
def test_an_error_ends_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), terminal.progress("one"):
        raise KeyError
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit])
def test_who_ends_it_is_told_what_is_kept(
    how: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "_kept", None)
    words = ["tune", "a trace", "-o", "x"]
    with pytest.raises(how), ending.keeping("runs", tmp_path / "x", "--resume"):
        raise how
    told = [ending.last_words("interrupted", words)]
    (tmp_path / "x").touch()
    for own in (words, [*words, "--resume"]):
        with pytest.raises(how), ending.keeping("runs", tmp_path / "x", "--resume"):
            raise how
        told.append(ending.last_words("interrupted", own))
    again = "dipsim tune 'a trace' -o x"
    assert told == [
        f"interrupted; nothing is kept; to begin again: {again}",
        *2 * [f"interrupted; runs are kept in {tmp_path / 'x'}; to go on: {again} --resume"],
    ]


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 95, 125, 7100, 7300)] == ["0 s", "95 s", "2 min", "118 min", "2.0 h"]


# --- in a notebook ---


class Display:
    """What a kernel shows: everything that stood in each output, one after another."""

    def __init__(self) -> None:
        self.outputs: list[list[dict[str, str]]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        shown = [data]
        self.outputs.append(shown)
        return SimpleNamespace(update=lambda data, raw: shown.append(data))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Display:
    page = Display()
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()), display=page)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(progress, "FIRST_BAR_S", 0.02)
    monkeypatch.setattr(progress, "LOOK_S", 0.01)
    return page


@progress.shown_in_notebooks("making <b>", "parts")
def slow(parts: int = 2, on_progress: Any = None, sleep_s: float = 0.06) -> Any:
    for done in range(parts):
        time.sleep(sleep_s)
        if on_progress is not None:
            on_progress(done + 1, parts)
    return on_progress


def test_what_takes_long_shows_a_bar_in_a_notebook_and_takes_it_away(page: Display) -> None:
    slow()
    (shown,) = page.outputs
    assert shown[0]["text/plain"] == "making <b>: 0 s so far"
    assert '<progress style="' in shown[0]["text/html"]  # of unknown length
    assert any(one["text/plain"].startswith("making <b>: 1 of 2 parts") for one in shown)
    assert any('<progress value="1" max="2"' in one["text/html"] for one in shown)
    assert not any("<b>" in one["text/html"] for one in shown)
    assert shown[-1] == {"text/html": "", "text/plain": ""}


def test_an_error_takes_the_bar_away(page: Display) -> None:
    with pytest.raises(TypeError):
        slow(parts="two")  # type: ignore[arg-type]
    assert page.outputs == []
    with pytest.raises(TypeError):
        slow(1, sleep_s=0.1, on_progres=None)  # type: ignore[call-arg]


def test_what_is_over_soon_and_whoever_asks_for_progress_see_no_bar(page: Display) -> None:
    slow(1, sleep_s=0)
    told: list[tuple[int, int]] = []
    slow(2, lambda *so_far: told.append(so_far))
    slow(on_progress=lambda *so_far: told.append(so_far))
    assert told == [(1, 2), (2, 2)] * 2
    assert page.outputs == []


def test_parts_of_what_is_told_have_no_bar_of_their_own(page: Display) -> None:
    @progress.shown_in_notebooks("whole")
    def whole(on_progress: Any = None) -> None:
        assert slow() is None

    whole()
    whole(on_progress=lambda done, total: None)
    assert [{one["text/plain"] for one in shown[:-1]} for shown in page.outputs] == [{"whole: 0 s so far"}]
    slow()  # and then they have one again
    assert len(page.outputs) == 2


def test_nothing_is_shown_elsewhere(page: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: None)
    assert slow() is None
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: object())  # IPython in a terminal
    assert slow() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert slow() is None
    assert page.outputs == []


def test_everything_that_tells_of_progress_shows_it_in_notebooks() -> None:
    """Whatever people call with `on_progress` has the decorator."""
    public = [own for own in (getattr(ds, name) for name in ds.__all__) if inspect.isfunction(own)]
    public += [ds.Simulation.run, ds.Simulation.explain, ds.Simulation.headroom, ds.Result.headroom]
    public += [evaluate, drift, adapt, allocate, capture, load_model, train]
    telling = [one for one in public if {"on_progress", "on_step"} & {*inspect.signature(one).parameters}]
    assert len(telling) == 6 + 4 + 7
    for one in telling:
        assert hasattr(one, "__wrapped__"), one
