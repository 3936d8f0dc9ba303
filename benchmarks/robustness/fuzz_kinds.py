"""What fuzz.py feeds to dipsim: kinds of input, sound examples of each, and the commands that read them."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import gguf
import numpy as np
import typer.main
import zarr
from pyarrow import parquet

import dipsim as ds
from benchmarks.robustness import fuzz_words as words
from benchmarks.robustness.fuzz_case import make_folder
from benchmarks.robustness.fuzz_mutations import changed
from dipsim import cli, shipped
from dipsim.cli import application
from dipsim.documents import read_json
from dipsim.policies import save_use_counts

FROM_CONFIG = "Simulation.from_config"  # no command reads a result; this does
Tree = dict[str, "bytes | Odd"]


@dataclass(frozen=True)
class Odd:
    """What lies where a file is expected: `fifo`, `folder`, `sparse` (8 GiB of holes), or a link to a path."""

    what: str
    to: str = ""


_ODD = (Odd("fifo"), Odd("folder"), Odd("sparse"), Odd("link", "/dev/zero"), Odd("link", "../canary"), Odd("link", "."))
_ODD += (Odd("link", "/proc/self/mem"), Odd("link", "/nowhere"), Odd("link", "/dev/stdin"))


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        says: what it is.
        examples: names of sound ones among the seeds, files or folders.
        commands: lines of words; `{it}` is the input, `{seeds}` the folder of the sound ones.
        weight: share of the cases, to what others have.
        is_output: the input is in the place of the command's output, which goes on there.
        draw: for what is no file: the words of a command.
    """

    says: str
    examples: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    weight: float = 1.0
    is_output: bool = False
    draw: Callable[[random.Random, Path], list[str]] | None = None


