"""What is wrong with a command line that the parser refuses, in one line: what was typed, what may be, what to type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

from dipsim.errors import DipsimError, suggestion

_KINDS = {"N": "a whole number", "NUMBER": "a number", "SHARE": "a number, as 0.5"}


def told(error: Any, words: Sequence[str]) -> str:
    """The message.

    Args:
        error: the parser's.
        words: of the command line.
    """
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    message = " ".join(str(error.format_message()).split()).rstrip(".")
    if parameter is not None and message.startswith("Invalid value"):
        message = _wrong_kind(parameter, words) or message
    elif parameter is not None:
        usage = " ".join(context.get_usage().split()).removeprefix("Usage: ") if context is not None else ""
        message = f"{message}: {(parameter.help or '').rstrip('.')}; usage: {usage}"
    elif context is not None and message.startswith("Got unexpected extra argument"):
        message = _too_many(message, context, words)
    elif context is not None and message.startswith("No such option"):
        message = _option(message, context, words)
    elif context is not None and message.startswith("No such command") and "Did you mean" not in message:
        message = _command(message, context, words)
    page = context.command_path if context is not None else " ".join(["dipsim", *words[:1]])
    return f"{message}; '{page} --help' tells more"


def check_once(parameters: Sequence[Any], words: Sequence[str]) -> None:
    """Refuses an option that is given twice and has one value: the parser would take the last.

    Raises:
        DipsimError: one is.
    """
    names = {name: p for p in parameters if p.param_type_name == "option" for name in (*p.opts, *p.secondary_opts)}
    given = words[: words.index("--")] if "--" in words else words
    found = [names[word.partition("=")[0]] for word in given if word.partition("=")[0] in names]
    for parameter, n_times in Counter(found).items():
        if n_times > 1 and not parameter.multiple and (not parameter.is_flag or parameter.secondary_opts):
            name = max(parameter.opts, key=len)
            raise DipsimError(
                f"{name.lstrip('-')}: given {n_times} times; once, or several values as an axis of a sweep"
            )


def _wrong_kind(parameter: Any, words: Sequence[str]) -> str | None:
    """What was typed, and of which kind it must be."""
    name = max(parameter.opts, key=len)
    pairs = zip(words, [*words[1:], ""], strict=True)
    values = [own for word, own in pairs if word in parameter.opts]
    values += [word.partition("=")[2] for word in words if word.partition("=")[0] in parameter.opts and "=" in word]
    metavar = str(parameter.metavar or "")
    kind = _KINDS.get(metavar, f"one of {metavar.replace('|', ', ')}" if "|" in metavar else None)
    if not values or kind is None:
        return None
    percent = re.fullmatch(r"([0-9.]+)\s*%", values[-1])
    hint = f"; {values[-1]} is {float(percent[1]) / 100:g}" if percent and metavar != "N" else ""
    return f"{name.lstrip('-')}: got '{values[-1]}'; must be {kind}{hint}"


def _too_many(message: str, context: Any, words: Sequence[str]) -> str:
    """Words that belong to no option."""
    extra = message.partition("(s) (")[2].removesuffix(")").split(" ")
    parameters = context.command.params
    options = {name: p for p in parameters for name in p.opts if p.param_type_name == "option"}
    if f"--{extra[0].partition('=')[0]}" in options and "=" in extra[0]:
        return f"got '{extra[0]}'; write --{extra[0]}"
    at = words.index(extra[0]) if extra[0] in words else 0
    if at >= 2 and words[at - 2] in options and "=" in str(options[words[at - 2]].metavar):
        return f"got '{words[at - 1]} {extra[0]}'; write {words[at - 2]} {words[at - 1]}={extra[0]}"
    arguments = " ".join(str(p.metavar) for p in parameters if p.param_type_name == "argument")
    beside = f" beside {arguments}" if arguments else "; it takes options alone"
    return f"got '{' '.join(extra)}'{beside}{_as_option(extra[0], options)}"


def _as_option(word: str, options: Container[str]) -> str:
    """Which option has a value of that name."""
    from dipsim.cli.completion import completing

    for name in ("profile", "method", "policy", "model"):
        complete = completing(name)
        if f"--{name}" in options and complete is not None and word in complete(word):
            return f"; write --{name} {word}"
    return ""


def _option(message: str, context: Any, words: Sequence[str]) -> str:
    """An option that is not there: it may lack a dash."""
    known = {name for p in context.command.params for name in (*p.opts, *p.secondary_opts)}
    lacks = next((word for word in words if re.match(r"-[A-Za-z]\w", word) and f"-{word}" in known), None)
    return message if lacks is None else f"No such option: {lacks}; did you mean -{lacks}?"


def _command(message: str, context: Any, words: Sequence[str]) -> str:
    """A command that is not there: it may stand further on."""
    known = list(context.command.commands)
    later = next((word for word in words[1:] if word in known), None)
    if later is not None and context.parent is None:
        return f"{message}; the command comes first: dipsim {later} {words[0]} ..."
    return f"{message}{suggestion(words[0], known)}" if context.parent is not None else message
