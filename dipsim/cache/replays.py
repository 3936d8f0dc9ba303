"""Which replay serves one (layer, group)?"""

from __future__ import annotations

from dipsim.cache.hooked_replay import hooked_replay
from dipsim.cache.known_policies import known_replay
from dipsim.cache.plain_replay import PlainReplay
from dipsim.cache.replay import ChosenFirst, CompiledReplay, Replay, ranking_of
from dipsim.cache.weight_cache import Admission, WeightCache
from dipsim.methods import Method, TopK, in_layer, top_k_of
from dipsim.model.groups import Group
from dipsim.policies import Place, Policy


def replay_of(place: Place, policy: Policy, admission: Admission, masking: Method, group: Group) -> Replay:
    """The cache of one place: compiled as far as method and policy are known to the kernels, else token by token."""
    top_k = None if group.site is None else top_k_of(masking, place.layer, group)
    own = in_layer(masking, place.layer)
    is_known = top_k is not None or group.site is None
    if is_known or not own.looks_at_residency:
        compiled = _compiled(place, policy, admission, top_k)
        if compiled is not None:
            return compiled if is_known else ChosenFirst(compiled, own, group)
    hooked = hooked_replay(place, policy, admission, own, group, top_k)
    return hooked or PlainReplay(WeightCache(place, policy, admission), own, group, top_k)


def _compiled(place: Place, policy: Policy, admission: Admission, top_k: TopK | None) -> Replay | None:
    """None for a policy that the kernels do not know."""
    if (ranking := ranking_of(policy)) is not None:
        return CompiledReplay(place, ranking, admission, top_k)
    return known_replay(place, policy, admission, top_k)
