"""What stands for the value of a run's option in `--help`: a word, or all that it may be."""

from __future__ import annotations

_SHARED = {
    "NAME": ("method", "policy", "budget", "layout", "prefetch", "unit", "loads"),
    "NAME|FILE": ("profile", "model"),
    "NAME=VALUE": ("method_options", "policy_options", "layout_options", "prefetch_options"),
    "SHARE": ("density", "keep_input", "keep_glu", "gamma", "given_hit_rate"),
    "BYTES": ("dram", "cache_bytes", "prefetch_bytes", "adapter_bytes", "predictor_bytes"),
}
# Of other options the kind of number, or TEXT.
VALUES: dict[str, str] = {name: word for word, names in _SHARED.items() for name in names} | {
    "profile_values": "KEY=VALUE",
    "keeps": "FILE",
    "calibration": "TRACE",
    "rule": "reweight|blend|top-m|drop",
    "admission": "always|priority",
    "cache_scope": "layer|shared",
    "prompt": "warm|cold",
    "units": "NAME=SHARE,...",
    "overlap": "none|io|pipelined",
    "engine": "auto|processes|compiled",
    "load_options": "NAME.KEY=VALUE",
    "devices": "ROLE=NAME",
}
