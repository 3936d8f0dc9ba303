"""The token for the beginning of a sequence (BOS): who puts it in front, what lies behind it, what is scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import device, tight_slots
from lm_eval.api.instance import Instance
from numpy.typing import NDArray
from random_models import random_model
from test_cli_methods import Capture, Shell
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import dipsim as ds
from dipsim import Dense, Dip, DipCa, DipsimError, Simulation, Trace
from dipsim.evaluation import drift, evaluate, harness_model
from dipsim.methods import Method
from dipsim.sparsify.bos import Bos, begin_with_bos, bos_in_front
from dipsim.sparsify.capture import capture
from dipsim.sparsify.loading import LoadedModel, load_model, windows
from dipsim.sweeps import Spec, read_results
from dipsim.sweeps.runs import runs_of
from dipsim.sweeps.work import first_window

pytestmark = tight_slots
BOS, END = 0, 1
WORDS = {"<s>": BOS, "</s>": END} | {f"w{number}": number for number in range(2, 50)}
TEXT_IDS = np.random.default_rng(5).integers(2, 50, 100)
TEXT = " ".join(f"w{number}" for number in TEXT_IDS)


def tokenizer_of(template: str = "<s> $A", bos: str | None = "<s>", unknown: str = "w2") -> Any:
    """One token a word, special ones around a text as the template says."""
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    special = [(name, WORDS[name]) for name in ("<s>", "</s>") if name in template.split()]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token="</s>")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return replace(random_model("llama", torch.float32), tokenizer=tokenizer_of())


@pytest.fixture(scope="module")
def folder(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models `with` a tokenizer that puts a BOS in front, and `without` any BOS token; and a text."""
    place = tmp_path_factory.mktemp("models")
    for name, tokenizer in (("with", loaded.tokenizer), ("without", tokenizer_of("$A", None))):
        loaded.model.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
    (place / "text.txt").write_text(TEXT)
    return place


def described(masking: Method) -> Callable[[Trace], Simulation]:
    return lambda trace: Simulation(device(), trace, masking, "lfu", dram="0.9x")


# --- who puts one in front ---


@pytest.mark.parametrize(
    ("template", "token", "adds", "can"),
    [
        ("<s> $A", "<s>", True, True),
        ("<s> $A </s>", "<s>", True, True),
        ("$A", "<s>", False, True),
        ("</s> $A", "<s>", False, True),  # another token in front
        ("</s> $A", None, False, False),
        ("$A </s>", "</s>", False, True),  # the same token, at the end
        ("$A", None, False, False),
    ],
)
def test_auto_is_what_the_tokenizer_does(template: str, token: str | None, adds: bool, can: bool) -> None:
    tokenizer = tokenizer_of(template, token)
    own = WORDS[token] if token else None
    assert bos_in_front(tokenizer, "auto") == (own if adds else None)
    assert bos_in_front(tokenizer, "no") is None
    if can:
        assert bos_in_front(tokenizer, "yes") == own
    else:
        with pytest.raises(DipsimError, match="bos: got 'yes'; the model's tokenizer has no BOS token"):
            bos_in_front(tokenizer, "yes")


def test_an_unknown_word_is_not_taken_for_it() -> None:
    assert bos_in_front(tokenizer_of("$A", unknown="<s>"), "auto") is None


def test_a_tokenizer_that_does_not_tell_and_an_unknown_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = tokenizer_of()
    with pytest.raises(DipsimError, match="bos: unknown name, got 'on'; choices: auto, no, yes"):
        bos_in_front(tokenizer, "on")  # type: ignore[arg-type]

    def broken(text: str) -> list[int]:
        raise KeyError(f"no {text}\nat all")

    monkeypatch.setattr(tokenizer, "encode", broken)
    with pytest.raises(DipsimError, match=r"bos: .* does not tell whether .*: 'no \\nat all'; give 'yes' or 'no'$"):
        bos_in_front(tokenizer, "auto")
    assert (bos_in_front(tokenizer, "yes"), bos_in_front(tokenizer, "no")) == (BOS, None)


