"""The fuzzer finds nothing among a few hundred cases, and would find each kind of fault: hangs, floods, tracebacks,
files elsewhere, and what is not one line."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness import fuzz, fuzz_case, fuzz_kinds, fuzz_mutations
from benchmarks.robustness.fuzz_case import Outcome, make_folder, run_case
from benchmarks.robustness.fuzz_kinds import KINDS, carry_out, make_seeds, prepare
from dipsim import Trace
from dipsim.cli.terminal import complain, say

SEED = 3


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sound inputs of all kinds."""
    folder = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))
        make_seeds(folder)
        yield folder


@pytest.mark.slow
def test_no_case_is_bad(tmp_path: Path) -> None:
    """In a process of its own: where other tests have used torch's threads, nothing can be forked any more."""
    root, told = Path(fuzz.__file__).parents[2], tmp_path / "told.json"
    words = [sys.executable, "-m", fuzz.__name__, "--cases", "150", "--seed", str(SEED), "--json", str(told)]
    subprocess.run(words, cwd=root, check=True, capture_output=True)
    tables = json.loads(told.read_text())["tables"]
    assert tables["findings"] == []
    assert {row["kind"] for row in tables["cases"] if row["accepted"]} == {*KINDS, "all"}


# --- would it find them? ---


def outcome_of(work: Callable[[], object], folder: Path) -> Outcome:
    def command() -> int:
        work()
        return 0

    make_folder(folder)
    return run_case(folder, command)


def flood() -> None:
    np.ones(2**24)


def fail() -> None:
    {}["key"]


@pytest.mark.parametrize(
    ("verdict", "about", "work"),
    [
        ("accepted", "", lambda: None),
        ("accepted", "", lambda: Path("out/file").write_text("mine")),
        ("accepted", "", lambda: say("warning: all is well")),
        ("refused", "", lambda: complain("trace: got 3")),
        ("failed", "", lambda: sys.exit(1)),
        ("over memory", "", flood),
        ("traceback", "KeyError", fail),
        ("traceback", "signal 9", lambda: os.kill(os.getpid(), 9)),
        ("traceback", "MemoryError", lambda: np.ones(2**40)),
        ("outside", "write", lambda: Path("in/file").write_text("elsewhere")),
        ("outside", "write", lambda: Path("../file").write_text("elsewhere")),
        ("outside", "write", lambda: Path("canary").open("a").close()),
        ("outside", "mkdir", lambda: Path("home/folder").mkdir()),
        ("outside", "remove", lambda: Path("canary").unlink()),
        ("outside", "rename", lambda: Path("canary").rename("out/canary")),
        ("outside", "changed", lambda: os.mkfifo("in/fifo")),  # seen by its trace alone
        ("outside", "Popen", lambda: subprocess.run(["true"], check=True)),
        ("outside", "system", lambda: os.system("true")),
        ("outside", "connect", lambda: socket.socket().connect_ex(("127.0.0.1", 9))),
        ("untidy", "exit code 3", lambda: sys.exit(3)),
        ("untidy", "0 lines", lambda: sys.exit(2)),
        ("untidy", "2 lines", lambda: (say("error: first"), complain("second"))),
        ("untidy", "not a line", lambda: sys.stderr.write("a library speaks\n")),
        ("untidy", "control", lambda: sys.stderr.write("dipsim: \x1b[2J\n")),
        ("untidy", "half-written", lambda: Path("out/.x.1.partial.json").write_text("")),
        ("untidy", "holds NaN", lambda: Path("out/r.json").write_text("[NaN]")),
    ],
)  # fmt: skip
def test_each_outcome_is_told(
    verdict: str, about: str, work: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_case, "MOST_BYTES", 2**26)
    outcome = outcome_of(work, tmp_path / "case")
    assert (outcome.verdict, about in outcome.about) == (verdict, True), outcome
    assert outcome.is_bad == (verdict not in ("accepted", "refused", "failed"))


def test_a_hang_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_case, "MOST_S", 0.5)

    def hang() -> None:
        if os.fork():
            Path("out/child").write_text("")
        os.open(tmp_path / "fifo", os.O_RDONLY)  # in the kernel, where no handler of Python's is heard

    os.mkfifo(tmp_path / "fifo")
    started = time.monotonic()
    assert outcome_of(hang, tmp_path / "case").verdict == "over time"
    assert time.monotonic() - started < 5
    with pytest.raises(OSError, match="No such device"):  # nobody reads any more
        os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.slow
def test_a_fault_of_a_reader_is_told_with_its_place(
    seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Trace, "open", read)
    found = list(fuzz.cases("trace", range(2), SEED, seeds, tmp_path / "work", tmp_path))
    (row,) = fuzz.findings(found)
    assert (row["verdict"], row["cases"]) == ("traceback", 2)
    assert row["about"].startswith("ZeroDivisionError in dipsim/cli/")
    assert (tmp_path / "trace-0" / "words").is_file()
    assert fuzz.counts(found)[-1]["traceback"] == 2


# --- are cases what they should be? ---


def contents(folder: Path) -> dict[str, bytes | None]:
    """Files of a moderate length, and the names of all else."""
    places = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    is_short = {name: path.is_file() and path.stat().st_size < 2**25 for name, path in places.items()}
    return {name: path.read_bytes() if is_short[name] else None for name, path in places.items()}


def test_a_case_is_made_by_its_seed_alone(seeds: Path, tmp_path: Path) -> None:
    for kind in ("config", "sweep", "counts", "predictor", "words", "expression"):
        made = []
        for seed in ("1", "1", "2"):
            make_folder(tmp_path / "case")
            words = prepare(KINDS[kind], seeds, tmp_path / "case", random.Random(f"{seed}{kind}"), 3)
            made.append((words, contents(tmp_path / "case")))
        assert made[0] == made[1] != made[2], kind


@pytest.mark.parametrize("name", ["config.json", "full.toml", "t.zarr.zip", "counts.npz", "p.safetensors"])
def test_changes_by_format_are_of_all_sorts(name: str, seeds: Path) -> None:
    data, rng = (seeds / name).read_bytes(), random.Random(0)
    change = fuzz_mutations.FORMATS[Path(name).suffix]
    made = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            try:
                made.add(change(rng, data))
            except (ValueError, KeyError):  # the change of a change
                continue
    assert len(made - {data}) > 40


def test_the_words_are_carried_out(seeds: Path, tmp_path: Path) -> None:
    """As on a command line: exit codes and complaints are those of `main`."""
    make_folder(tmp_path / "case")
    shutil.copy(seeds / "r.json", tmp_path / "case" / "in")
    shutil.copy(seeds / "spec.json", tmp_path / "case" / "in")
    of_result = [fuzz_kinds.FROM_CONFIG, "in/r.json"]
    for words, verdict, said in (
        (["list", "policies"], "accepted", ""),
        (["simulate", "nowhere"], "refused", "dipsim: error: trace: no such file, got 'nowhere'"),
        (of_result, "accepted", ""),
        ([of_result[0], "in/spec.json"], "refused", "dipsim: error: result: has no config"),
    ):
        outcome = run_case(tmp_path / "case", partial(carry_out, words))
        assert outcome.verdict == verdict, outcome
        assert outcome.stderr.startswith(said)
