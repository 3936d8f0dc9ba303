"""What does a result's `config` say: the options of a run as they were used, and back.

It holds what the record of a run has, with the device and the model in full, and the method's options beside the
others: those that have a flag, and those that had their place there before there was a table for any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import pydantic

from dipsim import methods
from dipsim.description import OPTIONS, kind_of, of_simulation
from dipsim.devices.registry import devices
from dipsim.errors import DipsimError
from dipsim.layouts import layouts
from dipsim.loads import loads
from dipsim.methods import Method
from dipsim.model import ModelSpec
from dipsim.planning.setup import Setup
from dipsim.policies import policies
from dipsim.prefetchers import prefetchers
from dipsim.profile import HardwareProfile
from dipsim.schema import Record, ShortText
from dipsim.trace import Trace

Made = TypeVar("Made")
# Options of the method that stand beside the run's.
_OF_METHOD = {option.sets for option in OPTIONS.values() if option.sets} | {"keep", "thresholds"}
# Device, method and model are in full, not as they were given.
_PLAIN = [name for name, own in OPTIONS.items() if own.makes not in ("profile", "masking") and name != "model"]
# What configurations have had from the first on; others, which came later, have their defaults where they lack.
_ALWAYS = (
    *("policy", "policy_options", "layout", "layout_options", "prefetch", "prefetch_options", "trace", "method"),
    *("admission", "dram", "budget", "overlap", "stream_pinned", "context", "tokens", "warmup", "unit"),
    *("prefetch_bytes", "adapter_bytes", "profile", "model"),
)


class _Method(Record):
    """What is to be simulated, and by which method. Ranges and names are checked by whoever uses them."""

    trace: ShortText = ""
    method: ShortText
    method_options: dict[str, Any] = pydantic.Field(default_factory=dict)


_RUN: type[_Method] = pydantic.create_model("_RUN", __base__=_Method, **{name: kind_of(name) for name in _PLAIN})


def method_part(masking: Method) -> dict[str, Any]:
    """The method's name and options, as a configuration has them."""
    options = methods.options(masking)
    flat = {name: options[name] for name in options if name in _OF_METHOD}
    others = {name: options[name] for name in options if name not in ("name", *flat)}
    return {"method": options["name"], **flat, "method_options": others}


def plugged_part(setup: Setup, policy: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Names and options of what plugs in, as a configuration has them.

    Args:
        setup: the run.
        policy: its policy's name and options.
    """
    layout = layouts.name_and_options(setup.layout)
    found: dict[str, Any] = {}
    for kind, (name, options) in (
        ("policy", policy),
        ("layout", layout),
        ("prefetch", prefetchers.name_and_options(setup.prefetcher)),
    ):
        found |= {kind: name, f"{kind}_options": options}
    named = dict(map(loads.name_and_options, setup.loads))
    names = {devices.loaded(name): name for name in devices}
    return found | {
        "loads": [*named],
        "load_options": {name: options for name, options in named.items() if options},
        "devices": {role: names.get(kind, kind.__name__) for role, kind in setup.devices.items()},
    }


def arguments_of(config: dict[str, Any], trace: Trace | None = None) -> dict[str, Any]:
    """Arguments of `Simulation` by name.

    Args:
        config: the configuration.
        trace: what to replay; None for the trace that the config names, which must still lie there.

    Raises:
        DipsimError: something is missing, or is not what it was.
    """
    for key in _ALWAYS:
        if key not in config and not (key == "trace" and trace):
            raise DipsimError(f"config: {key}: missing; take the whole 'config' of a result")
    run = _RUN.parse({key: value for key, value in config.items() if key in _RUN.model_fields}, "config")
    beside = {key: value for key, value in config.items() if key not in (*_RUN.model_fields, "profile", "model")}
    if twice := sorted(beside.keys() & run.method_options):
        raise DipsimError(f"config: {twice[0]}: given twice, in 'method_options' and beside it")
    whole = {key: config[key] for key in _PLAIN if isinstance(config.get(key), int)}  # they stay so
    return {
        "profile": HardwareProfile.parse(config["profile"], "config: profile"),
        "trace": trace or Trace.open(run.trace),
        "masking": _method_of_config(run.method, beside | run.method_options),
        **arguments("config", dict(run) | whole),
        "model": ModelSpec.parse(config["model"], "config: model"),
    }


def _method_of_config(name: str, options: Mapping[str, Any]) -> Method:
    try:
        return method_of("config", name, options)
    except DipsimError as error:
        told = str(error)
        raise DipsimError(told if told.startswith("config: ") else f"config: {told}") from None


def method_of(where: str, name: str, options: Mapping[str, Any]) -> Method:
    """The method of this name.

    Args:
        where: opens some messages.
        name: the method's.
        options: its own, by name.

    Raises:
        DipsimError: an unknown method, an option it does not have or lacks, or a value that it does not take.
    """
    if "name" in options:
        raise DipsimError(f"name: method '{name}' has no such option")
    return made(where, name, lambda: methods.make(name, **options))


def arguments(where: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Simulation` beside device, trace and method, by name: those that plug in made from their names and
    options.

    Args:
        where: opens some messages.
        plain: options of a run, under the names of its record.

    Raises:
        DipsimError: an unknown name, or options of something that is not used, does not have them or lacks them.
    """
    found = {name: plain[name] for name in of_simulation() if name in plain}
    for kind, registry in (("policy", policies), ("layout", layouts), ("prefetch", prefetchers)):
        name, options = plain[kind], plain[f"{kind}_options"]
        found[kind] = made(where, name, partial(registry.make, name, options))
    names, of_loads = plain["loads"], plain["load_options"]
    if unused := [name for name in of_loads if name not in names]:
        raise DipsimError(f"load_options: got some for '{unused[0]}', which is no load of this run; name it by load")
    found["loads"] = [made(where, name, partial(loads.make, name, of_loads.get(name, {}))) for name in names]
    return found


def made(where: str, name: str, make: Callable[[], Made]) -> Made:
    """What `make` makes of the options of the thing of this name.

    Raises:
        DipsimError: a value of another kind than it takes.
    """
    try:
        return make()
    except TypeError as error:  # of a class that compares and counts what it is given
        raise DipsimError(f"{where}: {name}: an option of another kind than it takes: {error}") from None
