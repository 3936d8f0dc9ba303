"""Loads and own devices, against closed forms: what is left of a rate, how long a pause is, what heat allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import simpy
from conftest import MakeTrace, device, random_scores, small_model, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hardware import profiles

import dipsim as ds
from dipsim import Dense, Dip, DipsimError, HardwareProfile, Simulation, Trace
from dipsim.engine.jobs import Jobs
from dipsim.engine.processes import ComputeDevice, Device, Job
from dipsim.engine.processes.stretch import Stretch
from dipsim.kernels.stages import ALONE, END, FLASH, GAVE_WAY, READY, SERVICE, START
from dipsim.loads import DramTraffic, FlashPauses, FlashReader, Heat
from dipsim.timeline import PARTS
from dipsim.timeline.measured import _Begun

MODEL = small_model()
PINNED_BYTES = 2 * 8 * 4 * 6 + 16 * 8
N_TOKENS = 40


@pytest.fixture
def trace(make_trace: MakeTrace) -> Trace:
    return make_trace(MODEL, random_scores(MODEL, N_TOKENS))


def streaming(trace: Trace, profile: HardwareProfile, **more: Any) -> Simulation:
    """Dense without a cache: every token reads all columns from Flash, 2 x 288 bytes, and a row of 8."""
    dram = PINNED_BYTES + float(trace.model.kv_bytes(trace.n_positions).sum())
    return Simulation(profile, trace, Dense(), "none", dram=dram, **more)


TOKEN_BYTES = 2 * 288 + 8


def flash_bound(rate: float = 1e4, **more: Any) -> HardwareProfile:
    """Ideal Flash and nothing else that takes time."""
    return device(rate, 1e30, slice_bytes=4, **more)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_an_app_takes_its_rate_from_an_ideal_flash(trace: Trace, share: float) -> None:
    alone = streaming(trace, flash_bound()).run()
    assert alone.to_dict()["tok_per_s"] == pytest.approx(1e4 / TOKEN_BYTES)
    assert alone.to_dict()["waited_for_others_s_per_token"] is None
    reader = FlashReader(rate_bytes_per_s=share * 1e4, read_bytes=4)
    numbers = streaming(trace, flash_bound(), loads=[reader]).run().to_dict()
    assert numbers["tok_per_s"] == pytest.approx((1 - share) * 1e4 / TOKEN_BYTES, rel=0.005)
    # Whatever a token takes longer than alone, it has waited.
    waited = numbers["waited_for_others_s_per_token"]
    assert waited["flash"] == pytest.approx(numbers["tpot_s"]["mean"] - TOKEN_BYTES / 1e4, rel=1e-9)
    assert waited["dram"] == waited["compute"] == 0
    assert numbers["bytes_per_token"]["flash"] == TOKEN_BYTES  # the model's own
    assert numbers["bound"] == "flash"


def test_what_passes_as_latency_is_no_waiting(trace: Trace) -> None:
    """A tenth of the time goes to reads of the app, some of them while the latency of the model's own passes; and its
    latency keeps nobody waiting."""
    profile = device(1e4, 1e30, slice_bytes=4, flash_more={"latency_s": 5e-3})
    app = FlashReader(rate_bytes_per_s=1e3, read_bytes=4)
    alone, beside = (streaming(trace, profile, loads=loads).run().to_dict() for loads in ([], [app]))
    longer = beside["tpot_s"]["mean"] - alone["tpot_s"]["mean"]
    assert 0.05 < longer / beside["tpot_s"]["mean"] < 0.1
    assert beside["waited_for_others_s_per_token"]["flash"] == pytest.approx(longer, rel=1e-9)
    assert beside["critical_path_s_per_token"]["waiting"] == pytest.approx(longer, rel=1e-9)


def test_a_read_takes_its_turn_in_the_full_queue(trace: Trace) -> None:
    """Alone a read takes 10 ms, but a hundredth of that of a Flash that serves many at once: so much the app takes."""
    curve = {"read_curve": [[4, 400, 1], [4, 40e3, 100]], "queue_depth": 100}
    profile = device(1e6, 1e30, slice_bytes=4, flash_more=curve)
    app = FlashReader(rate_bytes_per_s=4e3, read_bytes=4)  # 1000 reads a second, a tenth of all
    alone, beside = (streaming(trace, profile, loads=loads).run().to_dict() for loads in ([], [app]))
    assert beside["tok_per_s"] == pytest.approx(0.9 * alone["tok_per_s"], rel=0.02)


def test_a_batch_every_period_is_a_rate(trace: Trace) -> None:
    by_rate = FlashReader(rate_bytes_per_s=2e3, n_bytes=40, read_bytes=4)
    by_period = FlashReader(period_s=40 / 2e3, n_bytes=40, read_bytes=4)
    results = [streaming(trace, flash_bound(), loads=[own]).run() for own in (by_rate, by_period)]
    assert results[0].tokens["token_s"].tolist() == results[1].tokens["token_s"].tolist()
    assert results[0].to_dict()["tok_per_s"] == pytest.approx(0.8 * 1e4 / TOKEN_BYTES, rel=0.01)


def test_who_wants_more_than_there_is_leaves_the_model_its_turns(trace: Trace) -> None:
    """Reads of a slice each, 32 of them at most in the queue: the model has one turn in 33."""
    greedy = FlashReader(rate_bytes_per_s=1e9, read_bytes=4)
    numbers = streaming(trace, flash_bound(), loads=[greedy], tokens=4).run().to_dict()
    assert numbers["tok_per_s"] == pytest.approx(1e4 / TOKEN_BYTES / 33, rel=0.02)


class Second(FlashReader):
    """Another app."""


def test_two_apps_add_up(trace: Trace) -> None:
    apps = [FlashReader(rate_bytes_per_s=2e3, read_bytes=4), Second(rate_bytes_per_s=3e3, read_bytes=4)]
    numbers = streaming(trace, flash_bound(), loads=apps).run().to_dict()
    assert numbers["tok_per_s"] == pytest.approx(0.5 * 1e4 / TOKEN_BYTES, rel=0.01)


def test_long_transfers_give_way_after_a_slice(trace: Trace) -> None:
    """One read of the app comes while 192 bytes are read: it is served when 16 of them are, and the rest waits."""

    ended_s: list[float] = []

    def once(env: Any, machine: Any) -> Generator[Any, Any, None]:
        yield env.timeout(0.0008 + 0.0005)  # the row takes 0.8 ms, the first slice is half read
        yield machine.flash.read(10)
        ended_s.append(env.now)

    profile = device(1e4, 1e30, slice_bytes=16)
    result = streaming(trace, profile, loads=[of_load(once)], tokens=1).run()
    assert ended_s == [pytest.approx(0.0008 + 0.0016 + 0.001)]
    assert result.tokens["token_s"].tolist() == [pytest.approx(TOKEN_BYTES / 1e4 + 0.001)]
    assert result.tokens["flash_others_s"].tolist() == [pytest.approx(0.001)]
    assert result.tokens["waiting_on_path_s"].tolist() == [pytest.approx(0.001)]


def test_a_pause_delays_exactly(trace: Trace) -> None:
    alone_s = streaming(trace, flash_bound()).run().tokens["token_s"].to_numpy()
    length_s, period_s = 0.5, 7.3 * alone_s[0]
    pauses = FlashPauses(period_s=period_s, length_s=length_s)
    tokens = streaming(trace, flash_bound(), loads=[pauses]).run().tokens
    more_s = tokens["token_s"].to_numpy() - alone_s
    hit = more_s > 1e-9
    assert more_s[hit] == pytest.approx(np.full(hit.sum(), length_s))
    # In Flash's own time a pause comes once a period.
    assert hit.sum() == int(alone_s.sum() / period_s)
    assert tokens["flash_others_s"].to_numpy() == pytest.approx(more_s, abs=1e-9)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_traffic_takes_its_rate_from_the_bus(
    make_trace: MakeTrace, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in DRAM: what a token reads goes over what the display leaves of the bus."""
    monkeypatch.setattr("dipsim.loads.readers._BURST_BYTES", 4)
    trace = make_trace(MODEL, random_scores(MODEL, 30))
    profile = device(1e30, 1e4, slice_bytes=4)
    alone, beside = (
        Simulation(profile, trace, Dense(), "lru", loads=loads, warmup=1).run().to_dict()
        for loads in ([], [DramTraffic(rate_bytes_per_s=share * 1e4)])
    )
    assert alone["waited_for_others_s_per_token"] is None
    assert beside["tok_per_s"] == pytest.approx((1 - share) * alone["tok_per_s"], rel=0.005)
    waited = beside["waited_for_others_s_per_token"]
    assert waited["dram"] == pytest.approx(beside["tpot_s"]["mean"] - alone["tpot_s"]["mean"], rel=0.01)
    assert waited["flash"] == 0


