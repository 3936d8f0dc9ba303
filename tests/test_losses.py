"""Standard errors of a loss and its perplexity, against sums by hand, known variances and the jackknife; its files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import device
from random_models import IDS, random_model

from dipsim import Dense, DipsimError, Simulation, Trace
from dipsim.evaluation import Evaluation, evaluate
from dipsim.evaluation.clusters import ratio, reach, standard_error
from dipsim.evaluation.losses import check_losses_output, tokens_sha256, write_losses
from dipsim.units import with_error


def test_two_windows_by_hand() -> None:
    """Losses 6 and 3 over 2 and 3 tokens: 9 / 5; the residuals 6 - 2 x 1.8 and 3 - 3 x 1.8 are 2.4 and -2.4; so
    sqrt(2 / 1 x (2.4^2 + 2.4^2)) / 5 = 0.96."""
    loss, added = ratio([6, 3], [2, 3])
    assert loss == pytest.approx(1.8, rel=1e-12)
    assert standard_error(added) == pytest.approx(0.96, rel=1e-12)
    assert reach(added) == pytest.approx(0.96 * 12.7062047, rel=1e-8)  # t of one degree of freedom


def test_windows_of_equal_length_are_a_plain_mean() -> None:
    means = np.random.default_rng(0).gamma(3, size=12)
    loss, added = ratio(255 * means, np.full(12, 255))
    assert loss == pytest.approx(means.mean(), rel=1e-12)
    assert standard_error(added) == pytest.approx(means.std(ddof=1) / math.sqrt(12), rel=1e-12)


def test_a_single_window_tells_no_error() -> None:
    _, added = ratio([6], [2])
    assert standard_error(added) is None
    assert reach(added) is None


def test_windows_of_unequal_length_agree_with_the_jackknife() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(200, 300, 60)
    sums = counts * rng.normal(3, 0.4, 60)
    _, added = ratio(sums, counts)
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    jackknife = math.sqrt(59 / 60 * ((left_out - left_out.mean()) ** 2).sum())
    assert standard_error(added) == pytest.approx(jackknife, rel=0.02)


def test_the_error_is_that_of_clusters_of_known_variance() -> None:
    """Tokens of a window share an offset: the mean of m windows of n tokens has variance tau^2 / m + sigma^2 / (m n).
    Taking each token for itself would give a sixth of it."""
    rng, n_windows, n_tokens, tau, sigma = np.random.default_rng(2), 20, 50, 0.5, 2.0
    losses = 3 + tau * rng.normal(size=(2000, n_windows, 1)) + sigma * rng.normal(size=(2000, n_windows, n_tokens))
    found = [ratio(text.sum(axis=1), np.full(n_windows, n_tokens)) for text in losses]
    expected = tau**2 / n_windows + sigma**2 / (n_windows * n_tokens)
    assert np.mean([(standard_error(added) or 0) ** 2 for _, added in found]) == pytest.approx(expected, rel=0.03)
    covered = [abs(loss - 3) <= (reach(added) or 0) for loss, added in found]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def evaluated(n_windows: int = 3, n_prompt: int = 0) -> Evaluation:
    def describe(trace: Trace) -> Simulation:
        return Simulation(device(), trace, Dense(), "lfu")

    return evaluate(random_model("llama"), IDS[:n_windows], describe, n_prompt=n_prompt)


def test_an_evaluation_has_errors_and_the_losses_that_they_come_from() -> None:
    found = evaluated(n_prompt=2)
    losses = found.losses
    assert losses.columns.tolist() == ["window", "position", "token_id", "loss"]
    assert losses["window"].tolist() == [window for window in range(3) for _ in range(8)]
    assert losses["position"].tolist() == 3 * list(range(3, 11))
    assert losses["token_id"].tolist() == IDS[:, 3:].ravel().tolist()
    means = losses["loss"].to_numpy().reshape(3, 8).mean(axis=1)
    assert found.loss == pytest.approx(means.mean(), rel=1e-12)
    assert found.loss_se == pytest.approx(means.std(ddof=1) / math.sqrt(3), rel=1e-9)
    step = 1e-6  # the slope of exp at the loss
    slope = (math.exp(found.loss + step) - math.exp(found.loss - step)) / (2 * step)
    assert found.perplexity_se == pytest.approx(slope * (found.loss_se or 0), rel=1e-6)
    numbers = found.to_dict()
    assert (numbers["loss_se"], numbers["perplexity_se"]) == (found.loss_se, found.perplexity_se)
    assert numbers["loss_by_window"] == pytest.approx(means.tolist(), rel=1e-12)
    assert numbers["scored_by_window"] == [8, 8, 8]
    assert f"+- {found.perplexity_se:.2g} over 24 tokens in 3 windows" in repr(found)


def test_one_window_has_a_perplexity_and_no_error() -> None:
    found = evaluated(n_windows=1)
    numbers = found.to_dict()
    assert (numbers["loss_se"], numbers["perplexity_se"]) == (None, None)
    assert "10 tokens in 1 window, which tells no error" in repr(found)


def test_the_hash_tells_tokens_windows_and_what_is_scored_apart() -> None:
    scored = np.ones(IDS.shape, np.bool_)
    other_ids, fewer = IDS.copy(), scored.copy()
    other_ids[1, 4] += 1
    fewer[:, :2] = False
    hashes = [
        tokens_sha256(IDS, scored),
        tokens_sha256(other_ids, scored),
        tokens_sha256(IDS, fewer),
        tokens_sha256(IDS.reshape(1, -1), scored.reshape(1, -1)),
    ]
    assert len(set(hashes)) == 4
    assert tokens_sha256(IDS.astype(np.int32), scored) == hashes[0]


@pytest.mark.parametrize("name", ["losses.csv", "losses.parquet"])
def test_losses_are_read_back_as_they_were(tmp_path: Path, name: str) -> None:
    losses = evaluated().losses
    write_losses(tmp_path / name, losses)
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    pd.testing.assert_frame_equal(read(tmp_path / name), losses, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_outputs_of_losses_are_checked_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(DipsimError, match=r"losses: got '.*l.json'; its name must end in .csv or .parquet"):
        check_losses_output(tmp_path / "l.json", force=False)
    (tmp_path / "l.csv").touch()
    with pytest.raises(DipsimError, match="exists already; give --force"):
        check_losses_output(tmp_path / "l.csv", force=False)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (25.4899, 0.6123, "25.49 +- 0.61"),
        (23904.2, 1234.5, "23904 +- 1234"),
        (3.2, 0.00123, "3.2000 +- 0.0012"),
        (25.4899, None, "25.49"),
        (25.4899, 0.0, "25.49"),
        (25.4899, 1e-15, "25.489900 +- 0.000000"),  # windows that differ in rounding alone
        (math.inf, math.inf, "inf"),
        (math.nan, math.nan, "nan"),
    ],
)
def test_a_number_is_shown_to_two_digits_of_its_error(value: float, error: float | None, text: str) -> None:
    assert with_error(value, error) == text


def test_a_sweeps_rows_have_the_errors() -> None:
    from dipsim.sweeps import sweep

    text = {"model": "tiny", "text": "held-out", "tokens": 64, "window_tokens": 32}
    (row,) = sweep({"evaluate": text, "method": "dip", "dram": "0.6x"}, workers=1).to_dict(orient="records")
    means, counts = np.array(row["loss_by_window"]), row["scored_by_window"]
    assert list(counts) == [31, 31]
    assert row["loss_se"] == pytest.approx(abs(means[0] - means[1]) / 2, rel=1e-9)
    assert row["perplexity_se"] == pytest.approx(row["perplexity"] * row["loss_se"], rel=1e-12)
    assert len(row["tokens_sha256"]) == 64
