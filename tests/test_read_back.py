"""What strangers send and dipsim reads back: whatever is wrong with it is one line that names the file and the key."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import dipsim as ds
from dipsim import DipsimError, HardwareProfile, __version__
from dipsim.errors import MOST_LETTERS
from dipsim.methods import Keeps
from dipsim.plots.look import looks
from dipsim.report import page
from dipsim.report.embedding import parsed
from dipsim.sweeps import read_results, read_specs
from dipsim.sweeps.folder import Results
from dipsim.sweeps.runs import Run
from dipsim.sweeps.table import check_columns, check_row
from dipsim.tuning import tuning
from dipsim.tuning.search import search


def complaint(read: Callable[[], object]) -> str:
    """The one line that reading ends with."""
    with pytest.raises(DipsimError) as caught:
        read()
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) <= MOST_LETTERS + 4
    return said


# --- messages ---


def test_what_strangers_wrote_is_shown_on_one_line_and_cut() -> None:
    assert str(DipsimError("a\nb\x1b[31m\u202e\ud800 é")) == "a\\nb\\x1b[31m\\u202e\\ud800 é"
    assert str(DipsimError(str(DipsimError("a\nb")))) == "a\\nb"  # as it is pickled by a worker
    assert str(DipsimError("x" * 10**6)) == "x" * MOST_LETTERS + " ..."


# --- profiles ---

PROFILE = """name = "x"
[flash]
read_bytes_per_s = 1e9
[dram]
capacity_bytes = 1e9
read_bytes_per_s = 1e9
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PROFILE + '"a\\nb" = 1', r"dram.a\\nb: unknown key"),
        (PROFILE + f'"{"k" * 5000}" = 1', "dram.k{57}...: unknown key"),
        (PROFILE + '[compute.units."a\\nb"]', r"compute.units.a\\nb.\[key\]: got"),
        (PROFILE.replace("1e9", '"1e9"', 1), "flash.read_bytes_per_s: got '1e9'; input should be a valid number"),
        (PROFILE.replace("1e9", "nan", 1), "flash.read_bytes_per_s: got nan"),
        (PROFILE.replace("1e9", "1" * 400, 1), "more than 30 digits"),
        (PROFILE.replace("[flash]", "[[flash]]"), "flash: got "),
        (PROFILE + "a = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        (PROFILE + "\n".join(f"a.b.c.d{i} = 1" for i in range(100)), "more than 100 keys, 4 deep"),
        (PROFILE + "a.b.c.d.e = 1", "more than 100 keys, 4 deep"),
        (PROFILE + "# " + "x" * 2**16, "more than 65,536 bytes"),
        ('extends = "pipe"', "neither a name nor a file"),
        ('extends = "/dev/zero"', "neither a name nor a file"),
        (f'extends = "{"a" * 5000}"', "neither a name nor a file"),
        ('extends = "a\\u0000"', "NUL"),
    ],
)
def test_a_profile_that_is_no_profile(text: str, told: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "p.toml").write_text(text)
    said = complaint(lambda: HardwareProfile.load(tmp_path / "p.toml"))
    assert said.startswith(f"{tmp_path / 'p.toml'}: ")
    assert re.search(told, said)


def test_a_chain_of_profiles_ends(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i}.toml").write_text(f'extends = "{i + 1}.toml"')
    (tmp_path / "100.toml").write_text(PROFILE)
    assert HardwareProfile.load(tmp_path / "96.toml").name == "96"
    assert "99.toml: extends: got '100.toml', the 5th in a row" in complaint(
        lambda: HardwareProfile.load(tmp_path / "95.toml")
    )
    assert "at most 4" in complaint(lambda: HardwareProfile.load(tmp_path / "0.toml"))


# --- keeps ---

