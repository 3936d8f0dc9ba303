"""What sizes does a model have by its own classes: built from its config on torch's meta device, without weights.

Every weight of such a model is accounted for: attention, a gated MLP in each layer, embedding and LM head, as a
ModelSpec counts them. What is left over, or has another shape, is named and refused. Norms and biases are left out.
"""

from __future__ import annotations

import copy
import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from dipsim.errors import DipsimError
from dipsim.model.mixture_config import sizes_of_mixture
from dipsim.model.mixture_types import is_mixture
from dipsim.model.model_types import SLIDING
from dipsim.model.refusals import check_config, check_experts
from dipsim.sparsify.gated_mlp import GatedMlp, find_gated_mlps

# What classes may make of a config: 1024 layers of 64 weights each.
_MOST_WEIGHTS = 2**16
# Learned positions are refused anyway; what is computed for each position is not worth it here.
_MOST_POSITIONS = 2**12
_MATRICES = nn.Linear | transformers.pytorch_utils.Conv1D
# Of a config, what has nothing to do with sizes, but makes classes look for other libraries.
_BESIDE = ("quantization_config", "attn_implementation", "_attn_implementation", "experts_implementation", "auto_map")


def sizes_by_class(config: dict[str, Any], where: str) -> dict[str, Any]:
    """What a ModelSpec holds, but for its name and its bits, of a `config.json`'s content.

    No code that comes with the config is run.

    Args:
        config: content of the file.
        where: opens messages.

    Raises:
        DipsimError: transformers has no such type, its class refuses the config, or as `sizes_of_config`.
    """
    check_config(config, where)
    if config["model_type"] not in transformers.CONFIG_MAPPING:
        raise DipsimError(
            f"{where}: model_type '{config['model_type']}': transformers {transformers.__version__} has no classes for "
            "it, and code that comes with a model is not run; write a ModelSpec"
        )
    with _one_line(where):
        own = {key: value for key, value in copy.deepcopy(config).items() if key not in _BESIDE}
        made = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(own)
    return sizes_of_config(made, where)


def sizes_of_config(config: transformers.PreTrainedConfig, where: str) -> dict[str, Any]:
    """The same of a config that has its class already.

    Raises:
        DipsimError: it is no decoder of attention and gated MLPs alone, or its layers differ in size.
    """
    with _one_line(where):
        text: Any = copy.deepcopy(config.get_text_config(decoder=True))
        if is_mixture(text.to_dict()):
            return sizes_of_mixture(text.to_dict() | {"tie_word_embeddings": config.tie_word_embeddings}, where)
        _check_kind(text, where)
        model = _built(text)
        mlps = _gated_mlps(model, text.num_hidden_layers)
        hidden_size, intermediate_size = one_shape(mlps, where)
        sizes = {
            "n_layers": len(mlps),
            "hidden_size": hidden_size,
            "intermediate_size": intermediate_size,
            "n_heads": text.num_attention_heads,
            "n_kv_heads": getattr(text, "num_key_value_heads", None) or text.num_attention_heads,
            "head_dim": getattr(text, "head_dim", None) or hidden_size // text.num_attention_heads,
            "vocab_size": text.vocab_size,
            "tied_embeddings": _is_tied(model) if text.model_type == config.model_type else config.tie_word_embeddings,
            "activation": getattr(text, "hidden_activation", None) or getattr(text, "hidden_act", None) or "silu",
            **_windows(text),
        }
        _check_weights(model, mlps, sizes, where)
    return sizes


def one_shape(mlps: Sequence[GatedMlp], where: str) -> tuple[int, int]:
    """Hidden and intermediate size of all MLPs.

    Raises:
        DipsimError: they differ.
    """
    shapes = dict.fromkeys((mlp.down.out_features, mlp.down.in_features) for mlp in mlps)
    if len(shapes) > 1:
        some = ", ".join(f"{d} x {f}" for d, f in list(shapes)[:3])
        raise DipsimError(f"{where}: MLPs of {len(shapes)} sizes, {some}; widths that differ by layer are not modelled")
    return next(iter(shapes))


def _check_kind(config: Any, where: str) -> None:
    """Refuses what its config names as another kind of model.

    Raises:
        DipsimError: it is one.
    """
    kind = f"{where}: model_type '{config.model_type}'"
    if config.is_encoder_decoder:
        raise DipsimError(f"{kind}: encoder-decoders are not modelled")
    for layer, one in enumerate(getattr(config, "layer_types", None) or []):
        if one not in ("full_attention", SLIDING):
            raise DipsimError(
                f"{kind}: layer {layer} is '{one}'; only full and sliding-window attention are modelled, no "
                "state-space, linear, convolutional or hybrid layers"
            )
    check_experts(config.to_dict(), where)
    if getattr(config, "num_attention_heads", None) is None:
        raise DipsimError(f"{kind}: has no attention; state-space and recurrent layers are not modelled")
    if getattr(config, "kv_lora_rank", None):
        raise DipsimError(
            f"{kind}: kv_lora_rank: got {config.kv_lora_rank}; multi-head latent attention (MLA) is not modelled"
        )
    if getattr(config, "cross_attention_layers", None):
        raise DipsimError(f"{kind}: layers of cross-attention are not modelled")
    for key in ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
        values = getattr(config, key, None)
        if isinstance(values, list) and len({*map(str, values)}) > 1:
            raise DipsimError(f"{kind}: {key}: got {str(values)[:40]}...; widths that differ by layer are not modelled")