ENERGY = {"flash_j_per_byte": 1e-3, "dram_j_per_byte": 0.0, "compute_j_per_op": 0.0, "idle_w": 0.0}


@pytest.mark.parametrize("idle_w", [0.0, 1.0])
def test_a_heated_device_settles_at_what_its_resistance_allows(make_trace: MakeTrace, idle_w: float) -> None:
    """10 kB/s are 10 W; at 45 degrees 4 W can leave it, so that 4 kB/s are left, less what idling takes."""
    trace = make_trace(MODEL, random_scores(MODEL, 400))
    heat = Heat(ambient_c=25, resistance_c_per_w=5, capacity_j_per_c=0.2, trips=[[45, 0.2]])
    profile = flash_bound(energy=ENERGY | {"idle_w": idle_w})
    tokens = streaming(trace, profile, loads=[heat]).run().tokens
    seconds = tokens["token_s"].to_numpy()
    assert seconds[0] == pytest.approx(TOKEN_BYTES / 1e4)  # cold
    settled = seconds[100:]
    allowed_w = (45 - 25) / 5 - idle_w
    assert TOKEN_BYTES * len(settled) / settled.sum() == pytest.approx(allowed_w / 1e-3, rel=0.02)
    # How long it stays cool: T rises to 25 + 5 P with a time constant of 1 s.
    power_w = 10 + idle_w
    cool_s = -np.log(1 - 20 / (5 * power_w))
    slow = np.flatnonzero(seconds > 1.01 * seconds[0])[0]
    assert seconds[:slow].sum() == pytest.approx(cool_s, abs=1.1 * seconds[0])