_RUN = "--dram 0.6x --tokens 8"
_MODEL = "--tokens 16 --window-tokens 8 --dram 0.6x"
_TRACE = (
    f"simulate {{it}} {_RUN} --json out/r.json",
    f"simulate {{it}} {_RUN} --method dip --policy belady --profile oneplus-12-ufs4 --timeline out/t.json",
    "stats {it} --json out/s.json",
    f"simulate {{seeds}}/t.zarr {_RUN} --method cats --density 0.5 --calibration {{it}}",
    "synth tiny -n 8 --like {it} --tau 100 -o out/x.zarr --workers 1",
    f"simulate {{it}} {_RUN} --layout coactivation --budget marginal --prefetch previous-token",
)
_PROFILE = (
    f"simulate {{seeds}}/t.zarr {_RUN} --profile {{it}} --json out/r.json",
    "show profile {it}",
    "calibrate fio {seeds}/fio.json -o out/p.toml --extends {it}",
)
_SPEC = (f"simulate {{seeds}}/t.zarr {_RUN} --model {{it}}", "synth {it} -n 4 -o out/x.zarr --workers 1")
_ADAPT = (
    "adapt tiny t.txt -o {} --method dip --density 0.5 --rank 2 --steps 2 --evaluate-every 1 --batch 2 --tokens 64"
    " --window-tokens 8"
)
_LOOK = ("plot {it} dram -o out/f.svg --by policy", "report {it} -o out/r.html")
KINDS = {
    "trace": Kind("trace, a folder", ("t.zarr", "z.zarr"), _TRACE),
    "trace-zip": Kind("trace, a zip", ("t.zarr.zip",), _TRACE),
    "profile": Kind("device profile", ("full.toml", "plain.toml"), _PROFILE),
    "variant": Kind("profile that extends another", ("variant.toml",), _PROFILE),
    "config": Kind("a model's config.json", ("config.json",), _SPEC),
    "spec": Kind("ModelSpec as JSON", ("spec.json",), _SPEC),
    "gguf": Kind("a model's GGUF file", ("m.gguf",), (*_SPEC, "show model {it}")),
    "model": Kind(
        "a model's folder",
        ("model",),
        (f"evaluate {{it}} {{seeds}}/t.txt {_MODEL}", "capture {it} {seeds}/t.txt -o out/x.zarr --sequences 1"),
        0.3,
    ),
    "sweep": Kind(
        "a sweep's spec",
        ("sweep.toml", "ranges.toml"),
        ("sweep {it} --dry-run", "sweep {it} -o out/results --workers 1"),
    ),
    "results": Kind(
        "results of a sweep", ("results", "log"), (*_LOOK, "sweep {seeds}/sweep.toml -o {it} --workers 1"), 1, True
    ),
    "tuned": Kind(
        "results of tune",
        ("tuned",),
        ("tune {seeds}/t.zarr --dram 0.6x --max-error 0.2 --trials 3 -o {it}", "report {it} -o out/r.html"),
        0.5,
        True,
    ),
    "trials": Kind(
        "trials of allocate",
        ("k.json.trials",),
        (
            "allocate tiny {seeds}/t.txt --method dip --density 0.4 -o out/k.json --trials 2 --tokens 16"
            " --window-tokens 8",
        ),
        0.3,
        True,
    ),
    "keeps": Kind(
        "keeps of allocate",
        ("k.json", "layers.json"),
        (f"simulate {{seeds}}/t.zarr {_RUN} --method dip --keeps {{it}}",),
    ),
    "counts": Kind(
        "use counts",
        ("counts.npz",),
        (f"simulate {{seeds}}/t.zarr {_RUN} --method dip --policy static --policy-option path={{it}}",),
    ),
    "predictor": Kind(
        "trained predictors",
        ("p.safetensors",),
        (f"evaluate tiny {{seeds}}/t.txt {_MODEL} --method predictor --density 0.5 --predictor {{it}}",),
        0.3,
    ),
    "adapter": Kind(
        "an adapter's folder", ("lora",), (f"evaluate tiny {{seeds}}/t.txt {_MODEL} --adapter {{it}}",), 0.3
    ),
    "checkpoint": Kind(
        "an adapter whose training goes on",
        ("halfway",),
        (f"{_ADAPT} --resume".format("{it}").replace("t.txt", "{seeds}/t.txt"),),
        0.3,
        True,
    ),
    "fio": Kind("a result of fio", ("fio.json",), ("calibrate fio {it} -o out/p.toml",)),
    "text": Kind("a text", ("t.txt",), (f"evaluate tiny {{it}} {_MODEL}",), 0.2),
    "style": Kind(
        "a style of figures",
        ("own.mplstyle",),
        ("plot {seeds}/results dram -o out/f.svg --by policy --style {it}",),
        0.5,
    ),
    "result": Kind("configuration in a result", ("r.json",), (f"{FROM_CONFIG} {{it}}",)),
    "expression": Kind("expressions", draw=lambda rng, folder: _expression_words(rng, folder)),
    "words": Kind("words of the command line", draw=lambda rng, folder: _option_words(rng, folder)),
}


def prepare(kind: Kind, seeds: Path, folder: Path, rng: random.Random, n_changes: int) -> list[str]:
    """Puts an input of the kind into a case's folder and gives the words of a command that reads it.

    Args:
        kind: which.
        seeds: what `make_seeds` made.
        folder: of the case.
        rng: decides everything.
        n_changes: how often the input is changed; with 0 it is sound.
    """
    if kind.draw is not None:
        return [word.format(seeds=seeds) for word in kind.draw(rng, folder)] if n_changes else ["list", "policies"]
    name, command = rng.choice(kind.examples), rng.choice(kind.commands)
    tree = _read(seeds / name)
    for _ in range(n_changes):
        _change(rng, tree, name)
    return _placed(kind, name, tree, command, seeds, folder)


def _placed(kind: Kind, name: str, tree: Tree, command: str, seeds: Path, folder: Path) -> list[str]:
    place = Path("out" if kind.is_output else "in") / name
    _write(tree, folder / place)
    return [word.format(it=place, seeds=seeds) for word in shlex.split(command)]


