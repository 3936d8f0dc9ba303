"""Which resident columns to give up: eviction policies, each one class, found by name."""

from dipsim.policies.classic import Belady, Fifo, Lfu, LfuInCache, Lru, NoCache, Window
from dipsim.policies.protocol import (
    Place,
    Policy,
    ScorePolicy,
    make,
    name_and_options,
    policies,
    priority_of,
    register_policy,
    wrong_priority,
)
from dipsim.policies.queued import QUEUED, Arc, Clock, QueuePolicy, S3Fifo, Sieve, TwoQueue, WTinyLfu
from dipsim.policies.scored import SCORED, LfuDecay, LruK, Magnitude, MagnitudeBlend, Random, Static
from dipsim.policies.use_counts import save_use_counts
from dipsim.registry import lists_when_called

__all__ = [
    "QUEUED",
    "SCORED",
    "Arc",
    "Belady",
    "Clock",
    "Fifo",
    "Lfu",
    "LfuDecay",
    "LfuInCache",
    "Lru",
    "LruK",
    "Magnitude",
    "MagnitudeBlend",
    "NoCache",
    "Place",
    "Policy",
    "QueuePolicy",
    "Random",
    "S3Fifo",
    "ScorePolicy",
    "Sieve",
    "Static",
    "TwoQueue",
    "WTinyLfu",
    "Window",
    "make",
    "name_and_options",
    "policies",
    "priority_of",
    "register_policy",
    "save_use_counts",
    "wrong_priority",
]

lists_when_called(__name__)
