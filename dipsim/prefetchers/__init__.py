"""Which columns are worth reading before they are needed?"""

from dipsim.prefetchers.guesses import NoPrefetch, Oracle, PreviousLayer, PreviousToken
from dipsim.prefetchers.protocol import Known, Prefetcher, guess_columns, prefetchers, register_prefetcher
from dipsim.registry import lists_when_called

__all__ = [
    "Known",
    "NoPrefetch",
    "Oracle",
    "Prefetcher",
    "PreviousLayer",
    "PreviousToken",
    "guess_columns",
    "prefetchers",
    "register_prefetcher",
]

lists_when_called(__name__)
