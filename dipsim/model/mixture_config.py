"""What sizes does the config of a mixture of experts mean."""

from __future__ import annotations

from typing import Any

from dipsim.errors import DipsimError
from dipsim.model.mixture_types import EXPERTS, FIRST_DENSE, LATENT, LLAMA4_DENSE_SIZE, MIXTURE_TYPES, MixtureType
from dipsim.model.model_types import SLIDING

_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")
# What of a config would change sizes in ways that are not modelled.
_SWITCHES = ("use_sliding_window", "hidden_size_per_layer_input", "num_kv_shared_layers")
# Of Gemma 4 these are there unless a config says no.
_PER_LAYER_INPUT = {"gemma4_text": {"hidden_size_per_layer_input": 256}}


def sizes_of_mixture(config: dict[str, Any], where: str) -> dict[str, Any]:
    """What a ModelSpec holds, but for its name and its bits, of a type in `MIXTURE_TYPES`.

    Raises:
        DipsimError: a size is missing or no count, or something that is not modelled.
    """
    known = MIXTURE_TYPES[config["model_type"]]
    config = _PER_LAYER_INPUT.get(config["model_type"], {}) | config
    for key in _SWITCHES:
        if config.get(key):
            raise DipsimError(f"{where}: {key}: got {str(config[key])[:40]}; not modelled of '{config['model_type']}'")
    n_layers, hidden_size, n_heads, vocab_size = (
        _count(key, config.get(key, getattr(known.sizes, key)), where) for key in _SIZES
    )
    n_kv_heads = config.get("num_key_value_heads", known.sizes.num_key_value_heads) or n_heads
    head_dim = config.get("head_dim", known.sizes.head_dim)
    if head_dim is None and hidden_size % n_heads:
        raise DipsimError(
            f"{where}: head_dim: is missing, and hidden_size {hidden_size} is no multiple of {n_heads} heads"
        )
    sizes = {
        "n_layers": n_layers,
        "hidden_size": hidden_size,
        "intermediate_size": _dense_size(config, known, where),
        "n_heads": n_heads,
        "n_kv_heads": _count("num_key_value_heads", n_kv_heads, where),
        "head_dim": _count("head_dim", head_dim or hidden_size // n_heads, where),
        "vocab_size": vocab_size,
        "tied_embeddings": config.get("tie_word_embeddings", known.sizes.tie_word_embeddings),
        "activation": config.get(known.sizes.activation_key) or known.sizes.activation,
        **_windows(config, known, n_layers, where),
        "mixture": _experts(config, known, n_layers, where),
    }
    attention = {"latent": _latent, "by layer": _by_layer}.get(known.attention)
    return sizes if attention is None else sizes | attention(config, sizes, where)


def _dense_size(config: dict[str, Any], known: MixtureType, where: str) -> int:
    own = known.sizes.intermediate_size if known.dense_size_key == "intermediate_size" else LLAMA4_DENSE_SIZE
    return _count(known.dense_size_key, config.get(known.dense_size_key, own), where)


def _experts(config: dict[str, Any], known: MixtureType, n_layers: int, where: str) -> dict[str, Any]:
    key = next((key for key in EXPERTS if config.get(key) is not None), EXPERTS[0])
    n_experts = _count(key, config.get(key, known.n_experts), where)
    per_token = _count(known.per_token_key, config.get(known.per_token_key, known.per_token), where)
    expert_size = _count(known.expert_size_key, config.get(known.expert_size_key, known.expert_size), where)
    shared = config.get(known.shared_key, known.shared) if known.shared_key else 0
    if shared:
        _count(str(known.shared_key), shared, where)
    own: dict[str, Any] = {
        "n_experts": n_experts,
        "experts_per_token": per_token,
        "expert_size": expert_size,
        "shared_expert_size": (shared or 0) * (expert_size if known.shared_key == "n_shared_experts" else 1),
        "dense_layers": _dense_layers(config, n_layers, where),
    }
    if per_token > n_experts:
        raise DipsimError(f"{where}: {known.per_token_key}: got {per_token}; there are {n_experts} experts")
    if len(own["dense_layers"]) == n_layers:
        raise DipsimError(f"{where}: got experts that no layer of {n_layers} has; give the config of a model of MLPs")
    return own


def _dense_layers(config: dict[str, Any], n_layers: int, where: str) -> list[int]:
    """Layers with a plain MLP."""
    kind, layers = config["model_type"], range(n_layers)
    if kind in FIRST_DENSE:
        n_first = config.get("first_k_dense_replace", FIRST_DENSE[kind])
        return list(range(min(n_layers, _count("first_k_dense_replace", n_first, where) if n_first else 0)))
    if kind in ("qwen2_moe", "qwen3_moe"):
        step = _count("decoder_sparse_step", config.get("decoder_sparse_step", 1), where)
        plain = _layers("mlp_only_layers", config.get("mlp_only_layers"), where)
        return [layer for layer in layers if layer in plain or (layer + 1) % step]
    if kind == "llama4_text":
        step = _count("interleave_moe_layer_step", config.get("interleave_moe_layer_step", 1), where)
        mixed = config.get("moe_layers")
        chosen = range(step - 1, n_layers, step) if mixed is None else _layers("moe_layers", mixed, where)
        return [layer for layer in layers if layer not in chosen]
    return []


def _windows(config: dict[str, Any], known: MixtureType, n_layers: int, where: str) -> dict[str, Any]:
    """The window, and which layers have it; of Llama 4 a chunk, of which a layer keeps no more than the window."""
    kind, period = config["model_type"], known.sizes.period
    key, name = ("attention_chunk_size", "chunked_attention") if kind == "llama4_text" else ("sliding_window", SLIDING)
    window, types = config.get(key, known.sizes.sliding_window), config.get("layer_types")
    if window is None or period is None:
        return {}
    if types is not None and (
        not isinstance(types, list) or len(types) != n_layers or not {*map(str, types)} <= {name, "full_attention"}
    ):
        raise DipsimError(f"{where}: layer_types: got {str(types)[:40]}; must be '{name}' or 'full_attention' each")
    rope = config.get("no_rope_layers") or None
    if kind == "llama4_text" and types is None and rope is not None:
        types = [name if one else "full_attention" for one in _layers("no_rope_layers", rope, where)]
    if kind == "llama4_text":
        period = _count("no_rope_layer_interval", config.get("no_rope_layer_interval", period), where)
    own = types if period and types else None
    layers = [i for i in range(n_layers) if (own[i] == name if own else period == 0 or (i + 1) % period)]
    if kind == "gemma4_text":  # its last layer sees every position, whatever its config says
        layers = [layer for layer in layers if layer < n_layers - 1]
    return {"sliding_window": window, "sliding_layers": layers} if layers else {}


def _latent(config: dict[str, Any], sizes: dict[str, Any], where: str) -> dict[str, Any]:
    """DeepSeek's attention (arXiv 2405.04434): of each position it keeps one compressed vector for the keys and values
    of all heads, and one key with the position in it."""
    told = {key: config.get(key, own) for key, own in LATENT.items()}
    q_rank = told.pop("q_lora_rank")
    kv_rank, nope, rope, v = (_count(key, value, where) for key, value in told.items())
    d, n_heads = sizes["hidden_size"], sizes["n_heads"]
    query = n_heads * (nope + rope)
    weights = d * query if q_rank is None else _count("q_lora_rank", q_rank, where) * (d + query)
    weights += d * (kv_rank + rope) + kv_rank * n_heads * (nope + v) + n_heads * v * d
    shape = {"weights": weights, "kv_width": kv_rank + rope}
    return {"n_kv_heads": n_heads, "head_dim": nope + rope, "attention": [shape] * sizes["n_layers"]}


def _by_layer(config: dict[str, Any], sizes: dict[str, Any], where: str) -> dict[str, Any]:
    """Gemma 4's attention: layers that see every position have heads of another size, and fewer of keys, which may
    serve as values too."""
    d, n_heads, n_kv_heads, head_dim = (sizes[key] for key in ("hidden_size", "n_heads", "n_kv_heads", "head_dim"))
    one = bool(config.get("attention_k_eq_v"))
    wide_dim = _count("global_head_dim", config.get("global_head_dim", 512), where)
    n_wide = config.get("num_global_key_value_heads") if one else None
    n_wide = n_kv_heads if n_wide is None else _count("num_global_key_value_heads", n_wide, where)
    if told := config.get("per_layer_config"):  # as transformers writes it
        alike = list(told.values()) if isinstance(told, dict) else [None]
        if not isinstance(alike[0], dict) or any(one != alike[0] for one in alike):
            raise DipsimError(f"{where}: per_layer_config: got {str(told)[:40]}; must be the same of all wide layers")
        wide_dim = _count("per_layer_config: head_dim", alike[0].get("head_dim", wide_dim), where)
        n_wide = _count("per_layer_config: num_key_value_heads", alike[0].get("num_key_value_heads", n_wide), where)
    sliding = {"weights": d * head_dim * (2 * n_heads + 2 * n_kv_heads), "kv_width": 2 * n_kv_heads * head_dim}
    wide = {"weights": d * wide_dim * (2 * n_heads + (2 - one) * n_wide), "kv_width": 2 * n_wide * wide_dim}
    layers = sizes.get("sliding_layers", [])
    return {"attention": [sliding if layer in layers else wide for layer in range(sizes["n_layers"])]}


def _count(key: str, value: Any, where: str) -> int:
    if type(value) is not int or value < 1:
        raise DipsimError(f"{where}: {key}: got {repr(value)[:40]}; must be a count")
    return value


def _layers(key: str, value: Any, where: str) -> list[int]:
    if value is None:
        return []
    if not isinstance(value, list) or any(type(one) is not int for one in value):
        raise DipsimError(f"{where}: {key}: got {repr(value)[:40]}; must be a list of whole numbers")
    return value
