"""What is resident: the weight cache of one (layer, group), with any policy and either admission."""

from dipsim.cache.replay import NoColumns, PinnedColumns, Replay, Tokens, Usage, replay_of, usage_of
from dipsim.cache.weight_cache import ADMISSIONS, Admission, WeightCache

__all__ = [
    "ADMISSIONS",
    "Admission",
    "NoColumns",
    "PinnedColumns",
    "Replay",
    "Tokens",
    "Usage",
    "WeightCache",
    "replay_of",
    "usage_of",
]
