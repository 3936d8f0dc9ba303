"""How near do synthetic scores come to real ones, and what are the presets made of?

    python -m benchmarks.models.presets TRACES --files GGUFS --write dipsim/fitted   # parameters, medians by depth
    python -m benchmarks.models.presets TRACES --compare                             # hit rates and tokens/s

TRACES is a folder with NAME-valid.zarr and NAME-test.zarr of every model, made by `dipsim capture` from the validation
and the test text of WikiText-2 in sequences of 512 tokens. Parameters are fitted to the first; the second is held out.
GGUFS holds NAME.gguf, whose sha256 is kept with the parameters.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.command import Row, Table, main
from dipsim import Dip, DipCa, HardwareProfile, Simulation, Trace, synthesize
from dipsim.methods import Method
from dipsim.synthetic import PRESETS, SITES, Fitted, fit

CASES: dict[str, Method] = {
    "dip .3": Dip(density=0.3),
    "dip .5": Dip(density=0.5),
    "dip-ca .5": DipCa(density=0.5, gamma=0.2),
}
POLICY, PROFILE = "lfu", "a18-paper"
LOCALITY = ("spread", "document_share", "tau_tokens", "rho")
DEPTHS = np.linspace(0, 1, 11)


def models(folder: Path) -> list[str]:
    return sorted(path.name.removesuffix("-valid.zarr") for path in folder.glob("*-valid.zarr"))


def fitted(name: str, given: argparse.Namespace) -> Fitted:
    """Parameters of a model, and what they come from."""
    trace = Trace.open(given.traces / f"{name}-valid.zarr")
    said = trace.source
    source = {
        "model_sha256": hashlib.sha256((given.files / f"{name}.gguf").read_bytes()).hexdigest(),
        "text": said["text"],
        "tokens": trace.n_tokens,
        "sequence_tokens": trace.sequences[0].stop,
        "bos": said["bos"],
        "versions": {key: said[key] for key in ("torch", "transformers")} | {"dipsim": version("dipsim")},
    }
    return Fitted(name, source, {site: fit(trace, site) for site in SITES})


def medians(found: list[Fitted], site: str) -> list[Row]:
    """By depth, the median over models of every parameter of locality."""
    rows: list[Row] = []
    for depth in DEPTHS:
        row: Row = {"depth": float(depth)}
        for name in LOCALITY:
            curves = [
                np.interp(depth, [at for at, _ in own.sites[site]], [getattr(one, name) for _, one in own.sites[site]])
                for own in found
            ]
            row[name] = float(np.median(curves))
        rows.append(row)
    return rows


def measured(trace: Trace) -> Row:
    """Hit rate and tokens/s with DRAM for the pinned weights, the KV cache and half of the MLP."""
    model = trace.model
    n_positions = max(own.stop - own.start for own in trace.sequences)
    dram = model.pinned_bytes + float(np.sum(model.kv_bytes(n_positions))) + model.mlp_bytes / 2
    row: Row = {}
    for name, method in CASES.items():
        result = Simulation(HardwareProfile.load(PROFILE), trace, method, POLICY, dram=dram).run().to_dict()
        row |= {f"{name}: hits": result["hit_rate"], f"{name}: tok/s": result["tok_per_s"]}
    return row


def compared(name: str, text: str, folder: Path, scratch: Path) -> list[Row]:
    """Recorded scores beside synthetic ones of the same model, as differences."""
    recorded = Trace.open(folder / f"{name}-{text}.zarr")
    real = measured(recorded)
    rows: list[Row] = [{"model": name, "scores": "recorded"} | real]
    for scores in (*PRESETS, "like"):
        chosen = {"like": name} if scores == "like" else {"preset": scores}
        made = synthesize(
            scratch / "made.zarr", recorded.model, recorded.n_tokens, sequence_tokens=512, force=True, **chosen
        )
        gaps = {
            key: f"{value - real[key]:+.3f}" if key.endswith("hits") else f"{100 * (value / real[key] - 1):+.1f} %"
            for key, value in measured(made).items()
        }
        rows.append({"model": name, "scores": scores} | gaps)
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("traces", type=Path, help="folder with NAME-valid.zarr and NAME-test.zarr")
    asked.add_argument("--files", type=Path, default=Path(), help="folder with NAME.gguf (.)")
    asked.add_argument("--write", type=Path, metavar="FOLDER", help="fit, and keep NAME.json here")
    asked.add_argument("--compare", action="store_true", help="simulate recorded and synthetic scores")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    names = models(given.traces)
    if given.write is not None:
        found = [fitted(name, given) for name in names]
        for own in found:
            (given.write / f"{own.name}.json").write_text(json.dumps(own.to_dict(), separators=(",", ":")) + "\n")
        for site in SITES:
            yield Table(f"{site}: medians over {', '.join(names)}", medians(found, site))
    if given.compare:
        with tempfile.TemporaryDirectory() as scratch:
            for text, about in (("test", "held out"), ("valid", "fitted to")):
                for name in names:
                    yield Table(f"{name}, {text} text, {about}", compared(name, text, given.traces, Path(scratch)))


if __name__ == "__main__":
    main(__doc__, tables, options)
