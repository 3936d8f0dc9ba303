"""Sizes from a config: equal to the weights of the model's own classes, the table equal to them, the rest refused."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import MakeTrace, device, random_scores, small_model

from dipsim import Dense, DipsimError, ModelSpec, Simulation, Trace, shipped
from dipsim.model.config import sizes_of
from dipsim.model.model_types import MODEL_TYPES
from dipsim.sparsify.architectures import sizes_by_class, sizes_of_config
from dipsim.sparsify.capture import capture
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.loading import load_model

NO_WINDOW: dict[str, Any] = {"sliding_window": None, "sliding_layers": []}
OWN_DIM = {"head_dim": 16}  # these have no default, or take no other than hidden_size / num_attention_heads
ALL_ATTENTION = {"layer_types": ["full_attention"] * 3}
MODELLED: dict[str, dict[str, Any]] = {
    **{name: {} for name in MODEL_TYPES},
    **{name: {} for name in ("cwm", "diffllama", "exaone4", "glm", "granite_swa", "hyperclovax", "internlm3")},
    **{name: {} for name in ("iquestcoder", "stablelm", "vaultgemma")},
    **dict.fromkeys(("hunyuan_v1_dense", "ministral", "helium"), OWN_DIM),
    "lfm2": ALL_ATTENTION,
    "granitemoehybrid": ALL_ATTENTION | {"num_local_experts": 0},
}
WITH_IMAGES = ("gemma3", "mistral3", "llava", "internvl", "paligemma", "qwen2_5_vl", "qwen3_vl", "lfm2_vl")


def random_sizes(seed: str) -> dict[str, Any]:
    """Small sizes, different for each type."""
    rng = random.Random(seed)
    n_heads = 4 * rng.randint(1, 2)
    return {
        "num_hidden_layers": 3,
        "hidden_size": 16 * n_heads,
        "intermediate_size": 8 * rng.randint(5, 30),
        "num_attention_heads": n_heads,
        "num_key_value_heads": rng.choice([1, 2, 4]),
        "vocab_size": rng.randint(50, 150),
        "tie_word_embeddings": rng.random() < 0.5,
    }


def weights_of(config: dict[str, Any]) -> int:
    """Weights of the model's own classes; norms and biases are left out, tied ones count once."""
    made = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config | {"pad_token_id": 0})
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(made)
    return sum(weight.numel() for name, weight in model.named_parameters() if weight.ndim > 1 and "norm" not in name)


@pytest.mark.parametrize("name", MODELLED)
def test_weights_are_counted_as_the_models_own_classes_have_them(name: str) -> None:
    config = {"model_type": name} | random_sizes(name) | MODELLED[name]
    spec = ModelSpec.from_config(config, name)
    embedding = 0 if spec.tied_embeddings else spec.lm_head_weights
    n_weights = spec.mlp_weights + spec.n_layers * spec.attention_weights + spec.lm_head_weights + embedding
    assert n_weights == weights_of(config)
    assert spec.tied_embeddings == config["tie_word_embeddings"]
    assert (spec.n_layers, spec.vocab_size) == (3, config["vocab_size"])


def test_there_are_enough_of_them() -> None:
    assert len(MODELLED) >= 30


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_models_that_also_see_have_the_sizes_of_their_text_model(name: str) -> None:
    sizes = random_sizes(name)
    del sizes["tie_word_embeddings"]
    made = transformers.CONFIG_MAPPING[name](text_config=sizes)
    spec = ModelSpec.from_config({"model_type": name, "text_config": sizes}, name)
    own = ModelSpec.from_config({"model_type": made.text_config.model_type} | sizes, name)
    assert spec == own.model_copy(update={"tied_embeddings": made.tie_word_embeddings})
    other = {"model_type": name, "text_config": sizes, "tie_word_embeddings": not made.tie_word_embeddings}
    assert ModelSpec.from_config(other, name).tied_embeddings != spec.tied_embeddings


