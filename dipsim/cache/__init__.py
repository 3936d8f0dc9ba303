"""What is resident: a weight cache of one (layer, group), or of all of them, with any policy and either admission."""

from dipsim.cache.given import GivenHits
from dipsim.cache.replay import NoColumns, PinnedColumns, Replay, Tokens, Usage, usage_of
from dipsim.cache.replays import replay_of
from dipsim.cache.shared import SharedCache
from dipsim.cache.weight_cache import ADMISSIONS, Admission, WeightCache

__all__ = [
    "ADMISSIONS",
    "Admission",
    "GivenHits",
    "NoColumns",
    "PinnedColumns",
    "Replay",
    "SharedCache",
    "Tokens",
    "Usage",
    "WeightCache",
    "replay_of",
    "usage_of",
]
