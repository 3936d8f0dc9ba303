"""What sizes and how many bits per weight does a model in a GGUF file have: by its metadata, held against its tensors.

Bits are the mean over the weights of a kind as they are stored, the scales of their blocks included: of mixed
quantisations every column of a group counts as many bytes as its group's mean.
"""

from __future__ import annotations

import re
from typing import Any

from dipsim.errors import DipsimError
from dipsim.model.config import sizes_of
from dipsim.model.gguf_files.config import config_of
from dipsim.model.gguf_files.file import GgufFile
from dipsim.model.gguf_files.mixtures import has_experts, mixture_in


def sizes_and_bits(file: GgufFile) -> dict[str, Any]:
    """What a ModelSpec holds.

    Raises:
        DipsimError: it is no decoder of attention and gated MLPs or experts, or its tensors are not those that its
            metadata say.
    """
    if has_experts(file):
        return mixture_in(file)
    sizes = sizes_of(config_of(file), file.where)
    expected = _matrices(file, sizes)
    for name, shape in expected.items():
        if name not in file.tensors:
            raise DipsimError(f"{file.where}: tensor {name} is missing")
        if file.tensors[name].shape != shape:
            raise DipsimError(f"{file.where}: tensor {name} is {file.tensors[name].shape}; its metadata say {shape}")
    for name, stored in file.tensors.items():
        if len(stored.shape) > 1 and name not in expected:
            raise DipsimError(f"{file.where}: tensor {name}: neither attention, gated MLP, embedding nor LM head")
    return {"name": file.name, **sizes, "bits": {kind: _mean_bits(file, kind) for kind in _KINDS}}


def _matrices(file: GgufFile, sizes: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Every matrix that a model of these sizes has, with its shape; which of them are fused is as the file has it."""
    d, f, head_dim = sizes["hidden_size"], sizes["intermediate_size"], sizes["head_dim"]
    q, kv = sizes["n_heads"] * head_dim, sizes["n_kv_heads"] * head_dim
    layer = {"attn_output": (d, q), "ffn_down": (d, f)}
    has_gates = "blk.0.ffn_gate.weight" in file.tensors
    layer |= {"ffn_up": (f, d), "ffn_gate": (f, d)} if has_gates else {"ffn_up": (2 * f, d)}
    is_fused = "blk.0.attn_qkv.weight" in file.tensors
    layer |= {"attn_qkv": (q + 2 * kv, d)} if is_fused else {"attn_q": (q, d), "attn_k": (kv, d), "attn_v": (kv, d)}
    ends = {"token_embd.weight": (sizes["vocab_size"], d)}
    if not sizes["tied_embeddings"]:
        ends["output.weight"] = (sizes["vocab_size"], d)
    return ends | {f"blk.{i}.{name}.weight": shape for i in range(sizes["n_layers"]) for name, shape in layer.items()}


_KINDS = {
    "mlp": r"blk\.\d+\.ffn_(gate|up|down)\.weight",
    "attention": r"blk\.\d+\.attn_(q|k|v|qkv|output)\.weight",
    "lm_head": r"output\.weight",
    "embedding": r"token_embd\.weight",
}


def _mean_bits(file: GgufFile, kind: str) -> float:
    own = [stored for name, stored in file.tensors.items() if re.fullmatch(_KINDS[kind], name)]
    if not own:  # an LM head that is the embedding table
        return _mean_bits(file, "embedding")
    return 8 * sum(stored.n_bytes for stored in own) / sum(stored.n_weights for stored in own)