KEEPS: dict[str, Any] = {
    **{"keep_input": [0.4, 0.5], "keep_glu": 0.3, "density": 0.4, "loss": 1.0, "loss_of_paper_rule": 1.2, "trials": 3},
    **{"model": "x", "method": {}, "text": None, "dipsim_version": "0"},
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"keep_input": [0.4, math.nan]}, "keep_input.list.1: got nan"),
        ({"keep_input": ["a"] * 10**5}, "keep_input.list.0: got 'a'"),
        ({"keep_input": [0.4] * 100_001}, "keep_input.list: .*at most 100000"),
        ({"keep_glu": 3.0}, "keep_glu.number: got 3.0; input should be less than or equal to 1"),
        ({"density": 0}, "density: got 0; input should be greater than 0"),
        ({"loss": math.inf}, "loss: got inf"),
        ({"model": {"a": 1}}, "model: got {'a': 1}"),
    ],
)
def test_keeps_that_are_none(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    path.write_text(json.dumps(KEEPS))
    assert Keeps.load(path).keep_input == [0.4, 0.5]
    path.write_text(json.dumps(KEEPS | changes))
    assert re.match(f"keeps '.*k.json': {told}", complaint(lambda: Keeps.load(path)))


def test_keeps_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "k.json").write_text(
        json.dumps(KEEPS)[:-1] + ', "method": ' + '{"a":' * 10**4 + "1" + "}" * (10**4 + 1)
    )
    assert "nested too deep" in complaint(lambda: Keeps.load(tmp_path / "k.json"))


# --- rows and tables ---

ROW: dict[str, Any] = {
    **{"key": "0", "error": None, "tok_per_s": 2.5, "hit_rate": 0.5, "slots.down": [1, 2], "dram": "0.5x", "tokens": 3},
    **{"headroom.step": ["a", "b"], "warm_up": False, "config": "{}", "dipsim_version": __version__},
}


def logged(folder: Path, text: str | bytes) -> Path:
    """A folder of results whose log has one row."""
    (folder / "_log").mkdir(exist_ok=True)
    (folder / "_log" / "0.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def tabled(folder: Path, row: dict[str, Any]) -> Path:
    """A folder of results whose table has one row."""
    (folder / "_log").mkdir(exist_ok=True)
    parquet.write_table(pa.Table.from_pylist([row]), folder / "results.parquet")
    return folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key": []}, r"key: got .*; must be text"),
        ({"key": None}, "key: got None; must be text"),
        ({"error": 3}, "error: got 3; must be text"),
        ({"tok_per_s": "fast"}, "tok_per_s: got 'fast'; must be a number"),
        ({"tok_per_s": 0.0}, "tok_per_s: got 0.0; must be a number above 0"),
        ({"tok_per_s": math.inf}, "tok_per_s: got inf; must be a number above 0"),
        ({"hit_rate": True}, "hit_rate: got True; must be a number"),
        ({"dram.cache_bytes": "1"}, "dram.cache_bytes: got '1'; must be a number"),
        ({"slots.down": 3}, "slots.down: got 3; must be a list"),
        ({"slots.down": [[1]]}, "slots.down: got .*; must be a list"),
        ({"config": {"a": 1}}, "config: got .*; must be text"),
        ({"dram": {"a": 1}}, "dram: got .*; must be text, a number"),
        ({"a\nb": {"a": 1}}, r"a\\nb: got"),
    ],
)
def test_a_row_of_another_kind_names_file_and_key(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    logged(tmp_path, json.dumps(ROW | changes))
    for use in (read_results, Results):
        assert re.match(f"results '.*0.json': {told}", complaint(lambda use=use: use(tmp_path)))
    (tmp_path / "_log" / "0.json").unlink()
    tabled(tmp_path, ROW | changes)
    for use in (read_results, Results):
        said = complaint(lambda use=use: use(tmp_path))
        assert re.match(f"results '.*results.parquet': {told.partition(': got')[0]}: got ", said)


def test_rows_that_are_right_come_back(tmp_path: Path) -> None:
    assert Results(logged(tmp_path, json.dumps(ROW))).row("0") == ROW
    (tmp_path / "_log" / "0.json").unlink()
    assert Results(tabled(tmp_path, ROW)).row("0") == ROW
    pd.testing.assert_frame_equal(read_results(tmp_path), pd.read_parquet(tmp_path / "results.parquet"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps(ROW | {"key": "1"}), "key: got '1'; must be the file's name"),
        ("[]", "got list; must be a run's columns"),
        ("{}", "key: missing; it is required"),
        (json.dumps(ROW)[:-1] + ', "a": ' + "[" * 10**4 + "]" * 10**4 + "}", "nested too deep"),
        (json.dumps(ROW)[:-1] + ', "a": ' + "1" * 400 + "}", "more than 30 digits"),
        (json.dumps(ROW | {"a": 10**25}), "a: got 10{25}; must be values of one kind"),
        (json.dumps(ROW | {"a": [1, "x"]}), r"a: got \[1, 'x'\]; must be values of one kind"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b" " * (2**22 + 1), "more than 4,194,304 bytes"),
    ],
)
def test_a_log_that_is_no_row(text: str | bytes, told: str, tmp_path: Path) -> None:
    assert re.match(f"results '.*0.json': .*{told}", complaint(lambda: read_results(logged(tmp_path, text))))