def try_sound(seeds: Path, folder: Path) -> None:
    """Runs every command on every sound input, which also loads and compiles all code that cases need.

    Raises:
        RuntimeError: one is not accepted.
    """
    for kind in KINDS.values():
        for name, command in itertools.product(kind.examples, kind.commands):
            make_folder(folder)
            with contextlib.chdir(folder):
                _make(_placed(kind, name, _read(seeds / name), command, seeds, folder))


def carry_out(command: list[str]) -> int | None:
    """What the words say, as `dipsim` on a command line would; a fault shows its traceback."""
    sys.argv = ["dipsim", "--debug", *command]
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):  # as Python itself
            warnings.simplefilter("ignore", kind)
        with mock.patch.object(application, "app", _run_config if command[0] == FROM_CONFIG else application.app):
            return cli.main()


def _run_config(**settings: object) -> None:
    """In the place of the commands."""
    data = read_json(Path(sys.argv[-1]), "result")
    if not isinstance(data, dict) or not isinstance(data.get("config"), dict):
        raise ds.DipsimError("result: has no config")
    ds.Simulation.from_config(data["config"]).run()


def _read(path: Path) -> Tree:
    """Files, and folders without any, by their path below; a file's own is empty."""
    if path.is_file():
        return {"": path.read_bytes()}
    below = [entry for entry in sorted(path.rglob("*")) if entry.is_file() or not any(entry.iterdir())]
    return {
        entry.relative_to(path).as_posix(): entry.read_bytes() if entry.is_file() else Odd("folder") for entry in below
    }


def _change(rng: random.Random, tree: Tree, name: str) -> None:
    """Changes a file of the tree; or what there is of files."""
    if not tree:
        return
    at = rng.choice(sorted(tree))
    content = tree[at]
    if isinstance(content, bytes) and rng.random() < 0.85:
        tree[at] = changed(rng, at or name, content)
    elif at == "" or rng.random() < 0.4:
        tree[at] = rng.choice(_ODD)
    else:
        how = rng.randrange(4)
        if how == 0:
            del tree[at]
        elif how == 1:
            tree[at] = tree[rng.choice(sorted(tree))]
        elif how == 2:
            tree[rng.choice((f"{at}.x", "a\nb", "\x1b[2Jx", "\udcff", ".hidden", f"{at}.partial", "x/y/z"))] = content
        else:
            tree[f"x/{at}"] = tree.pop(at)


def _write(tree: Tree, place: Path) -> None:
    for name, content in tree.items():
        path = place / name if name else place
        with contextlib.suppress(OSError):  # two of the names may be in each other's way
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content.what == "fifo":
                os.mkfifo(path)
            elif content.what == "folder":
                path.mkdir()
            elif content.what == "link":
                path.symlink_to(content.to)
            else:
                with path.open("wb") as file:
                    file.truncate(8 * 2**30)


def _expression(rng: random.Random, depth: int = 0) -> str:
    if depth > 3 or rng.random() < 0.3:
        return rng.choice(words.ATOMS[:20] if rng.random() < 0.6 else words.ATOMS)
    parts = [_expression(rng, depth + 1) for _ in range(2)]
    if rng.random() < 0.25:
        return rng.choice(words.WRAPS).replace("{}", parts[0])
    return f"{parts[0]} {rng.choice(words.JOINS)} {parts[1]}"


