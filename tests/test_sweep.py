"""A sweep does every run once, whatever befalls it, and its rows are those of single simulations."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import tight_slots
from pyarrow import parquet

import dipsim as ds
from dipsim import shipped
from dipsim.errors import DipsimError
from dipsim.policies import policies, save_use_counts
from dipsim.sweeps import Spec, estimate_s, plan, read_results, read_specs
from dipsim.sweeps.folder import Results
from dipsim.sweeps.plugged import registered_here
from dipsim.sweeps.runs import runs_of
from dipsim.sweeps.work import carry_out

pytestmark = tight_slots
DIPSIM = Path(sys.executable).parent / "dipsim"
GRID: dict[str, Any] = {
    "trace": "tiny",
    "profile": ["a18-paper", "oneplus-12-ufs4"],
    "method": "dip",
    "policy": ["lru", "lfu", "belady"],
    "density": [0.3, 0.5],
    "dram": ["0.5x", "0.7x"],
    "tokens": 96,
}
LONG = """trace = "tiny"
profile = ["a18-paper", "oneplus-12-ufs4", "iphone-16"]
method = "dip"
policy = ["lru", "lfu"]
density = {start = 0.3, stop = 0.6, step = 0.1}
dram = "0.5x"
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of `GRID`, by one worker."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    ds.sweep(GRID, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def whole_long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The spec `LONG` as a file, and its results."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "long.toml").write_text(LONG)
    ds.sweep(folder / "long.toml", folder / "results", workers=2)
    return folder / "long.toml", folder / "results"


def table(folder: Path) -> bytes:
    return (folder / "results.parquet").read_bytes()


