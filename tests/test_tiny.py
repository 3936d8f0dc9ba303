"""The shipped model and trace are what their cards say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from dipsim import ModelSpec, Trace, shipped
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows

FOLDER = shipped.folder("tiny")


@pytest.fixture(scope="module")
def tiny() -> LoadedModel:
    return load_model("tiny", dtype="float32")


@pytest.mark.slow
def test_it_has_learnt_something(tiny: LoadedModel) -> None:
    """Held-out perplexity is at most a fifth of the best unigram model's on the same tokens."""
    ids = windows(tiny.tokenizer, read_text("held-out"), 257, None)[::6]
    with torch.no_grad():
        logits = tiny.model(torch.from_numpy(ids[:, :-1])).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(ids[:, 1:]).flatten())
    share = np.unique(ids[:, 1:], return_counts=True)[1] / ids[:, 1:].size
    unigram = math.exp(-(share * np.log(share)).sum())
    assert math.exp(loss.item()) <= unigram / 5
    report = json.loads((FOLDER / "training.json").read_text())
    assert math.exp(loss.item()) == pytest.approx(report["held_out_perplexity"], rel=0.15)


def test_it_is_small_and_swiglu(tiny: LoadedModel) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 10e6
    assert 2.5e6 < sum(parameter.numel() for parameter in tiny.model.parameters()) < 5e6
    spec = ModelSpec.load("tiny")
    assert spec == tiny.spec
    assert spec.intermediate_size == 3.5 * spec.hidden_size
    assert spec.n_kv_heads < spec.n_heads


def test_the_shipped_trace_is_that_models_on_the_held_out_text(tiny: LoadedModel) -> None:
    path = shipped.names("traces", ".zarr.zip")["tiny"]
    assert path.stat().st_size <= 8e6
    trace = Trace.open(path)
    assert trace.n_tokens >= 512
    assert len(trace.sequences) > 1
    assert trace.sites == ("gate", "glu", "mlp_input", "up")
    assert trace.model == tiny.spec
    first, sequence = windows(tiny.tokenizer, read_text("held-out"), 160, 1), trace.sequences[0]
    assert trace.token_ids[sequence.start : sequence.stop].tolist() == first[0, sequence.prompt_length :].tolist()
    seen = []
    mlp = tiny.model.model.layers[1].mlp
    handle = mlp.down_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0][0].abs()))
    with torch.no_grad():
        tiny.model(torch.from_numpy(first))
    handle.remove()
    expected = seen[0][sequence.prompt_length :].half().numpy()
    np.testing.assert_allclose(trace.read("glu", 0, 128)[:, 1].view(np.float16), expected, rtol=5e-3, atol=1e-3)
