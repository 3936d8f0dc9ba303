"""Does a command that was killed at any moment end, when it is given again, with the bytes of an unbroken run?

    python -m benchmarks.robustness.kills --kills 20

Each command runs once unbroken, then, again and again in an empty folder: its group of processes is killed (SIGKILL)
at a random moment of the run's length, and the same command is given again, with --resume or --force where its own
message asks for that. All files of the folder are compared, names and bytes, but for two: the journal of `allocate`,
which says when each trial was, and the lock of a sweep's folder, which is empty. The seed fixes the share of the run's
length after which it is killed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from benchmarks.command import Row, Table, main

SPEC = """trace = "tiny"
tokens = 200
density = [0.3, 0.4, 0.5, 0.6]
method = ["dip", "dip-ca"]
policy = ["lru", "lfu"]
dram = "0.5x"
"""
TEXT = ("tiny", "held-out", "--density", "0.5")
DIP = ("--method", "dip-ca", "--dram", "0.6x", "--window-tokens", "128")
COMMANDS = {
    "sweep": ("sweep", "spec.toml", "-o", "results", "--workers", "2"),
    "tune": ("tune", "tiny", "--max-error", "0.1", "--trials", "8", "--tokens", "200", "-o", "results"),
    "allocate": ("allocate", *TEXT, *DIP, "--tokens", "256", "--trials", "4", "-o", "keeps.json"),
    "adapt": ("adapt", *TEXT, *DIP, "--tokens", "1024", "--steps", "6", "--evaluate-every", "2", "-o", "adapter"),
    "train-predictor": ("train-predictor", "tiny", "held-out", "--epochs", "3", "--tokens", "4096", "-o", "p"),
    "capture": ("capture", "tiny", "held-out", "-o", "trace.zarr.zip", "--sequences", "12"),
    "synth": ("synth", "phi-3-mini", "-n", "128", "-o", "trace.zarr"),
    "evaluate": ("evaluate", *TEXT, *DIP, "--tokens", "2048", "--save-trace", "trace.zarr", "--json", "found.json"),
}
NOT_COMPARED = ("keeps.json.trials", "_lock")


class Ended(NamedTuple):
    """How the command that was given again ended.

    Attributes:
        asked: what it was given in addition.
        told: its stderr.
    """

    asked: str
    told: str


def start(command: Sequence[str], folder: Path, mark: str = "") -> subprocess.Popen[str]:
    """The command, in a folder and a group of processes of its own."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", "from dipsim.cli import main; main()", *command],
        cwd=folder,
        env=os.environ | {"DIPSIM_KILLS": mark, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def to_the_end(command: Sequence[str], folder: Path) -> Ended:
    """Gives the command again, and what it asks for.

    Raises:
        RuntimeError: it fails otherwise.
    """
    more = ""
    while True:
        process = start([*command, more] if more else command, folder)
        _, told = process.communicate()
        if process.returncode == 0:
            return Ended(more or "nothing", told)
        if "or --resume to go on" in told:
            more = "--resume"
        elif "give --force" in told or ("holds no checkpoint" in told and more == "--resume"):
            more = "--force"
        else:
            raise RuntimeError(f"{' '.join(command)}: {told}")


def kill_after(seconds: float, command: Sequence[str], folder: Path) -> tuple[bool, int]:
    """Whether it was killed before it ended, and how many of its processes live on."""
    mark = uuid4().hex
    process = start(command, folder, mark)
    try:
        process.wait(seconds)
        killed = False
    except subprocess.TimeoutExpired:
        killed = True
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(0.2)
    return killed, len(living(mark))


def living(mark: str) -> list[int]:
    """Processes whose environment has the mark."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"DIPSIM_KILLS={mark}".encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:  # of others, or gone
            continue
    return found


def content(folder: Path) -> dict[str, str]:
    """Hash of each file by its name, those that are not compared left out."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(NOT_COMPARED))
    return {file.relative_to(folder).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}


def row(name: str, command: Sequence[str], n_kills: int, seed: int) -> Row:
    """One command, killed so many times."""
    draw = random.Random(f"{seed} {name}")  # noqa: S311
    asked = {"nothing": 0, "--resume": 0, "--force": 0}
    counts = dict.fromkeys(("killed", "same bytes", "partial left", "processes left", "foreign lines"), 0)
    took, expected, wrong = 0.0, dict[str, str](), list[str]()
    for kill in range(-2, n_kills):  # the first warms up, the second is the one to compare with
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
            if kill < 0:
                started = time.perf_counter()
                to_the_end(command, folder)
                took, expected = time.perf_counter() - started, content(folder)
                continue
            share = draw.random()
            killed, n_living = kill_after(share * took, command, folder)
            ended = to_the_end(command, folder)
            found = content(folder)
            counts["killed"] += killed
            counts["same bytes"] += found == expected
            counts["partial left"] += sum(".partial" in path.name for path in folder.rglob("*"))
            counts["processes left"] += n_living
            counts["foreign lines"] += sum(not line.startswith("dipsim: ") for line in ended.told.splitlines())
            asked[ended.asked] += 1
            if found != expected:
                differ = sorted(file for file in found | expected if found.get(file) != expected.get(file))
                wrong.append(f"kill {kill}, at {share:.3f}: {', '.join(differ[:5])}")
    print(*(f"{name}: {one}" for one in wrong), sep="\n", file=sys.stderr)
    needed = {f"needed {more}": n for more, n in asked.items() if more}
    return {
        "command": name,
        "seconds": took,
        "files": len(expected),
        **counts,
        **needed,
        "wrong": "; ".join(wrong),
    }


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--kills", type=int, default=20, help="of each command (20)")
    asked.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    asked.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="commands")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    rows = []
    for name in given.only:
        rows.append(row(name, COMMANDS[name], given.kills, given.seed))
        yield Table(f"{name}: killed, and given again", rows[-1:])
    yield Table("killed at random moments, and given again", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