def started(spec: Path, out: Path, *options: str, limit: int | None = None) -> subprocess.Popen[str]:
    """`dipsim sweep` in a group of its own, with files of at most `limit` bytes."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [DIPSIM, "sweep", spec, "-o", out, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=limited)


def n_finished(folder: Path) -> int:
    """Runs of the log, and those that the table has absorbed."""
    log = {file.stem for file in folder.glob("_log/[!.]*.json")}
    table = folder / "results.parquet"
    return len(log | (set(pd.read_parquet(table, columns=["key"])["key"]) if table.is_file() else set()))


def wait_for(n: int, folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while n_finished(folder) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- rows ---


def test_a_row_is_what_a_single_simulation_gives(whole: Path) -> None:
    frame = pd.read_parquet(whole)
    axes = [GRID[name] for name in ("profile", "policy", "density", "dram")]
    assert [*frame[["profile", "policy", "density", "dram"]].itertuples(index=False, name=None)] == [
        *itertools.product(*axes)
    ]
    trace = ds.Trace.open("tiny")
    for row in frame.iloc[[0, 9, 23]].to_dict(orient="records"):
        profile = ds.HardwareProfile.load(row["profile"])
        run = ds.Simulation(
            profile, trace, ds.Dip(density=row["density"]), row["policy"], dram=row["dram"], tokens=96
        ).run()
        numbers = run.summary.iloc[0].to_dict()
        for name in ("tok_per_s", "tpot_s.p99", "hit_rate", "hit_rate_by_group.down", "busy_s.flash", "bound"):
            assert row[name] == numbers[name], name
        assert row["profile.dram.read_bytes_per_s"] == profile.dram.read_bytes_per_s
        percentiles = [run.tokens["token_s"].quantile(i / 100) for i in range(101)]
        np.testing.assert_allclose(row["token_s_percentiles"], percentiles, rtol=1e-12)
        own = run.layers[run.layers["group"] == "down"]
        assert row["hit_rate_by_layer.down"].tolist() == own["hit_rate"].tolist()
        assert row["slots.down"].tolist() == own["slots"].tolist()
        again = ds.Simulation.from_config(json.loads(row["config"]), trace).run()
        assert again.to_dict()["tok_per_s"] == row["tok_per_s"]


def test_what_is_named_by_place_stands_as_it_is_written(tmp_path: Path) -> None:
    shutil.copy(shipped.names("traces", ".zarr.zip")["tiny"], tmp_path / "mine.zarr.zip")
    (tmp_path / "spec.toml").write_text(
        'trace = "mine.zarr.zip"\nmethod = "dip"\ntokens = 8\ndram = [2e6, "2 MB", "0.8x"]\n'
    )
    frame = ds.sweep(tmp_path / "spec.toml", workers=1)
    assert frame["trace"].tolist() == ["mine.zarr.zip"] * 3
    assert frame["dram"].tolist() == ["2000000B", "2 MB", "0.8x"]


def test_a_worker_of_another_version_says_so() -> None:
    (run, *_) = runs_of(Spec.load(GRID))
    row = carry_out(run, "0.0.7")
    assert row["error"] == f"worker: runs dipsim {ds.__version__}, the sweep 0.0.7; install the same"
    assert "tok_per_s" not in row


def test_values_of_several_kinds_are_text(tmp_path: Path) -> None:
    option = {"policy": "lfu-decay", "policy_option": {"half_life": [8, True, [1, 2]]}}
    frame = ds.sweep({"trace": "tiny", "method": "dip", "dram": "0.8x", "tokens": 16} | option, tmp_path, workers=1)
    assert frame["policy_option.half_life"].tolist() == ["8", "true", "[1, 2]"]
    assert frame["error"].notna().tolist() == [False, True, True]
    assert read_results(tmp_path)["policy_option.half_life"].tolist() == ["8", "true", "[1, 2]"]


def test_headroom_is_measured_where_the_spec_says_so() -> None:
    spec = {"trace": "tiny", "method": "dip", "density": 0.4, "dram": "0.6x", "tokens": 64, "headroom": True}
    (row,) = ds.sweep(spec, workers=1).to_dict(orient="records")
    run = ds.Simulation(
        ds.HardwareProfile.load("a18-paper"), ds.Trace.open("tiny"), ds.Dip(density=0.4), "lfu", dram="0.6x", tokens=64
    )
    steps = run.headroom().steps
    for name in steps.columns:
        assert list(row[f"headroom.{name}"]) == steps[name].tolist()


def test_a_text_is_evaluated_with_the_mask_in_the_loop() -> None:
    from dipsim.evaluation import evaluate
    from dipsim.sparsify.loading import load_model, read_text, windows

    text = {"model": "tiny", "text": "held-out", "tokens": 128, "window_tokens": 64, "prompt_tokens": 8}
    frame = ds.sweep(
        {"evaluate": text, "method": "dip-ca", "density": 0.5, "gamma": [0.2, 1.0], "dram": "0.6x"}, workers=1
    )
    model = load_model("tiny")
    ids = windows(model.tokenizer, read_text("held-out"), 64, n_tokens=128)
    profile = ds.HardwareProfile.load("a18-paper")
    for row in frame.to_dict(orient="records"):

        def described(trace: ds.Trace, gamma: float = row["gamma"]) -> ds.Simulation:
            return ds.Simulation(profile, trace, ds.DipCa(density=0.5, gamma=gamma), "lfu", dram="0.6x")

        found = evaluate(model, ids, described, n_prompt=8)
        # sums in torch may be split over threads in another way
        assert row["perplexity"] == pytest.approx(found.perplexity, rel=1e-5)
        assert row["tok_per_s"] == pytest.approx(found.result.to_dict()["tok_per_s"], rel=1e-2)
        assert row["n_scored_tokens"] == found.n_scored


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    frame = ds.sweep(GRID, tmp_path / "two", workers=2)
    assert table(tmp_path / "two") == table(whole)
    pd.testing.assert_frame_equal(frame, ds.sweep(GRID, whole, workers=1))
    assert read_specs(whole) == read_specs(tmp_path / "two")
    assert Spec.load(GRID).text == read_specs(whole)[0][1]


# --- keys ---


def keys(**changes: Any) -> set[str]:
    return {run.key for run in runs_of(Spec.load(GRID | changes))}


def test_a_key_is_of_all_that_a_result_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = keys()
    assert len(usual) == 24
    assert keys(profile=["oneplus-12-ufs4", "a18-paper"], trace=["tiny"]) == usual
    for changes in ({"tokens": 95}, {"warmup": 1}, {"profile": {"flash": {"derate": 0.5}}}, {"headroom": True}):
        assert keys(**changes).isdisjoint(usual), changes
    copy = tmp_path / "other.zarr.zip"
    shutil.copy(shipped.names("traces", ".zarr.zip")["tiny"], copy)
    assert keys(trace=str(copy)) == usual  # the same content elsewhere
    shutil.unpack_archive(copy, tmp_path / "other.zarr", "zip")
    assert keys(trace=str(tmp_path / "other.zarr")) == usual
    chunk = next(file for file in (tmp_path / "other.zarr").rglob("*") if file.is_file() and file.stat().st_size > 5000)
    chunk.write_bytes(chunk.read_bytes()[::-1])
    assert keys(trace=str(tmp_path / "other.zarr")).isdisjoint(usual)
    monkeypatch.setattr("dipsim.sweeps.runs.__version__", "9.9.9")
    assert keys().isdisjoint(usual)


def test_the_code_of_a_policy_of_ones_own_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for name, change in (("mine_up", "token"), ("mine_down", "-token"), ("mine_again", "token")):
        body = (
            f"class Mine(ds.ScorePolicy):\n    def on_access(self, columns, token):\n        self.change = {change}\n"
        )
        (tmp_path / f"{name}.py").write_text(f"import dipsim as ds\n{body}")
        monkeypatch.setitem(policies._entries, "mine", import_module(name).Mine)
        found.append(keys(policy="mine"))
    assert found[0].isdisjoint(found[1])
    assert found[0] == found[2]


def in_notebook(*cells: str) -> type:
    """`Mine` as cells define it that have no file."""
    names: dict[str, Any] = {"ds": ds, "__name__": "no_such_module"}
    for cell in cells:
        exec(compile(cell, "<cell>", "exec"), names)
    mine: type = names["Mine"]
    return mine


def test_so_is_what_it_builds_on_and_what_a_notebook_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    base = (
        "class Base(ds.ScorePolicy):\n    def on_access(self, columns, token):\n        self.priority[columns] = {}\n"
    )
    found = []
    for change in ("token", "-token", "token"):
        monkeypatch.setitem(
            policies._entries, "mine", in_notebook(base.format(change), "class Mine(Base):\n    pass\n")
        )
        found.append(keys(policy="mine"))
    assert found[0].isdisjoint(found[1])
    assert found[0] == found[2]


def test_a_file_that_an_option_names_is_part_of_the_key_by_its_content(tmp_path: Path) -> None:
    shape = ds.Trace.open("tiny").model
    widths = {"up_gate": shape.hidden_size, "down": shape.intermediate_size}
    found = []
    for folder, seed in (("a", 0), ("b", 1), ("c", 0)):
        (tmp_path / folder).mkdir()
        places = itertools.product(range(shape.n_layers), widths)
        counts = {(layer, group): np.random.default_rng(seed).permutation(widths[group]) for layer, group in places}
        save_use_counts(tmp_path / folder / "counts.npz", counts)
        text = 'trace = "tiny"\nmethod = "dip"\npolicy = "static"\npolicy_option.path = "counts.npz"\ndram = "0.6x"\n'
        (tmp_path / folder / "spec.toml").write_text(text)
        found.append([run.key for run in runs_of(Spec.load(tmp_path / folder / "spec.toml"))])
    assert found[0] != found[1]
    assert found[0] == found[2]


def test_an_evaluation_is_known_by_what_its_files_hold(tmp_path: Path) -> None:
    found = []
    for folder, words in (("a", "one two"), ("b", "one three"), ("c", "one two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "text.txt").write_text(words)
        spec = 'method = "dip"\n[evaluate]\nmodel = "tiny"\ntext = "text.txt"\nwindow_tokens = 8\n'
        (tmp_path / folder / "spec.toml").write_text(spec)
        found.append([run.key for run in runs_of(Spec.load(tmp_path / folder / "spec.toml"))])
    assert found[0] != found[1]
    assert found[0] == found[2]


# --- going on ---


class EnoughError(Exception):
    """Stops a sweep from within."""


def test_what_is_finished_is_not_done_again(whole: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 7:
            raise EnoughError

    with pytest.raises(EnoughError):
        ds.sweep(GRID, tmp_path / "cut", workers=2, on_progress=stop)
    first = pd.read_parquet(tmp_path / "cut")
    assert len(first) == 7
    assert not [*(tmp_path / "cut" / "_log").iterdir()]
    assert len(plan(Spec.load(GRID), tmp_path / "cut").left) == 17
    marked = first.assign(tok_per_s=123456.0)
    marked.to_parquet(tmp_path / "cut" / "results.parquet", index=False)
    frame = ds.sweep(GRID, tmp_path / "cut", workers=2)
    assert (frame["tok_per_s"] == 123456).sum() == 7
    assert set(frame.loc[frame["tok_per_s"] == 123456, "key"]) == set(first["key"])
    first.to_parquet(tmp_path / "cut" / "results.parquet", index=False)
    ds.sweep(GRID, tmp_path / "cut", workers=1)
    assert table(tmp_path / "cut") == table(whole)


def test_other_specs_in_the_same_folder_add_rows(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "both")
    ds.sweep(GRID | {"density": [0.5, 0.9]}, tmp_path / "both", workers=1)
    frame = pd.read_parquet(tmp_path / "both")
    assert len(frame) == 36
    assert frame["key"].is_unique
    assert sorted(frame["density"].unique()) == [0.3, 0.5, 0.9]
    assert len(read_specs(tmp_path / "both")) == 2


def test_a_run_that_cannot_be_made_is_a_row_and_is_tried_again(tmp_path: Path) -> None:
    spec = GRID | {"method": ["dip", "dip-ca"], "policy": ["lfu", "belady"], "density": 0.5, "profile": "a18-paper"}
    for _ in range(2):
        frame = ds.sweep(spec, tmp_path / "results", workers=1)
        failed = frame[frame["error"].notna()]
        assert [*failed[["method", "policy"]].drop_duplicates().itertuples(index=False, name=None)] == [
            ("dip-ca", "belady")
        ]
        assert failed["error"].str.contains("an oracle needs the masks of the future").all()
        assert failed["tok_per_s"].isna().all()
        assert frame.loc[frame["error"].isna(), "tok_per_s"].notna().all()
        assert len(pd.read_parquet(tmp_path / "results")) == 8
    assert len(plan(Spec.load(spec), tmp_path / "results").left) == 2


class Fails(ds.ScorePolicy):
    """Raises what is no mistake of the user's."""

    def on_access(self, columns: Any, token: int) -> None:
        raise RuntimeError("on purpose")


