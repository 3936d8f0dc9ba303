"""What did fio measure: rates and latencies of reads, from its own JSON."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from dipsim.calibration.document import find_document, read_document
from dipsim.calibration.request import only_reads, option, read_size, request, short
from dipsim.errors import DipsimError, DipsimWarning

_NOT_ALLOWED = 22  # EINVAL
_MOST_ERRORS = 4096  # of Linux
_MOST_JOBS, _MOST_ENTRIES = 1000, 10_000
_SHORTEST_MS = 10  # fio counts whole ones
# By how much reads in flight, counted by Little's law, may differ from what options say. What fio does between reads
# lowers it (by a few hundredths on Flash), copies that options hide double it. Far below one, storage stood idle.
_FACTOR = 1.5
_IDLE = 0.5
_MOST_IN_FLIGHT = 2**20
_SAME = 0.05


@dataclass(frozen=True)
class Point:
    """Reads of one size at one depth.

    Attributes:
        is_random: random, else sequential.
        read_bytes: of each read.
        depth: reads in flight.
        bytes_per_s: of all of them together.
        latency_s: mean, from submission to completion; None where fio did not measure it.
        origin: fio's version and the options, for people.
    """

    is_random: bool
    read_bytes: int
    depth: int
    bytes_per_s: float
    latency_s: float | None
    origin: str


@dataclass(frozen=True)
class _Reads:
    """The reads of one entry: how many, their bytes, the rate, and the mean latency if it was measured."""

    n: float
    n_bytes: float
    bytes_per_s: float
    latency_s: float | None

    @property
    def in_flight(self) -> float:
        """Little's law: reads per second times seconds each."""
        return self.bytes_per_s / self.n_bytes * self.n * (self.latency_s or 0)


def read_results(paths: Sequence[Path]) -> list[Point]:
    """What the files say, each size and depth once: repeated measurements give their mean.

    Raises:
        DipsimError: as `read_document` and `parse`, or no file has random reads.
    """
    points = [point for path in paths for point in _points(read_document(path), str(path))]
    if not any(point.is_random for point in points):
        raise DipsimError(
            f"{', '.join(map(str, paths))}: no random reads, got sequential ones alone; the curve needs jobs with "
            "rw=randread, such as those of 'dipsim calibrate job'"
        )
    return means(points)


def means(points: Iterable[Point]) -> list[Point]:
    """Each kind, size and depth once, random reads first, then by depth and size."""
    same: dict[tuple[bool, int, int], list[Point]] = {}
    for point in points:
        same.setdefault((not point.is_random, point.depth, point.read_bytes), []).append(point)
    return [_mean(group) if len(group) > 1 else group[0] for _, group in sorted(same.items())]


def _mean(group: Sequence[Point]) -> Point:
    latencies = [point.latency_s for point in group if point.latency_s is not None]
    return replace(
        group[0],
        bytes_per_s=fmean(point.bytes_per_s for point in group),
        latency_s=fmean(latencies) if latencies else None,
        origin=f"{group[0].origin}, mean of {len(group)}",
    )


def parse(text: str, where: str) -> list[Point]:
    """Points of one run of fio, in its order; copies of a job (`numjobs`) are added up.

    Jobs that write are left out with a warning, if others read.

    Raises:
        DipsimError: as `find_document`; or a job failed or read nothing, did not read past the page cache, read blocks
            of several sizes, was slowed down on purpose, or ran at the same time as another.
    """
    return _points(find_document(text, where), where)


def _points(result: Mapping[str, Any], where: str) -> list[Point]:
    known = re.match(r"fio-[\w.-]{1,40}$", str(result.get("fio version")))
    version = known[0].replace("-", " ") if known else "fio"
    if re.match(r"fio [12]\.", version):
        raise DipsimError(f"{where}: written by {version}, whose units are others; run fio 3 or later")
    shared = _mapping(result.get("global options"))
    points, writers, deviations = [], [], []
    for entries in _groups(result, where):
        name = short(entries[0].get("jobname"))
        options = [{**shared, **_mapping(entry.get("job options"))} for entry in entries]
        if not any(only_reads(each) for each in options):
            writers.append((name, short(option(options[0], "rw", "readwrite"))))
            continue
        point, stated = _point(entries, options, version, f"{where}: job '{name}'")
        points.append(point)
        if point.depth != stated:
            deviations.append(f"'{name}' {point.depth} for {stated}")
    if not points:
        raise DipsimError(f"{where}: job '{writers[0][0]}': rw: got '{writers[0][1]}'; must be randread or read")
    if writers:
        left_out = [f"'{name}' ({kind})" for name, kind in writers]
        _warn(f"{where}: left out, since they do not read alone: {_some(left_out)}")
    if deviations:
        _warn(
            f"{where}: reads in flight, by reads/s x mean latency, are not those of the options: {_some(deviations)}; "
            "what was measured is taken"
        )
    return points


