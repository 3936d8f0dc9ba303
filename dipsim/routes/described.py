"""Whose routes are they: the model that was given or that a preset tells, as far as the file agrees with it."""

from __future__ import annotations

from collections.abc import Sequence

from dipsim.errors import DipsimError
from dipsim.model import Mixture, ModelSpec
from dipsim.routes.checking import Routes

# What llama.cpp calls an architecture -> how names of presets of it begin.
_PRESETS = {
    "qwen2moe": "qwen1.5-",
    "qwen3moe": "qwen3-",
    "gemma4": "gemma-4-",
    "gpt-oss": "gpt-oss-",
    "olmoe": "olmoe-",
    "deepseek2": "deepseek-",
    "llama": "mixtral-",
    "llama4": "llama-4-",
    "phimoe": "phi-3.5-",
    "granitemoe": "granite-",
}
# Of a stored weight, scales included.
_BITS = (1.0, 33.0)


def preset_of(arch: str, n_layers: int, n_experts: int, where: str) -> ModelSpec:
    """The one preset of such an architecture and size.

    Raises:
        DipsimError: there is none, or more than one.
    """
    start = _PRESETS.get(arch)
    found = [
        model
        for name, model in ModelSpec.presets().items()
        if start is not None and name.startswith(start) and _sizes(model) == (n_layers, n_experts)
    ]
    if len(found) != 1:
        what = "no preset is" if not found else f"{' and '.join(own.name for own in found)} are"
        raise DipsimError(
            f"{where}: {what} of architecture '{arch}' with {n_layers} layers and {n_experts} experts; "
            "give --model: a preset, a config.json, a .gguf or a ModelSpec as JSON"
        )
    return found[0]


def mixture_of(model: ModelSpec) -> Mixture:
    """Its experts.

    Raises:
        DipsimError: it has none.
    """
    if model.mixture is None:
        raise DipsimError(f"model: '{model.name}' has no experts to route to; give the mixture that was recorded")
    return model.mixture


def check_sizes(model: ModelSpec, n_layers: int, n_experts: int, where: str) -> None:
    """Refuses a model that the file is not of.

    Raises:
        DipsimError: other layers or experts.
    """
    own = mixture_of(model)
    for name, known, told in (("layers", model.n_layers, n_layers), ("experts", own.n_experts, n_experts)):
        if known != told:
            raise DipsimError(f"model: '{model.name}' has {known} {name}; {where} says {told}")


def with_expert_bytes(model: ModelSpec, expert_bytes: Sequence[float], where: str) -> ModelSpec:
    """The model, its experts as large as the file says.

    Args:
        model: the model.
        expert_bytes: of one whole expert in each layer, 0 where it has none.
        where: the file.

    Raises:
        DipsimError: they cannot be those of the model's experts.
    """
    own = mixture_of(model)
    weights = 3 * model.hidden_size * own.expert_size
    for layer, n_bytes in enumerate(expert_bytes):
        has_experts = layer not in own.dense_layers
        if has_experts != (n_bytes > 0):
            kind = "experts" if has_experts else "no experts"
            raise DipsimError(f"model: '{model.name}' has {kind} in layer {layer}; {where} says {n_bytes:g} bytes")
        bits = 8 * n_bytes / weights
        if has_experts and not _BITS[0] <= bits <= _BITS[1]:
            raise DipsimError(
                f"model: an expert of '{model.name}' has {weights:,} weights; {where} says {n_bytes:,g} bytes in layer "
                f"{layer}, {bits:.3g} bits each; from {_BITS[0]:g} to {_BITS[1]:g}"
            )
        if own.expert_bytes is not None and own.expert_bytes[layer] != n_bytes:
            raise DipsimError(
                f"model: an expert of '{model.name}' has {own.expert_bytes[layer]:,g} bytes in layer {layer}; "
                f"{where} says {n_bytes:,g}"
            )
    sized = own.model_copy(update={"expert_bytes": [float(n_bytes) for n_bytes in expert_bytes]})
    return model.model_copy(update={"mixture": sized})


def as_routed(model: ModelSpec, routes: Routes) -> ModelSpec:
    """The model as it was run: with as many experts for each token as the routes have."""
    routed = mixture_of(model).model_copy(update={"experts_per_token": routes.per_token})
    return model.model_copy(update={"mixture": routed})


def _sizes(model: ModelSpec) -> tuple[int, int]:
    return model.n_layers, model.mixture.n_experts if model.mixture else 0
