"""Do two runs differ, in what they were given and in what came out?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from dipsim.errors import DipsimError
from dipsim.evaluation.paired import Paired
from dipsim.results.naming import flat
from dipsim.version import __version__

# Of all numbers, what a comparison shows; those that neither has are left out.
SHOWN = (
    *("perplexity", "loss", "tok_per_s", "tpot_s.p99", "ttft_s", "hit_rate", "byte_hit_rate"),
    *(
        "bytes_per_token.flash",
        "bytes_per_token.dram",
        "energy_j_per_token",
        "mlp_density",
        "mlp_error",
        "retained_magnitude",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What one run was given and what came out.

    Attributes:
        name: where it is from.
        config: as in a result's JSON.
        numbers: under the names of a sweep's columns.
    """

    name: str
    config: dict[str, Any]
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        first, second: the runs.
        paired: the second's perplexity less the first's; None where it cannot be told.
        unpaired: why it cannot.
    """

    first: Outcome
    second: Outcome
    paired: Paired | None
    unpaired: str = ""

    @classmethod
    def of(cls, first: Outcome, second: Outcome) -> Self:
        """Two runs; their perplexities are paired where they are of the same tokens."""
        try:
            return cls(first, second, Paired.of(first.numbers, second.numbers))
        except DipsimError as error:
            return cls(first, second, None, str(error))

    @property
    def setup(self) -> dict[str, tuple[Any, Any]]:
        """What they were given and differ in, by dotted names; of devices and models of other names, the names."""
        own, other = _given(self.first), _given(self.second)
        differ = {name: (own.get(name), other.get(name)) for name in own | other if own.get(name) != other.get(name)}
        named = [kind for kind in ("profile", "model") if f"{kind}.name" in differ]
        return {
            name: pair
            for name, pair in differ.items()
            if name.partition(".")[0] not in named or (name.endswith(".name") and name.count(".") == 1)
        }

    @property
    def outcome(self) -> dict[str, tuple[Any, Any]]:
        """What came out of both, where one has it."""
        pairs = {name: (self.first.numbers.get(name), self.second.numbers.get(name)) for name in SHOWN}
        return {name: pair for name, pair in pairs.items() if pair != (None, None)}

    @property
    def verdict(self) -> str:
        """In one line, whether they differ."""
        times = self.second.numbers["tok_per_s"] / self.first.numbers["tok_per_s"]
        speed = f"B has {times:.4g} times A's tokens/s" if times != 1 else "tokens/s are the same"
        if self.paired is None:
            return f"{speed}; perplexities are not compared: {self.unpaired}"
        if self.paired.loss_interval == (0.0, 0.0):
            return f"perplexity is the same in every window; {speed}"
        word = "differs" if self.paired.differs else "is within noise"
        return f"perplexity {word}: B's is {self.paired} from A's; {speed}"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "a": self.first.name,
            "b": self.second.name,
            "setup": {name: list(pair) for name, pair in self.setup.items()},
            "outcome": {name: list(pair) for name, pair in self.outcome.items()},
            "paired": None if self.paired is None else asdict(self.paired) | {"differs": self.paired.differs},
            "verdict": self.verdict,
            "dipsim_version": __version__,
        }


def _given(run: Outcome) -> dict[str, Any]:
    """What a run was given. An evaluation's own trace lies in a folder for the time of the run: no part of it."""
    config = dict(run.config)
    if "loss" in run.numbers:
        config.pop("trace", None)
    text = {name: value for name, value in run.numbers.items() if name == "bos" or name.startswith("evaluate.")}
    return flat(config) | text | {"dipsim_version": run.numbers["dipsim_version"]}
