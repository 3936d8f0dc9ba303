"""What installs an extra is said for the way in which dipsim itself was installed, and guides are wherever it is."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from dipsim import installation, shipped
from dipsim.installation import how_to_add, how_to_add_package

ROOT = Path(__file__).parent.parent
REQUIRES = [
    "numpy>=2",
    'torch>=2.4; extra == "capture"',
    'peft; extra == "capture"',
    'dipsim[capture]; extra == "lm-eval"',
    'lm_eval; extra == "lm-eval"',
]


class Installed:
    """A distribution of which so much is known."""

    requires = REQUIRES

    def __init__(self, direct_url: dict[str, Any] | None, installer: str = "pip\n") -> None:
        self._files = {"INSTALLER": installer, "direct_url.json": direct_url and json.dumps(direct_url)}

    def read_text(self, name: str) -> str | None:
        return self._files.get(name)


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`how_to_add` in a venv `here/.venv`, for a distribution that was installed in some way."""
    (tmp_path / "here" / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "pip"):
        (tmp_path / "here" / ".venv" / "bin" / name).touch(0o755)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here" / ".venv" / "bin" / "python"))

    def told(direct_url: dict[str, Any] | None, extra: str = "capture", **others: str) -> str:
        monkeypatch.setattr(metadata, "distribution", lambda name: Installed(direct_url, **others))
        return how_to_add(extra)

    return told


def test_from_an_index(add: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert add(None) == ".venv/bin/pip install 'dipsim[capture]'"
    assert how_to_add_package("ray") == ".venv/bin/pip install ray"
    monkeypatch.setenv("PATH", str(tmp_path / "here" / ".venv" / "bin"))  # as `activate` does
    assert add(None) == "pip install 'dipsim[capture]'"
    assert add(None, installer="uv") == "uv pip install 'dipsim[capture]'"
    (tmp_path / "here" / ".venv" / "bin" / "pip").unlink()
    assert add(None) == ".venv/bin/python -m pip install 'dipsim[capture]'"


@pytest.mark.parametrize("is_edited", [True, False])
def test_from_a_checkout(add: Any, tmp_path: Path, is_edited: bool) -> None:
    url = {"url": (tmp_path / "here").as_uri(), "dir_info": {"editable": is_edited}}
    edited = "-e " if is_edited else ""
    assert add(url) == f".venv/bin/pip install {edited}'.[capture]'"
    (tmp_path / "here" / "constraints.txt").touch()
    assert add(url) == f".venv/bin/pip install -c constraints.txt {edited}'.[capture]'"
    other = tmp_path / "a b"
    other.mkdir()
    assert add(url | {"url": other.as_uri()}) == f".venv/bin/pip install {edited}'{other}[capture]'"


def test_from_a_wheel_a_repository_or_an_address(add: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "here" / "dipsim-0.1.0-py3-none-any.whl"
    about = {"url": wheel.as_uri(), "archive_info": {}}
    wheel.touch()
    assert add(about) == ".venv/bin/pip install 'dipsim-0.1.0-py3-none-any.whl[capture]'"
    wheel.unlink()  # what it asked for is still known
    assert add(about) == ".venv/bin/pip install 'torch>=2.4' peft"
    assert add(about, "lm-eval") == ".venv/bin/pip install 'torch>=2.4' peft lm_eval"
    vcs = {"url": "https://example.org/dipsim", "vcs_info": {"vcs": "git", "commit_id": "1f2e"}}
    assert add(vcs) == ".venv/bin/pip install 'dipsim[capture] @ git+https://example.org/dipsim@1f2e'"
    address = {"url": "https://example.org/dipsim.whl", "archive_info": {}}
    assert add(address) == ".venv/bin/pip install 'dipsim[capture] @ https://example.org/dipsim.whl'"


def test_extras_that_are_named_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        text.partition('"')[0].partition("'")[0]
        for path in (ROOT / "dipsim").rglob("*.py")
        for text in path.read_text().replace("how_to_add('", 'how_to_add("').split('how_to_add("')[1:]
    }
    assert named
    assert named <= set(extras)
    assert all(installation._requirements(metadata.distribution("dipsim"), extra) for extra in named)


def test_guides_are_in_the_wheel() -> None:
    """Their pages lie beside a checkout, and in the package elsewhere: pyproject says which go there."""
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    included = targets["wheel"]["force-include"]
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {f"docs/{page}": f"dipsim/docs/{page}" for page in pages} == {
        place: own for place, own in included.items() if place.startswith("docs/")
    }
    assert {f"{name}.md" for name in shipped.names("docs", ".md")} >= pages


def test_errors_name_no_file_that_a_wheel_lacks() -> None:
    """Outside of comments and docstrings; there is `dipsim show guide` for pages."""
    import ast

    for path in (ROOT / "dipsim").rglob("*.py"):
        tree = ast.parse(path.read_text())
        texts = {
            node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        said = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        for text in set(said) - texts:
            assert not any(word in text for word in ("docs/", "README", "CONTRIBUTING")), f"{path}: {text}"
