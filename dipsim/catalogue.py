"""What there is to choose from, beside what plugs in: devices, models, fitted scores and figures that dipsim knows."""

from __future__ import annotations

from dipsim import shipped
from dipsim.devices import Flash
from dipsim.listing import Listing
from dipsim.model import ModelSpec
from dipsim.profile import HardwareProfile


def profiles() -> Listing:
    """Devices that ship with dipsim: rates of Flash in sequence and of random reads at a full queue, DRAM that apps may
    use, compute. `HardwareProfile.load(name)` is one in full."""
    return Listing("profile", {name: _device(name) for name in shipped.names("hwprofiles", ".toml")})


def _device(name: str) -> dict[str, str | float | None]:
    profile = HardwareProfile.load(name)
    flash, dram, compute = profile.flash, profile.dram, profile.compute
    return {
        "flash_bytes_per_s": flash.read_bytes_per_s * flash.derate,
        "reads_of_4_KiB_bytes_per_s": Flash(flash).random_bytes_per_s(4096),
        "reads_of_64_KiB_bytes_per_s": Flash(flash).random_bytes_per_s(65536),
        "latency_s": flash.latency_s or None,
        "usable_dram_bytes": dram.capacity_bytes - dram.reserved_bytes,
        "dram_bytes_per_s": dram.read_bytes_per_s,
        "compute_ops_per_s": None if compute is None else compute.ops_per_s,
        "other_units": None if compute is None else " ".join(sorted(compute.units)),
        "description": profile.description,
    }


def models() -> Listing:
    """Model shapes known by name, and their bytes at the default bits. `ModelSpec.load(name)` is one in full."""
    return Listing("model", {name: _shape(model) for name, model in ModelSpec.presets().items()})


def _shape(model: ModelSpec) -> dict[str, str | float | None]:
    own = model.mixture
    return {
        "layers": model.n_layers,
        "hidden": model.hidden_size,
        "width": model.intermediate_size if own is None else own.expert_size,
        "experts": None if own is None else f"{own.experts_per_token} of {own.n_experts}",
        "heads_kv": f"{model.n_heads}/{model.n_kv_heads}",
        "mlp_bytes": model.mlp_bytes,
        "pinned_bytes": model.pinned_bytes,
        "kv_of_a_position_bytes": model.kv_bytes_per_position,
    }


def fitted() -> Listing:
    """Real models whose scores `synthesize(like=name)` imitates, and what was recorded of them."""
    from dipsim.synthetic import fitted

    sources = {name: fitted.load(name).source for name in fitted.names()}
    return Listing(
        "model",
        {name: {"tokens": said["tokens"], "text": said["text"]["name"]} for name, said in sources.items()},
    )


def figures() -> Listing:
    """Figures of `dipsim.plots.draw` and of `dipsim plot`, and what each can be told."""
    from dipsim.plots import KINDS

    return Listing(
        "figure",
        {name: {"what_it_shows": kind.says, "options": ", ".join(kind.options)} for name, kind in KINDS.items()},
    )
