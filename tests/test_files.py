"""Outputs are whole or not there; what killed writers have left is removed, what living ones write is not."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dipsim import files
from dipsim.errors import DipsimError
from dipsim.files import check_output, remove_left, replacing, temporary_of, write_text

# Prints the name of its temporary, and then holds it until it is killed.
WRITER = """
import sys
from pathlib import Path
from dipsim.files import temporary_of
with temporary_of(Path(sys.argv[1]), is_folder=len(sys.argv) > 2) as temporary:
    if temporary.is_dir():
        (temporary / "chunk").write_text("half")
    else:
        temporary.write_text("half")
    print(temporary, flush=True)
    sys.stdin.read()
"""


@contextmanager
def writer(path: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that writes to a path, and its temporary."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("more", [(), ("folder",)], ids=["file", "folder"])
def test_a_killed_writers_temporary_goes_with_the_next_write(more: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    with writer(out, *more) as (process, temporary):
        write_text(out, "first")
        assert temporary.exists(), "its writer lives"
        assert out.read_text() == "first"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert temporary.exists()
        write_text(tmp_path / "other.zarr", "")
        assert temporary.exists(), "it is of another output"
        write_text(out, "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.zarr", "out.zarr"]
    assert out.read_text() == "second"


def test_whose_a_temporary_is(tmp_path: Path) -> None:
    own = [".a.0f.partial.json", ".a.json.77.partial"]
    others = [".a.b.0f.partial.json", ".a.0f.partial", ".a.partial.json", "a.0f.partial.json", ".b.0f.partial.json"]
    for name in (*own, *others):
        (tmp_path / name).touch()
    (tmp_path / ".a.1.partial.json").symlink_to(tmp_path / "b")
    (tmp_path / ".a.2.partial.json").mkdir()
    os.mkfifo(tmp_path / ".a.3.partial.json")
    remove_left(tmp_path, "a.json")
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".a.1.partial.json"}
    remove_left(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".a.partial.json", "a.0f.partial.json", ".a.1.partial.json"}
    remove_left(tmp_path / "none")


def test_two_writers_in_one_process_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")
    assert (tmp_path / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_temporary_that_was_tidied_up_at_birth_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the making of a file and its lock, somebody else may take it for left."""
    real, n_calls = files._locked, 0

    def late(path: Path, *more: bool, **named: bool) -> int:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            path.unlink()  # before it is opened
        lock = real(path, *more, **named)
        if n_calls == 2:
            path.unlink()  # between opening and locking
        return lock

    monkeypatch.setattr(files, "_locked", late)
    write_text(tmp_path / "a", "whole")
    assert n_calls == 3
    assert (tmp_path / "a").read_text() == "whole"


def test_without_locks_nothing_is_taken_for_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".a.77.partial").touch()
    monkeypatch.setattr(fcntl, "flock", none)
    write_text(tmp_path / "a", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.77.partial", "a"]


def test_what_fails_leaves_nothing_and_names_the_output(tmp_path: Path) -> None:
    for is_folder in (False, True):
        with pytest.raises(OSError, match="disk") as caught, temporary_of(tmp_path / "a", is_folder=is_folder) as made:
            raise OSError(errno.ENOSPC, "disk is full", str(made))
        assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        write_text(tmp_path / "none" / "a", "")
    assert caught.value.filename == str(tmp_path / "none" / "a")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a"):
        raise KeyboardInterrupt
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_interrupt_while_a_temporary_is_made_leaves_nothing(
    is_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupts(path: Path, *more: bool, **named: bool) -> int:
        assert path.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_locked", interrupts)
    with pytest.raises(KeyboardInterrupt), temporary_of(tmp_path / "a", is_folder=is_folder):
        pass
    assert not [*tmp_path.iterdir()]


def test_permissions_are_those_of_any_file(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "any").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_folder_that_is_closed_to_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda place, how: not how & os.W_OK or Path(place) != tmp_path)
    with pytest.raises(DipsimError, match=f"output: got '{tmp_path}/a.json'; nothing can be written in '{tmp_path}'"):
        check_output(tmp_path / "a.json", force=False)
