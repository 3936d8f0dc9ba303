"""Options that several commands share: one name, one meaning, one help text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dipsim.errors import DipsimError

METHOD, CACHE, FLASH, RUN, TORCH, TEXT = "Method", "DRAM and cache", "Flash", "Run", "Model", "Text"

Trace = Annotated[str, typer.Argument(help="Trace (.zarr or .zarr.zip), or 'tiny' for the one that ships.")]
Profile = Annotated[str, typer.Option(help="Device: a name of 'dipsim list profiles' or a TOML file.")]
ProfileValue = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Another value in the profile, as KEY=VALUE (for example flash.derate=0.67, energy.idle_w=null); may be "
        "given several times.",
    ),
]
Method = Annotated[str, typer.Option(help="A name of 'dipsim list methods'.", rich_help_panel=METHOD)]
Density = Annotated[
    float | None,
    typer.Option(
        help="Active share of the three MLP matrices, in (0, 1]; for dip and dip-ca 0.5 by default.",
        rich_help_panel=METHOD,
    ),
]
KeepInput = Annotated[
    float | None,
    typer.Option(help="dip, dip-ca: share kept at the MLP's input, instead of --density.", rich_help_panel=METHOD),
]
KeepGlu = Annotated[
    float | None,
    typer.Option(help="dip, dip-ca: share kept at the down projection, instead of --density.", rich_help_panel=METHOD),
]
Keeps = Annotated[
    Path | None,
    typer.Option(
        help="dip, dip-ca: a file of 'dipsim allocate' with both keeps, instead of --density.", rich_help_panel=METHOD
    ),
]
Gamma = Annotated[
    float | None,
    typer.Option(
        help="dip-ca: weight of columns that are not resident, in [0, 1]; 1 is dip, 0.2 the default.",
        rich_help_panel=METHOD,
    ),
]
Rule = Annotated[str | None, typer.Option(help="dip-ca: reweight (default), blend or top-m.", rich_help_panel=METHOD)]
ExemptTop = Annotated[
    int | None, typer.Option(help="dip-ca: this many best columns escape the penalty.", rich_help_panel=METHOD)
]
GammaWarmUp = Annotated[
    bool,
    typer.Option(
        "--gamma-warm-up", help="dip-ca: let gamma start at 1 in each sequence and decay.", rich_help_panel=METHOD
    ),
]
TopM = Annotated[
    float | None,
    typer.Option(help="dip-ca, rule top-m: m as a multiple of k; 2 by default.", rich_help_panel=METHOD),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="cats: a trace with scores at site gate, of other text, that thresholds are taken from.",
        rich_help_panel=METHOD,
    ),
]
Rank = Annotated[
    int | None,
    typer.Option(
        help="predictor: width of its hidden layer, which costs bytes; that of the file by which the trace was made.",
        rich_help_panel=METHOD,
    ),
]
PredictorFile = Annotated[
    Path | None,
    typer.Option("--predictor", help="What 'dipsim train-predictor' wrote for this model.", rich_help_panel=METHOD),
]
Policy = Annotated[str, typer.Option(help="Eviction: a name of 'dipsim list policies'.", rich_help_panel=CACHE)]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option(
        help="An option of the policy, as NAME=VALUE (for example half_life=32); may be given several times.",
        rich_help_panel=CACHE,
    ),
]
Admission = Annotated[
    str,
    typer.Option(
        help="'always': active columns enter; 'priority': only what beats the resident ones.", rich_help_panel=CACHE
    ),
]
Dram = Annotated[
    str | None,
    typer.Option(
        help="Memory for this model: 4GB, 512MiB, or 0.5x = half of attention + LM head + KV cache + MLP bytes; "
        "the device's own by default.",
        rich_help_panel=CACHE,
    ),
]
Budget = Annotated[
    str,
    typer.Option(
        help="How cache memory becomes slots: uniform, by-bytes, marginal, or another of 'dipsim list budgets'.",
        rich_help_panel=CACHE,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        help="Positions the KV cache is sized for; the trace's longest sequence by default.", rich_help_panel=CACHE
    ),
]
StreamPinned = Annotated[
    bool,
    typer.Option(
        "--stream-pinned/--no-stream-pinned",
        help="Stream attention and LM head from Flash where DRAM is too small for them, or refuse.",
        rich_help_panel=CACHE,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Same shape, other numbers (such as bits): a preset, a config.json or a ModelSpec as JSON.",
        rich_help_panel=RUN,
    ),
]
Layout = Annotated[
    str, typer.Option(help="How columns lie in Flash: a name of 'dipsim list layouts'.", rich_help_panel=FLASH)
]
LayoutOption = Annotated[
    list[str] | None,
    typer.Option(
        help="An option of the layout, as NAME=VALUE: bundled=false stores each matrix apart; may be given several "
        "times.",
        rich_help_panel=FLASH,
    ),
]
Prefetch = Annotated[
    str,
    typer.Option(
        help="Read ahead while Flash would idle: a name of 'dipsim list prefetchers'; needs --overlap pipelined.",
        rich_help_panel=FLASH,
    ),
]
PrefetchOption = Annotated[
    list[str] | None,
    typer.Option(help="An option of the prefetcher, as NAME=VALUE; may be given several times.", rich_help_panel=FLASH),
]
PrefetchBytes = Annotated[
    str | None,
    typer.Option(
        help="Most bytes read ahead for one layer, as 2MB; DRAM keeps two such buffers. A 64th of a layer's MLP "
        "by default.",
        rich_help_panel=FLASH,
    ),
]
AdapterBytes = Annotated[
    str | None,
    typer.Option(
        help="Bytes of an adapter (LoRA) that is not merged, as 20MB: pinned and used by every token.",
        rich_help_panel=CACHE,
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        help="Compute unit: one that the profile names (cpu, gpu, npu); its own by default.", rich_help_panel=RUN
    ),
]
Overlap = Annotated[str, typer.Option(help="How devices overlap: none, io or pipelined.", rich_help_panel=RUN)]
Tokens = Annotated[int | None, typer.Option(help="Simulate only the first N tokens.", rich_help_panel=RUN)]
TextTokens = Annotated[
    int | None,
    typer.Option("--tokens", help="Use only the first N tokens of the text, in whole windows.", rich_help_panel=TEXT),
]
WindowTokens = Annotated[
    int, typer.Option(help="Tokens of a window; each is a sequence with cold caches.", rich_help_panel=TEXT)
]
PromptTokens = Annotated[
    int, typer.Option(help="First tokens of each window that are run dense and not scored.", rich_help_panel=TEXT)
]
Bos = Annotated[
    Literal["auto", "yes", "no"],
    typer.Option(
        help="Begin every window with the token for the beginning of a sequence; by default where the tokenizer does.",
        rich_help_panel=TEXT,
    ),
]
Warmup = Annotated[
    int, typer.Option(help="Tokens at the start of each sequence that are not counted.", rich_help_panel=RUN)
]
Batch = Annotated[int, typer.Option(help="Sequences in one forward pass.", rich_help_panel=TORCH)]
Device = Annotated[str, typer.Option(help="Where torch runs the model: cpu, cuda, mps ...", rich_help_panel=TORCH)]
Dtype = Annotated[
    str, typer.Option(help="auto (the checkpoint's own), float32, bfloat16 or float16.", rich_help_panel=TORCH)
]
Json = Annotated[Path | None, typer.Option(help="Write the result as JSON.", rich_help_panel=RUN)]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.", rich_help_panel=RUN)]


def parse_pairs(option: str, pairs: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE each; numbers, true, false, null and lists are such (as in JSON), anything else is text.

    Args:
        option: whose values these are.
        pairs: None where the option was not given.

    Raises:
        DipsimError: no name, no `=`, or a name twice.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not name or not equals or name in parsed:
            raise DipsimError(f"{option}: got '{pair}'; must be NAME=VALUE, each name once")
        try:
            parsed[name] = json.loads(value)
        except (ValueError, RecursionError):
            parsed[name] = value
    return parsed
