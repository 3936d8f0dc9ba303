"""Slow and obvious twins of the policies beyond the classic ones: lists and dicts, written from the papers' words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from reference import Cache, Mask, Scores

MayLeave = Callable[[int], bool]


class RankedCache(Cache):
    """lfu-decay, lru-k, static and the two magnitudes, each priority worked out from the whole past of a column."""

    def __init__(self, n: int, slots: int, policy: str, admission: str, **options: Any) -> None:
        super().__init__(n, slots, policy, admission)
        self.options = options
        self.past: list[Mask] = []
        self.past_scores: list[Scores | None] = []

    def update(self, active: Mask, scores: Scores | None, t: int) -> None:
        self.past.append(active)
        self.past_scores.append(scores)
        super().update(active, scores, t)

    def priority(self, column: int, t: int) -> tuple[float, ...]:
        uses = [u for u, mask in enumerate(self.past) if mask[column]]
        if self.policy == "lru-k":
            k = self.options["k"]
            return (uses[-k] if len(uses) >= k else -1, uses[-1], column)
        if self.policy == "static":
            return (sum(u < self.options["calibration_tokens"] for u in uses), column)
        if self.policy == "magnitude-blend":
            return (self.blend(column), column)
        fading = 2.0 ** (-1 / self.options["half_life"])
        value = 0.0
        if self.policy == "lfu-decay":
            for mask in self.past:
                value = value * fading + mask[column]
            return (value, uses[-1], column)
        for scores in self.past_scores:
            if scores is not None:
                value = value * fading + (1 - fading) * float(scores[column])
        return (value, column)

    def blend(self, column: int) -> float:
        """A score is worth its multiple of the lowest score that the token's best columns, as many as are active, have;
        at most four."""
        long, short, last = 0.0, 0.0, 0.0
        long_fading, short_fading = (2.0 ** (-1 / self.options[name]) for name in ("half_life", "short_half_life"))
        for mask, scores in zip(self.past, self.past_scores, strict=True):
            if scores is not None:
                threshold = sorted(map(float, scores), reverse=True)[int(mask.sum()) - 1]
                last = min(float(scores[column]) / max(threshold, 2.0**-24), 4.0)
                long = long * long_fading + (1 - long_fading) * last
                short = short * short_fading + (1 - short_fading) * last
        return long + self.options["short_weight"] * short + self.options["last_weight"] * last


class QueueCache:
    """The batch rule: uses of resident columns, then the misses one after another as if each were requested alone.

    A policy has `lists` of resident columns, oldest first, and says what a use does, what is remembered of a missed
    column, who leaves and where a column enters.
    """

    def __init__(self, slots: int, admission: str) -> None:
        self.slots, self.admission = slots, admission
        self.lists: dict[str, list[int]] = {}

    @property
    def resident(self) -> set[int]:
        return {column for members in self.lists.values() for column in members}

    def update(self, active: Mask, scores: Scores | None, t: int) -> None:
        columns = np.flatnonzero(active).tolist()
        before = self.resident
        self.count(columns)
        for column in columns:
            if column in before:
                self.use(column)
        missed = [column for column in columns if column not in before]
        if self.admission == "priority":
            for column in missed:
                self.enter(column, self.look_up(column))
            while len(self.resident) > self.slots:
                self.leave(lambda column: True, 0, None)
            return
        inactive = before - set(columns)
        room = self.slots - len(before)
        n_victims = max(0, min(len(missed) - room, len(inactive)))
        for i, column in enumerate(missed):
            found = self.look_up(column)
            if i >= len(missed) - n_victims:
                self.leave(lambda other: other in inactive, 1, found)
            self.enter(column, found)
        by_score = sorted(missed, key=lambda column: (0 if scores is None else -scores[column], column))
        for column in by_score[max(0, room + n_victims) :]:
            self.drop(column)

    def count(self, columns: Sequence[int]) -> None:
        """All columns of the token, resident or not."""

    def use(self, column: int) -> None:
        """A resident column is used."""

    def look_up(self, column: int) -> str | None:
        """The name of the ghosts that a missed column was among; it leaves them."""
        return None

    def enter(self, column: int, found: str | None) -> None:
        raise NotImplementedError

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        raise NotImplementedError

    def drop(self, column: int) -> None:
        """A column is refused after all."""
        for members in self.lists.values():
            if column in members:
                members.remove(column)


def first(members: Sequence[int], may: MayLeave) -> int | None:
    return next((column for column in members if may(column)), None)


class Clock(QueueCache):
    def __init__(self, slots: int, admission: str) -> None:
        super().__init__(slots, admission)
        self.queue: list[int] = []
        self.lists = {"queue": self.queue}
        self.marked: set[int] = set()

    def use(self, column: int) -> None:
        self.marked.add(column)

    def enter(self, column: int, found: str | None) -> None:
        self.marked.discard(column)
        self.queue.append(column)

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        while True:
            column = first(self.queue, may)
            assert column is not None
            self.queue.remove(column)
            if column not in self.marked:
                return
            self.marked.remove(column)
            self.queue.append(column)


class Sieve(Clock):
    hand: int | None = None

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        start = 0 if self.hand is None else self.queue.index(self.hand)
        for column in cycle(self.queue[start:] + self.queue[:start]):
            if may(column) and column not in self.marked:
                self.hand = self.after(column)
                self.queue.remove(column)
                return
            if may(column):
                self.marked.remove(column)

    def after(self, column: int) -> int | None:
        newer = self.queue[self.queue.index(column) + 1 :]
        return newer[0] if newer else None

    def drop(self, column: int) -> None:
        if column == self.hand:
            self.hand = self.after(column)
        super().drop(column)


class S3Fifo(QueueCache):
    def __init__(self, slots: int, admission: str, small: float = 0.1, ghosts: float = 0.9) -> None:
        super().__init__(slots, admission)
        self.small: list[int] = []
        self.main: list[int] = []
        self.ghosts: list[int] = []
        self.lists = {"small": self.small, "main": self.main}
        self.most_small = max(1, int(slots * small))
        self.most_ghosts = int(slots * ghosts)
        self.uses: dict[int, int] = {}
        self.has_evicted = False

    def use(self, column: int) -> None:
        self.uses[column] = min(3, self.uses[column] + 1)

    def look_up(self, column: int) -> str | None:
        if column in self.ghosts:
            self.ghosts.remove(column)
            return "ghosts"
        return None

    def enter(self, column: int, found: str | None) -> None:
        self.uses[column] = 0
        filling = not self.has_evicted and len(self.small) >= self.most_small
        (self.main if found or filling else self.small).append(column)

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        self.has_evicted = True
        main_first = len(self.main) > self.slots - self.most_small
        walks = [self.from_main, self.from_small] if main_first else [self.from_small, self.from_main]
        for walk in walks * 2:
            if walk(may):
                return
        raise AssertionError("nobody left")

    def from_small(self, may: MayLeave) -> bool:
        while (column := first(self.small, may)) is not None:
            self.small.remove(column)
            if self.uses[column] < 2:
                self.ghosts = [*self.ghosts, column][-self.most_ghosts :] if self.most_ghosts else []
                return True
            self.uses[column] = 0
            self.main.append(column)
        return False

    def from_main(self, may: MayLeave) -> bool:
        while (column := first(self.main, may)) is not None:
            self.main.remove(column)
            if self.uses[column] == 0:
                return True
            self.uses[column] -= 1
            self.main.append(column)
        return False


class TwoQueue(QueueCache):
    def __init__(self, slots: int, admission: str, a1_in: float = 0.25, a1_out: float = 0.5) -> None:
        super().__init__(slots, admission)
        self.a1_in: list[int] = []
        self.am: list[int] = []
        self.a1_out: list[int] = []
        self.lists = {"a1_in": self.a1_in, "am": self.am}
        self.most_in = max(1, int(slots * a1_in))
        self.most_out = int(slots * a1_out)

    def use(self, column: int) -> None:
        if column in self.am:
            self.am.remove(column)
            self.am.append(column)

    def look_up(self, column: int) -> str | None:
        if column in self.a1_out:
            self.a1_out.remove(column)
            return "a1_out"
        return None

    def enter(self, column: int, found: str | None) -> None:
        (self.am if found else self.a1_in).append(column)

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        new, old = first(self.a1_in, may), first(self.am, may)
        if new is not None and (len(self.a1_in) > self.most_in or old is None):
            self.a1_in.remove(new)
            self.a1_out.append(new)
            if len(self.a1_out) > self.most_out:
                self.a1_out.pop(0)
        else:
            assert old is not None
            self.am.remove(old)


class Arc(QueueCache):
    """The paper's four lists; who leaves is its REPLACE, among the columns that may."""

    def __init__(self, slots: int, admission: str) -> None:
        super().__init__(slots, admission)
        self.t1: list[int] = []
        self.t2: list[int] = []
        self.b1: list[int] = []
        self.b2: list[int] = []
        self.lists = {"t1": self.t1, "t2": self.t2}
        self.p = 0.0

    def use(self, column: int) -> None:
        (self.t1 if column in self.t1 else self.t2).remove(column)
        self.t2.append(column)

    def look_up(self, column: int) -> str | None:
        if column in self.b1:
            self.p = min(self.slots, self.p + max(1, len(self.b2) / len(self.b1)))
            self.b1.remove(column)
            return "b1"
        if column in self.b2:
            self.p = max(0, self.p - max(1, len(self.b1) / len(self.b2)))
            self.b2.remove(column)
            return "b2"
        return None

    def enter(self, column: int, found: str | None) -> None:
        (self.t2 if found else self.t1).append(column)

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        once, again = first(self.t1, may), first(self.t2, may)
        shrink_t1 = len(self.t1) > self.p or (found == "b2" and len(self.t1) == self.p)
        if once is not None and (shrink_t1 or again is None):
            self.t1.remove(once)
            self.b1.append(once)
        else:
            assert again is not None
            self.t2.remove(again)
            self.b2.append(again)
        # Together with who is about to enter: T1 and B1 hold at most the slots, all four twice the slots.
        while self.b1 and len(self.t1 + self.b1) + (0 if found else n_incoming) > self.slots:
            self.b1.pop(0)
        while self.b2 and len(self.t1 + self.b1 + self.t2 + self.b2) + n_incoming > 2 * self.slots:
            self.b2.pop(0)


