"""lm-evaluation-harness: its own numbers where nothing is masked, those of the losses under a mask elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import numpy as np
import pytest
from conftest import device
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from dipsim import Dense, Dip, DipCa, DipsimError, Simulation, Trace
from dipsim.evaluation import harness_model
from dipsim.methods import MagnitudePruning, Method, options
from dipsim.model.groups import SITES
from dipsim.sparsify.loading import LoadedModel, load_model
from dipsim.sparsify.perplexity import losses

PAIRS = [
    ("It was the best of times,", " it was the worst of times"),
    ("The master of the house said that", " he would not"),
    ("Sir,", " I beg your pardon, I said, and went my way without another word to him"),
]
N_POSITIONS = 64


@pytest.fixture(scope="module")
def tiny() -> LoadedModel:
    return load_model("tiny", dtype="float32")


def described(masking: Method) -> Callable[[Trace], Simulation]:
    return lambda trace: Simulation(device(), trace, masking, "lfu", dram="0.8x")


def instances(pairs: list[tuple[str, str]]) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]


def test_dense_is_the_harness_itself(tiny: LoadedModel) -> None:
    own = HFLM(tiny.model, tokenizer=tiny.tokenizer, batch_size=1).loglikelihood(instances(PAIRS))
    assert harness_model(tiny, described(Dense()), n_positions=N_POSITIONS).loglikelihood(instances(PAIRS)) == own


@pytest.mark.parametrize(
    "masking",
    [Dip(density=0.4), DipCa(density=0.4, gamma=0.2), MagnitudePruning(density=0.5)],
    ids=lambda masking: masking.name,
)
def test_loglikelihoods_are_the_losses_under_the_mask(tiny: LoadedModel, masking: Method, tmp_path: Path) -> None:
    model = harness_model(tiny, described(masking), n_positions=N_POSITIONS)
    found = [value for value, _ in model.loglikelihood(instances(PAIRS))]
    dense = [value for value, _ in HFLM(tiny.model, tokenizer=tiny.tokenizer).loglikelihood(instances(PAIRS))]
    assert not np.allclose(found, dense, rtol=1e-3)
    for number, (context, continuation) in enumerate(PAIRS):
        before, whole = (
            tiny.tokenizer.encode(text, add_special_tokens=False) for text in (context, context + continuation)
        )
        ids = np.array([whole], np.int64)
        plan = described(masking)(Trace.planned(tiny.spec, SITES, np.zeros((1, N_POSITIONS), np.int64), 0))
        loss = losses(
            tiny,
            ids,
            tmp_path / f"{number}.zarr",
            masking=masking,
            choose=plan.loop_masks(),
            about=options(masking),
        )
        assert found[number] == pytest.approx(-loss[0, len(before) :].sum(), rel=1e-5)


@pytest.mark.parametrize("masking", [Dip(density=0.4), DipCa(density=0.4, gamma=0.2)], ids=lambda own: own.name)
def test_a_batch_of_different_lengths_is_one_by_one(tiny: LoadedModel, masking: Method) -> None:
    alone, together = (
        [
            value
            for value, _ in harness_model(
                tiny, described(masking), n_positions=N_POSITIONS, n_batch=n_batch
            ).loglikelihood(instances(PAIRS))
        ]
        for n_batch in (1, 3)
    )
    assert together == pytest.approx(alone, rel=1e-5)


def toy_task() -> ConfigurableTask:
    """Two questions of two answers, made here."""
    rows = [{"text": context, "answers": [right, " zebra quantum"]} for context, right in PAIRS[:2]]
    config: dict[str, Any] = {
        "task": "toy",
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(rows)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{answers}}",
        "doc_to_target": 0,
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    return ConfigurableTask(config=config)


def test_a_task_of_the_harness(tiny: LoadedModel) -> None:
    model = harness_model(tiny, described(DipCa(density=0.4)), n_positions=N_POSITIONS, n_batch=2)
    manager = TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=model, tasks=[toy_task()], task_manager=manager, bootstrap_iters=0, log_samples=True
    )
    values = [[value for (value, _), *_ in sample["resps"]] for sample in found["samples"]["toy"]]
    pairs = [(context, answer) for context, right in PAIRS[:2] for answer in (right, " zebra quantum")]
    direct = [value for value, _ in model.loglikelihood(instances(pairs))]
    assert np.ravel(np.array(values, float)) == pytest.approx(direct, rel=1e-5)
    right = [direct[2 * number] > direct[2 * number + 1] for number in range(2)]
    assert found["results"]["toy"]["acc,none"] == np.mean(right)


def test_the_tokenizer_stays_as_it_was(tiny: LoadedModel) -> None:
    before = tiny.tokenizer.pad_token
    harness_model(tiny, described(Dense()), n_positions=N_POSITIONS)
    assert tiny.tokenizer.pad_token == before


def test_refusals(tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = harness_model(tiny, described(Dip(density=0.5)), n_positions=N_POSITIONS)
    with pytest.raises(DipsimError, match="harness: a task wants text generated; masks are chosen for whole sequences"):
        model.generate_until([Instance("generate_until", {}, ("Once", {}), 0)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DipsimError, match=r"lm_eval is not installed; .*\[lm-eval\]'"):
        harness_model(tiny, described(Dip(density=0.5)), n_positions=N_POSITIONS)
