"""What strangers plug in: first files of each kind, by name, with workers, redefined; and what is wrong with them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeTrace, device, small_model, tight_slots
from hypothesis import given
from hypothesis import strategies as st

import dipsim as ds
from dipsim.cli import app
from dipsim.errors import DipsimError
from dipsim.methods import make, methods, n_kept_by, options, top_k_of
from dipsim.model.groups import Group
from dipsim.registry import Registry
from dipsim.sweeps import read_results
from dipsim.sweeps.code import code_of
from dipsim.sweeps.plugged import _REGISTRIES, packed, register, registered_here

pytestmark = tight_slots
# Kind -> the file, whose NUMBER is outside of what it defines, and the flags that lead to it.
FIRST = {
    "method": """\
from dataclasses import dataclass
import dipsim as ds
NUMBER = 0.3

@ds.register_method("mine")
@dataclass
class Mine(ds.Method):
    \"\"\"The best inputs.\"\"\"
    share: float = 1.0
    def groups(self, model):
        return ds.mlp_group(model, "up_gate", "mlp_input"), ds.mlp_group(model, "down", "glu")
    def select(self, group, scores, resident, token, mask):
        ds.top_k(scores, int(NUMBER * self.share * group.n_columns), mask)
""",
    "policy": """\
import dipsim as ds
NUMBER = 0.3

@ds.register_policy("mine")
class Mine(ds.ScorePolicy):
    \"\"\"Evict what was used most recently, or next.\"\"\"
    def on_access(self, columns, token):
        self.priority[columns] = -((NUMBER * token) % 1)
""",
    "budget": """\
import dipsim as ds
NUMBER = 0.3

@ds.register_budget("mine")
def mine(request):
    \"\"\"A share of the columns everywhere.\"\"\"
    return {group.name: [int(NUMBER * group.n_columns)] * request.model.n_layers for group in request.groups}
""",
    "layout": """\
import dipsim as ds
import numpy as np
NUMBER = 0.3

@ds.register_layout("mine")
class Mine:
    \"\"\"Shuffled.\"\"\"
    bundled, calibration_tokens = True, 0
    def order(self, active):
        return np.random.default_rng(int(10 * NUMBER)).permutation(active.shape[1])
""",
    "prefetch": """\
import dipsim as ds
import numpy as np
NUMBER = 0.3

@ds.register_prefetcher("mine")
class Mine:
    \"\"\"What was loud one token earlier.\"\"\"
    looks_at_layer_before = False
    def guess(self, known):
        return np.where(known.previous_token.view(np.float16) > NUMBER, known.previous_token, 0).astype(np.uint16)
""",
    "load": """\
import dipsim as ds
NUMBER = 0.3

@ds.register_load("mine")
class Mine:
    \"\"\"Reads a little, again and again.\"\"\"
    def run(self, env, machine):
        while True:
            yield machine.flash.read(4096)
            yield env.timeout(NUMBER / 1000)
""",
    "device": """\
import dipsim as ds
NUMBER = 0.3

@ds.register_device("mine")
class Mine(ds.FlashDevice):
    \"\"\"Slower than it says.\"\"\"
    def service_s(self, job):
        return (1 + NUMBER) * job.service_s
