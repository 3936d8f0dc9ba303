"""Which options has a run: the record of them all, in the order in which people are told of them.

An option is one line here. From it come the flag of every command, the key of a sweep's spec, the argument of
`Simulation` with its documentation, and the entry of a result's `config`; what it does stands where it is used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pydantic

from dipsim.description.option import CACHE, FLASH, METHOD, RUN, Interval, Option
from dipsim.description.values import Names, Tables
from dipsim.schema import Record, ShortText

Share = float | tuple[float, ...] | list[float]
# An option of the method, or of what makes one.
_of_method = partial(Option, panel=METHOD, makes="masking")
Whole = Annotated[int, pydantic.Field(ge=-(2**40), le=2**40)]  # each option has its own bounds, and says so


class Description(Record):
    """Everything but the trace, in plain values."""

    profile: Annotated[str, Option("Device: a name of 'dipsim list profiles' or a TOML file.", makes="profile")] = (
        "a18-paper"
    )
    profile_values: Annotated[
        dict[str, Any],
        Option(
            "Another value in the profile, as KEY=VALUE (for example flash.derate=0.67, energy.idle_w=null); may be "
            "given several times.",
            flag="set",
            makes="profile",
        ),
    ] = pydantic.Field(default_factory=dict)
    method: Annotated[str, _of_method("A name of 'dipsim list methods'.", thing="Method")] = "dip-ca"
    density: Annotated[
        float | None,
        _of_method(
            "Active share of the three MLP matrices, in (0, 1]; for dip and dip-ca 0.7 by default. 0.5, with gamma 0.2 "
            "the published setting, ruins models of a billion weights or less.",
            sets="density",
            searched=Interval(0.1, 1.0, 0.005),
        ),
    ] = None
    keep_input: Annotated[
        Share | None,
        _of_method("dip, dip-ca: share kept at the MLP's input, instead of --density.", sets="keep_input"),
    ] = None
    keep_glu: Annotated[
        Share | None,
        _of_method("dip, dip-ca: share kept at the down projection, instead of --density.", sets="keep_glu"),
    ] = None
    keeps: Annotated[
        str | None,
        _of_method("dip, dip-ca: a file of 'dipsim allocate' with both keeps, instead of --density.", kind=Path),
    ] = None
    gamma: Annotated[
        float | None,
        _of_method(
            "dip-ca, experts-ca: weight of columns that are not resident, in [0, 1]; 1 is dip, 0.2 the default, as "
            "published.",
            sets="gamma",
            searched=Interval(0.05, 1.0, 0.01),
        ),
    ] = None
    rule: Annotated[
        str | None,
        _of_method("dip-ca, experts-ca: reweight (default), blend or top-m; experts-ca also drop.", sets="rule"),
    ] = None
    exempt_top: Annotated[
        Whole | None,
        _of_method("dip-ca, experts-ca: this many best columns escape the penalty; 0 by default.", sets="exempt_top"),
    ] = None
    gamma_warm_up: Annotated[
        bool, _of_method("dip-ca: let gamma start at 1 in each sequence and decay.", sets="warm_up")
    ] = False
    top_m: Annotated[
        float | None, _of_method("dip-ca, experts-ca, rule top-m: m as a multiple of k; 2 by default.", sets="top_m")
    ] = None
    calibration: Annotated[
        str | None,
        _of_method(
            "cats, which needs it: a trace with scores at site gate, of other text, that thresholds "
            "are taken from; none by default."
        ),
    ] = None
    rank: Annotated[
        Whole | None,
        _of_method(
            "predictor: width of its hidden layer, which costs bytes; by default that of the file by "
            "which the trace was made.",
            sets="rank",
        ),
    ] = None
    experts_per_token: Annotated[
        Whole | None,
        _of_method(
            "experts, experts-ca: how many experts a token uses; as many as the model does by default.",
            sets="per_token",
        ),
    ] = None
    method_options: Annotated[
        dict[str, Any],
        _of_method(
            "An option of the method that has no flag of its own, as NAME=VALUE; may be given several times.",
            flag="method-option",
        ),
    ] = pydantic.Field(default_factory=dict)
    policy: Annotated[
        ShortText,
        Option(
            "Eviction: a name of 'dipsim list policies'.",
            CACHE,
            thing="Policy",
            # Those that are compiled and know nothing of the future.
            searched=("lfu", "lru", "lfu-in-cache", "fifo"),
        ),
    ] = "lfu"
    policy_options: Annotated[
        dict[str, Any],
        Option(
            "An option of the policy, as NAME=VALUE (for example half_life=32); may be given several times.",
            CACHE,
            flag="policy-option",
            makes="policy",
        ),
    ] = pydantic.Field(default_factory=dict)
    admission: Annotated[
        ShortText,
        Option(
            "'always': active columns enter; 'priority': only what beats the resident ones.",
            CACHE,
            searched=("always", "priority"),
        ),
    ] = "always"
    dram: Annotated[
        ShortText | float | None,
        Option(
            "Memory for this model: 4GB, 512MiB or a number of bytes; 0.5x = half of attention + LM head + KV cache + "
            "MLP; mlp:0.5 = half of the MLP and all of the rest; the device's own by default.",
            CACHE,
        ),
    ] = None
    cache_bytes: Annotated[
        ShortText | float | None,
        Option(
            "Memory for the columns that come and go, as 4000MiB, instead of --dram: attention, LM head, KV cache and "
            "groups that are not masked lie beside it.",
            CACHE,
        ),
    ] = None
    cache_scope: Annotated[
        ShortText,
        Option(
            "'layer': each group of each layer has a part of the cache; 'shared': one cache of the same bytes for all, "
            "in which budgets divide nothing.",
            CACHE,
        ),
    ] = "layer"
    given_hit_rate: Annotated[
        float | None,
        Option(
            "Share of the active columns of each token and group that is in DRAM, in [0, 1], taken as given (a "
            "published one, say) instead of what the caches would make of it.",
            CACHE,
        ),
    ] = None
    prompt: Annotated[
        ShortText | None,
        Option(
            "'warm': what the prompt uses stays in the cache, the default where the trace knows it; "
            "'cold': nothing does.",
            CACHE,
        ),
    ] = None
    budget: Annotated[
        ShortText,
        Option(
            "How cache memory becomes slots: uniform, by-bytes, marginal, or another of 'dipsim list budgets'.",
            CACHE,
            searched=("uniform", "by-bytes", "marginal"),
        ),
    ] = "uniform"
    context: Annotated[
        Whole | None, Option("Positions the KV cache is sized for; the trace's longest sequence by default.", CACHE)
    ] = None
    stream_pinned: Annotated[
        bool, Option("Stream attention and LM head from Flash where DRAM is too small for them, or refuse.", CACHE)
    ] = True
    layout: Annotated[
        ShortText,
        Option(
            "How columns lie in Flash: a name of 'dipsim list layouts'.",
            FLASH,
            thing="Layout",
            searched=("column", "coactivation"),
        ),
    ] = "column"
    layout_options: Annotated[
        dict[str, Any],
        Option(
            "An option of the layout, as NAME=VALUE: bundled=false stores each matrix apart; may be given several "
            "times.",
            FLASH,
            flag="layout-option",
            makes="layout",
        ),
    ] = pydantic.Field(default_factory=dict)
    io_depth: Annotated[
        Whole | None,
        Option(
            "Reads that the runtime keeps in flight (its I/O threads); as many as a step has, and the device takes, by "
            "default.",
            FLASH,
        ),
    ] = None
    prefetch: Annotated[
        ShortText,
        Option(
            "Read ahead while Flash would idle: a name of 'dipsim list prefetchers'; needs --overlap pipelined.",
            FLASH,
            thing="Prefetcher",
        ),
    ] = "none"
    prefetch_options: Annotated[
        dict[str, Any],
        Option(
            "An option of the prefetcher, as NAME=VALUE; may be given several times.",
            FLASH,
            flag="prefetch-option",
            makes="prefetch",
        ),
    ] = pydantic.Field(default_factory=dict)
    prefetch_bytes: Annotated[
        ShortText | float | None,
        Option(
            "Most bytes read ahead for one layer, as 2MB; DRAM keeps two such buffers. A 64th of a layer's MLP by "
            "default, of a mixture the experts of a token.",
            FLASH,
        ),
    ] = None
    prefetch_layers: Annotated[
        Whole | None,
        Option(
            "Layers read ahead together, beginning while the first of those before is worked on; as many as lie side "
            "by side (layout layer-groups) by default, else 1. Each has buffers of its own.",
            FLASH,
        ),
    ] = None
    adapter_bytes: Annotated[
        ShortText | float | None,
        Option(
            "Bytes of an adapter (LoRA) that is not merged, as 20MB: pinned and used by every token; 0 by default.",
            CACHE,
        ),
    ] = None
    predictor_bytes: Annotated[
        ShortText | float | None,
        Option(
            "Bytes of a predictor in each layer, as 10MB, on top of what the method has: pinned, "
            "used by every token; 0 by default.",
            CACHE,
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            "Same shape, other numbers (such as bits): a preset, a .gguf, a config.json or a "
            "ModelSpec as JSON; the trace's own by default.",
            RUN,
            thing="ModelSpec",
        ),
    ] = None
    unit: Annotated[
        ShortText | None,
        Option("Compute unit: one that the profile names (cpu, gpu, npu); its own by default.", RUN),
    ] = None
    units: Annotated[
        ShortText | None,
        Option(
            "Compute units side by side on the MLPs of each token, with their shares: npu=0.8,cpu=0.2; all else, and "
            "prompts, are --unit's, as are MLPs by default.",
            RUN,
        ),
    ] = None
    overlap: Annotated[ShortText, Option("How devices overlap: none, io or pipelined.", RUN)] = "pipelined"
    engine: Annotated[
        ShortText,
        Option(
            "auto, processes (SimPy: takes loads and other devices) or compiled (the same numbers, many times faster).",
            RUN,
        ),
    ] = "auto"
    loads: Annotated[
        Names,
        Option(
            "Another user of the machine: a name of 'dipsim list loads'; may be given several times.",
            RUN,
            flag="load",
            thing="Load",
        ),
    ] = ()
    load_options: Annotated[
        Tables,
        Option(
            "An option of a load, as NAME.KEY=VALUE; may be given several times.",
            RUN,
            flag="load-option",
            makes="loads",
        ),
    ] = pydantic.Field(default_factory=dict)
    devices: Annotated[
        dict[str, ShortText],
        Option(
            "A device of another kind, as ROLE=NAME (flash, dram or compute); may be given several times.",
            RUN,
            thing="type",
        ),
    ] = pydantic.Field(default_factory=dict)
    tokens: Annotated[Whole | None, Option("Simulate only the first N tokens; all by default.", RUN)] = None
    warmup: Annotated[Whole, Option("Tokens at the start of each sequence that are not counted.", RUN)] = 0
