"""Train `tiny`, the small Llama that ships inside dipsim, from nothing but a Python installation.

    pip install '.[capture]' && python -m benchmarks.models.train --out dipsim/tiny

Text: the documentation topics of `pydoc_data` and the sources of the standard library. Whole documents are held
out, and only those that share next to no line with the rest. The run is seeded and runs on the CPU; a checkpoint
is written every few hundred steps and a second call goes on from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import pydoc_data.topics
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.command import Table, main
from dipsim.sparsify.loading import read_text

END = "<|endoftext|>"
VOCABULARY = 1024
SEQUENCE = 256
BATCH = 16
HELD_OUT_BYTES = 200_000
EXCLUDED = ("site-packages", "test", "tests", "idle_test", "encodings", "pydoc_data", "__pycache__")


def documents() -> dict[str, str]:
    """Name -> text of every document, in a fixed order.

    `encodings` is left out (tables that repeat each other), `pydoc_data` too: its sources are the topics again.
    """
    texts = {f"topic/{name}": text for name, text in sorted(pydoc_data.topics.topics.items())}
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in sorted(stdlib.rglob("*.py")):
        relative = path.relative_to(stdlib)
        if not set(relative.parts) & set(EXCLUDED) and not path.name.startswith("_sysconfigdata"):
            texts[f"stdlib/{relative.as_posix()}"] = path.read_text(encoding="utf-8", errors="ignore")
    return {name: text for name, text in texts.items() if len(text) >= 500 and END not in text}


def long_lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if len(line.strip()) >= 30}


def split(texts: dict[str, str]) -> tuple[list[str], list[str]]:
    """Names to train on and names held out: picked by hash, unless over a tenth of the long lines stand elsewhere."""
    copies = Counter(line for text in texts.values() for line in long_lines(text))
    held_out: list[str] = []
    n_bytes = 0
    for name in sorted(texts, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        lines = long_lines(texts[name])
        shared = sum(copies[line] > 1 for line in lines) / max(1, len(lines))
        if shared > 0.1 or len(texts[name]) > 40_000 or n_bytes + len(texts[name]) > HELD_OUT_BYTES:
            continue
        held_out.append(name)
        n_bytes += len(texts[name])
    return [name for name in texts if name not in set(held_out)], held_out


def training_text() -> str:
    """What `tiny` saw; another Python has other documents, so that those held out are told by name and by content."""
    texts = documents()
    names, _ = split(texts)
    held_out = read_text("held-out")
    return END + END.join(texts[name] for name in names if texts[name] not in held_out)


def train_tokenizer(texts: list[str], out: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=END).save_pretrained(out)
    return tokenizer


def build_model() -> transformers.LlamaForCausalLM:
    """Most weights sit in the MLPs, as in the large models it stands for: small vocabulary, few and narrow KV heads."""
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=896,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def learning_rate(step: int, n_steps: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then a cosine down to a tenth of the peak."""
    if step < 100:
        return peak * (step + 1) / 100
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - 100) / max(1, n_steps - 100))))


def batch_at(tokens: np.ndarray, step: int, seed: int) -> torch.Tensor:
    """The windows of a step depend on the step alone, so a resumed run sees the same text as an unbroken one."""
    starts = np.random.default_rng((seed, step)).integers(0, len(tokens) - SEQUENCE - 1, BATCH)
    return torch.from_numpy(np.stack([tokens[s : s + SEQUENCE + 1] for s in starts]).astype(np.int64))


@torch.no_grad()
def perplexity(model: transformers.LlamaForCausalLM, tokens: np.ndarray) -> float:
    """exp of the mean loss over non-overlapping windows."""
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(tokens) - 1, SEQUENCE):
        window = torch.from_numpy(tokens[start : start + SEQUENCE + 1].astype(np.int64))[None]
        logits = model(window[:, :-1]).logits.float()
        loss = torch.nn.functional.cross_entropy(logits[0], window[0, 1:], reduction="sum")
        total, count = total + loss.item(), count + window.shape[1] - 1
    model.train()
    return math.exp(total / count)


def unigram_perplexity(tokens: np.ndarray) -> float:
    """Perplexity of the best possible unigram model: the one that knows the held-out counts themselves."""
    share = np.unique(tokens[1:], return_counts=True)[1] / (len(tokens) - 1)
    return float(np.exp(-(share * np.log(share)).sum()))


def train(tokens: np.ndarray, args: argparse.Namespace, checkpoint: Path) -> transformers.LlamaForCausalLM:
    torch.manual_seed(args.seed)
    model = build_model()
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95))
    first = 0
    if checkpoint.exists():
        state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        if state["settings"] != settings(args):
            raise SystemExit(f"{checkpoint} is of a run with {state['settings']}, not {settings(args)}: remove it")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=args.steps, completed=first)
        for step in range(first, args.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, args.steps, args.lr)
            batch = batch_at(tokens, step, args.seed)
            logits = model(batch[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            progress.update(task, advance=1, description=f"training, loss {loss.item():.2f}")
            if (step + 1) % args.checkpoint_every == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save_checkpoint(checkpoint, state | {"step": step + 1, "settings": settings(args)})
    return model


def settings(args: argparse.Namespace) -> dict[str, float]:
    return {"steps": args.steps, "lr": args.lr, "seed": args.seed}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer and held-out text")
    asked.add_argument("--steps", type=int, default=3000)
    asked.add_argument("--lr", type=float, default=3e-3)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--checkpoint-every", type=int, default=250, help="steps between checkpoints")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)

    texts = documents()
    names, held_out = split(texts)
    tokenizer = train_tokenizer([texts[name] for name in names], given.out)
    train_text = END + END.join(texts[name] for name in names)
    held_text = END + END.join(texts[name] for name in held_out)
    (given.out / "held_out.txt").write_text(held_text, encoding="utf-8")
    tokens = np.array(tokenizer.encode(train_text).ids, dtype=np.uint16)
    held_tokens = np.array(tokenizer.encode(held_text).ids, dtype=np.uint16)
    about = f"{len(names)} documents, {len(tokens):,} tokens; held out {len(held_out)}, {len(held_tokens):,} tokens"
    print(about, file=sys.stderr)

    started = time.perf_counter()
    checkpoint = given.out.with_name(given.out.name + ".checkpoint.pt")
    model = train(tokens, given, checkpoint)
    model.half().save_pretrained(given.out)
    report = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": given.steps,
        "tokens_per_step": BATCH * SEQUENCE,
        "training_tokens": len(tokens),
        "training_text_sha256": hashlib.sha256(train_text.encode()).hexdigest(),
        "held_out_documents": held_out,
        "held_out_tokens": len(held_tokens),
        "held_out_perplexity": round(perplexity(model.float(), held_tokens), 2),
        "unigram_perplexity": round(unigram_perplexity(held_tokens), 2),
        "seed": given.seed,
        "learning_rate": given.lr,
        "seconds_of_last_call": round(time.perf_counter() - started),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    (given.out / "training.json").write_text(json.dumps(report, indent=2) + "\n")
    checkpoint.unlink(missing_ok=True)
    yield Table("tiny", [{"what": name, "value": value} for name, value in report.items()])


if __name__ == "__main__":
    main(__doc__, tables, options)
