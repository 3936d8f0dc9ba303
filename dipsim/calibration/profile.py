"""How measured numbers stand in a profile: each with its origin in a comment."""

from __future__ import annotations

from pathlib import Path

from tomlkit import TOMLDocument

from dipsim.files import write_text


def write(document: TOMLDocument, path: Path) -> None:
    """Writes a profile; `HardwareProfile.load` reads it, and calls it by the file's name."""
    write_text(path, document.as_string())