""",
}
# Where the command line and specs name one, and what the configuration then has.
FLAGS = {"device": ("devices", "flash=mine")}
AXES = {"device": {"devices.flash": "mine"}}
CONFIG = {"load": ("loads", ["mine"]), "device": ("devices", {"flash": "mine"})}
KINDS = pytest.mark.parametrize("kind", FIRST)
USUAL = {"method": "dip", "policy": "lru", "profile": "oneplus-12-ufs4", "dram": "0.9x", "tokens": 24}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """What a test registers goes with it."""
    before = {key: dict(registry._entries) for key, registry in _REGISTRIES.items()}
    yield
    for key, registry in _REGISTRIES.items():
        registry._entries = before[key]


def dipsim(*words: str | Path) -> None:
    app([str(word) for word in words], standalone_mode=False)


def first(kind: str, folder: Path, number: float = 0.3) -> Path:
    path = folder / "mine.py"
    path.write_text(FIRST[kind].replace("NUMBER = 0.3", f"NUMBER = {number}"))
    return path


@KINDS
def test_a_first_one_is_a_short_file_that_the_command_line_finds_by_name(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = first(kind, tmp_path)
    assert len(path.read_text().splitlines()) < 15
    flag, named = FLAGS.get(kind, (kind, "mine"))
    words = USUAL | {flag: named}
    flags = [word for key, value in words.items() for word in (f"--{key}", str(value))]
    dipsim("simulate", "tiny", "--plugin", path, *flags, "--json", tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    config = result.pop("config")
    key, told = CONFIG.get(kind, (kind, "mine"))
    assert config[key] == told
    again = ds.Simulation.from_config(config | {"trace": "tiny"}).run().to_dict()
    assert {key: value for key, value in again.items() if key != "config"} == result
    capsys.readouterr()
    word = {"method": "methods", "policy": "policies", "prefetch": "prefetchers"}.get(kind, f"{kind}s")
    dipsim("list", word, "--plugin", path)
    sentence = path.read_text().split('"""')[1]
    assert sentence in capsys.readouterr().out
    dipsim("show", {"prefetch": "prefetcher"}.get(kind, kind), "mine", "--plugin", path)
    shown = capsys.readouterr().out
    assert sentence in shown
    assert f"from {path}" in " ".join(shown.split())


@KINDS
def test_two_workers_run_it_and_redefined_it_gives_new_rows(kind: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    given = {"trace": "tiny"} | USUAL | AXES.get(kind, {kind: "mine"})
    spec.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in given.items()) + "warmup = [0, 1]\n")
    found = []
    for number in (0.3, 0.55):
        path = first(kind, tmp_path, number)
        dipsim("sweep", spec, "-o", tmp_path / "results", "--workers", "2", "--plugin", path)
        found.append(read_results(tmp_path / "results"))
    for frame in found:
        assert frame["error"].isna().all()
    old, new = found[0], found[1][~found[1]["key"].isin(found[0]["key"])]
    assert (len(old), len(new)) == (2, 2)
    columns = [*old.select_dtypes("number").columns]
    assert not np.array_equal(old[columns].to_numpy(), new[columns].to_numpy(), equal_nan=True)
    here = ds.sweep(given | {"warmup": [0, 1]}, workers=1)
    assert sorted(here["tpot_s.mean"]) == sorted(new["tpot_s.mean"])
    dipsim("sweep", spec, "-o", tmp_path / "results", "--workers", "2", "--plugin", path)
    assert len(read_results(tmp_path / "results")) == 4  # nothing changed, nothing to do


def test_contributings_method_is_ten_lines_that_run(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    lines = text.partition("## Add a method")[2].partition("\n    from ")[2].partition("\n1. ")[0]
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(f"    from {lines}"))
    code = [line for line in path.read_text().splitlines() if line and not line.startswith(("from", "import"))]
    assert len(code) == 9
    words = ("--method", "best-gates", "--tokens", "4", "--json", tmp_path / "r.json")
    dipsim("simulate", "tiny", "--plugin", path, *words)
    assert json.loads((tmp_path / "r.json").read_text())["mlp_density"] == pytest.approx((1 + 2 * 0.3) / 3, abs=1e-3)


def cell(source: str, names: dict[str, Any]) -> None:
    exec(compile(source, "<cell>", "exec", dont_inherit=True), names)


