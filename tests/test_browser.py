"""README's second line brings a browser where there is none, as root and otherwise, or says what to install."""

from __future__ import annotations

import os
from pathlib import Path

import browser
import pytest


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path with nothing on it but what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, script: str = "") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("name", browser.NAMES)
def test_any_of_them_will_do(name: str, tools: Path) -> None:
    assert browser.find() is None
    put(tools, name)
    browser.bring()
    assert browser.find() == str(tools / name)


@pytest.mark.parametrize("user", [0, 1000])
def test_one_is_installed(user: int, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    put(tools, "apt-get", f'echo "$@" >> {tools}/asked')
    put(tools, "sudo", f'echo sudo >> {tools}/asked; exec "$@"')
    browser.bring()
    asked = (tools / "asked").read_text().splitlines()
    assert [line for line in asked if line != "sudo"] == ["update -q", "install -q -y chromium"]
    assert asked.count("sudo") == (2 if user else 0)


def test_elsewhere_it_says_what_to_install(tools: Path) -> None:
    with pytest.raises(SystemExit, match="none is on the path: install Chromium or Chrome"):
        browser.bring()