def test_tiny_has_none_by_itself() -> None:
    tokenizer = load_model("tiny").tokenizer
    assert (bos_in_front(tokenizer, "auto"), bos_in_front(tokenizer, "yes")) == (None, tokenizer.bos_token_id)


# --- windows ---


def test_windows_begin_with_it_and_have_one_token_of_the_text_less() -> None:
    tokenizer = tokenizer_of()
    cut = windows(tokenizer, TEXT, 11)
    assert cut.shape == (10, 11)
    assert (cut[:, 0] == BOS).all()
    np.testing.assert_array_equal(cut[:, 1:].reshape(-1), TEXT_IDS)
    overlapping = windows(tokenizer, TEXT, 11, n_tokens=18, stride=4)
    assert overlapping.tolist() == [[BOS, *TEXT_IDS[first : first + 10]] for first in (0, 4, 8)]
    assert windows(tokenizer, TEXT, 11, n_tokens=10).tolist() == cut[:1].tolist()
    assert begin_with_bos(tokenizer, cut)


@pytest.mark.parametrize("options", [{}, {"n_tokens": 40}, {"stride": 3}, {"n_windows": 2}])
def test_no_is_the_text_alone(options: dict[str, int]) -> None:
    cut = windows(tokenizer_of(), TEXT, 11, **options, bos="no")
    ids, step = TEXT_IDS[: options.get("n_tokens", 100)], options.get("stride", 11)
    starts = range(0, len(ids) - 10, step)[: options.get("n_windows")]
    assert cut.tolist() == [ids[start : start + 11].tolist() for start in starts]
    np.testing.assert_array_equal(cut, windows(tokenizer_of("$A"), TEXT, 11, **options))
    assert not begin_with_bos(tokenizer_of(), cut)


def test_a_text_that_has_one_gets_no_second_one() -> None:
    tokenizer = tokenizer_of()
    np.testing.assert_array_equal(windows(tokenizer, f"<s> {TEXT}", 11), windows(tokenizer, TEXT, 11))