def _groups(result: Mapping[str, Any], where: str) -> list[list[dict[str, Any]]]:
    """Entries that ran together: one for a job, or one for each of its copies.

    A client lists the jobs of its servers, and once more all of them added up.
    """
    entries = next(filter(None, (_list(result.get(key)) for key in ("jobs", "client_stats"))), [])
    if len(entries) > _MOST_ENTRIES:
        raise DipsimError(f"{where}: holds {len(entries):,} entries; at most {_MOST_ENTRIES:,} are read, split it")
    groups: dict[str, list[dict[str, Any]]] = {}
    hosts = set()
    for entry in entries:
        if not isinstance(entry, dict):
            raise DipsimError(f"{where}: jobs: got {short(repr(entry))}; must be what fio writes")
        if "client_stats" in result and entry.get("jobname") == "All clients":
            continue
        hosts.add(short(entry.get("hostname", "")))
        groups.setdefault(str(entry.get("groupid", entry.get("jobname"))), []).append(entry)
    if len(hosts) > 1:
        raise DipsimError(f"{where}: reads of {len(hosts)} hosts ({_some(sorted(hosts))}); run fio on one alone")
    if not groups:
        raise DipsimError(f"{where}: no jobs; fio ran none")
    if len(groups) > _MOST_JOBS:
        raise DipsimError(f"{where}: holds {len(groups):,} jobs; at most {_MOST_JOBS:,} are read, split it")
    return list(groups.values())


def _point(
    entries: Sequence[dict[str, Any]], options: Sequence[dict[str, Any]], version: str, where: str
) -> tuple[Point, int]:
    """The point of one job, and the depth that its options state."""
    _check_alone(entries, options, where)
    for entry in entries:
        _check_success(entry, where)
    asked = request(options[0], len(entries) if len(entries) > 1 else None, where)
    reads = [_reads(entry, where) for entry in entries]
    n_reads, n_bytes = sum(each.n for each in reads), sum(each.n_bytes for each in reads)
    read_bytes = read_size(options[0], n_bytes, n_reads, asked.depth, where)
    depth, latency_s, origin = asked.depth, None, f"{version} {asked.described}"
    if all(each.latency_s for each in reads):
        latency_s = sum(each.n * (each.latency_s or 0) for each in reads) / n_reads
        depth = _depth(sum(each.in_flight for each in reads), asked.depth, where)
    if depth != asked.depth:
        origin += f", {depth} in flight"
    elif asked.iodepth_is_idle:
        engine = option(options[0], "ioengine") or "psync"
        _warn(f"iodepth does nothing with ioengine={engine}; the depth is numjobs")
    rate = sum(each.bytes_per_s for each in reads)
    return Point(asked.is_random, read_bytes, depth, rate, latency_s, origin), asked.depth


def _depth(in_flight: float, stated: int, where: str) -> int:
    """What options state, unless the measurement says something else."""
    if in_flight > _MOST_IN_FLIGHT:
        raise DipsimError(f"{where}: reads/s x mean latency: got {in_flight:.3g} reads in flight; cannot be")
    if in_flight < _IDLE:
        raise DipsimError(
            f"{where}: reads/s x mean latency: got {in_flight:.2g} reads in flight; storage waited for fio, so run it "
            "without what slows it down"
        )
    return stated if stated / _FACTOR <= in_flight <= stated * _FACTOR else max(1, round(in_flight))


