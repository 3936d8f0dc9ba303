"""What an index page is told of the project, from README.md and where the repository is.

The one place to fill in is `repository` in `[tool.hatch.metadata.hooks.custom]` of pyproject.toml, for example
https://FORGE/OWNER/dipsim. README's links and figures then lead there, to this version; until then its links are text,
since an index page has no other files beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PAPER = "https://arxiv.org/abs/2412.01380"
# A link or a figure of a Markdown page that leads to a file of the repository.
OWN = re.compile(r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?!\w+:|#)(?P<path>[^)\s]+)\)")


class IndexPage(MetadataHookInterface):
    """Long description and addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds both to the project's metadata."""
        repository, tag = self.config["repository"].rstrip("/"), f"v{metadata['version']}"
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": standing_alone(text, repository, tag)}
        metadata["urls"] = addresses(repository, tag)


def standing_alone(text: str, repository: str, tag: str) -> str:
    """The page, without a link that needs a file beside it."""

    def led(link: re.Match[str]) -> str:
        if not repository:
            return "" if link["image"] else link["words"]
        kind = "raw" if link["image"] else "blob"
        return f"{link['image']}[{link['words']}]({repository}/{kind}/{tag}/{link['path']})"

    return OWN.sub(led, text)


def addresses(repository: str, tag: str) -> dict[str, str]:
    """Where to look further, by what it is."""
    own = {
        "Repository": repository,
        "Documentation": f"{repository}/blob/{tag}/docs/index.md",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    return {"Paper": PAPER, **(own if repository else {})}
