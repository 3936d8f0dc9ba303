"""Every block of README.md runs, in the order in which a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import warm_start
from conftest import tight_slots

from dipsim import HardwareProfile, Simulation, Trace
from dipsim.methods import make

README = (Path(__file__).parent.parent / "README.md").read_text()
# What a test can do with less of: every command runs, on fewer tokens.
FEWER = {
    "--sequences 8": "--sequences 2",
    "--rank 64 --epochs 2": "--rank 8 --epochs 1 --tokens 1024",
    "--tokens 1024 ": "--tokens 256 ",
    "--steps 20": "--steps 2",
    "--tokens 2048": "--tokens 512",
}
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@tight_slots
def test_blocks_run(tmp_path: Path) -> None:
    scripts = warm_start.ready()
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    n_run = 0
    assert all(README.count(words) for words in FEWER)
    for language, written in BLOCKS:
        block = written
        for words, fewer in FEWER.items():
            block = block.replace(words, fewer)
        if language == "sh" and "pip install" in block:
            continue  # set-up: what runs these tests has done it
        if language == "toml":
            (tmp_path / "my-phone.toml").write_text(block)
            assert HardwareProfile.load(tmp_path / "my-phone.toml").name == "my-phone"
            continue
        command = ["bash", "-euc", block] if language == "sh" else [str(scripts / "python"), "-c", block]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        n_run += 1
    assert n_run >= 5
    mine = Trace.open(tmp_path / "mine.zarr")
    result = Simulation(HardwareProfile.load("a18-paper"), mine, make("dip", density=0.5), "lfu", dram="0.8x").run()
    assert len(result.tokens) == 100


def test_set_up_is_two_lines() -> None:
    set_up = next(block for _, block in BLOCKS if "pip install" in block)
    assert set_up.splitlines() == [
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && .venv/bin/dipsim demo",
        ".venv/bin/pip install -c constraints.txt '.[test]' && .venv/bin/python tests/browser.py && .venv/bin/pytest",
    ]
