"""How should a trace be chunked and compressed? Size, speed of writing and speed of reading, by measurement.

    python -m benchmarks.speed.store                        all codecs, chunks and containers, on two kinds of scores
    python -m benchmarks.speed.store --codecs lz4-bit zstd1-bit --chunks 32 --cores 1

Scores: those of `tiny`, recorded, and synthetic ones of phi-3-medium's width. Codecs are Blosc's, `byte` and `bit` name
its shuffle; `+crc` adds a CRC-32C of the compressed bytes, without which a flipped bit may pass unnoticed. Reading goes
through zarr, a block of all layers at a time, from the page cache; `by_hand` does the same work on one thread without
zarr's event loop, into memory that is used again: what remains is the codec's own cost. A second table takes the first
codec given and reads it in other ways: chunk by chunk, without zarr's event loop, with other numbers of threads.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc  # type: ignore[import-untyped]
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore, ZipStore

from benchmarks.command import Row, Table, add_cores, add_runs, main
from benchmarks.measuring import folder_bytes, rates, repeat, seconds, spread
from dipsim import Trace
from dipsim.synthetic import Columns, parameters

Scores = dict[str, NDArray[np.float16]]
LEVELS = {"lz4": ("lz4", 5), "zstd1": ("zstd", 1), "zstd3": ("zstd", 3), "zstd5": ("zstd", 5)}
CODECS = ("none", *(f"{level}-{kind}" for level in LEVELS for kind in ("byte", "bit")))
SHUFFLES = {"byte": "shuffle", "bit": "bitshuffle"}
CHUNKS = (32, 64, 128)


@dataclass(frozen=True)
class Layout:
    """How the arrays of a trace lie on disk."""

    codec: str
    has_crc: bool
    chunk_tokens: int
    is_zip: bool = False

    def compressors(self) -> list[Any]:
        checks = [Crc32cCodec()] if self.has_crc else []
        if self.codec == "none":
            return checks
        level, kind = self.codec.split("-")
        name, clevel = LEVELS[level]
        return [BloscCodec(cname=name, clevel=clevel, shuffle=SHUFFLES[kind], typesize=2), *checks]  # type: ignore[arg-type]

    def row(self) -> Row:
        name = self.codec + ("+crc" if self.has_crc else "")
        return {"codec": name, "chunk_tokens": self.chunk_tokens, "container": "zip" if self.is_zip else "directory"}


def synthetic_scores(n_tokens: int, n_layers: int) -> Scores:
    """Scores of phi-3-medium's width at depths from first to last layer."""
    starts = np.arange(n_tokens) == 0
    made: Scores = {}
    for site, n_columns in (("mlp_input", 5120), ("glu", 17920)):
        made[site] = np.empty((n_tokens, n_layers, n_columns), np.float16)
        for layer in range(n_layers):
            own = parameters("glu" if site == "glu" else "mlp_input", layer / max(1, n_layers - 1))
            made[site][:, layer] = Columns(own, n_columns, [layer, n_columns]).scores(starts).view(np.float16)
    return made


def tiny_scores() -> Scores:
    trace = Trace.open("tiny")
    return {site: trace.read(site, 0, trace.n_tokens).view(np.float16) for site in ("mlp_input", "glu")}


def write(scores: Scores, layout: Layout, path: Path) -> None:
    """As a trace is written: layer by layer, 128 tokens at a time; a zip is packed from a directory."""
    folder = path.with_suffix(".folder") if layout.is_zip else path
    group = zarr.create_group(LocalStore(folder), zarr_format=3)
    for site, values in scores.items():
        n_tokens, n_layers, n_columns = values.shape
        array = group.create_array(
            site,
            shape=values.shape,
            chunks=(layout.chunk_tokens, 1, n_columns),
            dtype="float16",
            compressors=layout.compressors(),
            config={"write_empty_chunks": True},
        )
        for start, layer in itertools.product(range(0, n_tokens, 128), range(n_layers)):
            array[start : start + 128, layer] = values[start : start + 128, layer]
    if layout.is_zip:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder).as_posix())
        shutil.rmtree(folder)


def open_arrays(path: Path) -> list[zarr.Array[Any]]:
    store = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")
    group = zarr.open_group(store, mode="r")
    return [array for _, array in sorted(group.arrays())]


def read_blocks(arrays: list[zarr.Array[Any]]) -> None:
    """All layers of one chunk's tokens at a time."""
    for array in arrays:
        for start in range(0, array.shape[0], array.chunks[0]):
            array[start : start + array.chunks[0]]


def read_chunks(arrays: list[zarr.Array[Any]]) -> None:
    """One chunk at a time."""
    for array in arrays:
        for start, layer in itertools.product(range(0, array.shape[0], array.chunks[0]), range(array.shape[1])):
            array[start : start + array.chunks[0], layer]


def raw_chunks(path: Path, arrays: list[zarr.Array[Any]]) -> Iterator[tuple[Path, int]]:
    """File and decoded bytes of every chunk of a directory."""
    for array in arrays:
        n_bytes = int(np.prod(array.chunks)) * 2
        for index in np.ndindex(*array.cdata_shape):
            yield path / array.path / array.metadata.encode_chunk_key(index), n_bytes


