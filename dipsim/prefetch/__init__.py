"""Which columns are worth reading before they are needed?"""

from dipsim.prefetch.guesses import NoPrefetch, Oracle, PreviousLayer, PreviousToken
from dipsim.prefetch.protocol import Known, Prefetcher, prefetchers, register_prefetcher

__all__ = [
    "Known",
    "NoPrefetch",
    "Oracle",
    "Prefetcher",
    "PreviousLayer",
    "PreviousToken",
    "prefetchers",
    "register_prefetcher",
]