def test_a_table_that_unpacks_to_far_more_than_its_file_is_not_read(tmp_path: Path) -> None:
    def written(**columns: pa.Array) -> Path:
        n = max(map(len, columns.values()))
        same = {
            name: pa.array([value] * n) for name, value in ROW.items() if name in ("key", "error", "dipsim_version")
        }
        parquet.write_table(
            pa.table({**same, **columns}), tmp_path / "x.parquet", compression="zstd", store_schema=False
        )
        assert (tmp_path / "x.parquet").stat().st_size < 2**17
        return tmp_path / "x.parquet"

    n = 10**3
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), ["x" * 10**5])  # a hundred megabytes
    assert "would unpack to far more" in complaint(lambda: read_results(written(trace=texts)))
    listed = pa.ListArray.from_arrays(pa.array(range(n + 1), pa.int32()), texts)
    assert "would unpack to far more" in complaint(lambda: read_results(written(trace=listed)))
    zeros = pa.array([0] * (5 * 10**6))
    assert "would unpack to far more" in complaint(lambda: read_results(written(tokens=zeros)))
    assert len(read_results(written(tokens=zeros[:n]))) == n


@pytest.mark.parametrize("name", ["hit_rate", "tokens", "policy", "dram", "overlap", "hit_rate_by_layer.down", "mine"])
def test_values_alone_are_refused_as_they_are_in_a_table(name: str) -> None:
    """Most are known by their kind, without a table for each."""
    values = [None, True, 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1.5, math.nan, "a", "", "\u00e9", "\ud800"]
    for value in [*values, [1.5, None], ["a"], [[1, 2]], [[[1]]], [1, "a"], {}, {"a": 1}, b"a"]:

        def in_a_table(value: Any = value) -> None:
            try:
                column = pa.array([value])
            except Exception as error:
                raise DipsimError(str(error)) from None
            check_columns(pa.table({"key": ["0"], "error": [None], "dipsim_version": ["0"], name: column}), "here")

        assert refuses(lambda value=value: check_row(ROW | {name: value}, "here")) == refuses(in_a_table), value


def refuses(check: Callable[[], object]) -> bool:
    try:
        check()
    except DipsimError:
        return True
    return False


def test_columns_are_bounded_and_stand_once(tmp_path: Path) -> None:
    parquet.write_table(pa.table({f"c{i}": [1] for i in range(5001)}), tmp_path / "x.parquet")
    assert "got 5001 columns; at most 5000" in complaint(lambda: read_results(tmp_path / "x.parquet"))
    parquet.write_table(pa.table([pa.array(["0"])] * 2, ["key", "key"]), tmp_path / "x.parquet")
    assert "each once" in complaint(lambda: read_results(tmp_path / "x.parquet"))


def test_folders_of_results_hold_files_and_lead_nowhere_else(tmp_path: Path) -> None:
    logged(tmp_path, json.dumps(ROW))
    (tmp_path / "_specs").mkdir()
    for name, read in (("_log/1.json", read_results), ("_specs/x.toml", read_specs)):
        os.mkfifo(tmp_path / name)
        assert "cannot be read: not a regular file" in complaint(lambda read=read: read(tmp_path))
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "pipe.parquet")
    assert "cannot be read: no such file" in complaint(lambda: read_results(tmp_path / "pipe.parquet"))
    (tmp_path / "_specs" / "x.toml").write_bytes(b"\xff")
    assert re.match(r"results '.*x.toml': not UTF-8", complaint(lambda: read_specs(tmp_path)))
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "_lock").symlink_to(tmp_path / "mine")
    assert "its _lock is a link" in complaint(lambda: Results(tmp_path).close([]))
    (tmp_path / "_lock").unlink()
    os.mkfifo(tmp_path / "_lock")
    assert "_lock': no regular file" in complaint(lambda: Results(tmp_path).close([]))
    assert (tmp_path / "mine").read_text() == "mine"


