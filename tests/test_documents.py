"""Documents from elsewhere: what json and tomllib make of them, and one line where they are out of bounds."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dipsim import documents
from dipsim.errors import DipsimError

LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**29), 10**29) | st.text(LETTERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_json_in_bounds_is_what_the_standard_library_reads(value: Any, encoding: str) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert documents.parse_json(text.encode(encoding), "x") == value


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (nested(documents.MOST_DEPTH + 2), "nested more than 64 deep"),
        (nested(100_000), "nested too deep"),
        ("1" + "0" * 30, "more than 30 digits"),
        ("-1" + "0" * 400, "more than 30 digits"),
        ("1" * 5000, "not JSON"),
        ('"\\ud800"', "half a character"),
        ('{"a\\u0000": 1}', "NUL"),
        ("{", "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
    ],
)
def test_json_out_of_bounds_is_one_line(text: str | bytes, told: str) -> None:
    with pytest.raises(DipsimError, match=told) as caught:
        documents.parse_json(text, "file.json")
    assert str(caught.value).startswith("file.json: ")
    assert "\n" not in str(caught.value)


def test_the_deepest_and_the_longest_that_are_read() -> None:
    assert documents.parse_json(nested(documents.MOST_DEPTH + 1), "x") is not None
    assert documents.parse_json("9" * 30, "x") == int("9" * 30)


def test_toml_is_what_the_standard_library_reads_and_deep_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("\ufeffa.b = [1, 2]\r\nc = '''\r\n'''\r\n", encoding="utf-8", newline="")
    data, text = documents.read_toml(path, "a")
    assert data == tomllib.loads(text) == {"a": {"b": [1, 2]}, "c": ""}
    path.write_text(".".join("a" * 200) + " = 1")
    with pytest.raises(DipsimError, match="a: nested more than 64 deep"):
        documents.read_toml(path, "a")


def test_only_regular_files_are_read_and_no_more_than_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "long").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "long")
    for name in ("pipe", "zero", "."):
        with pytest.raises(DipsimError, match=r"not a regular file|Is a directory"):
            documents.read_bytes(tmp_path / name, name)
    with pytest.raises(DipsimError, match="more than 4 bytes"):
        documents.read_bytes(tmp_path / "long", "long", most_bytes=4)
    assert documents.read_bytes(tmp_path / "link", "link", most_bytes=5) == b"12345"
    with pytest.raises(DipsimError, match="No such file") as caught:
        documents.read_bytes(tmp_path / "none", "none")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(DipsimError, match="null byte"):
        documents.read_bytes(tmp_path / "a\0b", "nul")
