"""Routers of mixtures: scores, and other experts than the router's own, against routers and experts by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import reference
import torch
import transformers
from conftest import device, tight_slots
from numpy.typing import NDArray
from random_mixtures import FAMILIES, IDS, N_EXPERTS, PER_TOKEN, by_hand, random_mixture
from torch import Tensor, nn
from transformers import DynamicCache

from dipsim import DipsimError, Experts, ExpertsCa, Simulation, Trace
from dipsim.evaluation import evaluate
from dipsim.kernels import BoolArray
from dipsim.methods import Method
from dipsim.model.groups import Group
from dipsim.sparsify.capture import capture
from dipsim.sparsify.hooks import Plan, find_parts, hooked, without_cache
from dipsim.sparsify.loading import LoadedModel
from dipsim.sparsify.routers import find_routers
from dipsim.sparsify.routing import Routing

pytestmark = tight_slots
N_PROMPT = 3


def own_choice(layer: int, scores: Tensor) -> Tensor:
    return torch.from_numpy(reference.top_k(scores.numpy(), PER_TOKEN))


def recorded(scores: Tensor) -> NDArray[np.float16]:
    """Scores as a trace has them: none of those that the model leaves out as high as one that it takes."""
    own, rounded = own_choice(0, scores).numpy(), scores.half().numpy()
    below = np.nextafter(rounded[own].min(), np.float16(0))
    return np.where(own, rounded, np.minimum(rounded, below))


def logits_of(model: Any, ids: NDArray[np.int64] = IDS) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.from_numpy(ids), use_cache=False).logits
    return logits


def logits_under(loaded: LoadedModel, masking: Method, n_prompt: int = 0, sites: tuple[str, ...] = ()) -> Tensor:
    plan = Plan(masking, without_cache(masking), sites, n_prompt)
    with hooked(find_parts(loaded.model, loaded.spec), loaded.spec, plan):
        return logits_of(loaded.model)


@pytest.mark.parametrize("family", FAMILIES)
def test_by_hand_is_right(family: str) -> None:
    expected = logits_of(random_mixture(family).model)
    torch.testing.assert_close(logits_of(by_hand(random_mixture(family), own_choice)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_models_own_choice_changes_no_bit(family: str, dtype: torch.dtype) -> None:
    loaded = random_mixture(family, dtype)
    expected = logits_of(loaded.model)
    assert torch.equal(logits_under(loaded, Experts(), sites=("router",)), expected)
    assert torch.equal(logits_under(loaded, Experts(per_token=1), n_prompt=IDS.shape[1]), expected)
    assert not torch.equal(logits_under(loaded, Experts(per_token=1), n_prompt=N_PROMPT), expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())


def test_more_lanes_of_the_model_change_no_bit_either() -> None:
    """Tokens that keep their own experts keep their order, beside others that do not."""
    loaded = random_mixture("deepseek_v2", torch.float32)
    (router,) = find_routers(loaded.model)
    x = torch.randn(5, 16)
    plain = router.module(x)
    from dipsim.sparsify.routing import rerouted, routing

    own = routing(router, (x,), {})
    mask = own.own
    mask[2] = np.roll(mask[2], 1)
    for before, after in zip(plain, rerouted(router, own, mask, (x,), {}), strict=True):
        assert torch.equal(before[[0, 1, 3, 4]], after[[0, 1, 3, 4]])


@dataclass(frozen=True)
class ByWeight(Experts):
    """As many experts as have half the probability of the best, an odd one more for every other token."""

    looks_at_residency: ClassVar[bool] = False

    def select(self, group: Group, scores: Any, resident: BoolArray, token: int, mask: BoolArray) -> None:
        values = scores.view(np.float16).astype(np.float32)
        mask[:] = values >= values.max() / 2
        mask[int(values.argmin())] |= bool(token % 2)

    def as_top_k(self, group: Group) -> None:
        return None


@pytest.mark.parametrize("masking", [Experts(per_token=1), Experts(per_token=5), ByWeight()], ids=["1", "5", "many"])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_experts_are_weighed_as_the_model_does(family: str, masking: Method) -> None:
    tokens = iter(range(10**6))

    def choose(layer: int, scores: Tensor) -> Tensor:
        token = next(tokens) % IDS.shape[1]
        if token < N_PROMPT:
            return own_choice(layer, scores)
        if masking.per_token:
            return torch.from_numpy(reference.top_k(recorded(scores), masking.per_token))
        mask = np.zeros(N_EXPERTS, np.bool_)
        masking.select(None, recorded(scores).view(np.uint16), mask, token - N_PROMPT, mask)
        return torch.from_numpy(mask)

    loaded = random_mixture(family)
    found = logits_under(loaded, masking, N_PROMPT)
    assert (logits_of(loaded.model) - found).abs().max() > 0.01
    torch.testing.assert_close(found, logits_of(by_hand(loaded, choose)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_captured_scores_are_those_of_the_router(tmp_path: Path, family: str) -> None:
    loaded, seen = random_mixture(family), {}

    def choose(layer: int, scores: Tensor) -> Tensor:
        seen.setdefault(layer, []).append(recorded(scores))
        return own_choice(layer, scores)

    capture(loaded, IDS, tmp_path / "t.zarr", masking=Experts(), n_batch=2)
    trace = Trace.open(tmp_path / "t.zarr")
    logits_of(by_hand(loaded, choose))
    assert trace.sites == ("router",)
    assert trace.model.mixture.n_experts == N_EXPERTS
    for layer in (0, 1):
        got = trace.read("router", 0, IDS.size, layer).view(np.float16)
        if layer not in trace.model.layers_with_experts:
            assert not got.any()
            continue
        np.testing.assert_allclose(got, np.stack(seen[layer]), rtol=2e-3, atol=1e-7)
        # The best by recorded score are the model's own, whatever float16 makes of near ones.
        assert ((got > 0).sum(axis=1) >= PER_TOKEN).all()


def described(masking: Method, policy: str) -> Callable[[Trace], Simulation]:
    return lambda trace: Simulation(device(), trace, masking, policy, dram="mlp:0.5", stream_pinned=True)


@pytest.mark.parametrize(
    "masking",
    [ExpertsCa(gamma=0.4), ExpertsCa(rule="drop", threshold=0.3), ExpertsCa(rule="blend", per_token=2)],
    ids=lambda masking: masking.rule,
)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_decoding_token_by_token(family: str, masking: ExpertsCa) -> None:
    """Routers by hand, caches by the book, a key-value cache, one token after the other."""
    loaded = random_mixture(family)
    found = evaluate(copy.deepcopy(loaded), IDS, described(masking, "lru"), n_prompt=N_PROMPT, n_batch=2)
    slots = found.result.to_dict()["slots"]["experts"]
    caches: dict[int, reference.Cache] = {}
    state = {"decodes": False, "hits": 0, "active": 0, "other": 0}

    def choose(layer: int, exact: Tensor) -> Tensor:
        if not state["decodes"]:
            return own_choice(layer, exact)
        scores, cache = recorded(exact), caches[layer]
        resident = np.array([number in cache.resident for number in range(N_EXPERTS)])
        k = masking.per_token or PER_TOKEN
        mask = reference.top_k(scores, k)
        if masking.rule == "drop":
            small = scores.astype(float) < 0.3 * scores[mask].astype(float).sum()
            mask &= resident | ~small | (np.arange(N_EXPERTS) == scores.argmax())
        else:
            rule = reference.reweighted if masking.rule == "reweight" else reference.blended
            mask = reference.top_k(rule(scores, resident, masking.gamma), k)
        state["hits"] += int((mask & resident).sum())
        state["active"] += int(mask.sum())
        state["other"] += int((mask != own_choice(layer, exact).numpy()).any())
        cache.update(mask, scores, state["token"])
        return torch.from_numpy(mask)

    model, losses = by_hand(loaded, choose), []
    for row in IDS:
        caches.update({layer: reference.Cache(N_EXPERTS, slots[layer], "lru", "always") for layer in (0, 1)})
        memory, state["decodes"] = DynamicCache(config=model.config), False
        with torch.no_grad():
            model(input_ids=torch.from_numpy(row[None, :N_PROMPT]), past_key_values=memory)
            state["decodes"] = True
            for token in range(N_PROMPT, len(row)):
                state["token"] = token - N_PROMPT
                logits = model(input_ids=torch.from_numpy(row[None, token : token + 1]), past_key_values=memory).logits
                if token + 1 < len(row):
                    losses.append(-float(logits[0, 0].double().log_softmax(0)[row[token + 1]]))
    assert found.losses["loss"].to_numpy() == pytest.approx(losses, rel=1e-5)
    assert found.result.to_dict()["hit_rate_by_group"]["experts"] == pytest.approx(state["hits"] / state["active"])
    assert 0 < state["hits"] < state["active"]
    assert state["other"] > 0


def test_order_of_scores_is_the_models_where_float16_knows_none() -> None:
    scores = torch.tensor([[0.25, 0.25 + 1e-6, 0.1, 0.0], [1e-9, 1e-9, 0.5, 2e-9]])
    routing = Routing(scores, torch.tensor([[1, 2], [2, 3]]), scores)
    got = routing.scores_in_order()
    assert (np.argsort(-got, axis=1, kind="stable")[:, :2] == [[1, 2], [2, 3]]).all()
    assert got[0, [1, 2, 3]].tolist() == scores[0, [1, 2, 3]].half().tolist()
    assert got[0, 0] < got[0, 2]
    assert got[1].tolist() == [0, 0, 0.5, 2**-24]


def test_what_cannot_be_hooked_is_refused_in_one_line() -> None:
    config = transformers.PhimoeConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    phi = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(DipsimError, match=r"layers.0.mlp.experts \(PhimoeExperts\): looked beside it for a router"):
        find_routers(phi)
    with pytest.raises(DipsimError, match=r"looked for experts, modules that keep matrices stacked .*; found none"):
        find_routers(nn.Linear(2, 2))
    loaded = random_mixture("mixtral", torch.float32)
    with pytest.raises(DipsimError, match="sites: got 'glu'; 'mixtral' has experts and 'router' alone"):
        capture(loaded, IDS, "never.zarr", masking=Experts(), sites=["glu"])
    with torch.no_grad():
        loaded.model.model.embed_tokens.weight[IDS[0, 0]] = math.nan
    with pytest.raises(DipsimError, match=r"layer 0: its router \(MixtralTopKRouter\) got infinite or NaN scores"):
        logits_under(loaded, Experts())
