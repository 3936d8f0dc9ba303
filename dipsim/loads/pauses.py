"""When does Flash serve nobody: garbage collection."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dipsim.loads.protocol import positive, register_load


@register_load("flash-pauses")
@dataclass(frozen=True)
class FlashPauses:
    """Flash collects garbage, and serves nobody meanwhile.

    Args:
        period_s: from the end of one pause to when the next is due; it begins when what is being read gives way.
        length_s: of a pause.
    """

    period_s: float = 1.0
    length_s: float = 0.02

    def __post_init__(self) -> None:
        positive("flash-pauses: period_s", self.period_s)
        positive("flash-pauses: length_s", self.length_s)

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        """See `Load`."""
        while True:
            yield env.timeout(self.period_s)
            yield machine.flash.hold(self.length_s)
