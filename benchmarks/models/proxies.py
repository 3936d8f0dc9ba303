"""How far may a reader trust what scores say, where no model is run?

    python -m benchmarks.models.proxies models/smollm2-135m.gguf test.txt --results runs --blocks 1

Over the runs of `tradeoff` and `gammas`: rank correlation of each proxy with the loss over dense, and how far points
lie from the power law through them, as a factor of the loss.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.command import Row, Table, main
from benchmarks.models import gammas, tradeoff
from benchmarks.models.runs import Place, add_place

LEAST_LOST = 0.01  # nats; below, noise is most of it
PROXIES = {
    "1 - MLP density": lambda row: 1 - row["density"],
    "1 - retained magnitude": lambda row: 1 - row["retained"],
    "MLP error, estimated from scores": lambda row: row["mlp_error"],
    "MLP error, measured with the weights": lambda row: row["output_error"],
}


def judged(frame: pd.DataFrame, name: str, methods: str) -> Row:
    """One proxy over runs that all have it."""
    own = frame.assign(proxy=PROXIES[name](frame)).dropna(subset=["proxy"])
    x, y = np.log(own["proxy"]), np.log(own["lost"])
    slope, height = np.polyfit(x, y, 1)
    spread = float(np.std(y - slope * x - height, ddof=2))
    rank = float(own["proxy"].rank().corr(own["lost"].rank()))
    return {
        "proxy": name,
        "methods": methods,
        "runs": len(own),
        "rank correlation": rank,
        "power": slope,
        "within a factor of": math.exp(spread),
    }


def options(asked: argparse.ArgumentParser) -> None:
    add_place(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    place = Place(given)
    cases = [case for case in (*tradeoff.cases(), *gammas.cases()) if case["method"] != "dense"]
    different = [case for index, case in enumerate(cases) if case not in cases[:index]]
    frame = pd.DataFrame(place.rows(different)).sort_values("lost")
    yield Table(place.folder.name, frame.to_dict("records"))
    known = frame[(frame["lost"] > LEAST_LOST) & frame["mlp_error"].notna()].astype({"retained": float})
    dips = known[known["method"].isin(["dip", "dip-ca"])]
    groups = {"all that have scores": known, "dip and dip-ca": dips}
    yield Table("proxies", [judged(own, name, told) for told, own in groups.items() for name in PROXIES])


if __name__ == "__main__":
    main(__doc__, tables, options)
