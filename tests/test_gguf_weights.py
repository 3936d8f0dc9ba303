"""Weights of GGUF files: what runs is what was written, by the same model from a folder and by transformers itself."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from gguf_writing import made, write

from dipsim import DipsimError
from dipsim.errors import DipsimWarning
from dipsim.sparsify import kept_weights
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.loading import LoadedModel, load_model, read_spec, windows

IDS = torch.tensor([[3, 141, 59, 26, 53, 58, 97, 93, 23, 84, 62, 64]])
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
    "gemma": {"head_dim": 32},
    "gemma2": {"head_dim": 32, "sliding_window": 4, "query_pre_attn_scalar": 32},
    "gemma3_text": {"head_dim": 32, "sliding_window": 4, "num_hidden_layers": 7, "query_pre_attn_scalar": 32},
    "phi3": {},
    "smollm3": {"num_hidden_layers": 4},
    "olmo2": {},
    "granite": {
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.1,
        "logits_scaling": 4.0,
    },
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(kept_weights.LIMIT, raising=False)
    return tmp_path / "cache" / "dipsim" / "gguf"


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=IDS).logits
    return result


def in_folder(tmp_path: Path, model: Any, gguf: Path) -> LoadedModel:
    """The same model, saved as any other, with the tokenizer of the file."""
    model.save_pretrained(tmp_path / "folder")
    load_model(str(gguf)).tokenizer.save_pretrained(tmp_path / "folder")
    return load_model(str(tmp_path / "folder"))


CASES = [*((name, Kind.Q4_0) for name in MODELS), *(("llama", kind) for kind in (Kind.F32, Kind.F16, Kind.Q8_0))]


@pytest.mark.parametrize(("model_type", "kind"), CASES, ids=lambda value: getattr(value, "name", value))
def test_it_computes_what_the_same_weights_in_a_folder_compute(model_type: str, kind: Kind, tmp_path: Path) -> None:
    model = made(model_type, **MODELS[model_type])
    path = write(tmp_path / "m.gguf", model, kind)
    loaded, folder = load_model(str(path)), in_folder(tmp_path, model, path)
    assert loaded.model.dtype == torch.float32
    torch.testing.assert_close(logits(loaded.model), logits(folder.model), rtol=1e-4, atol=1e-5)
    spec, other = loaded.spec, folder.spec
    assert spec == read_spec(str(path))
    assert spec.model_copy(update={"name": other.name, "bits": other.bits}) == other
    assert len(find_gated_mlps(loaded.model, spec.n_layers)) == spec.n_layers


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "gemma3_text", "phi3"])
def test_it_computes_what_transformers_own_reader_of_such_files_makes(model_type: str, tmp_path: Path) -> None:
    # That reader takes 256 for what Gemma 3 divides queries by, and needs a token for padding within the vocabulary.
    others = MODELS[model_type] | ({"head_dim": 256, "query_pre_attn_scalar": 256} if "gemma" in model_type else {})
    keys = {"tokenizer.ggml.padding_token_id": 0}
    path = write(tmp_path / "m.gguf", made(model_type, **others), Kind.Q8_0, metadata=keys)
    own: Any = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path,
        gguf_file=path.name,
        dtype=torch.float32,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    torch.testing.assert_close(logits(load_model(str(path)).model), logits(own), rtol=1e-4, atol=1e-5)


def test_frequencies_that_are_stored_divided_are_those_of_llama_3(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
        "rope_theta": 10000.0,
    }
    model = made("llama", rope_parameters=scaling)
    plain = 10000.0 ** -(np.arange(0, 16, 2) / 16)
    divisors = (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    assert len(np.unique(divisors.round(3))) > 1  # some are left, some divided by 8
    loaded = load_model(str(write(tmp_path / "m.gguf", model, tensors={"rope_freqs.weight": divisors})))
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=1e-4, atol=1e-5)
    undivided = load_model(str(write(tmp_path / "n.gguf", model)))
    assert not torch.allclose(logits(undivided.model), logits(model), atol=1e-3)


def test_scaled_positions(tmp_path: Path) -> None:
    scaling = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    model = made("llama", rope_parameters=scaling)
    keys = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    loaded = load_model(str(write(tmp_path / "m.gguf", model, metadata=keys)))
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=1e-4, atol=1e-5)
    with pytest.raises(DipsimError, match=r"rope\.scaling\.type: got 'spiral'; it cannot be run"):
        load_model(str(write(tmp_path / "n.gguf", model, metadata={"llama.rope.scaling.type": "spiral"})))
    with pytest.raises(DipsimError, match=r"rope\.dimension_count: got 8 of a head's 16; it cannot be run"):
        load_model(str(write(tmp_path / "o.gguf", model, metadata={"llama.rope.dimension_count": 8})))


def test_factors_for_short_and_long_contexts(tmp_path: Path) -> None:
    factors = {"short": np.linspace(1, 1.5, 8, dtype=np.float32), "long": np.linspace(2, 9, 8, dtype=np.float32)}
    scaling = {f"{name}_factor": values.tolist() for name, values in factors.items()} | {"rope_type": "longrope"}
    model = made("phi3", rope_parameters=scaling | {"rope_theta": 10000.0}, original_max_position_embeddings=16)
    tensors = {f"rope_factors_{name}.weight": values for name, values in factors.items()}
    keys = {"phi3.rope.scaling.original_context_length": 16}
    loaded = load_model(str(write(tmp_path / "m.gguf", model, metadata=keys, tensors=tensors)))
    for n_tokens in (12, 40):
        ids = torch.arange(n_tokens)[None]
        with torch.no_grad():
            torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bos", [True, False])
def test_the_file_says_whether_windows_begin_with_a_bos(bos: bool, tmp_path: Path) -> None:
    tokenizer = load_model(str(write(tmp_path / "m.gguf", made("llama"), bos=bos))).tokenizer
    ids = windows(tokenizer, "hello world, hello", 4)
    hello = [tokenizer.convert_tokens_to_ids(piece) for piece in ("he", "l", "lo")]
    assert ids[0].tolist() == ([258, *hello] if bos else [*hello, tokenizer.convert_tokens_to_ids("Ġ")])


def test_parts_of_a_split_model_are_one_model(tmp_path: Path) -> None:
    model = made("llama")
    whole = load_model(str(write(tmp_path / "whole.gguf", model)))
    write(tmp_path / "m.gguf", model, n_parts=3)
    parts = [load_model(str(tmp_path / f"m-{part:05}-of-00003.gguf")) for part in (1, 3)]
    for loaded in parts:
        assert loaded.name == "m"
        assert loaded.revision == parts[0].revision != whole.revision
        torch.testing.assert_close(logits(loaded.model), logits(whole.model))


def test_a_link_of_any_name_will_do(tmp_path: Path) -> None:
    """As the hub's cache has them: a link to a file named after its hash."""
    write(tmp_path / "m.gguf", made("llama")).rename(tmp_path / "0123abc")
    (tmp_path / "m.gguf").symlink_to(tmp_path / "0123abc")
    assert load_model(str(tmp_path / "m.gguf")).name == "m"


