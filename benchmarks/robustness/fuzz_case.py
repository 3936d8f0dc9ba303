"""What fuzz.py runs: one case in a process of its own, with limits, and watched.

A case's folder holds `in` and `home`, which must stay as they are, and `out`, where alone files may be written. Its
process is forked from one that is warm, so that it costs no more than its work.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_S, MOST_BYTES = 10.0, 2 * 2**30
# The system refuses more than that, so that a flood harms no other process.
_BRAKE_BYTES = 3 * 2**30
_FAULT = 70
_PAGE = os.sysconf("SC_PAGE_SIZE")
_REACHES_OUT = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "socket.connect",
    "socket.getaddrinfo",
)
# Which arguments of an event are paths that change.
_CHANGES = dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), (0,))
_CHANGES |= {"os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,)}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        verdict: accepted, refused, failed (exit 1: some runs did), or what is wrong: traceback, over time, over memory,
            outside, untidy.
        about: what is wrong, in words that are the same for cases of one cause.
        took_s: wall time, without what it waited for other processes.
        took_bytes: most memory beyond what the process was born with.
        stderr: what it said.
    """

    verdict: str
    about: str
    took_s: float
    took_bytes: int
    stderr: str = field(repr=False)

    @property
    def is_bad(self) -> bool:
        return self.verdict not in ("accepted", "refused", "failed")


def run_case(folder: Path, work: Callable[[], int | None], may_write: tuple[Path, ...] = ()) -> Outcome:
    """Runs `work`, which gives an exit code or raises SystemExit, in a process whose working directory is the folder.

    Args:
        folder: with `in`, `out` and `home`.
        work: what to do.
        may_write: folders besides `out`, such as those of compiled code.
    """
    before = _listing(folder)
    reading, writing = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(folder, work, writing, may_write)
    os.close(writing)
    status, took_s, used = _wait(child, started)
    with os.fdopen(reading, "rb") as report:
        told = [json.loads(line) for line in report.read().splitlines()]
    stderr = (folder / "stderr").read_text("utf-8", "replace")
    born_bytes = next((line["born_bytes"] for line in told if "born_bytes" in line), 0)
    took_bytes = max(0, used.ru_maxrss * 1024 - born_bytes)
    outside = [line["outside"] for line in told if "outside" in line] + _differences(before, _listing(folder))
    code = None if status is None else os.waitstatus_to_exitcode(status)
    verdict, about = _verdict(code, outside, took_bytes, stderr, folder)
    return Outcome(verdict, about, took_s, took_bytes, stderr)


def _wait(child: int, started: float) -> tuple[int | None, float, resource.struct_rusage]:
    """Its status, None if it had to be killed, its seconds, and what it used; nothing of its group is left."""
    handle, ended, took_s = os.pidfd_open(child), False, 0.0
    while not ended and took_s < MOST_S:
        ended = bool(select.select([handle], [], [], MOST_S - took_s)[0])
        took_s = time.perf_counter() - started - _queued_s(child)
    os.close(handle)
    for kill in (os.killpg, os.kill):  # the group is there only once the child has made it
        with contextlib.suppress(ProcessLookupError):
            kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    return (status if ended else None), took_s, used


def _queued_s(child: int) -> float:
    """Seconds for which it could have run, but other processes did."""
    return int(Path(f"/proc/{child}/schedstat").read_text("ascii").split()[1]) / 1e9


