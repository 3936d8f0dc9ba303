"""Which resident columns to give up: eviction policies, each one class, found by name."""

from dipsim.policies.classic import Belady, Fifo, Lfu, LfuInCache, Lru, NoCache
from dipsim.policies.protocol import (
    Place,
    Policy,
    ScorePolicy,
    make,
    name_and_options,
    policies,
    register_policy,
)

__all__ = [
    "Belady",
    "Fifo",
    "Lfu",
    "LfuInCache",
    "Lru",
    "NoCache",
    "Place",
    "Policy",
    "ScorePolicy",
    "make",
    "name_and_options",
    "policies",
    "register_policy",
]
