"""Expressions choose what Python's own operators and pandas choose, and run nothing; the source evaluates no text."""

from __future__ import annotations

import ast
import math
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dipsim
from dipsim.errors import DipsimError
from dipsim.expressions import MOST_CHARACTERS, MOST_DEPTH, Expression

ROW: dict[str, Any] = {"n": 3, "x": 0.5, "name": "lfu", "on": True, "off": False, "none": None, "nan": math.nan}
ROW |= {"a.b": 7, "a b`": 1, "true": 5, "slots": [1, 2], "ünï": 2, "_": 8, "_0": 9, "it's": 4}


def holds(text: str, row: dict[str, Any] = ROW) -> bool:
    return Expression.parse(text, row, "x").holds(row)


@pytest.mark.parametrize(
    "text",
    [
        "n == 3",
        "n == 3.0 and n != 4",
        "x <= 0.5 <= n < 4 != x",
        "name == 'lfu' or name < 1",  # whose right side is not looked at
        'name == "l\\x66u"',
        "name < 'lru'",
        "not n > 3",
        "not (n > 3 or x > 1)",
        "n > 3 or x < 1 and on",
        "on",
        "on == true and off == False and off != on",
        "n in [1, 2, 3] and n in (3.0,)",
        "name not in ['lru', \"fifo\"]",
        "-n in [-3, 'a', true]",
        "n + 1 == 4 and n - 1 == 2 and 2 * n == 6 and n / 2 == 1.5 and n // 2 == 1 and n % 2 == 1",
        "-n + 2 * 3 == 3 and 2 - 1 - 1 + n == 3 and -(n - 4) == 1",
        "`a.b` == 7 and `n`==3",
        "(`a.b`)>`x`",
        "name != '`a.b`' and name != \"it's (\"",
        "`it's` == 4",
        "`true` == 5 and `ünï` == ünï and _ == 8",
        "_0 == 9 and `a.b` == 7",
        "n == 3\n  and\tx == 0.5\r\n",
        "n == 3 or " * 98 + "on",  # long, and yet not deep
        "n == 0x3 and n == 3e0 and n < 1_000",
        # what is missing
        "none is null and nan is null and none is None and n is not null and slots is not null",
        "not none == 1 and none != 1 and not none < 1 and not none >= 1 and not none == none",
        "none not in [1] and not none in [1] and nan != nan",
        "none + 1 is null and -none is null and n / 0 is null and n // 0 is null and n % 0 is null",
        "1e200 * n * 1e200 is null and not n / 0 > 1",
        "not none and not (none or off)",
        # of another kind
        "n != 'a' and not name == 3 and name not in [3] and on != 'true'",
    ],
)
def test_what_is_true_of_a_row(text: str) -> None:
    assert holds(text)
    assert not holds(f"not ({text})")


NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -2.25, 1.5])
ATOMS = st.sampled_from(["a", "b", "c"]) | NUMBERS.map(repr)


@st.composite
def sums(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(ATOMS)
    operator = draw(st.sampled_from(["+", "-", "*", "+-"]))
    text = f"{draw(sums(depth - 1))} {operator} {draw(sums(depth - 1))}"
    return f"({text})" if draw(st.booleans()) else text


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        if draw(st.integers(0, 3)) == 0:
            return f"{draw(ATOMS)} {draw(st.sampled_from(['in', 'not in']))} [{draw(NUMBERS)}, {draw(NUMBERS)}]"
        signs = draw(st.lists(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), min_size=1, max_size=3))
        return draw(sums()) + "".join(f" {sign} {draw(sums())}" for sign in signs)
    text = f"{draw(conditions(depth - 1))} {draw(st.sampled_from(['and', 'or']))} {draw(conditions(depth - 1))}"
    return draw(st.sampled_from([text, f"({text})", f"not ({text})", f"not {text}"]))


@settings(deadline=None)
@given(conditions(), st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS, "c": NUMBERS}))
def test_without_nulls_it_is_what_python_says(text: str, row: dict[str, Any]) -> None:
    if not re.search("[abc]", text.replace("and", "")):
        text = f"({text}) and a == a"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = bool(eval(text, {"__builtins__": {}}, row))  # the twin: the text is the test's own
    assert holds(text, row) is expected


FRAME = pd.DataFrame(
    {
        "n": [1, 2, 3, 4],
        "x": [0.5, None, 2.0, -1.0],
        "name": ["lru", None, "lfu", "lru"],
        "on": [True, False, True, True],
    }
).assign(**{"a.b": [4, 3, 2, 1]})