def test_precision_is_what_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", made("llama"))
    assert load_model(str(path), dtype="bfloat16").model.dtype == torch.bfloat16


def test_progress_counts_megabytes(tmp_path: Path) -> None:
    path, seen = write(tmp_path / "m.gguf", made("llama", vocab_size=260, intermediate_size=5_000)), []
    load_model(str(path), on_progress=lambda *told: seen.append(told))
    n_bytes = 4 * sum(weight.numel() for weight in made("llama", intermediate_size=5_000).parameters())
    assert seen[-1] == (round(n_bytes / 1e6), round(n_bytes / 1e6), "(MB dequantised)")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    seen.clear()
    load_model(str(path), on_progress=lambda *told: seen.append(told))
    assert seen == []  # they were kept


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"blk.0.attn_q.bias": np.zeros(64, np.float32)}, {}, "tensor blk.0.attn_q.bias is none that transformers"),
        ({}, {"tokenizer.ggml.bos_token_id": 10**6}, "cannot be loaded"),
    ],
)
def test_what_cannot_be_run(tensors: Any, metadata: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", made("llama"), tensors=tensors, metadata=metadata)
    with pytest.raises(DipsimError, match=message) as caught:
        load_model(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_without_a_tokenizer(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", made("llama"), tokenizer=False)
    assert read_spec(str(path)).n_layers == 2
    with pytest.raises(DipsimError, match="has no tokenizer"):
        load_model(str(path))


# What is kept.


def entries(cache: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in cache.glob("*.safetensors"))


def test_weights_are_kept_by_what_the_file_holds(tmp_path: Path, cache: Path) -> None:
    first = write(tmp_path / "m.gguf", made("llama"))
    load_model(str(first))
    (entry,) = cache.glob("*.safetensors")
    made_at = entry.stat().st_ino
    about = json.loads(entry.with_suffix(".json").read_text())
    assert (about["model"], about["made_from"]) == ("m", [str(first)])
    assert about["bytes"] == 4 * sum(weight.numel() for weight in made("llama").parameters())
    load_model(str(first))
    assert entry.stat().st_ino == made_at
    other = made("llama")
    with torch.no_grad():
        other.lm_head.weight[0, 0] = 7.0
    loaded = load_model(str(write(first, other)))
    assert loaded.model.lm_head.weight[0, 0] == 7.0
    assert entries(cache) == ["m", "m"]


def test_what_is_done_to_a_model_does_not_reach_what_is_kept(tmp_path: Path) -> None:
    path = str(write(tmp_path / "m.gguf", made("llama")))
    expected = logits(load_model(path).model)
    used = load_model(path).model
    with torch.no_grad():
        for weight in used.parameters():
            weight.zero_()
    torch.testing.assert_close(logits(load_model(path).model), expected)


def test_what_is_damaged_is_made_anew(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "m.gguf", made("llama"))
    expected = logits(load_model(str(path)).model)
    (entry,) = cache.glob("*.safetensors")
    for content in (b"", entry.read_bytes()[:-100], b"x" * 1000):
        entry.write_bytes(content)
        torch.testing.assert_close(logits(load_model(str(path)).model), expected)
        assert entry.stat().st_size > 1000


def test_those_used_longest_ago_make_room(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_bytes = 4 * sum(weight.numel() for weight in made("llama").parameters())
    monkeypatch.setenv(kept_weights.LIMIT, f"{round(2.5 * n_bytes)}B")
    paths = [write(tmp_path / f"m{i}.gguf", made("llama")) for i in range(4)]
    for i, path in enumerate(paths[:2]):
        load_model(str(path))
        os.utime(next(cache.glob(f"m{i}-*.safetensors")), (i, i))
    load_model(str(paths[0]))  # used last now
    load_model(str(paths[2]))
    assert entries(cache) == ["m0", "m2"]
    assert len(list(cache.glob("*.json"))) == 2
    for i in (0, 2):
        os.utime(next(cache.glob(f"m{i}-*.safetensors")), (i, i))
    with kept_weights._locked(next(cache.glob("m0-*.safetensors"))):  # somebody reads it
        load_model(str(paths[3]))
    assert entries(cache) == ["m0", "m3"]


@pytest.mark.parametrize("way", ["limit", "closed", "full", "off"])
def test_without_a_place_to_keep_them_they_are_made_each_time(
    way: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made("llama")
    path = write(tmp_path / "m.gguf", model)
    if way == "closed":
        cache.parent.mkdir(parents=True)
        cache.write_text("no folder")
    elif way == "full":
        monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    else:
        monkeypatch.setenv(kept_weights.LIMIT, "0B" if way == "off" else "100kB")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load_model(str(path))
    own = [str(one.message) for one in caught if one.category is DipsimWarning]
    assert len(own) == (way != "off")
    assert all(text.startswith("m: dequantised weights are not kept for the next time: ") for text in own)
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=1e-4, atol=1e-5)
    assert not cache.is_dir() or entries(cache) == []
