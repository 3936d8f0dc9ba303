"""What sizes does a Hugging Face `config.json` mean.

Of the types in `MODEL_TYPES` a table says what omitted keys mean, so that nothing heavy is loaded. Of any other, and
where a config does what the table does not know of, the model's own classes say it, if transformers is installed: built
without weights, and without running code that comes with the config. Else it is refused: no rule holds for all.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from dipsim.errors import DipsimError
from dipsim.installation import how_to_add
from dipsim.model.mixture_config import sizes_of_mixture
from dipsim.model.mixture_types import is_mixture
from dipsim.model.model_types import MODEL_TYPES, SLIDING, WITH_TEXT_MODEL, ModelType
from dipsim.model.refusals import check_config

_SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
_NOT_NULL = (*_SIZES, "num_key_value_heads", "head_dim", "tie_word_embeddings")
_SWITCHES = ("use_sliding_window", "use_bidirectional_attention", "is_encoder_decoder")


def sizes_of(config: dict[str, Any], where: str) -> dict[str, Any]:
    """What a ModelSpec holds, but for its name and its bits.

    Args:
        config: content of the file.
        where: opens messages.

    Raises:
        DipsimError: a size is missing or no count, the type is unknown, or its layers are not attention and gated
            MLPs, or experts.
    """
    check_config(config, where)
    if (sizes := _by_table(config, where)) is not None:
        return sizes
    if any(importlib.util.find_spec(library) is None for library in ("torch", "transformers")):
        raise DipsimError(
            f"{where}: model_type '{config['model_type']}': what its config means only its own classes know; "
            f"{how_to_add('capture')}, or write a ModelSpec"
        )
    from dipsim.sparsify.architectures import sizes_by_class

    return sizes_by_class(config, where)


def _by_table(config: dict[str, Any], where: str) -> dict[str, Any] | None:
    """None where the table does not know."""
    if config.get("text_config") is not None or config["model_type"] in WITH_TEXT_MODEL:
        if config["model_type"] not in WITH_TEXT_MODEL:
            return None
        text_type, tied = WITH_TEXT_MODEL[config["model_type"]]
        # Whether they tie is said beside the text model, not in it.
        config = {
            **{"model_type": text_type},
            **(config.get("text_config") or {}),
            **{"tie_word_embeddings": config.get("tie_word_embeddings", tied)},
        }
    if is_mixture(config):
        return sizes_of_mixture(config, where)
    known = MODEL_TYPES.get(str(config["model_type"]))
    if known is None or _is_odd(config, known):
        return None
    given = {key: config.get(key, getattr(known, key)) for key in _SIZES}
    n_layers, hidden_size, intermediate_size, n_heads, vocab_size = given.values()
    given["num_key_value_heads"] = config.get("num_key_value_heads", known.num_key_value_heads or n_heads)
    for key, value in given.items():
        _check_count(key, value, where)
    head_dim = config.get("head_dim", known.head_dim)
    if head_dim is None:
        if hidden_size % n_heads:
            raise DipsimError(
                f"{where}: head_dim: is missing, and hidden_size {hidden_size} is no multiple of {n_heads} heads"
            )
        head_dim = hidden_size // n_heads
    _check_count("head_dim", head_dim, where)
    window, layers = _sliding(config, known, n_layers)
    return {
        "n_layers": n_layers,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "n_heads": n_heads,
        "n_kv_heads": given["num_key_value_heads"],
        "head_dim": head_dim,
        "vocab_size": vocab_size,
        "tied_embeddings": config.get("tie_word_embeddings", known.tie_word_embeddings),
        "activation": config.get(known.activation_key) or known.activation,
        "sliding_window": window,
        "sliding_layers": layers,
    }


def _is_odd(config: dict[str, Any], known: ModelType) -> bool:
    """Whether it says something of which the type's class makes what the table does not tell."""
    has_null = any(config.get(key, 0) is None for key in _NOT_NULL)
    is_switched = any(config.get(key) for key in _SWITCHES)
    other_period = bool(known.period) and config.get("sliding_window_pattern", known.period) != known.period
    n_layers, types = config.get("num_hidden_layers", known.num_hidden_layers), config.get("layer_types")
    other_layers = types is not None and not (
        isinstance(types, list) and len(types) == n_layers and {*map(str, types)} <= {"full_attention", SLIDING}
    )
    return has_null or is_switched or other_period or other_layers


def _sliding(config: dict[str, Any], known: ModelType, n_layers: int) -> tuple[Any, list[int]]:
    """The window, and which layers have it."""
    window, period = config.get("sliding_window", known.sliding_window), known.period
    if window is None or period is None:
        return None, []
    types = config.get("layer_types") if period else None
    layers = [i for i in range(n_layers) if (types[i] == SLIDING if types else period == 0 or (i + 1) % period)]
    return (window, layers) if layers else (None, [])


def _check_count(key: str, value: object, where: str) -> None:
    if type(value) is not int or value < 1:
        raise DipsimError(f"{where}: {key}: got {repr(value)[:40]}; must be a count, as must {', '.join(_SIZES)}")
