"""What do all pages share: one thread that answers, what is known, and runs to choose from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from dipsim.explore.answers import Answers
from dipsim.explore.recorded import Recorded

T = TypeVar("T")


@dataclass
class Work:
    """What all pages share.

    Attributes:
        answers: of all questions.
        recorded: runs to choose from.
        is_over: whether the server is about to end.
    """

    recorded: Sequence[Recorded]
    answers: Answers = field(default_factory=Answers)
    is_over: bool = False
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    async def do(self, function: Callable[[], T]) -> T:
        """Calls it in the thread, after whatever was asked before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def end(self) -> None:
        """Waits for the run at work, which gives up."""
        self.is_over = True
        self._thread.shutdown(cancel_futures=True)
