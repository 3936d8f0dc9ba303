"""Which runs of a sweep's results can be chosen, and what do they set?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dipsim.description import OPTIONS, default_of
from dipsim.documents import parse_json
from dipsim.errors import DipsimError
from dipsim.estimation import OWN_OPTIONS
from dipsim.explore.chosen import Chosen
from dipsim.layouts import layouts
from dipsim.methods import methods
from dipsim.model import ModelSpec
from dipsim.plots.quantities import as_text
from dipsim.plots.runs import succeeded, varying
from dipsim.policies import policies
from dipsim.prefetchers import prefetchers
from dipsim.profile import HardwareProfile
from dipsim.registry import options_of
from dipsim.results.naming import flat
from dipsim.sweeps import read_results
from dipsim.units import three_digits

_MOST = 500  # in a menu
_SAID = ("density", "gamma")  # whatever they are: they have sliders
# An estimate has its own.
_OF_TRACE = ("context", "model", *OWN_OPTIONS)


@dataclass(frozen=True)
class Recorded:
    """A run of the results.

    Attributes:
        label: what tells it from the others.
        chosen: its set-up.
        told: what the results say of it.
    """

    label: str
    chosen: Chosen
    told: str


def read_recorded(results: Path) -> list[Recorded]:
    """The runs of a folder of results, those of them that can be asked again.

    Raises:
        DipsimError: the results cannot be read, or have no such run.
    """
    rows = succeeded(read_results(results))
    columns = varying(rows) or ["method"]
    found, refused = [], ""
    for row in rows.head(_MOST).to_dict(orient="records"):
        label = ", ".join(as_text(name, row[name]) for name in columns if name in row and not _is_missing(row[name]))
        try:
            config = parse_json(row["config"], "config")
            chosen = Chosen.of(_model_of(config), _options_of(config, str(row.get("profile"))))
        except DipsimError as error:
            refused = refused or str(error)
            continue
        found.append(Recorded(label, chosen, _told(row, results)))
    if not found:
        raise DipsimError(f"results: got '{results}'; none of its runs can be asked again: {refused}")
    return found


def _options_of(config: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """The options of a run, without those that are as by default or of its trace."""
    defaults = options_of(methods[config["method"]])
    options: dict[str, Any] = {"profile": profile, "profile_values": _changed(config["profile"], profile)}
    for name, option in OPTIONS.items():
        key = option.sets or name
        is_default = config.get(key) == defaults.get(key) and name not in _SAID
        if name in (*_OF_TRACE, *options) or key not in config or is_default:
            continue
        options[name] = config[key] or default_of(name)
    for kind, registry in (("policy", policies), ("layout", layouts), ("prefetch", prefetchers)):
        its_own = options_of(registry[config[kind]])
        told = config[f"{kind}_options"].items()
        options[f"{kind}_options"] = {key: value for key, value in told if value != its_own.get(key)}
    return options


def _changed(device: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Numbers of a device that are not as the profile of that name has them."""
    known, own = _numbers_of(name), flat(dict(device))
    return {key: value for key, value in own.items() if value != known.get(key) and key not in ("name", "description")}


@lru_cache
def _numbers_of(profile: str) -> dict[str, Any]:
    return flat(HardwareProfile.load(profile).model_dump(mode="json", by_alias=True))


def _model_of(config: Mapping[str, Any]) -> str:
    """The name of its model, if that is known by it."""
    spec = ModelSpec.parse(config["model"], "config: model")
    known = ModelSpec.presets().get(spec.name)
    if known != spec:
        raise DipsimError(f"model: '{spec.name}' of a run is no model of 'dipsim list models'")
    return spec.name


def _told(row: Mapping[Any, Any], results: Path) -> str:
    return (
        f"In {results.name}: {three_digits(row['tok_per_s'])} tok/s, hit rate {row['hit_rate']:.3f}, replaying "
        f"{row.get('trace', 'its trace')}. Below are estimates from synthetic scores."
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
