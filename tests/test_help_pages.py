"""What `--help` says: every command in a line, every option with its kind or choices and its default, at 80 columns."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from dipsim.cache import ADMISSIONS
from dipsim.cli import app
from dipsim.cli.help_pages import OUTPUT, broken, word_of
from dipsim.cli.index import TOPICS
from dipsim.cli.values import VALUES
from dipsim.description import OPTIONS
from dipsim.methods.protocol import RULES
from dipsim.planning.setup import ENGINES, OVERLAPS, SCOPES
from dipsim.sparsify.adapters.recipe import LOSSES
from dipsim.sparsify.loading import DTYPES
from dipsim.synthetic.parameters import PRESETS


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Commands without groups, by what is typed."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, own in command.commands.items():
        yield from leaves(own, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


def page(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}, prog_name="dipsim")
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("path", [(), *sorted({path[:1] for path in COMMANDS} - {*COMMANDS}), *COMMANDS], ids=" ".join)
def test_a_page_fits_80_columns_and_names_no_kind_of_python(path: tuple[str, ...]) -> None:
    text = page(*path)
    assert text.startswith(f"Usage: {' '.join(['dipsim', *path])} ")
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"<\w+>|\b(?:BOOLEAN|INTEGER|list\[|bool\b)", text)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_says_what_it_takes_and_what_it_is_by_default(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        assert parameter.help, parameter.name
        if parameter.param_type_name == "argument" or parameter.is_flag:
            continue
        assert parameter.metavar, parameter.name
        is_told = parameter.required or parameter.multiple or parameter.default is not None
        if not is_told and getattr(parameter, "rich_help_panel", None) != OUTPUT:
            assert re.search("default|instead", parameter.help, re.IGNORECASE), parameter.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_example_is_a_command_that_is_understood(path: tuple[str, ...]) -> None:
    """Its options are there, and have values of the right kind."""
    text = page(*path)
    if "Example:" not in text:
        assert path[0] in ("list", "show", "demo")
        return
    typed = re.sub(r"\s*\\\n\s*", " ", text.partition("Example:\n")[2].partition("\n\n")[0])
    words = shlex.split(typed.partition(" > ")[0], comments=True)
    assert words[: 1 + len(path)] == ["dipsim", *path]
    COMMANDS[path].make_context("dipsim", words[1 + len(path) :])


def test_choices_are_those_that_are_taken() -> None:
    known = {"rule": RULES, "admission": ADMISSIONS, "cache_scope": SCOPES, "overlap": OVERLAPS, "engine": ENGINES}
    assert set(VALUES) <= set(OPTIONS)
    assert {name: VALUES[name] for name in known} == {name: "|".join(own) for name, own in known.items()}
    for (command, option), own in {
        ("capture", "dtype"): DTYPES,
        ("synth", "preset"): PRESETS,
        ("adapt", "loss"): LOSSES,
    }.items():
        (parameter,) = (p for p in COMMANDS[command,].params if p.name == option)
        assert set(parameter.metavar.split("|")) == set(own)


def test_a_command_is_a_line_of_the_first_page() -> None:
    text = page()
    for topic, commands in TOPICS.items():
        assert f"\n{topic}:\n" in text
        for name, (_, what) in commands.items():
            assert re.search(rf"^  {name} +{re.escape(what)}$", text, re.MULTILINE)


def test_a_command_is_loaded_when_it_is_asked_for() -> None:
    code = (
        "import sys\nsys.argv = ['dipsim', {words}]\nfrom dipsim.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted(n for n in sys.modules if n.startswith('dipsim.cli.') or n in ('pydantic', 'pandas')))"
    )
    for words, loads in {"'--help'": set(), "'list', 'models'": {"catalogue"}}.items():
        done = subprocess.run([sys.executable, "-c", code.format(words=words)], capture_output=True, text=True)
        loaded = set(done.stdout.splitlines()[-1].split())
        assert not loaded & {"pandas", "pydantic"} or loads
        commands = {module for own in TOPICS.values() for module, _ in own.values()}
        assert loaded & {f"dipsim.cli.{name}" for name in commands} == {f"dipsim.cli.{name}" for name in loads}


def test_values_have_words() -> None:
    (text,) = (get_args(own)[0] for own in [list[str]])
    assert [word_of(kind) for kind in (int | None, float, text, list[str] | None, bool)] == [
        "N",
        "NUMBER",
        "TEXT",
        "TEXT",
        "TEXT",
    ]


def test_a_long_example_is_broken_before_an_option() -> None:
    line = "dipsim simulate tiny --profile oneplus-12-ufs4 --method dip-ca --density 0.5 --policy lfu --dram 0.5x"
    pieces = broken(line)
    assert max(map(len, pieces)) <= 74
    assert all(piece.startswith("  --") for piece in pieces[1:])
    assert shlex.split("\n".join(pieces).replace("\\\n", "")) == line.split()
