"""`dipsim list`: what there is to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dipsim.cli.help_pages import Group
from dipsim.cli.plugged import add_listers
from dipsim.cli.terminal import table
from dipsim.units import scaled, three_digits

if TYPE_CHECKING:
    from dipsim.profile import HardwareProfile

list_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List profiles, models, figures, or whatever plugs in by name.",
)


@list_app.command()
def profiles() -> None:
    """Devices that ship with dipsim: Flash (random reads at a full queue), DRAM, compute, energy."""
    from dipsim import shipped
    from dipsim.profile import HardwareProfile

    rows = []
    for name in shipped.names("hwprofiles", ".toml"):
        profile = HardwareProfile.load(name)
        rows.append([name, *_flash(profile), *_dram(profile), *_compute(profile), _energy(profile)])
    flash = ["Flash\nMB/s", "4 KiB\nMB/s", "64 KiB\nMB/s", "\nlatency", "\ndepth"]
    others = ["DRAM\nGB", "\nGB/s", "peak\nGB/s", "compute\nop/s", "other\nunits", "\nenergy"]
    table(["\nprofile", *flash, *others], rows)


def _flash(profile: HardwareProfile) -> list[str]:
    """Rates of sequential reading and of random reads at a full queue, latency, depth."""
    from dipsim.devices import Flash

    flash = profile.flash
    rates = [flash.read_bytes_per_s * flash.derate, *map(Flash(flash).random_bytes_per_s, (4096, 65536))]
    latency = scaled(flash.latency_s, "s") if flash.latency_s else "-"
    return [*(three_digits(rate / 1e6) for rate in rates), latency, str(flash.queue_depth or "-")]


def _dram(profile: HardwareProfile) -> list[str]:
    """Usable memory, achieved rate, the data sheet's rate."""
    dram = profile.dram
    peak = "-" if dram.peak_bytes_per_s is None else three_digits(dram.peak_bytes_per_s / 1e9)
    usable = dram.capacity_bytes - dram.reserved_bytes
    return [three_digits(usable / 1e9), three_digits(dram.read_bytes_per_s / 1e9), peak]


def _compute(profile: HardwareProfile) -> list[str]:
    """Rate of the default unit, names of the others."""
    compute = profile.compute
    if compute is None:
        return ["-", "-"]
    rate = "-" if compute.ops_per_s is None else scaled(compute.ops_per_s, "")
    return [rate.replace(" ", ""), " ".join(sorted(compute.units)) or "-"]


def _energy(profile: HardwareProfile) -> str:
    """Whether it is reported, and what is missing where only a part is known."""
    if profile.energy is None:
        return "-"
    return next((f"no {name}" for name in profile.energy.missing(profile.compute)), "yes")


@list_app.command()
def models() -> None:
    """Model shapes known by name."""
    from dipsim.model import ModelSpec

    rows = [
        [
            name,
            str(spec.n_layers),
            str(spec.hidden_size),
            str(spec.intermediate_size if spec.mixture is None else spec.mixture.expert_size),
            "-" if spec.mixture is None else f"{spec.mixture.experts_per_token} of {spec.mixture.n_experts}",
            f"{spec.n_heads}/{spec.n_kv_heads}",
            str(spec.vocab_size),
            scaled(spec.mlp_bytes, "B"),
            scaled(spec.pinned_bytes, "B"),
            scaled(spec.kv_bytes_per_position, "B"),
        ]
        for name, spec in ModelSpec.presets().items()
    ]
    columns = [
        "model",
        "layers",
        "hidden",
        "width",
        "experts",
        "heads/KV",
        "vocabulary",
        "MLP",
        "pinned",
        "KV/position",
    ]
    table(columns, rows)


@list_app.command()
def fitted() -> None:
    """Real models whose scores 'dipsim synth --like' imitates, and what was recorded of them."""
    from dipsim.synthetic import fitted

    rows = []
    for name in fitted.names():
        own = fitted.load(name)
        said = own.source
        text = f"{said['tokens']} tokens of {said['text']['name']}, in sequences of {said['sequence_tokens']}"
        rows.append([name, str(len(own.sites["glu"])), text, said["model_sha256"][:12]])
    table(["model", "layers", "fitted to", "sha256"], rows, left=1)


@list_app.command()
def guides() -> None:
    """Pages of documentation that are here, for 'dipsim show guide'."""
    from dipsim import shipped

    rows = []
    for name, path in shipped.names("docs", ".md").items():
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        rows.append([name, title])
    table(["guide", "what it is about"], [row for row in rows if row[0] != "index"], left=2)


@list_app.command()
def figures() -> None:
    """Figures of 'dipsim plot', and what each can be told."""
    from dipsim.plots import KINDS

    rows = [
        [name, kind.says, " ".join(f"--{option.replace('_', '-')}" for option in kind.options)]
        for name, kind in KINDS.items()
    ]
    table(["figure", "what it shows", "options"], rows, left=3)


add_listers(list_app)