@pytest.mark.parametrize(
    ("n_window", "options", "message"),
    [
        (
            1,
            {},
            "text: got all windows of 1 tokens; both must be at least 1, and a window's tokens 2 where the first is",
        ),
        (11, {"n_tokens": 9}, "tokens: got 9; must be at least a window's 10$"),
        (11, {"stride": 11}, "stride: got 11; must be at least 1 and at most the window's 10 tokens$"),
        (102, {}, "text: got 100 tokens, 0 windows of 101; one asked for"),
    ],
)
def test_refused_windows(n_window: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        windows(tokenizer_of(), TEXT, n_window, **options)


def test_a_bos_that_the_model_does_not_know_is_refused(loaded: LoadedModel) -> None:
    """transformers gives a token that is named, and not in the vocabulary, an id behind it."""
    other = replace(loaded, tokenizer=tokenizer_of(bos="<strange>"))
    assert not begin_with_bos(other.tokenizer, windows(other.tokenizer, TEXT, 11))
    cut = windows(other.tokenizer, TEXT, 11, bos="yes")
    with pytest.raises(DipsimError, match="text: got a token of id 50; model 'llama' knows 50"):
        evaluate(other, cut, described(Dense()))


# --- what is scored ---


def losses_by_hand(loaded: LoadedModel, rows: list[list[int]], n_last: list[int]) -> list[float]:
    """Of the last tokens of each row, from transformers' logits."""
    found: list[float] = []
    for row, n in zip(rows, n_last, strict=True):
        with torch.no_grad():
            logs = loaded.model(torch.tensor([row])).logits[0].log_softmax(-1)
        found += [-float(logs[at - 1, row[at]]) for at in range(len(row) - n, len(row))]
    return found


def test_the_token_behind_it_is_scored_and_it_is_not(loaded: LoadedModel) -> None:
    found = evaluate(loaded, windows(loaded.tokenizer, TEXT, 11, n_tokens=30), described(Dense()))
    rows = [[BOS, *TEXT_IDS[first : first + 10].tolist()] for first in (0, 10, 20)]
    assert (found.n_scored, found.bos, found.to_dict()["bos"]) == (30, True, True)
    assert found.loss == pytest.approx(np.mean(losses_by_hand(loaded, rows, [10, 10, 10])), rel=1e-5)
    assert len(found.result.tokens) == 33  # it is simulated as any other
    without = evaluate(loaded, windows(loaded.tokenizer, TEXT, 10, n_tokens=30, bos="no"), described(Dense()))
    assert (without.n_scored, without.to_dict()["bos"]) == (27, False)
    bare = losses_by_hand(loaded, [row[1:] for row in rows], [9, 9, 9])
    assert without.loss == pytest.approx(np.mean(bare), rel=1e-5)


def test_a_stride_scores_every_token_of_the_text_once(loaded: LoadedModel) -> None:
    cut = windows(loaded.tokenizer, TEXT, 11, n_tokens=18, stride=4)
    found = evaluate(loaded, cut, described(Dense()), stride=4)
    assert found.n_scored == 18
    assert found.loss == pytest.approx(np.mean(losses_by_hand(loaded, cut.tolist(), [10, 4, 4])), rel=1e-5)
    with pytest.raises(DipsimError, match="stride: got 5; windows do not overlap so"):
        evaluate(loaded, cut, described(Dense()), stride=5)
    with pytest.raises(DipsimError, match="stride: got 11; must be at least 1 and at most the window's 10"):
        evaluate(loaded, cut, described(Dense()), stride=11)


# --- the harness ---

MASKINGS = [Dense(), Dip(density=0.4), DipCa(density=0.4, gamma=0.2)]


def rolling(model: Any, text: str) -> float:
    (found,) = model.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)])
    return float(found)


@pytest.mark.parametrize("masking", MASKINGS, ids=lambda masking: masking.name)
def test_the_harness_says_what_evaluate_says(loaded: LoadedModel, masking: Method) -> None:
    found = evaluate(loaded, windows(loaded.tokenizer, TEXT, 11), described(masking))
    assert found.n_scored == 100
    model = harness_model(loaded, described(masking), n_positions=11, n_batch=2)
    assert rolling(model, TEXT) == pytest.approx(-100 * found.loss, rel=1e-5)


def test_the_harness_scores_a_rest_that_is_shorter_than_a_window(loaded: LoadedModel) -> None:
    ids = TEXT_IDS.tolist()
    by_hand = losses_by_hand(loaded, [[BOS, *ids[:10]], [BOS, *ids[10:14]]], [10, 4])
    model = harness_model(loaded, described(Dense()), n_positions=11)
    assert rolling(model, " ".join(TEXT.split()[:14])) == pytest.approx(-sum(by_hand), rel=1e-5)


def test_pairs_begin_with_it_also_where_they_are_cut(loaded: LoadedModel) -> None:
    model, words = harness_model(loaded, described(Dense()), n_positions=11), TEXT.split()
    pairs = [(" ".join(words[:n]), f" {words[n]} {words[n + 1]}") for n in (0, 3, 40)] + [("<s> w3", " w4 w5")]
    found = [value for value, _ in model.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs])]
    ids = TEXT_IDS.tolist()
    # Of 11 positions the last predicts one more token: nine of a long context are left behind the BOS.
    rows = [[BOS, *ids[:2]], [BOS, *ids[:5]], [BOS, *ids[31:42]][:1] + ids[42 - 11 : 42], [BOS, 3, 4, 5]]
    by_hand = np.array(losses_by_hand(loaded, rows, [2] * 4)).reshape(4, 2).sum(axis=1)
    assert found == pytest.approx((-by_hand).tolist(), rel=1e-5)


