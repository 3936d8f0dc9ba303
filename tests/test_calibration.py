"""Measured numbers become a profile: fio's results by closed forms, this machine with a fio that only pretends."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import complaint, run

from dipsim import DipsimError, HardwareProfile
from dipsim import calibration as measured
from dipsim.calibration import cores, host
from dipsim.calibration import job as job_module
from dipsim.calibration.fio import Point, means, parse, read_results
from dipsim.calibration.flash import flash_numbers
from dipsim.calibration.profile import document
from dipsim.errors import DipsimWarning
from dipsim.profile import FlashSpec

REAL = Path(__file__).with_name("fio-3.33.json")
GLOBAL = {"direct": "1", "ioengine": "libaio", "rw": "randread"}


def entry(
    options: dict[str, Any],
    rate: float = 1e9,
    read_bytes: int = 4096,
    latency_s: float | None = None,
    **changes: object,
) -> dict[str, Any]:
    """What fio writes of a job that read for a second, by default with as many in flight as its options say."""
    n_reads = round(rate / read_bytes)
    if latency_s is None:
        in_flight = 1
        for value in (options.get("iodepth"), options.get("numjobs")):
            in_flight *= int(value) if str(value).isdecimal() else 1
        latency_s = in_flight / max(n_reads, 1)
    read = {"io_bytes": n_reads * read_bytes, "total_ios": n_reads, "bw_bytes": rate}
    read |= {"lat_ns": {"mean": latency_s * 1e9}, "clat_ns": {"mean": latency_s * 0.9e9}}
    return {"jobname": "a", "groupid": 0, "error": 0, "job options": options, "read": read} | changes


def result(*jobs: dict[str, Any], shared: dict[str, str] = GLOBAL) -> str:
    return json.dumps({"fio version": "fio-3.33", "global options": shared, "jobs": jobs})


def point(read_bytes: int, depth: int, rate: float, latency_s: float = 1e-4, random: bool = True) -> Point:
    return Point(random, read_bytes, depth, rate, latency_s, f"{read_bytes} at {depth}")


def test_what_fio_wrote_here_obeys_littles_law() -> None:
    """Depth = reads per second * seconds each, and rate = reads per second * bytes: fio says all of them apart."""
    jobs = json.loads(REAL.read_text())["jobs"]
    iops = {job["jobname"]: sum(j["read"]["iops"] for j in jobs if j["jobname"] == job["jobname"]) for job in jobs}
    points = parse(REAL.read_text(), "real")
    described = [(p.is_random, p.read_bytes, p.depth) for p in points]
    assert described == [(True, 4096, 1), (True, 65536, 1), (True, 4096, 16), (True, 65536, 16), (False, 2**20, 16)]
    for p, per_s in zip(points, iops.values(), strict=True):
        assert p.bytes_per_s == pytest.approx(per_s * p.read_bytes, rel=1e-3)
        assert p.latency_s is not None
        assert per_s * p.latency_s == pytest.approx(p.depth, rel=0.07)
    assert points[3].origin == "fio 3.33 randread bs=64k iodepth=8 numjobs=2"


def test_copies_of_a_job_are_added_whether_fio_reports_them_together_or_not() -> None:
    options = {"bs": "4k", "iodepth": "8", "numjobs": "2"}
    apart = entry(options, 4096e3, latency_s=8 / 1000), entry(options, 3 * 4096e3, latency_s=8 / 3000)
    (one,) = parse(result(*apart), "f")
    assert (one.depth, one.bytes_per_s) == (16, 4 * 4096e3)
    assert one.latency_s == pytest.approx((1 * 8 / 1000 + 3 * 8 / 3000) / 4)  # one of four reads took the longer time
    (together,) = parse(result(entry(options, 4 * 4096e3, latency_s=one.latency_s)), "f")
    assert together == one
    hidden = [job | {"job options": {"bs": "4k", "iodepth": "8"}} for job in apart]
    assert parse(result(*hidden), "f") == [one]


@pytest.mark.parametrize(
    ("written", "n_bytes"),
    [
        ("4k", 4096),
        ("4K", 4096),
        ("4kb", 4096),
        ("4096", 4096),
        ("64ki", 65536),
        ("64KiB", 65536),
        ("1m", 2**20),
        ("16k,8k,4k", 16384),
        (",8k", 4096),  # of writes alone
        ("4k", 4000),  # with fio's kb_base=1000
        ("1m", 1_000_000),
        ("1.0MB", 2**20),
    ],
)
def test_block_sizes_as_people_write_them(written: str, n_bytes: int) -> None:
    (one,) = parse(result(entry({"bs": written}, 1e9, n_bytes)), "f")
    assert one.read_bytes == n_bytes


def test_fio_has_defaults_and_jobs_overrule_what_is_global() -> None:
    (one,) = parse(result(entry({}), shared={"direct": "1", "ioengine": "io_uring"}), "f")
    assert (one.is_random, one.read_bytes, one.depth) == (False, 4096, 1)
    (one,) = parse(result(entry({"rw": "randread", "iodepth": "4"}), shared=GLOBAL | {"rw": "write"}), "f")
    assert (one.is_random, one.depth) == (True, 4)


def test_latency_is_from_submission_where_fio_says_so() -> None:
    job = entry({}, 4096 / 2e-4)
    assert parse(result(job), "f")[0].latency_s == pytest.approx(2e-4)
    del job["read"]["lat_ns"]
    assert parse(result(job), "f")[0].latency_s == pytest.approx(0.9 * 2e-4)
    job["read"] |= {"lat_ns": {"mean": 0.0, "N": 0}, "slat_ns": {"mean": 5e3}}  # disable_lat=1
    assert parse(result(job), "f")[0].latency_s == pytest.approx(0.9 * 2e-4 + 5e-6)
    del job["read"]["lat_ns"]["N"]  # as before fio 3.3
    assert parse(result(job), "f")[0].latency_s == pytest.approx(0.9 * 2e-4 + 5e-6)


def test_threads_are_the_depth_of_an_engine_that_waits() -> None:
    for shared in (GLOBAL | {"ioengine": "psync"}, {"direct": "1", "rw": "randread"}):
        (one,) = parse(result(entry({"numjobs": "4"}), shared=shared), "f")
        assert (one.depth, one.origin) == (4, "fio 3.33 randread bs=4k psync numjobs=4")
        with pytest.warns(DipsimWarning, match="iodepth does nothing with ioengine=psync; the depth is numjobs"):
            (one,) = parse(result(entry({"numjobs": "4", "iodepth": "32"}, latency_s=4 / 244141), shared=shared), "f")
        assert one.depth == 4


def test_notes_before_the_json_are_passed_over() -> None:
    text = result(entry({}))
    assert parse("fio: note: {something}\n" + text, "f") == parse(text, "f")


def test_what_is_there_twice_counts_with_its_mean(tmp_path: Path) -> None:
    for name, rate in (("one", 1e9), ("two", 2e9), ("three", 6e9)):
        (tmp_path / name).write_text(result(entry({"bs": "4k"}, rate)))
    made = measured.calibrate_fio([tmp_path / n for n in ("one", "two", "three")], tmp_path / "o.toml", "a18-paper")
    numbers = {place: (value, origin) for place, value, origin in measured.numbers(made)}
    assert numbers["flash.read_curve"][0] == [[4096, 3e9, 1]]
    mean_s = pytest.approx(4096 * (1 + 1 / 2 + 1 / 6) / 3e9, rel=1e-3)
    assert numbers["flash.latency_s"] == (mean_s, "A: measured, fio 3.33 randread bs=4k iodepth=1, mean of 3")


def test_the_rate_is_bytes_by_time_where_fio_writes_it_coarsely_or_not_at_all() -> None:
    """fio 3.1 has no bw_bytes, and bw in whole KiB/s: of 13286 bytes/s it says 12."""
    job = entry({"iodepth": "8"}, 13_286.0, latency_s=8 / 3.2437)
    del job["read"]["bw_bytes"]
    job["read"] |= {"io_bytes": 360 * 4096, "total_ios": 360, "runtime": 110_982, "bw": 12}
    assert parse(result(job), "f")[0].bytes_per_s == pytest.approx(360 * 4096 / 110.982)
    job["read"]["bw_bytes"] = 13_286
    assert parse(result(job), "f")[0].bytes_per_s == pytest.approx(360 * 4096 / 110.982)
    job["read"]["bw_bytes"] = 12 * 1024
    with pytest.raises(DipsimError, match=r"f: job 'a': bw_bytes: got 12288, but io_bytes / runtime = 13286"):
        parse(result(job), "f")


NOTES = "fio: job {a} rejected, see {x}\r\nfio: this platform does not support process shared mutexes {\r\n"
PLAIN = result(entry({"bs": "4k"}))


@pytest.mark.parametrize(
    "data",
    [
        (NOTES + PLAIN).encode(),
        (PLAIN + "\nr4k: (groupid=0, jobs=1): err= 0: {}\n3;fio-3.33;a;0;0;{").encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        (NOTES + PLAIN).encode("utf-16"),
        (NOTES + PLAIN).encode("utf-16-le"),
        NOTES.encode() + "Temps écoulé\n".encode("latin-1") + PLAIN.encode(),
        json.dumps(json.loads(PLAIN), indent=2, sort_keys=True).replace("\n", "\r\n").encode(),
        json.dumps({"status": [{"code": "OK"}], "raw": {"result": json.loads(PLAIN)}}).encode(),  # kubestr's own
        ("x" + PLAIN).encode(),
    ],
)
def test_the_document_is_found_wherever_and_however_it_was_written(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "r").write_bytes(data)
    assert read_results([tmp_path / "r"]) == parse(PLAIN, "f")


def test_two_results_in_a_file_are_one_too_many() -> None:
    for text in (PLAIN + PLAIN, f"[{PLAIN}, {PLAIN}]", f"{PLAIN[:-9]}\n{PLAIN}"):
        with pytest.raises(DipsimError, match=r"^f: holds several results of fio"):
            parse(text, "f")


def test_a_client_lists_the_jobs_of_its_servers_and_their_sum() -> None:
    job = entry({"bs": "4k", "iodepth": "8"}) | {"hostname": "phone", "port": 8765}
    text = json.loads(result(job, job | {"jobname": "All clients", "read": {}}))
    text["client_stats"] = text.pop("jobs")
    assert parse(json.dumps(text), "f") == parse(result(job), "f")
    text["client_stats"].append(job | {"hostname": "tablet"})
    with pytest.raises(DipsimError, match=r"^f: reads of 2 hosts \(phone, tablet\); run fio on one alone"):
        parse(json.dumps(text), "f")


@pytest.mark.parametrize(
    ("in_flight", "depth"), [(8.2, 8), (11.9, 8), (12.1, 12), (32, 32), (5.4, 8), (5.3, 5), (1, 1)]
)
def test_the_depth_is_what_was_in_flight_where_options_hide_it(in_flight: float, depth: int) -> None:
    """Sections that group_reporting added up show in no option, nor does a queue that never filled."""
    text = result(entry({"iodepth": "8"}, 4096e3, latency_s=in_flight / 1000))
    if depth == 8:
        assert parse(text, "f")[0].depth == 8
        return
    with pytest.warns(
        DipsimWarning, match=f"fio: f: reads in flight, .* are not those of the options: 'a' {depth} for 8"
    ):
        (one,) = parse(text, "f")
    assert (one.depth, one.origin) == (depth, f"fio 3.33 randread bs=4k iodepth=8, {depth} in flight")


NOT_TIMED = {key: {"min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0} for key in ("lat_ns", "clat_ns", "slat_ns")}


@pytest.mark.parametrize(
    "untimed",
    [
        NOT_TIMED,
        {key: {"mean": 0.0} for key in NOT_TIMED},
        {key: {"mean": 5.0, "N": 0} for key in NOT_TIMED},
        dict.fromkeys(NOT_TIMED),
    ],
)
@pytest.mark.parametrize(
    ("depth", "origin"),
    [
        (1, "derived: latency not measured, 1 in flight / 1000 reads per s, fio 3.33"),
        (64, "D: latency not measured at depth 64 alone, waiting included, 64 in flight / 1000 reads per s, fio 3.33"),
    ],
)
def test_a_latency_that_was_not_timed_is_not_called_measured(
    tmp_path: Path, depth: int, origin: str, untimed: dict[str, Any]
) -> None:
    """As with gtod_reduce=1, of which fio says 0."""
    job = entry({"iodepth": str(depth)}, 4096e3)
    job["read"] |= untimed
    (tmp_path / "r.json").write_text(result(job, shared=GLOBAL | {"gtod_reduce": "1"}))
    made = measured.calibrate_fio([tmp_path / "r.json"], tmp_path / "o.toml", "a18-paper")
    numbers = {place: (value, said) for place, value, said in measured.numbers(made)}
    assert numbers["flash.latency_s"] == (depth / 1000, f"{origin} randread bs=4k iodepth={depth}")
    assert numbers["flash.queue_depth"] == (depth, "D: the only depth measured, whether or not the device needs it")
    measured.write(made, tmp_path / "o.toml")
    assert HardwareProfile.load(tmp_path / "o.toml").flash.latency_s == depth / 1000


SPOILED = {
    "rate": ("100m", ",5m"),
    "rate_iops": ("500", "0"),
    "thinktime": ("10ms", "0"),
    "latency_target": ("1ms", "0"),
    "verify": ("crc32c", "0"),
    "read_iolog": ("log", ""),
    "bssplit": ("4k/50:64k/50", ""),
    "bs_unaligned": ("", "0"),
    "percentage_random": ("50", "100"),
    "random_distribution": ("zipf:1.2", "random"),
    "ioengine": ("mmap", "windowsaio"),
    "bsrange": ("4k-8k", "4k-4k"),
    "buffered": ("1", "0"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_what_does_not_show_how_fast_storage_is_is_refused_by_name(name: str) -> None:
    bad, good = SPOILED[name]
    for shared, options in (({name: bad}, {}), ({}, {name: bad}), ({name: good}, {name: bad})):
        with pytest.raises(DipsimError, match=f"^f: job 'a': .*({name}: got|with bs=4k-8k)"):
            parse(result(entry(options), shared=GLOBAL | shared), "f")
    assert parse(result(entry({name: good}), shared=GLOBAL | {name: bad}), "f")[0].read_bytes == 4096


@pytest.mark.parametrize(
    "options",
    [
        {"rw": "randread", "bs": 4096, "iodepth": 4, "direct": 1},
        {"readwrite": "randread", "blocksize": "4K", "iodepth": "4", "direct": True},
        {"rw": "randread", "iodepth": "4", "buffered": "0"},
        {"rw": "randrw", "rwmixread": "100", "iodepth": "4", "direct": "1"},
        {"rw": "randread", "bs": "4KB,64k", "iodepth": "4", "direct": "1"},
    ],
)
def test_options_have_other_names_and_types(options: dict[str, Any]) -> None:
    (one,) = parse(result(entry(options), shared={"ioengine": "io_uring"}), "f")
    assert (one.is_random, one.read_bytes, one.depth) == (True, 4096, 4)


def test_reads_under_way_when_the_clock_started_are_no_other_size() -> None:
    """With ramp_time, bytes of 64 reads count that are not counted as reads; a hundredth of a second size is none."""
    job = entry({"bs": "1m", "iodepth": "64"}, 300e6, 2**20)
    job["read"]["io_bytes"] += 50 * 2**20
    assert parse(result(job), "f")[0].read_bytes == 2**20
    job["read"]["io_bytes"] += 50 * 2**20
    with pytest.raises(DipsimError, match="must be of one size"):
        parse(result(job), "f")


def test_jobs_that_write_are_left_out_beside_some_that_read() -> None:
    written = {"write": {"total_ios": 9}, "read": {}}
    jobs = [entry({}), entry({"rw": "randwrite"}, groupid=1, jobname="w") | written]
    jobs.append(entry({"rw": "randrw", "rwmixread": "75"}, groupid=2, jobname="m") | written)
    with pytest.warns(
        DipsimWarning, match=r"f: left out, since they do not read alone: 'w' \(randwrite\), 'm' \(randrw\)"
    ):
        assert parse(result(*jobs), "f") == parse(result(entry({})), "f")


BAD = {
    "": "not the JSON of fio; run it with --output-format=json",
    "[]": "not the JSON of fio",
    "{": "not the JSON of fio",
    "4k: (g=0): rw=randread, bs=(R) 4096B-4096B": "not the JSON of fio",
    '{"a": ' + "[" * 100_000: "not the JSON of fio",
    '{"jobs": 3}': "not the JSON of fio",
    '{"jobs": {"a": {}}}': "not the JSON of fio",
    PLAIN[:200]: "r.json: the JSON of fio is damaged or cut off: Unterminated string",
    '{"fio version": "fio-3.33", "jobs": ' + "[" * 90 + "]" * 90 + "}": "nested more than 64 deep",
    '{"jobs": [' + "{}," * 10_000 + "{}]}": "holds 10,001 entries; at most 10,000 are read, split it",
    result(*(entry({}, groupid=i) for i in range(1001))): "holds 1,001 jobs; at most 1,000 are read, split it",
    PLAIN.replace("244141", "9" * 400): "r.json: holds a whole number of more than 30 digits",
    PLAIN.replace("fio-3.33", "fio-2.17"): "r.json: written by fio 2.17, whose units are others; run fio 3 or later",
    result(entry({}) | {"read": {"total_ios": 1, "lat": {"mean": 9}}}): "job 'a': lat: got microseconds, as fio 2",
    result(entry({}) | {"jobname": "a\nb", "error": 5}): "job 'a b': error 5",
    result(entry({}, latency_s=1e-6)): "got 0.24 reads in flight; storage waited for fio",
    result(entry({}, latency_s=1e9)): "reads in flight; cannot be",
    result(entry({}) | {"write": {"total_ios": 3}}): "job 'a': also wrote, or jobs that write ran at the same time",
    result(entry({}), entry({"bs": "8k"}, 1e9, 8192)): "ran at the same time as others of its name",
    result(
        entry({}), entry({"new_group": ""}, groupid=1)
    ): "new_group: ran at the same time as others; put 'stonewall'",
    result(entry({}) | {"read": entry({})["read"] | {"runtime": 3}}): "read for 3 ms, too short to tell a rate",
    result(entry({}) | {"read": entry({})["read"] | {"runtime": "1"}}): "job 'a': runtime: got '1'; must be a number",
    result(entry({}) | {"read": entry({})["read"] | {"io_bytes": 1e999}}): "job 'a': io_bytes: got inf; must be",
    result(entry({}) | {"read": entry({})["read"] | {"lat_ns": {"mean": -1}}}): "job 'a': mean: got -1; must be",
    result({"jobname": "a", "job options": {}}): "job 'a': total_ios: got None; must be a number",
    result(entry({"rw": "read:8k"})): "job 'a': rw: got 'read:8k'; must be randread or read",
    '{"jobs": []}': "no jobs; fio ran none",
    '{"jobs": [3]}': "jobs: got 3",
    result(entry({}) | {"error": 5}): "job 'a': error 5 (Input/output error)",
    result(entry({}) | {"error": 22}): "error 22 (Invalid argument); the file system refuses direct=1 (O_DIRECT)",
    result(entry({}) | {"error": "no"}): "job 'a': error: got 'no'; must be a number, as fio 3 writes it",
    result(entry({"direct": "0"})): "job 'a': direct: got '0'; must be 1, else fio measures the page cache",
    result(entry({}), shared={"rw": "randread"}): "direct: got '0'",
    result(entry({"rw": "write"})): "job 'a': rw: got 'write'; must be randread or read",
    result(entry({"rw": "randrw"})): "rw: got 'randrw'",
    result(entry({}, 0)): "job 'a': read nothing; give it a longer runtime",
    result(entry({}) | {"read": {"io_bytes": 4096, "total_ios": 1, "bw_bytes": 0}}): "job 'a': read nothing",
    result(entry({}) | {"read": {"io_bytes": 9, "total_ios": 0, "bw_bytes": 9}}): "job 'a': read nothing",
    result(entry({}) | {"read": None}): "job 'a': total_ios: got None; must be a number",
    result(
        entry({}) | {"read": {"total_ios": 1, "io_bytes": 4096, "bw_bytes": float("nan")}}
    ): "job 'a': bw_bytes: got nan",
    result(entry({}) | {"read": {"total_ios": -1, "bw_bytes": 1}}): "job 'a': total_ios: got -1",
    result(entry({"bs": "4k"}, 1e9, 20480)): "reads of 20480 bytes on average with bs=4k; must be of one",
    result(entry({"bs": "huge"})): "reads of 4096 bytes on average with bs=huge",
    result(entry({"iodepth": "0"})): "job 'a': iodepth: got '0'; must be a count",
    result(entry({"numjobs": "-2"})): "job 'a': numjobs: got '-2'; must be a count",
    result(
        entry({}), entry({"bs": "8k"}, 1e9, 8192, jobname="b")
    ): "job 'a': ran at the same time as 'b'; put 'stonewall'",
    result(entry({"rw": "read"})): "r.json: no random reads, got sequential ones alone",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: BAD[text][:40])
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(DipsimError) as caught:
        measured.calibrate_fio([path], tmp_path / "o.toml", "a18-paper")
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in (("none", "cannot be read: No such file"), ("binary", "not the JSON of fio")):
        with pytest.raises(DipsimError, match=f"{name}: {message}"):
            measured.calibrate_fio([tmp_path / name], tmp_path / "o.toml", "a18-paper")


def test_the_rate_is_the_sequential_one_unless_random_reads_are_faster() -> None:
    small, large = point(4096, 1, 1e8), point(2**20, 8, 2e9)
    for sequential, rate, origin in (
        ([point(2**20, 8, 3e9, random=False), point(2**20, 1, 1e9, random=False)], 3e9, "A: measured, 1048576 at 8"),
        ([point(2**20, 8, 2e9, random=False)], 2e9, "A: measured, 1048576 at 8"),
        ([point(2**20, 1, 1e9, random=False)], 2e9, "A: measured, 1048576 at 8, above sequential reads"),
        ([], 2e9, "D: of random reads, 1048576 at 8; sequential reads not measured"),
    ):
        number = flash_numbers([small, large, *sequential])["read_bytes_per_s"]
        assert (number.value, number.origin) == (rate, origin)


def test_latency_and_page_are_of_the_smallest_read_alone() -> None:
    points = [point(8192, 1, 1e8, 2e-4), point(4096, 1, 1e8, 1e-4), point(2048, 4, 1e8, 4e-4)]
    numbers = flash_numbers(points)
    assert numbers["latency_s"].value == 1e-4
    assert (numbers["page_bytes"].value, numbers["page_bytes"].origin[0]) == (2048, "d")
    deep = flash_numbers([point(65536, 4, 1e9, 3e-4), point(65536, 8, 1e9, 5e-4)])
    assert deep["latency_s"].value == 3e-4
    assert deep["latency_s"].origin == "D: measured at depth 4 alone, waiting included, 65536 at 4"
    assert (deep["page_bytes"].value, deep["page_bytes"].origin[0]) == (4096, "D")


def test_the_queue_is_as_deep_as_the_smallest_reads_profit_from() -> None:
    """Of those measured at the most depths: 512 bytes were tried at one alone, 64 KiB need less."""
    rates = {1: 1e8, 4: 4e8, 16: 9.5e8, 32: 1e9, 64: 9.9e8}
    points = [point(4096, depth, rate) for depth, rate in rates.items()]
    points += [point(65536, depth, 2e9) for depth in rates] + [point(512, 1, 1e7)]
    assert flash_numbers(points)["queue_depth"].value == 16
    assert flash_numbers([point(4096, d, 9.4e8 if d == 16 else r) for d, r in rates.items()])["queue_depth"].value == 32
    only = flash_numbers([point(4096, 7, 1e9)])["queue_depth"]
    assert (only.value, only.origin[:2]) == (7, "D:")


def loaded(tmp_path: Path, points: list[Point]) -> FlashSpec:
    path = tmp_path / "p.toml"
    dram = {"capacity_bytes": 8e9, "read_bytes_per_s": 5e10}
    made = document("d", [], {"flash": flash_numbers(means(points))})
    made["dram"] = dram
    measured.write(made, path)
    return HardwareProfile.load(path).flash


SIZES, DEPTHS = (512, 4096, 8192, 12288, 65536, 2**20), (1, 3, 32)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1e3, 1e11), min_size=len(SIZES) * len(DEPTHS), max_size=len(SIZES) * len(DEPTHS)))
def test_any_noise_gives_a_curve_that_loads_and_is_never_faster_than_measured(
    tmp_path_factory: pytest.TempPathFactory, rates: list[float]
) -> None:
    places = list(itertools.product(DEPTHS, SIZES))
    points = [point(size, depth, rate) for (depth, size), rate in zip(places, rates, strict=True)]
    flash = loaded(tmp_path_factory.mktemp("noise"), points[::-1])
    assert flash.read_curve is not None
    assert [(depth, size) for size, _, depth in flash.read_curve] == places
    for depth, curve in flash.curves.items():
        seconds = [size / rate for (d, size), rate in zip(places, rates, strict=True) if d == depth]
        np.testing.assert_allclose([t for _, t in curve], np.maximum.accumulate(seconds), rtol=3e-3)


def test_a_point_that_was_lowered_says_what_was_measured() -> None:
    curve = flash_numbers([point(4096, 1, 4e8), point(12288, 1, 1.3e9), point(12288, 2, 1.3e9)])["read_curve"]
    assert [row.value for row in curve] == [(4096, 4e8, 1), (12288, 1.2e9, 1), (12288, 1.3e9, 2)]
    assert curve[1].origin == "derived: time of 4096 bytes; 1300e6 measured, 12288 at 1"


# Of every field of Flash, a value that no rule above gives.
STRANGE = {
    "read_bytes_per_s": 7e7,
    "latency_s": 0.5,
    "queue_depth": 77,
    "page_bytes": 128,
    "read_curve": [[128, 7e6]],
    "gap_bytes": 64,
    "max_read_bytes": 256,
    "copy_bytes_per_s": 3e7,
    "map_bytes_per_s": 2e7,
    "submit_s": 3e-6,
    "submitters": 4,
    "derate": 0.25,
}


def test_nothing_of_the_other_profiles_flash_is_left(tmp_path: Path) -> None:
    assert set(STRANGE) == set(FlashSpec.model_fields), "a new field: say what measured Flash does about it"
    other = tmp_path / "folder" / "other.toml"
    other.parent.mkdir()
    lines = [f"{key} = {value}" for key, value in STRANGE.items()]
    other.write_text("\n".join(["[flash]", *lines, "[dram]", "capacity_bytes = 3e9", "read_bytes_per_s = 2e9"]))
    out = tmp_path / "mine.toml"
    measured.write(measured.calibrate_fio([REAL], out, str(other)), out)
    profile = HardwareProfile.load(out)
    strange = FlashSpec.parse(STRANGE, "strange")
    for key in STRANGE:
        assert getattr(profile.flash, key) != getattr(strange, key), key
    assert (profile.flash.gap_bytes, profile.flash.derate, profile.flash.max_read_bytes) == (0, 1.0, 2**40)
    assert (profile.name, profile.dram.capacity_bytes, profile.dram.read_bytes_per_s) == ("mine", 3e9, 2e9)
    assert 'extends = "folder/other.toml"' in out.read_text()


def test_a_profile_cannot_extend_itself(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    measured.write(measured.calibrate_fio([REAL], out, "a18-paper"), out)
    with pytest.raises(DipsimError, match="which is the output; must be another profile"):
        measured.calibrate_fio([REAL], out, str(out))


def test_numbers_are_written_as_people_read_them(tmp_path: Path) -> None:
    out = tmp_path / "mine.toml"
    measured.write(measured.calibrate_fio([REAL], out, "a18-paper"), out)
    lines = out.read_text().splitlines()
    assert "latency_s = 76.97e-6 # A: measured, fio 3.33 randread bs=4k iodepth=1" in lines
    assert "    [65536, 904.7e6, 16], # A: measured, fio 3.33 randread bs=64k iodepth=8 numjobs=2" in lines
    assert "read_bytes_per_s = 920.6e6 # A: measured, fio 3.33 read bs=1m iodepth=16" in lines
    for line in lines[lines.index("[flash]") + 1 :]:
        assert "#" in line or line in ("read_curve = [", "]", ""), line


def test_the_job_that_ships_is_a_grid_of_direct_reads_within_ninety_seconds() -> None:
    text = measured.job_text()
    head, *bodies = re.split(r"^\[.+\]$", text, flags=re.MULTILINE)[1:]
    assert {"direct=1", "time_based", "stonewall", "rw=randread"} <= set(head.split())
    places = [tuple(re.findall(r"^(?:bs|iodepth)=(\w+)$", body, re.MULTILINE)) for body in bodies]
    kinds = ["read" if "rw=read" in body.split() else "randread" for body in bodies]
    names = [f"{kind}-{bs}-{depth}" for kind, (bs, depth) in zip(kinds, places, strict=True)]
    assert names == job_module.sections()
    sizes, depths = (len({place[axis] for place in places[:-1]}) for axis in (0, 1))
    assert len(set(places[:-1])) == sizes * depths
    seconds = int(re.findall(r"^runtime=(\d+)$", text, re.MULTILINE)[0])
    assert len(places) * (seconds + 0.4) < 90  # fio itself takes about .4 s a section


# ---- this machine, with a fio that only pretends -----------------------------------------------------------------

FAKE = f"""#!{sys.executable}
import json, os, re, sys
section = next(a.split("=")[1] for a in sys.argv if a.startswith("--section="))
job = open("flash.fio").read()
for key in ("size", "runtime"):
    assert len(re.findall(rf"^{{key}}=", job, re.MULTILINE)) == 1
