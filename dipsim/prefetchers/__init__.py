"""Which columns are worth reading before they are needed?"""

from dipsim.prefetchers.guesses import Oracle, PreviousLayer, PreviousToken
from dipsim.prefetchers.protocol import Known, Prefetcher, guess_columns, prefetchers, register_prefetcher

__all__ = [
    "Known",
    "Oracle",
    "Prefetcher",
    "PreviousLayer",
    "PreviousToken",
    "guess_columns",
    "prefetchers",
    "register_prefetcher",
]
