"""Compiled kernels are kept, compiled anew after an edit in any of their files, and have a place wherever they run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest

import dipsim
from dipsim.kernels import compiled_code
from dipsim.kernels.compiled_code import SOURCES, own_place

# `choose_victims` calls `unpack`, which is in another file.
CODE = """
import numpy as np
from dipsim.kernels import choose_victims
chosen = np.zeros(4, np.bool_)
choose_victims(np.array([3.0, 1.0, 2.0, 0.0]), np.ones(4, np.bool_), 2, chosen)
print(*np.flatnonzero(chosen), choose_victims.stats.cache_hits.total())
"""


def chosen_by(folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment | {"PYTHONPATH": str(folder)},
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_an_edit_in_another_file_is_seen(tmp_path: Path) -> None:
    copy = tmp_path / "dipsim" / "kernels"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(str(dipsim.__file__), tmp_path / "dipsim")
    assert [chosen_by(tmp_path) for _ in range(2)] == ["1 3 0", "1 3 1"]  # compiled once, then found
    edited = copy / "bits.py"
    text = edited.read_text()
    assert "flags[i] = (words" in text
    edited.write_text(text.replace("flags[i] = (words", "flags[i] = (~words"))
    assert chosen_by(tmp_path) == "0 2 0"
    (own,) = {path.parent.parent for path in tmp_path.rglob("*.nbc")}  # what was made before is gone
    assert own.parent == copy / "__pycache__"


COMPILED = """
from numba.core import event
from dipsim import Simulation
found = []
with event.install_recorder("numba:compile") as recorder:
    Simulation("oneplus-12-ufs4", "tiny", "dip-ca", density=0.5, dram="0.5x", tokens=8).run().to_json()
print(*(own.data["dispatcher"].py_func.__qualname__ for _, own in recorder.buffer if own.is_start))
"""


@pytest.mark.slow
def test_a_first_run_compiles_what_it_needs_once(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, env=environment, check=True)
    compiled = done.stdout.split()
    assert {"replay_tokens", "best_of", "time_batches", "time_stages", "_submit"} <= set(compiled)
    assert not {"_top_m", "_drop", "_blend", "blended_keys", "top_k"} & set(compiled)  # of other rules
    for name in ("replay_tokens", "batch_reads", "time_batches", "time_stages", "_submit"):
        assert compiled.count(name) == 1, name


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Sources, what the user chose for numba, and the user's cache."""
    sources, chosen, home = (tmp_path / name for name in ("sources", "chosen", "home"))
    for folder in (sources, chosen, home):
        folder.mkdir()
    (sources / "one.py").write_text("one")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(chosen))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return sources, chosen, home


def place_of(sources: Path) -> Path:
    with own_place(sources):
        return Path(numba.config.CACHE_DIR)


def test_the_first_place_that_can_be_written(places: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    sources, chosen, home = places
    assert place_of(sources).parent == chosen
    assert Path(numba.config.CACHE_DIR) == chosen  # others keep theirs
    shutil.rmtree(chosen)
    chosen.touch()  # no folder: root, too, cannot write into it
    assert place_of(sources).parent == sources / "__pycache__"
    shutil.rmtree(sources / "__pycache__")
    (sources / "__pycache__").touch()
    assert place_of(sources).parent == home / "dipsim"
    shutil.rmtree(home)
    home.touch()
    assert place_of_this_process(sources, monkeypatch)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert place_of_this_process(sources, monkeypatch)


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def place_of_this_process(sources: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether it is one that nobody else can enter, and that goes with the process."""
    left: list[Path] = []
    monkeypatch.setattr(compiled_code.atexit, "register", lambda *given, **_: left.append(given[1]))
    own = place_of(sources)
    is_private = own.stat().st_mode & 0o777 == 0o700
    own.rmdir()
    return is_private and left == [own]


def test_a_place_belongs_to_the_sources_as_they_are(places: tuple[Path, Path, Path]) -> None:
    sources, _, home = places
    first = place_of(sources)
    (first / "kernels").mkdir()
    (first / "kernels" / "f.nbc").touch()
    other = home / "other"
    shutil.copytree(sources, other)
    assert place_of(other) != first  # another installation with the same cache
    (sources / "one.py").write_text("two")
    assert place_of(other).exists()
    assert (first / "kernels" / "f.nbc").exists()
    second = place_of(sources)
    assert second != first
    assert not (first / "kernels" / "f.nbc").exists()
    (sources / "one.py").write_text("one")
    assert place_of(sources) == first


def test_it_costs_an_import_less_than_five_milliseconds() -> None:
    best = min(seconds() for _ in range(20))
    assert best < 5e-3


def seconds() -> float:
    start = time.process_time()
    place_of(SOURCES)
    return time.process_time() - start