open("dipsim-flash.bin", "w").write(re.search(r"^size=(.*)$", job, re.MULTILINE)[1])
kind, bs, depth = section.split("-")
n = int(bs[:-1]) * {{"k": 1024, "m": 2**20}}[bs[-1]]
rate = min(int(depth) * n / (1e-4 + n / 1e9), 3e9)
latency_s = int(depth) * n / rate
options = {{"rw": kind, "bs": bs, "iodepth": depth}}
read = {{"io_bytes": n * 10, "total_ios": 10, "bw_bytes": rate, "lat_ns": {{"mean": latency_s * 1e9}}}}
jobs = [{{"jobname": section, "groupid": 0, "error": 0, "job options": options, "read": read}}]
shared = {{"direct": "1", "ioengine": "libaio"}}
print(json.dumps({{"fio version": "fio-9", "global options": shared, "jobs": jobs}}))
"""
MOUNTS = "/dev/disk / ext4 rw 0 0\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that lies on a disk, whatever it lies on, and small loops over memory."""
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(job_module, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(host, "_FAR_BYTES", 2**22)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 9.0, 9.0))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def install(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    fio = tmp_path / "bin" / "fio"
    fio.write_text(script)
    fio.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fio.parent}{os.pathsep}{os.environ['PATH']}")


