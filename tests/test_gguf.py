"""Shapes and bits of GGUF files, against the models that they were written from; and files that lie."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf_writing import made, write
from test_cli import complaint, run

from dipsim import DipsimError, ModelSpec
from dipsim.archives import content_sha256, contents_sha256
from dipsim.model.gguf_files import open_gguf
from dipsim.model.gguf_files.file import dequantised
from dipsim.sparsify.architectures import sizes_by_class
from dipsim.sweeps.runs import _sha256_of_file

MIXED = {"ffn_down": Kind.Q8_0, "ffn": Kind.Q4_0, "attn_v": Kind.F16, "attn": Kind.Q5_1, "output": Kind.Q8_0}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("gguf") / "small-q4.gguf", made("llama"), MIXED)


def test_sizes_and_bits_by_hand(llama: Path) -> None:
    spec = ModelSpec.load(llama)
    shape = (spec.name, spec.n_layers, spec.hidden_size, spec.intermediate_size, spec.n_heads, spec.n_kv_heads)
    assert shape == ("small-q4", 2, 64, 96, 4, 2)
    assert (spec.head_dim, spec.vocab_size, spec.tied_embeddings, spec.activation) == (16, 260, False, "silu")
    # Blocks of 32 weights: Q4_0 has 18 bytes of them, Q5_1 24, Q8_0 34; two of three MLP matrices are Q4_0.
    q4, q5, q8 = 8 * 18 / 32, 8 * 24 / 32, 8 * 34 / 32
    assert spec.bits.mlp == pytest.approx((2 * q4 + q8) / 3)
    # Query has 64 rows of 64 weights, key and value 32; "output" is in the name of attention's output matrix too.
    assert spec.bits.attention == pytest.approx((64 * q5 + 32 * q5 + 32 * 16 + 64 * q5) / (64 + 32 + 32 + 64))
    assert (spec.bits.lm_head, spec.bits.embedding, spec.bits.kv) == (q8, 32, 8)
    stored = {name: one.n_bytes for name, one in open_gguf(llama).tensors.items()}
    assert spec.mlp_bytes == pytest.approx(
        sum(size for name, size in stored.items() if "ffn_" in name and "norm" not in name)
    )
    attention = sum(size for name, size in stored.items() if "attn_" in name and "norm" not in name)
    assert spec.pinned_bytes == pytest.approx(attention + stored["output.weight"])


OTHERS: dict[str, dict[str, Any]] = {
    "phi3": {"sliding_window": 100},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
    "gemma": {"head_dim": 32},
    "gemma2": {"head_dim": 32, "sliding_window": 5},
    "gemma3_text": {"head_dim": 32, "sliding_window": 5, "num_hidden_layers": 7},
    "smollm3": {},
    "olmo2": {},
}


@pytest.mark.parametrize("model_type", OTHERS)
def test_the_spec_is_that_of_the_model_that_was_written(model_type: str, tmp_path: Path) -> None:
    model = made(model_type, **OTHERS[model_type])
    spec = ModelSpec.load(write(tmp_path / "m.gguf", model, Kind.Q8_0))
    expected = ModelSpec.parse({"name": "m", "bits": spec.bits} | sizes_by_class(model.config.to_dict(), "m"), "m")
    assert spec == expected
    assert (spec.bits.mlp, spec.bits.attention, spec.bits.lm_head, spec.bits.embedding) == (8.5,) * 4
    n_weights = sum(weight.numel() for weight in model.parameters() if weight.ndim > 1)
    n_table = 0 if spec.tied_embeddings else spec.lm_head_weights
    assert spec.mlp_weights + spec.n_layers * spec.attention_weights + spec.lm_head_weights + n_table == n_weights


@pytest.mark.parametrize(
    ("pattern", "layers"), [(2, [0, 2]), ([1, 0, 0], [0]), (None, [0, 1, 2])], ids=["every second", "listed", "unsaid"]
)
def test_layers_that_slide_are_those_the_file_says(pattern: Any, layers: list[int], tmp_path: Path) -> None:
    model = made("gemma3_text", sliding_window=5, num_hidden_layers=3)
    keys = {"gemma3.attention.sliding_window_pattern": pattern}
    assert ModelSpec.load(write(tmp_path / "m.gguf", model, metadata=keys)).sliding_layers == layers


def test_parts_of_a_split_model(tmp_path: Path, llama: Path) -> None:
    write(tmp_path / "big.gguf", made("llama"), MIXED, n_parts=3)
    parts = sorted(tmp_path.glob("*.gguf"))
    whole = ModelSpec.load(llama).model_copy(update={"name": "big"})
    assert [ModelSpec.load(part) for part in parts] == [whole] * 3
    keys = {_sha256_of_file(str(part)) for part in parts}
    assert keys == {contents_sha256(parts)}
    assert _sha256_of_file(str(llama)) == content_sha256(llama)
    content = bytearray(parts[2].read_bytes())
    content[-1] ^= 1
    parts[2].write_bytes(content)
    assert _sha256_of_file(str(parts[0])) not in keys
    parts[1].rename(tmp_path / "away")
    with pytest.raises(DipsimError, match=r"one of 3 parts, and 'big-00002-of-00003\.gguf' is not beside it"):
        ModelSpec.load(parts[0])
    parts[2].rename(parts[1])
    (tmp_path / "away").rename(parts[2])
    with pytest.raises(DipsimError, match=r"says that it is part 2 \(from 0\) of 3, its name says 1 of 3"):
        ModelSpec.load(parts[0])
    lone = parts[0].rename(tmp_path / "lone.gguf")
    with pytest.raises(DipsimError, match=r"part 0 \(from 0\) of 3, its name says 0 of 1"):
        ModelSpec.load(lone)


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1])
def test_numbers_are_those_of_the_packages_own_reader(kind: Kind, tmp_path: Path) -> None:
    from gguf import GGUFReader, dequantize

    # More weights than are dequantised at once, and no multiple of that.
    path = write(tmp_path / "m.gguf", made("llama", intermediate_size=4128), {"ffn_up": kind})
    stored = open_gguf(path).tensors["blk.1.ffn_up.weight"]
    own = next(tensor for tensor in GGUFReader(path).tensors if tensor.name == "blk.1.ffn_up.weight")
    np.testing.assert_array_equal(dequantised(stored), dequantize(own.data, own.tensor_type))
    assert dequantised(stored).shape == (4128, 64)


# What lies.


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def replace(data: bytes) -> bytes:
        assert data.count(old) >= 1, old
        return data.replace(old, new, 1)

    return replace


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def at(place: int, code: str, value: Any) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + struct.pack(f"<{code}", value) + data[place + struct.calcsize(code) :]


def tensor(name: str, **change: int) -> Callable[[bytes], bytes]:
    """Changes what is said of a tensor of two dimensions."""
    places = {"n_dimensions": (0, "I"), "width": (4, "Q"), "rows": (12, "Q"), "kind": (20, "I"), "start": (24, "Q")}
    ((what, value),) = change.items()
    place, code = places[what]
    return lambda data: at(data.index(text(name)) + len(text(name)) + place, code, value)(data)


UP = "blk.1.ffn_up.weight"
LIES = {
    "empty": (lambda data: b"", "is empty"),
    "no GGUF": (lambda data: b"PK\x03\x04" + data[4:], r"not a GGUF file: begins with b'PK"),
    "four bytes": (lambda data: data[:4], "truncated: it ends within its head"),
    "half a head": (lambda data: data[:3000], "truncated: it ends within its head"),
    "a byte short": (
        lambda data: data[:-400],
        r"tensor '.*' ends at byte [\d,]+, the file at .*: it is truncated",
    ),
    "version 1": (at(4, "I", 1), "GGUF version 1; must be 2 or 3"),
    "version 99": (at(4, "I", 99), "GGUF version 99"),
    "big-endian": (at(4, "I", 3 << 24), "other order"),
    "tensors": (at(8, "Q", 2**60), "1,152,921,504,606,846,976 tensors; at most"),
    "keys": (at(16, "Q", 2**63), "keys of metadata; at most"),
    "long name": (at(24, "Q", 2**40), "bytes of a name; at most"),
    "long text": (replaced(text("llama"), struct.pack("<Q", 2**50) + b"llama"), "truncated: it ends within its head"),
    "long list": (
        replaced(struct.pack("<IIQ", 9, 8, 260), struct.pack("<IIQ", 9, 8, 2**40)),
        "items of tokenizer.ggml.tokens",
    ),
    "lists in lists": (replaced(struct.pack("<IIQ", 9, 8, 260), struct.pack("<IIQ", 9, 9, 260)), "a list of kind 9"),
    "kind of value": (
        replaced(struct.pack("<I", 8) + text("llama"), struct.pack("<I", 77) + text("llama")),
        "a value of kind 77",
    ),
    "a key twice": (replaced(text("llama.rope.freq_base"), text("llama.context_length")), "stands there twice"),
    "no UTF-8": (replaced(b"llama.block_count", b"llama.block\xff\xffount"), "a name is not UTF-8"),
    "no architecture": (
        replaced(text("general.architecture"), text("general.architectura")),
        "general.architecture: is missing",
    ),
    "architecture": (
        replaced(text("llama"), text("mamba")),
        "architecture 'mamba' is not modelled; of GGUF files, these are",
    ),
    "dimensions": (tensor(UP, n_dimensions=9), "has 9 dimensions"),
    "no rows": (tensor(UP, rows=0), "has 0 x 64 weights"),
    "many rows": (tensor(UP, rows=2**62), "x 64 weights; 1 to 2"),
    "other rows": (tensor(UP, rows=64), r"tensor blk.1.ffn_up.weight is \(64, 64\); its metadata say \(96, 64\)"),
    "other width": (tensor(UP, width=63), "its rows of 63 are no multiple of a block's 32"),
    "quantisation": (tensor(UP, kind=4), "quantisation type 4 is unknown"),
    "overlap": (tensor(UP, start=0), "overlap"),
    "beyond the end": (tensor(UP, start=2**50), "it is truncated"),
    "one tensor twice": (replaced(text(UP), text("blk.0.ffn_up.weight")), "two tensors have one name"),
    "a tensor missing": (replaced(text(UP), text("blk.1.ffn_xx.weight")), "tensor blk.1.ffn_up.weight is missing"),
    "no embedding": (
        replaced(text("token_embd.weight"), text("token_embx.weight")),
        "tensor token_embd.weight is missing",
    ),
    "no layers": (replaced(text("blk.0.ffn_up.weight"), text("blk.0.ffn_xx.weight")), "has no blk.0.ffn_up.weight"),
    "no gates": (
        replaced(text("blk.0.ffn_gate.weight"), text("blk.0.ffn_gaat.weight")),
        "MLPs without a gate are not modelled",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_one_line(lie: str, llama: Path, tmp_path: Path) -> None:
    change, message = LIES[lie]
    path = tmp_path / "lying.gguf"
    path.write_bytes(change(llama.read_bytes()))
    with pytest.raises(DipsimError, match=message) as caught:
        ModelSpec.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"llama.expert_count": 8}, "llama.expert_used_count: got None; must be a count"),
        ({"llama.block_count": 100_000}, "num_hidden_layers: got 100000; must be at most 1024"),
        (
            {"llama.block_count": 2**31, "llama.attention.sliding_window_pattern": 6},
            "got 2147483648; must be at most 1024",
        ),
        ({"llama.block_count": None}, "llama.block_count: got None; must be a count"),
        ({"llama.block_count": 2.0}, "llama.block_count: got 2.0; must be a count"),
        ({"llama.block_count": 3}, "tensor blk.2.attn_output.weight is missing"),
        ({"llama.block_count": 1}, "tensor blk.1.attn_q.weight: neither attention, gated MLP, embedding nor LM head"),
        ({"llama.attention.head_count": "four"}, "llama.attention.head_count: got four; must be a number"),
        ({"llama.attention.head_count": 0}, "num_attention_heads: got 0"),
        ({"llama.attention.head_count": 8}, "tensor blk.0.attn_k.weight is .32, 64.; its metadata say .16, 64."),
        ({"llama.attention.head_count_kv": [2, 1]}, r"got \[2, 1\]...; layers that differ are not modelled"),
        ({"llama.feed_forward_length": [96, 96]}, None),
        ({"llama.rope.freq_base": math.nan}, "rope.freq_base: got nan; must be a number"),
        ({"general.alignment": 24}, "general.alignment: got 24; must be a power of two"),
        ({"split.count": 2}, "part 0 .from 0. of 2, its name says 0 of 1"),
    ],
)
def test_metadata_that_do_not_go_with_the_tensors(metadata: Any, message: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", made("llama"), metadata=metadata)
    if message is None:
        assert ModelSpec.load(path).intermediate_size == 96
        return
    with pytest.raises(DipsimError, match=message):
        ModelSpec.load(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    for name, message in (("no.gguf", "No such file"), ("x-00001-of-99999.gguf", "part 1 of 99999 parts")):
        with pytest.raises(DipsimError, match=message):
            ModelSpec.load(tmp_path / name)
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(DipsimError, match=r"it holds no config\.json"):
        ModelSpec.load(tmp_path / "folder.gguf")


def test_commands_take_one_without_torch(llama: Path, tmp_path: Path) -> None:
    shown = run("show", "model", str(llama))
    assert ModelSpec.model_validate_json(shown.stdout) == ModelSpec.load(llama)
    assert "MLP 26.9 kB, pinned" in shown.stderr
    trace = str(tmp_path / "t.zarr")
    assert run("synth", str(llama), "-n", "32", "-o", trace).returncode == 0
    simulated = run("simulate", trace, "--model", str(llama), "--dram", "0.5x", "--json", str(tmp_path / "r.json"))
    assert simulated.returncode == 0, simulated.stderr
    config = json.loads((tmp_path / "r.json").read_text())["config"]
    assert ModelSpec.parse(config["model"], "config") == ModelSpec.load(llama)
    script = f"import dipsim, sys; dipsim.ModelSpec.load({str(llama)!r}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"False\n"


@pytest.mark.parametrize(
    "command",
    [
        "show model M",
        "synth M -o u.zarr",
        "capture M held-out -o u.zarr",
        "evaluate M held-out",
        "simulate tiny --model M",
    ],
)
def test_a_truncated_file_is_one_line_and_exit_2(command: str, llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(llama.read_bytes()[:5000])
    words = [str(path) if word == "M" else word for word in command.split()]
    assert "is truncated" in complaint(run(*words, cwd=tmp_path))
