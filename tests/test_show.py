"""`dipsim show`: what is said of each thing that plugs in, and that the line which tries it does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dipsim import DipsimError
from dipsim.cli import app
from dipsim.cli.plugged import PLUGGED, registry_of
from dipsim.registry import options_of

ALL = [(kind, name) for word, (kind, *_) in PLUGGED.items() for name in registry_of(word)]
MODEL = ("cats", "predictor")  # tried with a real one
LOAD = '''
"""Loads."""
from __future__ import annotations
from dataclasses import dataclass
import dipsim as ds

@ds.register_load("of-this-test")
@dataclass
class Mine:
    """Somebody reads.

    Source: nobody.

    Args:
        often: how often
            that is.
        late: whether late.
    """
    often: float
    late: bool = False
    def run(self, env, machine):
        yield env.timeout(self.often)
'''


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], env={"COLUMNS": "80"}, prog_name="dipsim")


def examples(text: str) -> list[str]:
    """The lines behind `Example:`, each whole."""
    return re.sub(r" \\\n *", " ", text.partition("\nExample:\n")[2]).strip().splitlines()


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_what_it_is_its_options_and_where_it_comes_from(kind: str, name: str) -> None:
    text = invoke("show", kind, name.upper()).output
    assert text.startswith(f"{kind} '{name}', built in (dipsim.")
    assert max(map(len, text.splitlines())) <= 80
    assert kind in ("budget", "load", "prefetcher") or name == "dense" or "\nSource: " in text
    entry = next(registry_of(word)[name] for word, (own, *_) in PLUGGED.items() if own == kind)
    section = text.partition("\nOptions:\n")[2].partition("\nExample:")[0]
    told = re.split(r"\n  (?=-)", section)
    options = options_of(entry)
    assert len(told) == max(1, len(options))
    for option in told[: len(options)]:
        words = option.split()
        assert re.search(r"\[default: [^]]+\]|\[required\]|default: \[\[", " ".join(words)), option
        assert len(words) > 5, f"{option} is not explained"


@pytest.mark.parametrize(("kind", "name"), [own for own in ALL if own[1] not in MODEL])
def test_the_example_runs(kind: str, name: str) -> None:
    (line,) = examples(invoke("show", kind, name).output)
    first, *words = shlex.split(line)
    few = ["--tokens", "8"] if words[0] == "simulate" else []
    done = invoke(*words, *few)
    assert (first, done.exit_code) == ("dipsim", 0), done.exception
    assert f" {name} " in f" {' '.join(words)} ".replace("=", " ")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODEL)
def test_examples_with_a_model_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = examples(invoke("show", "method", name).output)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)[1:]
        done = invoke(*words, *(["--tokens", "8"] if words[0] == "simulate" else []))
        assert done.exit_code == 0, done.exception


def test_a_plug_in_is_shown_with_what_must_be_given(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LOAD)
    text = invoke("show", "load", "of-this-test", "--plugin", str(tmp_path / "mine.py")).output
    assert text.startswith(f"load 'of-this-test', from {tmp_path / 'mine.py'}\n\nSomebody reads.\n\nSource: nobody.\n")
    plain = " ".join(text.split())
    assert "--load-option of-this-test.often=NUMBER how often that is. [required]" in plain
    assert "--load-option of-this-test.late=true|false whether late. [default: false]" in plain
    (line,) = examples(text)
    assert line.endswith(f"--load of-this-test --load-option of-this-test.often=NUMBER --plugin {tmp_path / 'mine.py'}")
    done = invoke(*shlex.split(line.replace("=NUMBER", "=1"))[1:], "--tokens", "8")
    assert done.exit_code == 0, done.exception


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("method", "dip-cs"), "did you mean 'dip-ca'?"),
        (("policy", "sive"), "did you mean 'sieve'?"),
        (("figure", "pareta"), "did you mean 'pareto'?"),
        (("device", "flash"), "neither a name nor a file, got 'flash'"),
        (("Dip_CA",), "show: got 'Dip_CA'; try 'dipsim show method dip-ca'"),
        (("none",), "try 'dipsim show policy none' or 'dipsim show prefetcher none'"),
        (("s3fifo",), "try 'dipsim show policy s3-fifo'"),
        (("phi-3-medum",), "try 'dipsim show model phi-3-medium'"),
    ],
)
def test_a_near_miss_is_told_what_it_may_mean(words: tuple[str, ...], message: str) -> None:
    done = invoke("show", *words)
    assert isinstance(done.exception, DipsimError)
    assert message in str(done.exception)


def test_other_things_say_what_to_try_beside_what_they_are() -> None:
    assert (
        invoke("show", "profile", "a18-paper").stderr == "dipsim: try: dipsim estimate phi-3-mini --profile a18-paper\n"
    )
    assert "try: dipsim estimate llama-3-8b\n" in invoke("show", "model", "llama-3-8b").stderr
    text = invoke("show", "figure", "pareto").output
    assert examples(text) == ["dipsim plot RESULTS pareto -o pareto.svg"]
    assert "--by" in text
