"""Traces, zips and use counts that a stranger may send: refused in one line, at once, before anything is allocated."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pyarrow as pa
import pytest
import zarr
from conftest import random_scores, small_model, write_trace

from dipsim import DipsimError, Trace
from dipsim.archives import Archive, content_sha256
from dipsim.policies import Place, make
from dipsim.trace import Certificate
from dipsim.trace.codecs import Codecs

MODEL = small_model()
Damage = Callable[[Path], object]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    scores = random_scores(MODEL, 40)
    write_trace(tmp_path / "t.zarr", MODEL, {"glu": scores["glu"]})
    group = zarr.open_group(tmp_path / "t.zarr", mode="a")
    group.create_array("scores/up", data=scores["up"], chunks=(20, 1, 12))  # in folders, compressed
    return tmp_path / "t.zarr"


@contextmanager
def bounded(seconds: float = 10, mib: float = 20) -> Iterator[None]:
    """Little time and memory."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.perf_counter() - start < seconds
    assert peak < mib * 2**20


def read_all(path: Path) -> None:
    opened = Trace.open(path)
    for site in opened.sites:
        opened.read(site, 0, opened.n_tokens)


def refused(path: Path, message: str) -> None:
    with bounded(), pytest.raises(DipsimError, match=message) as caught:
        read_all(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def metadata(array: str, **changes: Any) -> Damage:
    def edit(path: Path) -> None:
        file = path / array / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return edit


def chunks_of(*shape: int) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}}}


def codecs(*names: str) -> dict[str, Any]:
    return {"codecs": [{"name": name} for name in names]}


def own(**changes: Any) -> Damage:
    def edit(path: Path) -> None:
        data = json.loads((path / "zarr.json").read_text())
        data["attributes"]["dipsim"] |= changes
        (path / "zarr.json").write_text(json.dumps(data))

    return edit


def linked(name: str, target: str) -> Damage:
    def edit(path: Path) -> None:
        (path / name).rename(path.parent / "moved")
        (path / name).symlink_to(target)

    return edit


def pipe(name: str) -> Damage:
    def edit(path: Path) -> None:
        (path / name).unlink()
        os.mkfifo(path / name)

    return edit


def sparse(name: str) -> Damage:
    return lambda path: os.truncate(path / name, 2**40)


def no_arrays(path: Path) -> None:
    (path / "scores").rename(path.parent / "moved")
    for name in ("token_ids", "sequence_ids"):
        metadata(name, shape=[10**12], **chunks_of(10**9))(path)


