"""The documentation: every block of it runs, and the built pages are whole without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Iterator
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pandas as pd
import pytest
import warm_start
from typer.main import get_command

import dipsim
from dipsim import DipCa, HardwareProfile, ModelSpec, Result, Simulation, Trace
from dipsim.cli import app
from dipsim.profile import ComputeSpec, DramSpec, EnergySpec, FlashSpec
from dipsim.sweeps import Spec
from dipsim.sweeps.row import row_of
from dipsim.sweeps.spec import Text
from dipsim.trace.format import TraceAttributes

pytestmark = pytest.mark.slow  # the pages are built, and their blocks run
DOCS = Path(__file__).parent.parent / "docs"
MADE = DOCS / "reference" / "commands"  # written as the pages are built
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent != MADE)
# What a page refers to: tag -> attribute.
REFERENCES = {"a": "href", "link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block, directives left out."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_languages_of_blocks_are_known() -> None:
    found = {language for page in PAGES for language, _ in blocks(page)}
    assert {"python", "sh", "toml"} <= found <= {"python", "sh", "toml", "text"}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.cluster] * (page.stem == "cluster")) for page in PAGES if blocks(page)],
    ids=lambda page: page.stem,
)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """In the order of the page, in one folder; a block is the file that its first line names."""
    scripts = warm_start.ready()
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    for language, block in blocks(page):
        if language == "toml":
            name = block.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
            keys = tomllib.loads(block).keys()
            assert (tmp_path / name).suffix == ".toml"
            if "flash" in keys:
                assert HardwareProfile.load(tmp_path / name).name == Path(name).stem
            elif keys & {"method", "grid"}:
                assert len(Spec.load(tmp_path / name).points) > 1
        elif language != "text":
            if named := re.match(r"# (\w+\.py)\n", block):
                (tmp_path / named[1]).write_text(block)
            command = ["bash", "-euc", block] if language == "sh" else [str(scripts / "python"), "-c", block]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stderr}"
    for figure in (DOCS / "figures").glob(f"{page.stem}*.csv"):
        made, shown = (pd.read_csv(path).drop(columns="key") for path in (tmp_path / figure.name, figure))
        pd.testing.assert_frame_equal(made, shown, rtol=1e-6)


class Page(HTMLParser):
    """Places of a page that others can refer to, what it refers to, and what its prose says."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.references: list[tuple[str, str]] = []
        self.n_equations = 0
        self.prose = ""
        self._within: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for key, value in attrs if key == "id" and value}
        target = given.get(REFERENCES.get(tag, ""))
        if target is not None:
            self.references.append((tag, target))
        self.n_equations += tag == "math"
        if tag in ("pre", "code", "script", "style", "math"):
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.prose += data


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(out / ".doctrees"), str(DOCS)]
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_nothing_is_fetched_from_a_network(site: Path, pages: dict[Path, Page]) -> None:
    loaded = [(path, tag, to) for path, page in pages.items() for tag, to in page.references if tag != "a"]
    assert len(loaded) > len(pages)
    for path, tag, to in loaded:
        assert not re.match(r"(\w+:)?//", to), f"{path.name}: {tag} {to}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", sheet.read_text()), sheet


def test_links_resolve(pages: dict[Path, Page]) -> None:
    n_fragments = 0
    for path, page in pages.items():
        for tag, to in page.references:
            target, fragment = urldefrag(unquote(to))
            if re.match(r"\w+:|//", to) or (tag == "a" and to == "#"):
                continue
            place = (path.parent / target.partition("?")[0]).resolve() if target else path
            assert place.exists(), f"{path.name}: {to}"
            if fragment and place in pages:
                n_fragments += 1
                assert fragment in pages[place].ids, f"{path.name}: {to}"
    assert n_fragments > 100


