"""Does anything that strangers send make dipsim fail, hang, flood memory or write elsewhere?

    python -m benchmarks.robustness.fuzz --cases 10000                     # all kinds, see the table for how long
    python -m benchmarks.robustness.fuzz --kind trace --kind sweep --cases 500 --seed 7
    python -m benchmarks.robustness.fuzz --kind trace --seed 7 --only 123 --keep bad  # that case alone, kept

Sound inputs of every kind that dipsim reads, made by dipsim itself, are damaged by format and by bytes, and read by
the commands that read them, each case in a process of its own, forked from a warm one, with limits of 10 s and 2 GiB.
Right is: exit code 0 and nothing on stderr but warnings, 2 and one line, or 1 where some runs of a sweep failed.

accepted, refused and failed are exit codes 0, 2 and 1; a traceback is what only the last resort caught, or a signal;
outside is a file written, a program started or a host called elsewhere; untidy is an exit code 2 without its one line,
words that are not dipsim's, half-written files, control characters, or JSON that is none. Needs Linux.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# Before any library starts its threads, which a fork would leave behind.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

import dipsim
from benchmarks.command import Row, Table, main
from benchmarks.robustness.fuzz_case import Outcome, make_folder, run_case
from benchmarks.robustness.fuzz_kinds import KINDS, carry_out, make_seeds, prepare, try_sound

VERDICTS = ("accepted", "refused", "failed", "traceback", "over time", "over memory", "outside", "untidy")


@dataclass(frozen=True)
class Case:
    """What was tried and how it ended; index 0 of a kind is a sound input."""

    kind: str
    index: int
    words: list[str]
    outcome: Outcome


def cases(kind: str, indices: range, seed: int, seeds: Path, work: Path, keep: Path | None) -> Iterator[Case]:
    """Tries cases of a kind, each from the seed, the kind and its index alone.

    Args:
        kind: a name of `KINDS`.
        indices: which cases.
        seed: of all of them.
        seeds: what `make_seeds` made.
        work: where cases are put, and removed from.
        keep: where bad ones are put and stay.
    """
    may_write = Path(dipsim.__file__).parent  # kernels that were not compiled yet
    for index in indices:
        folder = work / f"{kind}-{index}"
        rng = random.Random(f"{seed}/{kind}/{index}")  # noqa: S311
        make_folder(folder)
        n_changes = 0 if index == 0 else min(1 + int(rng.expovariate(1.2)), 4)
        words = prepare(KINDS[kind], seeds, folder, rng, n_changes)
        outcome = run_case(folder, partial(carry_out, words), (may_write,))
        case = Case(kind, index, words, outcome)
        if outcome.is_bad and keep is not None:
            (folder / "words").write_text(shlex.join(words), "utf-8", "backslashreplace")
            shutil.rmtree(keep / folder.name, ignore_errors=True)
            shutil.move(folder, keep / folder.name)
        shutil.rmtree(folder, ignore_errors=True)
        yield case


def counts(found: list[Case]) -> list[Row]:
    """A row for each kind, and one for all."""
    rows = []
    for kind in [*dict.fromkeys(case.kind for case in found), "all"]:
        own = [case.outcome for case in found if kind in (case.kind, "all")]
        verdicts = Counter(outcome.verdict for outcome in own)
        row: Row = {"kind": kind, "cases": len(own)} | {verdict: verdicts[verdict] for verdict in VERDICTS}
        longest, most = max(one.took_s for one in own), max(one.took_bytes for one in own)
        rows.append(row | {"longest, s": round(longest, 1), "most, MB": round(most / 1e6)})
    return rows


def findings(found: list[Case]) -> list[Row]:
    """Bad outcomes of one cause in one row, with the cases to try again."""
    causes: dict[tuple[str, str, str], list[Case]] = {}
    for case in found:
        if case.outcome.is_bad:
            causes.setdefault((case.kind, case.outcome.verdict, case.outcome.about), []).append(case)
    rows = []
    for (kind, verdict, about), own in sorted(causes.items()):
        which = ", ".join(str(case.index) for case in own[:5])
        words = ascii(shlex.join(own[0].words))[1:200]
        rows.append(
            {"kind": kind, "verdict": verdict, "cases": len(own), "about": about, "such as": which, "words": words}
        )
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--cases", type=int, default=1000, help="in all, shared out among the kinds (1000)")
    asked.add_argument("--kind", action="append", choices=KINDS, help="only this kind; may be given several times")
    asked.add_argument("--seed", type=int, default=0, help="same seed, same cases (0)")
    asked.add_argument("--only", type=int, metavar="INDEX", help="only this case of each kind")
    asked.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the files and the words of bad cases here")


def shares(given: argparse.Namespace) -> dict[str, range]:
    """Which cases of each kind."""
    names = given.kind or list(KINDS)
    if given.only is not None:
        return {name: range(given.only, given.only + 1) for name in names}
    whole = sum(KINDS[name].weight for name in names)
    return {name: range(max(2, round(given.cases * KINDS[name].weight / whole))) for name in names}


def tables(given: argparse.Namespace) -> Iterator[Table]:
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
    found: list[Case] = []
    with tempfile.TemporaryDirectory() as folder:
        seeds, work = Path(folder).resolve() / "seeds", Path(folder).resolve() / "work"
        seeds.mkdir()
        os.environ["MPLCONFIGDIR"] = folder
        print("making sound inputs", file=sys.stderr)
        make_seeds(seeds)
        try_sound(seeds, work)
        gc.freeze()  # or every case copies what its collector looks at
        for kind, indices in shares(given).items():
            started, before = time.perf_counter(), len(found)
            found += cases(kind, indices, given.seed, seeds, work, given.keep)
            own = found[before:]
            n_bad, took_s = sum(case.outcome.is_bad for case in own), time.perf_counter() - started
            print(f"{kind}: {len(own)} cases in {took_s:.0f} s, {n_bad} bad", file=sys.stderr, flush=True)
    yield Table("cases", counts(found))
    yield Table("findings", findings(found))


if __name__ == "__main__":
    main(__doc__, tables, options)
