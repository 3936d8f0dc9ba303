"""What is fio asked for, and how does it run here: the job file that ships, one section after another."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from dipsim.calibration.fio import Point, means, parse
from dipsim.errors import DipsimError
from dipsim.units import scaled

MOUNTS = Path("/proc/self/mounts")
_IN_MEMORY = ("tmpfs", "ramfs")
_LARGEST_READ = 2**20


def job_text() -> str:
    """The job file as it ships."""
    return Path(__file__).with_name("flash.fio").read_text(encoding="utf-8")


def sections() -> list[str]:
    """What the job file measures, by name."""
    return [name for name in re.findall(r"^\[(.+)\]$", job_text(), re.MULTILINE) if name != "global"]


def check_storage(folder: Path, file_bytes: int) -> str:
    """Refuses what cannot be measured, before any work; else says on what the folder lies.

    Raises:
        DipsimError: no folder, a file too short or without room, a file system in memory, or fio is not installed.
    """
    if not folder.is_dir():
        raise DipsimError(f"folder: got '{folder}'; must be a folder on the storage to be measured")
    source, kind = _mounted(folder)
    if kind in _IN_MEMORY:
        raise DipsimError(f"folder: '{folder}' is in memory ({kind}); must be a folder on the storage to be measured")
    if file_bytes < _LARGEST_READ:
        raise DipsimError(f"file-bytes: got {file_bytes}; must be at least {_LARGEST_READ}, the largest read")
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < file_bytes:
        needed, free = scaled(file_bytes, "B"), scaled(free_bytes, "B")
        raise DipsimError(f"folder: '{folder}' has room for {free}, got a file of {needed}; make room or it smaller")
    _fio()
    return f"{kind} on {source}"


def run_job(folder: Path, file_bytes: int, seconds_per_point: float, on_point: Callable[[], None]) -> list[Point]:
    """Measures every section; the file that fio reads is removed in any case.

    Raises:
        DipsimError: fio is not installed, or fails.
    """
    text = job_text()
    settings = {"size": file_bytes - file_bytes % _LARGEST_READ, "runtime": f"{round(seconds_per_point * 1000)}ms"}
    for key, value in settings.items():
        text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
    points = []
    with tempfile.TemporaryDirectory(prefix="dipsim-calibrate-", dir=folder) as scratch:
        Path(scratch, "flash.fio").write_text(text, encoding="utf-8")
        for section in sections():
            points += parse(_run(section, scratch), f"fio in '{folder}'")
            on_point()
    return means(points)


def _run(section: str, scratch: str) -> str:
    """The JSON of one section."""
    command = [_fio(), "--output-format=json", f"--section={section}", "flash.fio"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode and '"jobs"' not in done.stdout:  # a job's own failure stands in the JSON
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise DipsimError(f"fio: job '{section}': {said[0]}")
    return done.stdout


def _fio() -> str:
    path = shutil.which("fio")
    if path is None:
        raise DipsimError("fio: not found; install it (Debian, Ubuntu: apt install fio)")
    return path


def _mounted(folder: Path) -> tuple[str, str]:
    """Source and kind of the file system that a folder is in."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown storage", "unknown file system"
    found = ("unknown storage", "/", "unknown file system")
    for line in lines:
        source, point, kind = line.split()[:3]
        point = point.replace("\\040", " ")
        if folder.resolve().is_relative_to(point) and len(point) >= len(found[1]):  # of equal ones the last covers
            found = (source, point, kind)
    return found[0], found[2]
