"""What did fio measure: rates and latencies of reads, from its own JSON."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from dipsim.errors import DipsimError, DipsimWarning

# These read one block at a time, whatever iodepth says; fio's default is psync.
_SYNCHRONOUS = ("sync", "psync", "vsync", "pvsync", "pvsync2", "mmap")
_BLOCK = re.compile(r"(?P<number>\d{1,12})(?P<prefix>[kmg]?)i?b?")
_NOT_ALLOWED = 22  # EINVAL
_MOST_ERRORS = 4096  # of Linux


@dataclass(frozen=True)
class Point:
    """Reads of one size at one depth.

    Attributes:
        is_random: random, else sequential.
        read_bytes: of each read.
        depth: reads in flight.
        bytes_per_s: of all of them together.
        latency_s: mean, from submission to completion.
        origin: fio's version and the options, for people.
    """

    is_random: bool
    read_bytes: int
    depth: int
    bytes_per_s: float
    latency_s: float
    origin: str


def read_results(paths: Iterable[Path]) -> list[Point]:
    """What the files say, each size and depth once: repeated measurements give their mean.

    Raises:
        DipsimError: a file cannot be read; else as `parse`.
    """
    points = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise DipsimError(f"{path}: not the JSON of fio; run it with --output-format=json") from None
        except OSError as error:
            raise DipsimError(f"{path}: cannot be read: {error.strerror}") from None
        points += parse(text, str(path))
    return means(points)


def means(points: Iterable[Point]) -> list[Point]:
    """Each kind, size and depth once, random reads first, then by depth and size."""
    same: dict[tuple[bool, int, int], list[Point]] = {}
    for point in points:
        same.setdefault((not point.is_random, point.depth, point.read_bytes), []).append(point)
    return [
        group[0]
        if len(group) == 1
        else replace(
            group[0],
            bytes_per_s=fmean(point.bytes_per_s for point in group),
            latency_s=fmean(point.latency_s for point in group),
            origin=f"{group[0].origin}, mean of {len(group)}",
        )
        for _, group in sorted(same.items())
    ]


def parse(text: str, where: str) -> list[Point]:
    """Points of one run of fio, in its order; copies of a job (`numjobs`) are added up.

    Raises:
        DipsimError: no JSON of fio 3, a job failed or read nothing, did not read past the page cache, wrote, read
            blocks of several sizes, or ran at the same time as another.
    """
    start = re.search(r"^\{", text, re.MULTILINE)  # fio may put notes before it
    try:
        result = json.loads(text[start.start() :]) if start else None
    except (ValueError, RecursionError):
        result = None
    jobs = result.get("jobs") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(jobs, list):
        raise DipsimError(f"{where}: not the JSON of fio; run it with --output-format=json")
    shared, version = result.get("global options", {}), str(result.get("fio version", "fio")).replace("-", " ")
    groups: dict[object, list[dict[str, Any]]] = {}
    for job in jobs:
        if not isinstance(job, dict):
            raise DipsimError(f"{where}: jobs: got {job!r}; must be what fio writes")
        groups.setdefault(str(job.get("groupid")), []).append(job)
    if not groups:
        raise DipsimError(f"{where}: no jobs; fio ran none")
    return [_point(group, shared, version, where) for group in groups.values()]


def _point(copies: list[dict[str, Any]], shared: dict[str, Any], version: str, where: str) -> Point:
    """The point of one job: an entry, or one for each of its copies."""
    names = [str(job.get("jobname")) for job in copies]
    where = f"{where}: job '{names[0]}'"
    if other := next((name for name in names if name != names[0]), None):
        raise DipsimError(f"{where}: ran at the same time as '{other}'; put 'stonewall' into [global]")
    for job in copies:
        _check_success(job, where)
    options = {**_mapping(shared), **_mapping(copies[0].get("job options"))}
    kind, depth, described = _request(options, where)
    reads = [_mapping(job.get("read")) for job in copies]
    n_reads = [_number(read, "total_ios", where) for read in reads]
    rate = sum(_number(read, "bw_bytes", where) for read in reads)
    if not all(n_reads) or rate < 1:
        raise DipsimError(f"{where}: read nothing; give it a longer runtime")
    read_bytes = _block(options, sum(_number(read, "io_bytes", where) for read in reads) / sum(n_reads), where)
    latencies = [_latency_s(read, where) for read in reads]
    latency_s = sum(n * latency for n, latency in zip(n_reads, latencies, strict=True)) / sum(n_reads)
    return Point(kind == "randread", read_bytes, depth, rate, latency_s, f"{version} {described}")


def _check_success(job: dict[str, Any], where: str) -> None:
    error = int(_number(job, "error", where))
    if error == _NOT_ALLOWED:
        raise DipsimError(
            f"{where}: error {error} ({_meaning(error)}); the file system refuses direct=1 (O_DIRECT), as "
            "tmpfs may, or this block size: read a file on the storage itself"
        )
    if error:
        raise DipsimError(f"{where}: error {error} ({_meaning(error)})")


def _meaning(error: int) -> str:
    return os.strerror(error) if 0 < error < _MOST_ERRORS else "unknown"


def _request(options: dict[str, Any], where: str) -> tuple[str, int, str]:
    """What a job was asked for: its kind, reads in flight, and both for people."""
    kind = str(options.get("rw", "read"))
    if kind not in ("read", "randread"):
        raise DipsimError(f"{where}: rw: got '{kind}'; must be randread or read")
    if str(options.get("direct", "0")) != "1":
        raise DipsimError(
            f"{where}: direct: got '{options.get('direct', 0)}'; must be 1, else fio measures the page cache"
        )
    engine, iodepth, n_jobs = (
        str(options.get("ioengine", "psync")),
        _count(options, "iodepth", where),
        _count(options, "numjobs", where),
    )
    described = f"{kind} bs={options.get('bs', '4k')}"
    if engine in _SYNCHRONOUS:
        if iodepth > 1:
            warnings.warn(
                f"fio: iodepth does nothing with ioengine={engine}; the depth is numjobs",
                DipsimWarning,
                stacklevel=2,
            )
        return kind, n_jobs, f"{described} {engine} numjobs={n_jobs}"
    return kind, iodepth * n_jobs, f"{described} iodepth={iodepth}" + (f" numjobs={n_jobs}" if n_jobs > 1 else "")


def _block(options: dict[str, Any], mean_bytes: float, where: str) -> int:
    """Bytes of a read. Whether k is 1024 (fio's habit) or 1000 (its kb_base) shows in the bytes that were read."""
    written = str(options.get("bs", "4k")).split(",")[0].lower() or "4k"
    if match := _BLOCK.fullmatch(written):
        power = "kmg".index(match["prefix"]) + 1 if match["prefix"] else 0
        for base in (1024, 1000):
            n_bytes = int(int(match["number"]) * base**power)
            if abs(n_bytes - mean_bytes) <= 0.01 * mean_bytes:
                return n_bytes
    raise DipsimError(f"{where}: reads of {mean_bytes:.0f} bytes on average with bs={written}; must be of one size")


def _latency_s(read: dict[str, Any], where: str) -> float:
    key = "lat_ns" if "lat_ns" in read else "clat_ns"  # the first counts from submission on, where it was kept
    return _number(_mapping(read.get(key)), "mean", where) * 1e-9


def _count(options: dict[str, Any], key: str, where: str) -> int:
    value = str(options.get(key, 1))
    if not value.isdecimal() or not 0 < int(value) < 2**20:
        raise DipsimError(f"{where}: {key}: got '{value}'; must be a count")
    return int(value)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(mapping: dict[str, Any], key: str, where: str) -> float:
    value = mapping.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise DipsimError(f"{where}: {key}: got {value!r}; must be a number, as fio 3 writes it")
    return float(value)
