"""How was dipsim installed, and so: what installs an extra of it here?"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit


def how_to_add(extra: str) -> str:
    """The line that adds an extra of dipsim to this environment, from where dipsim itself came: a checkout, a file, a
    repository, or an index of packages.

    Args:
        extra: a name of pyproject's optional dependencies.
    """
    own = metadata.distribution("dipsim")
    told = json.loads(own.read_text("direct_url.json") or "{}")
    url, folder = told.get("url", ""), Path(unquote(urlsplit(told.get("url", "")).path))
    if not url:
        return _line(f"dipsim[{extra}]")
    if "vcs_info" in told:
        kind, commit = told["vcs_info"].get("vcs", "git"), told["vcs_info"].get("commit_id")
        return _line(f"dipsim[{extra}] @ {kind}+{url}" + (f"@{commit}" if commit else ""))
    if not url.startswith("file:"):
        return _line(f"dipsim[{extra}] @ {url}")
    if not folder.exists():  # a wheel that was built, installed and removed
        return _line(*_requirements(own, extra))
    pinned = ["-c", _shown(folder / "constraints.txt")] if (folder / "constraints.txt").is_file() else []
    edited = ["-e"] if told.get("dir_info", {}).get("editable") else []
    return _line(*pinned, *edited, f"{_shown(folder)}[{extra}]")


def how_to_add_package(name: str) -> str:
    """The line that adds another package."""
    return _line(name)


def _line(*words: str) -> str:
    quoted = (word if re.fullmatch(r"[\w./@:+-]+", word) else shlex.quote(word) for word in words)
    return " ".join([_pip(), "install", *quoted])


def _pip() -> str:
    """What installs packages into this very environment."""
    if (metadata.distribution("dipsim").read_text("INSTALLER") or "").strip() == "uv":
        return "uv pip"
    pip = Path(sys.executable).with_name("pip")
    if not pip.exists():
        return f"{_shown(Path(sys.executable))} -m pip"
    return "pip" if shutil.which("pip") == str(pip) else _shown(pip)


def _shown(path: Path) -> str:
    """Seen from here, where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _requirements(own: metadata.Distribution, extra: str) -> list[str]:
    """What the extra is made of, extras of dipsim among it resolved."""
    found: list[str] = []
    for line in own.requires or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if not re.search(rf"""extra\s*==\s*["']{re.escape(extra)}["']""", marker):
            continue
        if inner := re.match(r"dipsim\[([^]]+)\]", requirement):
            found += [one for name in inner[1].split(",") for one in _requirements(own, name.strip())]
        else:
            found.append(requirement)
    return list(dict.fromkeys(found))
