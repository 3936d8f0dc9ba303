"""Which Hugging Face configs are refused before anything is built of them: too large, or unknown mixtures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dipsim.errors import DipsimError
from dipsim.model.mixture_types import MIXTURE_TYPES, is_mixture
from dipsim.model.model_types import WITH_TEXT_MODEL

MOST_LAYERS = 1024
# Keys that count what classes loop over.
_LOOPED = re.compile(r"(^|_)(layers?|blocks|depth)$")
# However it is spelled: num_experts, num_local_experts, n_routed_experts, moe_num_experts ...
_EXPERTS = re.compile(r"(^|_)(num|n)_(\w+_)?experts$")


def check_config(config: dict[str, Any], where: str) -> None:
    """Refuses what no class should be asked to build.

    Raises:
        DipsimError: no `model_type`, a `text_config` that is no table, too many layers, or a mixture of experts
            of a type that is not known.
    """
    text = config.get("text_config")
    if text is not None and not isinstance(text, dict):
        raise DipsimError(f"{where}: text_config: got {str(text)[:40]}; must be an object with the text model's sizes")
    if not isinstance(config.get("model_type"), str):
        raise DipsimError(
            f"{where}: model_type: got {str(config.get('model_type'))[:40]}; must name the architecture, as 'llama': "
            "only it says what omitted sizes mean"
        )
    for key, value in _numbers(config):
        if _LOOPED.search(key) and value > MOST_LAYERS:
            raise DipsimError(f"{where}: {key}: got {value}; must be at most {MOST_LAYERS}")
    check_experts(config, where)


def check_experts(config: dict[str, Any], where: str) -> None:
    """Refuses mixtures of experts of types that are not known; parts that see or hear may be some.

    Raises:
        DipsimError: it is one.
    """
    text = config.get("text_config")
    inner = WITH_TEXT_MODEL.get(str(config.get("model_type")), (None,))[0]
    if is_mixture({"model_type": inner} | text if isinstance(text, dict) else config):
        return
    own = {key: value for key, value in config.items() if not re.search("vision|audio", key)}
    types = ", ".join(MIXTURE_TYPES)
    for key, value in _numbers(own):
        if _EXPERTS.search(key) and value > 1:
            raise DipsimError(f"{where}: {key}: got {value}; mixtures of experts are modelled of these types: {types}")


def _numbers(config: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Every whole number with the key that it stands under, also those in lists and in tables inside."""
    for key, value in config.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _numbers(one)
            elif isinstance(one, int):
                yield key, one