@pytest.mark.parametrize(
    "text",
    [
        "n > 2",
        "x > 0",
        "x != 2",
        "name == 'lru'",
        "name != 'lru'",
        "name in ['lru', 'fifo'] and n < 4",
        "name not in ['lru']",
        "`a.b` < n or on",
        "not on",
        "1 < n <= 3",
        "n * 2 + `a.b` == 8",
        "x / n < 1",
    ],
)
def test_what_pandas_chooses_is_chosen(text: str) -> None:
    """Missing values as in `DataFrame.query`: only `!=` and `not in` are true of them."""
    chosen = Expression.parse(text, [*FRAME], "x")
    assert [chosen.holds(row) for row in FRAME.to_dict("records")] == FRAME.eval(text, engine="python").tolist()


def deep(inner: str, opening: str, closing: str = "", times: int = MOST_DEPTH + 1) -> str:
    return opening * times + inner + closing * times


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n.real == 3", "a '.' in a name that is not in backticks"),
        ("n.to_csv.__globals__.get('sys') == 0", "no call may stand in it"),
        ("print(n)", "no call may stand"),
        ("n.to_csv('f') == 0", "no call may stand"),
        ("name[0] == 'l'", "no subscript may"),
        ("9**9**9 > n", "no pow may stand"),
        ("n @ n", "'@' may not stand"),
        ("@n == 3", "'@' may not stand"),
        ("n << 9999999", "no lshift may stand"),
        ("n ^ 1", r"'\^' may not stand"),
        ("n > 1 & x < 1", "write and, or, not in place of &, |, ~"),
        ("(n > 1) | (x < 1)", "write and, or, not"),
        ("~on", "write and, or, not"),
        ("[one for one in n]", "no listcomp may"),
        ("(one for one in n)", "no generatorexp may"),
        ("lambda: n", "':' may not stand"),
        ("(m := n)", "':' may not stand"),
        ("{n}", "'{' may not stand"),
        ("n if on else x", "no ifexp may stand"),
        ("f'{n}' == '3'", "no joinedstr may stand"),
        ("name == b'lfu'", "b'lfu' is neither text nor a number"),
        ("n in [*slots]", "a list holds constants only"),
        ("n in [x, 1]", "a list holds constants only"),
        ("n in [[1], 2]", r"\[1\] is neither text nor"),
        ("n in slots", "'in' goes with a list"),
        ("'f' in name", "'in' goes with a list"),
        ("n in [1, null]", "null stands after 'is' only"),
        ("n == null", "null stands after 'is' only"),
        ("n is 3", "'is' goes with null only"),
        ("n is null is null", "neither 'is' nor 'in' is part of a chain"),
        ("1 < n in [1]", "neither 'is' nor 'in' is part of a chain"),
        ("slots == [1, 2]", "a list goes with 'in' only"),
        ("slots == 1", r"\[1, 2\] is no single value"),
        ("slots in [1]", r"\[1, 2\] is no single value"),
        ("slots + 1 > 1", r"\[1, 2\] is no number"),
        ("name < 3", "'lfu' and 3 have no order"),
        ("on < 3", "True and 3 have no order"),
        ("name + 'a' == 'lfua'", "'lfu' is no number"),
        ("name * 1000000000 == ''", "'lfu' is no number"),
        ("on + 1 == 2", "True is no number"),
        ("name", "'lfu' is neither true nor false"),
        ("n and on", "3 is neither true nor false"),
        ("not n", "3 is neither true nor false"),
        ("n + 1", "4 is neither true nor false"),
        ("n < 1e999", "inf is neither text nor a number that can be compared"),
        ("n < 1j", "1j is neither"),
        ("n == ...", "Ellipsis is neither"),
        ("n < " + "9" * 400, r"9\.\.\. is neither text nor a number"),
        ("nam == 'lfu'", "no column 'nam'; did you mean 'name'"),
        ("n == lfu", "no column 'lfu'; .*text stands in quotes"),
        ("`a.c` == 1", "no column 'a.c'; did you mean 'a.b'"),
        ("1 == 1", "it names no column"),
        ("true", "it names no column"),
        ("n = 3", "a single '='; write '=='"),
        ("n == 3 #", "'#' may not stand"),
        ("n == 3; n == 4", "';' may not stand"),
        ("n == 3\\\n", r"'\\\\' may not stand"),
        ("name == 'lfu", '"\'" is not closed'),
        ("`a.b == 1", "'`' is not closed"),
        ("`` == 1", "'`' is not closed"),
        ("name == 'l' 'fu'", "two texts stand beside each other"),
        ('name == """l"`n`"""', "two texts stand beside each other"),
        ("n`a.b` == 3", "invalid syntax"),
        ("n == 3) or (n == 4", "unmatched"),
        ("n ==", "invalid syntax"),
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("n == 3\0", r"'\\x00' may not stand"),
        ("name == 'a\0'", "it cannot be read|source code string"),
        ("name == '\ud800'", "it cannot be read"),
        ("n\ud800 == 3", r"'\\ud800' may not stand"),
        (deep("n", "(", ")"), "nested more than 30 deep"),
        (deep("n", "["), "nested more than 30 deep"),
        (deep("on", "not "), "nested more than 30 deep"),
        (deep("n", "-", times=990), "nested more than 30 deep"),
        (deep("n", "1 if n else ", times=80), "nested more than 30 deep"),
        (deep("n", "", "-1", times=400), "nested more than 30 deep"),
        ("n" + " " * MOST_CHARACTERS, "it has 1,001 characters; at most 1,000"),
        (3, "it must be text"),
    ],
)
def test_what_is_no_expression_is_one_line_at_once(text: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    with pytest.raises(DipsimError, match=f"^x: got .*({told}).*; write ") as caught:
        holds(text)
    assert time.monotonic() - start < 1
    assert "\n" not in str(caught.value)
    assert str(caught.value).encode()
    assert capfd.readouterr() == ("", "")


def test_what_python_warns_of_does_not_reach_anybody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert holds(r"name != '\d'")
        assert holds("n == 3or x == 1")
        with pytest.raises(DipsimError, match="'is' goes with null only"):
            holds("1 is 1")


def test_the_examples_of_the_documentation_are_expressions() -> None:
    page = (Path(__file__).parent.parent / "docs" / "sweep.md").read_text()
    (examples,) = re.findall("^## Expressions\n.*?^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names = ["method", "density", "headroom", "policy", "profile.flash.derate", "gamma", "keep_input", "keep_glu"]
    row = dict.fromkeys(names) | {"method": "dip", "density": 0.5, "policy": "lru"}
    assert [holds(line, row) for line in examples.splitlines()] == [True] * 4


def test_ten_thousand_rows_are_quick() -> None:
    chosen = Expression.parse("name in ['lru', 'lfu'] and 0.1 < x * 2 <= n and not on", ["name", "x", "n", "on"], "x")
    rows = [{"name": "lfu", "x": i / 1e4, "n": i % 7, "on": i % 2 == 0} for i in range(10_000)]
    start = time.process_time()
    n_chosen = sum(map(chosen.holds, rows))
    assert time.process_time() - start < 1
    assert n_chosen == sum(i % 2 == 1 and 0.1 < i / 5e3 <= i % 7 for i in range(10_000))


def evaluating(tree: ast.AST) -> Iterator[str]:
    """Calls that run text, or code from a file. `model.eval()`, without arguments, is torch's and runs none."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        options = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if (
            re.fullmatch(r"(builtins\.)?(eval|exec|compile|__import__)", called)
            or re.fullmatch(r"(\w*pickle|marshal|dill|shelve|joblib)\.(loads?|Unpickler|open)", called)
            or called in ("os.system", "os.popen")
            or ("." in called and last == "query")
            or ("." in called and last == "eval" and (node.args or node.keywords))
            or options.get("allow_pickle", options.get("shell", "False")) != "False"
            or (called == "torch.load" and options.get("weights_only") != "True")
        ):
            yield called


def test_the_source_evaluates_no_text() -> None:
    files = sorted(Path(dipsim.__file__).parent.rglob("*.py"))
    found = {path.name: [*evaluating(ast.parse(path.read_text()))] for path in files}
    assert len(files) > 100
    # What the user names by --plugin, and what a sweep's own parent sends its workers of it.
    allowed = {"plugin_files.py": ["exec", "compile"], "plugged.py": ["cloudpickle.loads"]}
    assert {name: calls for name, calls in found.items() if calls} == allowed


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'eval')",
        "__import__(name)",
        "builtins.eval(text)",
        "frame.query(text)",
        "frame.query(expr=text)",
        "frame.eval(text, engine='python')",
        "pd.eval(text)",
        "pickle.loads(data)",
        "pickle.load(file)",
        "cloudpickle.loads(data)",
        "joblib.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_that_walk_finds(code: str) -> None:
    assert [*evaluating(ast.parse(code))]
    assert not [*evaluating(ast.parse("model.eval(); re.compile(text); np.load(path, allow_pickle=False)"))]
