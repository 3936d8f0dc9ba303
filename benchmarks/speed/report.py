"""How long does a report take to open in a browser, and to answer a click?

    python -m benchmarks.speed.report --json FILE                 a minute

A sweep over devices, methods, densities, policies and sizes of DRAM, its rows repeated with noise in each number, so
that none can be stored once for many. Opened from a file in Chromium or Chrome without a window, until what is there
is painted: the plot, the table, the filters. Then the same page is asked for other things, until they are painted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Browser, Page, sync_playwright

import dipsim as ds
from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import spread
from dipsim.report import page
from tests.browser import WANTED, find

SPEC = {
    "trace": "tiny",
    "profile": ["oneplus-12-ufs4", "iphone-16", "raspberry-pi-5-sd", "desktop-pcie5"],
    "method": ["dense", "dip", "dip-ca"],
    "density": [0.3, 0.4, 0.5, 0.7],
    "policy": ["lfu", "lru"],
    "dram": ["0.3x", "0.5x", "0.8x"],
    "tokens": 32,
}
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--rows", type=int, nargs="+", default=[200, 1000, 10_000], help="of the pages (200 1000 10000)")


def frame_of(swept: pd.DataFrame, n_rows: int) -> pd.DataFrame:
    """Rows of a sweep, again and again, each with a seed and numbers of its own."""
    rng = np.random.default_rng(0)
    frame = pd.concat([swept] * -(-n_rows // len(swept)), ignore_index=True).iloc[:n_rows]
    noise = rng.uniform(0.9, 1.1, n_rows)
    results = [name for name in frame if frame[name].dtype.kind == "f" and name != "density" and "profile." not in name]
    lists = {
        "token_s_percentiles": [
            np.asarray(own) * by for own, by in zip(frame["token_s_percentiles"], noise, strict=True)
        ]
    }
    numbers = {name: frame[name] * rng.uniform(0.99, 1.01, n_rows) for name in results if not name.startswith("dram.")}
    return frame.assign(
        seed=np.arange(n_rows) // len(swept), key=[f"{n:064x}" for n in range(n_rows)], **numbers, **lists
    )


def timed(tab: Page, act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    tab.evaluate(PAINTED)
    return time.perf_counter() - begun


def opening_row(browser: Browser, path: Path, n_rows: int, n_runs: int) -> Row:
    """Seconds to open a page, and of what is done in it."""
    found: dict[str, list[float]] = {}
    for run in range(n_runs + 1):
        tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        acts = {
            "open": lambda tab=tab: (tab.goto(path.as_uri()), tab.wait_for_selector("#plot .main-svg")),
            "all runs as points": lambda tab=tab: tab.get_by_role("button", name="Accuracy by throughput").click(),
            "filter": lambda tab=tab: tab.get_by_label("throughput (tok/s), most").fill("1000"),
            "sort": lambda tab=tab: tab.locator("#runs-table th[data-column=tok_per_s] button").click(),
        }
        for name, act in acts.items():
            took = timed(tab, act)
            if run:  # the first warms up
                found.setdefault(name, []).append(took)
        tab.context.close()
    return {"rows": n_rows, "mb": path.stat().st_size / 1e6} | {
        f"{name}, s": spread(own) for name, own in found.items()
    }


def tables(given: argparse.Namespace) -> Iterator[Table]:
    warnings.simplefilter("ignore", ds.DipsimWarning)
    swept = ds.sweep(SPEC, workers=1)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        if not (path := find()):
            raise SystemExit(WANTED)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        rows = []
        for n_rows in given.rows:
            written = Path(folder) / f"{n_rows}.html"
            written.write_text(page(frame_of(swept, n_rows)), encoding="utf-8")
            rows.append(opening_row(browser, written, n_rows, given.runs))
        yield Table(f"report in {path.rpartition('/')[2]} {browser.version}", rows)
        browser.close()


if __name__ == "__main__":
    main(__doc__, tables, options)
