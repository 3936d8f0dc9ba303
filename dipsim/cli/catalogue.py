"""`dipsim list` and `dipsim show`: what there is to choose from."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from dipsim.cli.terminal import stdout, table
from dipsim.units import scaled

list_app = typer.Typer(
    no_args_is_help=True, help="List profiles, models, methods, policies, budgets, layouts or prefetchers."
)
show_app = typer.Typer(no_args_is_help=True, help="Show one thing in full.")


@list_app.command()
def profiles() -> None:
    """Devices that ship with dipsim."""
    from dipsim import shipped
    from dipsim.profile import HardwareProfile

    rows = []
    for name in shipped.names("hwprofiles", ".toml"):
        profile = HardwareProfile.load(name)
        usable = profile.dram.capacity_bytes - profile.dram.reserved_bytes
        compute = profile.compute
        rows.append(
            [
                name,
                profile.description,
                scaled(profile.flash.read_bytes_per_s, "B/s") + (", ideal" if profile.flash.is_ideal else ", reads"),
                f"{scaled(usable, 'B')} at {scaled(profile.dram.read_bytes_per_s, 'B/s')}",
                scaled(compute.ops_per_s, "op/s") if compute and compute.ops_per_s else "not modelled",
            ]
        )
    table(["profile", "device", "Flash", "usable DRAM", "compute"], rows, left=2)


@list_app.command()
def models() -> None:
    """Model shapes known by name."""
    from dipsim.model import ModelSpec

    rows = [
        [
            name,
            str(spec.n_layers),
            str(spec.hidden_size),
            str(spec.intermediate_size),
            f"{spec.n_heads}/{spec.n_kv_heads}",
            str(spec.vocab_size),
            scaled(spec.mlp_bytes, "B"),
            scaled(spec.pinned_bytes, "B"),
            scaled(spec.kv_bytes_per_position, "B"),
        ]
        for name, spec in ModelSpec.presets().items()
    ]
    columns = ["model", "layers", "hidden", "intermediate", "heads/KV", "vocabulary", "MLP", "pinned", "KV/position"]
    table(columns, rows)


@list_app.command()
def methods() -> None:
    """Masking methods."""
    from dipsim.masking import methods as known

    table(["method", "what it does"], [[name, _first_line(known[name])] for name in known], left=2)


@list_app.command()
def policies() -> None:
    """Eviction policies, installed plug-ins included."""
    from dipsim.policies import policies as known

    rows = [[name, _first_line(known[name]), _source(known[name])] for name in known]
    table(["policy", "what it does", "source"], rows, left=3)


@list_app.command()
def budgets() -> None:
    """Ways to divide cache memory, installed plug-ins included."""
    from dipsim.budget import budgets as known

    table(["budget", "what it does"], [[name, _first_line(known[name])] for name in known], left=2)


@list_app.command()
def layouts() -> None:
    """Orders of columns in the weight file, installed plug-ins included."""
    from dipsim.layout import layouts as known

    rows = [[name, _first_line(known[name]), _source(known[name])] for name in known]
    table(["layout", "what it does", "source"], rows, left=3)


@list_app.command()
def prefetchers() -> None:
    """Guesses of what the next layer will need, installed plug-ins included."""
    from dipsim.prefetch import prefetchers as known

    rows = [[name, _first_line(known[name]), _source(known[name])] for name in known]
    table(["prefetcher", "what it reads ahead", "source"], rows, left=3)


@show_app.command()
def profile(name: Annotated[str, typer.Argument(help="A name of 'dipsim list profiles', or a TOML file.")]) -> None:
    """A device's numbers with the origin of each."""
    from dipsim.profile import HardwareProfile, find

    HardwareProfile.load(name)
    stdout.print(find(name).read_text(encoding="utf-8"), markup=False, end="", soft_wrap=True)


def _first_line(thing: object) -> str:
    """First paragraph of a docstring."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _source(thing: object) -> str:
    """What a docstring's line `Source: ...` says."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    return next((line.removeprefix("Source: ").rstrip(".") for line in lines if line.startswith("Source: ")), "")
