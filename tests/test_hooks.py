"""Hooks of one's own in compiled code: equal to the same in Python, and wrong ones are one line that names them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay import N, assert_same, group_of, scores_of

import dipsim as ds
from dipsim import DipsimError
from dipsim.cache import ADMISSIONS, Admission, Tokens, WeightCache, replay_of
from dipsim.cache.hooked_replay import HookedReplay
from dipsim.cache.plain_replay import PlainReplay
from dipsim.kernels.hooks import compile_once
from dipsim.methods import Method
from dipsim.policies import Fifo, Lfu, LfuInCache, Lru, Place, Policy

# mypy: disable-error-code="misc, override, no-redef"


@dataclass
class Aged(ds.ScorePolicy):
    """Each hook leaves its mark."""

    share: float = 0.5

    def on_access(self, columns: Any, token: int) -> None:
        self.priority[columns] = self.share * self.priority[columns] + token

    def on_insert(self, columns: Any, token: int) -> None:
        self.priority[columns] += 0.25

    def on_evict(self, columns: Any, token: int) -> None:
        self.priority[columns] -= self.share * np.arange(columns.size)


@dataclass
class AgedCompiled(ds.ScorePolicy):
    """The same."""

    share: float = 0.5

    @ds.compiled
    def on_access(priority: Any, columns: Any, token: int, share: float) -> None:  # noqa: N805
        for column in columns:
            priority[column] = share * priority[column] + token

    @ds.compiled
    def on_insert(priority: Any, columns: Any, token: int) -> None:  # noqa: N805
        priority[columns] += 0.25

    @ds.compiled
    def on_evict(priority: Any, columns: Any, token: int, share: float) -> None:  # noqa: N805
        for i in range(columns.size):
            priority[columns[i]] -= share * i


@dataclass(frozen=True)
class Easier(ds.DipCa):
    """A threshold, half of which does for what is resident, and the first column."""

    threshold: float = 0.6

    def select(self, group: Any, scores: Any, resident: Any, token: int, mask: Any) -> None:
        mask[:] = scores.view(np.float16) >= np.where(resident, np.float16(0.3), np.float16(self.threshold))
        mask[token % 2] = True


@dataclass(frozen=True)
class EasierCompiled(ds.DipCa):
    """The same."""

    bits: int = int(np.float16(0.6).view(np.uint16))
    easier_bits: int = int(np.float16(0.3).view(np.uint16))

    @ds.compiled
    def select(scores: Any, resident: Any, token: int, mask: Any, bits: float, easier_bits: float) -> None:  # noqa: N805
        for i in range(scores.size):
            mask[i] = scores[i] >= (easier_bits if resident[i] else bits)
        mask[token % 2] = True


KEEPS: dict[str, Any] = {"keep_input": 0.4, "keep_glu": 0.4}
PAIRS: dict[str, tuple[Policy, Policy, Method, Method]] = {
    "policy": (AgedCompiled(), Aged(), ds.DipCa(**KEEPS), ds.DipCa(**KEEPS)),
    "policy, dense": (AgedCompiled(), Aged(), ds.Dense(), ds.Dense()),
    "both": (AgedCompiled(0.25), Aged(0.25), EasierCompiled(**KEEPS), Easier(**KEEPS)),
    **{
        f"method, {kind.__name__}": (kind(), kind(), EasierCompiled(**KEEPS), Easier(**KEEPS))
        for kind in (Lru, Lfu, LfuInCache, Fifo)
    },
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("admission", ADMISSIONS)
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, N), st.integers(1, 9), st.booleans())
def test_compiled_hooks_equal_python(
    pair: str, admission: Admission, seed: int, slots: int, n_first: int, has_prompt: bool
) -> None:
    """A prompt, two blocks of one sequence, then the start of another."""
    rng, (policy, twin, masking, other) = np.random.default_rng(seed), PAIRS[pair]
    place, group = Place(N, slots), group_of(masking)
    compiled = replay_of(place, policy, admission, masking, group)
    assert isinstance(compiled, HookedReplay)
    plain = PlainReplay(WeightCache(place, twin, admission), other, group)
    prompt = [(-1, 1)] if has_prompt else []
    compiled.start()
    plain.start()
    for first_token, n_tokens in (*prompt, (0, n_first), (n_first, 7), (0, 5)):
        scores = None if isinstance(masking, ds.Dense) else scores_of("smooth", rng, n_tokens)
        masks = np.arange(N)[None] % 2 == 0 if first_token < 0 else None
        if first_token == 0 and n_tokens == 5:
            compiled.start()
            plain.start()
        ran = [
            own.run(Tokens(n_tokens, first_token, scores, None, None if masks is None else masks.copy(), True))
            for own in (compiled, plain)
        ]
        assert_same(*ran)


def test_a_compiled_hook_is_a_hook_from_python_too() -> None:
    """Where something else has to be asked token by token: here the method."""
    rng, place, group = np.random.default_rng(0), Place(N, 9), group_of(ds.DipCa(**KEEPS))
    scores = scores_of("smooth", rng, 30)
    asked = replay_of(place, AgedCompiled(), "always", Easier(**KEEPS), group)
    assert isinstance(asked, PlainReplay)
    assert_same(
        asked.run(Tokens(30, 0, scores)),
        replay_of(place, AgedCompiled(), "always", EasierCompiled(**KEEPS), group).run(Tokens(30, 0, scores)),
    )


def test_whole_runs_are_equal_in_both_scopes() -> None:
    trace, profile = ds.Trace.open("tiny"), ds.HardwareProfile.load("a18-paper")
    for scope in ("layer", "shared"):
        one, other = (
            ds.Simulation(
                profile,
                trace,
                ds.Dip(density=0.4),
                own,
                dram="0.8x",
                cache_scope=scope,
                tokens=20,
            )
            .run()
            .to_dict()
            for own in (Aged(), AgedCompiled())
        )
        assert one["hit_rate"] == other["hit_rate"] > 0


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(DipsimError, match="compiled: got 'victims'; must be one of on_access"):

        @ds.compiled
        def victims() -> None:
            """No hook that can be compiled."""

    with pytest.raises(DipsimError, match="on_access: takes self, columns, token; must take priority, columns, token"):

        @ds.compiled
        def on_access(self: Any, columns: Any, token: int) -> None:
            """As in Python."""


def run_once(policy: Policy, masking: Method) -> None:
    scores = np.arange(3 * N, dtype=np.uint16).reshape(3, N)
    replay_of(Place(N, 3), policy, "priority", masking, group_of(masking)).run(Tokens(3, 0, scores))


def test_what_goes_wrong_is_named() -> None:
    class Odd(ds.ScorePolicy):
        @ds.compiled
        def on_access(priority: Any, columns: Any, token: int) -> None:  # noqa: N805
            priority[:] = np.nan

    class Raises(ds.ScorePolicy):
        @ds.compiled
        def on_access(priority: Any, columns: Any, token: int) -> None:  # noqa: N805
            raise ValueError("no such column")

    class NoNumba(ds.ScorePolicy):
        @ds.compiled
        def on_access(priority: Any, columns: Any, token: int) -> None:  # noqa: N805
            priority[columns] = open("file")  # noqa: PTH123, SIM115

    class Nothing(ds.DipCa):
        @ds.compiled
        def select(scores: Any, resident: Any, token: int, mask: Any) -> None:  # noqa: N805
            mask[:] = False

    dip = ds.Dip(**KEEPS)
    for policy, masking, message in (
        (Odd(), dip, "policy Odd: priority: got shape"),
        (Raises(), dip, "policy Raises: ValueError: no such column"),
        (NoNumba(), dip, "NoNumba.on_access: cannot be compiled"),
        (Lru(), Nothing(**KEEPS), "mask of group 'down' is empty"),
    ):
        with pytest.raises(DipsimError, match=message):
            run_once(policy, masking)


def test_threads_that_ask_at_once_get_what_is_compiled_once() -> None:
    """Each layer has a thread of its own, and all of them meet a hook for the first time."""

    def double(values):  # type: ignore[no-untyped-def]
        return values * 2

    function, ready = numba.njit(double), Barrier(4)

    def ask(_: int) -> float:
        ready.wait()
        return float(compile_once(function, numba.types.float64(numba.types.float64))(21.0))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == 4 * [42.0]
