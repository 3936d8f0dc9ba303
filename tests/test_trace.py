"""Traces: written by us or by anybody's zarr, opened lazily, and refused with the reason when damaged."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conftest import random_scores, small_model, write_trace

from dipsim import DipsimError, Trace, TraceWriter
from dipsim.trace.plain_chunks import PlainChunks

MODEL = small_model()


def write(path: Path, n_tokens: int = 70) -> dict[str, np.ndarray]:
    scores = random_scores(MODEL, n_tokens)
    write_trace(path, MODEL, scores, [n_tokens - 30, 30], [5, 0])
    return scores


@pytest.mark.parametrize("name", ["t.zarr", "t.zarr.zip"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    scores = write(tmp_path / name)
    trace = Trace.open(tmp_path / name)
    assert trace.model == MODEL
    assert trace.sites == ("gate", "glu", "mlp_input", "predictor", "up")
    assert [(s.start, s.stop, s.prompt_length) for s in trace.sequences] == [(0, 40, 5), (40, 70, 0)]
    assert (trace.n_tokens, trace.n_positions) == (70, 45)
    assert trace.token_ids.tolist() == list(range(70))
    for site, values in scores.items():
        np.testing.assert_array_equal(trace.read(site, 0, 70).view(np.float16), values)
        np.testing.assert_array_equal(trace.read(site, 31, 33).view(np.float16), values[31:33])
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing temporary is left


def test_same_scores_same_bytes(tmp_path: Path) -> None:
    for name in ("a.zarr.zip", "b.zarr.zip"):
        write(tmp_path / name)
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def test_a_trace_of_another_tool_may_say_less(tmp_path: Path) -> None:
    write(tmp_path / "t.zarr")
    edit_attribute(lambda own: [own.pop(key) for key in ("source", "masking", "dipsim_version")])(tmp_path / "t.zarr")
    assert Trace.open(tmp_path / "t.zarr").source is None


def test_blocks_lie_in_one_chunk_and_one_sequence(tmp_path: Path) -> None:
    write(tmp_path / "t.zarr", n_tokens=300)
    blocks = [(b.sequence, b.start, b.stop) for b in Trace.open(tmp_path / "t.zarr").blocks(280)]
    assert blocks == [(0, 0, 128), (0, 128, 256), (0, 256, 270), (1, 270, 280)]


def test_chunks_hold_128_tokens_of_one_layer(tmp_path: Path) -> None:
    write(tmp_path / "t.zarr")
    assert zarr.open_group(tmp_path / "t.zarr", mode="r")["scores/glu"].chunks == (128, 1, 12)


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    write(tmp_path / "t.zarr")
    zarr.open_group(tmp_path / "t.zarr", mode="a")["scores/glu"][4] = np.float16(-0.0)  # by another tool
    assert not Trace.open(tmp_path / "t.zarr").read("glu", 4, 5).any()
    scores = {"glu": np.full((3, 2, 12), -0.0, np.float16)}
    assert not write_trace(tmp_path / "u.zarr", MODEL, scores).read("glu", 0, 3).any()


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    lengths: tuple[list[int], list[int]] = ([4], [0])
    writer = TraceWriter(tmp_path / "t.zarr.zip", MODEL, ["glu"], np.arange(4), *lengths, source={}, masking={})
    with (
        pytest.raises(DipsimError, match="scores/glu: got layer 99, tokens 0 to 4; the trace has sites glu, 2 layers"),
        writer,
    ):
        writer.write("glu", 99, 0, np.ones((4, 12), np.float16))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("writes", "message"),
    [
        (
            [(0, 0, np.ones((4, 12))), (1, 0, np.ones((3, 12)))],
            "1 of 8 tokens x layers were never written, .* layer 1, token 3",
        ),
        ([(0, 2, np.ones((4, 12)))], "got layer 0, tokens 2 to 6"),
        ([(0, 0, np.full((4, 12), -1.0))], "token 0, layer 0, column 0: got -1"),
        ([(0, 0, np.full((4, 12), 1e6, np.float32))], "scores are finite"),
    ],
)
def test_what_is_incomplete_or_no_score_is_not_published(
    tmp_path: Path, writes: list[tuple[int, int, np.ndarray]], message: str
) -> None:
    def write_all() -> None:
        lengths: tuple[list[int], list[int]] = ([4], [0])
        with TraceWriter(tmp_path / "t.zarr", MODEL, ["glu"], np.arange(4), *lengths, source={}, masking={}) as writer:
            for layer, start, scores in writes:
                writer.write("glu", layer, start, scores)

    with pytest.raises(DipsimError, match=message):
        write_all()
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path / "t.zarr")
    more = {"source": {}, "masking": {}}
    for name, message in [
        ("t.zarr", "exists already; give --force"),
        ("t.npz", "a trace ends in .zarr"),
        ("no/where.zarr", "its folder does not exist"),
    ]:
        with pytest.raises(DipsimError, match=message):
            TraceWriter(tmp_path / name, MODEL, ["glu"], np.arange(4), [4], [0], **more)
    for lengths, prompts, sites, message in [
        ([3], [0], ["glu"], r"sequence lengths: got \[3\] for 4 tokens"),
        ([5, -1], [0, 0], ["glu"], "must be positive and add up"),
        ([4], [0, 0], ["glu"], "prompt lengths: got 2 for 1 sequences"),
        ([4], [-1], ["glu"], "prompt_lengths.0: got -1"),
        ([4], [0], ["glu", "glu"], "sites: got glu, glu; each once"),
    ]:
        with pytest.raises(DipsimError, match=message):
            TraceWriter(tmp_path / "u.zarr", MODEL, sites, np.arange(4), lengths, prompts, **more)
    for name, n_tokens, message in [
        ("u.zarr", 2**24 + 1, "at most 16,777,216 and 1,048,576"),
        ("u.zarr.zip", 128 * 75_001, "got 150,002 chunks; at most 150,000 go into a zip, give a name in .zarr"),
    ]:
        with pytest.raises(DipsimError, match=message):
            TraceWriter(tmp_path / name, MODEL, ["glu"], np.arange(n_tokens), [n_tokens], [0], **more)
    (tmp_path / "notes.zarr").mkdir()
    (tmp_path / "notes.zarr" / "mine.txt").write_text("precious")
    (tmp_path / "file.zarr").write_text("precious")
    (tmp_path / "dir.zarr.zip").mkdir()
    for name, message in [
        ("notes.zarr", "is a directory but no Zarr v3 group"),
        ("file.zarr", "is a file; a name in .zarr is a directory"),
        ("dir.zarr.zip", "not a regular file"),
    ]:
        with pytest.raises(DipsimError, match=message):
            TraceWriter(tmp_path / name, MODEL, ["glu"], np.arange(4), [4], [0], force=True, **more)
    with TraceWriter(tmp_path / "t.zarr", MODEL, ["glu"], np.arange(4), [4], [0], force=True, **more) as writer:
        for layer in range(2):
            writer.write("glu", layer, 0, np.ones((4, 12), np.float16))
    assert Trace.open(tmp_path / "t.zarr").n_tokens == 4


def edit_attribute(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        group = zarr.open_group(path, mode="a")
        own = dict(group.attrs["dipsim"])
        change(own)
        group.attrs["dipsim"] = own

    return edit


def replace_array(name: str, values: np.ndarray) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        group = zarr.open_group(path, mode="a")
        del group[name]
        group.create_array(name, data=values, config={"write_empty_chunks": True})

    return edit


def put_score(token: int, layer: int, column: int, value: float) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        zarr.open_group(path, mode="a")["scores/glu"][token, layer, column] = np.float16(value)

    return edit


def cut_chunk(path: Path) -> None:
    chunk = path / "scores/glu/c.0.1.0"
    chunk.write_bytes(chunk.read_bytes()[:-9])


def flip_bit(path: Path) -> None:
    chunk = path / "scores/glu/c.0.1.0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)


def read_all(path: Path) -> None:
    trace = Trace.open(path)
    for block in trace.blocks(trace.n_tokens):
        trace.read("glu", block.start, block.stop)


def huge_vectors(path: Path) -> None:
    for name in ("token_ids", "sequence_ids"):
        data = json.loads((path / name / "zarr.json").read_text())
        data["shape"] = [10**12]
        (path / name / "zarr.json").write_text(json.dumps(data))


def shard(path: Path) -> None:
    group = zarr.open_group(path, mode="a")
    del group["scores/glu"]
    values = np.ones((70, 2, 12), np.float16)
    group.create_array("scores/glu", data=values, chunks=(32, 1, 12), shards=(64, 2, 12))


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: (path / "zarr.json").unlink(), "not a readable Zarr v3 group"),
    (lambda path: (path / "zarr.json").write_text("{"), "not a readable Zarr v3 group"),
    (lambda path: zarr.open_group(path, mode="a").attrs.clear(), "never completed"),
    (edit_attribute(lambda own: own.update(format_version=3)), "format_version: got 3; this dipsim reads 1 and 2"),
    (edit_attribute(lambda own: own.update(format_version=True)), "format_version: got True; this dipsim reads"),
    (edit_attribute(lambda own: own.update(format_version=2)), "got float16 .*; must be uint8 .token, layer, byte"),
    (edit_attribute(lambda own: own.pop("model")), "model: missing"),
    (edit_attribute(lambda own: own.update(modell=1)), "modell: unknown key; did you mean 'model'"),
    (edit_attribute(lambda own: own["model"].update(n_layers=0)), "model.n_layers: got 0"),
    (edit_attribute(lambda own: own["model"].update(n_layers=3)), r"scores/gate: got float16 \[70, 2, 12\]; must be"),
    (edit_attribute(lambda own: own.update(prompt_lengths=[1])), r"prompt_lengths: got 1 for 2 sequences"),
    (edit_attribute(lambda own: own.update(prompt_lengths=[1, -1])), "prompt_lengths.1: got -1"),
    (lambda path: (path / "scores/glu/c.0.1.0").unlink(), "chunk 'c.0.1.0' is missing"),
    (huge_vectors, r"token_ids: chunks of \[70\]: the array has 14,285,714,286; at most 1,048,576"),
    (shard, "scores/glu: codecs: got sharding_indexed; must be"),
    (cut_chunk, "scores/glu is damaged"),
    (flip_bit, "scores/glu is damaged"),
    (lambda path: (path / "zarr.json").write_text("5"), "not a readable Zarr v3 group"),
    (edit_attribute(lambda own: own.update(prompt_lengths=[2**40 + 1, 0])), "prompt_lengths.0: got"),
    (edit_attribute(lambda own: own["model"].update(vocab_size=10**20)), "model.vocab_size: got"),
    (replace_array("sequence_ids", np.zeros(69, np.int32)), "sequence_ids: got 69 for 70 tokens"),
    (replace_array("token_ids", np.arange(70)), "token_ids: got int64"),
    (replace_array("sequence_ids", np.arange(70, dtype=np.int32) % 2), "a sequence comes back after another"),
    (replace_array("scores/glu", np.ones((70, 2, 12), np.float32)), "scores/glu: got float32"),
    (replace_array("scores/glu", np.ones((69, 2, 12), np.float16)), r"scores/glu: got float16 \[69, 2, 12\]"),
    (put_score(50, 1, 7, np.nan), "scores/glu: token 50, layer 1, column 7: got nan; scores are finite"),
    (put_score(3, 0, 11, np.inf), "scores/glu: token 3, layer 0, column 11: got inf"),
    (put_score(69, 1, 0, -0.5), "scores/glu: token 69, layer 1, column 0: got -0.5"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damage_is_refused_with_the_reason(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "t.zarr"
    write(path)
    damage(path)
    with pytest.raises(DipsimError, match=message) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)


def test_damaged_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "t.zarr.zip"
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DipsimError, match=r"t\.zarr\.zip: cannot be read as a zip"):
        Trace.open(path)
    path.write_bytes(b"")
    with pytest.raises(DipsimError, match=r"t\.zarr\.zip: cannot be read as a zip"):
        Trace.open(path)
    broken = bytearray(whole)
    with zipfile.ZipFile(tmp_path / "t.zarr.zip", "w"):
        pass
    with pytest.raises(DipsimError, match="not a readable Zarr v3 group"):
        Trace.open(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("scores/glu/c.0.0.0").header_offset
    broken[offset + 100] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(DipsimError, match=r"'scores/glu/c\.0\.0\.0' is damaged: Bad CRC-32"):
        Trace.open(path).read("glu", 0, 1)


def test_no_such_trace() -> None:
    with pytest.raises(DipsimError, match=r"trace: no such file, got 'tinny'; .*did you mean 'tiny'"):
        Trace.open("tinny")


def test_a_missing_site_says_how_to_capture_it(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "t.zarr", MODEL, {"glu": np.ones((2, 2, 12), np.float16)})
    with pytest.raises(DipsimError, match="dipsim capture MODEL TEXT --sites glu,up -o OUT"):
        trace.read("up", 0, 1)


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    """An old Zarr v2 group could carry pickled objects: it is not even opened."""
    path = tmp_path / "v2.zarr"
    path.mkdir()
    (path / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    (path / ".zattrs").write_text(json.dumps({"dipsim": {"format_version": 1}}))
    with pytest.raises(DipsimError, match="not a readable Zarr v3 group"):
        Trace.open(path)


BIG = zarr.codecs.BytesCodec(endian="big")
HOW: dict[str, dict[str, Any]] = {
    "by default": {},
    "plain": {"compressors": None},
    "checked": {"compressors": zarr.codecs.Crc32cCodec()},
    "big end first": {"compressors": None, "serializer": BIG},
    "named as Zarr v2": {"compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    "folders as Zarr v2": {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "in one folder": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "whole": {"chunks": (300, 2, 12)},
    "two layers": {"chunks": (32, 2, 12)},
    "half the columns": {"chunks": (40, 1, 7), "compressors": zarr.codecs.GzipCodec()},
    "turned": {"chunks": (50, 2, 5), "filters": [zarr.codecs.TransposeCodec(order=(2, 0, 1))], "serializer": BIG},
    "zstd": {"compressors": zarr.codecs.ZstdCodec(level=5, checksum=True)},
    "checked twice": {"compressors": [zarr.codecs.Crc32cCodec(), zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]},
    **{
        f"blosc {name}": {"compressors": zarr.codecs.BloscCodec(cname=name, typesize=2)}
        for name in ("lz4", "lz4hc", "blosclz", "zstd", "zlib")
    },
}


@pytest.mark.parametrize("how", HOW.values(), ids=list(HOW))
def test_arrays_are_read_as_zarr_reads_them(tmp_path: Path, how: dict[str, Any]) -> None:
    write(tmp_path / "t.zarr", n_tokens=300)
    group, values = zarr.open_group(tmp_path / "t.zarr", mode="a"), random_scores(MODEL, 300, seed=1)["glu"]
    group.create_array("scores/glu", data=values, overwrite=True, **({"chunks": (128, 1, 12)} | how))
    trace = Trace.open(tmp_path / "t.zarr")
    array = zarr.open_group(tmp_path / "t.zarr", mode="r")["scores/glu"]
    for start, stop in ((0, 128), (130, 140), (256, 300), (120, 130), (0, 300)):
        np.testing.assert_array_equal(trace.read("glu", start, stop).view(np.float16), array[start:stop])
        for layer in (0, 1):
            read = trace.read("glu", start, stop, layer)
            np.testing.assert_array_equal(read.view(np.float16), array[start:stop, layer])
            assert read.flags.c_contiguous


def test_ids_that_were_not_written_are_the_fill_value(tmp_path: Path) -> None:
    write(tmp_path / "t.zarr")
    group = zarr.open_group(tmp_path / "t.zarr", mode="a")
    ids = group.create_array("token_ids", shape=(70,), chunks=(20,), dtype="int32", fill_value=7, overwrite=True)
    ids[20:30] = np.arange(10)
    assert Trace.open(tmp_path / "t.zarr").token_ids.tolist() == ids[:].tolist() == [7] * 20 + [*range(10)] + [7] * 40


def test_chunks_stored_otherwise_are_left_to_zarr(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "others.zarr", zarr_format=3)
    for name in ("by default", "two layers", "half the columns", "big end first", "named as Zarr v2"):
        array = group.create_array(name, data=np.ones((40, 2, 12), np.float16), **({"chunks": (32, 1, 12)} | HOW[name]))
        assert PlainChunks.of(array) is None, name


def test_whole_chunks_and_what_is_left_of_them_are_all_there(tmp_path: Path) -> None:
    """Written in pieces that begin and end anywhere: zarr reads what was given, whoever wrote which chunk."""
    values = random_scores(MODEL, 300)["glu"]
    arguments = ([300], [0], {"generator": "test"}, {"name": "dense"})
    with TraceWriter(tmp_path / "t.zarr", MODEL, ["glu"], np.arange(300), *arguments) as writer:
        for start, stop in ((0, 256), (256, 260), (260, 300)):
            writer.write("glu", 0, start, values[start:stop, 0])
        for start, stop in ((0, 100), (100, 300)):
            writer.write("glu", 1, start, values[start:stop, 1])
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "t.zarr", mode="r")["scores/glu"][:], values)