def test_a_share_that_is_low_enough_is_kept(make_trace: MakeTrace) -> None:
    """Above the second trip point nothing is ever reached: at the first one's share it stays below."""
    trace = make_trace(MODEL, random_scores(MODEL, 300))
    heat = Heat(resistance_c_per_w=5, capacity_j_per_c=0.2, trips=[[45, 0.67], [58.4, 0.1]])
    seconds = streaming(trace, flash_bound(energy=ENERGY), loads=[heat]).run().tokens["token_s"].to_numpy()
    # 6.7 W settle at 25 + 33.5 = 58.5 degrees, above the second: it holds 58.4 at 6.68 W on average.
    settled = seconds[200:]
    assert TOKEN_BYTES * len(settled) / settled.sum() == pytest.approx(33.4 / 5 / 1e-3, rel=0.02)


@dataclass
class Busy:
    """Asks devices for something now and then, changes their pace, and notes who asked for what."""

    requests: list[tuple[str, float, float, float]]
    machine: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Busy:
        return self  # what it notes is looked at

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        self.machine, self.jobs = machine, {"flash": [], "dram": [], "compute": []}
        asks = {
            "flash": lambda amount: machine.flash.read(1e3 * amount, 3),
            "dram": lambda amount: machine.dram.move(1e3 * amount),
            "compute": lambda amount: machine.compute.run(1e3 * amount),
        }
        for role in asks:
            self._note(getattr(machine, role), self.jobs[role])
        for role, wait_s, amount, pace in 20 * self.requests:
            getattr(machine, role).pace = pace
            asked = [asks[role](amount), machine.flash.hold(1e-6 * amount)]
            yield env.timeout(wait_s)
            yield asked[0]

    @staticmethod
    def _note(device: Any, jobs: list[Job]) -> None:
        submit = device.submit

        def noted(job: Job) -> simpy.Event:
            jobs.append(job)
            done: simpy.Event = submit(job)
            return done

        device.submit = noted


requests = st.tuples(
    st.sampled_from(["flash", "dram", "compute"]),
    st.sampled_from([0, 1e-6, 1e-4, 1e-3]),
    st.floats(0, 2),
    st.sampled_from([1.0, 0.3]),
)


