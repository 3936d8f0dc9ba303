"""Every block of README.md runs, in the order in which a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import warm_start

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_blocks_run(tmp_path: Path) -> None:
    scripts = warm_start.ready()
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    n_run = 0
    for language, block in BLOCKS:
        if "pip install" in block:
            continue  # set-up: what runs these tests has done it
        command = ["bash", "-euc", block] if language == "sh" else [str(scripts / "python"), "-c", block]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        n_run += 1
    assert n_run >= 3


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_set_up_is_two_lines() -> None:
    set_up = next(block for _, block in BLOCKS if "pip install" in block)
    assert set_up.splitlines() == [
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && .venv/bin/dipsim demo",
        ".venv/bin/pip install -c constraints.txt '.[test]' && .venv/bin/python tests/browser.py && .venv/bin/pytest",
    ]
