"""What the project says of itself to others: index page, citation, workflows. `nox -s package` tries what is built."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import published
import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import hatch_build  # noqa: E402
import noxfile  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = published.said()["project"]
REPOSITORY = published.said()["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def targets(page: str) -> list[str]:
    """Where links and figures lead."""
    return re.findall(r"\]\(([^)]+)\)", page)


@pytest.mark.parametrize("repository", ["", "https://forge.example/owner/dipsim"])
def test_the_index_page_needs_no_file_beside_it(repository: str) -> None:
    page = hatch_build.standing_alone(README, repository, "v1.0")
    own = [to for to in targets(README) if not to.startswith("https://")]
    assert len(own) > 10
    assert all(to.startswith("https://") for to in targets(page))
    led = [to for to in targets(page) if repository and to.startswith(repository)]
    assert len(led) == (len(own) if repository else 0)
    for to in led:  # files that are there, headings left out
        kind, tag, path = to.removeprefix(f"{repository}/").split("/", 2)
        assert (kind, tag) in {("blob", "v1.0"), ("raw", "v1.0")}
        assert (ROOT / path.partition("#")[0]).exists()


def test_links_of_a_page_by_hand() -> None:
    text = "![f](a/b.svg) [one](c.md#d) [two](https://x.example/e.md) [three](#here) `[i](j)`"
    led = hatch_build.standing_alone(text, "https://f.example/o/p", "v2")
    assert led.startswith(
        "![f](https://f.example/o/p/raw/v2/a/b.svg) [one](https://f.example/o/p/blob/v2/c.md#d) [two]("
    )
    assert hatch_build.standing_alone(text, "", "v2").startswith(" one [two](https://x.example/e.md) [three](#here)")


def test_addresses_are_said_where_they_are_known() -> None:
    assert list(hatch_build.addresses("", "v1")) == ["Paper"]
    assert hatch_build.addresses("https://f.example/o/p", "v1")["Issues"] == "https://f.example/o/p/issues"


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == PROJECT["version"]
    assert cited["license"] == PROJECT["license"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert cited.get("repository-code", "") == REPOSITORY


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_ci_runs(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    sessions = {word for line in commands for found in re.findall(r"nox -s ([\w ]+)", line) for word in found.split()}
    assert all(hasattr(noxfile, session) for session in sessions)
    assert all(re.match(r"bash \.ci/run$|nox -s |pip install ", line) for line in commands)
    assert "secrets." not in path.read_text(encoding="utf-8")
