"""Links of the Markdown pages lead somewhere: files that exist, headings that stand in them, folders that are named."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "dipsim", "docs", "hwprofiles", "tests", "traces")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
LINK = re.compile(r"\]\(([^()\s]+)\)")
MENTION = re.compile(r"\bbenchmarks/[\w./-]*\w")


def prose(page: Path) -> str:
    """The page without its code."""
    text = re.sub(r"^( *)(`{3,}|:{3,}).*?^\1\2$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", "", text)


def anchors(page: Path) -> set[str]:
    """What GitHub and MyST make of a page's headings, and its own labels."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found, slugs = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)), list[str]()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        words = re.sub(r"\]\([^)]*\)", "", heading).lower()
        slug = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        n_before = slugs.count(slug)
        slugs.append(slug)
        found.add(f"{slug}-{n_before}" if n_before else slug)
    return found


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere; those to other sites are not followed."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        is_page = target.suffix == ".md" and target.is_file()
        if not target.exists() or (anchor and not (is_page and anchor in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# The paper's `claims`\n\n```text\n# no heading\n```\n\n## Twice\n## Twice\n")
    page = tmp_path / "page.md"
    good = "[a](other.md#the-papers-claims) [b](other.md#twice-1) [c](#here) ![d](.) <https://a.b> [e](https://a.b/c#d)"
    bad = "[a](gone.md) [b](other.md#no-heading) [c](other.md#twice-2) ![d](no.svg)"
    page.write_text(f"# Here\n{good} `[x](y)`\n```text\n[x](y)\n```\n{bad}\n")
    assert broken(page) == ["gone.md", "other.md#no-heading", "other.md#twice-2", "no.svg"]


def test_benchmarks_that_are_named_exist() -> None:
    """In pages, code and specs: what is said to be measured or made there."""
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".toml")]
    named = {
        (file.relative_to(ROOT).as_posix(), path)
        for file in [*files, *PAGES]
        for path in MENTION.findall(file.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert [(file, path) for file, path in sorted(named) if not (ROOT / path).exists()] == []