@dataclass
class Kills(ds.ScorePolicy):
    """Kills its process; once, where a file is named to remember it by."""

    once: str = ""

    def on_access(self, columns: Any, token: int) -> None:
        self.priority[columns] = token
        if not self.once or not Path(self.once).exists():
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def _own_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(policies._entries, "fails-in-the-run", Fails)
    monkeypatch.setitem(policies._entries, "kills-its-worker", Kills)


@pytest.mark.usefixtures("_own_policies")
def test_what_a_run_raises_stands_in_its_row() -> None:
    frame = ds.sweep(GRID | {"policy": ["lru", "fails-in-the-run"], "profile": "a18-paper"}, workers=2)
    failed = frame["policy"] == "fails-in-the-run"
    (told,) = set(frame.loc[failed, "error"])
    assert re.fullmatch(r"policy Fails: RuntimeError: on purpose \(test_sweep.py, line \d+\)", told)
    assert frame.loc[~failed, "error"].isna().all()


@pytest.mark.slow
@pytest.mark.usefixtures("_own_policies")
def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    killed = {"policy": "kills-its-worker", "policy_option": {"once": str(tmp_path / "killed")}}
    frame = ds.sweep(GRID | {"policy": "lru", "grid": [{}, killed]}, tmp_path / "results", workers=2)
    assert (tmp_path / "killed").exists()
    assert len(frame) == 16
    assert frame["error"].isna().all()
    others = frame[frame["policy"] == "lru"].drop(columns="policy_option.once").reset_index(drop=True)
    pd.testing.assert_frame_equal(others, ds.sweep(GRID | {"policy": "lru"}))


