"""What is the answer to a set-up: a first look at few tokens, then the band that `dipsim estimate` gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dipsim.description import Description
from dipsim.errors import DipsimError, DipsimWarning
from dipsim.estimation import DENSE, NO_CACHE, PRESETS, Estimate, n_tokens_of, scores_of, without_method
from dipsim.explore.chosen import Chosen
from dipsim.explore.spans import Spans, spans_of
from dipsim.model import ModelSpec
from dipsim.profile import HardwareProfile
from dipsim.results import Result
from dipsim.simulation import Simulation
from dipsim.simulation.configuration import arguments
from dipsim.simulation.described import device_of, masking_of

DEFAULT = PRESETS[1]
FIRST_LOOK = {"tokens": 4, "warmup": 2}
_MOST_KEPT = 64  # answers


class Stale(Exception):  # noqa: N818 - nothing is wrong
    """Nobody waits for this answer any more."""


@dataclass(frozen=True)
class Answer:
    """What is known so far.

    Attributes:
        chosen: the question.
        estimate: its runs by name; at first that at the default preset alone.
        device: the device.
        is_whole: whether nothing is to come.
        notes: what changes how the numbers must be read.
        spans: of the last token, what each device did when.
    """

    chosen: Chosen
    estimate: Estimate
    device: HardwareProfile
    is_whole: bool = False
    notes: tuple[str, ...] = ()
    spans: Spans | None = None

    @cached_property
    def numbers(self) -> dict[str, dict[str, Any]]:
        """Those of each run, by its name."""
        return {name: result.to_dict() for name, result in self.estimate.results.items()}

    @property
    def base(self) -> str:
        """The name of the run beside the band."""
        return DENSE if self.estimate.model.mixture is None else NO_CACHE

    @cached_property
    def default(self) -> dict[str, Any]:
        """Those of the run at the default preset."""
        return self.numbers[DEFAULT]


@dataclass
class Answers:
    """Answers questions one after another, and keeps what it knows."""

    _kept: dict[str, Answer] = field(default_factory=dict)
    _bases: dict[str, Result] = field(default_factory=dict)

    def of(self, chosen: Chosen, is_stale: Callable[[], bool], say: Callable[[str], None]) -> Iterator[Answer]:
        """What is known, each time more, and last the whole.

        Args:
            chosen: the question.
            is_stale: whether nobody waits any more; asked now and then.
            say: is told what is being done.

        Raises:
            DipsimError: as `estimate`.
            Stale: nobody waits any more.
        """
        if chosen.key in self._kept:
            yield self._kept[chosen.key]
            return
        spec = ModelSpec.load(chosen.model)
        described = chosen.described.model_copy(update={"warmup": n_tokens_of(spec) // 2})
        if spec.mixture is not None and "method" not in chosen.options:
            described = described.model_copy(update={"method": "experts"})
        for answer in self._asked(chosen, _Question(spec, described, device_of(described), is_stale), say):
            yield answer
        self._kept[chosen.key] = answer
        for oldest in list(self._kept)[:-_MOST_KEPT]:
            del self._kept[oldest]

    def _asked(self, chosen: Chosen, asked: _Question, say: Callable[[str], None]) -> Generator[Answer, None, None]:
        def drawn(preset: str) -> Any:
            say(f"drawing scores of {asked.model.name}, {preset}")
            asked.check()
            return scores_of(asked.model, preset)

        def answer(results: dict[str, Result], **more: Any) -> Answer:
            return Answer(chosen, Estimate(dict(results), asked.model, described), asked.device, **more)

        described, results = asked.described, {}
        beside = ", beside loads: some minutes for a large model" if described.loads else ""
        trace = drawn(DEFAULT)
        say(f"a first look{beside}")
        first = described.model_copy(update=FIRST_LOOK if not described.loads else {"tokens": 2, "warmup": 1})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DipsimWarning)
            results[DEFAULT] = asked.run(first, trace)
        yield answer(results)
        with warnings.catch_warnings(record=True) as caught, TemporaryDirectory(prefix="dipsim-") as folder:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", DipsimWarning)
            say(f"refining: {DEFAULT}{beside}")
            timeline = Path(folder) / "timeline.json"
            results[DEFAULT] = asked.run(described, trace, timeline)
            known = {
                "notes": tuple(dict.fromkeys(str(one.message) for one in caught)),
                "spans": spans_of(timeline),
            }
        yield answer(results, **known)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DipsimWarning)
            for preset in PRESETS:
                if preset != DEFAULT:
                    trace = drawn(preset)
                    say(f"refining: {preset}{beside}")
                    results[preset] = asked.run(described, trace)
            base = DENSE if asked.model.mixture is None else NO_CACHE
            results = {preset: results[preset] for preset in PRESETS}
            results[base] = self._base(without_method(described, base), asked, trace)
        yield answer(results, is_whole=True, **known)

    def _base(self, described: Description, asked: _Question, trace: Any) -> Result:
        """The run beside the band, which few controls change."""
        key = described.model_dump_json() + asked.model.model_dump_json()
        if key not in self._bases:
            self._bases[key] = asked.run(described, trace)
        return self._bases[key]


@dataclass(frozen=True)
class _Question:
    """A set-up with its model and its device at hand."""

    model: ModelSpec
    described: Description
    device: HardwareProfile
    is_stale: Callable[[], bool]

    def check(self) -> None:
        """Gives up where nobody waits."""
        if self.is_stale():
            raise Stale

    def run(self, described: Description, trace: Any, timeline: Path | None = None) -> Result:
        """One run, given up between its blocks; beside loads, which take long, at any moment."""
        self.check()
        options = arguments("options", dict(described))
        if options["loads"]:
            options["loads"] = [*options["loads"], _Watch(self.check)]
        run = Simulation(self.device, trace, masking_of(described), **options)
        last = (described.tokens or trace.n_tokens) - 1
        try:
            result = run.run(lambda done, total: self.check(), timeline, last if timeline else 0)
        except DipsimError:
            self.check()  # what a load raises is taken for its fault
            raise
        return replace(result, measure_headroom=_nothing)


class _Watch:
    """A load that asks nothing of the machine, and ends a run for which nobody waits."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def run(self, env: Any, machine: Any) -> Iterator[Any]:
        """See `Load`."""
        while True:
            self._check()
            yield env.timeout(0.01)


def _nothing(on_progress: Callable[[int, int], None]) -> Any:
    """In place of what would keep the run's scores in memory."""
    raise NotImplementedError