def _expression_words(rng: random.Random, folder: Path) -> list[str]:
    text = _expression(rng)
    if rng.random() < 0.1:
        n = rng.choice((30, 300, 30_000))
        text = rng.choice(
            ("(" * n + text + ")" * n, "not " * n + text, f"{text} and " * n + text, "-" * n + text, text * n)
        )
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(("", "\x1b", "(", "'", "`", "\n", "\u2028", "=", "\udcff")) + text[at + 1 :]
    where = ["plot", "{seeds}/results", "dram", "-o", "out/f.svg", "--by", "policy", "--where"]
    if rng.random() < 0.5:
        return [*where, text.replace("{", "{{").replace("}", "}}")]
    spec = f'trace = "tiny"\ntokens = 4\nmethod = "dip"\ndensity = [0.3, 0.5]\nfilter = {json.dumps(text)}\n'
    (folder / "in" / "s.toml").write_bytes(spec.encode("utf-8", "surrogatepass"))
    return ["sweep", "in/s.toml", "-o", "out/results", "--workers", "1"]


def _option_words(rng: random.Random, folder: Path) -> list[str]:
    """A command with a few options that have values of all sorts."""
    base = rng.choice(
        (
            ["simulate", "{seeds}/t.zarr"],
            ["simulate", "{seeds}/t.zarr", "--profile", "oneplus-12-ufs4", "--dram", "0.6x"],
            ["explain", "{seeds}/t.zarr", "--dram", "0.6x"],
            ["headroom", "{seeds}/t.zarr", "--dram", "0.6x"],
            ["stats", "{seeds}/t.zarr"],
            ["plot", "{seeds}/results", "dram", "-o", "out/f.svg"],
        )
    )
    command = typer.main.get_command(application.app).commands[base[0]]  # type: ignore[attr-defined]
    names = [param.opts[0] for param in command.params if param.opts[0].startswith("--") and not param.is_flag]
    written = ("--json", "--timeline", "--output", "--figure")
    drawn = [rng.choice([name for name in names if name not in written]) for _ in range(rng.randint(1, 3))]
    given = [word for name in drawn for word in (name, rng.choice(words.VALUES).replace("{", "{{").replace("}", "}}"))]
    return [*base, *given]


def make_seeds(folder: Path) -> None:
    """Sound examples of all kinds, small, made by dipsim from the model and the trace that ship.

    Raises:
        RuntimeError: a command failed.
    """
    with contextlib.chdir(folder):
        _make_documents()
        for line in _MAKING:
            _make(shlex.split(line))
        with mock.patch("dipsim.sparsify.adapters.training.remove_checkpoint"):
            _make(shlex.split(_ADAPT.format("halfway")))
        _make_variations()


# In the order in which they need each other; the last ones load code that many cases need.
_MAKING = (
    "capture tiny t.txt -o t.zarr --sites mlp_input,glu,gate --sequences 2 --sequence-tokens 16",
    "capture tiny t.txt -o t.zarr.zip --sites mlp_input,glu,gate --sequences 2 --sequence-tokens 16",
    "simulate tiny --dram 0.6x --tokens 8 --profile oneplus-12-ufs4 --json r.json",
    "sweep sweep.toml -o results --workers 1",
    "tune t.zarr --dram 0.6x --max-error 0.2 --trials 3 -o tuned",
    "train-predictor tiny t.txt -o p.safetensors --rank 2 --epochs 1 --tokens 32 --window-tokens 8",
    _ADAPT.format("lora"),
    "allocate tiny t.txt --method dip --density 0.4 -o k.json --trials 2 --tokens 16 --window-tokens 8",
    "allocate tiny t.txt --method dip --density 0.4 -o layers.json --trials 1 --tokens 8 --window-tokens 8 --per-layer",
    "explain t.zarr --dram 0.6x",
    "headroom t.zarr --dram 0.6x",
    "plot results dram -o f.svg --by policy",
    "report results -o r.html",
)


