"""One description of a run: command line, specs, tune, `Simulation` and configurations have its options alone."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import typer
from conftest import MakeTrace, device, random_scores, small_model, tight_slots
from typer.testing import CliRunner

import dipsim as ds
from dipsim.cli import app, main
from dipsim.cli.described import takes_search
from dipsim.cli.tune import _point
from dipsim.description import OPTIONS, SPELLINGS, TABLES, Description, default_of, flag_of, kinds_of
from dipsim.devices.registry import devices
from dipsim.errors import DipsimError
from dipsim.loads import loads
from dipsim.methods import Dip, DipCa, methods
from dipsim.simulation.configuration import arguments_of, method_part
from dipsim.simulation.described import masking_of
from dipsim.sweeps import Spec
from dipsim.sweeps.spec import describe
from dipsim.tuning.space import space_of
from dipsim.tuning.tuning import _text

pytestmark = tight_slots
SAMPLES: dict[Any, Any] = {str: "x", int: 3, float: 0.25}
# What scripts that people have name.
KEYWORDS = [
    *("admission", "dram", "budget", "overlap", "unit", "layout", "prefetch", "prefetch_bytes", "adapter_bytes"),
    *("stream_pinned", "model", "context", "tokens", "warmup", "engine", "loads", "devices"),
]


@dataclass
class Reader:
    """A load with an option."""

    period_s: float = 1.0

    def run(self, env: Any, machine: Any) -> Iterator[Any]:
        yield env.timeout(self.period_s)


class Slow:
    """A device."""


@pytest.fixture
def simulation(make_trace: MakeTrace) -> Any:
    trace = make_trace(small_model(), random_scores(small_model(), 6))

    def make(**options: Any) -> ds.Simulation:
        own = {"profile": device(), "trace": trace, "masking": Dip(density=0.5), "dram": "0.8x"} | options
        return ds.Simulation(**own)

    return make


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loads._entries, "reader-of-this-test", Reader)
    monkeypatch.setitem(devices._entries, "slow-of-this-test", Slow)


def sample(name: str) -> Any:
    """A value that is not the default."""
    kind = kinds_of(Description.model_fields[name].annotation)[0]
    return not default_of(name) if kind is bool else SAMPLES.get(kind, "x")


# --- the same options everywhere ---


def test_the_command_line_has_the_options_of_the_record() -> None:
    command = typer.main.get_command(app)
    for name, own in (("explain", {"json", "force", "token"}), ("simulate", {"json", "force", "timeline"})):
        parameters = {p.name: p for p in command.commands[name].params}  # type: ignore[attr-defined]
        assert parameters.keys() - own - {"trace", "help", "plugin"} == OPTIONS.keys()
        assert all(f"--{flag_of(option)}" in parameters[option].opts for option in OPTIONS)
        assert all(parameters[option].help == OPTIONS[option].help for option in OPTIONS if option != "tokens")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_means_the_same_typed_and_in_a_spec(name: str) -> None:
    seen: list[Description] = []
    command = typer.Typer()

    @command.command()
    @takes_search()
    def own(describe: Any) -> None:
        seen.append(describe())

    value, key = sample(name), "reader.key" if name == "load_options" else "key"
    is_table = name in (*TABLES, "profile_values")
    words = [f"--{flag_of(name)}", f"{key}={value}" if is_table else str(value)]
    if isinstance(value, bool):
        words = [f"--no-{flag_of(name)}"] if default_of(name) else words[:1]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    plain = getattr(seen[0], name)
    assert plain != default_of(name)
    assert plain == {bool: value, dict: {"key": value}, tuple: (value,)}.get(type(plain), value) or is_table
    for spelling in [own for own, option in SPELLINGS.items() if option == name] or ["profile"]:
        point = {"trace": "tiny", f"{spelling}.{key}" if is_table else spelling: value}
        assert getattr(describe(point, "spec")[0], name) == plain
    # What `tune` makes of it describes the same.
    point = {"trace": "tiny", **_point(seen[0])}
    assert getattr(describe(point, "tune")[0], name) == plain


def test_simulation_has_the_options_of_the_record(simulation: Any) -> None:
    parameters = inspect.signature(ds.Simulation).parameters
    assert [*parameters][:4] == ["profile", "trace", "masking", "policy"]
    assert set(parameters) == {"trace", "masking", *OPTIONS}
    assert {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY} >= {*KEYWORDS}
    assert all(parameters[name].default == default_of(name) for name in ("policy", *KEYWORDS))
    documentation = inspect.getdoc(ds.Simulation) or ""
    assert "**options" not in documentation
    assert all(f"\n    {name}: " in documentation for name in parameters)


def test_a_configuration_has_the_options_of_the_record(simulation: Any) -> None:
    config = simulation(masking=DipCa(density=0.5)).config
    apart = {name for name, option in OPTIONS.items() if option.makes in ("profile", "masking")}
    of_method = {option.sets for option in OPTIONS.values() if option.sets} - {"rank", "per_token"}
    assert config.keys() == {"trace", "profile", "method", "method_options"} | (OPTIONS.keys() - apart) | of_method
    assert json.loads(json.dumps(config)).keys() == config.keys()


def test_what_tune_searches_is_said_by_the_record() -> None:
    searched = {name: option.searched for name, option in OPTIONS.items() if option.searched}
    assert space_of({"trace": "tiny"}) == searched
    for name, values in searched.items():
        assert not isinstance(values, tuple) or values[0] == default_of(name)
    assert "density" not in space_of({"trace": "tiny", "method_options.density": 0.5})
    assert "layout" not in space_of({"trace": "tiny", "layout_options.bundled": False})


# --- Simulation ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlpa": "io"}, "Simulation: overlpa: unknown key; did you mean 'overlap'?"),
        ({"densty": 0.5}, "Simulation: densty: unknown key; did you mean 'density'?"),
        (
            {"density": 0.5},
            "density: got 0.5 beside Dip(density=0.5, keep_input=None, keep_glu=None), which holds",
        ),
        ({"method": "glu"}, "method: got 'glu' beside masking Dip("),
        ({"masking": "dipp"}, "method: unknown name, got 'dipp'; did you mean 'dip'?"),
        ({"masking": "glu", "gamma": 0.5}, "gamma: method 'glu' has no such option"),
        ({"masking": "dip", "density": "half"}, "Simulation: density: got 'half'"),
        ({"profile_values": {"flash.derat": 1}}, "derat"),
        ({"policy_options": {"half_life": 8}}, "half_life: policy 'lfu' has no such option"),
        (
            {"policy": ds.policies.LfuDecay(), "policy_options": {"half_life": 8}},
            "policy_options: got {'half_l",
        ),
        ({"loads": [Reader()], "load_options": {"reader-of-this-test": {}}}, "load_options: got some for 'reader-of-t"),
        ({"tokens": "6"}, "Simulation: tokens: got '6'; input should be a valid integer"),
        ({"tokens": True}, "Simulation: tokens: got True"),
        ({"warmup": None}, "Simulation: warmup: got None"),
        ({"admission": 3}, "Simulation: admission: got 3; input should be a valid string"),
        ({"stream_pinned": "no"}, "Simulation: stream_pinned: got 'no'"),
        ({"prefetch_bytes": float("nan"), "prefetch": "oracle"}, "prefetch_bytes: got nan"),
        ({"adapter_bytes": "20G"}, "adapter-bytes: not an amount of bytes, got '20G'"),
        ({"model": 3}, "model: got 3; must be a ModelSpec, or the name of one"),
        ({"model": "phi-4-tiny"}, "phi-4-tiny"),
        ({"engine": "simpy"}, "engine: unknown name, got 'simpy'; choices: auto, compiled, processes"),
        ({"loads": 3}, "loads: got 3; must be a list of registered names and instances"),
        ({"loads": ["reader"]}, "load: unknown name, got 'reader'"),
        ({"loads": [Reader]}, "loads: got the class Reader; give a registered name or an instance"),
        ({"loads": [3]}, "loads: got 3; must have run(env, machine)"),
        ({"loads": ["reader-of-this-test", Reader(2.0)]}, "loads: got 'reader-of-this-test' twice"),
        ({"devices": ["flash"]}, "devices: got ['flash']; must be a table of role and registered name or class"),
        ({"devices": {"flsh": Slow}}, "devices: unknown name, got 'flsh'; did you mean 'flash'?"),
        ({"devices": {3: Slow}}, "devices: unknown name, got '3'"),
        ({"devices": {"dram": "slw"}}, "device: unknown name, got 'slw'"),
        ({"devices": {"dram": Slow()}}, "give a registered name or a class"),
    ],
)
def test_mistakes_in_python_are_one_line(simulation: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError) as caught:
        simulation(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_may_be_of_numpy_and_models_have_names(simulation: Any, tmp_path: Path) -> None:
    given = simulation(tokens=np.int64(4), adapter_bytes="1KB", dram=np.float32(1e6)).config
    assert (given["tokens"], given["adapter_bytes"], given["dram"]) == (4, 1000, 1e6)
    assert json.loads(json.dumps(given)) == given
    whole = simulation(dram=1_000_000, warmup=1)
    assert isinstance(ds.Simulation.from_config(whole.config).config["dram"], int)  # not 1000000.0, to the letter
    path = tmp_path / "model.json"
    path.write_text(small_model().model_dump_json())
    assert simulation(model=str(path)).config == simulation(model=small_model()).config


def test_names_and_paths_stand_for_things(simulation: Any) -> None:
    """What the command line takes, with the options of what is named beside it."""
    run = simulation(trace=str(simulation().trace.path), masking="Dip_CA", density=0.4, gamma=0.3)
    assert run.masking == DipCa(density=0.4, gamma=0.3)
    assert run.config == simulation(masking=None, method="dip-ca", density=0.4, gamma=0.3).config
    assert run.config == simulation(masking=DipCa(density=0.4, gamma=0.3)).config
    assert simulation(masking=None).masking == DipCa(density=0.7) == masking_of(Description())
    assert simulation(masking=None, method=Dip(density=0.4)).masking == Dip(density=0.4)
    assert simulation(density=None, method_options={}).masking == Dip(density=0.5)
    values = {"flash.read_bytes_per_s": 1.0}
    phone = ds.HardwareProfile.load("oneplus-12-ufs4").with_values(values).model_dump(mode="json", by_alias=True)
    assert simulation(profile="OnePlus-12-UFS4", profile_values=values).config["profile"] == phone
    named = simulation(
        **{"policy": "lfu-decay", "policy_options": {"half_life": 8}, "layout_options": {"bundled": False}},
        **{"loads": "reader-of-this-test", "load_options": {"reader-of-this-test.period_s": 2.0}},
    )
    own = {"loads": [Reader(2.0)], "layout": ds.layouts.Column(bundled=False)}
    assert named.config == simulation(policy=ds.policies.LfuDecay(half_life=8), **own).config
    assert ds.Simulation("a18-paper", "tiny", dram="50%").config["dram"] == "50%"


def test_loads_and_devices_come_back_from_a_configuration(simulation: Any) -> None:
    run = simulation(loads=[Reader(0.5)], devices={"flash": Slow}, engine="processes")
    config = json.loads(json.dumps(run.config))
    assert (config["engine"], config["devices"]) == ("processes", {"flash": "slow-of-this-test"})
    assert config["loads"] == ["reader-of-this-test"]
    assert config["load_options"] == {"reader-of-this-test": {"period_s": 0.5}}
    again = ds.Simulation.from_config(config, run.trace)
    assert again.config == run.config
    draft = again._draft
    assert (draft.loads, draft.devices, draft.engine) == ((Reader(0.5),), {"flash": Slow}, "processes")
    named = simulation(loads="reader-of-this-test", devices={"dram": "slow-of-this-test"})._draft
    assert (named.loads, named.devices) == ((Reader(),), {"dram": Slow})


# --- configurations ---


def test_an_option_of_a_method_may_be_named_like_one_of_the_run(
    simulation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Own(Dip):
        tokens: int = 1
        profile: tuple[int, ...] = field(default=(1, 2))
        name: ClassVar[str] = "own-of-this-test"

    monkeypatch.setitem(methods._entries, "own-of-this-test", Own)
    run = simulation(masking=Own(density=0.5, tokens=5), tokens=4)
    config = run.config
    assert (config["tokens"], config["method_options"]) == (4, {"tokens": 5, "profile": (1, 2)})
    again = ds.Simulation.from_config(config, run.trace)
    assert again.masking == Own(density=0.5, tokens=5)
    assert again.run().to_json() == run.run().to_json()
    described = Description(method="own-of-this-test", density=0.5, method_options={"tokens": 5}, tokens=4)
    assert masking_of(described) == Own(density=0.5, tokens=5)
    assert masking_of(Description(method="own-of-this-test", method_options={"density": 0.25})) == Own(density=0.25)
    twice = Description(method="own-of-this-test", density=0.5, method_options={"density": 0.5})
    with pytest.raises(DipsimError, match="method_options: density: given twice, by a flag and here"):
        masking_of(twice)


def test_a_default_density_gives_way_to_any_other() -> None:
    assert masking_of(Description(method_options={"density": 0.25})) == DipCa(density=0.25)
    assert masking_of(Description(method="dip", method_options={"keep_input": 0.5, "keep_glu": 0.25})) == Dip(
        keep_input=0.5, keep_glu=0.25
    )
    assert masking_of(Description(method="dip")) == Dip(density=0.7)
    assert masking_of(Description(gamma_warm_up=True)) == DipCa(density=0.7, warm_up=True)


def test_a_configuration_of_before_these_options_runs_still(simulation: Any) -> None:
    config = simulation().config
    later = ("method_options", "engine", "loads", "load_options", "devices")
    old = {key: value for key, value in config.items() if key not in later}
    assert ds.Simulation.from_config(old).config == config
    others = {key: value for key, value in old.items() if key not in ("density", "keep_input", "keep_glu")}
    cats = arguments_of(others | {"method": "cats", "thresholds": [0.1, 0.2]})["masking"]
    assert cats == ds.Cats(thresholds=(0.1, 0.2))
    assert method_part(cats) == {"method": "cats", "thresholds": (0.1, 0.2), "method_options": {}}
    assert method_part(ds.Glu(keep=0.5)) == {"method": "glu", "density": None, "keep": 0.5, "method_options": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loads": 3}, "config: loads: got 3; must be a name, or a list of names"),
        ({"loads": ["reader"]}, "load: unknown name, got 'reader'"),
        ({"load_options": {"x": {}}}, "load_options: got some for 'x', which is no load of this run"),
        ({"load_options": []}, "config: load_options: got []"),
        ({"devices": {"gpu": "x"}}, "devices: unknown name, got 'gpu'"),
        ({"devices": {"flash": 3}}, "config: devices.flash: got 3"),
        ({"engine": True}, "config: engine: got True"),
        ({"engine": "fast"}, "engine: unknown name, got 'fast'"),
        ({"method_options": []}, "config: method_options: got []"),
        ({"method_options": {"density": 0.5}}, "config: density: given twice"),
        ({"method_options": {"name": "dip"}}, "has no such option"),
        ({"name": "dip"}, "has no such option"),
        ({"keeps": "x"}, "has no such option"),
        ({"admisson": "x"}, "has no such option"),
        ({"dram": [1]}, "config: dram"),
    ],
)
def test_a_strangers_configuration_is_refused_in_one_line(
    simulation: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(DipsimError) as caught:
        ds.Simulation.from_config(simulation().config | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- specs and the command line ---


def test_loads_are_an_axis_and_options_have_two_spellings() -> None:
    spec = Spec.load({"trace": "tiny", "load": ["a", ["a", "b"], []], "load_options.a.period_s": [1, 2]})
    found = [describe(point, "spec")[0] for point in spec.points]
    assert [one.loads for one in found] == [("a",), ("a",), ("a", "b"), ("a", "b"), (), ()]
    assert [one.load_options for one in found[:2]] == [{"a": {"period_s": 1}}, {"a": {"period_s": 2}}]
    assert spec.axes["load"] == ["a", "['a', 'b']", "[]"]
    both = {"trace": "tiny", "policy_option.half_life": 8, "policy_options.other": 9}
    assert describe(both, "spec")[0].policy_options == {"half_life": 8, "other": 9}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"policy_option": {"x": 8}, "policy_options": {"x": 8}},
            "policy_option: given twice; write 'policy_options'",
        ),
        ({"load": "a", "loads": "a"}, "loads: given twice; write 'loads'"),
        ({"policy_options": 3}, "policy_options: unknown axis"),
        ({"device": {"flash": "x"}}, "device.flash: unknown axis"),
        ({"load_option": {"a": 3}}, "load_options: got {'a': 3}; must be NAME.KEY=VALUE"),
        ({"load": [3]}, "loads: got 3; must be a name, or a list of names"),
        ({"load": [[3]]}, "loads.0: got 3; input should be a valid string"),
        ({"devices": {"flash": 3}}, "devices.flash: got 3"),
        ({"set": {"flash": 3}}, "set.flash: unknown axis"),
        ({"profile_values": 3}, "profile_values: unknown axis"),
    ],
)
def test_mistakes_in_specs_are_one_line(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError) as caught:
        Spec.load({"trace": "tiny"} | spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"foo.bar": 1}, {"policy_options": 3}, {"policy_options": {"half_life": 8}}, {"foo": 1}]
)
def test_a_search_refuses_what_is_no_option(given: dict[str, Any]) -> None:
    with pytest.raises(DipsimError, match="unknown axis"):
        ds.tune({"trace": "tiny", "dram": "0.6x"} | given, max_error=0.3, n_trials=1)


def test_what_a_search_holds_is_no_axis_of_its_spec() -> None:
    from dipsim.tuning.bound import Bound

    text = _text({"loads": ("a", "b"), "trace": "tiny"}, {}, Bound.of(0.2, None), 1)
    assert 'loads = [["a", "b"]]' in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "fast"], "engine: unknown name, got 'fast'"),
        (["--load", "reader"], "load: unknown name, got 'reader'"),
        (["--load-option", "period_s=1"], "options: load_options: got {'period_s': 1}; must be NAME.KEY=VALUE"),
        (["--load-option", "a.period_s=1"], "load_options: got some for 'a', which is no load of this run"),
        (
            ["--load", "reader-of-this-test", "--load-option", "reader-of-this-test.perod=1"],
            "perod: load 'reader-of-this-test' has no such option; did you mean 'period_s'?",
        ),
        (["--load", "reader-of-this-test", "--load", "reader-of-this-test"], "twice"),
        (["--devices", "flash"], "devices: got 'flash'; must be NAME=VALUE, each name once"),
        (["--devices", "flash=3"], "options: devices.flash: got 3"),
        (["--devices", "npu=slow-of-this-test"], "devices: unknown name, got 'npu'"),
        (["--devices", "flash=slow"], "device: unknown name, got 'slow'"),
        (["--method-option", "name=dip"], "name: method 'dip-ca' has no such option"),
        (["--method-option", "gama=1"], "gama: method 'dip-ca' has no such option; did you mean 'gamma'?"),
        (["--method-option", "gamma=[1]"], ""),
        (["--policy-option", "name=dip"], "name: policy 'lfu' has no such option"),
        (["--method", "dip", "--rank", "3"], "predictor: method 'dip' uses none, got one of rank 3"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dipsim", "simulate", "tiny", "--tokens", "8", *words])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    assert (end.value.code, told.out, told.err.count("\n")) == (2, "", 1), told.err
    assert message in told.err


def test_models_and_traces_have_names_elsewhere_too(tmp_path: Path) -> None:
    named = ds.synthesize(tmp_path / "named.zarr", "tiny", 4, sites="glu, mlp_input")
    made = ds.synthesize(tmp_path / "made.zarr", ds.ModelSpec.load("tiny"), 4, sites=["glu", "mlp_input"])
    assert (named.model, named.sites) == (made.model, made.sites)
    assert np.array_equal(named.read("glu", 0, 4), made.read("glu", 0, 4))
    path = tmp_path / "named.zarr"
    assert ds.trace_statistics(str(path), layers=[1]).equals(ds.trace_statistics(named, layers=[1]))
