"""For how long has anything been going on, of what may overlap?"""

from __future__ import annotations

import simpy


class Clock:
    """Runs while anything is going on.

    Args:
        env: where time passes.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._n_going_on = 0
        self._seconds = self._since_s = 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self._seconds + (self._env.now - self._since_s if self._n_going_on else 0.0)

    def begin(self) -> None:
        """Something begins."""
        if not self._n_going_on:
            self._since_s = self._env.now
        self._n_going_on += 1

    def end(self) -> None:
        """Something ends."""
        self._n_going_on -= 1
        if not self._n_going_on:
            self._seconds += self._env.now - self._since_s