@pytest.mark.parametrize("name", [*MODEL_TYPES, "gemma3"])
def test_what_the_table_says_of_omitted_keys_is_what_the_classes_say(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = random_sizes(name) | {"num_hidden_layers": 7, "head_dim": 24, "sliding_window": 33}
    few = {"model_type": name, "num_hidden_layers": 7}
    configs = [few, given | few]
    for key in ("num_key_value_heads", "head_dim", "tie_word_embeddings", "sliding_window"):
        configs.append(few | {other: value for other, value in given.items() if other != key})
    types = ["full_attention", "sliding_attention", "sliding_attention", *["full_attention"] * 4]
    configs += [few | {"layer_types": types}, few | {"sliding_window": None}]
    if name == "gemma3":
        configs = [{"model_type": name, "text_config": config | {"model_type": "gemma3_text"}} for config in configs]
        configs += [{"model_type": name}, {"model_type": name, "text_config": {"num_hidden_layers": 7}}]
    by_class = [NO_WINDOW | sizes_by_class(config, "config") for config in configs]
    monkeypatch.setattr("importlib.util.find_spec", lambda library: None)
    assert [sizes_of(config, "config") for config in configs] == by_class


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2': what its config means only its own classes know; "),
        ({"model_type": "llama", "num_key_value_heads": None}, "only its own classes know"),
        ({"model_type": "qwen3", "use_sliding_window": True}, "only its own classes know"),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 3}, "only its own classes know"),
        ({"model_type": "llava", "text_config": {}}, "only its own classes know"),
        ({"model_type": "llama", "num_attention_heads": 7}, "hidden_size 4096 is no multiple of 7 heads"),
        ({"model_type": "llama", "head_dim": 0}, "head_dim: got 0; must be a count"),
        ({"model_type": "dbrx", "moe_num_experts": 8}, "mixtures of experts are modelled of these types: mixtral"),
    ],
)
def test_without_transformers_what_the_table_does_not_know_is_refused_by_name(
    config: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda library: None)
    with pytest.raises(DipsimError, match=message):
        ModelSpec.from_config(config, "m")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "llama", "num_key_value_heads": None, "head_dim": None}, {"n_kv_heads": 4, "head_dim": 16}),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": 2},
            {"sliding_window": 4096, "sliding_layers": [2]},
        ),
        ({"model_type": "gemma3_text", "sliding_window_pattern": 3}, {"sliding_layers": [0, 1]}),
        ({"model_type": "lfm2", **ALL_ATTENTION, "intermediate_size": 384}, {"intermediate_size": 256}),
        (
            {
                "model_type": "stablelm",
                "quantization_config": {"quant_method": "awq"},
                "auto_map": {"AutoModel": "x"},
            },
            {},
        ),
        ({"model_type": "stablelm", "attn_implementation": "somebody/kernel", "pad_token_id": 32000}, {}),
    ],
)
def test_what_only_classes_know(config: dict[str, Any], expected: dict[str, Any]) -> None:
    sizes = {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 99}
    spec = ModelSpec.from_config(sizes | {"num_key_value_heads": 4} | config, "m").model_dump()
    assert {key: spec[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "MLPs without a gate are not modelled") for name in ("phi", "starcoder2", "gpt2", "opt", "gpt_neox")),
        *((name, "MLPs without a gate are not modelled") for name in ("falcon", "arcee", "apertus", "gptj", "bloom")),
        ("minicpm3", "kv_lora_rank: got 256; multi-head latent attention"),
        ("youtu", "multi-head latent attention"),
        *((name, "no state-space, linear, convolutional or hybrid layers") for name in ("mamba", "bamba", "falcon_h1")),
        *((name, "or hybrid layers") for name in ("qwen3_5", "recurrent_gemma", "lfm3", "zamba2", "olmo_hybrid")),
        ("rwkv", "has no attention; state-space and recurrent layers"),
        *((name, "encoder-decoders are not modelled") for name in ("bart", "whisper")),
        ("mllama", "cross-attention"),
        ("gemma4_text", "sizes that differ by layer are not modelled"),
        ("bitnet", "looked for one gated MLP in each of 30 layers"),
        ("moshi", "embedding is \\(32001, 4096\\), where \\(32000, 4096\\) is modelled"),
        ("modernbert-decoder", "lm_head.dense.weight .*neither attention, gated MLP, embedding nor LM head"),
        ("internlm2", "has no classes for it, and code that comes with a model is not run"),
    ],
)
def test_other_kinds_are_refused_by_their_name(name: str, words: str) -> None:
    with pytest.raises(DipsimError, match=words) as caught:
        ModelSpec.from_config({"model_type": name}, name)
    assert "\n" not in str(caught.value)


