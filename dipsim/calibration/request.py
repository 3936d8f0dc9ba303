"""What was a job of fio asked for: kind and size of reads, how many in flight; and does that measure storage?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dipsim.errors import DipsimError

# These read one block at a time, whatever iodepth says; fio's default is psync, on Windows windowsaio.
_SYNCHRONOUS = ("sync", "psync", "vsync", "pvsync", "pvsync2")
# These talk to the device itself, so that there is no page cache to go past.
_PASSTHROUGH = ("io_uring_cmd", "sg")
# And these do not read storage, or read it through the page cache in any case.
_NO_STORAGE = ("null", "cpuio", "mmap", "splice", "net", "netsplice")
_SIZE = re.compile(r"(?P<number>\d{1,12}(\.\d{1,6})?)(?P<prefix>[kmg]?)i?b?")
_LARGEST = 2**32  # fio's own limit
_MOST_IN_FLIGHT = 2**20
_IS_RANDOM = {"read": False, "rw": False, "readwrite": False, "randread": True, "randrw": True}
# What slows reads down, mixes their sizes, or makes some of them come from where others just came from: option ->
# values that do nothing of the kind, and what is wrong.
_SPOILS = {
    "rate": (("", "0"), "limits how fast fio reads; run it without"),
    "rate_iops": (("", "0"), "limits how fast fio reads; run it without"),
    "thinktime": (("", "0"), "makes fio wait between reads; run it without"),
    "latency_target": (("", "0"), "lets fio change the depth; run it without"),
    "verify": (("", "0", "none", "null"), "times fio's checking of what it read; run it without"),
    "read_iolog": (("",), "repeats reads of a log; run randread and read"),
    "bssplit": (("",), "mixes reads of several sizes; give each size a job"),
    "bs_unaligned": (("0",), "mixes reads of several sizes; give each size a job"),
    "percentage_random": (("", "100"), "mixes random reads with others; run it without"),
    "random_distribution": (("", "random"), "reads some places again and again; run it without"),
}


@dataclass(frozen=True)
class Request:
    """What options say of a job.

    Attributes:
        is_random: random, else sequential.
        depth: reads in flight.
        described: the options, for people.
        iodepth_is_idle: an iodepth was given, but the engine waits for each read.
    """

    is_random: bool
    depth: int
    described: str
    iodepth_is_idle: bool


def only_reads(options: Mapping[str, Any]) -> bool:
    """Whether the options ask for reads and nothing else; fio's default is to read."""
    kind = option(options, "rw", "readwrite") or "read"
    if kind in ("rw", "readwrite", "randrw"):
        return option(options, "rwmixread") == "100" or option(options, "rwmixwrite") == "0"
    return kind in _IS_RANDOM


def request(options: Mapping[str, Any], copies: int | None, where: str) -> Request:
    """What a job that only reads was asked for.

    Args:
        options: global ones and the job's own, as fio or a person wrote them.
        copies: entries that were found, each of one copy; None where one entry stands for all of them.
        where: opens the message.

    Raises:
        DipsimError: the options measure something else than storage, or make no sense.
    """
    kind, engine = option(options, "rw", "readwrite") or "read", option(options, "ioengine").split(":")[0]
    _check_storage(options, engine, where)
    iodepth = _count(options, "iodepth", where)
    n_jobs = _count(options, "numjobs", where) if copies is None else copies
    read = "randread" if _IS_RANDOM[kind] else "read"
    described = f"{read} bs={short(_written_size(options))}"
    if engine in ("", *_SYNCHRONOUS):
        described = f"{described} {engine or 'psync'} numjobs={n_jobs}"
        return Request(_IS_RANDOM[kind], n_jobs, described, iodepth > 1)
    described = f"{described} iodepth={iodepth}" + (f" numjobs={n_jobs}" if n_jobs > 1 else "")
    return Request(_IS_RANDOM[kind], iodepth * n_jobs, described, False)


def read_size(options: Mapping[str, Any], n_bytes: float, n_reads: float, in_flight: int, where: str) -> int:
    """Bytes of each read. Whether k is 1024 (fio's habit) or 1000 (its kb_base) shows in the bytes that were read.

    Args:
        options: as for `request`.
        n_bytes: of all reads; those that were in flight when the clock started or stopped count as bytes or as reads.
        n_reads: how many.
        in_flight: that many reads may be counted on one side alone.
        where: opens the message.

    Raises:
        DipsimError: the bytes that were read are not reads of the size that was asked for.
    """
    written = _written_size(options).lower()
    if match := _SIZE.fullmatch(written.split(",")[0].strip() or "4k"):
        power = "kmg".index(match["prefix"]) + 1 if match["prefix"] else 0
        sizes: set[int] = {round(float(match["number"]) * base**power) for base in (1024, 1000)}
        size = min(sizes, key=lambda size: abs(size * n_reads - n_bytes))
        # A hundredth tells 1024 from 1000; the last read of a file may be short.
        spare = max(0.01 * n_reads, min(in_flight, 0.2 * n_reads))
        if 0 < size <= _LARGEST and abs(n_bytes / size - n_reads) <= spare:
            return size
    raise DipsimError(
        f"{where}: reads of {n_bytes / n_reads:.0f} bytes on average with bs={short(written)}; must be of one size"
    )


def option(options: Mapping[str, Any], *names: str) -> str:
    """The text of an option under the first of its names that is there, else ""; of `read,write,trim` that of reads."""
    value = next((options[name] for name in names if name in options), "")
    text = str(int(value)) if isinstance(value, bool) else str(value).strip()
    return "" if value is None else text.split(",")[0].strip().strip('"')


def short(text: object) -> str:
    """Of other people's words, what fits into a line."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)[:400]).split())
    return line if len(line) <= 60 else line[:59] + "…"


def _check_storage(options: Mapping[str, Any], engine: str, where: str) -> None:
    if engine in _NO_STORAGE:
        raise DipsimError(f"{where}: ioengine: got '{engine}', which does not read storage itself; run libaio or psync")
    direct, buffered = option(options, "direct"), option(options, "buffered")
    is_direct = buffered in ("", "0") and (direct or str(int(buffered == "0"))) == "1"
    if engine not in _PASSTHROUGH and not is_direct:
        got = (
            f"buffered: got '{short(buffered)}'; must be 0"
            if buffered
            else f"direct: got '{short(direct) or 0}'; must be 1"
        )
        raise DipsimError(f"{where}: {got}, else fio measures the page cache")
    for name, (idle, why) in _SPOILS.items():
        value = option(options, name)
        if name in options and value not in idle and not (name == "verify" and option(options, "do_verify") == "0"):
            raise DipsimError(f"{where}: {name}: got '{short(value)}', which {why}")


def _written_size(options: Mapping[str, Any]) -> str:
    """`bs` as it was written; a range of one size is that size."""
    ends = option(options, "bsrange", "blocksize_range").split("-")
    if ends != [""]:
        return ends[0] if len(set(ends)) == 1 else "-".join(ends)
    return option(options, "bs", "blocksize") or "4k"


def _count(options: Mapping[str, Any], name: str, where: str) -> int:
    value = option(options, name) or "1"
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and 0 < int(value) < _MOST_IN_FLIGHT):
        raise DipsimError(f"{where}: {name}: got '{short(value)}'; must be a count")
    return int(value)
