"""The compiled replay of a cache equals the plain one, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dipsim import Cats, Dip, DipCa, DipsimError, Experts, ExpertsCa
from dipsim.cache import ADMISSIONS, Admission, Tokens, WeightCache, replay_of
from dipsim.cache.known_policies import QueuedReplay, ScoredReplay
from dipsim.cache.plain_replay import PlainReplay
from dipsim.cache.replay import ChosenFirst, CompiledReplay, Replay, Usage
from dipsim.methods import Dense, Gate, Glu, Method, Up, in_layer
from dipsim.model.groups import Group
from dipsim.policies import Lfu, Lru, Place, Policy, make

N = 87  # a word of columns and a part of one
COMPILED: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("lru", "window", "lfu", "lfu-in-cache", "fifo", "belady")},
    **{name: {} for name in ("clock", "sieve", "s3-fifo", "two-queue", "arc", "random")},
    "w-tinylfu": {"window": 0.3},
    "lfu-decay": {"half_life": 3.0},
    "lfu-decay, all gone after two tokens": {"half_life": 0.001},
    "lru-k": {"k": 3},
    "static": {"calibration_tokens": 6},
    "magnitude": {"half_life": 2.0},
    "magnitude-blend": {"half_life": 5.0, "short_half_life": 1.5, "last_weight": 0.3},
}
METHODS = {
    "dense": Dense(),
    "dip": Dip(keep_input=0.4, keep_glu=0.4),
    "dip-ca": DipCa(keep_input=0.4, keep_glu=0.4, gamma=0.3),
    "dip-ca warming up": DipCa(keep_input=0.4, keep_glu=0.4, gamma=0.5, warm_up=True),
    "dip-ca with exempt": DipCa(keep_input=0.4, keep_glu=0.4, gamma=0.3, exempt_top=3),
    "dip-ca blend": DipCa(keep_input=0.4, keep_glu=0.4, gamma=0.3, rule="blend", exempt_top=2),
    "dip-ca top-m": DipCa(keep_input=0.4, keep_glu=0.4, rule="top-m", top_m=1.6),
    "dip-ca top-m with exempt": DipCa(keep_input=0.4, keep_glu=0.4, rule="top-m", exempt_top=3),
    "experts": Experts(5),
    "experts-ca": ExpertsCa(5, gamma=0.3, exempt_top=2),
    "experts-ca drop": ExpertsCa(9, rule="drop", threshold=0.1, exempt_top=2),
    "masks of a recording": Dip(keep_input=0.4, keep_glu=0.4),
}


KINDS = ("smooth", "tied", "saturated", "tiny")


def scores_of(kind: str, rng: np.random.Generator, n_tokens: int) -> np.ndarray:
    """Bits of scores; `saturated` ones are at and just below the largest float16, `tiny` ones subnormal."""
    if kind in ("saturated", "tiny"):
        lowest, above = (0x7BFD, 0x7C00) if kind == "saturated" else (0, 4)
        return rng.integers(lowest, above, (n_tokens, N), np.uint16)
    values = np.abs(rng.standard_normal((n_tokens, N)))
    return (np.round(values * 3) / 3 if kind == "tied" else values).astype(np.float16).view(np.uint16)


def group_of(masking: Method) -> Group:
    return Group("down", None if isinstance(masking, Dense) else "glu", N, 1, 10, 10.0)


def twins(name: str, admission: Admission, masking: Method, slots: int) -> tuple[Replay, Replay]:
    place, group = Place(N, slots), group_of(masking)
    compiled = replay_of(place, policy_of(name), admission, masking, group)
    assert isinstance(compiled, CompiledReplay | QueuedReplay | ScoredReplay)
    return compiled, PlainReplay(WeightCache(place, policy_of(name), admission), masking, group)


def policy_of(name: str) -> Policy:
    return make(name.split(",")[0], **COMPILED[name])


def assert_same(one: Usage, other: Usage) -> None:
    for field in ("active", "missed", "counts", "held"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("admission", ADMISSIONS)
@pytest.mark.parametrize("name", COMPILED)
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, N), st.integers(1, 9), st.sampled_from(KINDS))
def test_compiled_equals_plain(
    name: str, admission: Admission, method: str, seed: int, slots: int, n_first: int, kind: str
) -> None:
    """Two blocks of one sequence, then the start of another."""
    rng, masking = np.random.default_rng(seed), METHODS[method]
    compiled, plain = twins(name, admission, masking, slots)
    for first_token, n_tokens in ((0, n_first), (n_first, 7), (0, 5)):
        scores = scores_of(kind, rng, n_tokens)
        # Any will do here: for one without a future of its own, what matters is that both see the same.
        next_use = rng.integers(0, 2**31 - 1, (n_tokens, N), np.int32) if name == "belady" else None
        masks = rng.random((n_tokens, N)) < 0.5 if method.startswith("masks") else None
        if masks is not None:
            masks[:, 0] = True
        if first_token == 0:
            compiled.start()
            plain.start()
        own = None if isinstance(masking, Dense) else scores
        given = [None if masks is None else masks.copy() for _ in range(2)]
        assert_same(
            compiled.run(Tokens(n_tokens, first_token, own, next_use, given[0], True)),
            plain.run(Tokens(n_tokens, first_token, own, next_use, given[1], True)),
        )


@pytest.mark.parametrize(
    "masking",
    [
        *(Glu(keep=0.3), Gate(keep=0.3), Up(keep=0.3), DipCa(density=0.5), DipCa(density=0.5, exempt_top=50)),
        *(DipCa(density=0.5, rule="blend"), DipCa(density=0.5, rule="top-m", top_m=1.5, exempt_top=50)),
    ],
)
def test_a_long_sequence_at_full_width(masking: Method) -> None:
    """Where thresholds move and guesses carry over from token to token and block to block."""
    rng = np.random.default_rng(1)
    group, place = Group("down", "glu", 1000, 1, 10, 10.0), Place(1000, 500)
    popular = np.exp(rng.standard_normal(1000))
    for name in ("lfu", "lru", "clock", "arc", "w-tinylfu", "lfu-decay", "magnitude-blend"):
        compiled = replay_of(place, policy_of(name), "always", masking, group)
        plain = PlainReplay(WeightCache(place, policy_of(name), "always"), masking, group)
        for first_token in range(0, 96, 32):
            scores = (np.abs(rng.standard_normal((32, 1000))) * popular).astype(np.float16).view(np.uint16)
            assert_same(compiled.run(Tokens(32, first_token, scores)), plain.run(Tokens(32, first_token, scores)))


@pytest.mark.parametrize("name", ["lfu", "lfu-in-cache", "lru", "fifo"])
def test_counts_and_times_beyond_16_bits(name: str) -> None:
    """More tokens than narrow integers hold, from before they are too many to after."""
    rng, masking = np.random.default_rng(5), METHODS["masks of a recording"]
    compiled, plain = twins(name, "always", masking, 30)
    first_token = 65_400
    for n_tokens in (100, 30, 40):
        masks = rng.random((n_tokens, N)) < np.linspace(0.02, 0.3, N)
        masks[:, -1] = True
        given = [Tokens(n_tokens, first_token, None, None, masks.copy(), True) for _ in range(2)]
        assert_same(compiled.run(given[0]), plain.run(given[1]))
        first_token += n_tokens
    assert first_token > 2**16


def test_what_the_kernels_do_not_know_is_replayed_plainly() -> None:
    class Mine(Lfu):
        """A subclass may rank as it likes."""

    dip, group = Dip(density=0.5), group_of(Dip(density=0.5))
    assert isinstance(replay_of(Place(N, 5), Mine(), "always", dip, group), PlainReplay)


class Odd(Dip):
    """Selects as it likes: every second column, and the best."""

    def select(self, group: Group, scores: Any, resident: Any, token: int, mask: Any) -> None:
        mask[:] = np.arange(mask.size) % 2 == token % 2
        mask[scores.argmax()] = True


@pytest.mark.parametrize("masking", [Cats((0.7, 0.3)), Odd(density=0.5)])
@pytest.mark.parametrize("admission", ["always", "priority"])
def test_masks_chosen_first_are_those_chosen_token_by_token(masking: Method, admission: Admission) -> None:
    rng, group, place = np.random.default_rng(2), group_of(masking), Place(N, 7, 1)
    for policy in (Lfu(), Lru()):
        first = replay_of(place, policy, admission, masking, group)
        assert isinstance(first, ChosenFirst)
        plain = PlainReplay(WeightCache(place, type(policy)(), admission), in_layer(masking, 1), group)
        for first_token in (0, 9):
            scores = np.abs(rng.standard_normal((9, N))).astype(np.float16).view(np.uint16)
            assert_same(first.run(Tokens(9, first_token, scores)), plain.run(Tokens(9, first_token, scores)))


def test_an_empty_mask_chosen_first_is_refused() -> None:
    class Nothing(Dip):
        def select(self, group: Group, scores: Any, resident: Any, token: int, mask: Any) -> None:
            mask[:] = False

    masking = Nothing(density=0.5)
    with pytest.raises(DipsimError, match="mask of group 'down' is empty"):
        replay_of(Place(N, 5), Lfu(), "always", masking, group_of(masking)).run(
            Tokens(1, 0, np.ones((1, N), np.uint16))
        )
