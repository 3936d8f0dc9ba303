"""Timelines against a checker of their own, written from the Trace Event Format, and against the run's own sums."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
from conftest import MakeTrace, device, random_scores, small_model, tight_slots, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import complaint, run
from test_hardware import AHEAD, profiles

from dipsim import Dense, Dip, DipCa, DipsimError, Gate, HardwareProfile, Simulation, Trace
from dipsim.methods import Method

pytestmark = tight_slots
TRACKS = ["tokens", "layers", "Flash", "prefetch", "DRAM", "compute"]


class Span(NamedTuple):
    """Times in microseconds."""

    track: str
    name: str
    category: str
    start: float
    end: float
    args: dict[str, Any]
    depth: int


class Timeline(NamedTuple):
    """What a viewer would show."""

    spans: list[Span]
    arrows: list[tuple[Span, Span]]
    counters: dict[str, list[tuple[float, dict[str, float]]]]

    def of(self, track: str) -> list[Span]:
        return [span for span in self.spans if span.track == track]

    def seconds(self, track: str) -> float:
        return math.fsum(span.end - span.start for span in self.of(track) if "prompt" not in span.category) / 1e6


NEEDED = {
    "M": {"name", "pid", "tid", "args"},
    "B": {"name", "cat", "ts", "pid", "tid"},
    "E": {"ts", "pid", "tid"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
    "C": {"name", "ts", "pid", "args"},
}


def read(path: Path) -> Timeline:
    """Checks a file against the format and puts its spans together."""
    data = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    events = data["traceEvents"]
    threads: dict[int, str] = {}
    open_spans: dict[str, list[dict[str, Any]]] = defaultdict(list)
    last: dict[str, float] = defaultdict(float)
    spans: list[Span] = []
    flows: dict[int, dict[str, Any]] = defaultdict(dict)
    counters = defaultdict(list)
    for event in events:
        assert NEEDED[event["ph"]] <= set(event), event
        assert event["pid"] == 1
        if event["ph"] == "M":
            if event["name"] == "thread_name":
                threads[event["tid"]] = event["args"]["name"]
            continue
        assert isinstance(event["ts"], float)
        assert 0 <= event["ts"] < math.inf
        if event["ph"] == "C":
            assert all(isinstance(value, int | float) and value >= 0 for value in event["args"].values())
            counters[event["name"]].append((event["ts"], event["args"]))
            continue
        track = threads[event["tid"]]
        if event["ph"] in "sf":
            assert event["ph"] not in flows[event["id"]], "an id is one arrow"
            flows[event["id"]][event["ph"]] = event
            continue
        assert event["ts"] >= last[track], "spans of a track follow each other or lie within each other"
        last[track] = event["ts"]
        if event["ph"] == "B":
            open_spans[track].append(event)
        else:
            begun = open_spans[track].pop()
            depth = len(open_spans[track])
            spans.append(
                Span(track, begun["name"], begun["cat"], begun["ts"], event["ts"], begun.get("args", {}), depth)
            )
    assert not any(open_spans.values())
    assert list(threads.values()) == TRACKS
    assert [event["args"]["name"] for event in events if event.get("name") == "process_name"] != []
    arrows = []
    for ends in flows.values():
        tail, head = ends["s"], ends["f"]
        assert (tail["name"], tail["cat"], head["bp"]) == (head["name"], head["cat"], "e")
        assert tail["ts"] <= head["ts"]
        arrows.append(
            (_around(spans, threads[tail["tid"]], tail["ts"]), _around(spans, threads[head["tid"]], head["ts"]))
        )
    return Timeline(spans, arrows, counters)


def _around(spans: list[Span], track: str, at: float) -> Span:
    """The innermost span of a track that begins at a time."""
    found = [span for span in spans if span.track == track and span.start == at and span.end > at]
    assert found, (track, at)
    return max(found, key=lambda span: span.depth)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("timeline") / "trace.zarr"
    return write_trace(path, small_model(), random_scores(small_model(), 40), [30, 10], [3, 0])


REAL = {"latency_s": 20e-6, "queue_depth": 2, "page_bytes": 16, "read_curve": [[16, 1e6], [64, 3e6]]}
COMPUTE = {"ops_per_s": 1e7, "launch_s": 1e-6, "select_s_per_column": 1e-7}


def check(simulation: Simulation, path: Path) -> Timeline:
    """The sums that every timeline of a whole run must have."""
    result = simulation.run(timeline=path)
    assert result.to_json() == simulation.run().to_json()
    timeline = read(path)
    tokens = result.tokens
    for track, name in (("Flash", "flash_s"), ("DRAM", "dram_s"), ("compute", "compute_s"), ("tokens", "token_s")):
        # A token's seconds are a difference of times, so they are only as good as the run is long.
        assert timeline.seconds(track) == pytest.approx(tokens[name].sum(), rel=1e-9, abs=1e-18), track
    drawn = timeline.of("tokens")
    assert [span.args["token"] for span in drawn if span.category == "token"] == tokens["token"].tolist()
    assert drawn[0].start == 0
    assert all(before.end == after.start for before, after in pairwise(drawn))
    makespan = tokens["token_s"].sum() + sum(result.ttft_s)
    assert drawn[-1].end / 1e6 == pytest.approx(makespan, rel=1e-9)
    assert max(span.end for span in timeline.spans) == drawn[-1].end
    return timeline


@pytest.mark.parametrize("overlap", ["none", "io", "pipelined"])
@pytest.mark.parametrize("flash", [{}, REAL], ids=["ideal", "real"])
@pytest.mark.parametrize("compute", [None, COMPUTE], ids=["infinitely fast", "compute"])
def test_spans_are_what_the_devices_did(
    trace: Trace, tmp_path: Path, overlap: str, flash: dict[str, Any], compute: dict[str, Any] | None
) -> None:
    profile = device(2e6, 8e6, flash_more=flash, **({"compute": compute} if compute else {}))
    simulation = Simulation(profile, trace, DipCa(density=0.4), "lfu", dram="0.7x", overlap=overlap)
    timeline = check(simulation, tmp_path / "t.json")
    assert timeline.arrows
    assert not timeline.of("prefetch")
    result = simulation.run()
    assert sum(s.args["flash_reads"] for s in timeline.of("Flash") if "prompt" not in s.category) == pytest.approx(
        result.tokens["flash_reads"].sum()
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    profiles(),
    st.sampled_from([Dense(), Dip(density=0.5), DipCa(density=0.4), Gate(keep=0.4)]),
    st.sampled_from(["none", "previous-token", "oracle"]),
    st.sampled_from(["none", "io", "pipelined"]),
    st.sampled_from([30, 90, 160]),
)
def test_any_device_any_prefetch(
    trace: Trace,
    tmp_path_factory: pytest.TempPathFactory,
    profile: HardwareProfile,
    masking: Method,
    prefetch: str,
    overlap: str,
    prefetch_bytes: int,
) -> None:
    ahead = {} if prefetch == "none" else {"prefetch": prefetch, "prefetch_bytes": prefetch_bytes}
    overlap = "pipelined" if ahead else overlap
    path = tmp_path_factory.mktemp("any") / "t.json"
    check(Simulation(profile, trace, masking, "lru", dram=1400, overlap=overlap, **ahead), path)


def test_the_same_run_gives_the_same_bytes(trace: Trace, tmp_path: Path) -> None:
    profile = HardwareProfile.load("oneplus-12-ufs4")
    simulation = Simulation(profile, trace, Dip(density=0.4), "lfu", dram=1400, prefetch="oracle", **AHEAD)
    for name in ("one.json", "two.json"):
        tokens = simulation.run(timeline=tmp_path / name).tokens
    ahead = read(tmp_path / "one.json").of("prefetch")
    assert sum(span.args["wanted_bytes"] for span in ahead) == tokens["prefetch_bytes"].sum()  # all are waited for
    assert sum(span.args["used_columns"] for span in ahead) > 0
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_stages_by_hand(make_trace: MakeTrace, tmp_path: Path) -> None:
    """Dense without cache, one token, ideal Flash at 1 MB/s: a row of 8 bytes, then 192 and 96 bytes in each layer."""
    trace = make_trace(small_model(n_layers=1), random_scores(small_model(n_layers=1), 1))
    profile = device(1e6, 1e15, compute={"ops_per_s": 1e7})
    pinned = 8 * 4 * 6 + 16 * 8
    Simulation(profile, trace, Dense(), "none", dram=pinned + 8, overlap="io").run(timeline=tmp_path / "t.json")
    timeline = read(tmp_path / "t.json")
    attention, head = 8 * 4 * 6 * 2 / 10, 16 * 8 * 2 / 10  # microseconds of operations
    up_gate, down = 192 + 192 * 2 / 10, 96 + 96 * 2 / 10
    edges = np.cumsum([0, 8, attention, up_gate, down, head])
    rows = [("embedding", 0, 1), ("layer 0", 1, 4), ("attention", 1, 2), ("up_gate", 2, 3), ("down", 3, 4)]
    expected = [(name, edges[first], edges[last]) for name, first, last in [*rows, ("LM head", 4, 5)]]
    drawn = sorted(timeline.of("layers"), key=lambda span: (span.start, span.depth))
    assert [span.name for span in drawn] == [name for name, _, _ in expected]
    for span, (_, start, end) in zip(drawn, expected, strict=True):
        assert (span.start, span.end) == pytest.approx((start, end), abs=1e-6)
    # The row is waited for by attention, the matrices by the operations on them.
    ends = [(tail.name, head.track, head.name) for tail, head in timeline.arrows]
    assert ends == [
        ("embedding", "layers", "attention"),
        ("up_gate", "compute", "up_gate"),
        ("down", "compute", "down"),
    ]
    assert timeline.of("Flash")[1].args == {
        "layer": 0, "flash_reads": 1, "flash_bytes": 192.0, "wanted_bytes": 192.0, "missed_columns": 8, "queued_s": 0.0,
    }  # fmt: skip
    assert [values["reads"] for _, values in timeline.counters["Flash queue"]] == [1, 0, 1, 0, 1, 0]


def test_arrows_lead_from_a_miss_to_the_work_on_it(make_trace: MakeTrace, tmp_path: Path) -> None:
    """Pipelined, half of the columns pinned by use: operations on what Flash delivers begin when its data does."""
    trace = make_trace(small_model(), random_scores(small_model(), 8))
    profile = device(1e6, 1e9, flash_more={"latency_s": 1e-3}, compute={"ops_per_s": 1e6})
    Simulation(profile, trace, Dip(density=0.5), "lru", dram="0.8x").run(timeline=tmp_path / "t.json")
    timeline = read(tmp_path / "t.json")
    misses = [span for span in timeline.of("Flash") if span.category == "miss"]
    by_tail = {(tail.start, tail.name): head for tail, head in timeline.arrows}
    assert misses
    for span in misses:
        work = by_tail[span.start, span.name]
        assert (work.track, work.name, work.category) == ("compute", span.name, "operations")
        assert work.start >= span.start + 1e3 - 1e-6


def test_reads_ahead_have_a_track_and_what_is_still_read_is_cut(make_trace: MakeTrace, tmp_path: Path) -> None:
    """Hot columns stay resident, and slow Flash reads others for nothing: it still does when the run has ended."""
    scores = {"mlp_input": np.ones((3, 2, 8), np.float16), "glu": np.ones((3, 2, 12), np.float16)}
    for site in scores.values():
        site[:, :, :2] = 2
    trace = make_trace(small_model(), scores)
    profile = device(1e3, 1e9, flash_more={"latency_s": 1e-3})
    hot_two = Dip(keep_input=2 / 8, keep_glu=2 / 12)
    simulation = Simulation(profile, trace, hot_two, "lru", dram=1000, prefetch="previous-token", **AHEAD)
    assert simulation.run().tokens["hits"].tolist() == [0, 8, 8]
    timeline = check(simulation, tmp_path / "t.json")
    assert timeline.of("Flash")[-1].end == timeline.of("tokens")[-1].end
    ahead = timeline.of("prefetch")
    assert ahead
    assert [span[1:] for span in ahead] == [span[1:] for span in timeline.of("Flash") if span.category == "prefetch"]
    # The last ones had not begun yet.
    assert sum(span.args["wanted_bytes"] for span in ahead) < simulation.run().tokens["prefetch_bytes"].sum()
    written = [span for span in timeline.of("DRAM") if span.category == "prefetch"]
    assert len(written) >= len(ahead)  # the bus is charged when a read is begun


def test_the_window_is_the_end_of_the_whole(trace: Trace, tmp_path: Path) -> None:
    """Tokens before it leave no trace in the file."""
    profile = device(2e6, 8e6, flash_more=REAL, compute=COMPUTE)
    simulation = Simulation(profile, trace, DipCa(density=0.4), "lfu", dram="0.7x", tokens=36)
    simulation.run(timeline=tmp_path / "whole.json")
    whole = read(tmp_path / "whole.json")
    simulation.run(timeline=tmp_path / "part.json", timeline_from=33)
    part = read(tmp_path / "part.json")
    start = next(span.start for span in whole.of("tokens") if span.name == "token 33")
    assert [span.name for span in part.of("tokens")] == ["token 33", "token 34", "token 35"]
    assert part.spans == [span for span in whole.spans if span.start >= start]
    resident = [values for at, values in whole.counters["resident bytes"] if at <= start][-1]
    assert part.counters["resident bytes"][0] == (start, resident)
    assert (
        part.counters["Flash queue"]
        == [(at, values) for at, values in whole.counters["Flash queue"] if at >= start][
            -len(part.counters["Flash queue"]) :
        ]
    )


@pytest.mark.parametrize("admission", ["always", "priority"])
def test_resident_bytes_are_those_of_a_cache_by_the_book(trace: Trace, tmp_path: Path, admission: str) -> None:
    masking = Dip(density=0.4)
    simulation = Simulation(device(), trace, masking, "lru", admission=admission, dram="0.8x")
    result = simulation.run(timeline=tmp_path / "t.json")
    timeline, slots = read(tmp_path / "t.json"), result.to_dict()["slots"]
    scores = {
        name: random_scores(small_model(), 40)[site] for name, site in (("up_gate", "mlp_input"), ("down", "glu"))
    }
    groups = {group.name: group for group in masking.groups(small_model())}
    ends = [span.end for span in timeline.of("tokens") if span.category == "token"]
    told = timeline.counters["resident bytes"]
    for t in range(40):
        if t in (0, 30):
            caches = {
                (name, layer): reference.Cache(group.n_columns, slots[name][layer], "lru", admission)
                for name, group in groups.items()
                for layer in range(2)
            }
        expected = dict.fromkeys(groups, 0.0)
        for (name, layer), cache in caches.items():
            own, k = scores[name][t, layer], masking.n_kept(groups[name])
            cache.update(reference.top_k(own, k), own, t if t < 30 else t - 30)
            expected[name] += len(cache.resident) * groups[name].column_bytes
        shown = [values for at, values in told if at < ends[t]][-1]  # the LM head comes last
        assert shown == expected, t
    assert 0 < expected["down"] < 2 * 12 * 8


def test_prompts_within_the_window_are_named(make_trace: MakeTrace, tmp_path: Path) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 6), lengths=[3, 3], prompt_lengths=[4, 2])
    simulation = Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.8x")
    names = {}
    for first in (0, 1, 3, 4):
        simulation.run(timeline=tmp_path / "t.json", timeline_from=first)
        timeline = read(tmp_path / "t.json")
        names[first] = [span.name for span in timeline.of("tokens")]
        prompts = [span for span in timeline.of("tokens") if span.category == "prompt"]
        assert [span.args["prompt_tokens"] for span in prompts] == {0: [4, 2], 1: [2], 3: [2], 4: []}[first]
        assert sum("prompt" in span.category for span in timeline.of("Flash")) == 5 * len(prompts)
    whole = ["prompt of sequence 0", "token 0", "token 1", "token 2", "prompt of sequence 1", "token 3", "token 4"]
    whole.append("token 5")
    assert names == {0: whole, 1: whole[2:], 3: whole[4:], 4: whole[6:]}


@pytest.mark.parametrize("first", [-1, 40])
def test_a_window_without_tokens_is_refused(trace: Trace, tmp_path: Path, first: int) -> None:
    simulation = Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.8x")
    with pytest.raises(DipsimError, match=rf"timeline_from: got {first}; must be at least 0 and below 40"):
        simulation.run(timeline=tmp_path / "t.json", timeline_from=first)
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_leaves_no_file(trace: Trace, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Simulation(device(), trace, Dip(density=0.4), "lru", dram="0.8x").run(stop, tmp_path / "t.json")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_window(tmp_path: Path) -> None:
    out, json_out = tmp_path / "timeline.json", tmp_path / "result.json"
    arguments = ["simulate", "tiny", "--dram", "0.9x", "--json", str(json_out), "--force"]
    done = run(*arguments, "--tokens", "30:33", "--timeline", str(out))
    assert done.returncode == 0, done.stderr
    assert [span.name for span in read(out).of("tokens")] == ["token 30", "token 31", "token 32"]
    drawn = json_out.read_text()
    assert json.loads(out.read_text())["otherData"]["config"] == json.loads(drawn)["config"]
    assert run(*arguments, "--tokens", "33").returncode == 0
    assert json_out.read_text() == drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "three"], "tokens: got 'three'; must be N for the first N tokens, or A:B to draw A to B"),
        (["--tokens", "3:"], "tokens: got '3:'; must be N"),
        (["--tokens", "0"], "tokens: got 0; the trace has 512"),
        (["--tokens", "8:8", "--timeline", "t.json"], "tokens: got '8:8'; there is no token from 8 to 8"),
        (["--tokens", "8:600", "--timeline", "t.json"], "tokens: got 600; the trace has 512"),
        (["--tokens", "3:8"], "tokens: got '3:8' without --timeline, which alone begins at a token; give 8"),
        (["--timeline", "there.json"], "output: 'there.json' exists already; give --force"),
        (["--timeline", "a.json", "--json", "a.json"], "output: 'a.json' is named twice"),
    ],
)
def test_mistakes_get_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "there.json").write_text("{}")
    assert message in complaint(run("simulate", "tiny", *arguments, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