@pytest.mark.slow
@pytest.mark.usefixtures("_own_policies")
def test_a_run_that_workers_die_of_is_given_up_and_the_others_are_done() -> None:
    spec = GRID | {"policy": ["kills-its-worker", "lru", "lfu"], "profile": "a18-paper", "dram": "0.5x"}
    frame = ds.sweep(spec, workers=2)
    failed = frame["policy"] == "kills-its-worker"
    assert failed.sum() == 2
    assert all("workers died of it 3 times" in str(error) for error in frame.loc[failed, "error"])
    assert frame.loc[~failed, "error"].isna().all()


def test_workers_are_sent_what_they_lack_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = in_notebook("import threading\nlock = threading.Lock()\nclass Mine(ds.ScorePolicy):\n    lock = lock\n")
    monkeypatch.setitem(policies._entries, "locked", mine)
    assert registered_here(run.config for run in runs_of(Spec.load(GRID))) == []
    locked = runs_of(Spec.load(GRID | {"policy": "locked"}))
    assert registered_here(run.config for run in locked) == [("policy", "locked", mine)]
    with pytest.raises(DipsimError, match=r"^policy 'locked': cannot be sent to workers: TypeError: cannot pickle"):
        ds.sweep(GRID | {"policy": "locked"}, workers=2)


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_where_it_was(whole_long: tuple[Path, Path], tmp_path: Path) -> None:
    spec, expected = whole_long
    for n in (3, 9):
        process = started(spec, tmp_path / "results", "--workers", "2")
        wait_for(n, tmp_path / "results", process)
        process.kill()
        process.wait()
        assert pd.read_parquet(tmp_path / "results")["key"].is_unique
    left = plan(Spec.load(spec), tmp_path / "results").left
    assert len(read_results(tmp_path / "results")) == 24 - len(left)
    assert 0 < len(left) <= 24 - 9
    ds.sweep(spec, tmp_path / "results", workers=2)
    assert table(tmp_path / "results") == table(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code", "ended"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGKILL, -9, None)],
)
def test_workers_end_with_their_sweep(
    how: signal.Signals, code: int, ended: str | None, whole_long: tuple[Path, Path], tmp_path: Path
) -> None:
    """Ctrl-C reaches all processes of a terminal, others the sweep alone. Its stderr ends when all have ended."""
    process = started(whole_long[0], tmp_path / "results", "--workers", "2")
    wait_for(2, tmp_path / "results", process)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    lines = process.communicate(timeout=60)[1].splitlines()
    is_progress = [any(word in line for word in (" runs, ", " so far", " left")) for line in lines]  # there may be some
    out = tmp_path / "results"
    again = f"dipsim sweep {whole_long[0]} -o {out} --workers 2"
    told = [f"dipsim: {ended}; finished runs are kept in {out}; to go on: {again}"] if ended else []
    assert [line for line, own in zip(lines, is_progress, strict=True) if not own] == told
    assert process.returncode == code


