"""The command line end to end, in a process of its own: outputs, exit codes, one-line complaints, no leftovers."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import warm_start
import zarr
from conftest import random_scores, small_model, write_trace

from dipsim import HardwareProfile, Simulation, Trace, TraceWriter, shipped
from dipsim.cli import main
from dipsim.installation import how_to_add
from dipsim.methods import make
from dipsim.policies import policies
from dipsim.results.headroom import STEPS

COMMAND = [str(Path(sys.executable).with_name("dipsim"))]
# The same from nothing, but without a word of how slow the machine is.
_SILENT = "from dipsim.cli import main, terminal; terminal.FIRST_LINE_S = 3600.0; main()"
SILENT_COMMAND = [sys.executable, "-c", _SILENT]


def run(
    *arguments: str, cwd: Path | None = None, limit: Callable[[], None] | None = None, columns: int = 200
) -> subprocess.CompletedProcess[str]:
    """In a process of its own; a start from nothing only where its limits are asked for."""
    environment = os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
    command = SILENT_COMMAND if limit else [str(warm_start.ready() / "dipsim")]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, preexec_fn=limit, check=False
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that the user can mend."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("dipsim: error: ")
    return lines[0]


def test_simulate_prints_a_table_and_writes_what_the_library_gives(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = run(
        "simulate",
        "tiny",
        "--method",
        "dip-ca",
        "--density",
        "0.5",
        "--gamma",
        "0.3",
        "--dram",
        "0.8x",
        "--tokens",
        "64",
        "--json",
        str(out),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("throughput", "tok/s", "hit rate", "MLP error", "magnitude retained", "bound"):
        assert word in done.stdout
    masking = make("dip-ca", density=0.5, gamma=0.3)
    result = Simulation(
        HardwareProfile.load("a18-paper"), Trace.open("tiny"), masking, "lfu", dram="0.8x", tokens=64
    ).run()
    assert out.read_text() == result.to_json()


def test_simulate_with_a_budget_by_name(tmp_path: Path) -> None:
    slots = {}
    for budget in ("uniform", "marginal"):
        out = tmp_path / f"{budget}.json"
        done = run("simulate", "tiny", "--tokens", "40", "--dram", "0.8x", "--budget", budget, "--json", str(out))
        assert done.returncode == 0, done.stderr
        numbers = json.loads(out.read_text())
        assert numbers["config"]["budget"] == budget
        slots[budget] = numbers["slots"]
    assert slots["uniform"] != slots["marginal"]
    assert "did you mean 'marginal'" in complaint(run("simulate", "tiny", "--budget", "marginl"))


def test_json_holds_the_promised_keys(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    run("simulate", "tiny", "--profile", "oneplus-12-ufs4", "--tokens", "40", "--json", str(out))
    numbers = json.loads(out.read_text())
    names = """tok_per_s tpot_s ttft_s n_tokens hit_rate byte_hit_rate hit_rate_by_group prompt_hit_rate
        cumulative_hit_rate_by_group bytes_per_token flash_reads_per_token flash prefetch mlp_density mlp_error
        retained_magnitude energy_j_per_token energy_parts_j_per_token average_w busy_s bound critical_path_s_per_token
        waited_for_others_s_per_token dram_share_of_peak dram slots config dipsim_version"""
    assert list(numbers) == names.split()
    assert set(numbers["tpot_s"]) == {"mean", "p50", "p95", "p99"}
    assert set(numbers["bytes_per_token"]) == {"flash", "dram"}
    assert set(numbers["busy_s"]) == {"flash", "dram", "compute"}
    assert set(numbers["dram"]) == {
        "capacity_bytes", "pinned_bytes", "kv_bytes", "cache_bytes", "streamed_pinned_bytes",
        "prefetch_bytes",
    }  # fmt: skip
    n_layers = numbers["config"]["model"]["n_layers"]
    assert {name: len(slots) for name, slots in numbers["slots"].items()} == {"up_gate": n_layers, "down": n_layers}
    none = [name for name, value in numbers.items() if value is None]
    extras = ["prompt_hit_rate", "cumulative_hit_rate_by_group", "prefetch", "waited_for_others_s_per_token"]
    assert none == extras
    assert set(numbers["flash"]) == {"reads_per_token", "mean_read_bytes", "amplification", "s_per_token"}
    assert sum(numbers["critical_path_s_per_token"].values()) == pytest.approx(numbers["tpot_s"]["mean"])


@pytest.mark.slow
def test_demo_shows_a_table_and_two_figures_with_their_data(tmp_path: Path) -> None:
    for _ in range(2):  # the second run replaces the first one's files
        done = run("demo", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "1.8 GB, of which DRAM holds 1.6GB" in done.stdout
    assert done.stderr.count("\n") == 1  # where the figures are
    for method, n_policies in (("dense", 3), ("dip", 3), ("dip-ca", 2)):
        assert sum(line.startswith(f"{method} ") for line in done.stdout.splitlines()) == n_policies
    names = ["throughput-by-dram.csv", "throughput-by-dram.svg", "throughput-by-policy.csv", "throughput-by-policy.svg"]
    assert sorted(path.name for path in (tmp_path / "dipsim-demo").iterdir()) == names
    drawn = pd.read_csv(tmp_path / "dipsim-demo" / names[2]).set_index(["profile", "method", "policy"])["tok_per_s"]
    # The regime shows something: policies differ, cache-aware masking beats them all, and the phone's Flash is seen.
    paper, phone = drawn["a18-paper"], drawn["oneplus-12-ufs4"]
    assert paper["dense", "lfu"] < paper["dip", "lru"] < paper["dip", "lfu"] < paper["dip", "belady"]
    assert paper["dip", "belady"] < paper["dip-ca", "lfu"]
    assert phone["dip", "lfu"] < phone["dense", "lfu"] < phone["dip-ca", "lfu"]


SWEEP = """
trace = "tiny"
tokens = 16
method = "dip"
density = [0.3, 0.4]
policy = ["lru", "nothing"]
dram = ["0.7x", "0.9x"]
profile.flash.read_bytes_per_s = [1e9, 2e9]
profile.dram.read_bytes_per_s = [2e10, 1e11]
"""


@pytest.mark.slow
def test_plot_draws_what_was_swept_and_says_what_cannot_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SWEEP)
    (tmp_path / "wide.mplstyle").write_text("figure.figsize: 7, 3\n")
    swept = run("sweep", "spec.toml", "-o", "results", cwd=tmp_path)
    assert swept.returncode == 1, swept.stderr  # policy 'nothing' is none
    frame = pd.read_parquet(tmp_path / "results")
    where = "density == 0.3 and `profile.flash.read_bytes_per_s` == 1e9 and `profile.dram.read_bytes_per_s` == 2e10"
    done = run("plot", "results", "dram", "-o", "f.svg", "--where", where, "--style", "wide.mplstyle", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == "dipsim: warning: 2 of 4 runs failed and are left out\n"
    assert 'width="504pt"' in (tmp_path / "f.svg").read_text()  # 7 inches
    own = frame[frame["error"].isna()].query(where)
    drawn = pd.read_csv(tmp_path / "f.csv").set_index("dram.capacity_bytes")["tok_per_s"]
    assert drawn.to_dict() == pytest.approx(own.set_index("dram.capacity_bytes")["tok_per_s"].to_dict(), rel=1e-12)
    options = ("--by", "bound", "--where", "density == 0.3 and dram == '0.7x'")
    mapped = run("plot", "results", "regimes", "-o", "map.svg", *options, cwd=tmp_path)
    assert mapped.returncode == 0, mapped.stderr
    assert "a18-paper" in (tmp_path / "map.svg").read_text()  # shipped devices are marked
    wide = run("plot", "results", "dram", "-o", "w.svg", "--where", where, "--width", "17", "--log", "y", cwd=tmp_path)
    assert wide.returncode == 0, wide.stderr
    assert 'width="481.88' in (tmp_path / "w.svg").read_text()  # 17 cm
    refused = {
        ("dram", "-o", "g.svg", "--width", "2"): "width: got 2; must be from 5 to 60 (cm)",
        ("latency", "-o", "g.svg", "--at", "3"): "at: figure 'latency' has no such option",
        ("dram", "-o", "f.svg"): "output: 'f.svg' exists already; give --force to replace it",
        ("darm", "-o", "g.svg"): "kind: unknown name, got 'darm'; did you mean 'dram'?",
        ("dram", "-o", "g.gif"): "figure: got 'g.gif'; its name must end in .svg, .pdf, .png",
        ("headroom", "-o", "g.svg", "--where", "policy == 'nothing'"): "plot: all 16 runs failed",
        ("dram", "-o", "g.svg", "--style", "spec.toml"): "style: 'spec.toml', line 2: got 'trace = \"tiny\"'",
    }
    for arguments, message in refused.items():
        assert f"error: {message}" in complaint(run("plot", "results", *arguments, cwd=tmp_path))
    assert "results: no such folder" in complaint(run("plot", "nowhere", "dram", "-o", "g.svg", cwd=tmp_path))
    assert not list(tmp_path.glob("g.*"))


def test_lists_and_profiles() -> None:
    expected = {
        "profiles": ("a18-paper", "oneplus-12-ufs4", "desktop-pcie4"),
        "models": ("phi-3-medium", "llama-3-8b", "tiny"),
        "methods": ("dense", "glu", "gate", "up", "dip", "dip-ca"),
        "policies": ("none", "lru", "lfu", "lfu-in-cache", "fifo", "belady"),
        "budgets": ("uniform", "by-bytes", "marginal"),
        "layouts": ("column", "coactivation"),
        "figures": ("pareto", "dram", "flash", "density", "hit-rate", "layers", "headroom", "breakdown", "latency"),
    }
    for kind, names in expected.items():
        done = run("list", kind)
        assert done.returncode == 0, done.stderr
        first_words = {line.split(" ")[0] for line in done.stdout.splitlines()}
        assert set(names) <= first_words


def test_profiles_are_compared_in_a_table_that_fits_a_terminal() -> None:
    done = run("list", "profiles", columns=120)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 120
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert list(rows) == list(shipped.names("hwprofiles", ".toml"))
    assert rows["a18-paper"] == "1000 1000 1000 - - 8.00 60.0 - - - -".split()  # noqa: SIM905
    phone = "4000 850 2190 150 µs 32 19.0 59.6 76.8 10.8T cpu gpu npu yes".split()  # noqa: SIM905
    assert rows["oneplus-12-ufs4"] == phone
    assert rows["oneplus-12-ufs4-hot"] == ["2680", "570", "1467", *phone[3:]]  # 0.67 of them
    assert rows["desktop-pcie4"][:6] == ["7450", "3110", "3900", "50.0", "µs", "128"]  # the deepest of its table
    assert rows["iphone-16"][-2:] == ["no", "idle_w"]


def test_what_is_shown_of_a_profile_is_a_profile(tmp_path: Path) -> None:
    shown = run("show", "profile", "a18-paper").stdout
    assert shown == shipped.names("hwprofiles", ".toml")["a18-paper"].read_text()
    text = 'extends = "oneplus-12-ufs4"\n[flash]\nlatency_s = 9e-5  #\tA: [red]me[/] :smile:\n'
    (tmp_path / "mine.toml").write_text(text)
    done = run("show", "profile", "mine.toml", cwd=tmp_path)
    assert done.stdout.startswith("# mine extends oneplus-12-ufs4.\n")
    assert "latency_s = 9e-5  #\tA: [red]me[/] :smile:\n" in done.stdout
    assert "read_bytes_per_s = 4.0e9  # A: sequential read, PI2 section 2.3.2\n" in done.stdout
    (tmp_path / "shown.toml").write_text(done.stdout)
    assert HardwareProfile.load(tmp_path / "shown.toml") == HardwareProfile.load(tmp_path / "mine.toml")


@pytest.mark.parametrize("command", ["simulate", "headroom"])
def test_values_of_the_profile_are_set_for_a_run(tmp_path: Path, command: str) -> None:
    path = tmp_path / "r.json"
    few = (command, "tiny", "--profile", "oneplus-12-ufs4", "--method", "dip", "--tokens", "20", "--dram", "0.8x")
    given = {
        "flash.derate": 0.67,
        "flash.queue_depth": 1,
        "flash.read_curve": [[4096, 4e8], [65536, 1e9]],
        "dram.peak_bytes_per_s": 70e9,
        "dram.dma_writes": False,
        "compute": None,
        "name": "hot",
    }
    values = ("flash.derate=0.67", "flash.queue_depth=1", "flash.read_curve=[[4096, 4e8], [65536, 1e9]]")
    values += ("dram.peak_bytes_per_s=70e9", "dram.dma_writes=false", "compute=null", "name=hot")
    done = run(*few, *(part for value in values for part in ("--set", value)), "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert "tiny on hot" in done.stdout
    profile = json.loads(path.read_text())["config"]["profile"]
    expected = HardwareProfile.load("oneplus-12-ufs4").model_dump(mode="json", by_alias=True)
    for key, value in given.items():
        *section, name = key.split(".")
        (expected[section[0]] if section else expected)[name] = value
    assert profile == expected
    assert type(profile["flash"]["queue_depth"]) is int


def test_every_policy_is_listed_in_one_line_with_its_source() -> None:
    lines = run("list", "policies").stdout.splitlines()
    assert len(lines) == 1 + len(list(policies))
    for line in lines[1:]:
        name, what, source = (cell.strip() for cell in re.split(r" {2,}", line.strip()))
        assert name in policies
        assert what.endswith(".")
        assert re.search(r"(19|20)\d\d|arXiv|benchmarks", source), line


@pytest.mark.slow
def test_headroom_prints_a_waterfall_and_saves_it(tmp_path: Path) -> None:
    options = ("tiny", "--method", "dip", "--density", "0.4", "--policy", "lru", "--dram", "0.8x", "--tokens", "160")
    figure, json_path = tmp_path / "h.svg", tmp_path / "h.json"
    done = run("headroom", *options, "--figure", str(figure), "--json", str(json_path))
    assert done.returncode == 0, done.stderr
    for step in STEPS:
        assert f"\n{step.name} " in done.stdout
    found = json.loads(json_path.read_text())
    assert found["verdict"] in done.stdout
    again = Simulation.from_config(found["config"]).headroom().steps
    pd.testing.assert_frame_equal(pd.DataFrame(found["steps"]), again)
    pd.testing.assert_frame_equal(pd.read_csv(figure.with_suffix(".csv")).fillna({"changes": ""}), again)
    assert "<svg" in figure.read_text()
    refused = run("headroom", *options, "--figure", str(figure))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "exists already" in refused.stderr
    for outputs, message in {
        ("--figure", "h.txt"): "figure: got 'h.txt'; its name must end in .svg, .pdf, .png",
        ("--figure", "new.svg", "--json", "new.csv"): "output: 'new.csv' is named twice",
        ("--figure", "new.svg", "--json", "new.svg"): "output: 'new.svg' is named twice",
    }.items():
        assert message in complaint(run("headroom", *options, *outputs, cwd=tmp_path))


def test_options_of_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    few = ("simulate", "tiny", "--tokens", "20", "--policy", "s3-fifo", "--json", str(path))
    assert run(*few, "--policy-option", "small=0.3", "--policy-option", "ghosts=0.5").returncode == 0
    config = json.loads(path.read_text())["config"]
    assert (config["policy"], config["policy_options"]) == ("s3-fifo", {"small": 0.3, "ghosts": 0.5})
    for option, message in {
        "smal=0.3": "smal: policy 's3-fifo' has no such option; did you mean 'small'",
        "small": "policy-option: got 'small'; must be NAME=VALUE",
        "small=2": "small: got 2",
        "small=much": "small: got 'much'; must be a number",
        "small=true": "small: got True; must be a number",
    }.items():
        done = run(*few, "--force", "--policy-option", option)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_policy_of_an_installed_package(tmp_path: Path) -> None:
    """Another distribution offers a policy by entry point; the command finds it by name."""
    (tmp_path / "their_policies.py").write_text(
        "import dipsim as ds\n\n\n"
        "class Newest(ds.ScorePolicy):\n"
        '    """Evict the newest.\n\n    Source: a test of 2026.\n    """\n\n'
        "    def on_insert(self, columns, token):\n        self.priority[columns] = -token\n"
    )
    info = tmp_path / "their_policies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-policies\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dipsim.policies]\nnewest = their_policies:Newest\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    path = tmp_path / "r.json"
    command = [*COMMAND, "simulate", "tiny", "--tokens", "40", "--policy", "newest", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text())["config"]["policy"] == "newest"
    listed = subprocess.run([*COMMAND, "list", "policies"], capture_output=True, text=True, env=environment)
    assert "Evict the newest." in listed.stdout


def test_help_teaches_and_is_quick() -> None:
    before = os.times()
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True)
    assert os.times().children_user - before.children_user < 1.5  # .3 s on a quiet machine; pandas alone takes more
    assert done.returncode == 0
    assert "dipsim demo" in done.stdout
    assert "Example:\n    dipsim simulate" in run("simulate", "--help").stdout
    assert run("--version").stdout.strip() == "0.1.0"


def test_a_command_does_not_look_for_garbage_among_what_it_has_loaded() -> None:
    told = "import atexit, gc; atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))"
    code = f"{told}; import sys; from dipsim.cli import main; sys.argv = ['dipsim', '--version']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "50000 True"


@pytest.mark.slow
def test_capture_then_simulate(tmp_path: Path) -> None:
    trace = tmp_path / "mine.zarr.zip"
    arguments = (
        "--sequences",
        "2",
        "--sequence-tokens",
        "16",
        "--prompt-tokens",
        "4",
        "--method",
        "dip",
        "--density",
        "0.5",
    )
    done = run("capture", "tiny", "held-out", "-o", str(trace), *arguments)
    assert done.returncode == 0, done.stderr
    opened = Trace.open(trace)
    assert opened.source["model"] == "tiny"
    assert opened.source["text"]["name"] == "held-out"
    assert opened.masking == {"name": "dip", "density": 0.5, "keep_input": None, "keep_glu": None}
    assert (opened.n_tokens, opened.n_positions, opened.sites) == (32, 20, ("glu", "mlp_input"))
    assert run("simulate", str(trace)).returncode == 0
    assert "exists already; give --force" in complaint(run("capture", "tiny", "held-out", "-o", str(trace)))
    assert run("capture", "tiny", "held-out", "-o", str(trace), *arguments, "--force").returncode == 0
    assert "needs scores at site 'up', got a trace with glu, mlp_input; capture them: dipsim capture" in complaint(
        run("simulate", str(trace), "--method", "up", "--density", "0.8")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.zarr.zip"]


@pytest.mark.slow
def test_evaluate_then_simulate_what_it_recorded(tmp_path: Path) -> None:
    """Perplexity beside the run, and the same hits and bytes from the scores it leaves behind."""
    out, trace = tmp_path / "e.json", tmp_path / "t.zarr.zip"
    method = ("--method", "dip-ca", "--density", "0.5", "--gamma", "0.4", "--policy", "lru", "--dram", "0.7x")
    arguments = ("--tokens", "120", "--window-tokens", "40", "--prompt-tokens", "8", "--dtype", "float32")
    done = run("evaluate", "tiny", "held-out", *method, *arguments, "--json", str(out), "--save-trace", str(trace))
    assert done.returncode == 0, done.stderr
    assert "perplexity" in done.stdout
    found = json.loads(out.read_text())
    assert found["n_scored_tokens"] == 3 * (40 - 8 - 1)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]))
    assert found["n_tokens"] == 3 * 32
    again = tmp_path / "s.json"
    assert run("simulate", str(trace), *method, "--json", str(again)).returncode == 0
    simulated = json.loads(again.read_text())
    differ = {"config", "perplexity", "perplexity_se", "loss", "loss_se", "n_scored_tokens", "bos"}
    differ |= {"loss_by_window", "scored_by_window", "tokens_sha256"}
    assert {key: found[key] for key in found.keys() - differ} == {
        key: simulated[key] for key in simulated.keys() - differ
    }
    assert Trace.open(trace).masking["cache"]["policy"] == "lru"
    assert "exists already; give --force" in complaint(
        run("evaluate", "tiny", "held-out", *method, "--save-trace", str(trace))
    )


def test_without_the_extra_the_line_to_install_it_is_told(tmp_path: Path) -> None:
    hidden = "u.find_spec = lambda name, package=None: None if name == 'torch' else find(name, package)"
    (tmp_path / "sitecustomize.py").write_text(f"import importlib.util as u\nfind = u.find_spec\n{hidden}\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    words = [*SILENT_COMMAND, "evaluate", "tiny", "held-out"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert f"are not installed; {how_to_add('capture')}" in complaint(done)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "nothing.zarr"], "trace: no such file, got 'nothing.zarr'"),
        (["simulate", "tiny", "--profile", "a18-papr"], "did you mean 'a18-paper'"),
        (
            ["simulate", "tiny", "--set", "flash.derat=0.5"],
            "a18-paper: flash.derat: unknown key; did you mean 'derate'",
        ),
        (["simulate", "tiny", "--set", "flash.derate=2"], "a18-paper: flash.derate: got 2; input should be less than"),
        (
            ["headroom", "tiny", "--set", "flash.page_bytes=4e3"],
            "flash.page_bytes: got 4000.0; input should be a valid",
        ),
        (["simulate", "tiny", "--set", "dram.read_bytes_per_s=60GB"], "got '60GB'; input should be a valid number"),
        (["simulate", "tiny", "--set", "flash.latency_s=" + "[" * 9999], "flash.latency_s: got '[[["),
        (["simulate", "tiny", "--set", "flash.derate"], "set: got 'flash.derate'; must be NAME=VALUE, each name once"),
        (["simulate", "tiny", "--set", "name=a", "--set", "name=b"], "set: got 'name=b'; must be NAME=VALUE"),
        (["simulate", "tiny", "--policy", "lrru"], "did you mean 'lru'"),
        (["simulate", "tiny", "--method", "dippp"], "method: unknown name, got 'dippp'"),
        (["simulate", "tiny", "--model", "phi-3-medum"], "did you mean 'phi-3-medium'"),
        (["simulate", "tiny", "--model", "phi-3-medium"], "model: n_layers: got 40 for 'phi-3-medium'"),
        (["simulate", "tiny", "--density", "1.2"], "density: got 1.2; must be above 0 and at most 1"),
        (["simulate", "tiny", "--gamma", "-0.1"], "gamma: got -0.1; must be in [0, 1]"),
        (["simulate", "tiny", "--method", "dip", "--gamma", "0.5"], "gamma: method 'dip' has no such option"),
        (["simulate", "tiny", "--policy", "belady"], "belady with method 'dip-ca'"),
        (["simulate", "tiny", "--dram", "4G"], "write a number with a unit"),
        (["simulate", "tiny", "--dram", "100kB", "--no-stream-pinned"], "dram: too small for attention, LM head"),
        (["simulate", "tiny", "--overlap", "io2"], "overlap: unknown name, got 'io2'"),
        (["simulate", "tiny", "--tokens", "many"], "tokens: got 'many'; must be N for the first N tokens"),
        (["simulate", "tiny", "--polcy", "lru"], "No such option: --polcy"),
        (["simulate"], "Missing argument"),
        (["simulat"], "No such command 'simulat'"),
        (["show", "profile", "nokia"], "profile: neither a name nor a file, got 'nokia'"),
        (["show", "profile", "iphon-16"], "did you mean 'iphone-16'?"),
        (["simulate", "tiny", "--method", "gate"], "method 'gate': give a density above 0.3333"),
        (["simulate", "tiny", "--json", ".", "--force"], "not a regular file"),
        (["simulate", "tiny", "--json", "/dev/null", "--force"], "not a regular file"),
        (["simulate", "tiny", "--json", "no/where.json"], "its folder does not exist"),
        (["capture", "tiny", "no.txt", "-o", "x.zarr"], "text 'no.txt': cannot be read"),
        (["capture", "no-such-model", "held-out", "-o", "x.zarr"], "model 'no-such-model': cannot be loaded"),
        (["capture", "./no-such", "held-out", "-o", "x.zarr"], "model: no such folder, got './no-such'"),
        (
            ["capture", "tinyy", "held-out", "-o", "x.zarr"],
            "model: no such folder, got 'tinyy'; a folder, a .gguf file, a hub id, or",
        ),
        (["demo", "-o", "/dev/null"], "output: got '/dev/null'; must be a folder"),
        (["capture", "tiny", "held-out", "-o", "x.zarr", "--method", "dip-ca", "--density", "0.5"], "capture does not"),
        (["capture", "tiny", "held-out", "-o", "x.zarr", "--sequence-tokens", "0"], "both must be at least 1"),
        (["capture", "tiny", "held-out", "-o", "x.npz"], "a trace ends in .zarr"),
        (["adapt", "tiny", "held-out", "-o", "x", "--rank", "0"], "rank: got 0; must be at least 1"),
        (["adapt", "tiny", "held-out", "-o", "x", "--method", "dense"], "method 'dense': masks no activations"),
        (["adapt", "tiny", "held-out", "-o", "x", "--resume"], "'x' holds no checkpoint"),
        (["evaluate", "tiny", "held-out", "--merge-adapter"], "merge-adapter: there is none; give --adapter DIR"),
        (["evaluate", "tiny", "held-out", "--adapter", "x", "--tokens", "256"], "adapter: 'x' holds no dipsim.json"),
        (["capture", "tiny", "held-out", "-o", "x.zarr", "--sites", "glu,gat"], "did you mean 'gate'"),
        (["evaluate", "tiny", "held-out", "--window-tokens", "900000"], "got 81489 tokens, 0 windows of 900000"),
        (
            ["evaluate", "tiny", "held-out", "--window-tokens", "8", "--prompt-tokens", "7"],
            "none is left to be predicted",
        ),
        (["evaluate", "tiny", "held-out", "--policy", "lfuu"], "did you mean 'lfu'"),
        (
            ["evaluate", "tiny", "held-out", "--budget", "marginal", "--tokens", "256"],
            "its scores are yet to be recorded",
        ),
        (["evaluate", "tiny", "held-out", "--policy", "belady"], "belady with method 'dip-ca'"),
        (["evaluate", "tiny", "held-out", "--stride", "0"], "stride: got 0"),
        (["evaluate", "tiny", "held-out", "--tokens", "100"], "tokens: got 100; must be at least a window's 256"),
        (["evaluate", "nowhere", "held-out"], "model 'nowhere': cannot be loaded"),
        (["evaluate", "tiny", "held-out", "--method", "cats"], "method 'cats' needs --density and --calibration"),
        (["simulate", "tiny", "--calibration", "tiny"], "calibration: method 'dip-ca' has no thresholds"),
        (["simulate", "tiny", "--adapter-bytes", "-1MB"], "adapter-bytes: not an amount of bytes, got '-1MB'"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in complaint(run(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_adapt_then_evaluate(tmp_path: Path) -> None:
    text, folder, out = tmp_path / "text.txt", tmp_path / "lora", tmp_path / "r.json"
    text.write_text((shipped.folder("tiny") / "held_out.txt").read_text()[:3000])
    arguments = ("--method", "dip-ca", "--density", "0.4", "--dram", "0.8x", "--window-tokens", "32")
    recipe = ("--rank", "4", "--steps", "4", "--evaluate-every", "2", "--batch", "2")
    done = run("adapt", "tiny", str(text), "-o", str(folder), *arguments, *recipe)
    assert done.returncode == 0, done.stderr
    n_bytes = 2 * 3 * 3 * 4 * (256 + 896)  # 16 bits, 3 layers of 3 matrices, A and B
    assert f"{n_bytes / 1e3:.0f} kB in 16 bits" in done.stdout
    assert "exists already; give --force" in complaint(run("adapt", "tiny", str(text), "-o", str(folder)))
    found = []
    for merge in ((), ("--merge-adapter",)):
        more = ("--tokens", "512", "--adapter", str(folder), *merge, "--json", str(out), "--force")
        done = run("evaluate", "tiny", str(text), *arguments, *more, "--dtype", "float32")
        assert done.returncode == 0, done.stderr
        assert "tiny + lora" in done.stdout
        found.append(json.loads(out.read_text()))
    assert [one["config"]["adapter_bytes"] for one in found] == [n_bytes, 0]
    assert found[0]["dram"]["cache_bytes"] < found[1]["dram"]["cache_bytes"]


def test_a_bad_score_and_a_bad_profile_are_named(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.zarr", small_model(), random_scores(small_model(), 40))
    zarr.open_group(tmp_path / "t.zarr", mode="a")["scores/mlp_input"][35, 1, 6] = np.float16(np.nan)
    out = tmp_path / "out.json"
    line = complaint(run("simulate", str(tmp_path / "t.zarr"), "--json", str(out)))
    assert "scores/mlp_input: token 35, layer 1, column 6: got nan" in line
    assert not out.exists()
    (tmp_path / "p.toml").write_text('schema = 1\nname = "p"\n[flash]\nread_bytes_per_sec = 1e9\n[dram]\n')
    line = complaint(run("simulate", "tiny", "--profile", str(tmp_path / "p.toml")))
    assert "flash.read_bytes_per_sec: unknown key; did you mean 'read_bytes_per_s'" in line


def test_names_from_strangers_are_shown_as_they_are(tmp_path: Path) -> None:
    model = small_model(name="[/x][red]m")
    write_trace(tmp_path / "t.zarr", model, random_scores(model, 3))
    done = run("simulate", str(tmp_path / "t.zarr"))
    assert done.returncode == 0, done.stderr
    assert "[/x][red]m on a18-paper" in done.stdout


def test_an_existing_result_stays_unless_forced(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    out.write_text("mine")
    arguments = ("simulate", "tiny", "--tokens", "4", "--json", str(out))
    assert "exists already; give --force" in complaint(run(*arguments))
    assert out.read_text() == "mine"
    assert run(*arguments, "--force").returncode == 0
    assert json.loads(out.read_text())["n_tokens"] == 4


def test_a_warning_is_one_line_and_no_failure() -> None:
    done = run("simulate", "tiny", "--dram", "200kB", "--tokens", "4")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0].startswith("dipsim: warning: attention and LM head do not fit into DRAM")


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: writing fails half-way."""

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    arguments = ("capture", "tiny", "held-out", "-o", "t.zarr.zip", "--sequences", "2")
    line = complaint(run(*arguments, cwd=tmp_path, limit=small_files_only))
    assert "File too large" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_exits_130_and_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*SILENT_COMMAND, "capture", "tiny", "held-out", "-o", "t.zarr.zip"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.glob(".*partial")), "capture never began to write"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    again = b"dipsim capture tiny held-out -o t.zarr.zip"
    assert stderr.splitlines()[-1] == b"dipsim: interrupted; nothing is kept; to begin again: " + again
    assert list(tmp_path.iterdir()) == []