def test_a_tokenizer_without_one_is_left_to_the_harness(loaded: LoadedModel) -> None:
    plain = harness_model(replace(loaded, tokenizer=tokenizer_of("$A")), described(Dense()), n_positions=200)
    assert plain.tok_encode(TEXT) == TEXT_IDS.tolist()
    by_hand = losses_by_hand(loaded, [[BOS, *TEXT_IDS.tolist()]], [100])  # what it puts in front of a text itself
    assert rolling(plain, TEXT) == pytest.approx(-sum(by_hand), rel=1e-5)


# --- traces ---


def captured(loaded: LoadedModel, path: Path, bos: Bos, n_prompt: int) -> Trace:
    capture(loaded, windows(loaded.tokenizer, TEXT, 15, 3, bos=bos), path, masking=Dense(), n_prompt=n_prompt)
    return Trace.open(path)


@pytest.mark.parametrize(("bos", "n_prompt"), [("auto", 4), ("no", 0)])
def test_drift_cuts_the_text_as_capture_did(loaded: LoadedModel, tmp_path: Path, bos: Bos, n_prompt: int) -> None:
    trace, describe = captured(loaded, tmp_path / "t.zarr.zip", bos, n_prompt), described(Dip(density=0.5))
    has_bos, text = bos == "auto", TEXT_IDS.tolist()
    rows = [[BOS, *text[i * 14 : i * 14 + 14]] if has_bos else text[i * 15 : i * 15 + 15] for i in range(3)]
    assert trace.token_ids.reshape(3, -1).tolist() == [row[n_prompt:] for row in rows]
    assert [sequence.prompt_length for sequence in trace.sequences] == [n_prompt] * 3
    assert trace.source["bos"] is has_bos
    found = drift(loaded, TEXT, trace, describe)
    assert found.to_dict()["bos"] is has_bos
    expected = evaluate(loaded, np.array(rows), describe, n_prompt=n_prompt).result
    assert found.closed_loop.to_dict()["hit_rate"] == expected.to_dict()["hit_rate"]
    own, other = ("yes", "no") if has_bos else ("no", "yes")
    assert drift(loaded, TEXT, trace, describe, bos=own).gaps == found.gaps
    with pytest.raises(DipsimError, match=f"bos: got '{other}'; the trace .*t.zarr.zip was captured with '{own}'"):
        drift(loaded, TEXT, trace, describe, bos=other)


def test_a_trace_that_says_nothing_has_none(loaded: LoadedModel, tmp_path: Path) -> None:
    trace = captured(loaded, tmp_path / "t.zarr", "no", 0)
    for source in (None, "by hand", {"bos": "yes"}):
        own = replace(trace, source=source)
        assert drift(loaded, TEXT, own, described(Dip(density=0.5)), n_sequences=1).bos is False


# --- commands ---


@pytest.fixture
def shell(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in ("with", "without", "text.txt"):
        (tmp_path / name).symlink_to(folder / name)
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int64]]:
    """What the model was given."""
    batches: list[NDArray[np.int64]] = []
    forward = transformers.LlamaModel.forward

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        batches.append(options["input_ids"].numpy().copy())
        return forward(self, *arguments, **options)

    monkeypatch.setattr(transformers.LlamaModel, "forward", watched)
    return batches


CUT = "--window-tokens 11 --tokens 40"
COMMANDS = {
    "capture": ("capture {} text.txt -o t.zarr.zip --sequence-tokens 8 --prompt-tokens 3 --sequences 3", "t.zarr.zip"),
    "evaluate": (f"evaluate {{}} text.txt --method dip {CUT} --json e.json", "e.json"),
    "adapt": (f"adapt {{}} text.txt -o adapter --method dip --steps 2 --rank 2 {CUT}", "adapter/dipsim.json"),
    "allocate": (f"allocate {{}} text.txt -o k.json --method dip --density 0.5 --trials 2 {CUT}", "k.json"),
    "train-predictor": (f"train-predictor {{}} text.txt -o p.safetensors --rank 2 --epochs 1 {CUT}", None),
}