def test_a_notebooks_class_and_what_its_cells_call_are_what_workers_run() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    cell("import dipsim as ds\nfrom dataclasses import dataclass\ndef share():\n    return 0.3\n", names)
    cell(FIRST["method"].replace("NUMBER *", "share() *"), names)
    retained = []
    for redefined in ("", "def share():\n    return 0.6\n", "def share():\n    return 0.3\n"):
        cell(redefined, names)
        spec = USUAL | {"trace": "tiny", "method": "mine", "policy": ["lru", "fifo"]}
        frame = ds.sweep(spec, workers=2)
        assert frame["error"].isna().all()
        retained.append([frame["key"].tolist(), frame["mlp_density"].tolist()])
    assert retained[0] == retained[2]
    assert not {*retained[0][0]} & {*retained[1][0]}
    assert np.array(retained[1][1]) == pytest.approx(2 * np.array(retained[0][1]), rel=0.05)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f():\n    return 1\n", "def f():\n    return 2\n"),
        ("def f(x=1):\n    return x\n", "def f(x=2):\n    return x\n"),
        ("N = [1, 2]\ndef f():\n    return N\n", "N = [1, 3]\ndef f():\n    return N\n"),
        ("def g():\n    return 1\ndef f():\n    return g()\n", "def g():\n    return 2\ndef f():\n    return g()\n"),
        ("class G:\n    n = 1\nclass f(G):\n    pass\n", "class G:\n    n = 2\nclass f(G):\n    pass\n"),
        ("class f:\n    @property\n    def n(self):\n        return 1\n",
         "class f:\n    @property\n    def n(self):\n        return 2\n"),
        ("class f:\n    @classmethod\n    def n(cls):\n        return 1\n",
         "class f:\n    @classmethod\n    def n(cls):\n        return 2\n"),
        ("import numpy as np\nN = np.arange(3)\ndef f():\n    return N\n",
         "import numpy as np\nN = np.arange(4)\ndef f():\n    return N\n"),
        ("def made(n):\n    def f():\n        return n\n    return f\nf = made(1)\n",
         "def made(n):\n    def f():\n        return n\n    return f\nf = made(2)\n"),
        ("import functools\n@functools.cache\ndef f():\n    return 1\n",
         "import functools\n@functools.cache\ndef f():\n    return 2\n"),
    ],
)  # fmt: skip
def test_all_that_its_author_wrote_is_its_code(before: str, after: str) -> None:
    def code(source: str) -> object:
        names: dict[str, Any] = {"__name__": "__main__"}
        cell(source, names)
        return code_of(names["f"])

    assert code(before) == code(before)
    assert code(before) != code(after)
    assert code(f"{before}# a comment\nunused = 1\n") == code(before)


@pytest.mark.parametrize("decorator", ["", "@dataclass\n"])
def test_what_a_command_line_defines_is_code_as_well(decorator: str) -> None:
    """`python -c` and what `dataclass` makes have the same name of a file."""

    def code(number: int) -> object:
        names: dict[str, Any] = {"__name__": "__main__"}
        source = f"from dataclasses import dataclass\n{decorator}class f:\n    def run(self): return {number}\n"
        exec(compile(source, "<string>", "exec", dont_inherit=True), names)
        return code_of(names["f"])

    assert code(1) == code(1)
    assert code(1) != code(2)


def test_a_worker_forgets_what_an_earlier_sweep_left_there() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    cell(FIRST["policy"], names)
    data = packed(registered_here([{"policy": "mine"}]))
    _REGISTRIES["policy"].replace("mine", dict)
    register(data)
    assert _REGISTRIES["policy"]["mine"].__name__ == "Mine"


def test_a_package_offers_a_method_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_methods.py").write_text(FIRST["method"].replace('@ds.register_method("mine")\n', ""))
    info = tmp_path / "their_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dipsim.methods]\ntheirs = their_methods:Mine\nnone = collections:Counter\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fresh: Registry[Any] = Registry("method", "dipsim.methods")
    assert fresh.package_of("theirs") == "their-methods 1.0"
    monkeypatch.setitem(vars(methods), "_points", fresh._points)
    made = make("theirs", share=0.5)
    assert options(made) == {"name": "theirs", "share": 0.5}
    with pytest.raises(DipsimError, match=r"method 'none': got <class 'collections.Counter'>; must be a class that"):
        make("none")


# --- What is wrong with a file.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x = (\n", r"line 1: SyntaxError: '\(' was never closed"),
        (b"import os\n\nos.nothing()\n", r"AttributeError: .* \(mine.py, line 3\)"),
        (b"raise SystemExit(3)\n", r"SystemExit: 3 \(mine.py, line 1\)"),
        (b"\xff", "not UTF-8: invalid start byte at byte 0"),
        (b"x = 1\0", ".*null bytes"),
        (b"import dipsim as ds\nds.register_policy('lru')(ds.ScorePolicy)\n", "policy 'lru': registered twice.*"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_plugin_is_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DipsimError, match=f"^plugin '{path}': {message}$"):
        dipsim("list", "methods", "--plugin", path)