class WTinyLfu(QueueCache):
    def __init__(self, slots: int, admission: str, window: float = 0.01) -> None:
        super().__init__(slots, admission)
        self.window: list[int] = []
        self.probation: list[int] = []
        self.protected: list[int] = []
        self.lists = {"window": self.window, "probation": self.probation, "protected": self.protected}
        self.most_window = max(1, int(slots * window))
        self.most_main = slots - self.most_window
        self.uses: dict[int, int] = {}
        self.n_counted = 0

    def count(self, columns: Sequence[int]) -> None:
        for column in columns:
            self.uses[column] = self.uses.get(column, 0) + 1
        self.n_counted += len(columns)
        if self.n_counted >= 10 * self.slots:
            self.n_counted //= 2
            self.uses = {column: uses // 2 for column, uses in self.uses.items()}

    def use(self, column: int) -> None:
        if column in self.window:
            self.window.remove(column)
            self.window.append(column)
            return
        (self.probation if column in self.probation else self.protected).remove(column)
        self.protected.append(column)
        if len(self.protected) > self.most_main * 4 // 5:
            self.probation.append(self.protected.pop(0))

    def enter(self, column: int, found: str | None) -> None:
        self.window.append(column)

    def leave(self, may: MayLeave, n_incoming: int, found: str | None) -> None:
        while self.too_many(n_incoming) and len(self.probation) + len(self.protected) < self.most_main:
            newcomer = first(self.window, may)
            if newcomer is None:
                break
            self.window.remove(newcomer)
            self.probation.append(newcomer)
        newcomer = first(self.window, may)
        incumbent = first(self.probation + self.protected, may)
        if incumbent is None:
            assert newcomer is not None
            self.window.remove(newcomer)
        elif newcomer is None or not self.too_many(n_incoming):
            self.drop(incumbent)
        elif self.uses.get(newcomer, 0) > self.uses.get(incumbent, 0):
            self.drop(incumbent)
            self.window.remove(newcomer)
            self.probation.append(newcomer)
        else:
            self.window.remove(newcomer)

    def too_many(self, n_incoming: int) -> bool:
        return len(self.window) + n_incoming > self.most_window
