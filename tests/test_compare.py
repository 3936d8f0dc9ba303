"""Two results beside each other: paired differences against sums by hand and known noise, set-ups, bad input."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import dipsim as ds
from dipsim import DipsimError
from dipsim.cli import app
from dipsim.evaluation.compare import Comparison, Outcome
from dipsim.evaluation.paired import Paired
from dipsim.sweeps import read_results, sweep
from dipsim.sweeps.outcome import read_outcome
from dipsim.units import with_error


def quality(losses: list[float], counts: list[int], text: str = "one") -> dict[str, Any]:
    return {"loss_by_window": losses, "scored_by_window": counts, "tokens_sha256": text}


def test_two_windows_by_hand() -> None:
    """Sums .1 x 2 and .3 x 3 over 5 tokens: .22; residuals .2 - .44 and .9 - .66; so sqrt(2 / 1 x 2 x .24^2) / 5."""
    found = Paired.of(quality([3.0, 1.0], [2, 3]), quality([3.1, 1.3], [2, 3]))
    assert found.loss == pytest.approx(0.22, rel=1e-12)
    se = math.sqrt(2 * 2 * 0.24**2) / 5
    assert found.loss_se == pytest.approx(se, rel=1e-12)
    assert found.loss_interval == pytest.approx((0.22 - 12.7062047 * se, 0.22 + 12.7062047 * se), rel=1e-8)
    before, after = math.exp((3.0 * 2 + 1.0 * 3) / 5), math.exp((3.1 * 2 + 1.3 * 3) / 5)
    assert found.perplexity == pytest.approx(after - before, rel=1e-12)
    # by hand to first order: what a window adds is exp(L) (S_w - L n_w) / mean n, of the one less the other
    added = [(after * (s1 - 2.02 * n) - before * (s0 - 1.8 * n)) / 2.5 for n, s0, s1 in ((2, 6, 6.2), (3, 3, 3.9))]
    assert found.perplexity_se == pytest.approx(np.std(added, ddof=1) / math.sqrt(2), rel=1e-9)
    assert not found.differs


def test_the_interval_covers_a_known_difference_and_pairing_takes_out_what_the_text_does() -> None:
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for _ in range(1000):
        text = rng.normal(3, 1, 12)  # as hard for both
        second = text + 0.05 + rng.normal(0, 0.02, 12)
        found = Paired.of(quality(text.tolist(), [100] * 12), quality(second.tolist(), [100] * 12))
        assert found.loss_interval is not None
        low, high = found.loss_interval
        covered.append(low <= 0.05 <= high)
        widths.append(found.loss_se or 0)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert np.sqrt(np.mean(np.square(widths))) == pytest.approx(0.02 / math.sqrt(12), rel=0.03)  # not 1 / sqrt(12)


def test_noise_alone_differs_in_one_of_twenty() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(3, 0.1, (1000, 2, 8))
    differ = [Paired.of(quality(a.tolist(), [9] * 8), quality(b.tolist(), [9] * 8)).differs for a, b in pairs]
    assert np.mean(differ) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (quality([3.0, 2.0], [4, 4], "other"), "they scored other tokens: text, windows, prompt, stride or BOS differ"),
        (quality([3.0, 2.0], [4, 5]), "they scored other tokens"),
        ({"perplexity": 3.0}, "the second has no losses by window"),
        (quality([3.0], [4, 4]), "the second: loss_by_window, scored_by_window: must be a finite loss"),
        (quality([3.0, None], [4, 4]), "must be a finite loss"),  # type: ignore[list-item]
        (quality([3.0, "x"], [4, 4]), "must be a finite loss"),  # type: ignore[list-item]
        (quality([3.0, 1.0], [4, 0]), "must be a finite loss"),
        (quality([[3.0], [1.0]], [[4], [4]]), "must be a finite loss"),  # type: ignore[list-item]
        (quality([], []), "must be a finite loss"),
    ],
)
def test_what_cannot_be_paired_is_refused(second: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        Paired.of(quality([3.0, 1.0], [4, 4]), second)


def outcome(name: str, numbers: dict[str, Any], **config: Any) -> Outcome:
    return Outcome(name, config, {"tok_per_s": 10.0, "dipsim_version": "0.1.0"} | numbers)


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        (
            [3.1, 2.1, 1.1001],
            r"perplexity differs: B's is \+10.5 % \(95 % interval \+10.5 % to",
        ),
        ([3.1, 1.9, 1.01], r"perplexity is within noise: B's is \+0.334 % \(95 % interval -"),
        ([3.0, 2.0, 1.0], "perplexity is the same in every window; tokens/s are the same"),
    ],
)
def test_the_verdict_is_one_plain_line(losses: list[float], verdict: str) -> None:
    first = outcome("a", quality([3.0, 2.0, 1.0], [4, 4, 4]))
    found = Comparison.of(first, outcome("b", quality(losses, [4, 4, 4]))).verdict
    assert re.match(verdict, found), found


def test_one_window_is_compared_without_an_error() -> None:
    found = Comparison.of(outcome("a", quality([3.0], [4])), outcome("b", quality([3.1], [4]) | {"tok_per_s": 20.0}))
    expected = "perplexity is within noise: B's is +10.5 % (one window tells no error) from A's"
    assert found.verdict == f"{expected}; B has 2 times A's tokens/s"


def test_only_what_differs_is_told_of_set_ups() -> None:
    profile = {"name": "p", "flash": {"read_bytes_per_s": 1e9}, "dram": {"capacity_bytes": 8}}
    own = outcome("a", {"loss": 1.0}, profile=profile, density=0.5, trace="/tmp/x")
    faster = profile | {"flash": {"read_bytes_per_s": 2e9}}
    found = Comparison.of(
        own, outcome("b", {"loss": 1.0, "bos": True}, profile=faster, density=0.5, gamma=0.2, trace="/y")
    )
    assert found.setup == {
        "profile.flash.read_bytes_per_s": (1e9, 2e9),
        "gamma": (None, 0.2),
        "bos": (None, True),
    }
    other = Comparison.of(own, outcome("b", {"loss": 1.0}, profile=faster | {"name": "q"}, density=0.5))
    assert other.setup == {"profile.name": ("p", "q")}
    replays = Comparison.of(outcome("a", {}, trace="x"), outcome("b", {}, trace="y"))
    assert replays.setup == {"trace": ("x", "y")}
    assert replays.verdict == "tokens/s are the same; perplexities are not compared: the first has no losses by window"


TEXT = {"model": "tiny", "text": "held-out", "tokens": 64, "window_tokens": 16}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two densities on a text, and the JSON of a replay beside it."""
    folder = tmp_path_factory.mktemp("results")
    sweep({"evaluate": TEXT, "method": "dip", "density": [0.3, 0.9], "dram": "0.9x"}, folder / "swept", workers=1)
    device, trace = ds.HardwareProfile.load("a18-paper"), ds.Trace.open("tiny")
    replay = ds.Simulation(device, trace, ds.Dip(density=0.3), dram="0.9x", tokens=8).run()
    (folder / "replay.json").write_text(replay.to_json())
    return folder