@pytest.fixture(scope="module")
def two_sequences(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("loads") / "two.zarr"
    return write_trace(path, MODEL, random_scores(MODEL, 9), [6, 3], [3, 0])


@pytest.mark.filterwarnings("ignore::dipsim.errors.DipsimWarning")  # small DRAM, on purpose
@settings(deadline=None, max_examples=25)
@given(
    profiles(),
    st.lists(requests, min_size=1, max_size=4),
    st.sampled_from(["none", "io", "pipelined", "ahead", "ahead"]),
    st.sampled_from([16, 50, 1e6]),
)
def test_parts_add_up_beside_any_load(
    two_sequences: Trace,
    profile: HardwareProfile,
    wanted: list[tuple[str, float, float, float]],
    overlap: str,
    slice_bytes: float,
) -> None:
    """The critical path is the token's time; no device does two things at once, or waits for others in vain."""
    load = Busy(wanted)
    ahead = {"overlap": "pipelined", "prefetch": "previous-token", "prefetch_bytes": 90}
    given_more = ahead if overlap == "ahead" else {"overlap": overlap}
    tokens = (
        Simulation(
            profile.with_values({"slice_bytes": slice_bytes}),
            two_sequences,
            Dip(density=0.4),
            "lru",
            dram="0.85x",
            loads=[load],
            **given_more,
        )
        .run()
        .tokens
    )
    token_s = tokens["token_s"].to_numpy()
    total_s = float(load.machine.flash.env.now)
    path_s = sum(tokens[f"{part}_on_path_s"].to_numpy() for part in PARTS)
    assert path_s == pytest.approx(token_s, rel=1e-9, abs=1e-13 * total_s)
    for role, jobs in load.jobs.items():
        busy_s = tokens[f"{role}_s"].to_numpy()
        assert (busy_s >= -1e-12 * total_s).all(), role
        assert (busy_s <= token_s + 1e-12 * total_s).all(), role
        done = [job for job in jobs if job.end_s > 0]
        in_all_s = sum(job.served_s - (job.alone_s - job.start_s) for job in done)
        assert in_all_s <= total_s * (1 + 1e-9), role
        own = [job for job in done if job.user is None]
        assert [job.end_s for job in own] == sorted(job.end_s for job in own)
        for job in done:
            assert job.ready_s <= job.start_s <= job.alone_s <= job.end_s
            assert job.start_s + job.served_s + job.gave_way_s == pytest.approx(job.end_s, abs=1e-12 * total_s)
        waited_s = sum(job.others_s for job in own)
        assert 0 <= waited_s <= sum(job.start_s - job.ready_s + job.gave_way_s for job in own) + 1e-12 * total_s
        others_s = sum(job.served_s - (job.alone_s - job.start_s) for job in jobs if job.user is not None)
        assert waited_s <= others_s + 1e-9 * total_s, role


class Slow(ds.FlashDevice):
    """Half as fast as its profile says."""

    def service_s(self, job: Any) -> float:
        return 2 * float(job.service_s)


def test_a_flash_of_ones_own(trace: Trace) -> None:
    own = streaming(trace, flash_bound(), devices={"flash": Slow}).run()
    slow = streaming(trace, flash_bound(5e3)).run()
    assert own.tokens["token_s"].to_numpy() == pytest.approx(slow.tokens["token_s"].to_numpy(), rel=1e-12)
    assert own.to_dict()["busy_s"]["flash"] == pytest.approx(slow.to_dict()["busy_s"]["flash"])
    assert own.to_dict()["critical_path_s_per_token"] == pytest.approx(slow.to_dict()["critical_path_s_per_token"])


class Steady(ds.FlashDevice):
    """All that it knows is its rate: 10 kB/s."""

    def service_s(self, job: Any) -> float:
        return float(job.n_bytes) / 1e4


def test_a_pause_is_as_long_as_it_is_whatever_the_device(trace: Trace) -> None:
    """Neither a device of one's own nor a slow one makes it longer or shorter."""

    @dataclass(frozen=True)
    class Once:
        def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
            machine.flash.pace = 0.5
            yield machine.flash.hold(0.3)

    tokens = streaming(trace, flash_bound(), loads=[Once()], devices={"flash": Steady}, tokens=2).run().tokens
    assert tokens["token_s"].to_numpy() == pytest.approx([2 * TOKEN_BYTES / 1e4 + 0.3, 2 * TOKEN_BYTES / 1e4])


class Unit(ComputeDevice):
    """A thousand operations a second."""

    def service_s(self, job: Any) -> float:
        return float(job.n_ops) / 1e3


def test_a_compute_unit_of_ones_own_where_the_profile_has_none(trace: Trace) -> None:
    """Nothing else takes time; operations on what comes from Flash wait for it."""
    own = streaming(trace, device(1e30, 1e30), devices={"compute": Unit}).run()
    per_second = streaming(trace, device(1e30, 1e30, compute={"ops_per_s": 1e3})).run()
    for name in ("token_s", "compute_s", "compute_on_path_s"):
        assert own.tokens[name].to_numpy() == pytest.approx(per_second.tokens[name].to_numpy(), rel=1e-9), name
    assert own.tokens["token_s"].min() > 0.5


class Instant(ds.FlashDevice):
    """No latency, whatever the profile says."""

    def service_s(self, job: Any) -> float:
        return 1e-6


def test_data_comes_at_the_end_of_a_read_at_the_latest(trace: Trace) -> None:
    profile = device(1e4, 1e30, flash_more={"latency_s": 0.5}, compute={"ops_per_s": 1e12})
    tokens = streaming(trace, profile, devices={"flash": Instant}, tokens=2).run().tokens
    assert tokens["token_s"].max() < 1e-4
    assert sum(tokens[f"{part}_on_path_s"] for part in PARTS).to_numpy() == pytest.approx(tokens["token_s"].to_numpy())


def test_operations_count_where_they_take_no_time(trace: Trace) -> None:
    load = Busy([("dram", 0.0, 0.0, 1.0)])
    result = streaming(trace, flash_bound(), loads=[load]).run()
    assert load.machine.compute.done_ops == pytest.approx(result.tokens["n_ops"].sum())
    assert load.machine.compute.done_ops > 0
    assert load.machine.flash.moved_bytes == result.tokens["flash_bytes"].sum()


def served(slice_bytes: float, *arrivals: tuple[float, Job]) -> list[float]:
    """When jobs end on a device that is given them at those times, in their order."""
    env = simpy.Environment()
    own = Device(env, slice_bytes)

    def arrive() -> Generator[Any, Any, None]:
        for at_s, job in arrivals:
            yield env.timeout(at_s - env.now)
            own.submit(job)

    env.process(arrive())
    env.run()
    return [job.end_s for _, job in arrivals]


def test_a_users_jobs_do_not_overtake_each_other() -> None:
    """Ten slices, then five; another user asks for one each time, and has his turn when those before him had one."""
    long, after = Job(10, n_bytes=10), Job(5, n_bytes=5)
    others = [Job(1, n_bytes=1, user="app") for _ in range(2)]
    ends_s = served(1, (0, long), (0.1, after), (0.2, others[0]), (4.5, others[1]))
    # The long one has the turn of the one after it, too; then the first of the others.
    assert ends_s == pytest.approx([12, 17, 3, 7])
    # Who waits behind the long one waits for others only when it is first.
    assert [long.others_s, after.others_s] == pytest.approx([2, 0])


@pytest.mark.parametrize("n_slices", [3, 7, 10, 49, 1000])
def test_the_last_slice_is_the_last(n_slices: int) -> None:
    """No rest of a rounding error waits for another turn."""
    app = Job(1000, n_bytes=1, user="app")
    ends_s = served(0.1, (0, Job(n_slices, n_bytes=0.1 * n_slices)), (n_slices - 0.5, app))
    assert ends_s[0] == pytest.approx(n_slices)


def test_latency_that_passes_meanwhile_is_not_waited_for() -> None:
    """An app is served for 10 s, its latency included; of a read of 5 s, 2 are latency, so that it loses only 8."""
    read = Job(5, hidden_s=2)
    assert served(1e9, (0, Job(10, hidden_s=1, user="app")), (0, read)) == pytest.approx([10, 13])
    assert read.others_s == pytest.approx(8)


def test_busy_seconds_are_those_of_the_token_in_which_they_pass() -> None:
    """A read ahead of 2 s, begun in the first of three tokens of 4 s at 2 s, gives way for 6 s, and ends at 10 s."""
    jobs = Jobs.empty(3, 1, 1, 1)
    jobs.edges_s[:] = [[0, 4], [4, 8], [8, 12]]
    jobs.ahead[0, 0, 0, FLASH, [READY, START, ALONE, SERVICE, GAVE_WAY, END]] = [2, 2, 2, 2, 6, 10]
    assert _Begun(FLASH).busy_s(jobs) == pytest.approx([0.5, 1, 0.5])
    # The same where the last token is one of the next block.
    begun = _Begun(FLASH)
    parts = [Jobs(*(getattr(jobs, name)[own] for name in ("of_stages", "ahead", "edges_s"))) for own in _CUT]
    assert np.concatenate([begun.busy_s(part) for part in parts]) == pytest.approx([0.5, 1, 0.5])


_CUT = slice(0, 2), slice(2, 3)


def of_load(run: Callable[..., Any]) -> Any:
    return type("Bad", (), {"run": lambda self, env, machine: run(env, machine)})()


def yielding(*values: Any) -> Any:
    def run(env: Any, machine: Any) -> Generator[Any, Any, None]:
        for value in values:
            yield value(env, machine) if callable(value) else value

    return of_load(run)


def spins(env: Any, machine: Any) -> Generator[Any, Any, None]:
    while True:
        yield env.timeout(0)


def fails(env: Any, machine: Any) -> Generator[Any, Any, None]:
    yield env.timeout(0.01)
    raise KeyError("lost")


def leaves_alone(env: Any, machine: Any) -> Generator[Any, Any, None]:
    env.process(fails(env, machine))
    yield env.timeout(1)


def floods(env: Any, machine: Any) -> Generator[Any, Any, None]:
    while True:
        machine.flash.read(8)
        yield env.timeout(1e-6)


def paced(share: Any) -> Any:
    def run(env: Any, machine: Any) -> Generator[Any, Any, None]:
        machine.flash.pace = share
        yield env.timeout(1)

    return of_load(run)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (of_load(lambda env, machine: 3), "load 'Bad': run: got 3; must be a generator of SimPy events: use yield"),
        (yielding(5), "load 'Bad': run: yields 5; must be a SimPy event"),
        (yielding(lambda env, machine: env.timeout(-1)), "load 'Bad': run: ValueError: Negative delay -1"),
        (
            yielding(lambda env, machine: machine.flash.read(-1)),
            "load 'Bad': run: flash.read: n_bytes: got -1; must be a number, at least",
        ),
        (yielding(lambda env, machine: machine.flash.read("many")), "load 'Bad': run: flash.read: n_bytes: got 'many'"),
        (
            yielding(lambda env, machine: machine.flash.hold(float("inf"))),
            "load 'Bad': run: flash.hold: got inf; must be a number",
        ),
        (
            yielding(lambda env, machine: machine.dram.move(float("nan"))),
            "load 'Bad': run: dram.move: n_bytes: got nan",
        ),
        (
            yielding(lambda env, machine: machine.flash.read(1e6, 0)),
            "load 'Bad': run: flash.read: n_reads: got 0; must be a whole number, at least 1",
        ),
        (yielding(lambda env, machine: machine.flash.read(10**400)), "load 'Bad': run: flash.read: n_bytes: got 1000"),
        (yielding(lambda env, machine: machine.gpu), "load 'Bad': run: AttributeError"),
        (yielding(lambda env, machine: env.timeout(float("nan"))), "load 'Bad': run: ValueError: delay: got nan"),
        (yielding(lambda env, machine: env.event().fail(ValueError("a\nb"))), "load 'Bad': run: ValueError: a b"),
        (yielding(lambda env, machine: env.process(fails(env, machine))), "load 'Bad': run: KeyError: 'lost'"),
        (yielding(lambda env, machine: env.process(x for x in [5])), "load 'Bad': run: RuntimeError: File"),
        (of_load(leaves_alone), "load 'Bad': run: KeyError: 'lost' (test_loads.py, line"),
        (of_load(lambda env, machine: exit(0)), "load 'Bad': run: SystemExit: 0 (test_loads.py, line"),
        (yielding(lambda env, machine: machine.flash.hold(1e30)), "load 'Bad': run: got 1e+30 s of simulated time"),
        (paced(0), "load 'Bad': run: flash.pace: got 0; must be above 0 and at most 1"),
        (paced(2), "load 'Bad': run: flash.pace: got 2; must be above 0 and at most 1"),
        (paced("fast"), "load 'Bad': run: flash.pace: got 'fast'; must be a number"),
        (of_load(floods), "load 'Bad': run: flash: 50 jobs wait"),
        (of_load(fails), "load 'Bad': run: KeyError: 'lost'"),
        (of_load(spins), "load 'Bad': run: no step of the model has ended in"),
    ],
)
def test_a_load_that_breaks_its_contract_is_one_line(
    trace: Trace, load: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dipsim.engine.processes.contract._MOST_EVENTS", 10_000)
    monkeypatch.setattr("dipsim.engine.processes.devices._MOST_WAITING", 50)
    with pytest.raises(DipsimError) as caught:
        streaming(trace, flash_bound(), loads=[load]).run()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_load_sees_what_fails_and_who_interrupts_it(trace: Trace) -> None:
    """As any SimPy process does."""
    seen: list[object] = []

    def run(env: Any, machine: Any) -> Generator[Any, Any, None]:
        try:
            yield env.process(fails(env, machine))
        except KeyError as error:
            seen.append(error.args)
        env.process(interrupts(env, env.active_process))
        try:
            yield env.timeout(1e9)
        except simpy.Interrupt as interrupt:
            seen.append(interrupt.cause)

    def interrupts(env: Any, other: Any) -> Generator[Any, Any, None]:
        yield env.timeout(0.01)
        other.interrupt("enough")

    streaming(trace, flash_bound(), loads=[of_load(run)]).run()
    assert seen == [("lost",), "enough"]


def test_a_fault_of_the_engine_is_not_a_loads(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "_latency_left_s", len)  # which fails in the engine's own lines
    with pytest.raises(TypeError, match="exactly one argument"):
        streaming(trace, flash_bound(), loads=[FlashReader(rate_bytes_per_s=5e3, read_bytes=4)]).run()


def of_flash(answer: Any) -> type:
    def service_s(self: Any, job: Any) -> Any:
        return answer(job) if callable(answer) else answer

    return type("Broken", (ds.FlashDevice,), {"service_s": service_s})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (of_flash(-1), "device Broken: service_s: got -1; must be a number, at least 0 and finite"),
        (of_flash(None), "device Broken: service_s: got None"),
        (of_flash(float("inf")), "device Broken: service_s: got inf"),
        (of_flash(lambda job: 1 / 0), "device Broken: service_s: ZeroDivisionError: division by zero"),
        (of_flash(10**400), "device Broken: service_s: got 1000"),
        (of_flash(1e30), "devices: Broken: got"),
        (type("Empty", (ds.FlashDevice,), {"__init__": lambda self, *a: None}), "device Empty: is not made; its"),
        (type("Other", (ds.FlashDevice,), {"__new__": lambda kind, *a: 5}), "device Other: is not made; its"),
        (type("Lost", (ds.FlashDevice,), {"submit": lambda self, job: {}[job]}), "devices: Lost: KeyError"),
        (int, "devices: flash: got <class 'int'>; must be a class derived from FlashDevice"),
        (type("Greedy", (ds.FlashDevice,), {"__init__": lambda self: None}), "device Greedy: TypeError"),
        (type("Mute", (ds.FlashDevice,), {"submit": lambda self, job: None}), "devices: Mute: a job never ends"),
    ],
)
def test_a_device_that_breaks_its_contract_is_one_line(trace: Trace, kind: type, message: str) -> None:
    with pytest.raises(DipsimError) as caught:
        streaming(trace, flash_bound(), devices={"flash": kind}).run()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlashReader(rate_bytes_per_s=0), "flash-reader: rate_bytes_per_s: got 0; must be a number above 0"),
        (lambda: FlashReader(rate_bytes_per_s=1, period_s=1), "flash-reader: got a rate and a period"),
        (lambda: FlashReader(read_bytes="4k"), "flash-reader: read_bytes: got '4k'"),
        (lambda: DramTraffic(rate_bytes_per_s=-1), "dram-traffic: rate_bytes_per_s: got -1"),
        (lambda: FlashPauses(length_s=0), "flash-pauses: length_s: got 0"),
        (lambda: Heat(trips=[[45]]), r"heat: trips: got [[45]]; must be [degrees, share of the rate"),
        (lambda: Heat(trips=[[45, 0]]), r"heat: trips: got [[45, 0]]"),
        (lambda: Heat(device="gpu"), "heat: device: unknown name, got 'gpu'"),
        (lambda: Heat(resistance_c_per_w=0), "heat: resistance_c_per_w: got 0"),
    ],
)
def test_options_of_loads_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DipsimError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("slice_bytes", [4, 1e9])
def test_who_waits_while_its_latency_passes_has_not_waited(trace: Trace, slice_bytes: float) -> None:
    """The app's latency passes while the model is served, and the model's while the app is: what is left is bytes."""
    profile = device(1e4, 1e30, slice_bytes=slice_bytes, flash_more={"latency_s": 0.02})
    alone, beside = (
        streaming(trace, profile, loads=loads).run() for loads in ([], [FlashReader(period_s=0.05, read_bytes=8)])
    )
    more_s = beside.tokens["token_s"].to_numpy() - alone.tokens["token_s"].to_numpy()
    at_most_s = 0.0008 * (beside.tokens["token_s"].to_numpy() / 0.05 + 1)
    assert (more_s <= at_most_s + 0.02).all()
    assert more_s.mean() <= at_most_s.mean()
    assert (beside.tokens["flash_others_s"].to_numpy() <= at_most_s).all()