def test_nemotron_whose_minimal_config_its_own_class_refuses() -> None:
    with pytest.raises(DipsimError, match="MLPs without a gate"):
        ModelSpec.from_config({"model_type": "nemotron", "num_key_value_heads": 8}, "m")


@pytest.mark.parametrize(
    "config",
    [
        *({"model_type": name} for name in ("dbrx", "ernie4_5_moe", "jetmoe", "glm4_moe")),
        {"model_type": "unheard-of", "n_routed_experts": 64},
        {"model_type": "unheard-of", "moe_num_experts": [64, 64]},
        {"model_type": "unheard-of", "ffn_config": {"moe_num_experts": 16}},
        {"model_type": "unheard-of", "text_config": {"num_local_experts": 8}},
    ],
    ids=str,
)
def test_mixtures_of_other_types_get_one_message(config: dict[str, Any]) -> None:
    with pytest.raises(DipsimError, match=r"experts: got \d+; mixtures of experts are modelled of these types: "):
        ModelSpec.from_config(config, "m")


def test_weights_that_a_spec_would_count_otherwise_are_named() -> None:
    with pytest.raises(DipsimError, match=r"layer 0 has 22,528 weights of attention; .* 4 heads, 4 KV heads of 24"):
        # Its output matrix is d x d, whatever its heads' width.
        ModelSpec.from_config(
            {"model_type": "helium", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4}
            | {"head_dim": 24, "num_hidden_layers": 2, "vocab_size": 9},
            "m",
        )


def test_a_model_of_a_thousand_layers_is_built_and_one_of_more_is_not() -> None:
    assert ModelSpec.from_config({"model_type": "llama", "num_hidden_layers": 1024}, "m").n_layers == 1024
    for key in ("num_hidden_layers", "n_layer", "num_layers", "max_window_layers"):
        with pytest.raises(DipsimError, match=f"{key}: got {2**40}; must be at most 1024"):
            ModelSpec.from_config({"model_type": "llama", key: 2**40}, "m")


def test_a_class_that_makes_too_many_weights_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipsim.sparsify.architectures._MOST_WEIGHTS", 55)
    config = {"model_type": "stablelm", "num_hidden_layers": 4, "hidden_size": 64, "vocab_size": 9}
    assert sizes_by_class(config, "m")["n_layers"] == 4  # 4 x 11 weights, and 4 beside them
    with pytest.raises(DipsimError, match="m: its classes make more than 55 weights of it"):
        sizes_by_class(config | {"num_hidden_layers": 5}, "m")


@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(4, 2), (2, 1)])
def test_a_fused_attention_of_the_same_shape_is_no_mlp(n_heads: int, n_kv_heads: int) -> None:
    config = transformers.Phi3Config(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads,  # its queries, keys and values are d -> 2 x heads, as a gate and up are
        pad_token_id=0,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    found = find_gated_mlps(model, 2)
    assert [mlp.down.in_features for mlp in found] == [24, 24]
    assert sizes_of_config(config, "m")["intermediate_size"] == 24


def test_an_mlp_as_wide_as_the_model_is_found() -> None:
    config = {"model_type": "stablelm", "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes = sizes_by_class(config | {"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 9}, "m")
    assert (sizes["hidden_size"], sizes["intermediate_size"]) == (64, 64)