# --- Methods: defaults, hooks, refusals.


class Half(ds.Method):
    """The better half of the inputs, and of the neurons."""

    def groups(self, model: ds.ModelSpec) -> Any:
        return [ds.mlp_group(model, "up_gate", "mlp_input"), ds.mlp_group(model, "down", "glu")]

    def select(self, group: Group, scores: Any, resident: Any, token: int, mask: Any) -> Any:
        ds.top_k(scores, group.n_columns // 2, mask)


class Compiled(Half):
    """The same, and says so."""

    looks_at_residency = False

    def as_top_k(self, group: Group) -> Any:
        return ds.TopK(group.n_columns // 2, lambda token: 1.0)


class Changed(Compiled):
    """Something else than it says that it inherits."""

    def select(self, group: Group, scores: Any, resident: Any, token: int, mask: Any) -> None:
        mask[0] = True


def simulated(masking: Any, trace: str = "tiny", **options: Any) -> dict[str, Any]:
    result = ds.Simulation(
        ds.HardwareProfile.load("oneplus-12-ufs4"), ds.Trace.open(trace), masking, **({"tokens": 24} | options)
    ).run()
    return {key: value for key, value in result.to_dict().items() if key != "config"}


def test_a_method_needs_groups_and_select_alone_and_is_safe_by_default() -> None:
    model = ds.Trace.open("tiny").model
    assert Half().looks_at_residency
    with pytest.raises(DipsimError, match=r"belady with method 'Half'; .*, or set its looks_at_residency = False"):
        simulated(Half(), policy="belady")
    assert (Half().name, options(Half())) == ("Half", {"name": "Half"})
    assert top_k_of(Half(), 0, Half().groups(model)[0]) is None
    assert n_kept_by(Half(), 0, Half().groups(model)[0]) is None


@pytest.mark.parametrize("policy", ["lru", "magnitude", "belady"])
def test_the_compiled_form_of_a_users_method_is_what_it_selects(policy: str) -> None:
    class Plain(Half):
        looks_at_residency = False

    one, other = simulated(Compiled(), policy=policy, dram="0.7x"), simulated(Plain(), policy=policy, dram="0.7x")
    assert one == other
    keeps = ds.Dip(keep_input=0.5, keep_glu=0.5)
    assert one == simulated(keeps, policy=policy, dram="0.7x")


def test_a_hook_counts_only_while_nobody_below_changes_what_the_method_does() -> None:
    group = Half().groups(small_model())[0]
    assert top_k_of(Compiled(), 0, group) is not None
    assert top_k_of(Changed(), 0, group) is None

    class Helped(ds.DipCa):
        """Changes what `select` calls."""

        def gamma_at(self, token: int) -> float:
            return 1 / (1 + token)

    class Milder(ds.DipCa):
        """Only another default."""

        gamma: float = 0.5

    assert top_k_of(Helped(density=0.5), 0, group) is None
    assert n_kept_by(Helped(density=0.5), 0, group) is None
    assert top_k_of(Milder(density=0.5), 0, group) is not None
    assert simulated(Changed(), dram="0.7x")["mlp_density"] < 0.02


def test_weights_that_a_method_adds_are_pinned_and_used_by_every_token(make_trace: MakeTrace) -> None:
    class Heavy(Compiled):
        def added_weights(self, model: ds.ModelSpec) -> int:
            return 1000

        as_top_k = Compiled.as_top_k

    model = small_model()
    rng = np.random.default_rng(0)
    sites = {"mlp_input": model.hidden_size, "glu": model.intermediate_size}
    scores = {site: rng.random((6, model.n_layers, n)).astype(np.float16) for site, n in sites.items()}
    trace, profile = make_trace(model, scores), device(compute={"ops_per_s": 1e9})
    light, heavy = (ds.Simulation(profile, trace, own, "lru").run().to_dict() for own in (Compiled(), Heavy()))
    n_bytes = 1000 * model.n_layers * model.bits.mlp / 8
    assert heavy["dram"]["pinned_bytes"] - light["dram"]["pinned_bytes"] == pytest.approx(n_bytes)
    assert heavy["bytes_per_token"]["dram"] - light["bytes_per_token"]["dram"] == pytest.approx(n_bytes)
    assert heavy["busy_s"]["compute"] - light["busy_s"]["compute"] == pytest.approx(6 * 2 * 1000 * model.n_layers / 1e9)


def wrong(**members: Any) -> Any:
    """An instance of `Half` with other members."""
    return type("Wrong", (Half,), members)()


def told(self: Any, model: ds.ModelSpec) -> Group:
    return ds.mlp_group(model, "down", "glu")


def raises(*given: Any) -> None:
    raise IndexError("on purpose")


@pytest.mark.parametrize(
    ("masking", "message"),
    [
        (3, "method: got 3; must be a name, or a method such as"),
        (Half, "method: got <class .*Half'>; must be a name, or a method such as"),
        (wrong(groups=lambda self, model: ()), r"method 'Wrong': groups: got \(\); must be a tuple of groups"),
        (wrong(groups=told), r"method 'Wrong': groups: got Group\(.*; must be a tuple of groups"),
        (wrong(groups=lambda self, model: ["down"]), r"method 'Wrong': groups: got \['down'\]; must be a tuple"),
        (wrong(groups=lambda self, model: [told(self, model)] * 2), "method 'Wrong': groups: got 'down' twice"),
        (
            wrong(groups=lambda self, model: [Group("down", "glu", 5, 1, 1, 1)]),
            "method 'Wrong': groups: 'down': got 5 columns; site 'glu' has",
        ),
        (
            wrong(groups=lambda self, model: [Group("down", "nose", 5, 1, 1, 1)]),
            r"method 'Wrong': groups: 'down': got site 'nose'; must be None \(dense\) or one of mlp_input, glu",
        ),
        (
            wrong(groups=lambda self, model: [Group("down", None, 5, 1, 1, -1.0)]),
            "method 'Wrong': groups: 'down': got column_bytes -1.0; must be above 0 and finite",
        ),
        (wrong(groups=lambda self, model: [ds.mlp_group(model, "dwon", "glu")]), "group: got 'dwon'; must be up, gate"),
        (wrong(groups=raises), r"method 'Wrong': groups: IndexError: on purpose \(test_plugins.py, line \d+\)"),
        (wrong(select=lambda *given: None), "method 'Wrong': mask of group 'up_gate' is empty; keep a column"),
        (wrong(select=lambda *given: given[3]), "method 'Wrong': select: got ndarray back; must fill 'mask', and ret"),
        (wrong(select=raises), "method 'Wrong': select: IndexError: on purpose"),
        (wrong(added_weights=lambda self, model: -1), "method 'Wrong': added_weights: got -1; must be a number of wei"),
        (wrong(in_layer=lambda self, layer: None), "method 'Wrong': in_layer: got None; must be a method"),
        (wrong(as_top_k=lambda self, group: 3), "method 'Wrong': as_top_k: got 3; must be a dipsim.TopK or None"),
        (
            wrong(as_top_k=lambda self, group: ds.TopK(0, lambda token: 1.0)),
            "method 'Wrong': as_top_k: got 0 columns of group 'up_gate'; must be a whole number from 1 to",
        ),
        (
            wrong(as_top_k=lambda self, group: ds.TopK(2, lambda token: 1.0, rule="best")),
            "method 'Wrong': as_top_k: rule: got 'best'; must be one of reweight, blend, top-m",
        ),
        (
            wrong(as_top_k=lambda self, group: ds.TopK(2, lambda token: 1.0, exempt=-1)),
            "method 'Wrong': as_top_k: exempt: got -1; must be a whole number from 0 to",
        ),
        (
            wrong(as_top_k=lambda self, group: ds.TopK(2, lambda token: 1.0, "top-m", m=10**6)),
            "method 'Wrong': as_top_k: m: got 1000000; must be a whole number from 0 to",
        ),
        (
            wrong(as_top_k=lambda self, group: ds.TopK(2, lambda token: 1.5)),
            r"method 'Wrong': as_top_k: gamma at token 0: got 1.5; must be in \[0, 1\]",
        ),
        (wrong(n_kept=lambda self, group: 1.5), "method 'Wrong': n_kept: got 1.5 columns of group 'up_gate'; must be"),
    ],
)  # fmt: skip
def test_a_wrong_method_is_named(masking: Any, message: str) -> None:
    with pytest.raises(DipsimError, match=f"^{message}"):
        simulated(masking, policy="lru", dram="0.7x")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class Mine(ds.Method):\n    def groups(self, model): ...\n", "method 'mine': Mine has no select; a method"),
        ("class Mine: ...\n", "method 'mine': got <class '__main__.Mine'>; must be a class that derives from dipsim.M"),
        ("def Mine(): ...\n", "method 'mine': got <function Mine at"),
        ("class Mine(ds.Dip):\n    mine: int = 3\n", r"method 'mine': Mine has options \(mine\) and is no dataclass;"),
        ("@dataclass(frozen=True)\nclass Mine(ds.Dip):\n    name: str = ''\n", "method 'mine': option 'name': taken"),
    ],
)  # fmt: skip
def test_a_class_that_is_no_method_is_refused(source: str, message: str) -> None:
    lines = f"import dipsim as ds\nfrom dataclasses import dataclass\n{source}ds.register_method('mine')(Mine)\n"
    with pytest.raises(DipsimError, match=f"^{message}"):
        cell(lines, {"__name__": "__main__"})