def _built(config: Any) -> nn.Module:
    """The text model without weights."""
    n_weights = 0

    def count(*_: object) -> None:
        nonlocal n_weights
        n_weights += 1
        if n_weights > _MOST_WEIGHTS:
            raise DipsimError(f"its classes make more than {_MOST_WEIGHTS} weights of it")

    config.pad_token_id = 0  # may lie beyond a small vocabulary
    if getattr(config, "max_position_embeddings", 0):
        config.max_position_embeddings = min(config.max_position_embeddings, _MOST_POSITIONS)
    has_head = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    factory: Any = transformers.AutoModelForCausalLM if has_head else transformers.AutoModel
    handle = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            model: nn.Module = factory.from_config(config, attn_implementation="eager", dtype=torch.float32)
    finally:
        handle.remove()
    return model


def _gated_mlps(model: nn.Module, n_layers: int) -> list[GatedMlp]:
    try:
        return find_gated_mlps(model, n_layers)
    except DipsimError:
        for name, module in model.named_modules():
            shapes = [tuple(child.weight.shape) for child in module.children() if isinstance(child, _MATRICES)]
            wide = [(f, d) for f, d in shapes if (d, f) in shapes and f != d]
            if len(shapes) == len(wide) == 2:
                raise DipsimError(f"{name} ({type(module).__name__}): MLPs without a gate are not modelled") from None
            if len(wide) > 2:  # its MLPs have gates, and do something else beside
                break
        raise


def _is_tied(model: Any) -> bool:
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def _windows(config: Any) -> dict[str, Any]:
    known = inspect.signature(type(config)).parameters  # a class ignores what others would understand
    window, types = (getattr(config, key, None) if key in known else None for key in ("sliding_window", "layer_types"))
    # Types without a list of kinds give a window, if they have one, to every layer.
    layers = [i for i in range(config.num_hidden_layers) if types is None or types[i] == SLIDING]
    return {"sliding_window": window, "sliding_layers": layers} if window and layers else {}


def _check_weights(model: Any, mlps: Sequence[GatedMlp], sizes: dict[str, Any], where: str) -> None:
    """Refuses a model with other weights than attention, MLPs, embedding and LM head, as sizes say they are.

    Raises:
        DipsimError: which.
    """
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    for part, name in ((table, "embedding"), (head, "LM head")):
        shape = (sizes["vocab_size"], sizes["hidden_size"])
        if part is not None and tuple(part.weight.shape) != shape:
            raise DipsimError(f"{where}: {name} is {tuple(part.weight.shape)}, where {shape} is modelled")
    known = {id(part.weight) for part in (table, head) if part is not None}
    known |= {id(layer.weight) for mlp in mlps for layer in (mlp.gate, mlp.up, mlp.down)}
    names = {module: name for name, module in model.named_modules()}
    layer_of = {re.sub(r"(\.\d+)\..*", r"\1", names[mlp.module]): layer for layer, mlp in enumerate(mlps)}
    n_attention = [0] * len(mlps)
    for name, weight in _matrices(model):
        layer = layer_of.get(re.sub(r"(\.\d+)\..*", r"\1", name))
        if id(weight) in known:
            continue
        if layer is None:
            raise DipsimError(
                f"{where}: {name} {tuple(weight.shape)}: neither attention, gated MLP, embedding nor LM head"
            )
        n_attention[layer] += weight.numel()
    n_heads, n_kv_heads, head_dim = sizes["n_heads"], sizes["n_kv_heads"], sizes["head_dim"]
    expected = sizes["hidden_size"] * head_dim * (2 * n_heads + 2 * n_kv_heads)
    for layer, n_weights in enumerate(n_attention):
        if n_weights != expected:
            raise DipsimError(
                f"{where}: layer {layer} has {n_weights:,} weights of attention; modelled are query, key, value and "
                f"output matrices of {n_heads} heads, {n_kv_heads} KV heads of {head_dim}: {expected:,}"
            )


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Weights with their names, norms and biases left out."""
    for name, module in model.named_modules():
        if "norm" not in type(module).__name__.lower():
            for own, weight in module.named_parameters(recurse=False):
                if weight.ndim > 1:
                    yield f"{name}.{own}", weight


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """Whatever transformers makes of a stranger's config is one line; its own warnings stay away."""
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DipsimError as error:
        message = str(error)
        raise DipsimError(message if message.startswith(where) else f"{where}: {message}") from None
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        if "per-layer attribute" in said:
            raise DipsimError(f"{where}: sizes that differ by layer are not modelled: {said}") from None
        raise DipsimError(f"{where}: its classes cannot be built: {type(error).__name__}: {said}") from None
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
