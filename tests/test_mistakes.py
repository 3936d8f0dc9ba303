"""Mistakes as people make them at the command line: one line that says what was typed, what may be, what to type."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dipsim.cli import main
from dipsim.errors import suggestion

MISTAKES = {
    # the wrong order
    "tiny simulate": "No such command 'tiny'; the command comes first: dipsim simulate tiny ...",
    "plot dram results -o x.svg": "plot: got 'dram results'; results come first: dipsim plot results dram ...",
    "simulate tiny oneplus-12-ufs4": "got 'oneplus-12-ufs4' beside TRACE; write --profile oneplus-12-ufs4;",
    "estimate phi-3-mini belady": "got 'belady' beside MODEL; write --policy belady;",
    "demo out": "got 'out'; it takes options alone; 'dipsim demo --help' tells more",
    # something else than it takes
    "simulate phi-3-medium": "a model: 'dipsim estimate phi-3-medium' needs no trace, 'dipsim synth phi-3-medium",
    "simulate iphone-16": "trace: no such file, got 'iphone-16', a device: --profile iphone-16;",
    "simulate tiny --profile folder": "profile: got the folder 'folder'; must be a name or a TOML file",
    "estimate folder": "model: got the folder 'folder'; it holds no config.json",
    "table file.txt": "results 'file.txt': no table of results; give the folder that dipsim sweep made",
    "report results -o report.pdf": "output: got 'report.pdf'; its name must end in .html",
    # nothing at all
    "simulate": "Missing argument 'TRACE': Trace (.zarr or .zarr.zip), or 'tiny' for the one that ships; usage: dipsim "
    "simulate TRACE [OPTIONS]; 'dipsim simulate --help' tells more",
    "plot results dram": "Missing option '--output' / '-o': Figure (.svg, .pdf or .png); its data go beside it as CSV; "
    "usage: dipsim plot RESULTS [KIND] -o FILE",
    "simulate tiny --density": "Option '--density' requires an argument; 'dipsim simulate --help' tells more",
    # names
    "calibrate phone": "No such command 'phone'; choices: fio, host, job;",
    "simulat tiny": "No such command 'simulat'. Did you mean 'simulate', 'estimate'?",
    "simulate tiny --profile 'OnePlus 12'": "did you mean 'oneplus-12-ufs4'?",
    "simulate tiny --policy lru,LFU": "policy: unknown name, got 'lru,LFU'; one of them here; several are an axis of",
    "evaluate tiny held-out --bos maybe": "bos: got 'maybe'; must be one of auto, yes, no;",
    # numbers
    "simulate tiny --density 50%": "density: got '50%'; must be a number, as 0.5; 50% is 0.5;",
    "simulate tiny --density=half": "density: got 'half'; must be a number, as 0.5;",
    "simulate tiny --exempt-top 1.5": "exempt-top: got '1.5'; must be a whole number;",
    "simulate tiny --dram 4gb": "not an amount of bytes, got '4gb'; did you mean '4GB'? (a small b stands for bits); ",
    "simulate tiny --dram 4G": "did you mean '4GB'?",
    "simulate tiny --dram 100K": "did you mean '100kB'?",
    "simulate tiny --dram '2 gi'": "did you mean '2GiB'?",
    # how options are typed
    "simulate tiny -density 0.5": "No such option: -density; did you mean --density?",
    "simulate tiny density=0.5": "got 'density=0.5'; write --density=0.5;",
    "simulate tiny --policy-option half_life 3": "got 'half_life 3'; write --policy-option half_life=3;",
    "simulate tiny --stream-pinned=no": "Option '--stream-pinned' does not take a value;",
    # two of one
    "simulate tiny --policy lru --policy=lfu": "policy: given 2 times; once, or several values as an axis of a sweep",
    "simulate tiny --stream-pinned --no-stream-pinned": "stream-pinned: given 2 times;",
    "sweep file.txt -o a --output b": "output: given 2 times;",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_type(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("a text\n")
    monkeypatch.setattr(sys, "argv", ["dipsim", *shlex.split(line)])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    assert (left.value.code, out, err.count("\n")) == (2, "", 1)
    assert MISTAKES[line] in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder"]


def test_options_with_several_values_may_be_given_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "tiny", "--tokens", "8", "--density", "0.5", "--dram", "0.8x"]
    words += ["--set", "flash.derate=0.5", "--set", "flash.queue_depth=4"]
    monkeypatch.setattr(sys, "argv", ["dipsim", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    assert "throughput" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["list"], ["show"], ["calibrate"]])
def test_without_a_command_the_page_is_shown(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dipsim", *words])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    assert (left.value.code, err) == (2, "")
    assert out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("iphone", "; did you mean 'iphone-16'? (choices: a18-paper, iphone-16)"),
        ("A18 paper", "; did you mean 'a18-paper'? (choices: a18-paper, iphone-16)"),
        ("a", "; choices: a18-paper, iphone-16"),
        ("iphone-16,a18_paper", "; one of them here; several are an axis of a sweep"),
        ("iphone-16,b", "; did you mean 'iphone-16'? (choices: a18-paper, iphone-16)"),
    ],
)
def test_what_may_be_meant(name: str, told: str) -> None:
    assert suggestion(name, ["iphone-16", "a18-paper"]) == told
