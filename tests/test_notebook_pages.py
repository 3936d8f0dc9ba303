"""The notebooks of the documentation run, and give the numbers that they show.

Run as a program, this file writes their outputs anew: `python tests/test_notebook_pages.py`, or with the names of some.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

pytestmark = pytest.mark.slow  # kernels start
FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
PAGES = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 300_000
NUMBER = re.compile(r"-?\b[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")


def executed(page: Path, folder: Path) -> NotebookNode:
    """The notebook with the outputs that it has now."""
    notebook = nbformat.read(page, as_version=4)
    client = NotebookClient(notebook, timeout=120, record_timing=False, resources={"metadata": {"path": str(folder)}})
    client.execute()
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if not is_gone(output)]
    return notebook


def code_cells(notebook: NotebookNode) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def is_gone(output: Any) -> bool:
    """A bar of what is over."""
    return output.output_type == "display_data" and not any(output.data.values())


def told(notebook: NotebookNode) -> Iterator[str]:
    """What the outputs say; of a figure, that there is one."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type in ("execute_result", "stream"), output
            if output.output_type == "stream":
                assert output.name == "stdout", output.text
                yield output.text
            else:
                assert {"text/html", "image/svg+xml", "text/plain"} >= {*output.data}
                yield "a figure" if "image/svg+xml" in output.data else output.data["text/plain"]


def numbers(text: str) -> list[float]:
    return [float(one.replace(",", "")) for one in NUMBER.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_it_gives(page: Path, tmp_path: Path) -> None:
    shown, given = (list(told(one)) for one in (nbformat.read(page, as_version=4), executed(page, tmp_path)))
    assert len(shown) == len(given) >= 4
    for was, now in zip(shown, given, strict=True):
        assert NUMBER.sub("#", was) == NUMBER.sub("#", now)
        np.testing.assert_allclose(numbers(now), numbers(was), rtol=1e-6)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_small_and_says_nothing_of_the_machine_it_ran_on(page: Path) -> None:
    assert page.stat().st_size < MOST_BYTES
    notebook = nbformat.read(page, as_version=4)
    nbformat.validate(notebook)
    text = page.read_text()
    assert "/home/" not in text
    assert str(FOLDER.parent.parent) not in text
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, 1 + len(code_cells(notebook))))
    assert all(not cell.metadata for cell in notebook.cells)
    assert any("image/svg+xml" in output.data for cell in code_cells(notebook) for output in cell.outputs)


def test_there_are_three() -> None:
    assert [page.stem for page in PAGES] == ["device", "figure", "policy"]


if __name__ == "__main__":
    for page in PAGES:
        if page.stem in sys.argv[1:] or not sys.argv[1:]:
            with tempfile.TemporaryDirectory() as folder:
                nbformat.write(executed(page, Path(folder)), page)
