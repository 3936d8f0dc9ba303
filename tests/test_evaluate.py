"""Perplexity in the loop: every method against masks by hand, and one pass against decoding token by token."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_decoder
import pytest
import reference
import torch
from conftest import device, tight_slots
from numpy.typing import NDArray
from pandas.testing import assert_frame_equal
from random_models import FAMILIES, IDS, as_scores, random_model
from reference_policies import RankedCache
from torch import Tensor, nn
from transformers import DynamicCache

from dipsim import (
    Cats,
    Dense,
    Dip,
    DipCa,
    DipsimError,
    Gate,
    Glu,
    MagnitudePruning,
    Predictor,
    Simulation,
    Trace,
    Up,
)
from dipsim.evaluation import Evaluation, evaluate
from dipsim.methods import Method
from dipsim.policies import Magnitude
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.sparsify.predictors import TwoLayers
from dipsim.sparsify.pruned import largest

pytestmark = tight_slots

# The masked sites of each method with, worked out by hand for d = 16 and f = 24, the columns that a token keeps there
# (or the threshold of each layer), and how many of the three matrices a site masks.
BY_HAND: list[tuple[Method, dict[str, Any]]] = [
    (Dense(), {}),
    (Glu(density=0.8), {"glu": 9}),
    (Gate(density=0.6), {"gate": 9}),
    (Up(density=0.6), {"up": 9}),
    (Dip(density=0.5), {"mlp_input": 9, "glu": 8}),
    (Dip(keep_input=0.3, keep_glu=0.7), {"mlp_input": 4, "glu": 16}),
    (Dip(keep_input=(0.3, 0.6), keep_glu=(0.7, 0.2)), {"mlp_input": (4, 9), "glu": (16, 4)}),
    (DipCa(density=0.5, gamma=1), {"mlp_input": 9, "glu": 8}),
    (Predictor(density=0.4, rank=3), {"predictor": 9}),
    (Cats(thresholds=(0.25, 0.5)), {"gate": (0.25, 0.5)}),
]
N_MATRICES = {"mlp_input": 2, "glu": 1, "gate": 2, "up": 2, "predictor": 3}


class ByHand:
    """Chooses masks in the plain decoder and keeps account of them."""

    def __init__(self, kept: dict[str, Any], n_prompt: int = 0) -> None:
        self.kept, self.n_prompt = kept, n_prompt
        self.active_score = self.total_score = 0.0
        self.squares: dict[tuple[str, int], list[float]] = {}  # the masks' shares, of each site and layer by token
        self.left_out: list[float] = []  # share of the three matrices, by token and layer, for each site

    def __call__(self, site: str, layer: int, magnitude: Tensor) -> Tensor:
        if site not in self.kept:
            return torch.ones_like(magnitude)
        kept = self.kept[site]
        kept = kept[layer] if isinstance(kept, tuple) else kept
        scores = as_scores(magnitude)
        if isinstance(kept, int):
            mask = np.stack([reference.top_k(row, kept) for row in scores])
        else:
            mask = (scores >= kept) | (
                (scores < kept).all(axis=1, keepdims=True) & (scores == scores.max(axis=1)[:, None])
            )
        masked = mask[self.n_prompt :]
        self.active_score += float(scores[self.n_prompt :][masked].astype(float).sum())
        self.total_score += float(scores[self.n_prompt :].astype(float).sum())
        squares = scores[self.n_prompt :].astype(float) ** 2
        shares = np.where(masked, squares, 0).sum(axis=1) / squares.sum(axis=1)
        self.squares.setdefault((site, layer), []).extend(shares.tolist())
        self.left_out += [N_MATRICES[site] / 3 * (1 - float(row.mean())) for row in masked]
        mask[: self.n_prompt] = True
        return torch.from_numpy(mask).to(magnitude)

    def mlp_error(self) -> float:
        errors = [
            1 - np.prod([shares for (_, own), shares in self.squares.items() if own == layer], axis=0)
            for layer in (0, 1)
        ]
        return math.sqrt(np.mean(errors))

    def density(self, n_tokens: int) -> float:
        return 1 - sum(self.left_out) / n_tokens / 2  # two layers


def losses_by_hand(
    model: Any, ids: NDArray[np.int64], choose: plain_decoder.ChooseMask, predict: plain_decoder.Predict | None = None
) -> NDArray[np.float64]:
    """[window, token]: minus the log of the probability that the tokens before it give a token; NaN for the first."""
    found = np.full(ids.shape, np.nan)
    for row, own in zip(ids, found, strict=True):
        logits, _ = plain_decoder.forward(model, torch.from_numpy(row), choose, predict)
        for t in range(1, len(row)):
            own[t] = math.log(float(logits[t - 1].exp().sum())) - float(logits[t - 1, row[t]])
    return found


def random_predictors() -> tuple[TwoLayers, ...]:
    torch.manual_seed(1)
    networks = tuple(TwoLayers(16, 3, 24).double() for _ in range(2))
    for parameter in nn.ModuleList(networks).parameters():
        nn.init.normal_(parameter, std=0.5)
    return networks


def predict_by_hand(networks: tuple[TwoLayers, ...]) -> plain_decoder.Predict:
    def predict(layer: int, x: Tensor) -> Tensor:
        hidden = (x @ networks[layer].inner.weight.T).clamp(min=0)
        return torch.log1p(torch.exp(hidden @ networks[layer].outer.weight.T)).detach()

    return predict


def described(masking: Method, policy: Any = "lfu", **options: Any) -> Callable[[Trace], Simulation]:
    return lambda trace: Simulation(device(), trace, masking, policy, **options)


@pytest.mark.parametrize(("masking", "kept"), BY_HAND, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_density_and_fidelity_equal_those_of_masks_by_hand(
    family: str, masking: Method, kept: dict[str, Any]
) -> None:
    loaded, networks = random_model(family), random_predictors()
    uses_them = isinstance(masking, Predictor)
    found = evaluate(loaded, IDS, described(masking), n_batch=2, predictors=networks if uses_them else ())
    choose = ByHand(kept)
    by_hand = losses_by_hand(loaded.model, IDS, choose, predict_by_hand(networks) if uses_them else None)
    # transformers keeps norms, angles and the softmax of attention in float32 whatever the model's own precision
    assert found.loss == pytest.approx(np.nanmean(by_hand), rel=1e-6)
    assert found.n_scored == 30
    assert found.perplexity == pytest.approx(math.exp(np.nanmean(by_hand)), rel=1e-5)
    numbers = found.to_dict()
    assert numbers["mlp_density"] == pytest.approx(choose.density(33), rel=1e-9)
    retained = choose.active_score / choose.total_score if kept else 1.0
    assert numbers["retained_magnitude"] == pytest.approx(retained, rel=1e-4)  # scores round in another place
    if uses_them:  # a prediction is no magnitude
        assert numbers["mlp_error"] is None
    else:
        assert numbers["mlp_error"] == pytest.approx(choose.mlp_error() if kept else 0, rel=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_loss_is_that_of_transformers(family: str) -> None:
    loaded = random_model(family, torch.float32)
    ids = torch.from_numpy(IDS)
    expected = loaded.model(ids, labels=ids).loss.item()
    assert evaluate(loaded, IDS, described(Dense()), n_batch=3).loss == pytest.approx(expected, rel=1e-6)


def test_dense_perplexity_of_tiny_is_that_of_transformers() -> None:
    tiny = load_model("tiny", dtype="float32")
    ids = windows(tiny.tokenizer, read_text("held-out"), 32, 3)
    expected = math.exp(tiny.model(torch.from_numpy(ids), labels=torch.from_numpy(ids)).loss.item())
    assert evaluate(tiny, ids, described(Dense())).perplexity == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dram", ["0.9x", "2x"])
def test_gamma_1_is_dip_to_the_last_bit(dram: str) -> None:
    """And so is any gamma where everything is resident."""
    tiny = load_model("tiny", dtype="float32")
    ids = windows(tiny.tokenizer, read_text("held-out"), 24, 2)
    losses = [
        evaluate(tiny, ids, described(masking, dram=dram)).loss
        for masking in (Dip(density=0.4), DipCa(density=0.4, gamma=1), DipCa(density=0.4, gamma=0.2))
    ]
    assert losses[0] == losses[1]
    assert (losses[0] == losses[2]) == (dram == "2x")


@pytest.mark.parametrize(
    ("n_prompt", "stride", "counted"),
    [
        (3, None, {0: range(4, 11), 1: range(4, 11), 2: range(4, 11)}),
        (0, 4, {0: range(1, 11), 1: range(7, 11), 2: range(7, 11)}),
        (3, 4, {0: range(4, 11), 1: range(7, 11), 2: range(7, 11)}),
        (3, 9, {0: range(4, 11), 1: range(4, 11), 2: range(4, 11)}),
    ],
)
def test_prompt_and_stride_score_the_tokens_that_they_should(
    n_prompt: int, stride: int | None, counted: dict[int, range]
) -> None:
    loaded = random_model("llama")
    text = np.random.default_rng(2).integers(0, 50, 33)
    step = stride or 11
    ids = np.stack([text[start : start + 11] for start in (0, step, 2 * step)])
    found = evaluate(loaded, ids, described(Dip(density=0.5)), n_prompt=n_prompt, stride=stride)
    choose = ByHand({"mlp_input": 9, "glu": 8}, n_prompt)
    by_hand = losses_by_hand(loaded.model, ids, choose)
    expected = [by_hand[window, token] for window, tokens in counted.items() for token in tokens]
    assert found.n_scored == len(expected)
    places = [(window, token) for window, tokens in counted.items() for token in tokens]
    assert found.losses[["window", "position"]].to_records(index=False).tolist() == places
    assert found.losses["loss"].tolist() == pytest.approx(expected, rel=1e-4)
    assert found.loss == pytest.approx(np.mean(expected), rel=1e-6)
    assert found.to_dict()["n_tokens"] == 3 * (11 - n_prompt)
    assert found.to_dict()["retained_magnitude"] == pytest.approx(choose.active_score / choose.total_score, rel=1e-4)


def test_a_window_in_which_nothing_would_be_scored_is_refused() -> None:
    with pytest.raises(DipsimError, match="window: got 11 tokens, 10 of them a prompt; none is left"):
        evaluate(random_model("llama"), IDS, described(Dense()), n_prompt=10)


def mlp_matrices(model: Any) -> list[Tensor]:
    """Views of gate, up and down of every layer, whether or not the first two are one."""
    found: list[Tensor] = []
    for name, weight in model.named_parameters():
        if "gate_up_proj" in name:
            found += [weight.data[:24], weight.data[24:]]
        elif ".mlp." in name:
            found.append(weight.data)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_magnitude_pruning_leaves_out_the_smallest_weights_and_puts_them_back(family: str) -> None:
    loaded = random_model(family)
    before = copy.deepcopy(loaded.model.state_dict())
    found = evaluate(loaded, IDS, described(MagnitudePruning(density=0.3)))
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    pruned = copy.deepcopy(loaded.model)
    matrices = mlp_matrices(pruned)
    assert [tuple(matrix.shape) for matrix in matrices] == [(24, 16), (24, 16), (16, 24)] * 2
    for matrix in matrices:
        border = torch.topk(matrix.abs().flatten(), int(0.3 * 384))[0][-1]
        matrix[matrix.abs() < border] = 0
    by_hand = losses_by_hand(pruned, IDS, plain_decoder.no_mask)
    assert found.loss == pytest.approx(np.nanmean(by_hand), rel=1e-6)
    assert found.to_dict()["mlp_density"] == pytest.approx(0.3, rel=1e-12)
    assert found.to_dict()["mlp_error"] is None
    assert found.to_dict()["retained_magnitude"] is None  # scores do not tell what weights are worth


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
def test_of_equal_weights_the_first_stay(dtype: torch.dtype, share: float) -> None:
    weight = torch.from_numpy(np.random.default_rng(5).integers(-4, 5, (13, 17))).to(dtype)
    best_first = sorted(range(13 * 17), key=lambda i: (-abs(float(weight.flatten()[i])), i))
    kept = largest(weight, share).flatten().nonzero().flatten().tolist()
    assert kept == sorted(best_first[: max(1, int(share * 13 * 17))])


def test_pruned_weights_come_back_when_the_model_raises() -> None:
    loaded = random_model("phi3")
    before = copy.deepcopy(loaded.model.state_dict())

    def broken(*given: Any) -> None:
        raise IndexError

    loaded.model.lm_head.register_forward_hook(broken)
    with pytest.raises(IndexError):
        evaluate(loaded, IDS, described(MagnitudePruning(density=0.3)))
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


# The closed loop. Density 0.4 keeps 7 of 16 and 5 of 24 columns; at 0.9x there are 11 and 16 slots, so that policies
# differ.
LOOP_IDS = np.random.default_rng(3).integers(0, 50, (3, 24))
LOOP_DRAM, N_KEPT = "0.9x", {"mlp_input": 7, "glu": 5}
GROUPS = {"mlp_input": "up_gate", "glu": "down"}
POLICIES: dict[str, Any] = {"lfu": "lfu", "lru": "lru", "magnitude": Magnitude(half_life=8)}


class Twin:
    """Decodes token by token with the KV cache, each mask from what a cache made of sets holds at that moment."""

    def __init__(self, loaded: LoadedModel, masking: DipCa, policy: str, admission: str, slots: dict[str, Any]) -> None:
        self.model, self.masking = loaded.model, masking
        self.policy, self.admission, self.slots = policy, admission, slots
        self.masks: dict[tuple[str, int], list[NDArray[np.bool_]]] = {}
        self.hits: dict[tuple[str, int], int] = {}
        self.misses: dict[tuple[str, int], int] = {}
        self.decodes = False
        self.used: list[tuple[Any, NDArray[np.bool_], NDArray[np.float16]]] = []

    def losses(self, ids: NDArray[np.int64], n_prompt: int) -> list[float]:
        """Of the tokens that masked positions predict, window after window."""
        handles = []
        for layer, block in enumerate(self.model.model.layers):
            handles.append(block.mlp.register_forward_pre_hook(self.hook("mlp_input", layer)))
            handles.append(block.mlp.down_proj.register_forward_pre_hook(self.hook("glu", layer)))
        with torch.no_grad():
            found = [loss for row in ids for loss in self.sequence(row, n_prompt)]
        for handle in handles:
            handle.remove()
        return found

    def sequence(self, row: NDArray[np.int64], n_prompt: int) -> list[float]:
        self.caches = {(site, layer): self.new_cache(site, layer) for site in GROUPS for layer in range(2)}
        past, found = DynamicCache(), []
        if n_prompt:
            self.decodes = False
            self.model(torch.from_numpy(row[None, :n_prompt]), past_key_values=past, use_cache=True)
        self.decodes = True
        for t, token in enumerate(row[n_prompt:].tolist()):
            logits = self.model(torch.tensor([[token]]), past_key_values=past, use_cache=True).logits[0, 0]
            for cache, mask, scores in self.used:
                cache.update(mask, scores, t)
            self.used.clear()
            if n_prompt + t + 1 < len(row):
                found.append(float(logits.logsumexp(0) - logits[row[n_prompt + t + 1]]))
        return found

    def new_cache(self, site: str, layer: int) -> reference.Cache:
        n, n_slots = 16 if site == "mlp_input" else 24, self.slots[GROUPS[site]][layer]
        if self.policy == "magnitude":
            return RankedCache(n, n_slots, "magnitude", self.admission, half_life=8)
        return reference.Cache(n, n_slots, self.policy, self.admission)

    def hook(self, site: str, layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor] | None]:
        def mask_it(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor] | None:
            if not self.decodes:
                return None
            (values,) = args
            cache, scores = self.caches[site, layer], as_scores(values[0, 0].abs())
            resident = np.array([column in cache.resident for column in range(scores.size)])
            mask = self.choose(scores, resident, N_KEPT[site])
            at = (site, layer)
            self.masks.setdefault(at, []).append(mask)
            self.hits[at] = self.hits.get(at, 0) + int((mask & resident).sum())
            self.misses[at] = self.misses.get(at, 0) + int((mask & ~resident).sum())
            self.used.append((cache, mask, scores))
            return (values * torch.from_numpy(mask),)

        return mask_it

    def choose(self, scores: Any, resident: NDArray[np.bool_], k: int) -> NDArray[np.bool_]:
        if self.masking.rule == "top-m":
            return reference.top_m(scores, resident, k, 2 * k, 0)
        rule = reference.reweighted if self.masking.rule == "reweight" else reference.blended
        return reference.top_k(rule(scores, resident, self.masking.gamma), k)


def evaluate_and_watch(
    loaded: LoadedModel, *arguments: Any, **options: Any
) -> tuple[Evaluation, dict[tuple[str, int], NDArray[np.bool_]]]:
    """The evaluation, and which inputs of the gate and of the down projection were not 0."""
    applied: dict[tuple[str, int], list[NDArray[np.bool_]]] = {}

    def watch(site: str, layer: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def see(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if args[0].shape[1] > 1:  # not the probe that looks for gated MLPs
                applied.setdefault((site, layer), []).extend((args[0] != 0).numpy())

        return see

    handles = []
    for layer, block in enumerate(loaded.model.model.layers):
        handles.append(block.mlp.gate_proj.register_forward_hook(watch("mlp_input", layer)))
        handles.append(block.mlp.down_proj.register_forward_hook(watch("glu", layer)))
    found = evaluate(loaded, *arguments, **options)
    for handle in handles:
        handle.remove()
    return found, {at: np.stack(masks) for at, masks in applied.items()}


@pytest.mark.parametrize("admission", ["always", "priority"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("rule", ["reweight", "blend", "top-m"])
def test_one_pass_is_decoding_token_by_token(tmp_path: Path, rule: Any, policy: str, admission: str) -> None:
    loaded, n_prompt = random_model("llama"), 4 if admission == "always" else 0
    masking = DipCa(density=0.4, gamma=0.5, rule=rule)
    describe = described(masking, POLICIES[policy], dram=LOOP_DRAM, admission=admission)
    found, applied = evaluate_and_watch(
        loaded, LOOP_IDS, describe, n_prompt=n_prompt, n_batch=2, save_trace=tmp_path / "t.zarr.zip"
    )
    numbers = found.to_dict()
    twin = Twin(loaded, masking, policy, admission, numbers["slots"])
    losses = twin.losses(LOOP_IDS, n_prompt)

    assert found.n_scored == len(losses)
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-7)
    for at, masks in twin.masks.items():
        assert applied[at][:, :n_prompt].all()
        np.testing.assert_array_equal(applied[at][:, n_prompt:].reshape(len(masks), -1), np.stack(masks), str(at))

    replayed = describe(Trace.open(tmp_path / "t.zarr.zip")).run()
    missed_bytes = 0.0
    for row in replayed.layers.to_dict("records"):
        at = ({group: site for site, group in GROUPS.items()}[str(row["group"])], int(row["layer"]))
        assert (row["hits"], row["misses"]) == (twin.hits[at], twin.misses[at])
        assert 0 < row["misses"] < row["active_columns"]
        assert N_KEPT[at[0]] < row["slots"] < row["n_columns"]
        missed_bytes += twin.misses[at] * row["column_bytes"]
    n_tokens = sum(len(masks) for masks in twin.masks.values()) / 4
    assert replayed.tokens["flash_bytes"].sum() == missed_bytes + n_tokens * 16  # and a row of the embedding, 8 bit
    del numbers["config"]
    again = replayed.to_dict()
    assert {key: numbers[key] for key in again if key != "config"} == {k: v for k, v in again.items() if k != "config"}


def test_what_is_kept_changes_the_loss() -> None:
    """Else the twin would prove little."""
    loaded, masking = random_model("llama"), DipCa(density=0.4, gamma=0.5)
    losses = {
        (policy, admission): evaluate(
            loaded, LOOP_IDS, described(masking, POLICIES[policy], dram=LOOP_DRAM, admission=admission)
        ).loss
        for policy in POLICIES
        for admission in ("always", "priority")
    }
    # Where all active columns have a slot, the last used ones are the active ones and those before them: no bypass.
    assert losses.pop(("lru", "always")) == losses["lru", "priority"]
    assert len(set(losses.values())) == len(losses)
    assert evaluate(loaded, LOOP_IDS, described(masking, dram="4x")).loss not in losses.values()


def test_windows_start_cold_and_batches_do_not_matter() -> None:
    """A window's loss is its own, whoever runs beside or before it."""
    loaded = random_model("qwen3")
    describe = described(DipCa(density=0.4, gamma=0.2), "lru", dram=LOOP_DRAM)
    alone = [evaluate(loaded, LOOP_IDS[i : i + 1], describe).loss for i in range(3)]
    for n_batch in (1, 2, 3):
        assert evaluate(loaded, LOOP_IDS, describe, n_batch=n_batch).loss == pytest.approx(np.mean(alone), rel=1e-9)


