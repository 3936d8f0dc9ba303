"""Which run do plain values describe: the options of `dipsim simulate` under their names, with their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pydantic

from dipsim import layouts, methods, policies
from dipsim.errors import DipsimError
from dipsim.methods import Cats, Keeps, Method
from dipsim.model import ModelSpec
from dipsim.prefetchers import prefetchers
from dipsim.profile import HardwareProfile
from dipsim.schema import Record
from dipsim.simulation import Simulation
from dipsim.trace import Trace
from dipsim.units import parse_bytes

# Other methods keep some matrices dense, so that no one density suits them.
_DEFAULT_DENSITY = {"dip": 0.5, "dip-ca": 0.5}
Share = float | tuple[float, ...] | list[float]
Whole = Annotated[int, pydantic.Field(ge=-(2**40), le=2**40)]  # each option has its own bounds, and says so


class Description(Record):
    """Everything but the trace, as `dipsim simulate` takes it; `--set flash.derate=0.5` is in `profile_values`.

    Attributes:
        profile, model, keeps, calibration: names or paths.
        profile_values: other values of the profile, by dotted path.
        policy_option, layout_option, prefetch_option: options by name.
    """

    profile: str = "a18-paper"
    profile_values: dict[str, Any] = pydantic.Field(default_factory=dict)
    method: str = "dip-ca"
    density: float | None = None
    keep_input: Share | None = None
    keep_glu: Share | None = None
    keeps: str | None = None
    gamma: float | None = None
    rule: str | None = None
    exempt_top: Whole | None = None
    gamma_warm_up: bool = False
    top_m: float | None = None
    calibration: str | None = None
    rank: Whole | None = None
    policy: str = "lfu"
    policy_option: dict[str, Any] = pydantic.Field(default_factory=dict)
    admission: str = "always"
    dram: str | float | None = None
    budget: str = "uniform"
    context: Whole | None = None
    stream_pinned: bool = True
    layout: str = "column"
    layout_option: dict[str, Any] = pydantic.Field(default_factory=dict)
    prefetch: str = "none"
    prefetch_option: dict[str, Any] = pydantic.Field(default_factory=dict)
    prefetch_bytes: str | float | None = None
    adapter_bytes: str | float | None = None
    model: str | None = None
    unit: str | None = None
    overlap: str = "pipelined"
    tokens: Whole | None = None
    warmup: Whole = 0

    def device(self) -> HardwareProfile:
        """The profile with its other values.

        Raises:
            DipsimError: as `HardwareProfile.load` and `with_values`.
        """
        return HardwareProfile.load(self.profile).with_values(self.profile_values)

    def masking(self) -> Method:
        """The method.

        Raises:
            DipsimError: unknown method, an option it does not have or lacks, or a value out of range.
        """
        shares = self._shares()
        if self.method == "predictor" and self.rank is None:
            raise DipsimError(
                "method 'predictor' needs a predictor: dipsim train-predictor MODEL OTHER-TEXT -o FILE makes one; give "
                "evaluate and capture --predictor FILE, and simulate its --rank"
            )
        if self.method != "predictor" and self.rank is not None:
            raise DipsimError(
                f"predictor: method '{self.method}' uses none, got one of rank {self.rank}; 'predictor' does"
            )
        given = {
            **shares,
            "rank": self.rank,
            "gamma": self.gamma,
            "rule": self.rule,
            "exempt_top": self.exempt_top,
            "warm_up": self.gamma_warm_up or None,
            "top_m": self.top_m,
        }
        if self.method == "cats":
            return self._calibrated_cats(**given)
        if self.calibration is not None:
            raise DipsimError(f"calibration: method '{self.method}' has no thresholds to calibrate; 'cats' has")
        return methods.make(self.method, **given)

    def simulation(self, trace: Trace, device: HardwareProfile | None = None) -> Simulation:
        """The run of a trace.

        Args:
            trace: what is replayed.
            device: that of `device()`, where it is at hand.

        Raises:
            DipsimError: as `Simulation`.
        """
        adapter = self.adapter_bytes
        return Simulation(
            device or self.device(),
            trace,
            self.masking(),
            policies.make(self.policy, **self.policy_option),
            admission=self.admission,
            dram=self.dram,
            budget=self.budget,
            overlap=self.overlap,
            unit=self.unit,
            layout=layouts.make(self.layout, **self.layout_option),
            prefetch=prefetchers.make(self.prefetch, self.prefetch_option),
            prefetch_bytes=self.prefetch_bytes,
            adapter_bytes=parse_bytes(adapter, "adapter-bytes") if isinstance(adapter, str) else adapter or 0,
            stream_pinned=self.stream_pinned,
            model=None if self.model is None else ModelSpec.load(self.model),
            context=self.context,
            tokens=self.tokens,
            warmup=self.warmup,
        )

    def _shares(self) -> dict[str, Any]:
        """Density or keeps: as given, of a file of `dipsim allocate`, or the method's default."""
        given = {"density": self.density, "keep_input": self.keep_input, "keep_glu": self.keep_glu}
        named = [name for name, share in given.items() if share is not None]
        if self.keeps is None:
            return given if named else given | {"density": _DEFAULT_DENSITY.get(self.method)}
        if named:
            raise DipsimError(f"keeps: got '{self.keeps}' beside {named[0]}; give one of the two")
        found = Keeps.load(Path(self.keeps))
        return {"density": None, "keep_input": found.keep_input, "keep_glu": found.keep_glu}

    def _calibrated_cats(self, density: float | None, **others: object) -> Method:
        if given := [key for key, value in others.items() if value is not None]:
            raise DipsimError(f"{given[0]}: method 'cats' has no such option")
        if self.calibration is None or density is None:
            raise DipsimError(
                "method 'cats' needs --density and --calibration, a trace of other text: dipsim capture MODEL "
                "OTHER-TEXT --sites gate -o CALIBRATION"
            )
        return Cats.calibrated(Trace.open(self.calibration), density)
