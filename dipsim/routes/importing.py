"""Makes a trace of a file of routes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.model import ModelSpec
from dipsim.routes.bigmoe import read_bigmoe
from dipsim.routes.checking import Routes, checked
from dipsim.routes.described import as_routed, check_sizes, mixture_of, preset_of, with_expert_bytes
from dipsim.routes.general import read_general
from dipsim.routes.rows import OnProgress, open_binary
from dipsim.trace import Trace, TraceWriter, check_trace_output
from dipsim.trace.format import CHUNK_TOKENS

SITE = "router"
_UNKNOWN_ID = -1


def _no_progress(done: int, total: int) -> None:
    pass


def import_bigmoe(
    path: str | Path,
    out: str | Path,
    model: ModelSpec | None = None,
    *,
    force: bool = False,
    on_read: OnProgress = _no_progress,
    on_written: OnProgress = _no_progress,
) -> Trace:
    """A trace of what BigMoeOnEdge recorded; each of its turns is a sequence.

    Args:
        path: of the route trace.
        out: `NAME.zarr` or `NAME.zarr.zip`.
        model: whose routes they are; by default the preset of the file's architecture and sizes.
        force: replace what is there already.
        on_read, on_written: are called with how much is done and how much there is.

    Returns:
        The trace: experts as large as the file says, as many for each token as it has, the prompts' routes beside.

    Raises:
        DipsimError: the file is not what it should be, with its line; it does not agree with the model; or the output
            may not be written.
    """
    path = Path(path)
    check_trace_output(Path(out), force)
    header, table = read_bigmoe(path, on_read)
    if model is None:
        model = preset_of(header.arch, header.n_layers, header.n_experts, str(path))
    check_sizes(model, header.n_layers, header.n_experts, str(path))
    model = with_expert_bytes(model, header.expert_bytes, str(path))
    routes = checked(table.joined(), model.layers_with_experts, header.n_experts)
    if routes.per_token != header.per_token:
        raise DipsimError(f"{path}: line 2: says {header.per_token} experts for a token; got {routes.per_token}")
    told = {"model": Path(header.model).name, "arch": header.arch, "dense_bytes": header.dense_bytes}
    return _written(routes, model, Path(out), _source("bigmoe", path) | told, force, on_written)


def import_routes(
    path: str | Path,
    out: str | Path,
    model: ModelSpec,
    *,
    force: bool = False,
    on_read: OnProgress = _no_progress,
    on_written: OnProgress = _no_progress,
) -> Trace:
    """A trace of routes in the general form, see `dipsim.routes.general`.

    Args:
        path: CSV, or a name in `.parquet`.
        out: `NAME.zarr` or `NAME.zarr.zip`.
        model: whose routes they are.
        force: replace what is there already.
        on_read, on_written: are called with how much is done and how much there is.

    Raises:
        DipsimError: as `import_bigmoe`.
    """
    path = Path(path)
    check_trace_output(Path(out), force)
    n_experts = mixture_of(model).n_experts
    table = read_general(path, model.n_layers, n_experts, on_read)
    routes = checked(table.joined(), model.layers_with_experts, n_experts)
    return _written(routes, model, Path(out), _source("routes", path), force, on_written)


def _source(form: str, path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return {"kind": "imported", "form": form, "file": path.name, "sha256": digest.hexdigest()}


def _written(
    routes: Routes, model: ModelSpec, out: Path, source: dict[str, Any], force: bool, on_written: OnProgress
) -> Trace:
    is_prompt, lengths = routes.is_prompt, routes.lengths
    parts = {"write": np.flatnonzero(~is_prompt), "write_prompt": np.flatnonzero(is_prompt)}
    total, done = sum(-(-tokens.size // CHUNK_TOKENS) for tokens in parts.values()), 0
    with TraceWriter(
        out,
        as_routed(model, routes),
        [SITE],
        np.full(sum(lengths), _UNKNOWN_ID),
        lengths,
        routes.prompt_lengths,
        source,
        {"name": "dense"},
        force,
        chosen_per_token=routes.per_token,
        with_prompt=bool(is_prompt.any()),
    ) as writer:
        for name, tokens in parts.items():
            write: Callable[[str, int, int, NDArray[np.float16]], None] = getattr(writer, name)
            for start in range(0, tokens.size, CHUNK_TOKENS):
                block = tokens[start : start + CHUNK_TOKENS]
                for layer in range(model.n_layers):
                    write(SITE, layer, start, _scores(routes, block, layer, mixture_of(model).n_experts))
                done += 1
                on_written(done, total)
    return Trace.open(out)


def _scores(routes: Routes, tokens: NDArray[np.int64], layer: int, n_experts: int) -> NDArray[np.float16]:
    """Of some tokens in a layer, [token, expert]; 0 where not chosen."""
    scores = np.zeros((tokens.size, n_experts), np.float16)
    if layer in routes.layers:
        own = routes.layers.index(layer)
        np.put_along_axis(scores, routes.experts[tokens, own], routes.weights[tokens, own], axis=1)
    return scores
