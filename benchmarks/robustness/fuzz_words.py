"""What fuzz.py puts where something else is expected."""

from __future__ import annotations

from typing import Any

# fmt: off
DEEP = "[" * 5000 + "]" * 5000
NASTY: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**31, 2**40, 2**63, 2**64, 10**29, -(2**63), 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), "", " ", "x" * 100_000, "\0", "\x1b[2J", "\x85\u2028", "../../x", "/dev/zero",
    "/dev/stdin", "[red]", "{x}", "%s%n", "nan", "1e999", "9" * 400, "null", "0.5x", "4GB", "__class__", "tiny",
    "\U0001f600", [], {}, [[]], [None], {"": {}}, [0] * 100_000, [[1, 2], [3]], ["a", 1, None], {"a": [1]},
    {"start": 0, "stop": 1e12, "step": 1},
)
# What JSON can say and Python's objects cannot.
RAW = (
    "1e999", "-1e999", "NaN", "-Infinity", "9" * 400, "-" + "9" * 5000, DEEP, '{"a":' * 3000 + "0" + "}" * 3000,
    '"\\ud800"', '"\\u0000"', "01", "0x10", "'a'", "{,}", "",
)
# The same for TOML and other lines of `key = value`.
LINES = (
    "1e999", "inf", "nan", "-1", "0", "9" * 400, "0x7fffffffffffffffffff", '""', '"\\u0000"', '"\\uD800"',
    '"\\u001b[2J"', DEEP, "{a = 1}", "{a = " * 2000 + "1" + "}" * 2000, "1979-05-27T07:32:00Z", "2026-13-45",
    "[1, 'a']", "[[1], [2]]", "true", "", "[", '"""a\nb"""', '"/dev/zero"', '"../x"',
    "{start = 0, stop = 1e9, step = 1e-9}", "1_000", "1e-320", "{start = 1, stop = 2, num = 1000000000000}",
    "{start = nan, stop = inf, step = 1}", "[0.1, 0.2, 0.3]", '"' + "x" * 100_000 + '"', '"a" and b', "True", "None",
    "1, 2", "#",
)
HEADS = (
    "[a]", "[[a]]", "[a.b]", "[" + ".".join("a" * 3000) + "]", ".".join("a" * 3000) + " = 1", "a.b = 1", "[flash]",
    "[[flash]]", "figure.figsize: 1e9, 1e9", "savefig.dpi: 1e9", "text.usetex: True", "font.size: nan",
    "backend: nonsense", "axes.prop_cycle: cycler('color', ['r'])", "axes.prop_cycle: __import__('os').system('true')",
    "font.family: \x1b[2J",
)
KEYS = (
    "", "a", "__class__", "extends", "schema", "name", "_", "0", "key.with.dots", "x" * 10_000, "\x1b[31m", "\u0130",
    "error",
)
BYTES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b]0;x\x07", b"\xed\xa0\x80", b"\r", b"\n\n", b"PK\5\6", b"{",
    b"\xff" * 64, b"\0" * 4096,
)
# Runs a command where it is unpickled.
PICKLE = b"cposix\nsystem\n(S'true'\ntR."
WHOLES = (
    b"", b"\0", b"{}", b"[]", b"null", b"\n", b'"a"', b"0", PICKLE, b"\x93NUMPY\x01\x00", b"PK\3\4", b"PAR1PAR1",
    bytes(20_000_000),
)
FIELDS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
MEMBERS = (
    "../{}", "/nowhere/{}", "{}/", "", "a\\b", "x" * 60_000, "\x1b[2J{}", "c/0/0/0", "zarr.json", "scores/zarr.json",
    "nul\0{}",
)
NPY_FIELDS = tuple((key, value) for key, values in {
    "'shape'": ("None", "0", "()", "(10**12,)", "(-1,)", "(1000000000000,)", "(2,)*99", "(1.5,)", "('a',)", "(True,)"),
    "'descr'": ("None", "'|O'", "'<f2'", "'|S9999999'", "[('a','<f8',(99999,))]", "'<M8[ns]'", "'>c16'", "'|V0'", "()"),
    "'fortran_order'": ("None", "True", "2"),
    "'x'": ("0",),
}.items() for value in values)
NPY_HEADERS = (
    "", "{}", "(" * 2000, "'" * 99, "{'descr': ", "0" * 60_000, "__import__('os')", "\x00", "{'descr': '<i8'}",
    "\n\n  {", "[1, 2",
)
COLUMNS = (
    0, -1, 2**62, 0.5, float("nan"), float("inf"), True, None, "", "\0", "\x1b[2J", "a" * 10_000, b"\xff", [1], [],
    {"a": 1}, "[", "[" * 3000, "{}", '{"a": NaN}', "null", "[1e999]", "x.y",
)
# Values of options.
VALUES = (
    "", " ", "0", "-0", "-1", "1", "2", "3.5", "1e999", "nan", "inf", "-inf", "1e-320", "9" * 400, "0.5x", "1e999x",
    "nanx", "-1x", "x", "0x10", "1_0", "\u0661GB", "4GB", "4gb", "4 GB", "1e400GB", "1" * 400 + "GB", "-4GB", "4GB4GB",
    "1e18B", "GB", "infGB", "a=b", "=", "a=", "flash.derate=" + "[" * 5000, "flash.derate=nan", "flash.derate=1e999",
    "flash.derate=0", "flash.read_bytes_per_s=-1", "flash.read_bytes_per_s=1e-300", "flash.read_curve=[[1,1]]",
    "flash.queue_depth=1e30", "flash.page_bytes=" + "9" * 30, "energy.idle_w=null", "compute.ops_per_s=5e-324",
    "dram.capacity_bytes=1e300", "flash.latency_s=1e308", "flash=0", "name=[red]", "name=\x1b[2J", "extends=tiny",
    "half_life=0", "half_life=1e-320", "k=2", "path=/dev/zero", "path=.", "calibration_tokens=99999999999999999999",
    "size=-1", "true", "false", "none", "null", "auto", "tiny", "held-out", "/dev/zero", "/dev/null", "/", ".", "..",
    "no/such/file", "x" * 5000, "in", "\udcff\udcfe", "\x1b[2J", "\n", "a\nb", "'", '"', "%s", "{}", "[red]", "lfu",
    "lru", "belady", "static", "random", "arc", "dip", "dip-ca", "dense", "cats", "predictor", "uniform", "marginal",
    "by-bytes", "column", "coactivation", "io", "pipelined", "priority", "always", "reweight", "blend", "top-m",
    "oracle", "previous-token", "previous-layer", "0:4", "4:2", ":", "0:0", "-1:4", "0,1", "0,,1",
)
# Of expressions: what stands for itself, and what joins it.
ATOMS = (
    "density", "policy", "tok_per_s", "`dram.capacity_bytes`", "dram", "hit_rate", "error", "nothing", "tokens",
    "gamma", "0", "1", "0.3", "-1", "1e999", "nan", "None", "True", "'lru'", '"0.6x"', "9" * 400, "1e308", "''",
    "'\\0'", "[0.3, 0.5]", "()", "(1, 2)", "{1}", "1j", "...", "@x", "@pd", "@__builtins__",
    "__import__('os').system('true')", "density.__class__", "density.map(print)", "policy.str.len()", "density[0]",
    "lambda: 0", "[x for x in [1]]", "(x := 1)", "f'{density}'", "print(1)", "open('/dev/null', 'w')", "b'a'", "`a`",
    "`a b`", "`", "\u00b5", "\x1b[2J", "\u202e", "'x' * 10**9", "# a", "9**9**9**9", "1 << 99999999", "'a' 'b'",
    "await x", "yield", "*density", "**density", "a; b", "a = 1", "a\nb", "\\",
)
JOINS = (
    "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in", "+", "-", "*", "/", "//", "%", "**", "@", "&", "|",
    "^", "<<", ">>", "is", "is not", ",", "if", "else", "", ".", ":=", "=", "~", "is null", "is not null", "&&",
)
WRAPS = ("({})", "not {}", "-{}", "~{}", "[{}]", "{}()", "abs({})", "{}.values", "{}[{}]", "{} is null", "`{}`", "'{}'")
# fmt: on