def test_a_load_is_told_of_what_fails_and_may_go_on(trace: Trace) -> None:
    told: list[str] = []

    def run(env: Any, machine: Any) -> Generator[Any, Any, None]:
        try:
            yield env.event().fail(KeyError("lost"))
        except KeyError:
            told.append("lost")
        yield env.timeout(1)

    streaming(trace, flash_bound(), loads=[of_load(run)], tokens=1).run()
    assert told == ["lost"]


@dataclass
class Counts:
    """Holds Flash, the longer the more often it has run."""

    length_s: float = 0.0

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        self.length_s += 0.5
        yield machine.flash.hold(self.length_s)


def test_what_a_load_keeps_to_itself_ends_with_the_run(trace: Trace) -> None:
    simulation = streaming(trace, flash_bound(), loads=[Counts()], tokens=3)
    results = [simulation.run() for _ in range(2)]
    assert results[0].to_json() == results[1].to_json()
    assert results[0].config["load_options"] == {"Counts": {"length_s": 0.0}}


@pytest.mark.parametrize("value", [object(), float("nan"), np.arange(3)])
def test_options_that_are_no_plain_values_are_one_line(trace: Trace, value: Any) -> None:
    result = streaming(trace, flash_bound(), loads=[Counts(value)], tokens=1)
    with pytest.raises(DipsimError, match="result: its config is not JSON: ") as caught:
        dataclasses.replace(streaming(trace, flash_bound(), tokens=1).run(), config=result.config).to_json()
    assert "\n" not in str(caught.value)


