"""What is there to say of one thing that plugs in, from its class, its docstring and where it comes from."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any, get_type_hints

from dipsim.cli.help_pages import broken, word_of
from dipsim.cli.plugged import origin, registry_of
from dipsim.cli.values import VALUES
from dipsim.description import OPTIONS, flag_of
from dipsim.registry import docstring, is_missing, options_of

_ENTRY = re.compile(r" {4}([a-z]\w*(?:, [a-z]\w*)*): ")  # of `Args:`
_REAL = "--profile oneplus-12-ufs4 --density 0.5 --dram 0.8x"  # Flash is no ideal one, and what is kept matters
# Kind -> what tries one, and how its options are typed.
_TRIED = {
    "method": ("simulate tiny --method {}", "--method-option {key}={word}"),
    "policy": ("simulate tiny --method dip --density 0.5 --policy {} --dram 0.8x", "--policy-option {key}={word}"),
    "budget": ("simulate tiny --density 0.5 --budget {} --dram 0.8x", ""),
    "layout": (f"simulate tiny {_REAL} --layout {{}}", "--layout-option {key}={word}"),
    "prefetcher": (f"simulate tiny {_REAL} --prefetch {{}}", "--prefetch-option {key}={word}"),
    "load": (f"simulate tiny {_REAL} --load {{}}", "--load-option {name}.{key}={word}"),
    "device": ("simulate tiny --devices {role}={}", ""),
}


def page(word: str, kind: str, name: str, formatter: Any) -> str:
    """What it is, where it comes from, its options, and a line that tries it.

    Args:
        word: its registry.
        kind: what one is called.
        name: its name, in any capitals.
        formatter: of pages of help, empty.

    Raises:
        DipsimError: there is none of that name, or its package is broken.
    """
    registry = registry_of(word)
    entry = registry[name]
    known = next(own for own in registry if registry.loaded(own) is entry)
    text, _, example = docstring(entry).partition("\nExample: ")
    example, _, rest = example.partition("\n\n")
    said = _parts(f"{text}\n\n{rest}".strip())
    formatter.write(
        f"{kind} '{known}', {origin(registry, known, entry)}\n\n{_wrapped(said.pop(''), formatter.width)}\n"
    )
    options = [_option(kind, known, entry, key, default, said) for key, default in options_of(entry).items()]
    if options:
        with formatter.section("Options"):
            formatter.write_dl(options, col_max=34)
    formatter.write("\nExample:\n")
    for line in (" ".join(example.split()) or _example(kind, known, entry)).split(" && "):
        formatter.write(textwrap.indent("\n".join(broken(line)), "  ") + "\n")
    return str(formatter.getvalue())


def _parts(text: str) -> dict[str, str]:
    """What a docstring says of each option, and under '' all else."""
    before, _, arguments = text.partition("\nArgs:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    lines = arguments.splitlines()
    while lines and (not lines[0] or lines[0].startswith(" ")):
        line = lines.pop(0)
        if entry := _ENTRY.match(line):
            names, line = entry[1].split(", "), line[entry.end() :]
        for name in names:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found | {"": "\n".join([before.rstrip(), *(["", *lines] if lines else [])])}


def _wrapped(text: str, width: int) -> str:
    """Paragraphs at that width; a line such as `Source: ...` begins anew."""
    lines = [
        " ".join(line.split()) for part in text.split("\n\n") for line in [*re.split(r"\n(?=[A-Z]\w+: )", part), ""]
    ]
    return "\n".join(textwrap.fill(line, width) for line in lines).rstrip()


def _option(kind: str, name: str, entry: Any, key: str, default: object, said: dict[str, str]) -> tuple[str, str]:
    """How it is typed, and what it is; said by a class above where its own does not."""
    above = [_parts(inspect.cleandoc(one.__doc__ or "")) for one in getattr(entry, "__mro__", ())]
    text = next((own[key] for own in (said, *above) if key in own), "")
    shown = "[required]" if is_missing(default) else f"[default: {_plain(default)}]"
    return _typed(kind, name, entry, key), f"{text} {shown}".strip()


def _plain(default: object) -> str:
    """As it is typed."""
    if default is None or isinstance(default, bool):
        return {None: "none", True: "true", False: "false"}[default]
    if isinstance(default, list | tuple):
        return json.dumps(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def _typed(kind: str, name: str, entry: Any, key: str) -> str:
    """The option of the command line, and a word for its value."""
    try:
        annotation = get_type_hints(entry).get(key)
    except Exception:  # names that only a type checker knows, in whosever class
        annotation = None
    word = "true|false" if annotation is bool else word_of(annotation)
    flags = {option.sets: own for own, option in OPTIONS.items() if option.sets}
    if kind != "method" or key not in flags:
        return _TRIED[kind][1].format(name=name, key=key, word=word)
    return f"--{flag_of(flags[key])}" + ("" if annotation is bool else f" {VALUES.get(flags[key], word)}")


def _example(kind: str, name: str, entry: Any) -> str:
    """A line that tries it, with what must be given."""
    role = next((one.__name__.removesuffix("Device").lower() for one in getattr(entry, "__mro__", ())[1:2]), "flash")
    line = f"dipsim {_TRIED[kind][0].format(name, role=role)}"
    options = options_of(entry)
    if kind == "method" and "density" in options:
        line += " --density 0.7"
    needed = [key for key, default in options.items() if is_missing(default) and key != "density"]
    file = getattr(inspect.getmodule(entry), "__file__", None)
    own = f" --plugin {Path(file)}" if file and entry.__module__.startswith("dipsim_plugin_") else ""
    return line + "".join(f" {_typed(kind, name, entry, key)}" for key in needed) + own
