"""Which rows does a line of text choose? Conditions over columns: a part of Python's expressions, and no more of it.

    condition  = condition "or" condition | condition "and" condition | "not" condition | comparison | value
    comparison = value (("==" | "!=" | "<" | "<=" | ">" | ">=") value)...     chains too: 0.2 < density <= 0.5
               | value ["not"] "in" "[" constant "," ... "]"                  or between parentheses
               | value "is" ["not"] "null"
    value      = column | constant | "-" value | value ("+" | "-" | "*" | "/" | "//" | "%") value | "(" condition ")"
    column     = name | "`" any name "`"                                      with a dot: `dram.cache_bytes`
    constant   = 12 | 1.5e9 | "text" | 'text' | true | false                  True, False, None, too

Precedence and arithmetic are Python's; line breaks count as blanks. Text is read, never run: there are no attributes,
calls, subscripts, powers, nor names but those of columns. An expression has at most 1,000 characters and is nested at
most 30 deep.

Null is what is missing. It equals nothing and is in no list: of comparisons only `!=` and `not in` are true of it.
Arithmetic with it is null, and so is what has no finite result (x / 0). As a condition it is false. A number and a
text are never equal and have no order: to ask for one is an error, as is arithmetic with text. `and` and `or` look at
their right side only where the left one leaves it open.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

from dipsim.errors import DipsimError, suggestion

MOST_CHARACTERS = 1_000
MOST_DEPTH = 30
# Of constants and results; far enough from the end of floating point that no whole number overflows it.
_MOST = 1e300
_MOST_COLUMNS_NAMED = 20

Row = Mapping[str, Any]
_Value = Callable[[Row], Any]
_Column = Callable[[str], _Value]

_CALCULATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_WORDS = {"true": "True", "false": "False", "null": "None"}
# Text, a column in backticks, blanks, and whatever else an expression may be written with.
_PIECE = re.compile(
    r"""(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|`(?P<column>[^`\n]+)`|(?P<blank>\s+)"""
    r"""|(?P<plain>[\w.,()\[\]+\-*/%<>=!]+)"""
)
_RULE = (
    """write 'policy == "lfu" and density < 0.5'; a column with a dot stands in backticks: '`dram.cache_bytes` > 1e9'"""
)
_HINTS: dict[type[ast.AST], str] = {
    ast.Attribute: "a '.' in a name that is not in backticks",
    ast.List: "a list goes with 'in' only",
    ast.Tuple: "a list goes with 'in' only",
}


class _FaultError(Exception):
    """What is wrong with an expression, or with it on a row."""


@dataclass(frozen=True)
class Expression:
    """A condition on rows, in the language of this module.

    Attributes:
        text: as it was written.
        names: columns that it looks at, one at least.
    """

    text: str
    names: tuple[str, ...]
    _where: str
    _value: _Value

    @classmethod
    def parse(cls, text: object, columns: Collection[str], where: str) -> Self:
        """Reads it.

        Args:
            text: the expression.
            columns: names that there are.
            where: opens the message.

        Raises:
            DipsimError: no such expression, or it names a column that is not there, or none.
        """
        try:
            tree, in_backticks = _parsed(text)
            names: dict[str, None] = {}

            def column(name: str) -> _Value:
                own = in_backticks.get(name, name)
                names[own] = None
                return _reading(own, columns)

            value = _value(tree, column)
            if not names:
                raise _FaultError("it names no column")
        except _FaultError as fault:
            raise _error(where, text, fault) from None
        return cls(str(text), tuple(names), where, value)

    def holds(self, row: Row) -> bool:
        """Whether it is true of a row: a value for each of `names`; None and NaN are null.

        Raises:
            DipsimError: values cannot be compared or calculated with as it says, or it is neither true nor false.
        """
        try:
            return _truth(self._value(row))
        except _FaultError as fault:
            raise _error(self._where, self.text, fault) from None


def _reading(column: str, known: Collection[str]) -> _Value:
    if column not in known:
        choices = suggestion(column, known)
        close = choices.partition(" (choices")[0]
        told = close if "did you mean" in close else choices if len(known) <= _MOST_COLUMNS_NAMED else ""
        raise _FaultError(f"no column {_short(column)}{told}; text stands in quotes")

    def value(row: Row) -> Any:
        value = row[column]
        return None if isinstance(value, float) and value != value else value

    return value


def _parsed(text: object) -> tuple[ast.expr, dict[str, str]]:
    """The tree of an expression, and the columns in backticks by the names that they have in it."""
    if not isinstance(text, str):
        raise _FaultError("it must be text")
    if len(text) > MOST_CHARACTERS:
        raise _FaultError(f"it has {len(text):,} characters; at most {MOST_CHARACTERS:,}")
    source, in_backticks = _as_python(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as of `1is 1`, which is refused below
            tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise _FaultError(error.msg) from None
    except (ValueError, MemoryError, RecursionError):  # NULs and half characters; deeper than Python goes
        raise _FaultError("it cannot be read") from None
    level: list[ast.AST] = [tree]
    for _ in range(MOST_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree, in_backticks
    raise _FaultError(f"it is nested more than {MOST_DEPTH} deep")


def _as_python(text: str) -> tuple[str, dict[str, str]]:
    """Names in backticks become names of Python's that cannot stand in the text otherwise."""
    free = "_"
    while free in text:
        free += "_"
    pieces: list[str] = []
    in_backticks: dict[str, str] = {}
    at = depth = 0
    last = ""
    while at < len(text):
        if (piece := _PIECE.match(text, at)) is None:
            raise _FaultError(_misplaced(text[at]))
        at, kind, said = piece.end(), str(piece.lastgroup), piece[0]
        if kind == "column":
            in_backticks[name := f"{free}{len(in_backticks)}"] = piece["column"]
            said = f" {name} "  # so that what stands beside it does not become part of it
        elif kind == "plain":
            depth = _depth(said, depth)
            said = re.sub(r"\b(true|false|null)\b", lambda word: _WORDS[word[0]], said)
        elif kind == "text" and last == "text":
            raise _FaultError("two texts stand beside each other")
        pieces.append(" " if kind == "blank" else said)
        last = last if kind == "blank" else kind
    if not (source := "".join(pieces).strip()):
        raise _FaultError("it is empty")
    return source, in_backticks


def _depth(plain: str, depth: int) -> int:
    """Of open brackets after some more text: bounded before Python's own parser sees them."""
    if re.search("(?<![=!<>])=(?!=)", plain):
        raise _FaultError("a single '='; write '=='")
    for sign in plain:
        depth += (sign in "([") - (sign in ")]")
        if depth > MOST_DEPTH:
            raise _FaultError(f"it is nested more than {MOST_DEPTH} deep")
    return depth


def _misplaced(sign: str) -> str:
    if sign in "&|~":
        return "write and, or, not in place of &, |, ~"
    return f"{sign!r} is not closed" if sign in "\"'`" else f"{sign!r} may not stand in it"


