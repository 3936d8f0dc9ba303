"""What is forked is as the installed command: streams, exit codes, folder, environment; and it ends with who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import conftest
import pytest
import warm_start


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(warm_start.ready() / "python"), "-c", code]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("show", "profile", "a18-paper"), ("simulate", "tinyy", "--tokens", "4"), ("simulat",)]
)
def test_a_command_is_as_the_installed_one(words: tuple[str, ...], tmp_path: Path) -> None:
    ended = []
    for command in (warm_start.ready() / "dipsim", Path(sys.executable).with_name("dipsim")):
        done = subprocess.run([command, *words], cwd=tmp_path, capture_output=True, check=False)
        ended.append((done.returncode, done.stdout, done.stderr))
    assert ended[0] == ended[1]


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('no')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_exit_codes_are_those_of_python(code: str, ended: int, tmp_path: Path) -> None:
    assert python(code, tmp_path).returncode == ended


def test_each_has_a_process_of_its_own(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getcwd(), os.environ['MINE'], sys.argv, __name__); print('oh', file=sys.stderr)"
    done = python(script, tmp_path, MINE="a b")
    assert (done.stdout, done.stderr) == (f"{tmp_path} a b ['-c'] __main__\n", "oh\n")
    assert python("import sys; sys.modules['dipsim'].mine = 1; leftover = 1", tmp_path).returncode == 0
    assert python("import dipsim; dipsim.mine", tmp_path).returncode == 1
    assert python("leftover", tmp_path).returncode == 1


def test_what_is_to_be_done_at_the_end_is_done(tmp_path: Path) -> None:
    threads = "import threading, time; threading.Thread(target=lambda: (time.sleep(0.2), print('later'))).start()"
    hooks = "import atexit; atexit.register(print, 'last')"
    assert python(f"{hooks}\n{threads}", tmp_path).stdout == "later\nlast\n"


def test_it_ends_with_who_asked(tmp_path: Path) -> None:
    code = "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    client = subprocess.Popen([str(warm_start.ready() / "python"), "-c", code], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client.send_signal(signal.SIGKILL)
    client.wait()
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("named", "n_workers"),
    [
        ([__file__], 0),
        ([f"{__file__}::test_a", f"{__file__}::test_b"], 0),
        ([], None),
        ([str(Path(__file__).parent)], None),
        ([__file__, conftest.__file__], None),
    ],
)
def test_a_file_that_is_named_alone_starts_no_workers(
    named: list[str], n_workers: int | None, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytestconfig.option, "file_or_dir", named)
    assert conftest.pytest_xdist_auto_num_workers(pytestconfig) == n_workers