def test_who_begins_above_a_trip_point_is_slow_at_once(trace: Trace) -> None:
    heat = Heat(ambient_c=50, trips=[[45, 0.5]])
    seconds = streaming(trace, flash_bound(energy=ENERGY), loads=[heat], tokens=1).run().tokens["token_s"]
    assert seconds[0] == pytest.approx(2 * TOKEN_BYTES / 1e4)


def test_heat_needs_to_know_what_is_spent(trace: Trace) -> None:
    with pytest.raises(DipsimError, match=r"profile 'test': energy\.flash_j_per_byte: missing"):
        streaming(trace, flash_bound(), loads=[Heat()]).run()


def test_the_compiled_engine_runs_no_loads(trace: Trace) -> None:
    with pytest.raises(DipsimError, match="engine: got 'compiled' with loads"):
        streaming(trace, flash_bound(), loads=[FlashReader()], engine="compiled")


def test_the_same_run_gives_the_same_bytes(trace: Trace) -> None:
    simulation = streaming(trace, flash_bound(), loads=[FlashReader(rate_bytes_per_s=3e3, read_bytes=7)])
    assert simulation.run().to_json() == simulation.run().to_json()


def test_slices_change_nothing_for_who_is_alone(trace: Trace) -> None:
    results = [
        Simulation(
            device(1e4, 2e4, slice_bytes=n), trace, Dip(density=0.5), "lfu", dram="0.9x", engine="processes"
        ).run()
        for n in (1, 1e9)
    ]
    assert results[0].tokens.equals(results[1].tokens)


