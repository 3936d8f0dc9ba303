"""`dipsim show`: one thing in full - what it is, its options, where it comes from, and a line that tries it."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from dipsim.cli.completion import completing
from dipsim.cli.help_pages import Group
from dipsim.cli.plugged import PLUGGED, registry_of
from dipsim.cli.terminal import harmless, say
from dipsim.errors import DipsimError, meant
from dipsim.units import scaled


class _Kinds(Group):
    """A thing whose kind was left out is named with it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command, or an error that says which."""
        if args and args[0] not in self.commands and (found := _meant(args[0])):
            raise DipsimError(f"show: got '{args[0]}'; try {' or '.join(map(_quoted, found))}")
        return super().resolve_command(ctx, args)


def _quoted(words: str) -> str:
    return f"'dipsim show {words}'"


def _meant(name: str) -> list[str]:
    """Kind and name of all that it may mean: as it is, or else nearly."""
    from dipsim import shipped
    from dipsim.model import ModelSpec

    names: dict[str, Any] = {
        "profile": shipped.names("hwprofiles", ".toml"),
        "model": ModelSpec.presets(),
        "guide": shipped.names("docs", ".md"),
        **{kind: registry_of(word) for word, (kind, *_) in PLUGGED.items()},
    }
    exact = [f"{kind} {meant(name, known)}" for kind, known in names.items() if meant(name, known) is not None]
    return exact or [f"{kind} {own}" for kind, known in names.items() for own in get_close_matches(name, known, 1, 0.7)]


show_app = typer.Typer(
    cls=_Kinds, no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Show one thing in full."
)


@show_app.command()
def profile(
    name: Annotated[
        str,
        typer.Argument(help="A name of 'dipsim list profiles', or a TOML file.", autocompletion=completing("profile")),
    ],
) -> None:
    """A device's numbers, the origin of each beside it; of a variant, those of the other profile too.

    Example: dipsim show profile oneplus-12-ufs4
    """
    from dipsim.profile import HardwareProfile, find, read

    HardwareProfile.load(name)
    typer.echo(harmless(read(find(name)).as_string()), nl=False)
    say(f"try: dipsim estimate phi-3-mini --profile {name}")


@show_app.command()
def model(
    name: Annotated[
        str,
        typer.Argument(
            help="A name of 'dipsim list models', a .gguf or a config.json.", autocompletion=completing("model")
        ),
    ],
) -> None:
    """A model's shape and bits as JSON, to be edited and given as --model, and the bytes that follow from them.

    Example: dipsim show model phi-3-medium
    """
    from dipsim.model import ModelSpec

    spec = ModelSpec.load(name)
    typer.echo(harmless(spec.model_dump_json(indent=2)))
    own = {"MLP": spec.mlp_bytes, "pinned": spec.pinned_bytes, "KV cache": spec.kv_bytes_per_position}
    say(", ".join(f"{what} {scaled(n_bytes, 'B')}" for what, n_bytes in own.items()) + " a position")
    if meant(name, ModelSpec.presets()) not in (None, "tiny"):
        say("sizes are those of its published config.json")
    say(f"try: dipsim estimate {name}")


@show_app.command()
def figure(
    name: Annotated[str, typer.Argument(help="A name of 'dipsim list figures'.", autocompletion=completing("figure"))],
) -> None:
    """A figure: what it shows, and what it can be told.

    Example: dipsim show figure pareto
    """
    from dipsim.errors import choose
    from dipsim.plots import KINDS

    known = choose("figure", name, list(KINDS))
    options = " ".join(f"--{option.replace('_', '-')}" for option in KINDS[known].options)
    typer.echo(f"figure '{known}': {KINDS[known].says}\n\nOptions: {options}\n")
    typer.echo(f"Example:\n  dipsim plot RESULTS {known} -o {known}.svg")


@show_app.command()
def guide(name: Annotated[str, typer.Argument(help="A name of 'dipsim list guides'.")]) -> None:
    """A page of documentation, as text.

    Example: dipsim show guide sweep
    """
    from dipsim import shipped
    from dipsim.errors import choose

    pages = shipped.names("docs", ".md")
    typer.echo(pages[choose("guide", name, list(pages))].read_text(encoding="utf-8"), nl=False)


def _shower(word: str, kind: str, option: str, one: str | None) -> Callable[..., None]:
    argument = typer.Argument(help=f"A name of 'dipsim list {word}'.", autocompletion=completing(option))

    def shown(ctx: typer.Context, name: str) -> None:
        from dipsim.cli.plugged_pages import page

        if word == "devices" and meant(name, registry_of(word)) is None:  # whoever asks for a phone
            profile(name)
            return
        typer.echo(harmless(page(word, kind, name, ctx.make_formatter())), nl=False)

    shown.__annotations__ = {"ctx": typer.Context, "name": Annotated[str, argument], "return": None}
    shown.__doc__ = f"A {kind}: what it does, its options, where it comes from, an example."
    if one is not None:
        shown.__doc__ += f"\n\nExample: dipsim show {kind} {one}"
    return shown


for _word, (_kind, _, _option, _one) in PLUGGED.items():
    show_app.command(_kind)(_shower(_word, _kind, _option, _one))