def saved_lfm2(folder: Path, layer_types: list[str]) -> Path:
    """A model whose own class adjusts the width that its config says."""
    config = transformers.Lfm2Config(
        vocab_size=1024,
        hidden_size=64,
        intermediate_size=384,
        block_multiple_of=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=layer_types,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for file in shipped.folder("tiny").glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def test_capture_has_the_widths_of_the_layers(tmp_path: Path) -> None:
    folder = saved_lfm2(tmp_path / "m", ["full_attention"] * 2)
    loaded = load_model(str(folder))
    capture(loaded, np.arange(24).reshape(2, 12), tmp_path / "t.zarr", masking=Dense())
    trace = Trace.open(tmp_path / "t.zarr")
    assert trace.model.intermediate_size == loaded.spec.intermediate_size == 256
    assert trace.read("glu", 0, 12).shape == (12, 2, 256)
    assert json.loads((folder / "config.json").read_text())["intermediate_size"] == 384


def test_hybrids_are_refused_before_their_weights_are_read(tmp_path: Path) -> None:
    folder = saved_lfm2(tmp_path / "m", ["conv", "full_attention"])
    (folder / "model.safetensors").unlink()
    with pytest.raises(DipsimError, match="model_type 'lfm2': layer 0 is 'conv'"):
        load_model(str(folder))


def test_kv_of_sliding_layers_by_hand() -> None:
    """Gemma 3 270M at 8k: 15 of 18 layers keep 512 positions; 512 bytes a position and layer."""
    spec = ModelSpec.from_config(
        {"model_type": "gemma3_text", "num_hidden_layers": 18, "hidden_size": 640, "intermediate_size": 2048}
        | {"num_attention_heads": 4, "num_key_value_heads": 1, "sliding_window": 512, "vocab_size": 262144},
        "gemma-3-270m",
    )
    assert spec.kv_bytes_per_position * 8192 == 18 * 512 * 8192  # 75.5 MB
    each = spec.kv_bytes(8192)
    assert each.sum() == 512 * (3 * 8192 + 15 * 512) == pytest.approx(16.5e6, rel=2e-3)
    assert [layer for layer in range(18) if each[layer] > 512 * 512] == [5, 11, 17]
    assert spec.kv_bytes(np.array([0.0, 511, 512, 513])).sum(axis=1).tolist() == [
        512 * (3 * n + 15 * min(n, 512)) for n in (0, 511, 512, 513)
    ]


def test_a_run_reads_and_keeps_no_more_of_a_sliding_layer_than_its_window(make_trace: MakeTrace) -> None:
    n_tokens, window = 12, 5
    full = small_model()
    sliding = small_model(sliding_window=window, sliding_layers=[1])
    trace = make_trace(full, random_scores(full, n_tokens), prompt_lengths=[3])
    results = [
        Simulation(device(dram=1e9), trace, Dense(), "lru", dram="1GB", model=model, overlap="none").run()
        for model in (full, sliding)
    ]
    each = full.kv_bytes_per_position / 2
    unread = [each * max(0, 3 + t - window) for t in range(n_tokens)]
    theirs, ours = (result.to_dict() for result in results)
    assert [theirs["dram"]["kv_bytes"], ours["dram"]["kv_bytes"]] == [each * (15 + 15), each * (15 + 5)]
    saved = theirs["bytes_per_token"]["dram"] - ours["bytes_per_token"]["dram"]
    assert saved * n_tokens == pytest.approx(sum(unread))


def test_models_without_windows_are_written_as_ever() -> None:
    assert not any(
        key.startswith("sliding") for key in [*small_model().model_dump(), *json.loads(small_model().model_dump_json())]
    )
    sliding = small_model(sliding_window=5, sliding_layers=[1])
    assert ModelSpec.parse(json.loads(sliding.model_dump_json()), "m") == sliding


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("gemma-3-1b", {"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "head_dim": 256}
         | {"num_attention_heads": 4, "num_key_value_heads": 1, "sliding_window": 512, "vocab_size": 262144}),
        ("phi-3-mini", {"model_type": "phi3"}),
        ("mistral-7b", {"model_type": "mistral", "sliding_window": None}),
        ("llama-3-8b", {"model_type": "llama", "num_key_value_heads": 8, "intermediate_size": 14336}
         | {"vocab_size": 128256}),
        ("smollm2-1.7b", {"model_type": "llama", "num_hidden_layers": 24, "hidden_size": 2048}
         | {"intermediate_size": 8192, "vocab_size": 49152, "tie_word_embeddings": True}),
    ],
)  # fmt: skip
def test_presets_are_what_the_classes_make_of_their_configs(name: str, config: dict[str, Any]) -> None:
    made = ModelSpec.parse({"name": name} | sizes_by_class(config, name), name)
    assert ModelSpec.load(name) == made
