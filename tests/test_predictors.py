"""Predictors: masks as by hand, what a perfect one would do, training above chance, a file that comes back whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import plain_decoder
import pytest
import reference
import torch
from conftest import device, tight_slots
from random_models import FAMILIES, IDS, as_scores, random_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dipsim import DipsimError, Glu, Predictor, Simulation, Trace, shipped
from dipsim.evaluation import evaluate
from dipsim.methods import Method
from dipsim.sparsify.capture import capture
from dipsim.sparsify.gated_mlp import GatedMlp, find_gated_mlps
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.sparsify.predictor_training import recall, train
from dipsim.sparsify.predictors import TrainedPredictors, TwoLayers, untrained

MASKING = Predictor(density=0.4, rank=3)
K = 9  # floor(0.4 * 24)


def random_predictors(loaded: LoadedModel) -> tuple[TwoLayers, ...]:
    torch.manual_seed(1)
    networks = untrained(loaded.spec, MASKING.rank)
    for network in networks:
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.5)
    return tuple(network.double() for network in networks)


def mask_of(site: str, layer: int, magnitude: Tensor) -> Tensor:
    if site != "predictor":
        return torch.ones_like(magnitude)
    return torch.from_numpy(np.stack([reference.top_k(row, K) for row in as_scores(magnitude)])).to(magnitude)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_masks_equal_a_forward_by_hand(tmp_path: Path, family: str) -> None:
    loaded = random_model(family)
    networks = random_predictors(loaded)
    weights = [(network.inner.weight, network.outer.weight) for network in networks]

    def predict(layer: int, x: Tensor) -> Tensor:
        inner, outer = weights[layer]
        return torch.log1p(torch.exp((x @ inner.T).clamp(min=0) @ outer.T)).detach()

    capture(
        loaded, IDS, tmp_path / "t.zarr", masking=MASKING, sites=("predictor", "glu"), n_batch=2, predictors=networks
    )
    trace = Trace.open(tmp_path / "t.zarr")
    for number, row in enumerate(IDS):
        _, seen = plain_decoder.forward(loaded.model, torch.from_numpy(row), mask_of, predict)
        for site in ("predictor", "glu"):
            for layer in range(2):
                got = trace.read(site, number * 11, number * 11 + 11, layer).view(np.float16)
                expected = as_scores(seen[site, layer])
                np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-4 * expected.max())
                np.testing.assert_array_equal(got == 0, expected == 0)
                assert ((got > 0).sum(axis=1) == (K if site == "glu" else 24)).all()


class Truth(nn.Module):
    """Knows the very product that the MLP will compute."""

    def __init__(self, mlp: GatedMlp, sign: float = 1.0) -> None:
        super().__init__()
        self.mlps = [mlp]  # in a list, so that it is no part of this module
        self.sign = sign

    def forward(self, x: Tensor) -> Tensor:
        (mlp,) = self.mlps
        gate, up = mlp.factors(x @ mlp.gate.weight.T, x @ mlp.up.weight.T)
        return (gate * up).abs()

    def logits(self, x: Tensor) -> Tensor:
        return self.sign * self(x)


@tight_slots
@pytest.mark.parametrize("family", FAMILIES)
def test_a_perfect_predictor_keeps_what_the_product_itself_would(family: str) -> None:
    loaded = random_model(family)
    truths = [Truth(mlp) for mlp in find_gated_mlps(loaded.model, 2)]

    def loss(masking: Method, predictors: Any = ()) -> float:
        found = evaluate(
            loaded, IDS, lambda trace: Simulation(device(), trace, masking), n_batch=2, predictors=predictors
        )
        return found.loss

    assert loss(MASKING, truths) == pytest.approx(loss(Glu(keep=0.4)), rel=1e-12)
    assert abs(loss(MASKING, random_predictors(loaded)) - loss(MASKING, truths)) > 1e-3


def test_recall_is_the_share_of_the_largest_that_is_found() -> None:
    loaded = random_model("llama")
    mlps = find_gated_mlps(loaded.model, 2)
    right, wrong = Truth(mlps[0]), Truth(mlps[1], sign=-1.0)
    assert recall(loaded, IDS, [right, wrong], 0.25, n_batch=2) == [1, 0]  # type: ignore[list-item]
    assert recall(loaded, IDS, [right, wrong], 0.75) == [1, pytest.approx(12 / 18)]  # type: ignore[list-item]


def test_one_step_goes_down_the_cross_entropy_of_the_largest_neurons() -> None:
    """The first step of Adam moves each weight by the learning rate against the sign of its slope."""
    loaded = random_model("llama")
    torch.manual_seed(5)
    before = untrained(loaded.spec, 3)
    after = train(loaded, IDS[:1], MASKING, n_epochs=1, seed=5)
    seen: dict[int, Tensor] = {}

    def keep(layer: int, x: Tensor) -> Tensor:
        seen[layer] = x.float().detach()
        return torch.ones(len(x), 24)

    _, magnitudes = plain_decoder.forward(loaded.model, torch.from_numpy(IDS[0]), predict=keep)
    for layer, (old, new) in enumerate(zip(before, after, strict=True)):
        wanted = torch.from_numpy(np.stack([reference.top_k(row, K) for row in magnitudes["glu", layer].numpy()]))
        inner, outer = (weight.detach().clone().requires_grad_() for weight in (old.inner.weight, old.outer.weight))
        share = 1 / (1 + torch.exp(-((seen[layer] @ inner.T).clamp(min=0) @ outer.T)))
        loss = -torch.where(wanted, share.log(), (1 - share).log()).mean()
        loss.backward()
        for weight, trained in ((inner, new.inner.weight), (outer, new.outer.weight)):
            slope = weight.grad
            assert slope is not None
            steep = slope.abs() > 1e-5
            assert steep.float().mean() > 0.5
            torch.testing.assert_close((trained - weight)[steep], -3e-3 * slope.sign()[steep], rtol=0.01, atol=1e-6)


@pytest.mark.slow
def test_training_finds_more_than_chance_on_text_that_it_never_saw() -> None:
    tiny = load_model("tiny", dtype="float32")
    ids = windows(tiny.tokenizer, read_text("held-out"), 128, 20)
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    masking = Predictor(density=0.25, rank=16)
    done: list[tuple[int, int]] = []
    networks = train(tiny, ids[1:], masking, n_epochs=4, n_batch=4, on_progress=lambda *counts: done.append(counts))
    assert done[-1] == (76, 76)
    assert len(done) == 1 + 20
    found = recall(tiny, ids[:1], networks, 0.25)
    torch.manual_seed(0)
    by_chance = recall(tiny, ids[:1], untrained(tiny.spec, 16), 0.25)
    assert by_chance == pytest.approx([0.25] * 3, abs=0.02)
    assert min(found) > 0.3
    assert all(torch.equal(value, before[name]) for name, value in tiny.model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in tiny.model.modules())


class CutError(Exception):
    """As a kill, of the training alone."""


@pytest.mark.parametrize("n_batch", [1, 2])
def test_a_training_that_was_cut_short_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path, n_batch: int) -> None:
    loaded, path = random_model("llama"), tmp_path / "p.training"
    options: dict[str, Any] = {"n_epochs": 3, "n_batch": n_batch, "seed": 3}
    whole = train(loaded, IDS, MASKING, **options)
    n_to_do = 3 * len(IDS)
    firsts = []

    def cut(done: int, total: int) -> None:
        assert total == n_to_do
        seen.append(done)
        if len(seen) == 3:
            raise CutError

    for _ in range(n_to_do):
        seen: list[int] = []
        try:
            parts = train(loaded, IDS, MASKING, **options, checkpoint=path, on_progress=cut)
            break
        except CutError:
            firsts.append(seen[0])
    assert firsts == sorted({*firsts})  # each goes on behind the one before, in the midst of epochs too
    assert len(firsts) > 1
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a.inner.weight, b.inner.weight)
        assert torch.equal(a.outer.weight, b.outer.weight)
    again = train(loaded, IDS, MASKING, **options, checkpoint=path, on_progress=lambda *n: seen.append(n[0]))
    assert seen[-1] == n_to_do
    assert torch.equal(again[1].outer.weight, whole[1].outer.weight)


def test_a_checkpoint_of_another_training_is_refused_or_begun_anew(tmp_path: Path) -> None:
    loaded, path = random_model("llama"), tmp_path / "p.training"
    train(loaded, IDS, MASKING, n_epochs=1, checkpoint=path)
    with pytest.raises(DipsimError, match=r"epochs is 2, was 1; seed is 1, was 0; or --force, .* remove '.*training'"):
        train(loaded, IDS, MASKING, n_epochs=2, seed=1, checkpoint=path)
    train(loaded, IDS, MASKING, n_epochs=2, seed=1, checkpoint=path, anew=True)
    train(loaded, IDS, MASKING, n_epochs=2, seed=1, checkpoint=path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(DipsimError, match=r"resume: '.*training': cannot be read"):
        train(loaded, IDS, MASKING, n_epochs=2, seed=1, checkpoint=path)
    path.write_bytes(whole.replace(b"exp_avg.0.inner", b"exp_avg.9.inner"))
    with pytest.raises(DipsimError, match="its tensors are not those of this training; remove it to begin anew"):
        train(loaded, IDS, MASKING, n_epochs=2, seed=1, checkpoint=path)
    path.write_bytes(whole.replace(b'n_windows\\":', b'n_windowz\\":'))
    with pytest.raises(DipsimError, match=r"resume: .*n_windows"):
        train(loaded, IDS, MASKING, n_epochs=2, seed=1, checkpoint=path)


def test_the_seed_decides() -> None:
    loaded = random_model("mistral")
    state = torch.random.get_rng_state()
    one, same, other = (train(loaded, IDS, MASKING, n_epochs=2, seed=seed) for seed in (3, 3, 4))
    for a, b, c in zip(one, same, other, strict=True):
        assert torch.equal(a.outer.weight, b.outer.weight)
        assert not torch.equal(a.outer.weight, c.outer.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_scores_keep_the_order_of_the_logits_in_half_precision() -> None:
    """Where probabilities near 1 would be equal, scores still differ by one float16 step or more."""
    network = TwoLayers(1, 1, 500)
    logits = torch.linspace(-9, 60, 500)
    network.inner.weight.data[:] = 1
    network.outer.weight.data[:] = logits[:, None]
    scores = network(torch.ones(1, 1)).detach()[0].half()
    assert (scores.diff() > 0).all()
    assert (torch.sigmoid(logits).half().diff() == 0).any()


def trained_on(loaded: LoadedModel) -> TrainedPredictors:
    text = {"name": "a.txt", "sha256": "00"}
    return TrainedPredictors(untrained(loaded.spec, 3), loaded.spec, 3, 0.4, text)


def test_a_file_comes_back_whole_and_says_what_it_is(tmp_path: Path) -> None:
    loaded, path = random_model("gemma"), tmp_path / "p.safetensors"
    stored = trained_on(loaded)
    stored.save(path)
    found = TrainedPredictors.load(path)
    assert (found.spec, found.rank, found.density, found.text) == (loaded.spec, 3, 0.4, stored.text)
    for a, b in zip(stored.networks, found.fitting(loaded), strict=True):
        assert torch.equal(a.inner.weight, b.inner.weight)
        assert torch.equal(a.outer.weight, b.outer.weight)
    assert sum(value.numel() for value in load_file(path).values()) == 2 * MASKING.added_weights(loaded.spec)
    with safe_open(path, framework="pt") as file:
        assert '"name": "gemma"' in file.metadata()["dipsim"]
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    loaded, path = random_model("llama"), tmp_path / "p.safetensors"
    trained_on(loaded).save(path)
    weights = load_file(path)
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    with pytest.raises(DipsimError, match=r"trained on 'llama' \(n_layers, .* \[2, 16, 24\]\), got model 'tiny'"):
        TrainedPredictors.load(path).fitting(load_model("tiny"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DipsimError, match="cannot be read"):
        TrainedPredictors.load(path)
    with pytest.raises(DipsimError, match="cannot be read"):
        TrainedPredictors.load(tmp_path / "nothing")
    with pytest.raises(DipsimError, match="no predictor of this dipsim; dipsim train-predictor makes one"):
        TrainedPredictors.load(shipped.folder("tiny") / "model.safetensors")
    changes = (('"rank": 3', '"rank": 4'), ('"rank": 3', '"rank": "x"'), ('"density"', '"dense"'))
    for old, new in changes:
        save_file(weights, path, {"dipsim": about["dipsim"].replace(old, new)})
        with pytest.raises(DipsimError, match="damaged"):
            TrainedPredictors.load(path)
    for told in (
        '{"format_version": 1, "model": ' + "[" * 10**4,
        about["dipsim"].replace('"rank": 3', '"rank": 1000000000'),
    ):
        save_file(weights, path, {"dipsim": told})
        with pytest.raises(DipsimError, match=r"nested too deep|its tensors are not those of rank 1000000000"):
            TrainedPredictors.load(path)
    save_file({"0.inner.weight": weights["0.inner.weight"]}, path, about)
    with pytest.raises(DipsimError, match="damaged: its tensors are not those of rank 3 for 'llama'"):
        TrainedPredictors.load(path)


def test_what_cannot_be_trained_is_refused() -> None:
    loaded = random_model("llama")
    with pytest.raises(DipsimError, match="epochs: got 0"):
        train(loaded, IDS, MASKING, n_epochs=0)
    with pytest.raises(DipsimError, match="batch: got 0"):
        train(loaded, IDS, MASKING, n_batch=0)
    with pytest.raises(DipsimError, match="model 'llama' has positions for 2048"):
        train(loaded, np.zeros((1, 3000), np.int64), MASKING)
