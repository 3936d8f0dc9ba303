"""The directive `commands`: every command with its arguments and options, as `--help` tells them."""

import re
import textwrap
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from dipsim.cli import app as dipsim_app


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
    return re.sub(r"(?<![\w-])(--[a-z][a-z-]*)", r"`\1`", plain)


def typed(line: str) -> str:
    """A command line, broken where it is long."""
    together = re.sub(r" (?!-)", "\0", line)  # an option and its value
    pieces = textwrap.wrap(together, 72, break_on_hyphens=False, break_long_words=False)
    return " \\\n    ".join(pieces).replace("\0", " ")


def option(parameter) -> list[str]:
    """One argument or option: its names, and what it is for."""
    value = "" if parameter.is_flag else " VALUE"
    signature = ", ".join(f"{name}{value}" for name in (*parameter.opts, *parameter.secondary_opts))
    says = "Required." if parameter.required else ""
    if not parameter.is_flag and parameter.default is not None:
        says = f"Default: `{parameter.default}`."
    return [f":::{{option}} {signature}", told(parameter.help), says, ":::", ""]


def described(path: str, command) -> list[str]:
    """A section: what the command does, its arguments, its options by topic."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([path, *(p.name.upper() for p in arguments), *(["[OPTIONS]"] if options else [])])
    what, *examples = re.split(r"(?=Example: )", " ".join((command.help or "").split()))
    lines = [f"## {path}", "", f":::{{program}} {path}", ":::", "", told(what), "", "```text", usage]
    lines += [*(typed(example.removeprefix("Example: ")) for example in examples), "```", ""]
    for p in arguments:
        lines += [f"`{p.name.upper()}`", f": {told(p.help)}", ""]
    topics: dict[str, list] = {}
    for p in options:
        topics.setdefault(getattr(p, "rich_help_panel", None) or "", []).append(p)
    for topic, own in topics.items():
        lines += ["", f"**{topic}**", ""] if topic and len(topics) > 1 else [""]
        for p in own:
            lines += option(p)
    return lines


class Commands(SphinxDirective):
    """Sections of all commands."""

    def run(self) -> list[nodes.Node]:
        lines = [
            line for path, command in leaves(get_command(dipsim_app), "dipsim") for line in described(path, command)
        ]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
