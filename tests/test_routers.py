"""Routers of mixtures: scores, and other experts than the router's own, against routers and experts by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import torch
from conftest import tight_slots
from numpy.typing import NDArray
from random_mixtures import FAMILIES, IDS, PER_TOKEN, by_hand, random_mixture
from torch import Tensor

from dipsim import Experts
from dipsim.methods import Method
from dipsim.sparsify.hooks import Plan, find_parts, hooked, without_cache
from dipsim.sparsify.loading import LoadedModel

pytestmark = tight_slots


def top(k: int) -> Callable[[int, Tensor], Tensor]:
    return lambda layer, scores: torch.from_numpy(reference.top_k(scores.numpy(), k))


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
    torch.testing.assert_close(
        logits_of(by_hand(random_mixture(family), top(PER_TOKEN))), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_models_own_choice_changes_no_bit(family: str, dtype: torch.dtype) -> None:
    loaded = random_mixture(family, dtype)
    expected = logits_of(loaded.model)
    assert torch.equal(logits_under(loaded, Experts(), sites=("router",)), expected)
    assert torch.equal(logits_under(loaded, Experts(per_token=1), n_prompt=IDS.shape[1]), expected)
    assert not torch.equal(logits_under(loaded, Experts(per_token=1), n_prompt=3), expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