def _make(command: list[str]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            carry_out(command)
        except SystemExit as left:
            if left.code:
                raise RuntimeError(f"dipsim {shlex.join(command)}: {said.getvalue()}") from None


_DOCUMENTS = {
    "variant.toml": """schema = 1
name = "variant"
extends = "oneplus-12-ufs4"

[flash]
derate = 0.5
[dram]
capacity_bytes = 12000000000
""",
    "sweep.toml": """trace = "tiny"
method = "dip"
tokens = 8
density = 0.5
policy = ["lru", "lfu"]
dram = ["0.6x", "0.8x"]
""",
    "ranges.toml": """trace = "tiny"
method = "dip"
tokens = 4
dram = "0.6x"
density = {start = 0.3, stop = 0.5, step = 0.1}
profile.flash.read_bytes_per_s = {start = 1e9, stop = 4e9, num = 3, log = true}
filter = "density < 0.45"
""",
    "own.mplstyle": """figure.figsize: 7, 3
font.size: 9
axes.grid: True
lines.linewidth: 2
""",
}


def _make_documents() -> None:
    tiny = shipped.folder("tiny")
    Path("t.txt").write_text((tiny / "held_out.txt").read_text(encoding="utf-8")[:3000], encoding="utf-8")
    Path("config.json").write_bytes((tiny / "config.json").read_bytes())
    Path("spec.json").write_text(json.dumps(ds.ModelSpec.load("tiny").model_dump(mode="json")), encoding="utf-8")
    _make_gguf(Path("m.gguf"))
    Path("model").mkdir()
    for name in (
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        shutil.copy(tiny / name, Path("model") / name)
    profiles = shipped.names("hwprofiles", ".toml")
    for name, of in (("full", "oneplus-12-ufs4"), ("plain", "a18-paper")):
        shutil.copy(profiles[of], f"{name}.toml")
    for name, text in _DOCUMENTS.items():
        Path(name).write_text(text, encoding="utf-8")
    shutil.copy(Path(__file__).parents[2] / "tests" / "fio-3.33.json", "fio.json")


def _make_gguf(path: Path) -> None:
    """Of the shape of `tiny`, 4 bits a weight, all of them 0."""
    spec, n_block, block_bytes = ds.ModelSpec.load("tiny"), 32, 18
    d, f, q, kv = (
        spec.hidden_size,
        spec.intermediate_size,
        *(n * spec.head_dim for n in (spec.n_heads, spec.n_kv_heads)),
    )
    layer = {"attn_q": (q, d), "attn_k": (kv, d), "attn_v": (kv, d), "attn_output": (d, q)}
    layer |= {"ffn_gate": (f, d), "ffn_up": (f, d), "ffn_down": (d, f)}
    shapes = {f"blk.{i}.{name}.weight": shape for i in range(spec.n_layers) for name, shape in layer.items()}
    shapes["token_embd.weight"] = (spec.vocab_size, d)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(spec.n_layers)
    writer.add_embedding_length(d)
    writer.add_feed_forward_length(f)
    writer.add_head_count(spec.n_heads)
    writer.add_head_count_kv(spec.n_kv_heads)
    writer.add_key_length(spec.head_dim)
    for name, (n_rows, n_columns) in shapes.items():
        blocks = np.zeros((n_rows, n_columns // n_block * block_bytes), np.uint8)
        writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _make_variations() -> None:
    """Of what the commands made: a log that no table has absorbed, a trace by zarr alone, use counts."""
    shutil.copytree("results", "log")
    for row in parquet.read_table("log/results.parquet").to_pylist():
        (Path("log/_log") / f"{row['key']}.json").write_text(json.dumps(row), encoding="utf-8")
    Path("log/results.parquet").unlink()
    opened, other = zarr.open_group("t.zarr", mode="r"), zarr.open_group("z.zarr", mode="w")
    other.attrs.update(opened.attrs)
    for name in ("token_ids", "sequence_ids", "scores/mlp_input", "scores/glu", "scores/gate"):
        other.create_array(name, data=opened[name][:])  # type: ignore[index]
    model = ds.ModelSpec.load("tiny")
    sizes = {"up_gate": model.hidden_size, "down": model.intermediate_size}
    counts = {(layer, group): np.arange(n) for group, n in sizes.items() for layer in range(model.n_layers)}
    save_use_counts("counts.npz", counts)
