"""The layers: imports point strictly downwards, each library lives behind its doors, nothing heavy loads early.

Run as a program, this file prints CONTRIBUTING's map of them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dipsim

SOURCE = Path(dipsim.__file__).parent
CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"
LAYERS = [
    {"errors", "installation", "version"},
    {"units", "notebook", "kernels", "shipped", "files", "documents", "expressions", "schema", "threads", "children"},
    {"hooks", "listing", "progress"},
    {"model", "registry", "archives", "description"},
    {"profile", "trace", "plugin_files"},
    {"policies", "methods", "budgets", "layouts", "prefetchers", "loads", "calibration", "synthetic", "routes"},
    {"cache", "devices"},
    {"planning"},
    {"results"},
    {"engine"},
    {"timeline"},
    {"questions"},
    {"simulation"},
    {"plots", "evaluation", "estimation", "report"},
    {"catalogue"},
    {"sweeps"},
    {"tuning", "explore"},
    {"cli"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
SIDE_DOOR = "sparsify"
# The model, for sizes that only its own classes know.
MAY_OPEN = {"model", "cli", "evaluation", "sweeps", "tuning"}
DOORS = {
    "simpy": {"engine"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "zarr": {"trace"},
    "google_crc32c": {"trace"},
    "numcodecs": {"trace"},
    "torch": {SIDE_DOOR},
    "transformers": {SIDE_DOOR},
    "peft": {SIDE_DOOR},
    "matplotlib": {"plots"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "pydantic": {"model", "profile", "schema", "description", "simulation", "sweeps"},
    "tomlkit": {"profile", "calibration", "sweeps", "tuning"},
    "joblib": {"sweeps"},
    "cloudpickle": {"sweeps"},
    "distributed": {"sweeps"},
    "ray": {"sweeps"},
    "pyarrow": {"routes", "sweeps"},
    "gguf": {"model"},
    "scipy": {"synthetic", "evaluation"},
    "optuna": {"tuning"},
    "lm_eval": {SIDE_DOOR},
    "nicegui": {"explore"},
    "fastapi": {"explore"},
    "starlette": {"explore"},
    "uvicorn": {"explore"},
    "fsspec": {"trace"},
    "IPython": {"progress"},
}


def the_map() -> str:
    """A line for each layer, the highest first: its parts, and the libraries that have a door there."""
    rows = [(sorted(parts), parts) for parts in reversed(LAYERS)] + [(["side door:", SIDE_DOOR], {SIDE_DOOR})]
    lines = []
    for names, parts in rows:
        doors = []
        for library, places in sorted(DOORS.items()):
            if own := sorted(places & parts):
                doors.append(library if len(parts) == 1 else f"{library} ({', '.join(own)})")
        if SIDE_DOOR in parts:
            doors[-1] += f"; opened by {', '.join(sorted(MAY_OPEN))} alone, lazily"
        left = textwrap.wrap("  ".join(names), 42, fix_sentence_endings=False)
        right = textwrap.wrap(", ".join(doors), 72)
        for i in range(max(len(left), len(right))):
            first, second = (side[i] if i < len(side) else "" for side in (left, right))
            lines.append(f"    {first:42}  {second}".rstrip())
    return "\n".join(lines) + "\n"


def part_of(path: Path) -> str:
    """The module or folder below dipsim/ that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module of a file, and whether the import stands at the top level."""
    tree = ast.parse(path.read_text())
    at_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", id(node) in at_top
            if node.module == "dipsim":
                yield from ((f"dipsim.{alias.name}", id(node) in at_top) for alias in node.names)


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_downwards_and_through_the_doors(path: Path) -> None:
    own = part_of(path)
    for name, at_top in imports(path):
        library, _, rest = name.partition(".")
        if library in DOORS:
            assert own in DOORS[library], f"{name} has no door in {own}"
        if library != "dipsim" or not rest:
            continue
        other = rest.split(".")[0]
        if other == own:
            continue
        if other == SIDE_DOOR:
            assert own in MAY_OPEN, "only the model, the command line, evaluation, sweeps and tuning open sparsify"
            assert not at_top, "sparsify is opened lazily"
        elif own == SIDE_DOOR:
            assert LEVEL[other] <= LEVEL["methods"], f"sparsify must not use {other}"
        else:
            assert LEVEL[other] < LEVEL[own], f"{own} must not import {other}"


def test_the_map_of_contributing_is_this_one() -> None:
    assert f"\n\n{the_map()}\n" in CONTRIBUTING.read_text(), "python tests/test_house.py prints it"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def needed_at_once(path: Path) -> set[str]:
    """Our modules that must be loaded before this one is: what it imports where it begins, not within functions."""
    nodes = list(ast.parse(path.read_text()).body)
    nodes += [inner for node in nodes if isinstance(node, ast.With) for inner in node.body]
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= (inner & MODULES) or {str(node.module)}
    return named & MODULES - {module_of(path)}


MODULES = {module_of(path) for path in FILES}


def test_no_modules_need_each_other() -> None:
    needs = {module_of(path): needed_at_once(path) for path in FILES}
    assert sum(map(len, needs.values())) > len(FILES)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_every_module_has_a_layer_and_answers_for_its_length() -> None:
    for path in FILES:
        assert part_of(path) in {*LEVEL, SIDE_DOOR}, path
        assert len(path.read_text().splitlines()) <= 330, f"{path} outgrew its shape: make it a folder"


def test_what_is_dipsims_has_one_name() -> None:
    """Nothing of dipsim is imported under another name than its own."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = "" if isinstance(node, ast.Import) else f"{node.module}."
                names = [(f"{module}{alias.name}", alias.asname) for alias in node.names]
                found += [(path.name, name, own) for name, own in names if name.startswith("dipsim") and own]
    assert found == []


def loaded_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_dipsim_loads_nothing_heavy() -> None:
    assert not {"torch", "matplotlib", "numba", "pandas", "scipy", "zarr", "transformers"} & loaded_after(
        "import dipsim"
    )


def test_simulating_does_not_load_torch_matplotlib_or_pandas() -> None:
    run = (
        "from dipsim import Simulation; Simulation('a18-paper', 'tiny', 'dip', density=.5, dram='.5x', tokens=8).run()"
    )
    assert not {"torch", "matplotlib", "typer", "pandas", "pyarrow"} & loaded_after(f"{run}.to_json()")
    assert {"pandas"} & loaded_after(f"{run}.tokens")


def test_public_names_are_there_and_documented() -> None:
    for name in dipsim.__all__:
        assert getattr(dipsim, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Simulatoin'"):
        dipsim.Simulatoin  # noqa: B018


if __name__ == "__main__":
    sys.stdout.write(the_map())
