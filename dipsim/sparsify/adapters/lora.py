"""Which layers get an adapter, and how it enters a model and leaves it again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import peft
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from dipsim.errors import DipsimError
from dipsim.methods import Method, groups_of
from dipsim.sparsify.adapters.folder import read_adapter
from dipsim.sparsify.fingerprint import fingerprint, is_same
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.loading import LoadedModel

BYTES_PER_WEIGHT = 2  # an adapter is kept and used in 16 bits


@contextmanager
def adapted(loaded: LoadedModel, folder: str | Path, merge: bool = False) -> Iterator[LoadedModel]:
    """While the body runs, the model has an adapter that `train` saved. Weights are as before when it ends or raises.

    Args:
        loaded: the model it was trained for.
        folder: where it lies.
        merge: add it to the weights, instead of computing it beside them.

    Yields:
        The model under a name that tells, with the bytes of the adapter unless it is merged.

    Raises:
        DipsimError: the folder holds no adapter, or one for another model.
    """
    config, weights, model, of_model = read_adapter(Path(folder))
    if not is_same(fingerprint(loaded), of_model):
        raise DipsimError(f"adapter '{folder}': is for another model, '{model}'; got '{loaded.name}'")
    _check_fits(loaded.model, config, weights)
    name = f"{loaded.name} + {Path(folder).resolve().name}"
    with injected(loaded.model, config) as layers:
        fill(loaded.model, weights)
        if merge:
            with merged(loaded.model, layers):
                yield replace(loaded, name=name)
        else:
            n_weights = sum(weight.numel() for weight in trainable(loaded.model).values())
            yield replace(loaded, name=name, adapter_bytes=BYTES_PER_WEIGHT * n_weights)


def masked_layers(loaded: LoadedModel, masking: Method) -> list[str]:
    """Names of the linear layers in a method's masked groups; a layer that is gate and up in one counts as either.

    Raises:
        DipsimError: the method masks none.
    """
    groups = [group for group in groups_of(masking, loaded.spec) if group.site is not None]
    if not groups:
        raise DipsimError(f"method '{masking.name}': masks no activations, so that there is nothing to adapt to")
    matrices = {matrix for group in groups for matrix in group.name.split("_")}
    names = {module: name for name, module in loaded.model.named_modules()}
    mlps = find_gated_mlps(loaded.model, loaded.spec.n_layers)
    layers = [getattr(mlp, matrix) for mlp in mlps for matrix in ("gate", "up", "down") if matrix in matrices]
    return list(dict.fromkeys(names[layer] for layer in layers))


def _check_fits(model: nn.Module, config: peft.LoraConfig, weights: dict[str, Tensor]) -> None:
    """Refuses weights of other shapes than a configuration describes, before the model gets any.

    Raises:
        DipsimError: it names what is no linear layer of the model, or a weight is missing, unknown or of another shape.
    """
    modules, expected = dict(model.named_modules()), {}
    for name in sorted(config.target_modules or ()):
        if not isinstance(layer := modules.get(name), nn.Linear):
            raise DipsimError(f"adapter: target_modules: got {name[:60]!r}; the model has no such linear layer")
        expected[in_file(f"{name}.lora_A.weight")] = (config.r, layer.in_features)
        expected[in_file(f"{name}.lora_B.weight")] = (layer.out_features, config.r)
    _check_same({name: tuple(weight.shape) for name, weight in weights.items()}, expected)


def _check_same(got: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    if got != expected:
        raise DipsimError("adapter: its weights are not those that its adapter_config.json describes for this model")


@contextmanager
def injected(model: nn.Module, config: peft.LoraConfig) -> Iterator[dict[str, LoraLinear]]:
    """While the body runs, the layers that the configuration names are wrapped, and only adapters can be trained.

    Yields:
        The wrapped layers by name.
    """
    trains = {parameter: parameter.requires_grad for parameter in model.parameters()}
    modes = {module: module.training for module in model.modules()}
    try:
        peft.inject_adapter_in_model(copy.deepcopy(config), model)  # it writes short names into a long list
        yield {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    finally:
        for name, module in list(model.named_modules()):
            if isinstance(module, LoraLinear):
                _put(model, name, module.get_base_layer())
        if hasattr(model, "peft_config"):
            del model.peft_config
        for parameter, requires_grad in trains.items():
            parameter.requires_grad = requires_grad
        for module, training in modes.items():
            module.training = training


@contextmanager
def merged(model: nn.Module, layers: dict[str, LoraLinear]) -> Iterator[None]:
    """While the body runs, the adapters are part of the weights, and the model has its own layers again."""
    kept = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    try:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.add_(layer.get_delta_weight("default").to(layer.weight))
                _put(model, name, layer.get_base_layer())
        yield
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.copy_(kept[name])


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


@contextmanager
def switched_off(layers: Sequence[LoraLinear]) -> Iterator[None]:
    """While the body runs, the wrapped layers compute what they did without an adapter."""
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The adapters' weights by name."""
    return {name: weight for name, weight in model.named_parameters() if ".lora_" in name}


def fill(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Gives the adapters in a model their weights, named as PEFT's files name them.

    Raises:
        DipsimError: a weight is missing, unknown or of another shape.
    """
    own = {in_file(name): weight for name, weight in trainable(model).items()}
    _check_same(*({name: tuple(weight.shape) for name, weight in some.items()} for some in (weights, own)))
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])


def in_file(name: str) -> str:
    """What PEFT's files call a parameter."""
    return "base_model.model." + name.replace(".default.", ".")
