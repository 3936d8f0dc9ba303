"""What strangers send and dipsim reads back: whatever is wrong with it is one line that names the file and the key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dipsim import DipsimError, HardwareProfile
from dipsim.errors import MOST_LETTERS


def complaint(read: Callable[[], object]) -> str:
    """The one line that reading ends with."""
    with pytest.raises(DipsimError) as caught:
        read()
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) <= MOST_LETTERS + 4
    return said


# --- messages ---


def test_what_strangers_wrote_is_shown_on_one_line_and_cut() -> None:
    assert str(DipsimError("a\nb\x1b[31m\u202e\ud800 é")) == "a\\nb\\x1b[31m\\u202e\\ud800 é"
    assert str(DipsimError(str(DipsimError("a\nb")))) == "a\\nb"  # as it is pickled by a worker
    assert str(DipsimError("x" * 10**6)) == "x" * MOST_LETTERS + " ..."


# --- profiles ---

PROFILE = """name = "x"
[flash]
read_bytes_per_s = 1e9
[dram]
capacity_bytes = 1e9
read_bytes_per_s = 1e9
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PROFILE + '"a\\nb" = 1', r"dram.a\\nb: unknown key"),
        (PROFILE + f'"{"k" * 5000}" = 1', "dram.k{57}...: unknown key"),
        (PROFILE + '[compute.units."a\\nb"]', r"compute.units.a\\nb.\[key\]: got"),
        (PROFILE.replace("1e9", '"1e9"', 1), "flash.read_bytes_per_s: got '1e9'; input should be a valid number"),
        (PROFILE.replace("1e9", "nan", 1), "flash.read_bytes_per_s: got nan"),
        (PROFILE.replace("1e9", "1" * 400, 1), "more than 30 digits"),
        (PROFILE.replace("[flash]", "[[flash]]"), "flash: got "),
        (PROFILE + "a = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        (PROFILE + "\n".join(f"a.b.c.d{i} = 1" for i in range(100)), "more than 100 keys, 4 deep"),
        (PROFILE + "a.b.c.d.e = 1", "more than 100 keys, 4 deep"),
        (PROFILE + "# " + "x" * 2**16, "more than 65,536 bytes"),
        ('extends = "pipe"', "neither a name nor a file"),
        ('extends = "/dev/zero"', "neither a name nor a file"),
        (f'extends = "{"a" * 5000}"', "neither a name nor a file"),
        ('extends = "a\\u0000"', "NUL"),
    ],
)
def test_a_profile_that_is_no_profile(text: str, told: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "p.toml").write_text(text)
    said = complaint(lambda: HardwareProfile.load(tmp_path / "p.toml"))
    assert said.startswith(f"{tmp_path / 'p.toml'}: ")
    assert re.search(told, said)


def test_a_chain_of_profiles_ends(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i}.toml").write_text(f'extends = "{i + 1}.toml"')
    (tmp_path / "100.toml").write_text(PROFILE)
    assert HardwareProfile.load(tmp_path / "96.toml").name == "96"
    assert "99.toml: extends: got '100.toml', the 5th in a row" in complaint(
        lambda: HardwareProfile.load(tmp_path / "95.toml")
    )
    assert "at most 4" in complaint(lambda: HardwareProfile.load(tmp_path / "0.toml"))
