"""Settings, terminals and folders around dipsim change nothing of what it makes; what is shown is its own."""

import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from dipsim.cli.terminal import own_terminal, say

DIPSIM = str(Path(sys.executable).with_name("dipsim"))
DRAW = """
import logging
import pandas as pd
logging.getLogger("matplotlib").addHandler(logging.NullHandler())
from dipsim.plots import Plot, looks
from dipsim.plots.look import figure_with
with looks():
    figure, (axes,) = figure_with([""])
    axes.plot([1, 2], [3, 4], label="a")
    axes.legend()
Plot(figure, pd.DataFrame({"x": [1, 2]})).save(path)
"""


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["MPLBACKEND", "MATPLOTLIBRC"])
def test_settings_of_matplotlib_do_not_matter(broken: str, tmp_path: Path) -> None:
    (tmp_path / "rc").write_bytes(b"backend: nonsense\nfigure.dpi: 7\nno line\nfont.family: \xff\n")
    value = {"MPLBACKEND": "of-a-notebook", "MATPLOTLIBRC": str(tmp_path / "rc")}[broken]
    exec(DRAW, {"path": tmp_path / "here.svg"})
    then = "import os, matplotlib; print(os.environ[name], matplotlib.get_backend(), 'MPLBACKEND' in os.environ)"
    script = f"path, name = {str(tmp_path / 'there.svg')!r}, {broken!r}\n{DRAW}\n{then}"
    environment = {name: text for name, text in os.environ.items() if name != "MPLBACKEND"} | {broken: value}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [value, "agg", str(broken == "MPLBACKEND")], "the user's settings are the user's"
    assert (tmp_path / "there.svg").read_bytes() == (tmp_path / "here.svg").read_bytes()


def test_a_terminal_without_our_letters_gets_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    with own_terminal():
        sys.stdout.write("3 µs \udcff\n")
        say("größer")
    streams["stderr"].flush()
    assert streams["stdout"].buffer.getvalue() == b"3 ?s ?\n"  # type: ignore[attr-defined]
    assert streams["stderr"].buffer.getvalue() == b"dipsim: gr??er\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", [False, True], ids=["", "PYTHONWARNINGS"])
def test_warnings_and_logs_of_libraries_are_shown_when_asked_for(
    asked: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["default"] if asked else [])
    monkeypatch.setattr(logging.root, "handlers", [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with own_terminal():
            warnings.warn("of a library", ResourceWarning, stacklevel=1)
            logging.getLogger("a.library").error("of a library")
    assert ("ResourceWarning: of a library" in capfd.readouterr().err) == asked


def test_a_stdout_that_is_full_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([DIPSIM, "list", "profiles"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "dipsim: error: system: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_mistake() -> None:
    process = subprocess.Popen([DIPSIM, "list", "profiles"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.wait()