def _child(folder: Path, work: Callable[[], int | None], report: int, may_write: tuple[Path, ...]) -> None:
    """Never returns."""
    code = 99
    try:
        os.setsid()
        for number, name in enumerate(("/dev/null", "stdout", "stderr")):
            opened = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", errors="backslashreplace")
        os.chdir(folder)
        os.environ["HOME"], tempfile.tempdir = str(folder / "home"), str(folder / "out")
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - before the watch, and nothing imported
            address_bytes, born_bytes = (int(n) * _PAGE for n in file.read().split()[:2])
        resource.setrlimit(resource.RLIMIT_AS, (address_bytes + _BRAKE_BYTES, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.write(report, json.dumps({"born_bytes": born_bytes}).encode() + b"\n")
        _watch(report, (folder / "out", *may_write))
        code = work() or 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = _FAULT
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _watch(report: int, may_write: tuple[Path, ...]) -> None:
    """From now on, what is written or started elsewhere is reported; it happens nevertheless."""
    allowed = tuple(os.path.realpath(path) + os.sep for path in may_write)
    is_busy, n_told = False, 0

    def tell(what: str) -> None:
        nonlocal n_told
        n_told += 1
        if n_told <= 20:  # a pipe takes so much before it is read
            os.write(report, json.dumps({"outside": what[:500]}).encode() + b"\n")

    def check(event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if event in ("os.rename", "os.remove", "os.link", "os.symlink"):  # of a link itself, not of what it leads to
            real = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))  # noqa: PTH118, PTH119, PTH120
        else:
            real = os.path.realpath(name)
        is_allowed = (real + os.sep).startswith(allowed) or real.startswith(("/dev/null", "/proc/self/"))
        if not is_allowed and not (event == "os.mkdir" and os.path.isdir(real)):  # noqa: PTH112 - it is there already
            tell(f"{event} {real}")

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal is_busy
        if is_busy:
            return
        is_busy = True  # what is done here is no business of the watch
        try:
            if event == "open" and isinstance(given[2], int) and given[2] & _WRITES:
                check("write", given[0])
            elif event in _CHANGES:
                for place in _CHANGES[event]:
                    check(event, given[place] if event == "os.truncate" else _at(given[place], given[-1]))
            elif event in _REACHES_OUT:
                tell(f"{event} {given!r}")
        finally:
            is_busy = False

    sys.addaudithook(hook)


def _at(path: object, folder: object) -> object:
    """A path below an open folder."""
    if isinstance(folder, int) and folder >= 0 and isinstance(path, str | bytes) and not os.path.isabs(path):  # noqa: PTH117
        return os.path.join(os.path.realpath(f"/proc/self/fd/{folder}"), os.fsdecode(path))  # noqa: PTH118
    return path


def _listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """Everything that must stay as it is, with kind, length and time."""
    found = {}
    for place in (folder, folder / "in", folder / "home"):
        for entry in [*os.scandir(place)] if place == folder else _below(place):
            about = entry.stat(follow_symlinks=False)
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name not in ("stdout", "stderr", "out"):
                found[entry.path] = (about.st_mode, *(() if is_folder else (about.st_size, about.st_mtime_ns)))
    return found


def _below(folder: Path | str) -> list[os.DirEntry[str]]:
    found = [*os.scandir(folder)]
    return found + [inner for entry in found if entry.is_dir(follow_symlinks=False) for inner in _below(entry.path)]


def _differences(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[str]:
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return [f"changed {name}" for name in sorted(names)]


def _verdict(code: int | None, outside: list[str], took_bytes: int, stderr: str, folder: Path) -> tuple[str, str]:
    """What is worst of it."""
    if outside:
        return "outside", outside[0].replace(str(folder), "")
    if took_bytes > MOST_BYTES:
        return "over memory", ""
    if code is None:
        return "over time", ""
    if code == _FAULT or code < 0 or "Traceback (most recent call last)" in stderr:
        return "traceback", f"signal {-code}" if code < 0 else _origin(stderr)
    if wrong := _untidy(code, stderr, folder):
        return "untidy", wrong
    return {0: "accepted", 1: "failed", 2: "refused"}[code], ""


def _origin(stderr: str) -> str:
    """Kind of the last exception, and the innermost line of dipsim's that it came through."""
    last = stderr.rpartition("Traceback (most recent call last)")[2]
    kinds = re.findall(r"^(\w[\w.]*)(?=:|$)", last, re.MULTILINE)
    frames = re.findall(r'File "[^"]*/(dipsim/[^"]+)", line (\d+), in (\w+)', last)
    place = "{}:{} {}".format(*frames[-1]) if frames else "nowhere in dipsim"
    return f"{kinds[0] if kinds else 'unknown'} in {place}"


def _untidy(code: int, stderr: str, folder: Path) -> str:
    """What a user should not see: more or less than a line, others' words, what steers a terminal, half-written files,
    JSON that is none."""
    lines = stderr.removesuffix("\n").split("\n") if stderr else []
    errors = [line for line in lines if not line.startswith("dipsim: warning: ")]
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code == 2 and (len(errors) != 1 or not errors[0].startswith("dipsim: error: ")):
        return f"{len(errors)} lines for an error"
    if others := [line for line in lines if not line.startswith("dipsim: ")]:
        return f"not a line of dipsim's: {others[0][:80]}"
    said = stderr + (folder / "stdout").read_text("utf-8", "replace")
    if found := [one for one in said if unicodedata.category(one) == "Cc" and one not in "\n\t"]:
        return f"control character {found[0]!r}"
    for path in (folder / "out").rglob("*"):
        if path.name.startswith(".") and ".partial" in path.name:  # as dipsim names them
            return "a half-written file stays"
        if code == 0 and path.suffix == ".json" and path.parent == folder / "out":
            try:
                json.loads(path.read_text("utf-8"), parse_constant=_refuse)
            except ValueError as error:
                return f"wrote JSON that is none: {str(error)[:60]}"
    return ""


def _refuse(name: str) -> None:
    raise ValueError(f"holds {name}")


def make_folder(folder: Path) -> None:
    """An empty case."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("in", "out", "home"):
        (folder / name).mkdir(parents=True)
    (folder / "canary").write_text("stays as it is")