@pytest.mark.slow
def test_two_sweeps_into_one_folder(whole_long: tuple[Path, Path], tmp_path: Path) -> None:
    spec, expected = whole_long
    both = [started(spec, tmp_path / "results", "--workers", "1") for _ in range(2)]
    for process in both:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    assert table(tmp_path / "results") == table(expected)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2_000, 20_000], ids=["a row does not fit", "the table does not fit"])
def test_a_full_disk_ends_in_one_line_and_loses_nothing(
    limit: int, whole_long: tuple[Path, Path], tmp_path: Path
) -> None:
    spec, expected = whole_long
    process = started(spec, tmp_path / "results", "--workers", "1", limit=limit)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 2, told
    assert len([line for line in told.splitlines() if "finished runs are kept" in line]) == 1
    assert "Traceback" not in told
    n_kept = len([*tmp_path.glob("results/_log/*.json")])
    assert (n_kept > 0) == (limit > 10_000)
    assert not [*tmp_path.rglob("*.partial*")]
    assert len(plan(Spec.load(spec), tmp_path / "results").left) == 24 - n_kept
    ds.sweep(spec, tmp_path / "results", workers=2)
    assert table(tmp_path / "results") == table(expected)


# --- the folder ---


def test_a_row_that_stands_in_both_log_and_table_counts_once(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "results")
    row = pd.read_parquet(whole).iloc[3]
    log = {"key": row["key"], "error": None, "tok_per_s": row["tok_per_s"], "dipsim_version": row["dipsim_version"]}
    (tmp_path / "results" / "_log" / f"{row['key']}.json").write_text(json.dumps(log))
    ds.sweep(GRID, tmp_path / "results", workers=1)
    assert table(tmp_path / "results") == table(whole)