def test_runs_of_a_sweep_are_compared_by_their_keys(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    rows = read_results("swept").to_dict(orient="records")
    names = [f"swept#{row['key'][:10]}" for row in rows]
    done = CliRunner().invoke(app, ["compare", *names, "--json", "c.json"], catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads((results / "c.json").read_text())
    differ = {name: pair for name, pair in found["setup"].items() if not name.startswith("keep")}
    assert differ == {"density": [0.3, 0.9]}
    gap = np.subtract(*(np.array(row["loss_by_window"]) for row in reversed(rows)))
    assert found["paired"]["loss"] == pytest.approx(gap.mean(), rel=1e-9)
    assert found["paired"]["loss_se"] == pytest.approx(gap.std(ddof=1) / 2, rel=1e-9)
    assert found["outcome"]["tok_per_s"] == [row["tok_per_s"] for row in rows]
    assert found["verdict"] in done.stdout
    assert with_error(rows[0]["perplexity"], rows[0]["perplexity_se"]) in done.stdout
    again = CliRunner().invoke(app, ["compare", "replay.json", names[0]], catch_exceptions=False)
    assert "perplexities are not compared: the first has no losses by window" in again.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("{", "not JSON"),
        ("[1]", "got list; must be what --json of simulate or evaluate wrote"),
        ("{}", "dipsim_version: missing; it is required"),
        ('{"dipsim_version": "0"}', "has no config and tok_per_s; give what --json"),
        ('{"dipsim_version": "0", "config": {}, "tok_per_s": "fast"}', "tok_per_s: got 'fast'; must be a number"),
        ('{"dipsim_version": "0", "config": {}, "tok_per_s": 0}', "tok_per_s: got 0; must be a number above 0"),
        ('{"dipsim_version": "0", "config": 3, "tok_per_s": 1}', "has no config and tok_per_s"),
        ('{"dipsim_version": "0", "config": {}, "tok_per_s": 1, "hit_rate": [1]}', "hit_rate: got .*must be a number"),
        ('{"dipsim_version": "0", "config": {}, "tok_per_s": 1, "perplexity": "x"}', "perplexity: got 'x'; must be"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DipsimError, match=f"result '.*a.json'.*: .*{message}"):
        read_outcome(str(path))


def test_runs_that_are_not_there_are_refused(results: Path) -> None:
    for name, message in {
        f"{results}/swept": "a folder; a run of a sweep is named .*swept#KEY",
        f"{results}/swept#": "0 runs have such a key; among its 2 runs are",
        f"{results}/swept#zz": "0 runs have such a key",
        f"{results}/nowhere#ab": "results: no such folder",
    }.items():
        with pytest.raises(DipsimError, match=message):
            read_outcome(name)