def reached(own: Device, *jobs: Job) -> list[tuple[float, ...]]:
    """What became of jobs, and of the device that served them."""
    return [*(job.fields for job in jobs), (own.moved_bytes, own.done_ops, own.busy_s)]


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 200),
    st.floats(0.1, 3),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 5), st.integers(1, 9), st.floats(0, 3)), max_size=5),
    st.lists(st.tuples(st.floats(0, 60), st.sampled_from([1.0, 0.3])), max_size=4),
)
def test_slices_as_one_event_are_slices_one_by_one(
    n_slices: int,
    service_s: float,
    others: list[tuple[float, float, int, float]],
    looks: list[tuple[float, float]],
) -> None:
    """To the last bit, whoever comes meanwhile, sets the pace or looks at what is done; and alone in few events."""
    found, n_events = [], []
    for most in (1, 64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dipsim.engine.processes.devices.MOST_SLICES", most)
            env = simpy.Environment()
            own = Device(env, 1)
            jobs = [Job(n_slices * service_s, n_bytes=n_slices, n_ops=3 * n_slices)]
            jobs += [Job(s, min(s, hidden_s), n, user=i) for i, (_, s, n, hidden_s) in enumerate(others)]
            seen: list[tuple[float, ...]] = []

            def come(at_s: float, job: Job, env: simpy.Environment = env, own: Device = own) -> Any:
                yield env.timeout(at_s)
                own.submit(job)

            def look(
                at_s: float, pace: float, env: simpy.Environment = env, own: Device = own, seen: Any = seen
            ) -> Any:
                yield env.timeout(at_s)
                own.pace = pace
                seen.append((own.moved_bytes, own.done_ops, own.busy_s))

            for at_s, job in zip([0.0, *(at_s for at_s, *_ in others)], jobs, strict=True):
                env.process(come(at_s, job))
            for at_s, pace in looks:
                env.process(look(at_s, pace))
            env.run()
            assert all(job.is_done for job in jobs)
            found.append(seen + reached(own, *jobs))
            n_events.append(next(env._eid))
    assert found[0] == found[1]
    if not others and not looks and n_slices > 20:
        assert n_events[1] < 20 + n_slices / 20


@given(st.floats(0, 1e9), st.floats(1e-9, 1e9), st.integers(1, 64))
def test_a_stretch_ends_where_its_slices_do(now_s: float, slice_s: float, n_slices: int) -> None:
    end_s = now_s
    for _ in range(n_slices):
        end_s += slice_s
    stretch, n_waits = Stretch(Job(1), n_slices, slice_s, now_s), 0
    while (left_s := stretch.left_s(now_s)) > 0:
        now_s += left_s
        n_waits += 1
    assert now_s == end_s
    assert n_waits <= 2
    assert stretch.passed(now_s, is_over=True) == n_slices or end_s + slice_s == end_s  # too short to be told