def told(path: Path) -> Any:
    return Trace.open(path).source if path.suffix == ".zip" else json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_put_it_in_front_of_every_window(command: str, shell: Shell, seen: list[NDArray[np.int64]]) -> None:
    line, out = COMMANDS[command]
    for option, has_bos in (("", True), ("--bos no --force", False)):
        seen.clear()
        code, _, err = shell.run(f"{line.format('with')} {option}")
        assert code == 0, err
        ids = np.concatenate(seen)
        assert len(ids) >= 3
        assert (ids == BOS).sum() == (len(ids) if has_bos else 0)
        assert (ids[:, 0] == BOS).all() == has_bos
        assert ids.shape[1] == 11
        if out is not None:
            assert told(shell.folder / out)["bos"] is has_bos
    assert "bos: got 'yes'; the model's tokenizer has no BOS token" in shell.complaint(
        f"{line.format('without')} --bos yes --force"
    )
    assert "bos: got 'maybe'; must be one of auto, yes, no" in shell.complaint(
        f"{line.format('with')} --bos maybe --force"
    )


def test_drift_takes_the_option_too(shell: Shell, seen: list[NDArray[np.int64]]) -> None:
    assert shell.run("capture with text.txt -o t.zarr.zip --sequence-tokens 11 --sequences 3")[0] == 0
    seen.clear()
    assert shell.numbers("drift t.zarr.zip with text.txt --method dip")["bos"] is True
    assert (np.concatenate(seen)[:, 0] == BOS).all()
    assert "bos: got 'no'; the trace" in shell.complaint("drift t.zarr.zip with text.txt --method dip --bos no")


def test_training_does_not_go_on_with_another_cut(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    line = COMMANDS["adapt"][0].format("with")
    with monkeypatch.context() as patched:
        patched.setattr("dipsim.sparsify.adapters.training.remove_checkpoint", lambda folder: None)
        assert shell.run(line)[0] == 0
    assert "resume: got other settings than before: bos is False, was True" in shell.complaint(
        f"{line} --bos no --resume"
    )


@pytest.mark.slow
def test_sweeps_and_tune_take_it(shell: Shell) -> None:
    text = {"model": "with", "text": "text.txt", "tokens": 40, "window_tokens": 2, "bos": ["auto", "no"]}
    frame = ds.sweep({"evaluate": text, "method": "dip"}, "swept", workers=1)
    assert frame["n_scored_tokens"].tolist() == [40, 20]
    again = shell.numbers("evaluate with text.txt --method dip --tokens 40 --window-tokens 2 --bos no")
    assert frame["perplexity"].tolist()[1] == pytest.approx(again["perplexity"], rel=1e-6)
    with pytest.raises(DipsimError, match="evaluate: bos: got 'on'"):
        ds.sweep({"evaluate": text | {"bos": "on"}, "method": "dip"}, "other", workers=1)
    (run, _) = runs_of(Spec.load({"evaluate": text, "method": "dip"}))
    assert run.text is not None
    one, n_windows = first_window(run, run.text)
    assert one.text is not None
    assert (n_windows, first_window(one, one.text)[1]) == (40, 1)
    tuned = "tune --evaluate with --text text.txt --max-perplexity 1e9 --trials 1 --window-tokens 11 --tokens 40"
    for option, n_scored in (("", 40), ("--bos no", 30)):
        assert shell.run(f"{tuned} -o tuned{n_scored} {option}")[0] == 0
        assert read_results(shell.folder / f"tuned{n_scored}")["n_scored_tokens"].tolist() == [n_scored]