def _check_alone(entries: Sequence[dict[str, Any]], options: Sequence[dict[str, Any]], where: str) -> None:
    """That nothing else read or wrote meanwhile."""
    others = [short(entry.get("jobname")) for entry in entries if entry.get("jobname") != entries[0].get("jobname")]
    if others:
        raise DipsimError(f"{where}: ran at the same time as '{others[0]}'; put 'stonewall' into [global]")
    if len({tuple(option(each, name) for name in ("rw", "bs", "iodepth", "ioengine")) for each in options}) > 1:
        raise DipsimError(f"{where}: ran at the same time as others of its name; put 'stonewall' into [global]")
    for each, entry in zip(options, entries, strict=True):
        if "new_group" in each and entry.get("groupid") and not {"stonewall", "wait_for_previous"} & each.keys():
            raise DipsimError(f"{where}: new_group: ran at the same time as others; put 'stonewall' into [global]")
        for kind in ("write", "trim"):
            if _mapping(entry.get(kind)).get("total_ios"):
                raise DipsimError(
                    f"{where}: also wrote, or jobs that write ran at the same time and group_reporting added them up; "
                    "put 'stonewall' into [global]"
                )


def _check_success(entry: dict[str, Any], where: str) -> None:
    error = int(_number(entry, "error", where)) if "error" in entry else 0
    if error == _NOT_ALLOWED:
        raise DipsimError(
            f"{where}: error {error} ({_meaning(error)}); the file system refuses direct=1 (O_DIRECT), as "
            "tmpfs may, or this block size: read a file on the storage itself"
        )
    if error:
        raise DipsimError(f"{where}: error {error} ({_meaning(error)})")


def _meaning(error: int) -> str:
    return os.strerror(error) if 0 < error < _MOST_ERRORS else "unknown"


def _reads(entry: dict[str, Any], where: str) -> _Reads:
    """What an entry says of its reads; with unified_rw_reporting they are called mixed."""
    read = _mapping(entry.get("read", entry.get("mixed")))
    if "lat_ns" not in read and "lat" in read:
        raise DipsimError(f"{where}: lat: got microseconds, as fio 2 writes them; run fio 3 or later")
    n_reads, n_bytes = _number(read, "total_ios", where), _number(read, "io_bytes", where)
    if n_reads < 1 or n_bytes < 1:
        raise DipsimError(f"{where}: read nothing; give it a longer runtime")
    return _Reads(n_reads, n_bytes, _rate(read, n_bytes, where), _latency_s(read, where))


def _rate(read: dict[str, Any], n_bytes: float, where: str) -> float:
    """Bytes by time, as fio reckons too: in bytes/s since 3.2, before in whole KiB/s alone, coarse for slow reads."""
    written = _number(read, "bw_bytes", where) if "bw_bytes" in read or "runtime" not in read else None
    if written is not None and written < 1:
        raise DipsimError(f"{where}: read nothing; give it a longer runtime")
    if "runtime" not in read:
        return written or 0.0
    runtime_ms = _number(read, "runtime", where)
    if runtime_ms < _SHORTEST_MS:
        raise DipsimError(f"{where}: read for {runtime_ms:g} ms, too short to tell a rate; give it a longer runtime")
    rate = n_bytes / runtime_ms * 1000
    if written is not None and abs(written - rate) > max(1, _SAME * rate):
        raise DipsimError(
            f"{where}: bw_bytes: got {written:.6g}, but io_bytes / runtime = {rate:.6g}; must agree, measure again"
        )
    return rate


def _latency_s(read: dict[str, Any], where: str) -> float | None:
    """From submission on, where that was kept; else of submission and completion, as far as they were."""
    parts = [_measured_ns(read, key, where) for key in ("lat_ns", "clat_ns", "slat_ns")]
    total, completion, submission = parts
    if total is None and completion is not None:
        total = completion + (submission or 0)
    return None if total is None else total * 1e-9


def _measured_ns(read: dict[str, Any], key: str, where: str) -> float | None:
    """The mean; None where fio was told not to look at the clock (gtod_reduce, disable_lat ...) and so writes 0."""
    values = _mapping(read.get(key))
    if "mean" not in values or values.get("N", 1) == 0:
        return None
    return _number(values, "mean", where) or None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(mapping: dict[str, Any], key: str, where: str) -> float:
    value = mapping.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**64:
        return float(value)
    raise DipsimError(f"{where}: {key}: got {short(repr(value))}; must be a number, as fio 3 writes it")


def _some(names: Sequence[str]) -> str:
    """The first of them, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _warn(text: str) -> None:
    warnings.warn(f"fio: {text}", DipsimWarning, stacklevel=2)