# --- searches ---


def test_a_run_without_its_speed_ends_a_search_in_one_line(tmp_path: Path) -> None:
    row = {name: value for name, value in ROW.items() if name != "tok_per_s"}
    results = Results(logged(tmp_path, json.dumps(row)))
    assert re.match(
        "results '.*': run '0': tok_per_s: missing", complaint(lambda: tuning._row(results, Run("0", {}, {})))
    )


def test_a_journal_that_is_none(tmp_path: Path) -> None:
    def tried(ranges: dict[str, tuple[float, float]]) -> list[Any]:
        return search(lambda point: point["x"], ranges, 3, 0, tmp_path / "j", "name")

    assert len(tried({"x": (-1.0, 1.0)})) == 3
    assert "no trial of this search" in complaint(lambda: tried({"x": (0.5, 1.0)}))
    assert "no trial of this search" in complaint(lambda: tried({"x": (-1.0, 1.0), "y": (0.0, 1.0)}))
    (tmp_path / "j").write_text('{"op_code": 0}\n{}\n')
    assert re.match("journal '.*j': cannot be read: ", complaint(lambda: tried({"x": (-1.0, 1.0)})))
    (tmp_path / "j").unlink()
    os.mkfifo(tmp_path / "j")
    assert "no regular file" in complaint(lambda: tried({"x": (-1.0, 1.0)}))


def test_a_journal_that_was_half_written_goes_on(tmp_path: Path) -> None:
    def tried(journal: Path, n: int) -> object:
        return search(lambda point: point["x"] ** 2, {"x": (-1.0, 1.0)}, n, 0, journal, "a")

    whole = tried(tmp_path / "whole", 4)
    tried(tmp_path / "cut", 2)
    with (tmp_path / "cut").open("a") as file:
        file.write('{"op_code": 4, "worker')
    assert tried(tmp_path / "cut", 4) == whole
    (tmp_path / "bad").write_bytes(b'{"op_code": \n' + (tmp_path / "whole").read_bytes())
    assert "journal" in complaint(lambda: tried(tmp_path / "bad", 4))
    (tmp_path / "link").symlink_to(tmp_path / "whole")
    assert "no regular file" in complaint(lambda: tried(tmp_path / "link", 5))


# --- configurations in reports, styles of figures ---


def test_a_configuration_that_is_damaged_is_left_out() -> None:
    assert parsed('{"a": 1}') == {"a": 1}
    for text in ("{", "[]", "[" * 10**5, '{"a": ' * 70 + "1" + "}" * 70, None):
        assert parsed(text) == {}
    frame = pd.DataFrame([ROW | {"profile": "p", "config": text} for text in ('{"profile": []}', '{"profile": 1}')])
    assert page(frame).count("<html") == 1


def test_a_style_is_a_short_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_text("# " + "x" * 2**18)
    for name, told in (("pipe", "not a regular file"), ("long", "more than 262,144 bytes")):
        with pytest.raises(DipsimError, match=told), looks(tmp_path / name):
            pass


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokens", [8]),
        ("budget", 3),
        ("layout_options", []),
        ("policy_options", 3),
        ("warmup", "1"),
        ("prefetch", ["none"]),
        ("gamma", {}),
        ("density", [0.5]),
        ("profile", 3),
        ("model", None),
    ],
)
def test_a_configuration_of_other_kinds_is_one_line(key: str, value: object) -> None:
    config = ds.Simulation(ds.HardwareProfile.load("a18-paper"), ds.Trace.open("tiny"), ds.DipCa(density=0.4)).config
    assert ds.Simulation.from_config(config).config == config
    with pytest.raises(DipsimError, match=r"^config: ") as caught:
        ds.Simulation.from_config(config | {key: value})
    assert key in str(caught.value) or "dip-ca" in str(caught.value)