def _value(node: ast.expr, column: _Column) -> _Value:
    """What computes a node's value on a row."""
    refused: ast.AST = node
    match node:
        case ast.Constant(value=constant):
            _check_constant(constant)
            return lambda row: constant
        case ast.Name(id=name):
            return column(name)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _value(operand, column)
            return lambda row: not _truth(inner(row))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _value(operand, column)
            return lambda row: _calculated(operator.sub, 0, inner(row))
        case ast.BoolOp(op=op, values=operands):
            parts = [_value(operand, column) for operand in operands]
            combined = all if isinstance(op, ast.And) else any
            return lambda row: combined(_truth(part(row)) for part in parts)
        case ast.BinOp(left=left, op=op, right=right):
            if (calculation := _CALCULATIONS.get(type(op))) is not None:
                first, second = _value(left, column), _value(right, column)
                return lambda row: _calculated(calculation, first(row), second(row))
            refused = op
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[right]):
            first, choices, is_in = _value(left, column), _choices(right), isinstance(op, ast.In)
            return lambda row: (_single(first(row)) in choices) is is_in
        case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(value=None)]):
            first, is_null = _value(left, column), isinstance(op, ast.Is)
            return lambda row: (first(row) is None) is is_null
        case ast.Compare(left=left, ops=ops, comparators=rights):
            if any(isinstance(op, ast.In | ast.NotIn | ast.Is | ast.IsNot) for op in ops):
                raise _FaultError("'is' goes with null only, and neither 'is' nor 'in' is part of a chain")
            return _chain([type(op) for op in ops], [_value(each, column) for each in (left, *rights)])
    raise _FaultError(_HINTS.get(type(refused), f"no {type(refused).__name__.lower()} may stand in it"))


def _chain(kinds: list[type[ast.cmpop]], values: list[_Value]) -> _Value:
    def holds(row: Row) -> bool:
        left = values[0](row)
        for kind, value in zip(kinds, values[1:], strict=True):
            right = value(row)
            if not _compared(kind, left, right):
                return False
            left = right
        return True

    return holds


def _choices(node: ast.expr) -> frozenset[Any]:
    """The constants of a list."""
    if not isinstance(node, ast.List | ast.Tuple):
        raise _FaultError("""'in' goes with a list: policy in ["lru", "lfu"]""")
    try:
        constants = ast.literal_eval(node)
    except ValueError:
        raise _FaultError("a list holds constants only") from None
    for constant in constants:
        _check_constant(constant)
    return frozenset(constants)


def _check_constant(constant: object) -> None:
    if constant is None:
        raise _FaultError("null stands after 'is' only: write 'is null'")
    if not isinstance(constant, bool | int | float | str) or (_is_number(constant) and not abs(constant) <= _MOST):
        raise _FaultError(f"{_short(constant)} is neither text nor a number that can be compared")


def _compared(kind: type[ast.cmpop], left: Any, right: Any) -> bool:
    if _single(left) is None or _single(right) is None:
        return kind is ast.NotEq
    if kind in (ast.Eq, ast.NotEq):
        return bool(left == right) is (kind is ast.Eq)
    if not (_is_number(left) and _is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise _FaultError(f"{_short(left)} and {_short(right)} have no order")
    return _ORDERS[kind](left, right)


def _calculated(calculation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    for value in (left, right):
        if not _is_number(value):
            raise _FaultError(f"{_short(value)} is no number to calculate with")
    try:
        result = calculation(left, right)
    except (ZeroDivisionError, OverflowError):
        return None
    return result if abs(result) <= _MOST else None


def _truth(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _FaultError(f"{_short(value)} is neither true nor false")


def _single(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _FaultError(f"{_short(value)} is no single value to compare")


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    said = " ".join(repr(value).split())
    return said if len(said) <= 80 else f"{said[:77]}..."


def _error(where: str, text: object, fault: _FaultError) -> DipsimError:
    return DipsimError(f"{where}: got {_short(text)}; {fault}; {_RULE}")