# --- Options, whatever the kind.


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"half_lief": 3}, "half_lief: policy 'mine' has no such option; did you mean 'half_life'"),
        ({"half_life": "long"}, "half_life: got 'long'; must be a number"),
        ({"half_life": 3, "loud": 1}, "loud: got 1; must be true or false"),
        ({}, "policy 'mine' needs half_life_or"),
        ({"half_life_or": [1]}, r"policy 'mine': cannot be made: TypeError: .* \(<cell>, line 10\)"),
    ],
)
def test_options_are_checked_alike(given: dict[str, Any], message: str) -> None:
    cell(
        "import dipsim as ds\nfrom dataclasses import dataclass\n@ds.register_policy('mine')\n@dataclass\n"
        "class Mine(ds.ScorePolicy):\n    half_life_or: object\n    half_life: float = 3\n    loud: bool = False\n"
        "    def __post_init__(self):\n        self.half_life_or < 3\n",
        {"__name__": "__main__"},
    )
    needed = given if "half_life_or" in given or not given else given | {"half_life_or": 1}
    with pytest.raises(DipsimError, match=f"^{message}"):
        _REGISTRIES["policy"].make("mine", needed)


def test_what_lacks_a_part_is_told_so() -> None:
    cell("import dipsim as ds\n@ds.register_load('mine')\nclass Mine: ...\n", {"__name__": "__main__"})
    with pytest.raises(DipsimError, match=r"^load 'mine': Mine has no run; must have run$"):
        _REGISTRIES["loads"].make("mine", {})


# --- top_k.


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=40),
    st.integers(-2, 45),
    st.booleans(),
)
def test_top_k_takes_the_best_and_of_equal_ones_the_first(values: list[float], k: int, signed: bool) -> None:
    n = max(1, min(k, len(values)))
    scores = np.array(values) * (np.where(np.arange(len(values)) % 2, -1, 1) if signed else 1)
    best = np.argsort(-scores, kind="stable")[:n]
    halves = scores.astype(np.float16)
    for own in (scores, halves) if signed else (scores, halves, halves.view(np.uint16)):
        mask = np.zeros(len(values), np.bool_)
        ds.top_k(own, k, mask)
        assert np.flatnonzero(mask).tolist() == sorted(best)


def test_top_k_refuses_what_has_no_order() -> None:
    mask = np.zeros(3, np.bool_)
    for scores in (np.array([1, np.nan, 2]), np.arange(4.0), np.arange(3), np.array(["a", "b", "c"])):
        with pytest.raises(DipsimError, match=r"^top_k: scores: got "):
            ds.top_k(scores, 1, mask)