HOSTILE: dict[str, tuple[Damage, str]] = {
    "metadata a pipe": (pipe("zarr.json"), "'zarr.json' is a link, a pipe or a device"),
    "array's metadata a pipe": (pipe("scores/glu/zarr.json"), "'scores/glu/zarr.json' is a link"),
    "chunk a pipe": (pipe("scores/glu/c.0.0.0"), r"'scores/glu/c\.0\.0\.0' is a link"),
    "chunk a device": (linked("scores/glu/c.0.0.0", "/dev/zero"), r"'scores/glu/c\.0\.0\.0' is a link"),
    "chunk elsewhere": (linked("scores/glu/c.0.0.0", "../../../moved"), r"'scores/glu/c\.0\.0\.0' is a link"),
    "ids elsewhere": (linked("token_ids", "../moved"), "'token_ids' is a link"),
    "sites elsewhere": (linked("scores", "../moved"), "'scores' is a link"),
    "site elsewhere": (linked("scores/up", "../../moved"), "'scores/up' is a link"),
    "chunks elsewhere": (linked("scores/up/c/0", "../../../../moved"), "'scores/up/c/0' is a link"),
    "links in a circle": (linked("scores/up/c", "c"), "'scores/up/c' is a link"),
    "sparse chunk": (sparse("scores/glu/c.0.0.0"), r"chunk 'c\.0\.0\.0' has 1,099,511,627,776 bytes; at most"),
    "sparse metadata": (sparse("zarr.json"), "'zarr.json' has 1,099,511,627,776 bytes; at most 2,097,152"),
    "sparse ids": (sparse("token_ids/c/0"), "'token_ids/c/0' has 1,099,511,627,776 bytes; at most"),
    "deep metadata": (lambda path: (path / "zarr.json").write_text("[" * 10**5), "nested too deep"),
    "deep attributes": (metadata("token_ids", attributes=json.loads("[" * 90 + "]" * 90)), "nested more than 64 deep"),
    "many digits": (lambda path: (path / "scores/glu/zarr.json").write_text("9" * 5000), "not JSON: Exceeds"),
    "no object": (lambda path: (path / "scores/glu/zarr.json").write_text("[1]"), "scores/glu/zarr.json: record: got"),
    "tiny chunks": (metadata("scores/glu", **chunks_of(1, 1, 1)), r"chunk 'c\.0\.0\.1' is missing"),
    "chunks beyond memory": (metadata("scores/glu", **chunks_of(128, 1, 2**40)), "would be decoded for 128 tokens"),
    "chunks beyond the array": (metadata("scores/glu", **chunks_of(2**20, 2, 12)), "hold 50,331,648 bytes|is damaged"),
    "chunks far beyond": (metadata("scores/glu", **chunks_of(2**22, 1, 12)), "hold 201,326,592 bytes for an array"),
    "chunks of nothing": (metadata("scores/glu", **chunks_of(128, 1, 0)), "chunk_shape.2: got 0"),
    "chunks of fewer axes": (metadata("scores/glu", **chunks_of(128, 1)), r"chunk_shape: got \[128, 1\]"),
    "no axes": (metadata("scores/glu", shape=[], **chunks_of()), r"chunk_shape: got \[\] for an array of \[\]"),
    "shape of floats": (metadata("scores/glu", shape=[40.0, 2, 12]), "shape.0: got 40.0"),
    "many tokens": (metadata("scores/glu", shape=[10**12, 2, 12]), "at most 1,048,576"),
    "no scores, many tokens": (no_arrays, "would be decoded"),
    "many layers": (own(model=MODEL.model_dump() | {"n_layers": 2**40}), "n_layers|must be float16"),
    "bad prompts": (own(prompt_lengths=[-1] * 2**16), "prompt_lengths.0: got -1"),
    "many axes": (metadata("scores/glu", shape=[-1] * 10**4), "shape: got .*at most 8|shape.0: got -1"),
    "many codecs": (metadata("scores/glu", codecs=[1] * 10**4), "codecs: record: got 1"),
    "many prompts": (own(prompt_lengths=[0] * (2**16 + 1)), "prompt_lengths: got .*at most 65536"),
    "a huge version": (own(format_version="x" * 10**6), "format_version: got 'xxx"),
    "text": (metadata("scores/glu", data_type="x" * 10**5), "scores/glu: got xxxx.*; scores are float16"),
    "objects": (metadata("token_ids", data_type={"name": "fixed_length_utf32"}), "data_type: got"),
    "a fill": (
        metadata("token_ids", fill_value=10**25),
        "fill_value: got 1000.*; must be an int32",
    ),
    "unknown grid": (metadata("scores/glu", chunk_grid={"name": "sparse"}), "chunk_grid.name: got 'sparse'"),
    "unknown keys": (metadata("scores/glu", chunk_key_encoding={"name": "x"}), "chunk_key_encoding.name: got 'x'"),
    "unknown codec": (metadata("scores/glu", **codecs("bytes", "numcodecs.bz2")), "codecs: got bytes, numcodecs.bz2;"),
    "codec of nobody": (metadata("scores/glu", **codecs("os.system", "bytes")), "codecs: got os.system, bytes;"),
    "compressed twice": (metadata("scores/glu", **codecs("bytes", "zstd", "gzip")), "codecs: got bytes, zstd, gzip;"),
    "many checksums": (metadata("scores/glu", **codecs("bytes", *["crc32c"] * 9)), "at most 8"),
    "turned to nowhere": (metadata("scores/glu", **codecs("transpose", "bytes")), "transpose: order: got None"),
    "a group": (metadata("scores/glu", node_type="group"), "node_type: got 'group'"),
    "transformers": (metadata("scores/glu", storage_transformers=[{"name": "x"}]), "storage_transformers"),
}


