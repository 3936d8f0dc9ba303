"""Who moves bytes beside the model: another app on Flash, display and camera on DRAM."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from dipsim.errors import DipsimError
from dipsim.loads.protocol import positive, register_load

Events = Generator[Any, Any, None]
# Who asks for more than he gets waits, as a queue of so many requests does.
_MOST_WAITING = 32
_BURST_BYTES = 2**20


@register_load("flash-reader")
@dataclass(frozen=True)
class FlashReader:
    """Another app reads from Flash, at a rate or so many bytes every period.

    Args:
        rate_bytes_per_s: mean rate; 100 MB/s unless a period is given.
        period_s: instead of a rate, seconds from one batch of reads to the next.
        n_bytes: bytes of a batch, whose reads are submitted together; one read unless told.
        read_bytes: bytes of one read.
    """

    rate_bytes_per_s: float | None = None
    period_s: float | None = None
    n_bytes: float | None = None
    read_bytes: float = 65536.0

    def __post_init__(self) -> None:
        for name in ("rate_bytes_per_s", "period_s", "n_bytes", "read_bytes"):
            if getattr(self, name) is not None:
                positive(f"flash-reader: {name}", getattr(self, name))
        if self.rate_bytes_per_s is not None and self.period_s is not None:
            raise DipsimError("flash-reader: got a rate and a period; give one of the two")

    def run(self, env: Any, machine: Any) -> Events:
        """See `Load`."""
        n_bytes = self.n_bytes or self.read_bytes
        period_s = self.period_s or n_bytes / (self.rate_bytes_per_s or 100e6)
        n_reads = max(1, round(n_bytes / self.read_bytes))
        yield from _ask_again_and_again(env, lambda: machine.flash.read(n_bytes, n_reads), period_s)


@register_load("dram-traffic")
@dataclass(frozen=True)
class DramTraffic:
    """Display, camera and other apps move bytes over the bus of the memory.

    Args:
        rate_bytes_per_s: mean rate, in bursts of 1 MiB.
    """

    rate_bytes_per_s: float = 2e9

    def __post_init__(self) -> None:
        positive("dram-traffic: rate_bytes_per_s", self.rate_bytes_per_s)

    def run(self, env: Any, machine: Any) -> Events:
        """See `Load`."""
        period_s = _BURST_BYTES / self.rate_bytes_per_s
        yield from _ask_again_and_again(env, lambda: machine.dram.move(_BURST_BYTES), period_s)


def _ask_again_and_again(env: Any, ask: Callable[[], Any], period_s: float) -> Events:
    """Asks once a period, whether or not what was asked for is there yet."""
    waiting: deque[Any] = deque()
    while True:
        waiting.append(ask())
        while waiting and waiting[0].processed:
            waiting.popleft()
        if len(waiting) == _MOST_WAITING:
            yield waiting[0]
        yield env.timeout(period_s)
