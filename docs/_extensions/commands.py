"""A page for each command, with its arguments and options as `--help` tells them; the directive `commands` lists them.

The pages are written before the others are read, into reference/commands/, which git leaves alone.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command
from typer.testing import CliRunner

from dipsim.cli import app as dipsim_app

FOLDER = Path(__file__).parent.parent / "reference" / "commands"
# What stands for a value, where the command line itself has no word for it.
WORDS = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "FILE", "file": "FILE"}


def leaves(command, path: str) -> Iterator[tuple[str, object]]:
    """Commands without groups, by what a reader types."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
    for name, own in (below or {}).items():
        yield from leaves(own, f"{path} {name}")


def told(text: str | None) -> str:
    """Help in one line, with nothing in it that Markdown would take for its own, and options as code."""
    plain = re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", " ".join((text or "").split()))
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]*(?:=[\w.-]*\w)?)", r"`\1`", plain)


def typed(line: str) -> str:
    """A command line, broken where it is long."""
    together = re.sub(r" (?!-)", "\0", line)  # an option and its value
    pieces = textwrap.wrap(together, 72, break_on_hyphens=False, break_long_words=False)
    return " \\\n    ".join(pieces).replace("\0", " ")


def word_of(parameter, context: typer.Context) -> str:
    """What kind of value it takes."""
    if parameter.metavar:
        return parameter.metavar
    kind = parameter.display_type(context).strip("<>").removeprefix("list[").removesuffix("]")
    return WORDS.get(kind, kind)


def option(parameter, context: typer.Context) -> list[str]:
    """One option: its names, the kind of its value, what it is for."""
    value = "" if parameter.is_flag else f" {word_of(parameter, context)}"
    signature = ", ".join(f"{name}{value}" for name in (*parameter.opts, *parameter.secondary_opts))
    says = "Required." if parameter.required else ""
    if not parameter.is_flag and parameter.default is not None:
        says = f"Default: `{parameter.default}`."
    return [f":::{{option}} {signature}", told(parameter.help), says, ":::", ""]


def described(path: str, command, level: int) -> list[str]:
    """A section: what the command does, its arguments, its options by topic."""
    context = typer.Context(command)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([path, *(p.name.upper() for p in arguments), *(["[OPTIONS]"] if options else [])])
    what, *examples = re.split(r"(?=Example: )", " ".join((command.help or "").split()))
    lines = [f"{'#' * level} {path}", "", f":::{{program}} {path}", ":::", "", told(what), "", *output(usage)]
    for example in examples:
        lines += ["```sh", typed(example.removeprefix("Example: ")), "```", ""]
    for p in arguments:
        lines += [f"`{p.name.upper()}`", f": {told(p.help)}", ""]
    topics: dict[str, list] = {}
    for p in options:
        topics.setdefault(getattr(p, "rich_help_panel", None) or "", []).append(p)
    for topic, own in topics.items():
        lines += ["", f"{'#' * (level + 1)} {topic}", ""] if topic and len(topics) > 1 else [""]
        for p in own:
            lines += option(p, context)
    if path.startswith("dipsim list "):
        lines += output(printed(path))
    return lines


def output(text: str) -> list[str]:
    """A block that nobody would copy into a shell."""
    return [":::{code-block} text", ":class: output", "", text, ":::", ""]


def printed(path: str) -> str:
    """What the command prints."""
    done = CliRunner().invoke(dipsim_app, path.split()[1:], env={"COLUMNS": "180"}, catch_exceptions=False)
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def page(name: str, command) -> str:
    """All of a command, or of a group of commands."""
    path = f"dipsim {name}"
    if not hasattr(command, "commands"):
        return "\n".join(described(path, command, 1))
    lines = [f"# {path}", "", told(command.help), ""]
    for below, own in leaves(command, path):
        lines += described(below, own, 2)
    return "\n".join(lines)


def write_pages(app: Sphinx) -> None:
    """Writes those that have changed, and removes those of commands that there are no longer."""
    FOLDER.mkdir(exist_ok=True)
    pages = {FOLDER / f"{name}.md": page(name, own) for name, own in get_command(dipsim_app).commands.items()}
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in set(FOLDER.glob("*.md")) - set(pages):
        path.unlink()


class Commands(SphinxDirective):
    """A table of all commands, each with the first sentence of its help."""

    def run(self) -> list[nodes.Node]:
        lines = ["| command | what it does |", "|---|---|"]
        for name, own in get_command(dipsim_app).commands.items():
            sentence = re.split(r"(?<=[.?]) ", " ".join((own.help or "").split()))[0]
            lines.append(f"| [dipsim {name}](commands/{name}.md) | {told(sentence)} |")
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", lambda app, config: write_pages(app))
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