def test_this_machine(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(FAKE, tmp_path, monkeypatch)
    steps: list[tuple[int, int]] = []
    made = measured.calibrate_host(folder, 2**20, 0.01, lambda done, total: steps.append((done, total)))
    assert list(folder.iterdir()) == []
    n = len(job_module.sections()) + 10
    assert steps == [(done, n) for done in range(n + 1)]
    out = tmp_path / "host.toml"
    measured.write(made, out)
    profile = HardwareProfile.load(out)
    flash = profile.flash
    assert flash.read_curve is not None
    for size, rate, depth in flash.read_curve:
        assert rate == pytest.approx(min(depth * size / (1e-4 + size / 1e9), 3e9), rel=1e-3)
    assert (flash.read_bytes_per_s, flash.latency_s, flash.page_bytes) == (
        3e9,
        pytest.approx(1e-4 + 4e-6, rel=2e-3),
        4096,
    )
    assert (flash.queue_depth, profile.name, profile.energy) == (64, "host", None)
    assert "fio 9 randread bs=4k iodepth=1" in out.read_text()
    assert "ext4 on /dev/disk, a file of 1.05 MB" in out.read_text()
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert profile.dram.capacity_bytes == pytest.approx(physical, rel=1e-6)
    assert 0 < profile.dram.reserved_bytes < physical
    assert profile.dram.dma_writes
    compute = profile.compute
    assert compute is not None
    assert compute.dram_bytes_per_s is not None
    assert compute.dram_bytes_per_s <= profile.dram.read_bytes_per_s * (1 + 1e-3)
    for value, least, most in (
        (profile.dram.read_bytes_per_s, 1e8, 1e13),
        (compute.ops_per_s, 1e8, 1e14),
        (compute.launch_s, 5e-8, 1e-2),
        (compute.select_s_per_column, 1e-11, 1e-6),
        (compute.sparse_efficiency, 1e-3, 1 + 1e-9),
    ):
        assert value is not None
        assert least < value < most


def test_a_busy_machine_is_warned_of(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("#!/bin/sh\nexit 1\n", tmp_path, monkeypatch)
    monkeypatch.setattr(cores, "n_cores", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.1, 0.0, 0.0))
    with pytest.warns(DipsimWarning, match=r"load 2.1 on 4 cores"), pytest.raises(DipsimError, match="exit code 1"):
        measured.calibrate_host(folder, 2**20, 0.01)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 9.0, 9.0))
    with pytest.raises(DipsimError, match="exit code 1"):  # a warning would be another error
        measured.calibrate_host(folder, 2**20, 0.01)