def test_scores_in_memory_are_those_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few are held where nobody wants to keep them, many go to a folder that is gone afterwards."""
    loaded, describe = random_model("llama"), described(DipCa(density=0.4, gamma=0.2), dram=LOOP_DRAM)
    kept = evaluate(loaded, LOOP_IDS, describe, n_prompt=2, save_trace=tmp_path / "t.zarr")
    held = evaluate(loaded, LOOP_IDS, describe, n_prompt=2)
    monkeypatch.setattr(sys.modules["dipsim.evaluation.evaluate"], "_MOST_HELD_BYTES", 0)
    large = evaluate(loaded, LOOP_IDS, describe, n_prompt=2)
    assert held.result.config["trace"] == "(in memory)"
    assert not Path(large.result.config["trace"]).exists()
    for other in (held, large):
        assert_frame_equal(kept.result.tokens, other.result.tokens, check_exact=True)
        assert_frame_equal(kept.result.layers, other.result.layers, check_exact=True)
        assert kept.quality() == other.quality()


@pytest.mark.parametrize(
    ("stride", "message"),
    [
        (0, "stride: got 0; must be at least 1"),
        (12, "stride: got 12; must be at least 1 and at most the window's 11"),
        (5, "stride: got 5; windows do not overlap so"),
    ],
)
def test_a_stride_that_the_windows_do_not_have_is_refused(stride: int, message: str) -> None:
    text = np.random.default_rng(2).integers(0, 50, 33)
    ids = np.stack([text[start : start + 11] for start in (0, 4, 8)])
    with pytest.raises(DipsimError, match=message):
        evaluate(random_model("llama"), ids, described(Dense()), stride=stride)
