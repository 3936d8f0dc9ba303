"""Profiles and models: strict files, typos with a suggestion, shapes by hand."""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from conftest import small_model
from hypothesis import given
from hypothesis import strategies as st

from dipsim import DipsimError, HardwareProfile, ModelSpec
from dipsim.registry import Registry
from dipsim.units import parse_bytes, parse_dram, scaled, three_digits, typed

TEXT = """
schema = 1
name = "mine"
[flash]
read_bytes_per_s = 2e9
latency_s = 1e-4
queue_depth = 8
page_bytes = 4096
read_curve = [[4096, 1e9], [8192, 1.5e9]]
[dram]
capacity_bytes = 8_000_000_000
read_bytes_per_s = 40e9
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_a_profile_from_a_file(tmp_path: Path) -> None:
    profile = HardwareProfile.load(write(tmp_path, TEXT))
    assert profile.flash.read_curve == [(4096, 1e9), (8192, 1.5e9)]
    assert profile.dram.capacity_bytes == 8e9
    assert not profile.flash.is_ideal
    assert profile.compute is None


def test_the_paper_device_is_ideal() -> None:
    profile = HardwareProfile.load("a18-paper")
    assert (profile.flash.read_bytes_per_s, profile.dram.read_bytes_per_s) == (1e9, 60e9)
    assert profile.flash.is_ideal
    assert profile.compute is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("latency_s", "latencys", "flash.latencys: unknown key; did you mean 'latency_s'"),
        ("[dram]", "[drum]", "drum: unknown key; did you mean 'dram'"),
        ("read_bytes_per_s = 40e9", "", "dram.read_bytes_per_s: missing; it is required"),
        ("read_bytes_per_s = 2e9", "read_bytes_per_s = 0", "flash.read_bytes_per_s: got 0; input should be greater"),
        ("read_bytes_per_s = 2e9", "read_bytes_per_s = -1.0", "flash.read_bytes_per_s: got -1.0"),
        ("read_bytes_per_s = 2e9", "read_bytes_per_s = inf", "flash.read_bytes_per_s: got inf"),
        ("read_bytes_per_s = 2e9", "read_bytes_per_s = '2e9'", "flash.read_bytes_per_s: got '2e9'"),
        ("latency_s = 1e-4", "latency_s = -1e-4", "flash.latency_s: got -0.0001"),
        ("queue_depth = 8", "queue_depth = 0", "flash.queue_depth: got 0"),
        ("queue_depth = 8", "queue_depth = 1.5", "flash.queue_depth: got 1.5"),
        ("[8192, 1.5e9]", "[4096, 1.5e9]", "read sizes must ascend, but 4096 follows 4096"),
        ("[8192, 1.5e9]", "[8192, 3e9]", "a read of 8192 bytes is faster than one of 4096"),
        ("[[4096, 1e9], [8192, 1.5e9]]", "[]", "a read_curve needs at least one"),
        ("[8192, 1.5e9]", "[8192, 0]", "flash.read_curve.1.1: got 0"),
        ("capacity_bytes", "reserved_bytes = 9e9\ncapacity_bytes", "reserved_bytes must be below capacity_bytes"),
        ("schema = 1", "schem = 1", "schem: unknown key; did you mean 'schema'"),
        ("schema = 1", "schema = 2", "schema: got 2"),
        ("schema = 1", "schema =", "not valid TOML"),
        ("schema = 1", "schema = " + "[" * 5000, "not valid TOML"),
    ],
)
def test_a_bad_profile_is_refused_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    path = write(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(DipsimError) as caught:
        HardwareProfile.load(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_only_rates_and_capacity_are_required(tmp_path: Path) -> None:
    text = "[flash]\nread_bytes_per_s = 1e9\n[dram]\nread_bytes_per_s = 2e9\ncapacity_bytes = 3e9\n"
    profile = HardwareProfile.load(write(tmp_path, text))
    assert (profile.name, profile.flash.is_ideal, profile.dram.capacity_bytes) == ("mine", True, 3e9)


def test_an_unknown_profile_lists_the_choices() -> None:
    with pytest.raises(DipsimError, match="got 'a18-papr'; did you mean 'a18-paper'"):
        HardwareProfile.load("a18-papr")


def test_model_bytes_by_hand() -> None:
    model = small_model(bits={"mlp": 4.5, "attention": 4, "lm_head": 8, "embedding": 16, "kv": 8})
    assert model.mlp_bytes == 3 * 2 * 8 * 12 * 4.5 / 8
    assert model.attention_bytes == 8 * 4 * (2 * 2 + 2 * 1) / 2
    assert model.pinned_bytes == 2 * model.attention_bytes + 16 * 8
    assert model.embedding_row_bytes == 16
    assert model.kv_bytes_per_position == 2 * 1 * 4 * 2
    tied = small_model(tied_embeddings=True, bits={"lm_head": 4, "embedding": 16})
    assert tied.embedding_row_bytes == 4


def test_presets() -> None:
    medium = ModelSpec.load("phi-3-medium")
    shape = (medium.n_layers, medium.hidden_size, medium.intermediate_size, medium.n_heads, medium.n_kv_heads)
    assert shape == (40, 5120, 17920, 40, 10)
    bits = medium.bits
    assert (bits.mlp, bits.attention, bits.lm_head, bits.embedding, bits.kv) == (4, 4, 8, 8, 8)
    assert {"phi-3-mini", "llama-3-8b", "mistral-7b", "tiny"} < set(ModelSpec.presets())


CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 224,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 100,
}


def test_configs_of_several_kinds() -> None:
    assert not ModelSpec.from_config(CONFIG, "m").tied_embeddings
    gemma = CONFIG | {"model_type": "gemma3_text", "num_key_value_heads": 2}
    assert ModelSpec.from_config(gemma, "m").tied_embeddings
    seeing = {"model_type": "gemma3", "text_config": gemma, "tie_word_embeddings": False, "hidden_size": 7}
    assert ModelSpec.from_config(seeing, "m") == ModelSpec.from_config(gemma | {"tie_word_embeddings": False}, "m")


def test_a_model_from_a_config_and_from_its_own_json(tmp_path: Path) -> None:
    config = CONFIG | {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = ModelSpec.load(tmp_path)
    assert (model.name, model.n_kv_heads, model.head_dim) == (tmp_path.name, 4, 16)
    assert (model.activation, model.tied_embeddings) == ("gelu_pytorch_tanh", True)
    (tmp_path / "spec.json").write_text(model.model_dump_json())
    assert ModelSpec.load(tmp_path / "spec.json") == model


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"hidden_size": 4}, "model_type: got None; must name the architecture"),
        (CONFIG | {"text_config": [1]}, "text_config: got [1]; must be an object"),
        (CONFIG | {"num_hidden_layers": 2**40}, "num_hidden_layers: got 1099511627776; must be at most 1024"),
        (CONFIG | {"num_hidden_layers": 1024, "hidden_size": 2**19}, "intermediate_size) is 537,100,288; at most"),
        (CONFIG | {"tie_word_embeddings": "yes"}, "tied_embeddings: got 'yes'"),
        (small_model().model_dump() | {"n_layers": 1025}, "n_layers: got 1025"),
        (small_model().model_dump() | {"vocab_size": 2**40}, "vocab_size: got 1099511627776"),
        (small_model().model_dump() | {"sliding_window": 4}, "sliding_window and sliding_layers go together"),
        (
            small_model().model_dump() | {"sliding_window": 4, "sliding_layers": [2]},
            "must be from 0 and below n_layers",
        ),
        (small_model().model_dump() | {"sliding_window": 4, "sliding_layers": [1, 0]}, "must ascend, each layer once"),
        (CONFIG | {"hidden_size": "8"}, "hidden_size: got '8'"),
        (CONFIG | {"num_attention_heads": 0}, "num_attention_heads: got 0"),
        (CONFIG | {"vocab_size": True}, "vocab_size: got True"),
        ({"n_layers": 2, "hiden_size": 4}, "hiden_size: unknown key; did you mean 'hidden_size'"),
        ({"n_layers": 2}, "name: missing"),
        (small_model().model_dump() | {"hiddensize": 4}, "hiddensize: unknown key; did you mean 'hidden_size'"),
        (small_model().model_dump() | {"n_heads": 3, "n_kv_heads": 2}, "n_heads (3) must be a multiple"),
        ([], "not a JSON object"),
    ],
)
def test_bad_models(tmp_path: Path, data: object, message: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps(data))
    with pytest.raises(DipsimError) as caught:
        ModelSpec.load(tmp_path / "m.json")
    assert message in str(caught.value)


def test_a_file_that_nests_without_end(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("[" * 100_000)
    with pytest.raises(DipsimError, match="not JSON: nested too deep"):
        ModelSpec.load(tmp_path / "m.json")


def test_unknown_model() -> None:
    with pytest.raises(DipsimError, match="got 'phi-3-med'; did you mean 'phi-3-medium'"):
        ModelSpec.load("phi-3-med")


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        *[("4GB", 4 * 10**9), ("512MiB", 512 * 2**20), ("1000B", 1000), ("1.5 kB", 1500), (".5GiB", 2**29)],
        *[("2TB", 2e12), ("4000000000", 4 * 10**9), ("4e9", 4 * 10**9), ("1.5E+3", 1500), ("12.", 12)],
    ],
)
def test_amounts_of_bytes(text: str, n_bytes: int) -> None:
    assert parse_bytes(text, "x") == n_bytes


@pytest.mark.parametrize(
    "text", ["4G", "512Mb", "GB", "-4GB", "4XB", "1e9B", "4GB!", "", "-4", "1e-3", "nan", "1_000", "\u0664", "e9"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(DipsimError, match="x: not an amount of bytes"):
        parse_bytes(text, "x")


def test_dram_budgets() -> None:
    assert parse_dram("0.5x") == (0.5, "model")
    assert parse_dram("mlp:0.25") == (0.25, "mlp")
    assert parse_dram("mlp:0") == (0, "mlp")
    assert parse_dram("2GB") == (2e9, "bytes")
    assert parse_dram("2e9") == parse_dram(2_000_000_000) == (2e9, "bytes")


@given(st.floats(1, 1e15) | st.integers(1, 10**15))
def test_typed_bytes_are_no_fewer_and_hardly_more(n_bytes: float) -> None:
    text = typed(n_bytes)
    assert " " not in text
    assert n_bytes <= parse_bytes(text, "x") <= max(n_bytes * 1.01, n_bytes + 1)


def test_typed_bytes_are_short() -> None:
    assert [typed(n) for n in (1, 999, 1000, 2_345_001, 2_340_000, 9_999_999, 999_999_999.5)] == [
        *("1B", "999B", "1.00kB", "2.35MB", "2.34MB", "10.00MB", "1.00GB"),
    ]


def test_numbers_for_people() -> None:
    assert [three_digits(value) for value in (0, 0.1234, 1.234, 12.34, 1234.5)] == [
        "0",
        "0.123",
        "1.23",
        "12.3",
        "1234",
    ]
    assert [scaled(value, "B") for value in (0, 2.5e9, 999, 1500)] == ["0 B", "2.50 GB", "999 B", "1.50 kB"]
    assert scaled(150e-6, "s") == "150 µs"


def test_a_registry_refuses_a_second_of_a_name_and_suggests() -> None:
    registry: Registry[int] = Registry("thing")
    registry.register("one")(1)
    assert registry["one"] == 1
    with pytest.raises(DipsimError, match="thing 'one': registered twice"):
        registry.register("one")(2)
    with pytest.raises(DipsimError, match="thing: unknown name, got 'on'; did you mean 'one'"):
        registry["on"]


def test_a_cell_that_is_run_again_replaces_its_entry() -> None:
    registry: Registry[type] = Registry("thing")
    for _ in range(2):

        @registry.register("mine")
        class Mine:
            pass

    assert registry["mine"] is Mine


def test_entry_points_load_when_asked_for_and_a_broken_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("counter", "collections:Counter", "things"),
        EntryPoint("broken", "no_such_package:Thing", "things"),
        EntryPoint("own", "collections:OrderedDict", "things"),
        EntryPoint("another's", "collections:OrderedDict", "others"),
    ]
    monkeypatch.setattr("dipsim.registry._offered", lambda path: EntryPoints(points))
    registry: Registry[object] = Registry("thing", "things")
    registry.register("own")(dict)
    assert list(registry) == ["own", "counter", "broken"]
    assert registry["counter"] is Counter
    with pytest.raises(DipsimError, match=r"thing 'broken': its package .no_such_package:Thing. fails to load"):
        registry["broken"]
    with pytest.raises(DipsimError, match="thing 'own': registered twice"):
        registry["own"]


@pytest.mark.parametrize("key", ["num_experts", "num_local_experts", "n_routed_experts"])
def test_mixtures_of_experts_are_refused(key: str) -> None:
    with pytest.raises(DipsimError, match=f"{key}: got 8; mixtures of experts are modelled of these types: mixtral, "):
        ModelSpec.from_config(CONFIG | {key: 8}, "m")
    assert ModelSpec.from_config(CONFIG | {key: None}, "m") == ModelSpec.from_config(CONFIG, "m")
    assert ModelSpec.from_config(CONFIG | {key: 1}, "m") == ModelSpec.from_config(CONFIG, "m")
