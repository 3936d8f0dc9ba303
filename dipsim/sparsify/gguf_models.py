"""A model of transformers with the weights of a GGUF file."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor

from dipsim.errors import DipsimError
from dipsim.model.gguf_files import GgufFile, running_config, stored_names, weight
from dipsim.sparsify.kept_weights import kept

OnProgress = Callable[..., None]


def gguf_model(
    file: GgufFile, content: str, dtype: str, on_progress: OnProgress
) -> tuple[transformers.PreTrainedModel, dict[str, Any]]:
    """The model, and what transformers says of its loading.

    Args:
        file: where it lies.
        content: hash of its content.
        dtype: `auto` for float32, which is what weights are dequantised to and what processors are fastest in.
        on_progress: called with the megabytes dequantised, those in all, and what they are.

    Raises:
        DipsimError: transformers has no such weights, or their kind cannot be dequantised.
    """
    told = running_config(file)
    config = transformers.CONFIG_MAPPING[told["model_type"]].from_dict(told)
    factory: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with torch.device("meta"):
        empty: torch.nn.Module = factory(config)
    shapes = {name: tuple(one.shape) for name, one in empty.named_parameters()}  # those that are tied once
    stored = stored_names(file, shapes)
    total, done = round(4e-6 * sum(map(math.prod, shapes.values()))), 0.0

    def made(name: str) -> Tensor:
        nonlocal done
        numbers = torch.from_numpy(weight(file, stored[name], told))
        if tuple(numbers.shape) != shapes[name]:
            raise DipsimError(
                f"{file.where}: tensor {stored[name]} is {tuple(numbers.shape)}, transformers has {shapes[name]}"
            )
        done += 4e-6 * numbers.numel()
        on_progress(round(done), total, "(MB dequantised)")
        return numbers

    weights = kept(file, content, shapes, made)
    options: dict[str, Any] = {"dtype": "float32" if dtype == "auto" else dtype, "output_loading_info": True}
    loaded: tuple[Any, Any] = factory.from_pretrained(None, config=config, state_dict=weights, **options)
    return loaded


def gguf_tokenizer(file: GgufFile) -> transformers.PreTrainedTokenizerBase:
    """The tokenizer in the file; whether it puts a BOS in front is as the file says.

    Raises:
        DipsimError: there is none.
    """
    if "tokenizer.ggml.tokens" not in file.metadata:
        raise DipsimError(f"{file.where}: has no tokenizer (tokenizer.ggml.tokens), so that no text can be read")
    first = file.parts[0].resolve()
    made: Any = transformers.PreTrainedTokenizerFast.from_pretrained(
        str(first.parent), gguf_file=first.name, local_files_only=True, trust_remote_code=False
    )
    return made  # type: ignore[no-any-return]
