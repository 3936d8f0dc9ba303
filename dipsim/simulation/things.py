"""By name or as they are: how device, trace and method are given to a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipsim.description import Description, default_of
from dipsim.errors import DipsimError
from dipsim.methods import Method
from dipsim.profile import HardwareProfile
from dipsim.simulation.described import masking_of
from dipsim.simulation.options import OF_METHOD
from dipsim.trace import Trace


def given_device(profile: object, values: dict[str, Any]) -> HardwareProfile:
    """The device, with other values in it.

    Raises:
        DipsimError: neither a profile nor the name of one, or a value that it does not allow.
    """
    found = HardwareProfile.load(profile) if isinstance(profile, str | Path) else profile
    if not isinstance(found, HardwareProfile):
        raise DipsimError(f"profile: got {profile!r}; must be a HardwareProfile, or the name of one")
    return found.with_values(values) if values else found


def given_trace(trace: object) -> Trace:
    """The trace.

    Raises:
        DipsimError: neither a trace nor its path or name, or one that cannot be read.
    """
    found = Trace.open(trace) if isinstance(trace, str | Path) else trace
    if not isinstance(found, Trace):
        raise DipsimError(f"trace: got {trace!r}; must be a Trace, or its path")
    return found


def given_method(masking: object, of_names: Mapping[str, Any]) -> Method:
    """The method: an instance as it is, or made of a name and the options beside it.

    Args:
        masking: an instance or a name; None where `method` in the options says it.
        of_names: options by name, `method` and its own among them.

    Raises:
        DipsimError: given twice, neither a method nor a name, an instance with options beside it, or as `masking_of`.
    """
    given = {name: of_names[name] for name in OF_METHOD if of_names[name] != default_of(name)}
    method = given.pop("method", None)
    if masking is not None and method is not None:
        raise DipsimError(f"method: got {method!r} beside masking {masking!r}; they are one argument, give one")
    asked = masking if method is None else method
    if asked is None or isinstance(asked, str):
        described = given if asked is None else {"method": asked} | given
        return masking_of(Description.parse(described, "Simulation"))
    if not isinstance(asked, Method):
        raise DipsimError(f"method: got {asked!r}; must be a name, or a method such as Dip(density=0.5)")
    if given:
        name, value = next(iter(given.items()))
        raise DipsimError(
            f"{name}: got {value!r} beside {asked!r}, which holds its own options; give them there or a name"
        )
    return asked