def documented(site: Path, domain: str) -> dict[str, str]:
    """Name -> where, of everything in a domain that the pages describe: what other sites would link to."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    rows = re.findall(r"^(\S+) (\w+):\w+ \S+ (\S+) .*$", zlib.decompress(packed).decode(), re.MULTILINE)
    return {name: uri.replace("$", name) for name, own, uri in rows if own == domain}


def test_every_public_name_has_an_entry(site: Path, pages: dict[Path, Page]) -> None:
    names = documented(site, "py")
    for name in dipsim.__all__:
        target, fragment = urldefrag(names[f"dipsim.{name}"])
        assert fragment in pages[site / target].ids
    for name in dipsim.plots.__all__:
        if callable(getattr(dipsim.plots, name)):
            assert f"dipsim.plots.{name}" in names


def leaves(command: object, path: str) -> Iterator[tuple[str, list[str]]]:
    """What a reader types, and its options."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, [name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")]
    for name, own in (below or {}).items():
        yield from leaves(own, f"{path} {name}")


def test_every_command_has_a_page_with_its_options(site: Path, pages: dict[Path, Page]) -> None:
    options = documented(site, "std")
    commands = dict(leaves(get_command(app), "dipsim"))
    assert {"dipsim simulate", "dipsim calibrate fio"} <= set(commands)
    listed = {to for _, to in pages[site / "reference" / "commands.html"].references}
    for path, own in commands.items():
        name = path.split()[1]
        assert f"commands/{name}.html" in listed
        page = pages[site / "reference" / "commands" / f"{name}.html"]
        assert path.replace(" ", "-") in page.ids
        for option in set(own) - {"--help"}:
            assert f"{path}.{option}".replace(" ", "-", path.count(" ")) in options, f"{path} {option}"
    assert {page.stem for page in MADE.glob("*.md")} == {path.split()[1] for path in commands}


def test_kinds_of_values_are_shown_and_what_a_list_prints(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "commands" / "simulate.html").read_text())
    assert re.search(r"--density\s+SHARE", text)
    assert "Zhang et al., NSDI 2024" in (site / "reference" / "commands" / "list.html").read_text()


def test_names_lead_to_their_source_and_blocks_can_be_copied(site: Path, pages: dict[Path, Page]) -> None:
    to_source = [to for _, to in pages[site / "reference" / "python.html"].references if "_modules/dipsim/" in to]
    assert len(to_source) > 50
    scripts = [to for tag, to in pages[site / "index.html"].references if tag == "script"]
    assert any("copybutton.js" in to for to in scripts)


@pytest.fixture(scope="session")
def result() -> Result:
    profile = HardwareProfile.load("oneplus-12-ufs4")
    return Simulation(profile, Trace.open("tiny"), DipCa(density=0.4), "lfu", dram="0.8x", tokens=8).run()


def test_every_key_of_a_file_has_an_entry(result: Result) -> None:
    text = (DOCS / "reference" / "files.md").read_text()
    for key in (*result.to_dict(), *TraceAttributes.model_fields, *ModelSpec.model_fields):
        assert f"`{key}`" in text, key
    for spec in (FlashSpec, DramSpec, ComputeSpec.__base__, EnergySpec):
        for key in spec.model_fields:
            assert re.search(rf"\b{key}\b", f"{spec.__doc__}{text}"), key
    assert set(HardwareProfile.model_fields) - {"schema_"} <= set(re.findall(r"\w+", text))
    assert {field.name for field in fields(result.dram)} <= set(re.findall(r"\w+", text))
    for key in (*Text.model_fields, "zip", "filter", "headroom"):
        assert f"`{key}`" in text, key
    for column in row_of(result.config, result, {}, None):
        known = column.partition(".")[0] in result.to_dict() or column.startswith(("profile.", *result.config))
        assert known or f"`{column.partition('.')[0]}" in text, column


def test_equations_are_drawn(site: Path, pages: dict[Path, Page]) -> None:
    n_written = len(re.findall(r"\$\$.+?\$\$", (DOCS / "model.md").read_text(), re.DOTALL))
    drawn = (site / "model.html").read_text().count('<div class="equation"><math')
    assert drawn == n_written > 15
    assert pages[site / "model.html"].n_equations > n_written  # those within a line, too
    for path, page in pages.items():
        assert "$" not in page.prose, path.name