def test_what_the_job_is_given(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The length is whole reads of the largest size; the time is the one asked for."""
    seen = tmp_path / "seen"
    install(FAKE + f"open('{seen}', 'w').write(job)\n", tmp_path, monkeypatch)
    job_module.run_job(folder, 3 * 2**20 + 5, 0.25, lambda: None)
    assert {"size=3145728", "runtime=250ms", "direct=1"} <= set(seen.read_text().split())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "#!/bin/sh\necho 'fio: engine libaio not loadable' >&2\nexit 1\n",
            "job 'randread-4k-1': fio: engine libaio not",
        ),
        ("#!/bin/sh\nexit 3\n", "fio: job 'randread-4k-1': exit code 3"),
        ("#!/bin/sh\necho hello\n", "not the JSON of fio"),
        (FAKE.replace('"error": 0', '"error": 22') + "sys.exit(1)", "refuses direct=1 (O_DIRECT)"),
        (FAKE.replace('"error": 0', '"error": 28') + "sys.exit(1)", "error 28 (No space left on device)"),
    ],
)
def test_a_fio_that_fails_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    install(script, tmp_path, monkeypatch)
    with pytest.raises(DipsimError) as caught:
        measured.calibrate_host(folder, 2**20, 0.01)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_what_cannot_be_measured_is_refused_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("#!/bin/sh\nexit 1\n", tmp_path, monkeypatch)
    (tmp_path / "a file").write_text("")
    for arguments, message in (
        ((tmp_path / "none", 2**20, 1.0), "must be a folder on the storage"),
        ((tmp_path / "a file", 2**20, 1.0), "must be a folder on the storage"),
        ((folder, 2**60, 1.0), "has room for"),
        ((folder, 2**20 - 1, 1.0), "file-bytes: got 1048575; must be at least 1048576"),
        ((folder, 2**20, 0.0), "seconds-per-point: got 0.0"),
        ((folder, 2**20, float("nan")), "seconds-per-point: got nan"),
    ):
        with pytest.raises(DipsimError, match=message):
            measured.check_host(*arguments)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(DipsimError, match="host: got Darwin; must be Linux"):
        measured.calibrate_host(folder)


def test_a_missing_fio_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(DipsimError, match="fio: not found; install it"):
        measured.check_host(folder, 2**20, 1.0)


def test_memory_is_no_storage(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deepest mount decides, of two at one place the later."""
    install(FAKE, tmp_path, monkeypatch)
    inner = folder / "with space"
    inner.mkdir()
    within = str(inner).replace(" ", "\\040")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"{MOUNTS}tmpfs {folder} tmpfs rw\n/dev/in {within} xfs rw\ntmpfs {folder}X tmpfs rw\n")
    with pytest.raises(DipsimError, match=r"is in memory \(tmpfs\)"):
        measured.check_host(folder, 2**20, 1.0)
    assert measured.check_host(inner, 2**20, 1.0) == "xfs on /dev/in"
    mounts.write_text(f"{MOUNTS}tmpfs {folder} tmpfs rw\n/dev/over {folder} ext4 rw\n")
    assert measured.check_host(folder, 2**20, 1.0) == "ext4 on /dev/over"


