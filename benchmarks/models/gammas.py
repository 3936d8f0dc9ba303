"""Which gamma, which rule and which density should cache-aware masking have?

    python -m benchmarks.models.gammas models/smollm2-135m.gguf test.txt --results runs --blocks 1

`dip-ca` by its three rules, with warm-up and exempt columns, beside `dip`; sorted by what they lose.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from benchmarks.command import Table, main
from benchmarks.models.runs import Options, Place, add_place

DENSITIES = (0.4, 0.5, 0.6, 0.7)
GAMMAS = (0.1, 0.2, 0.35, 0.5, 0.7)
VARIED = (0.5, 0.6, 0.7)
VARIANTS: tuple[Options, ...] = (
    {"gamma": 0.2, "gamma_warm_up": True},
    {"gamma": 0.2, "exempt_top": 32},
    {"rule": "blend", "gamma": 0.5},
    {"rule": "blend", "gamma": 0.8},
    {"rule": "top-m", "top_m": 1.3},
    {"rule": "top-m", "top_m": 2.0},
)


def cases() -> Iterator[Options]:
    for density in DENSITIES:
        yield {"method": "dip", "density": density}
        yield from ({"method": "dip-ca", "density": density, "gamma": gamma} for gamma in GAMMAS)
    for density in VARIED:
        yield from ({"method": "dip-ca", "density": density, **variant} for variant in VARIANTS)


def options(asked: argparse.ArgumentParser) -> None:
    add_place(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    place = Place(given)
    rows = sorted(place.rows(cases()), key=lambda row: float(row["lost"]))
    yield Table(place.folder.name, rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
