"""One cache for all layers: against its plain twin, with every policy, in both engines, and what is said of it."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import reference
from conftest import MakeTrace, device, random_scores, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

import dipsim as ds
from dipsim import Dense, Dip, DipCa, DipsimError, DipsimWarning, Glu, Simulation, Trace
from dipsim.cache import ADMISSIONS, Admission, SharedCache, Tokens
from dipsim.cache.shared import _Compiled, _Plain
from dipsim.methods import Method
from dipsim.model.groups import Group
from dipsim.policies import Place, policies

COMPILED = ("lru", "window", "lfu", "lfu-in-cache", "fifo", "belady")
quiet = pytest.mark.filterwarnings("ignore::dipsim.errors.DipsimWarning")
# Unequal in width and in bytes, one of them no whole number.
GROUPS = (Group("up_gate", "mlp_input", 5, 2, 20, 12.5), Group("down", "glu", 7, 1, 10, 8.0))
STAGES = [(layer, group) for layer in range(2) for group in GROUPS]
EDGES = np.cumsum([0, *(group.n_columns for _, group in STAGES)])
COSTS = {
    int(EDGES[p]) + i: Fraction(group.column_bytes)
    for p, (_, group) in enumerate(STAGES)
    for i in range(group.n_columns)
}


def cache_of(masking: Method, policy: str, admission: Admission, capacity_bytes: Fraction) -> SharedCache:
    return SharedCache(STAGES, masking, policies[policy](), admission, capacity_bytes)


def tokens_of(rng: np.random.Generator, n_tokens: int) -> list[Tokens]:
    """Scores of each part, many of them equal."""
    return [
        Tokens(n_tokens, 0, (rng.integers(0, 5, (n_tokens, group.n_columns)) / 4).astype(np.float16).view(np.uint16))
        for _, group in STAGES
    ]


def with_future(tokens: list[Tokens], masks: list[np.ndarray]) -> list[Tokens]:
    """Next uses, by looking from the end; the masks are given too."""
    never, found = np.iinfo(np.int32).max, []
    for own, mask in zip(tokens, masks, strict=True):
        uses = np.full(mask.shape, never, np.int32)
        for t in range(len(mask) - 1, 0, -1):
            uses[t - 1] = np.where(mask[t], t, uses[t])
        found.append(own._replace(next_use=uses, masks=mask))
    return found


@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize("policy", COMPILED)
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 240), st.booleans())
def test_both_replays_equal_the_twin(
    policy: str, admission: Admission, seed: int, capacity: int, has_prompt: bool
) -> None:
    rng, n_tokens, capacity_bytes = np.random.default_rng(seed), 9, Fraction(capacity)
    masking = Dip(keep_input=0.4, keep_glu=0.5)
    tokens = tokens_of(rng, n_tokens)
    chooser = cache_of(masking, "lru", "always", Fraction(0))
    masks = [usage.active for usage in chooser.run(tokens)]
    prompt = [rng.random(mask.shape[1]) < 0.5 for mask in masks]
    for mask in prompt:
        mask[0] = True
    shown = with_future(tokens, masks)
    if policy != "belady":
        shown = [own._replace(next_use=None, masks=None) for own in shown]

    def columns(p: int, mask: np.ndarray) -> list[int]:
        return (int(EDGES[p]) + np.flatnonzero(mask)).tolist()

    parts = range(len(STAGES))
    batches = [columns(p, prompt[p]) for p in parts] if has_prompt else []
    batches += [columns(p, masks[p][t]) for t in range(n_tokens) for p in parts]
    twin = reference.SharedCache(COSTS, capacity_bytes, policy, admission, batches, len(STAGES))

    plain, compiled = (cache_of(masking, policy, admission, capacity_bytes) for _ in range(2))
    plain._own = _Plain(plain, policies[policy](), admission)
    assert isinstance(compiled._own, _Compiled)
    before = len(STAGES) if has_prompt else 0
    for cache in (plain, compiled):
        cache.start()
        if has_prompt:
            first = [np.where(mask.any(axis=0), mask.argmax(axis=0), 2**31 - 1).astype(np.int32) for mask in masks]
            later = [use[None] if policy == "belady" else None for use in first]
            best = [own.scores[:1] for own in tokens if own.scores is not None]
            told = [Tokens(1, -1, best[p], later[p], prompt[p][None]) for p in parts]
            for p in parts:  # one by one, as a process asks
                cache.replay(p).run(told[p])
    ran = [cache.run([own._replace(tells_held=True) for own in shown]) for cache in (plain, compiled)]
    for one, other in zip(*ran, strict=True):
        for field in ("active", "missed", "counts", "held"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)
    for now in range(len(batches)):
        t, p = divmod(now - before, len(STAGES))
        scores = tokens[p % len(STAGES)].scores
        assert scores is not None
        row = scores[max(t, 0)].view(np.float16)
        expected = twin.look_up(now, {int(EDGES[p]) + i: float(s) for i, s in enumerate(row)})
        if now >= before:
            assert set(columns(p, ran[1][p].missed[t])) == expected, (t, p)
        assert twin.cost(twin.resident) <= capacity_bytes


@pytest.mark.parametrize("rule", ["reweight", "blend", "top-m"])
@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(20, 240), st.sampled_from(COMPILED[:-1]), st.sampled_from(ADMISSIONS))
def test_masks_that_look_at_residency(rule: Any, seed: int, capacity: int, policy: str, admission: Admission) -> None:
    masking = DipCa(keep_input=(0.4, 0.6), keep_glu=(0.5, 0.3), rule=rule)
    tokens = tokens_of(np.random.default_rng(seed), 12)
    compiled, plain = (cache_of(masking, policy, admission, Fraction(capacity)) for _ in range(2))
    assert isinstance(compiled._own, _Compiled)
    plain._own = _Plain(plain, policies[policy](), admission)
    for one, other in zip(compiled.run(tokens), plain.run(tokens), strict=True):
        np.testing.assert_array_equal(one.active, other.active)
        np.testing.assert_array_equal(one.missed, other.missed)


def test_one_layer_alone_is_a_cache_of_its_own(make_trace: MakeTrace) -> None:
    """With one cached group of one layer there is nothing to share."""
    model = small_model(n_layers=1)
    trace = make_trace(model, random_scores(model, 40, seed=3))
    results = [
        Simulation(device(), trace, Glu(keep=0.4), "lfu", cache_bytes=70, cache_scope=scope).run().to_dict()
        for scope in ("layer", "shared")
    ]
    assert 0.1 < results[0]["hit_rate_by_group"]["down"] < 0.9
    for name in ("tok_per_s", "hit_rate", "bytes_per_token", "dram"):
        assert results[0][name] == results[1][name], name


@quiet
@pytest.mark.parametrize(
    "masking", [Dip(density=0.4), DipCa(density=0.4), Dense(), Glu(keep=0.3)], ids=lambda m: m.name
)
def test_every_policy_in_both_engines(masking: Method, make_trace: MakeTrace) -> None:
    model = small_model()
    trace = make_trace(model, random_scores(model, 12, seed=2), lengths=[7, 5], prompt_lengths=[2, 0])
    for name in policies:
        if name == "belady" and masking.looks_at_residency:
            continue
        for admission in ADMISSIONS:
            options = {"admission": admission, "cache_bytes": 200, "cache_scope": "shared"}
            one, other = (
                Simulation(device(), trace, masking, name, engine=engine, **options).run()
                for engine in ("compiled", "processes")
            )
            assert one.tokens["hits"].tolist() == other.tokens["hits"].tolist(), (name, admission)
            np.testing.assert_allclose(one.tokens["token_s"], other.tokens["token_s"], rtol=1e-9)


def test_below_a_tokens_bytes_lru_hits_nothing_and_says_so(make_trace: MakeTrace) -> None:
    model = small_model()
    trace = make_trace(model, random_scores(model, 30, seed=1))
    masking = Dip(keep_input=0.5, keep_glu=0.5)
    plenty = Simulation(device(), trace, masking, "lru", cache_bytes=10**6, cache_scope="shared").run()
    token_bytes = float(plenty.tokens["active_bytes"].iloc[0])

    def run(policy: str, n_bytes: float) -> float:
        return float(
            Simulation(device(), trace, masking, policy, cache_bytes=n_bytes, cache_scope="shared")
            .run()
            .to_dict()["hit_rate"]
        )

    widest = max(n * group.column_bytes for n, group in zip((4, 6), masking.groups(model), strict=True))
    with pytest.warns(DipsimWarning, match="cache_scope: a token uses .* so that nothing is hit"):
        assert run("lru", token_bytes - widest) == 0
    with pytest.warns(DipsimWarning, match="most columns have left"):
        assert run("lfu", token_bytes - widest) > 0
    with pytest.warns(DipsimWarning, match="most columns have left"):
        assert run("lru", token_bytes - widest + 1) >= 0
    assert run("lru", 1.5 * token_bytes) > 0


def test_belady_with_bypass_is_what_headroom_shares(make_trace: MakeTrace) -> None:
    """Two ways to the optimum of one cache: one by ranks, one by counting columns that wait for the same use."""
    model = small_model()
    trace = make_trace(model, random_scores(model, 60, seed=5), lengths=[40, 20])
    simulation = Simulation(device(), trace, Glu(keep=0.4), "lfu", cache_bytes=130, cache_scope="shared")
    steps = simulation.headroom().steps
    assert steps["hit_rate"].iloc[2] == steps["hit_rate"].iloc[3]
    assert steps["hit_rate"].iloc[0] < steps["hit_rate"].iloc[1] <= steps["hit_rate"].iloc[2] < 1


@quiet
def test_what_is_told_of_a_shared_cache(make_trace: MakeTrace) -> None:
    model = small_model()
    trace = make_trace(model, random_scores(model, 12))
    simulation = Simulation(device(), trace, Glu(keep=0.4), "lfu", cache_bytes="100B", cache_scope="shared")
    result = simulation.run()
    numbers = json.loads(result.to_json())
    n_layers = model.n_layers
    dense = next(group for group in Glu(keep=0.4).groups(model) if group.site is None)
    assert numbers["slots"] == {dense.name: n_layers * [dense.n_columns], "down": n_layers * [None]}
    assert numbers["dram"]["cache_bytes"] == 100 + n_layers * dense.n_columns * dense.column_bytes
    assert Simulation.from_config(numbers["config"], trace).run().to_dict()["tok_per_s"] == numbers["tok_per_s"]
    explained = simulation.explain(3)
    assert {"as it is", "everything resident"} <= set(explained.what_ifs["what_if"])


@quiet
def test_policies_are_told_which_part_is_looked_up(make_trace: MakeTrace) -> None:
    place = Place(9, 4, 0, "shared", ((0, "up", 4), (0, "down", 2), (1, "up", 3)))
    assert [place.part_at(token) for token in range(4)] == [slice(0, 4), slice(4, 6), slice(6, 9), slice(0, 4)]
    assert Place(9, 4).part_at(7) == slice(0, 9)
    assert place.n_batches == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_scope": "all"}, "cache_scope: unknown name, got 'all'; choices: layer, shared"),
        ({"cache_bytes": "-1B"}, "cache_bytes: not an amount of bytes, got '-1B'"),
        ({"cache_bytes": -1.0}, "cache_bytes: got -1.0; must be at least 0"),
        ({"cache_bytes": 10, "dram": "0.5x"}, "cache_bytes: got it beside dram '0.5x'"),
        ({"prompt": "warm"}, "prompt: got 'warm'; .* choose 'cold'"),
        ({"prompt": "hot"}, "prompt: unknown name, got 'hot'"),
    ],
)
def test_refusals(make_trace: MakeTrace, options: dict[str, Any], message: str) -> None:
    model = small_model()
    with pytest.raises(DipsimError, match=message):
        Simulation(device(), make_trace(model, random_scores(model, 4)), Dip(density=0.5), "lru", **options)


def test_masks_of_a_running_model_cannot_share(make_trace: MakeTrace) -> None:
    model = small_model()
    trace = make_trace(model, random_scores(model, 4))
    with pytest.raises(DipsimError, match="cache_scope: got 'shared' with method 'dip-ca' and a running model"):
        Simulation(device(), trace, DipCa(density=0.5), cache_scope="shared").loop_masks()


def test_a_budget_that_divides_nothing_is_said(make_trace: MakeTrace) -> None:
    model = small_model()
    trace = make_trace(model, random_scores(model, 4))
    with pytest.warns(DipsimWarning, match="budget: 'by-bytes' divides"):
        Simulation(device(), trace, Dip(density=0.5), cache_scope="shared", budget="by-bytes", cache_bytes=10**6)


class WithPrompt(Trace):
    """A trace that knows what its prompts use."""

    has_prompt = True  # type: ignore[assignment]

    def prompt_scores(self, site: str, sequence: int, layer: int) -> Any:
        """Two tokens: the first likes columns 0 and 1, the second 1 and 2; in the last layer the second alone runs."""
        width = self.model.hidden_size if site == "mlp_input" else self.model.intermediate_size
        scores = np.zeros((self.sequences[sequence].prompt_length, width), np.float16)
        if layer < self.model.n_layers - 1:
            scores[0, :2] = 1
        scores[1, 1:3] = 1
        return scores.view(np.uint16)


def with_prompt(trace: Trace) -> Trace:
    return WithPrompt(**{name: getattr(trace, name) for name in trace.__dataclass_fields__})


@pytest.mark.parametrize("engine", ["compiled", "processes"])
@pytest.mark.parametrize("scope", ["layer", "shared"])
@pytest.mark.parametrize("policy", ["lru", "lfu", "arc", "belady"])
def test_a_warm_prompt_by_hand(make_trace: MakeTrace, engine: str, scope: str, policy: str) -> None:
    """Every token uses columns 0 and 1; the prompt leaves them in the first layer, and column 1 in the last."""
    model = small_model(n_layers=2)
    scores = random_scores(model, 4)
    for own in scores.values():
        own[:] = 0
        own[:, :, :2] = 1
    trace = with_prompt(make_trace(model, scores, lengths=[2, 2], prompt_lengths=[2, 0]))
    n = model.intermediate_size
    masking = Glu(keep=2 / n)
    cache_bytes = 2 * n * model.hidden_size - 1  # of all columns but one, which are not loaded with the model

    def run(prompt: str | None, cache_bytes: int) -> ds.Result:
        shared: dict[str, Any] = {"cache_bytes": cache_bytes, "cache_scope": scope}
        return Simulation(device(), trace, masking, policy, **shared, engine=engine, prompt=prompt).run()

    runs = {prompt: run(prompt, cache_bytes) for prompt in ("cold", None)}
    warm, cold = runs[None].to_dict(), runs["cold"].to_dict()
    down = runs[None].layers.query("group == 'down'")
    # Two sequences of two tokens in two layers look up 16 columns. Cold, each sequence misses 4; the prompt saves 3.
    assert (cold["hit_rate_by_group"]["down"], warm["hit_rate_by_group"]["down"]) == (8 / 16, 11 / 16)
    assert down["misses"].tolist() == [2, 3]
    # With room for all they are loaded, unless prompts are to warm caches, which are empty before.
    roomy = [run(prompt, 10**4).to_dict()["hit_rate_by_group"]["down"] for prompt in ("cold", None)]
    assert roomy == [1, 11 / 16]
    # The prompt looks up 3 columns and 2, and dense columns, which are there.
    dense = next(group for group in masking.groups(model) if group.site is None)
    n_dense = 2 * dense.n_columns
    assert warm["prompt_hit_rate"] == n_dense / (n_dense + 5)
    assert warm["cumulative_hit_rate_by_group"] == {dense.name: 1, "down": 11 / 21}
    assert cold["prompt_hit_rate"] is None
    assert cold["cumulative_hit_rate_by_group"] is None
    assert warm["ttft_s"] < cold["ttft_s"]


@quiet
def test_headroom_begins_with_the_prompt_too(make_trace: MakeTrace) -> None:
    model = small_model()
    scores = random_scores(model, 60, seed=5)
    trace = with_prompt(make_trace(model, scores, lengths=[40, 20], prompt_lengths=[3, 0]))
    for scope in ("shared", "layer"):
        simulation = Simulation(device(), trace, Glu(keep=0.4), "lfu", cache_bytes=130, cache_scope=scope)
        rates = simulation.headroom().steps["hit_rate"]
        assert rates.iloc[2] == rates.iloc[3] if scope == "shared" else rates.iloc[2] < rates.iloc[3]


@quiet
@pytest.mark.parametrize("scope", ["layer", "shared"])
def test_engines_agree_on_warm_prompts(make_trace: MakeTrace, scope: str) -> None:
    model = small_model()
    trace = with_prompt(make_trace(model, random_scores(model, 12, seed=4), lengths=[7, 5], prompt_lengths=[3, 2]))
    for masking in (Dip(density=0.4), DipCa(density=0.4), Dense()):
        one, other = (
            Simulation(
                ds.HardwareProfile.load("oneplus-12-ufs4"),
                *(trace, masking, "lfu"),
                cache_bytes=300,
                cache_scope=scope,
                engine=engine,
            ).run()
            for engine in ("compiled", "processes")
        )
        assert one.tokens["hits"].tolist() == other.tokens["hits"].tolist()
        np.testing.assert_allclose(one.tokens["token_s"], other.tokens["token_s"], rtol=1e-9)
        np.testing.assert_allclose(one.ttft_s, other.ttft_s, rtol=1e-9)