def test_matrices_are_of_the_bytes_that_rates_are_taken_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(np, "dot", lambda matrix, vector, out: seen.append((matrix.nbytes, matrix.shape)))
    for n_bytes, shape in ((2**8, (8, 8)), (2**22, (1024, 1024)), (2**21, (512, 1024))):
        cores.matvec_s(n_bytes, 0.0)
        assert seen[-1] == (n_bytes, shape)


def test_rates_follow_from_the_times_of_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operations for each float32 of 4 MiB in 1 ms, of which the launch is a tenth; 1 GiB at 10 GB/s."""
    seconds = {2**30: 2**30 / 1e10, 2**22: 1e-3, 2**20: 0.5e-3, 2**8: 1e-4}
    by_density = {0.1: 2e9, 0.25: 4e9, 0.5: 5e9, 1.0: 1e10}
    loops = {"dram_bytes_per_s": lambda n, s: 2e10, "matvec_s": lambda n, s: seconds[n]}
    loops["columns_bytes_per_s"] = lambda n, density, s: by_density[density]
    for name, loop in (loops | {"select_s_per_column": lambda s: 3e-9}).items():
        monkeypatch.setattr(cores, name, loop)
    dram, compute = host._loops(2**30, 1.0, lambda: None)
    assert dram["read_bytes_per_s"].value == 2e10
    values = {key: number.value for key, number in compute.items()}
    assert values == {
        "ops_per_s": pytest.approx(2 * 2**20 / 0.9e-3),
        "launch_s": 1e-4,
        "select_s_per_column": 3e-9,
        "dram_bytes_per_s": pytest.approx(1e10),
        "sparse_efficiency": pytest.approx(0.4),
    }
    assert "0.20 at 0.1, 0.40 at 0.25, 0.50 at 0.5" in compute["sparse_efficiency"].origin
    seconds[2**30] *= 2  # BLAS has half the threads: what skipping costs is not less for that
    assert host._loops(2**30, 1.0, lambda: None)[1]["sparse_efficiency"].value == pytest.approx(0.4)
    seconds[2**30] /= 2
    seconds[2**22] = 1  # many cores that wait for each other; 1 MiB by one of them is faster
    assert host._loops(2**30, 1.0, lambda: None)[1]["ops_per_s"].value == pytest.approx(2 * 2**18 / 0.4e-3)
    seconds[2**30] /= 4  # faster than all cores read together: noise
    assert host._loops(2**30, 1.0, lambda: None)[1]["dram_bytes_per_s"].value == 2e10


def test_sparse_products_are_timed_by_the_bytes_of_active_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, each with 64 columns of 8 KiB, of which a quarter is used, in a millisecond."""
    monkeypatch.setattr(cores, "n_cores", lambda: 2)
    monkeypatch.setattr(cores, "best_s", lambda call, for_s: [call(), 1e-3][1])
    assert cores.columns_bytes_per_s(2**20, 0.25, 0.0) == pytest.approx(2 * 16 * 2**13 / 1e-3)
    assert cores.columns_bytes_per_s(2**20, 1.0, 0.0) == pytest.approx(2**20 / 1e-3)


