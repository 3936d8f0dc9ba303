"""The benchmarks' rooms: every command that is shown is understood, every benchmark stands in its room's README, and
the command that they share prints, keeps and refuses."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import dipsim
from benchmarks import command
from benchmarks.command import Table, add_runs
from dipsim import DipsimError

ROOT = Path(__file__).parent.parent
ROOMS = sorted(path.parent for path in (ROOT / "benchmarks").glob("*/__init__.py"))
# Indented, up to two spaces and what is said of it; or in backticks, perhaps over two lines.
INDENTED = re.compile(r"^ {4}(?:.*&& )?python -m (benchmarks(?:\.\w+)+)(?: (\S.*?))?(?: {2,}.*)?$", re.MULTILINE)
QUOTED = re.compile(r"`python -m (benchmarks(?:\.\w+)+)(?:\s([^`]+))?`")


def commands() -> list[tuple[str, str]]:
    """(module, words) of every command in a README or in a benchmark's docstring."""
    folders = ("benchmarks", "dipsim", "docs", "hwprofiles")
    pages = [*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))]
    texts = [re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL) for page in pages]
    texts += [file.read_text().split('"""')[1] for room in ROOMS for file in benchmarks_of(room)]
    found = {match for text in texts for shape in (INDENTED, QUOTED) for match in shape.findall(text)}
    return sorted((module, " ".join(words.split())) for module, words in found)


def benchmarks_of(room: Path) -> list[Path]:
    """Files that can be run."""
    return [file for file in sorted(room.glob("*.py")) if '\nif __name__ == "__main__":' in file.read_text()]


def parser_of(module: ModuleType) -> ArgumentParser:
    return command.parser(module.__doc__, getattr(module, "options", None))


@pytest.mark.parametrize(("name", "words"), commands())
def test_commands_that_are_shown_are_understood(name: str, words: str) -> None:
    parser_of(importlib.import_module(name)).parse_args(shlex.split(words))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_has_a_readme_with_all_its_benchmarks(room: Path) -> None:
    names = [file.stem for file in benchmarks_of(room)]
    table, *_ = (room / "README.md").read_text().split("\n## ")
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == names
    assert f"({room.name}/README.md)" in (room.parent / "README.md").read_text()
    shown = {name for name, _ in commands()}
    assert {f"benchmarks.{room.name}.{name}" for name in names} <= shown


# --- the shared command ---


def run(monkeypatch: pytest.MonkeyPatch, tables: object, *words: str, options: object = add_runs) -> None:
    monkeypatch.setattr("sys.argv", ["thing", *words])
    command.main("About.", tables, options)


def test_the_example_of_the_readme(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "benchmarks" / "README.md").read_text(), re.M | re.DOTALL)
    monkeypatch.setattr("sys.argv", ["thing", "--runs", "2", "--json", str(tmp_path / "found.json")])
    exec(block, {"__name__": "__main__"})
    found, printed = json.loads((tmp_path / "found.json").read_text()), capsys.readouterr()
    ((row,),) = found["tables"].values()
    assert row["columns"] == 1000
    assert 0 < row["columns_per_s"]["min"] <= row["columns_per_s"]["median"] <= row["columns_per_s"]["max"]
    assert found["options"] == {"runs": 2, "json": str(tmp_path / "found.json")}
    assert found["machine"]["versions"]["dipsim"] == dipsim.__version__
    assert re.findall(r"^(machine|things) *$", printed.out, re.MULTILINE) == ["machine", "things"]
    assert re.search(r"^1000 +\S+ \(\S+ to \S+\) *$", printed.out, re.MULTILINE)
    assert printed.err == f"wrote {tmp_path / 'found.json'}\n"


def test_what_was_found_before_a_failure_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tables(given: Namespace) -> Iterator[Table]:
        yield Table("first", [{"a": 1.23456, "b": float("nan")}, {"c": "x"}])
        yield Table("data", [{"a": 987654}], is_shown=False)
        raise DipsimError("thing: too little")

    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, tables, "--json", str(tmp_path / "found.json"))
    expected = {"first": [{"a": 1.23456, "b": None}, {"c": "x"}], "data": [{"a": 987654}]}
    assert json.loads((tmp_path / "found.json").read_text())["tables"] == expected
    printed = capsys.readouterr()
    assert printed.err.endswith(": thing: too little\n")
    assert printed.err.count("\n") == 1
    assert "1.235" in printed.out
    assert "987654" not in printed.out


@pytest.mark.parametrize("n", ["0", "-1", "1.5", "many"])
def test_no_runs_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], n: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, lambda given: iter(()), f"--runs={n}")
    assert f"must be a whole number of 1 or more, got {n}" in capsys.readouterr().err
