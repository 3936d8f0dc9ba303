"""The same rows from a Dask scheduler with workers on this machine, one of which is killed; traces at URLs."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import tight_slots

import dipsim as ds
from dipsim import plugin_files, shipped
from dipsim.errors import DipsimError
from dipsim.sweeps import plan, read_results
from dipsim.sweeps.spec import Spec
from dipsim.trace import local_copy

pytestmark = [tight_slots, pytest.mark.cluster]
TINY = shipped.names("traces", ".zarr.zip")["tiny"]
SPEC = {
    "trace": "tiny",
    "method": "dip",
    "profile": ["a18-paper", "oneplus-12-ufs4"],
    "policy": ["lru", "lfu"],
    "density": [0.3, 0.4, 0.5, 0.6],
    "dram": "0.5x",
}
# Four runs of about a second: a scheduler that dies after the first has not given out the last.
SLOW = SPEC | {"policy": "magnitude", "density": [0.4, 0.5], "headroom": True}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_answer(address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):
                return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler; its two workers, and itself."""
    address = f"tcp://127.0.0.1:{free_port()}"
    host = ("--host", address, "--no-dashboard")
    scheduler = launch("dask_scheduler", *host)
    own = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
    wait_for_answer(address)
    workers = [launch("dask_worker", address, *own) for _ in range(2)]
    yield address, [*workers, scheduler]
    for process in (*workers, scheduler):
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_cluster_gives_the_same_rows_though_a_worker_is_killed(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    address, workers = cluster
    killed = []

    def kill_one(done: int, total: int) -> None:
        if done == 5 and not killed:
            workers[0].kill()
            killed.append(workers[0].wait())

    ds.sweep(SPEC, tmp_path / "cluster", cluster=address, on_progress=kill_one)
    assert killed
    ds.sweep(SPEC, tmp_path / "here", workers=1)
    both = [(tmp_path / name / "results.parquet").read_bytes() for name in ("cluster", "here")]
    assert both[0] == both[1]


@pytest.mark.slow
def test_a_cluster_of_one_core_carries_out_the_runs(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    address, (first, *_) = cluster
    first.kill()
    first.wait()
    here = os.getpid()

    @ds.register_budget("elsewhere")
    def elsewhere(request: ds.BudgetRequest) -> dict[str, list[int]]:
        """Nothing in this process."""
        if os.getpid() == here:
            raise DipsimError("carried out here")
        return {group.name: [1] * request.model.n_layers for group in request.groups}

    frame = ds.sweep(SPEC | {"budget": "elsewhere", "policy": "lru", "density": 0.4}, cluster=address)
    assert frame["error"].isna().tolist() == [True, True]


def test_a_cluster_runs_what_a_plugin_file_defines(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    """Its workers have no such file, and are not told of a second one's content by its name."""
    address, _ = cluster
    path, found = tmp_path / "mine.py", []
    for share in (0.3, 0.6):
        path.write_text(
            f"import dipsim as ds\nSHARE = {share}\n"
            "class Base(ds.Method):\n"
            "    def groups(self, model):\n"
            "        return (ds.mlp_group(model, 'up_gate_down', 'gate'),)\n"
            "@ds.register_method('on-a-cluster')\n"
            "class Mine(Base):\n"
            "    def select(self, group, scores, resident, token, mask):\n"
            "        ds.top_k(scores, int(SHARE * scores.size), mask)\n"
        )
        plugin_files.load(path)
        spec = {"trace": "tiny", "method": "on-a-cluster", "policy": ["lru", "lfu"], "dram": "0.8x", "tokens": 8}
        frame = ds.sweep(spec, tmp_path / "results", cluster=address)
        assert frame["error"].isna().all()
        found.append(frame["mlp_density"].tolist())
    assert found == [[pytest.approx(share, abs=2e-3)] * 2 for share in (0.3, 0.6)]


@pytest.mark.slow
def test_a_scheduler_that_dies_is_told_and_what_is_finished_is_kept(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address, processes = cluster

    def kill_it(done: int, total: int) -> None:
        if done == 1:
            for process in processes[:0:-1]:
                process.kill()
                process.wait()

    with pytest.raises(DipsimError, match=f"cluster: '{address}' answers no more; finished runs are kept"):
        ds.sweep(SLOW, tmp_path / "results", cluster=address, on_progress=kill_it)
    assert capfd.readouterr() == ("", "")
    assert 1 <= len(read_results(tmp_path / "results")) < 4
    ds.sweep(SLOW, tmp_path / "results", workers=1)
    ds.sweep(SLOW, tmp_path / "here", workers=1)
    both = [(tmp_path / name / "results.parquet").read_bytes() for name in ("results", "here")]
    assert both[0] == both[1]


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_told_within_ten_seconds(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DipsimError, match=r"cluster: no answer from 'tcp://127\.0\.0\.1"):
        ds.sweep(SPEC, tmp_path / "none", cluster=f"tcp://127.0.0.1:{free_port()}")
    assert time.monotonic() - start < 15
    with pytest.raises(DipsimError, match="cluster: no answer from 'nonsense'"):
        ds.sweep(SPEC, tmp_path / "none", cluster="nonsense")
    for workers in (0, -1):
        with pytest.raises(DipsimError, match=f"workers: got {workers}; must be at least 1"):
            ds.sweep(SPEC, tmp_path / "none", workers=workers)
    assert not (tmp_path / "none").exists()


def test_what_answers_and_is_no_scheduler_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def answer() -> None:
            caller, _ = web.accept()
            caller.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: no scheduler\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(DipsimError, match=r"cluster: no answer from 'tcp://127\.0\.0\.1"):
            ds.sweep(SPEC, cluster=f"tcp://127.0.0.1:{web.getsockname()[1]}")


@pytest.mark.slow
def test_who_answers_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        with pytest.raises(DipsimError, match="cluster: no answer"):
            ds.sweep(SPEC, tmp_path / "none", cluster=f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - start < 15


# --- traces at URLs ---


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *words: object) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL at which it is served."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_trace_at_a_url_gives_the_rows_of_the_file(scheme: str, served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    shutil.copy(TINY, folder / "remote.zarr.zip")
    base = url if scheme == "http" else f"file://{folder}"
    spec = SPEC | {"density": 0.5, "tokens": 64}
    remote = ds.sweep(spec | {"trace": f"{base}/remote.zarr.zip"}, workers=1)
    local = ds.sweep(spec, workers=1)
    assert remote["key"].tolist() == local["key"].tolist()
    assert remote["tok_per_s"].tolist() == local["tok_per_s"].tolist()
    assert set(remote["trace"]) == {f"{base}/remote.zarr.zip"}


def test_a_copy_is_made_once_and_anew_when_the_file_has_changed(served: tuple[Path, str]) -> None:
    folder, _ = served
    remote = folder / "remote.zarr.zip"
    shutil.copy(TINY, remote)
    first = local_copy(f"file://{remote}")
    assert first.read_bytes() == TINY.read_bytes()
    made = first.stat().st_mtime_ns
    assert local_copy(f"file://{remote}") == first
    assert first.stat().st_mtime_ns == made
    remote.write_bytes(b"other")
    assert local_copy(f"file://{remote}").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("http://127.0.0.1:1/trace.zarr.zip", "cannot be fetched"),
        ("nonsense://x/trace.zarr.zip", "cannot be fetched: ValueError: Protocol not known"),
        ("file:///", "is a directory, no file; a trace at a URL is one file"),
    ],
)
def test_a_url_with_no_trace_is_one_line(path: str, message: str, served: tuple[Path, str]) -> None:
    with pytest.raises(DipsimError, match=message):
        ds.Trace.open(path)
    with pytest.raises(DipsimError, match=message):
        plan(Spec.load(SPEC | {"trace": path}))