def test_what_a_killed_writer_left_half_written_is_passed_over(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "results")
    for folder, name in (("_log", ".0123.77.partial.json"), ("_specs", ".spec.77.partial.toml")):
        (tmp_path / "results" / folder / name).write_text('{"key": "01')
    assert len(read_results(tmp_path / "results")) == 24
    assert read_specs(tmp_path / "results") == read_specs(whole)
    ds.sweep(GRID, tmp_path / "results", workers=1)
    assert table(tmp_path / "results") == table(whole)


@pytest.mark.parametrize("name", ["results.parquet", "_log/0123.json"])
def test_a_damaged_file_is_named(name: str, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "results")
    (tmp_path / "results" / name).write_bytes(b"")
    for use in (lambda: read_results(tmp_path / "results"), lambda: Results(tmp_path / "results")):
        with pytest.raises(DipsimError, match=f"{name}': (cannot be read|not JSON|no table of results)[:;] ") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_failed_run_that_another_sweep_moves_into_the_table_meanwhile(tmp_path: Path) -> None:
    failed = {"key": "0123", "error": "on purpose", "dipsim_version": ds.__version__}
    Results(tmp_path).keep(failed)
    late, early = Results(tmp_path), Results(tmp_path)
    listed = [tmp_path / "_log" / "0123.json"]
    early.close([])
    assert not listed[0].exists()
    late._take_file(listed[0])
    assert late.frame()["error"].tolist() == ["on purpose"]


def test_the_table_absorbs_the_log_while_a_sweep_runs_the_less_often_the_longer_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("dipsim.sweeps.folder.time.monotonic", lambda: clock[0])
    results, log = Results(tmp_path), tmp_path / "_log"
    write_table = parquet.write_table

    def slowly(*given: Any) -> None:
        clock[0] += 3  # a table that takes so many seconds
        write_table(*given)

    monkeypatch.setattr(parquet, "write_table", slowly)
    keys = [f"{i:04}" for i in range(6)]

    def kept(i: int, then_s: float) -> int:
        """Keeps a run, and tells how many are in the log afterwards."""
        results.keep({"key": keys[i], "error": None, "dipsim_version": ds.__version__})
        clock[0] = then_s
        results.refresh(keys)
        assert read_results(tmp_path)["key"].tolist() == keys[: i + 1]
        return len([*log.iterdir()])

    assert [kept(0, 1), kept(1, 2), kept(2, 150), kept(3, 151), kept(4, 153), kept(5, 300)] == [0, 1, 2, 0, 1, 2]


