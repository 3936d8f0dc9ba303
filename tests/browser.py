"""The browser in which tests open the report; run as a program, this file brings one where apt-get can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WANTED = (
    "tests open the report in a browser, and none is on the path: install Chromium or Chrome so that one of "
    f"{', '.join(NAMES)} is (Debian: apt-get install chromium; Fedora: dnf install chromium; Arch: pacman -S chromium)"
)


def find() -> str | None:
    """The first browser on the path."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def bring() -> None:
    """Installs one with apt-get, unless there is one."""
    if find():
        return
    if shutil.which("apt-get") is None:
        sys.exit(WANTED)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    for words in (["update", "-q"], ["install", "-q", "-y", "chromium"]):
        subprocess.run([*as_root, "apt-get", *words], check=True)


if __name__ == "__main__":
    bring()