HALF_MADE = """
import os, signal
class Loop:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
    def __del__(self):
        self.socket.close()
Loop()
"""


def test_ctrl_c_says_nothing_of_what_it_tears_down(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(HALF_MADE)
    done = run("list", "methods", "--plugin", "mine.py", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "dipsim: interrupted\n")


class Panic(BaseException):
    """As libraries written in Rust raise it: no Exception."""


@pytest.mark.parametrize("fault", [RecursionError("too\ndeep"), MemoryError(), KeyError("key"), Panic("index 3")])
@pytest.mark.parametrize("is_debugged", [False, True])
def test_a_fault_is_one_line_that_names_what_was_read(
    fault: BaseException,
    is_debugged: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise fault

    def words_and_lines(*words: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["dipsim", *(["--debug"] if is_debugged else []), *words])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 70
        out, err = capsys.readouterr()
        assert out == ""
        assert ("Traceback (most recent call last)" in err) == is_debugged == ("in fail" in err)
        return err.splitlines()

    profile, trace = tmp_path / "p.toml", tmp_path / "t.zarr"
    profile.touch()
    trace.mkdir()
    monkeypatch.setattr(Trace, "open", fail)
    *others, last = words_and_lines("simulate", str(trace), f"--profile={profile}", "--unit", "x" * 5000)
    assert last.startswith(f"dipsim: error: reading '{trace}', '{profile}': {type(fault).__name__}")
    assert ("too deep; this is a fault of dipsim's, please report it" in last) == isinstance(fault, RecursionError)
    assert bool(others) == is_debugged == ("--debug ..." not in last)
    *_, last = words_and_lines("simulate", "tiny")
    assert "simulate tiny: " in last  # where no file was given, the command


def test_a_fault_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, seen = TraceWriter.write, []

    def fail_late(self: TraceWriter, *given: Any) -> None:
        seen.append([*tmp_path.glob(".*")])
        if len(seen) == 3:
            raise MemoryError
        write(self, *given)

    monkeypatch.setattr(TraceWriter, "write", fail_late)
    for name in ("s.zarr", "s.zarr.zip"):
        seen.clear()
        monkeypatch.setattr(sys, "argv", ["dipsim", "synth", "tiny", "-n", "8", "-o", str(tmp_path / name)])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 70
        assert seen[0] != []
        assert list(tmp_path.iterdir()) == []
