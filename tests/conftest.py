"""Small traces and devices that the tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import warm_start
from browser import WANTED, find
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

from dipsim import HardwareProfile, ModelSpec, Trace, TraceWriter
from dipsim.engine.processes import Processes

if "PYTEST_XDIST_WORKER" in os.environ:  # there is one for each core: threads of torch would only wait for each other
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# For tests whose caches are small on purpose, or that compare no policies.
tight_slots = pytest.mark.filterwarnings("ignore:slots. (group|no column):dipsim.errors.DipsimWarning")
MakeTrace = Callable[..., Trace]
# These begin first, so that no core is left alone with one of them in the end.
_LONGEST = (
    "test_docs.py",
    "test_cli.py",
    "test_sweep.py",
    "test_sweep_cluster.py",
    "test_explore.py",
    "test_tune.py",
    "test_timeline.py",
    "test_report_page.py",
    "test_fuzz.py",
    "test_policies.py",
    "test_calibration.py",
)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers where one file, or something in it, is named: they would only have to start."""
    named = {name.partition("::")[0] for name in config.option.file_or_dir}
    return 0 if len(named) == 1 and Path(*named).is_file() else None


def pytest_configure(config: pytest.Config) -> None:
    """Workers share a Python that has started; it does so while they begin."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        warm_start.start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which they are handed to the cores; what needs a browser is marked."""
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


def write_trace(
    path: Path,
    model: ModelSpec,
    scores: dict[str, NDArray[np.float16]],
    lengths: list[int] | None = None,
    prompt_lengths: list[int] | None = None,
) -> Trace:
    """A trace of the given scores [token, layer, column]; one sequence without a prompt unless told."""
    n_tokens = len(next(iter(scores.values())))
    lengths = lengths or [n_tokens]
    source = {"generator": "made by a test"}
    with TraceWriter(
        path,
        model,
        list(scores),
        np.arange(n_tokens),
        lengths,
        prompt_lengths or [0] * len(lengths),
        source=source,
        masking={"name": "dense"},
    ) as writer:
        for site, values in scores.items():
            for layer in range(model.n_layers):
                writer.write(site, layer, 0, values[:, layer])
    return Trace.open(path)


@pytest.fixture
def make_trace(tmp_path: Path) -> MakeTrace:
    """`write_trace` into a folder of the test's own."""
    count = iter(range(1000))
    return lambda model, scores, **lengths: write_trace(tmp_path / f"{next(count)}.zarr", model, scores, **lengths)


def device(flash: float = 1e9, dram: float = 20e9, **sections: dict[str, object]) -> HardwareProfile:
    """A device with ideal Flash and infinitely fast compute, unless sections say otherwise."""
    data: dict[str, object] = {
        "schema": 1,
        "name": "test",
        "flash": {"read_bytes_per_s": flash} | sections.pop("flash_more", {}),
        "dram": {"capacity_bytes": 1e9, "read_bytes_per_s": dram} | sections.pop("dram_more", {}),
        **sections,
    }
    return HardwareProfile.parse(data, "test")


def small_model(**changes: object) -> ModelSpec:
    """Two layers, 8 columns at the input and 12 in between, 1 byte per weight."""
    data: dict[str, object] = {
        "name": "small",
        "n_layers": 2,
        "hidden_size": 8,
        "intermediate_size": 12,
        "n_heads": 2,
        "n_kv_heads": 1,
        "head_dim": 4,
        "vocab_size": 16,
        "bits": {"mlp": 8, "attention": 8, "lm_head": 8, "embedding": 8, "kv": 8},
    }
    return ModelSpec.parse(data | changes, "test")


def small_mixture(**changes: object) -> ModelSpec:
    """The small model with 6 experts of width 4, of which a token uses 2; 96 bytes each."""
    mixture: dict[str, object] = {"n_experts": 6, "experts_per_token": 2, "expert_size": 4}
    of_model = {key: changes.pop(key) for key in [*changes] if key in ModelSpec.model_fields}
    return small_model(**{"mixture": mixture | changes} | of_model)


def random_scores(model: ModelSpec, n_tokens: int, seed: int = 0, n_levels: int = 0) -> dict[str, NDArray[np.float16]]:
    """Half-normal scores at all sites, of a mixture at the router; `n_levels` rounds them so that many are equal."""
    rng = np.random.default_rng(seed)
    scores = {}
    for site in ("router",) if model.mixture else ("mlp_input", "glu", "gate", "up", "predictor"):
        n_columns = model.hidden_size if site == "mlp_input" else model.intermediate_size
        n_columns = model.mixture.n_experts if model.mixture else n_columns
        values = np.abs(rng.standard_normal((n_tokens, model.n_layers, n_columns)))
        scores[site] = (np.round(values * n_levels) / n_levels if n_levels else values).astype(np.float16)
    return scores


@pytest.fixture(params=["compiled", "processes"])
def both_engines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds of a run holds in both engines: the second is taken where none is named."""
    if request.param == "processes":
        monkeypatch.setattr("dipsim.engine.Compiled", Processes)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium or Chrome."""
    path = find()
    assert path, WANTED
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()
