"""Which mixture of experts is in a GGUF file: its tensors say what each layer has, and how many bytes an expert takes.

llama.cpp stores the experts of a layer as one tensor for each matrix (`ffn_up_exps` ...), some as gate and up in one.
Names: gguf-py/gguf/constants.py of https://github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dipsim.errors import DipsimError
from dipsim.model.gguf_files.file import GgufFile
from dipsim.model.gguf_files.header import Stored
from dipsim.model.refusals import MOST_LAYERS

# Which layers slide where a file does not say: every `n`th sees all positions. What is there, is told in full.
_PERIODS = {"gpt-oss": 2}
_TANH = ("gemma4",)
_KINDS = {
    "experts": r"ffn_(gate|up|down|gate_up)_exps",
    "mlp": r"ffn_(gate|up|down)(_shexp)?",
    "attention": r"attn_(q|k|v|qkv|output|q_a|q_b|kv_a_mqa|kv_b|k_b|v_b)|ffn_gate_inp(_shexp)?",
}


class _Layer(NamedTuple):
    """What one layer has, by kind of `_KINDS`: name -> tensor."""

    experts: dict[str, Stored]
    mlp: dict[str, Stored]
    attention: dict[str, Stored]


def has_experts(file: GgufFile) -> bool:
    """Whether its metadata or its tensors speak of some."""
    n_told = file.metadata.get(f"{file.architecture}.expert_count")
    return (isinstance(n_told, int) and n_told > 1) or any("_exps." in name for name in file.tensors)


def mixture_in(file: GgufFile) -> dict[str, Any]:
    """What a ModelSpec holds.

    Raises:
        DipsimError: something is missing, no tensor of attention, router, experts or MLP, or of another shape than its
            metadata say.
    """
    n_layers, d, n_heads = (_number(file, key) for key in ("block_count", "embedding_length", "attention.head_count"))
    if n_layers > MOST_LAYERS:
        raise DipsimError(f"{file.where}: block_count: got {n_layers}; must be at most {MOST_LAYERS}")
    n_experts, per_token = _number(file, "expert_count"), _number(file, "expert_used_count")
    layers = _layers(file, n_layers)
    mixed = [layer for layer, own in enumerate(layers) if own.experts]
    dense = [layer for layer in range(n_layers) if layer not in mixed]
    if not mixed:
        raise DipsimError(f"{file.where}: says that it has {n_experts} experts, and has no tensor of any")
    expert_size = _experts(file, layers, mixed, n_experts, d)
    shared = {
        sum(_width(file, own, name, d) for name in ("ffn_down_shexp", "ffn_down"))
        for own in map(layers.__getitem__, mixed)
    }
    if len(shared) > 1:
        raise DipsimError(f"{file.where}: MLPs beside experts of {len(shared)} widths; these must be one")
    widths = {_width(file, layers[layer], "ffn_down", d) for layer in dense}
    if len(widths) > 1 or 0 in widths:
        raise DipsimError(f"{file.where}: layers without experts have MLPs of widths {sorted(widths)}; must be one")
    n_kv_heads, head_dim, attention = _attention(file, layers, d, n_heads)
    return {
        "name": file.name,
        "n_layers": n_layers,
        "hidden_size": d,
        "intermediate_size": widths.pop() if widths else expert_size,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "vocab_size": _shape(file, "token_embd.weight", 2)[0],
        "tied_embeddings": "output.weight" not in file.tensors,
        "activation": "gelu_pytorch_tanh" if file.architecture in _TANH else "silu",
        **_windows(file, n_layers),
        "mixture": {
            "n_experts": n_experts,
            "experts_per_token": per_token,
            "expert_size": expert_size,
            "shared_expert_size": shared.pop(),
            "dense_layers": dense,
            "expert_bytes": [sum(one.n_bytes for one in own.experts.values()) / n_experts for own in layers],
        },
        "attention": attention,
        "bits": _bits(file, layers),
    }


def _layers(file: GgufFile, n_layers: int) -> list[_Layer]:
    """Every matrix of the layers, by its kind; biases and norms are left out."""
    layers = [_Layer({}, {}, {}) for _ in range(n_layers)]
    for name, stored in file.tensors.items():
        if len(stored.shape) < 2 or name.endswith(".bias") or name in ("token_embd.weight", "output.weight"):
            continue
        found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
        kind = found and next((kind for kind, names in _KINDS.items() if re.fullmatch(names, found[2])), None)
        if not found or not kind or int(found[1]) >= n_layers:
            raise DipsimError(
                f"{file.where}: tensor {name}: neither attention, router, experts, MLP, embedding nor LM head"
            )
        getattr(layers[int(found[1])], kind)[found[2]] = stored
    return layers


def _experts(file: GgufFile, layers: list[_Layer], mixed: list[int], n_experts: int, d: int) -> int:
    """Width of an expert, the same everywhere."""
    sizes = set()
    for layer in mixed:
        own = layers[layer]
        down = own.experts.get("ffn_down_exps")
        size = down.shape[-1] if down is not None else 0
        fused, apart = {"ffn_gate_up_exps": 2 * size}, {"ffn_gate_exps": size, "ffn_up_exps": size}
        wanted = fused if "ffn_gate_up_exps" in own.experts else apart
        shapes = {name: (n_experts, rows, d) for name, rows in wanted.items()} | {"ffn_down_exps": (n_experts, d, size)}
        shapes_got = {name: one.shape for name, one in own.experts.items()}
        if shapes_got != shapes or (n_experts, d) != getattr(own.attention.get("ffn_gate_inp"), "shape", None):
            raise DipsimError(
                f"{file.where}: layer {layer}: experts are {str(shapes_got)[:120]}; its metadata say a router and "
                f"gate, up and down matrices of {n_experts} experts of {d}"
            )
        sizes.add(size)
    if len(sizes) > 1:
        raise DipsimError(f"{file.where}: experts of {len(sizes)} widths, {sorted(sizes)[:3]}; must be one")
    return int(sizes.pop())


def _width(file: GgufFile, own: _Layer, down: str, d: int) -> int:
    """Width of a plain MLP that a layer has, of the name of its last matrix; 0 for none."""
    if down not in own.mlp:
        return 0
    width = own.mlp[down].shape[-1]
    for part, shape in (("down", (d, width)), ("gate", (width, d)), ("up", (width, d))):
        stored = own.mlp.get(down.replace("down", part))
        if stored is None or stored.shape != shape:
            raise DipsimError(
                f"{file.where}: tensor {down.replace('down', part)} is {stored and stored.shape}; its metadata and the "
                f"others say {shape}"
            )
    return width


def _attention(
    file: GgufFile, layers: list[_Layer], d: int, n_heads: int
) -> tuple[int, int, list[dict[str, int]] | None]:
    """KV heads and their size, of the first layer; weights and KV width of each where these do not tell."""
    told = file.metadata.get(f"{file.architecture}.attention.head_count_kv", n_heads)
    n_kv_heads = told[0] if isinstance(told, list) and told else told
    shapes = []
    for layer, own in enumerate(layers):
        weights = sum(one.n_weights for name, one in own.attention.items() if name.startswith("attn_"))
        if "attn_kv_a_mqa" in own.attention:  # what is kept is compressed, and one key with the position in it
            width = own.attention["attn_kv_a_mqa"].shape[0]
        elif "attn_k" in own.attention:  # keys may serve as values too
            width = own.attention["attn_k"].shape[0] + own.attention.get("attn_v", own.attention["attn_k"]).shape[0]
        elif "attn_qkv" in own.attention and "attn_output" in own.attention:
            width = own.attention["attn_qkv"].shape[0] - own.attention["attn_output"].shape[1]
        else:
            raise DipsimError(f"{file.where}: layer {layer} has no tensor of keys, attn_k, attn_qkv or attn_kv_a_mqa")
        shapes.append({"weights": weights, "kv_width": width})
    if type(n_kv_heads) is not int or n_kv_heads < 1:
        raise DipsimError(f"{file.where}: attention.head_count_kv: got {str(told)[:40]}; must be a count")
    is_latent = "attn_kv_a_mqa" in layers[0].attention
    head_dim = _number(file, "attention.key_length") if is_latent else shapes[0]["kv_width"] // 2 // n_kv_heads
    plain = {"weights": d * head_dim * (2 * n_heads + 2 * n_kv_heads), "kv_width": 2 * n_kv_heads * head_dim}
    return n_kv_heads, head_dim, None if all(one == plain for one in shapes) else shapes


def _windows(file: GgufFile, n_layers: int) -> dict[str, Any]:
    window = file.metadata.get(f"{file.architecture}.attention.sliding_window")
    pattern = file.metadata.get(
        f"{file.architecture}.attention.sliding_window_pattern", _PERIODS.get(file.architecture)
    )
    if not window or pattern is None:
        return {}
    if type(pattern) is int and pattern > 0:
        pattern = [bool((layer + 1) % pattern) for layer in range(n_layers)]
    if not isinstance(pattern, list) or len(pattern) != n_layers or type(window) is not int:
        raise DipsimError(f"{file.where}: sliding_window_pattern: got {str(pattern)[:40]}; must be one for each layer")
    layers = [layer for layer, slides in enumerate(pattern) if slides]
    return {"sliding_window": window, "sliding_layers": layers} if layers else {}


def _bits(file: GgufFile, layers: list[_Layer]) -> dict[str, float]:
    """Means over the weights of a kind; of MLPs those that every token uses, if there are any."""
    dense = [one for own in layers for one in own.mlp.values()]
    experts = [one for own in layers for one in own.experts.values()]
    table = [file.tensors["token_embd.weight"]]
    kinds = {
        "mlp": dense or experts,
        "attention": [one for own in layers for one in own.attention.values()],
        "lm_head": [file.tensors["output.weight"]] if "output.weight" in file.tensors else table,
        "embedding": table,
    }
    return {
        kind: 8 * sum(one.n_bytes for one in own) / sum(one.n_weights for one in own) for kind, own in kinds.items()
    }


def _number(file: GgufFile, key: str) -> int:
    value = file.metadata.get(f"{file.architecture}.{key}")
    if type(value) is not int or value < 1:
        raise DipsimError(f"{file.where}: {file.architecture}.{key}: got {str(value)[:40]}; must be a count")
    return value


def _shape(file: GgufFile, name: str, n_dimensions: int) -> tuple[int, ...]:
    stored = file.tensors.get(name)
    if stored is None or len(stored.shape) != n_dimensions:
        raise DipsimError(f"{file.where}: tensor {name} is missing, or of another kind")
    return stored.shape