def decode(file: Path, layout: Layout, out: NDArray[np.uint8], n_steps: int = 3) -> None:
    """What zarr's pipeline does for one chunk, without its event loop and copies: 1 read, 2 check, 3 decompress."""
    data = np.frombuffer(file.read_bytes(), np.uint8)
    if layout.has_crc:
        data, check = data[:-4], data[-4:]
        if n_steps > 1 and google_crc32c.value(data) != int.from_bytes(check.tobytes(), "little"):
            raise ValueError(f"{file}: damaged")
    if n_steps > 2 and layout.codec == "none":
        out[:] = data
    elif n_steps > 2:
        numcodecs.blosc.decompress(data, out)


def by_hand(path: Path, layout: Layout, n_threads: int, n_steps: int = 3) -> None:
    """Every chunk decoded into memory that is used again."""
    chunks = list(raw_chunks(path, open_arrays(path)))
    own = [np.empty(max(n for _, n in chunks), np.uint8) for _ in range(n_threads)]

    def some(thread: int) -> None:
        for file, n_bytes in chunks[thread::n_threads]:
            decode(file, layout, own[thread][:n_bytes], n_steps)

    if n_threads == 1:
        some(0)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(some, range(n_threads)))


def measure(scores: Scores, layout: Layout, folder: Path, n_runs: int) -> Row:
    """Size, speed of writing (two times), speed of reading blocks."""
    n_bytes = sum(values.nbytes for values in scores.values())
    written = []
    for run in range(2):
        path = folder / (f"{run}.zarr.zip" if layout.is_zip else f"{run}.zarr")
        written.append(seconds(lambda path=path: write(scores, layout, path)))  # type: ignore[misc]
    arrays = open_arrays(path)
    times = repeat(lambda: read_blocks(arrays), n_runs)
    row = layout.row() | {"bytes_per_score": folder_bytes(path) / (n_bytes / 2)}
    row |= {"write_MB_per_s": spread([n_bytes / 1e6 / t for t in written])["max"]}
    row |= {"read_GB_per_s": rates(n_bytes / 1e9, times)}
    if not layout.is_zip:
        row |= {"by_hand_GB_per_s": rates(n_bytes / 1e9, repeat(lambda: by_hand(path, layout, 1), n_runs))}
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    return row


def ways_of_reading(scores: Scores, layout: Layout, folder: Path, n_runs: int) -> list[Row]:
    """The same trace read in different ways."""
    path = folder / "ways.zarr"
    write(scores, layout, path)
    n_bytes = sum(values.nbytes for values in scores.values())
    arrays = open_arrays(path)
    ways: dict[str, tuple[dict[str, Any], Callable[[], None]]] = {
        "zarr, blocks of all layers": ({}, lambda: read_blocks(arrays)),
        "zarr, chunk by chunk": ({}, lambda: read_chunks(arrays)),
        "zarr, blocks, async.concurrency 1": ({"async.concurrency": 1}, lambda: read_blocks(arrays)),
        "zarr, blocks, async.concurrency 64": ({"async.concurrency": 64}, lambda: read_blocks(arrays)),
        "zarr, blocks, batches of 64": ({"codec_pipeline.batch_size": 64}, lambda: read_blocks(arrays)),
        "by hand, one thread": ({}, lambda: by_hand(path, layout, 1)),
        "by hand, two threads": ({}, lambda: by_hand(path, layout, 2)),
        "by hand, read and checked only": ({}, lambda: by_hand(path, layout, 1, 2)),
        "by hand, read only": ({}, lambda: by_hand(path, layout, 1, 1)),
    }
    rows = []
    for name, (settings, read) in ways.items():
        with zarr.config.set(settings):
            rows.append(layout.row() | {"reading": name, "GB_per_s": rates(n_bytes / 1e9, repeat(read, n_runs))})
    shutil.rmtree(path)
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS, help="codecs to try (all)")
    asked.add_argument("--chunks", nargs="+", type=int, default=CHUNKS, help="tokens per chunk to try (32 64 128)")
    asked.add_argument("--crc", choices=("with", "without", "both"), default="both", help="CRC-32C of chunks (both)")
    asked.add_argument("--containers", nargs="+", choices=("directory", "zip"), default=("directory", "zip"))
    asked.add_argument("--tokens", type=int, default=128, help="synthetic tokens (128)")
    asked.add_argument("--layers", type=int, default=8, help="synthetic layers (8), first and last among them")
    add_cores(asked, 1)
    asked.add_argument("--skip-tiny", action="store_true", help="only the synthetic scores")


def layouts(given: argparse.Namespace) -> Iterator[Layout]:
    checks = {"with": (True,), "without": (False,), "both": (True, False)}[given.crc]
    for codec, has_crc, chunk in itertools.product(given.codecs, checks, given.chunks):
        for container in given.containers:
            yield Layout(codec, has_crc, chunk, container == "zip")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    kinds = {"phi-3-medium, synthetic": synthetic_scores(given.tokens, given.layers)}
    if not given.skip_tiny:
        kinds["tiny, recorded"] = tiny_scores()
    with tempfile.TemporaryDirectory() as name:
        for kind, scores in kinds.items():
            yield Table(kind, [measure(scores, layout, Path(name), given.runs) for layout in layouts(given)])
            first = Layout(given.codecs[0], given.crc != "without", given.chunks[0])
            yield Table(f"{kind}: ways of reading", ways_of_reading(scores, first, Path(name), given.runs))


if __name__ == "__main__":
    main(__doc__, tables, options)
