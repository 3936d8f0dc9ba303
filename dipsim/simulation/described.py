"""What does a description's device and method mean: the things themselves, with defaults that depend on each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dipsim.description import OPTIONS, Description, default_of
from dipsim.errors import DipsimError, choose
from dipsim.methods import Cats, Keeps, Method, methods
from dipsim.profile import HardwareProfile
from dipsim.simulation.configuration import method_of
from dipsim.trace import Trace

# What real models bear (benchmarks/models/README.md). Other methods keep some matrices dense, so that no one density
# suits them.
_DEFAULT_DENSITY = {"dip": 0.7, "dip-ca": 0.7}


def device_of(described: Description) -> HardwareProfile:
    """The profile with its other values.

    Raises:
        DipsimError: as `HardwareProfile.load` and `with_values`.
    """
    return HardwareProfile.load(described.profile).with_values(described.profile_values)


def masking_of(described: Description) -> Method:
    """The method.

    Raises:
        DipsimError: unknown method, an option it does not have or lacks, or a value out of range.
    """
    name, rank = choose("method", described.method, tuple(methods)), described.rank
    described = described.model_copy(update={"method": name})
    if name == "predictor" and rank is None:
        raise DipsimError(
            "method 'predictor' needs a predictor: dipsim train-predictor MODEL OTHER-TEXT -o FILE makes one; give "
            "evaluate and capture --predictor FILE, and simulate its --rank"
        )
    if rank is not None and "rank" not in _options_of(name):
        raise DipsimError(f"predictor: method '{name}' uses none, got one of rank {rank}; 'predictor' does")
    given = _given(described)
    if name == "cats":
        return _calibrated_cats(described, **given)
    if described.calibration is not None:
        raise DipsimError(f"calibration: method '{name}' has no thresholds to calibrate; 'cats' has")
    return method_of("options", name, given)


def fitting(described: Description) -> Description:
    """Without those options of a method that this one lacks: where methods are swept, one list of densities serves all.

    Raises:
        DipsimError: unknown method.
    """
    name = choose("method", described.method, tuple(methods))
    is_cats = name == "cats"
    known = [*_options_of(name), *(["density"] if is_cats else [])]
    unfit = {name: default_of(name) for name, own in OPTIONS.items() if own.sets and own.sets not in known}
    return described.model_copy(update=unfit if is_cats else unfit | {"calibration": None})


def _given(described: Description) -> dict[str, Any]:
    """Options of the method by their own names: by flags, of a file of `dipsim allocate`, or else in the table."""
    values = {name: getattr(described, name) for name in OPTIONS}
    flags = {own.sets: values[name] for name, own in OPTIONS.items() if own.sets and values[name] != default_of(name)}
    given: dict[str, Any] = {}
    for name, value in (*flags.items(), *described.method_options.items()):
        if name in given:
            raise DipsimError(f"method_options: {name}: given twice, by a flag and here")
        given[name] = value
    shares = [name for name in ("density", "keep_input", "keep_glu") if given.get(name) is not None]
    if described.keeps is None:
        return given if shares else given | {"density": _DEFAULT_DENSITY.get(described.method)}
    if shares:
        raise DipsimError(f"keeps: got '{described.keeps}' beside {shares[0]}; give one of the two")
    found = Keeps.load(Path(described.keeps))
    return given | {"keep_input": found.keep_input, "keep_glu": found.keep_glu}


def _calibrated_cats(described: Description, density: float | None, **others: Any) -> Method:
    if others:
        raise DipsimError(f"{next(iter(others))}: method 'cats' has no such option")
    if described.calibration is None or density is None:
        raise DipsimError(
            "method 'cats' needs --density and --calibration, a trace of other text: dipsim capture MODEL "
            "OTHER-TEXT --sites gate -o CALIBRATION"
        )
    return Cats.calibrated(Trace.open(described.calibration), density)


def _options_of(method: str) -> list[str]:
    return [field.name for field in dataclasses.fields(methods[method])]