@pytest.mark.parametrize(("damage", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_folders_are_refused_at_once(trace: Path, damage: Damage, message: str) -> None:
    damage(trace)
    refused(trace, message)


def test_what_is_no_part_of_a_trace_is_not_looked_at(trace: Path) -> None:
    os.mkfifo(trace / "pipe")
    (trace / "all").symlink_to("/")
    (trace / "scores" / ".DS_Store").write_bytes(b"x")
    read_all(trace)
    (trace.parent / "link.zarr").symlink_to(trace)  # a link to a trace is none inside it
    read_all(trace.parent / "link.zarr")


def test_neither_a_pipe_nor_a_device_is_a_trace(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.zarr.zip")
    for path in (tmp_path / "t.zarr.zip", Path("/dev/zero"), Path("/dev/null")):
        refused(path, "not a regular file")
        with bounded(), pytest.raises(DipsimError, match="not a regular file"):
            content_sha256(path)
    with bounded(), pytest.raises(DipsimError, match="is a other, no file"):
        Trace.open("file:///dev/zero")


def zipped(folder: Path, **members: Any) -> Path:
    """The trace as a zip; members of the given names are of these bytes, or of these bytes and compressed."""
    path = folder.with_name("t.zarr.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_file() and name not in members:
                archive.write(file, name)
        for name, data in members.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def patched(path: Path, name: str, *, local: dict[int, bytes], central: dict[int, bytes]) -> None:
    """Overwrites fields of a member's two headers, by their offset there."""
    data = bytearray(path.read_bytes())
    for signature, length, fields in ((b"PK\3\4", 30, local), (b"PK\1\2", 46, central)):
        start = data.index(name.encode(), data.index(signature)) - length
        while data[start : start + 4] != signature:
            start = data.index(name.encode(), start + length + 1) - length
        for offset, value in fields.items():
            data[start + offset : start + offset + len(value)] = value
    path.write_bytes(data)


CHUNK = "scores/glu/c.0.0.0"


def test_a_member_that_lies_about_its_size_inflates_no_further(trace: Path) -> None:
    """An index that promises a chunk's size, before data that inflate to thousands of times as much."""
    path, size = zipped(trace, **{CHUNK: bytes(50 * 2**20)}), (128 * 12 * 2 + 4).to_bytes(4, "little")
    patched(path, CHUNK, local={22: size}, central={24: size})
    refused(path, "is damaged: Bad CRC-32")


def test_members_that_inflate_are_refused(trace: Path) -> None:
    refused(zipped(trace, **{CHUNK: bytes(50 * 2**20)}), r"chunk 'c\.0\.0\.0' has 52,428,800 bytes; at most")
    refused(zipped(trace, **{"zarr.json": bytes(50 * 2**20)}), "'zarr.json' has 52,428,800 bytes; at most")
    path = zipped(trace, notes=b"x" * 1000)
    huge = struct.pack("<I", 2**32 - 2)
    patched(path, "notes", local={22: huge}, central={24: huge})
    refused(path, "say that they hold 4,29.*; at most 256 times as many")


@pytest.mark.parametrize(
    ("central", "message"),
    [
        ({8: b"\1"}, "is encrypted"),
        ({10: b"\14"}, "is compressed by method 12"),
        ({5: b"\3", 38: struct.pack("<I", 0o120777 << 16)}, "is a link or a device"),
        ({46: b"../c/c"}, "has a name that leads out of it"),
        ({46: b"/"}, "has a name that leads out of it"),
        ({20: struct.pack("<I", 2**28)}, "members of the zip overlap"),
    ],
)
def test_members_that_cannot_be(trace: Path, central: dict[int, bytes], message: str) -> None:
    path = zipped(trace)
    patched(path, CHUNK, local={}, central=central)
    refused(path, message)


def test_members_over_the_same_bytes(trace: Path) -> None:
    """Two names of one chunk's data, as in bombs that overlap."""
    path = zipped(trace)
    data = bytearray(path.read_bytes())
    first = data.index(b"scores/glu/c.0.0.0", data.index(b"PK\1\2")) - 46
    second = data.index(b"scores/glu/c.0.1.0", data.index(b"PK\1\2")) - 46
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    refused(path, r"'scores/glu/c\.0\.1\.0' is damaged")


def test_a_long_index_is_not_read(tmp_path: Path) -> None:
    path, n_bytes = tmp_path / "t.zarr.zip", 17 * 2**20
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, n_bytes, 0, 0)
    with path.open("wb") as file:
        file.truncate(n_bytes)
        file.seek(n_bytes)
        file.write(end)
    refused(path, "its index has 17,825,792 bytes, more than 16,777,216")


def test_of_two_members_of_a_name_the_last_counts(trace: Path) -> None:
    path = zipped(trace)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("zarr.json", "{}")
    refused(path, "must say zarr_format 3")


def test_an_opened_zip_can_be_sent(trace: Path) -> None:
    opened = Trace.open(zipped(trace))
    again = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(again.read("up", 0, 40), opened.read("up", 0, 40))


def streamed(data: bytes, times: int) -> bytes:
    """A frame of zstd that does not say what it holds."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        for _ in range(times):
            file.write(data)
    return bytes(sink.getvalue().to_pybytes())


MIB = bytes(2**20)
BOMBS = {
    "zstd": numcodecs.Zstd().encode(MIB * 20),
    "zstd that does not say": streamed(MIB, 20),
    "zstd that lies": bytes.fromhex("28b52ffde0") + (2**40).to_bytes(8, "little") + bytes.fromhex("010000"),
    "zstd of two frames": numcodecs.Zstd().encode(bytes(960)) + numcodecs.Zstd().encode(MIB * 20),
    "zstd of too little": numcodecs.Zstd().encode(bytes(959)),
    "zstd of nothing": b"(\xb5/\xfd",
    "gzip": numcodecs.GZip().encode(MIB * 20),
    "gzip of many": numcodecs.GZip().encode(b"") * 50,
    "gzip of two": numcodecs.GZip().encode(bytes(960)) * 2,
    "gzip of half": numcodecs.GZip().encode(np.arange(480, dtype=np.int16).tobytes())[:-20],
    "blosc": numcodecs.Blosc().encode(MIB * 20),
    "blosc that reads beyond": numcodecs.Blosc().encode(bytes(960))[:-4],
    "blosc of half a header": numcodecs.Blosc().encode(bytes(960))[:9],
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_chunks_inflate_to_what_they_hold(name: str) -> None:
    packed = Codecs((), "little", (name.split()[0],))
    with bounded(mib=1), pytest.raises((ValueError, RuntimeError)):
        packed.decode(np.frombuffer(BOMBS[name], np.uint8), np.dtype("float16"), (40, 1, 12))


def test_a_frame_that_does_not_say_what_it_holds_is_read() -> None:
    values = np.arange(480, dtype=np.float16).reshape(40, 1, 12)
    packed = np.frombuffer(streamed(values.tobytes(), 1), np.uint8)
    np.testing.assert_array_equal(Codecs((), "little", ("zstd",)).decode(packed, values.dtype, values.shape), values)


def test_a_trace_that_grows_out_of_next_to_nothing(trace: Path) -> None:
    """Sixteen chunks of 128 MiB, each of which takes 4 KiB."""
    layers, tokens, columns = 16, 2**12, 2**14
    own(model=MODEL.model_dump() | {"n_layers": layers, "intermediate_size": columns})(trace)
    for name in ("token_ids", "sequence_ids"):
        metadata(name, shape=[tokens], **chunks_of(tokens))(trace)
    metadata("scores/glu", shape=[tokens, layers, columns], **chunks_of(tokens, 1, columns))(trace)
    for layer in range(layers):
        (trace / f"scores/glu/c.0.{layer}.0").write_bytes(bytes(4096))
    refused(trace, "scores/glu: 65,536 bytes say that they hold 2,147,483,648; at most 256 times as many")


def test_a_chunk_that_became_shorter_or_vanished(trace: Path) -> None:
    opened = Trace.open(trace)
    os.truncate(trace / CHUNK, 100)
    with pytest.raises(DipsimError, match="scores/glu is damaged: the checksum of a chunk is wrong"):
        opened.read("glu", 0, 40)
    (trace / CHUNK).unlink()
    with pytest.raises(DipsimError, match=r"scores/glu is damaged: chunk 'c\.0\.0\.0' is missing"):
        opened.read("glu", 0, 40)
    os.mkfifo(trace / CHUNK)
    with pytest.raises(DipsimError, match="is a link, a pipe or a device"):
        opened.read("glu", 0, 40)


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_certificate_keeps_what_else_there_is(trace: Path, form: str) -> None:
    (trace / "notes.txt").write_text("mine")
    path = trace if form == "folder" else zipped(trace)
    certificate = Certificate(options={"policy": "lfu"}, n_sequences=1, n_tokens=40, gaps={}, dipsim_version="0")
    before = Trace.open(path).read("up", 0, 40)
    Trace.open(path).certify(certificate)
    Trace.open(path).certify(certificate)
    again = Trace.open(path)
    assert again.certificates == (certificate,)
    np.testing.assert_array_equal(again.read("up", 0, 40), before)
    if form == "zip":
        with Archive(path, "zip") as archive:
            notes = archive.read("notes.txt", 4)
            assert notes is not None
            assert bytes(notes) == b"mine"


def test_content_of_a_folder_is_that_of_its_zip(trace: Path) -> None:
    sha256 = content_sha256(trace)
    assert content_sha256(zipped(trace)) == sha256
    (trace / "deep").joinpath(*["d"] * 200).mkdir(parents=True)
    os.mkfifo(trace / "pipe")
    (trace / "zero").symlink_to("/dev/zero")
    (trace / "self").symlink_to(trace)
    with bounded():
        assert content_sha256(trace) == sha256
    (trace / "linked").symlink_to("zarr.json")  # as folders of models have them
    assert content_sha256(trace) != sha256


def npy(header: str, data: bytes = b"") -> bytes:
    padded = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(padded).to_bytes(2, "little") + padded + data


def header(shape: str = "(12,)", descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def saved_objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([print] * 12, object), allow_pickle=True)
    return file.getvalue()


COUNTS: dict[str, tuple[bytes, str]] = {
    "damaged header": (npy("{'descr': '<f8', 'fortran_order': (((("), "cannot be read"),
    "header of tokens": (npy("{'descr': '''"), "cannot be read"),
    "deep header": (npy("(" * 900), "cannot be read"),
    "code": (npy("__import__('os').system('touch x')"), "cannot be read"),
    "many": (npy(header("(1000000000000,)")), r"got shape \(1000000000000,\); must be one finite count"),
    "huge": (npy(header("(" + "9" * 4000 + ",)")), "array '0/down'"),
    "axes": (npy(header("(12, 1)"), bytes(96)), r"got shape \(12, 1\)"),
    "too few": (npy(header(), bytes(95)), "cannot be read"),
    "text": (npy(header(descr="'<U1000000000'")), "cannot be read|must be numbers"),
    "records": (npy(header(descr="[('a', '<f8'), ('b', '<f8')]"), bytes(192)), "must be numbers"),
    "objects": (saved_objects(), "got object; must be numbers"),
    "nothing": (b"", "cannot be read"),
    "later version": (b"\x93NUMPY\x09\0" + bytes(100), "cannot be read"),
    "a bomb": (npy(header(), bytes(20 * 2**20)), "at most 65,728 are read of it"),
}


@pytest.mark.parametrize(("data", "message"), COUNTS.values(), ids=list(COUNTS))
def test_use_counts_are_looked_at_before_they_are_read(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "counts.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0/down.npy", data)
    with bounded(mib=2), pytest.raises(DipsimError, match=message) as caught:
        make("static", path=str(path)).start(Place(12, 2, 0, "down"))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i8", "|u1", "|b1", "<f2"])
def test_use_counts_of_any_numbers(tmp_path: Path, dtype: str) -> None:
    counts = np.array([3, 0, 1, 1]).astype(dtype)
    np.savez(tmp_path / "counts.npz", **{"0/down": counts})
    policy = make("static", path=str(tmp_path / "counts.npz"))
    policy.start(Place(4, 2, 0, "down"))
    np.testing.assert_array_equal(policy.priority, counts.astype(np.float64))


def test_controls_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from dipsim.cli import terminal

    evil = "a\x1b]0;title\x07b\x9b31mc\u202ed"
    with terminal.stdout.capture() as shown:
        terminal.table([evil], [[evil]], title=evil)
        terminal.stdout.print(evil, markup=False)
    with terminal.stderr.capture() as said:
        terminal.say(evil)
    for text in (shown.get(), said.get()):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*text}
        assert "a\N{REPLACEMENT CHARACTER}]0;title" in text
