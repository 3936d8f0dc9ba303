"""Are sdist and wheel in dist/ fit to be published? `nox -s package` runs this after it has built them.

What an index would refuse, what the two lack of the repository, and the wheel at work in an environment of its own, in
an empty folder. Libraries are those of this environment, so that nothing is fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TOUR = """
dipsim list profiles
printf 'trace = "tiny"\\ntokens = 4\\nmethod = "dip"\\ndram = ["0.7x", "0.8x"]\\n' > spec.toml
dipsim sweep spec.toml -o results --workers 1
dipsim report results -o report.html
"""


def said() -> dict[str, Any]:
    """What pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def sdist_differs(sdist: Path) -> set[str]:
    """Files of the repository that the sdist does not have, and its files that nobody has committed."""
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    words = ["git", "-c", "safe.directory=*", "ls-files"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return (packed ^ set(listed.splitlines())) - {"PKG-INFO", ".gitignore"}


def wheel_differs(wheel: Path) -> set[str]:
    """Files of the package, and of what goes into it, that the wheel does not have, and its files that are none."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    parts = {"dipsim": "dipsim", **said()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]}
    kept = {
        (Path(place) / file.relative_to(ROOT / part)).as_posix()
        for part, place in parts.items()
        for file in [ROOT / part, *(ROOT / part).rglob("*")]
        if file.is_file() and "__pycache__" not in file.parts
    }
    return packed ^ kept


def tour(wheel: Path, folder: Path) -> None:
    """Installs the wheel elsewhere, and uses it there."""
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    install = ["--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    here = sysconfig.get_paths()
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(f"{here['purelib']}\n{here['platlib']}\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL"))}
    environment |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    empty = folder / "empty"
    empty.mkdir()
    subprocess.run(["bash", "-euxc", TOUR], cwd=empty, env=environment, check=True, stdout=subprocess.DEVNULL)
    own = subprocess.run(
        [python, "-c", "import dipsim; print(dipsim.__file__, dipsim.__version__)"],
        **{"cwd": empty, "env": environment, "check": True, "capture_output": True, "text": True},
    ).stdout.split()
    assert own[0].startswith(str(site)), own
    assert own[1] == said()["project"]["version"], own


def main(tag: str | None) -> None:
    """Goes through all of it; whatever is amiss ends it."""
    version = said()["project"]["version"]
    if tag not in (None, f"v{version}"):
        sys.exit(f"tag {tag}: pyproject.toml says version {version}")
    (wheel,), (sdist,) = (ROOT / "dist").glob("*.whl"), (ROOT / "dist").glob("*.tar.gz")
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)], check=True)
    differs = {"wheel": wheel_differs(wheel)}
    if (ROOT / ".git").exists():
        differs["sdist"] = sdist_differs(sdist)
    for what, names in differs.items():
        if names:
            sys.exit(f"{what}: {sorted(names)} are not both there and in the checkout")
    with tempfile.TemporaryDirectory() as folder:
        tour(wheel, Path(folder))


if __name__ == "__main__":
    main(*(sys.argv[1:] or [None]))