def test_what_is_moved_into_the_table_while_somebody_reads_is_read_there(tmp_path: Path) -> None:
    writer = Results(tmp_path)
    for i in range(3):
        writer.keep({"key": f"000{i}", "error": None, "dipsim_version": ds.__version__})

    class Interrupted(Results):
        def _take_file(self, file: Path) -> bool:
            writer.close([])  # between the listing of the log and the reading of its files
            return super()._take_file(file)

    assert Interrupted(tmp_path).frame()["key"].tolist() == ["0000", "0001", "0002"]
    (tmp_path / "_log" / "0009.json").symlink_to(tmp_path / "nowhere")  # listed, and never to be read
    assert len(Results(tmp_path).frame()) == 3


def test_a_late_failure_does_not_replace_a_success(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "results")
    results = Results(tmp_path / "results")
    frame = pd.read_parquet(whole)
    results.keep(_plain(frame, 0) | {"error": None})
    changed = frame.assign(error=["late", *[None] * 23])  # by another sweep, in the meantime
    changed.to_parquet(tmp_path / "results" / "results.parquet", index=False)
    results.close([])
    assert pd.read_parquet(tmp_path / "results")["error"].isna().all()


def test_rows_of_other_specs_come_in_the_order_of_their_keys(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "results")
    ds.sweep(GRID | {"density": 0.9, "policy": "lru"}, tmp_path / "results", workers=1)
    frame = pd.read_parquet(tmp_path / "results")
    assert frame["density"].tolist()[:4] == [0.9] * 4
    assert frame["key"].tolist()[4:] == sorted(pd.read_parquet(whole)["key"])


def _plain(frame: pd.DataFrame, i: int) -> dict[str, Any]:
    return json.loads(frame.iloc[[i]].to_json(orient="records"))[0]


def test_results_of_another_version_are_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "old")
    pd.read_parquet(whole).assign(dipsim_version="0.0.7").to_parquet(tmp_path / "old" / "results.parquet")
    for use in (lambda: read_results(tmp_path / "old"), lambda: Results(tmp_path / "old")):
        with pytest.raises(DipsimError, match=r"of dipsim 0\.0\.7, this is"):
            use()


def test_what_holds_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DipsimError, match="no such folder"):
        read_results(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DipsimError, match="no table of results"):
        read_results(tmp_path / "file")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")
    with pytest.raises(DipsimError, match="holds no sweep"):
        ds.sweep(GRID, tmp_path / "mine")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DipsimError, match="key: missing; it is required"):
        read_results(tmp_path / "other.parquet")


# --- the command ---


@pytest.mark.slow
def test_the_command_tells_failures_by_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(
        'trace = "tiny"\nmethod = ["dip", "dip-ca"]\npolicy = ["lfu", "belady"]\ndram = "0.5x"\ntokens = 64\n'
    )
    dry = subprocess.run([DIPSIM, "sweep", tmp_path / "spec.toml", "--dry-run"], capture_output=True, text=True)
    assert dry.returncode == 0
    assert "4 runs, 0 of them done; the rest takes about" in dry.stderr
    assert "1 of them cannot be made; the first: policy: belady" in dry.stderr
    assert not (tmp_path / "results").exists()
    done = started(tmp_path / "spec.toml", tmp_path / "results", "--workers", "1")
    _, told = done.communicate(timeout=120)
    assert done.returncode == 1
    assert "3 of 4 runs" in told
    assert "1 failed; the first: policy: belady" in told


def test_workers_are_at_least_one() -> None:
    with pytest.raises(DipsimError, match="workers: got 0"):
        ds.sweep(GRID, workers=0)
    with pytest.raises(DipsimError, match="workers: got -1"):
        estimate_s([], workers=-1)
