"""Which numbers do the weights of transformers' model have in a GGUF file: other names, some rows in another order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.model.gguf_files.config import ARCHITECTURES, config_of
from dipsim.model.gguf_files.file import GgufFile, dequantised
from dipsim.model.gguf_files.mixtures import has_experts
from dipsim.model.gguf_files.rope import FREQUENCIES, rope_of


def running_config(file: GgufFile) -> dict[str, Any]:
    """Content of a `config.json` for a model that is to be run.

    Raises:
        DipsimError: as `config_of` and `rope_of`, or it is a mixture of experts.
    """
    if has_experts(file):
        raise DipsimError(
            f"{file.where}: of a mixture of experts, a GGUF file tells sizes and bytes and cannot be run; give the "
            "folder of its weights as transformers has them"
        )
    config = config_of(file)
    return config | rope_of(file, config) | dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))


def stored_names(file: GgufFile, names: Iterable[str]) -> dict[str, str]:
    """Name of each weight in transformers -> name of its tensor in the file.

    Raises:
        DipsimError: a weight without a tensor, or a tensor without a weight.
    """
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    number = {name: number for number, name in MODEL_ARCH_NAMES.items()}[file.architecture]
    known = get_tensor_name_map(number, file.metadata[f"{file.architecture}.block_count"])
    stored = {name: str(known.get_name(name, (".weight", ".bias"))) for name in names}
    for name, own in stored.items():
        if own not in file.tensors:
            raise DipsimError(f"{file.where}: tensor {own} ({name}) is missing")
    if left := sorted(file.tensors.keys() - stored.values() - set(FREQUENCIES)):
        raise DipsimError(
            f"{file.where}: it cannot be run: tensor {left[0]} is none that transformers' "
            f"'{ARCHITECTURES[file.architecture].model_type}' has"
        )
    return stored


def weight(file: GgufFile, stored_name: str, config: dict[str, Any]) -> NDArray[np.float32]:
    """A weight as transformers has it, float32.

    Raises:
        DipsimError: as `dequantised`.
    """
    numbers, architecture = dequantised(file.tensors[stored_name]), ARCHITECTURES[file.architecture]
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(stored_name.split(".")[-2])
    if architecture.turns_pairs and heads is not None:
        # [head, pair, first or second of it, column] as stored, [head, first or second, pair, column] as wanted.
        pairs = numbers.reshape(config[heads], -1, 2, *numbers.shape[1:])
        return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(numbers.shape)
    if architecture.norms_add_one and stored_name.endswith("norm.weight"):
        return numbers - 1
    return numbers
