"""What is killed while it writes ends, when it is given again, with the bytes of an unbroken run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.robustness import kills

CHILD = "import os, sys, time; from dipsim.children import end_with; end_with(os.getppid()); print(); time.sleep(60)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_trace_that_was_killed_half_written(tmp_path: Path) -> None:
    command = ("synth", "phi-3-mini", "-n", "32", "--workers", "1", "-o", "trace.zarr")
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    for folder in (broken, whole):
        folder.mkdir()
    process = kills.start(command, broken)
    while not [*broken.glob(".*partial/new/scores/*/*")]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert [path.name.split(".")[-1] for path in broken.iterdir()] == ["partial"]
    for folder in (broken, whole):
        assert kills.to_the_end(command, folder).asked == "nothing"
    assert [path.name for path in broken.iterdir()] == ["trace.zarr"]
    assert kills.content(broken) == kills.content(whole)
    assert len(kills.content(whole)) > 64


def test_what_the_study_does_not_compare(tmp_path: Path) -> None:
    for name in ("keeps.json", "keeps.json.trials", "_lock", "found"):
        (tmp_path / name).write_text(name)
    assert sorted(kills.content(tmp_path)) == ["found", "keeps.json"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(how)
    parent.communicate()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and "State:\tZ" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)
