"""Which model and which text: a causal LM by path or id, of a GGUF file, or `tiny`; and a text cut into windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from dipsim import documents, shipped
from dipsim.archives import contents_sha256
from dipsim.errors import DipsimError, choose
from dipsim.model import Bits, ModelSpec
from dipsim.model.gguf_files import is_gguf, open_gguf, sizes_and_bits
from dipsim.progress import shown_in_notebooks
from dipsim.sparsify.architectures import one_shape, sizes_by_class, sizes_of_config
from dipsim.sparsify.bos import Bos, bos_in_front
from dipsim.sparsify.gated_mlp import GatedMlp
from dipsim.sparsify.gguf_models import OnProgress, gguf_model, gguf_tokenizer
from dipsim.sparsify.hooks import find_parts
from dipsim.threads import n_threads

DTYPES = ("auto", "float32", "bfloat16", "float16")
_MOST_TEXT_BYTES = 2**28
_DEFAULT_BITS = Bits()


@dataclass(frozen=True)
class LoadedModel:
    """A model with what is needed to use it and to say where it came from.

    Attributes:
        name: `tiny`, the id, or the folder's or the GGUF file's name.
        revision: commit of the hub's repository, hash of a GGUF file's content, None for folders.
        adapter_bytes: weights of an adapter beside the model's own.
        bits: of the weights as they are stored, where a GGUF file says so.
    """

    model: transformers.PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    name: str
    revision: str | None
    adapter_bytes: int = 0
    bits: Bits = _DEFAULT_BITS

    @cached_property
    def spec(self) -> ModelSpec:
        """Its shape by its own classes, and its bits."""
        where = f"model {self.name}"
        own = {"name": self.name, "bits": self.bits}
        return ModelSpec.parse(own | sizes_of_config(self.model.config, where), where)


@shown_in_notebooks("loading")
def load_model(
    name_or_path: str,
    device: str = "cpu",
    dtype: str = "auto",
    on_progress: OnProgress = lambda done, total, note: None,
) -> LoadedModel:
    """A model and its tokenizer; weights are read from safetensors or GGUF only, no code of the repository is run.

    Args:
        name_or_path: `tiny`, a folder, a GGUF file, or an id of the Hugging Face hub (its files may be cached).
        device: where torch puts it, for example `cpu` or `cuda`.
        dtype: `auto` for the checkpoint's own, of a GGUF file float32; or float32, bfloat16, float16.
        on_progress: called with what is done and what is to do, where weights are dequantised.

    Raises:
        DipsimError: it cannot be loaded, is of a kind that is not modelled, weights are missing, or the device or dtype
            is unknown.
    """
    choose("dtype", dtype, DTYPES)
    spec = read_spec(name_or_path)  # refuses before weights are read
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    load = _from_gguf if _is_gguf(name_or_path) else _from_folder
    try:
        loaded, info = load(name_or_path, dtype, on_progress)
        torch.nn.Module.to(loaded.model, torch.device(device))
    except DipsimError:
        raise
    except Exception as error:  # whatever transformers and its parsers make of a stranger's files
        raise _not_loaded(name_or_path, error) from None
    if absent := sorted([*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])]):
        raise DipsimError(
            f"model '{name_or_path}': {len(absent)} weights are missing or of another shape than its config says, "
            f"the first is {absent[0]}; transformers would fill them with random numbers"
        )
    parts = find_parts(loaded.model, spec)
    mlps = [part for part in parts if isinstance(part, GatedMlp)]
    if mlps and (found := one_shape(mlps, f"model '{name_or_path}'")) != (spec.hidden_size, spec.intermediate_size):
        raise DipsimError(
            f"model '{name_or_path}': its config says {spec.hidden_size} x {spec.intermediate_size}, its layers are "
            f"{found[0]} x {found[1]}"
        )
    return loaded


def _from_folder(name_or_path: str, dtype: str, on_progress: OnProgress) -> tuple[LoadedModel, dict[str, Any]]:
    path = _place(name_or_path)
    options: dict[str, Any] = {"trust_remote_code": False}
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, **options)
    options |= {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(path, **options)
    model, info = loaded
    return LoadedModel(model, tokenizer, _name(name_or_path), getattr(model.config, "_commit_hash", None)), info


def _from_gguf(name_or_path: str, dtype: str, on_progress: OnProgress) -> tuple[LoadedModel, dict[str, Any]]:
    file = open_gguf(Path(name_or_path))
    tokenizer = gguf_tokenizer(file)
    content = contents_sha256(file.parts)
    model, info = gguf_model(file, content, dtype, on_progress)
    return LoadedModel(model, tokenizer, file.name, content, bits=Bits(**sizes_and_bits(file)["bits"])), info


def share_cores() -> None:
    """Lets torch use as many threads as runs may, see `dipsim.threads`."""
    torch.set_num_threads(n_threads())


def read_spec(name_or_path: str) -> ModelSpec:
    """The shape of a model, without its weights: enough to refuse what cannot work before they are loaded.

    Raises:
        DipsimError: there is no such model, or its config cannot be read.
    """
    if _is_gguf(name_or_path):
        return ModelSpec.load(name_or_path)
    path = _place(name_or_path)
    where = f"model '{name_or_path}': config.json"
    file: Any = Path(path) / "config.json"
    if not Path(path).is_dir():
        try:
            file = transformers.utils.hub.cached_file(path, "config.json")
        except Exception as error:  # whatever transformers makes of a name, and of the network
            raise _not_loaded(name_or_path, error) from None
    config = documents.read_json(Path(file), where)
    if not isinstance(config, dict):
        raise DipsimError(f"{where}: not a JSON object, got {type(config).__name__}")
    _check_names_no_code(config, where)
    return ModelSpec.parse({"name": _name(name_or_path)} | sizes_by_class(config, where), where)


def _check_names_no_code(config: dict[str, Any], where: str) -> None:
    """transformers would fetch a kernel that a config names as `owner/name`, and run it."""
    for key, value in config.items():
        if "_implementation" in key and "/" in str(value):
            raise DipsimError(f"{where}: {key}: got {str(value)[:60]!r}, code from elsewhere; leave it out")
        if isinstance(value, dict):
            _check_names_no_code(value, where)


def _is_gguf(name_or_path: str) -> bool:
    return is_gguf(name_or_path) and not Path(name_or_path).is_dir()


def _place(name_or_path: str) -> str:
    path = str(shipped.folder("tiny")) if name_or_path == "tiny" else name_or_path
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or get_close_matches(path, ["tiny"])):
        raise DipsimError(f"model: no such folder, got '{path}'; a folder, a .gguf file, a hub id, or 'tiny'")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return path


def _name(name_or_path: str) -> str:
    return Path(name_or_path).name if Path(name_or_path).is_dir() else name_or_path


def _not_loaded(name_or_path: str, error: Exception) -> DipsimError:
    return DipsimError(f"model '{name_or_path}': cannot be loaded: {' '.join(str(error).split())[:300]}")


def read_text(path: str) -> str:
    """A UTF-8 text file, or `held-out` for the text that `tiny` was never trained on.

    Raises:
        DipsimError: it is missing, unreadable or empty.
    """
    where = shipped.folder("tiny") / "held_out.txt" if path == "held-out" else Path(path)
    text = documents.read_text(where, f"text '{path}'", _MOST_TEXT_BYTES)
    if not text.strip():
        raise DipsimError(f"text '{path}': is empty")
    return text


def windows(
    tokenizer: transformers.PreTrainedTokenizerBase,
    text: str,
    n_window: int,
    n_windows: int | None = None,
    *,
    n_tokens: int | None = None,
    stride: int | None = None,
    bos: Bos = "auto",
) -> NDArray[np.int64]:
    """The text's tokens in windows, int64 [window, token], each `stride` tokens after the one before it (by default,
    right behind it); a shorter rest is left out.

    Of special tokens, only the one that marks the beginning of a sequence (BOS) is added. Where there is one, every
    window begins with it and has `n_window - 1` tokens of the text: windows, prompts, contexts and KV count positions,
    the BOS among them; `n_tokens` and `stride` count tokens of the text. The BOS is a token as any other: of the
    prompt, if there is one, else the first that is masked, recorded and simulated. But nothing predicts it, so that it
    is never scored; the token behind it, which it predicts, is.

    Args:
        tokenizer, text: the text; one that begins with a BOS of its own gets no second one.
        n_window: positions of a window.
        n_windows: how many; None for all there are.
        n_tokens: use only so many of the text's first tokens; None for all.
        stride: tokens between the starts of two windows.
        bos: `auto` for a BOS where the tokenizer puts one in front by itself, `yes` or `no`.

    Raises:
        DipsimError: a number out of range, the text has too few tokens, or the tokenizer no BOS.
    """
    first = bos_in_front(tokenizer, bos)
    n_text = n_window if first is None else n_window - 1
    if n_tokens is not None and n_tokens < max(1, n_text):
        raise DipsimError(f"tokens: got {n_tokens}; must be at least a window's {n_text}")
    if stride is not None and not 1 <= stride <= n_text:
        raise DipsimError(f"stride: got {stride}; must be at least 1 and at most the window's {n_text} tokens")
    if n_text < 1 or (n_windows is not None and n_windows < 1):
        wanted = "all" if n_windows is None else n_windows
        room = "" if first is None else ", and a window's tokens 2 where the first is the BOS"
        raise DipsimError(f"text: got {wanted} windows of {n_window} tokens; both must be at least 1{room}")
    ids = np.array(tokenizer.encode(text, add_special_tokens=False), np.int64)
    ids = ids[int(first is not None and ids[:1].tolist() == [first]) :][:n_tokens]
    step = n_text if stride is None else stride
    available = max(0, (ids.size - n_text) // step + 1)
    wanted = available if n_windows is None else n_windows
    if not 1 <= wanted <= available:
        raise DipsimError(
            f"text: got {ids.size} tokens, {available} windows of {n_text}; "
            f"{'one' if n_windows is None else n_windows} asked for"
        )
    cut = np.stack([ids[i * step : i * step + n_text] for i in range(wanted)])
    return cut if first is None else np.insert(cut, 0, first, axis=1)