def test_the_best_of_at_least_five_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.accumulate([0.0, 0, 5, 0, 4, 0, 7, 0, 6, 0, 3, 0, 0, 0, 0, 0, 0])
    monkeypatch.setattr(cores, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert cores.best_s(lambda: None, 0.0) == 3


# ---- the command -------------------------------------------------------------------------------------------------


def test_the_command_writes_a_profile_that_shows_and_loads(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(REAL.read_text())
    done = run("calibrate", "fio", "r.json", "-o", "phone.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "DRAM, compute and energy in phone.toml are those of oneplus-12-ufs4" in done.stderr
    assert "921 MB/s" in done.stdout
    assert "depth 16" in done.stdout
    profile, parent = HardwareProfile.load(tmp_path / "phone.toml"), HardwareProfile.load("oneplus-12-ufs4")
    assert (profile.name, profile.flash.latency_s) == ("phone", 76.97e-6)
    assert (profile.dram, profile.compute, profile.energy) == (parent.dram, parent.compute, parent.energy)
    assert "76.97e-6" in run("show", "profile", "phone.toml", cwd=tmp_path).stdout
    again = run("calibrate", "fio", "r.json", "-o", "phone.toml", cwd=tmp_path)
    assert "exists already; give --force" in complaint(again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fio", "none.json", "-o", "o.toml"], "none.json: cannot be read"),
        (["fio", "-o", "o.toml"], "Missing argument"),
        (["fio", str(REAL), "-o", "o.toml", "--extends", "oneplus"], "profile: neither a name nor a file"),
        (["fio", str(REAL), "-o", "no/o.toml"], "its folder does not exist"),
        (["host"], "Missing option"),
        (["host", "-o", "o.toml", "--file-bytes", "4"], "file-bytes: got 4; must be at least 1048576"),
        (["host", "-o", "o.toml", "--file-bytes", "four"], "file-bytes: not an amount of bytes"),
        (["host", "-o", "o.toml", "--folder", "nowhere"], "folder: got 'nowhere'"),
        (["host", "-o", "o.toml", "--seconds-per-point", "0"], "seconds-per-point: got 0.0"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in complaint(run("calibrate", *arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_prints_the_job_and_teaches() -> None:
    assert run("calibrate", "job").stdout == measured.job_text()
    for command in ("fio", "host", "job"):
        assert "Example:\n    dipsim calibrate" in run("calibrate", command, "--help").stdout


# The command as it is, but on a folder that counts as a disk, with small loops over memory.
HOST = """
import os, sys
from pathlib import Path
from dipsim.calibration import host, job
from dipsim.cli import main, terminal
terminal.FIRST_LINE_S = 3600.0
job.MOUNTS, host._FAR_BYTES, os.getloadavg = Path("mounts"), 2**22, lambda: (0.0, 0.0, 0.0)
sys.argv = ["dipsim", "calibrate", "host", "-o", "o.toml", "--file-bytes", "1MiB", "--seconds-per-point", "0.01"]
main()
"""


def start_host(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    install(script, tmp_path, monkeypatch)
    (tmp_path / "mounts").write_text(MOUNTS)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", HOST], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
def test_the_command_measures_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start_host(tmp_path, FAKE, monkeypatch)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert stderr.splitlines() == [
        "dipsim: reads a file of 1.05 MB, made in '.' (ext4 on /dev/disk) and removed at the end"
    ]
    for word in ("flash.latency_s", "dram.read_bytes_per_s", "compute.launch_s", "GB/s", "depth 64"):
        assert word in stdout
    assert HardwareProfile.load(tmp_path / "o.toml").flash.read_bytes_per_s == 3e9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "mounts", "o.toml"]


@pytest.mark.slow
def test_ctrl_c_removes_the_file_and_exits_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"#!{sys.executable}\nimport time\nopen('dipsim-flash.bin', 'w').write('x')\ntime.sleep(600)\n"
    process = start_host(tmp_path, script, monkeypatch)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("dipsim-calibrate-*/*.bin")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.glob("dipsim-calibrate-*/*.bin")), "fio never began"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1].startswith("dipsim: interrupted; nothing is kept; to begin again: dipsim calibrate")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "mounts"]


def test_the_command_and_the_function_have_the_same_defaults() -> None:
    from dipsim.cli.calibrate import host as command
    from dipsim.units import parse_bytes

    given, own = inspect.signature(command).parameters, inspect.signature(measured.calibrate_host).parameters
    assert parse_bytes(given["file_bytes"].default, "x") == own["file_bytes"].default
    assert given["seconds_per_point"].default == own["seconds_per_point"].default
    assert given["folder"].default == own["folder"].default
