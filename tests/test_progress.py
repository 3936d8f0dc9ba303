"""What long commands say while they run, where nobody watches a bar: by hand, and by a clock of our own."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from dipsim.cli import ending, terminal


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
    lines = terminal._Lines("running", "runs")
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
    assert [terminal.duration(s) for s in (0.4, 95, 125, 7100, 7300)] == ["0 s", "95 s", "2 min", "118 min", "2.0 h"]
