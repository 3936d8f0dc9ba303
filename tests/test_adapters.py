"""Adapters on real model classes: what they learn, that they leave nothing behind, and that they merge."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import plain_decoder
import pytest
import torch
import transformers
from conftest import device, tight_slots
from random_models import FAMILIES, IDS, SHAPE, random_model
from safetensors.torch import load_file, save_file
from test_capture import choose_for, hooks_on
from torch import nn

from dipsim import Dense, Dip, DipCa, DipsimError, Gate, Glu, MagnitudePruning, Simulation, Up
from dipsim.evaluation import adapt, evaluate
from dipsim.methods import Method
from dipsim.sparsify.adapters import Learnt, Recipe, adapted, check_folder, train
from dipsim.sparsify.adapters.lora import masked_layers
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.hooks import Plan, hooked, without_cache
from dipsim.sparsify.loading import LoadedModel

DIP = Dip(density=0.5)
QUICK = Recipe(rank=3, alpha=6, learning_rate=0.02, steps=6, batch=2, evaluate_every=2)
# It repeats itself, so that what is learnt holds for the last window, which is held out.
TEXT = np.tile(np.random.default_rng(1).integers(0, 50, (3, 11)), (4, 1))


def learn(folder: Path, family: str = "llama", recipe: Recipe = QUICK, **others: Any) -> tuple[LoadedModel, Learnt]:
    loaded = random_model(family, torch.float32)
    masking = others.pop("masking", DIP)
    given = {"masking": masking, "choose_masks": without_cache(masking), "about": {"name": masking.name}}
    return loaded, train(loaded, others.pop("ids", TEXT), folder, recipe=recipe, **given, **others)


def masked_logits(loaded: LoadedModel, ids: np.ndarray = IDS) -> torch.Tensor:
    with torch.no_grad(), hooked(find_gated_mlps(loaded.model, 2), loaded.spec, Plan(DIP, without_cache(DIP))):
        return loaded.model(torch.from_numpy(ids)).logits


@pytest.mark.parametrize("family", ["llama", "phi3", "gemma"])
def test_beside_the_weights_or_merged_it_computes_what_weights_with_the_product_added_do(
    tmp_path: Path, family: str
) -> None:
    loaded, _ = learn(tmp_path / "lora", family)
    plain = masked_logits(loaded)
    with adapted(loaded, tmp_path / "lora") as ready:
        beside = masked_logits(ready)
    with adapted(loaded, tmp_path / "lora", merge=True) as ready:
        merged = masked_logits(ready)
        assert not any("lora" in name for name, _ in ready.model.named_modules())
    torch.testing.assert_close(beside, merged, rtol=1e-4, atol=1e-4)
    assert (beside - plain).abs().max() > 0.05

    saved, modules = load_file(tmp_path / "lora/adapter_model.safetensors"), dict(loaded.model.named_modules())
    for key, down in saved.items():
        if "lora_A" in key:
            up = saved[key.replace("lora_A", "lora_B")]
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            modules[name].weight.data += QUICK.alpha / QUICK.rank * up.float() @ down.float()
    for row, expected in zip(IDS, beside, strict=True):
        by_hand, _ = plain_decoder.forward(loaded.model, torch.from_numpy(row), choose_for(DIP, loaded))
        torch.testing.assert_close(by_hand, expected, rtol=1e-3, atol=1e-3)


def test_many_layers_are_named_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = transformers.LlamaConfig(**SHAPE | {"num_hidden_layers": 7})  # PEFT shortens lists of 20 names
    monkeypatch.setitem(FAMILIES, "llama", lambda: deep)
    loaded, _ = learn(tmp_path / "lora", recipe=replace(QUICK, steps=1))
    config = json.loads((tmp_path / "lora/adapter_config.json").read_text())
    assert len(config["target_modules"]) == 3 * 7
    with adapted(loaded, tmp_path / "lora", merge=True) as ready:
        assert ready.name == "llama + lora"


def test_peft_itself_reads_the_folder(tmp_path: Path) -> None:
    loaded, _ = learn(tmp_path / "lora")
    with adapted(loaded, tmp_path / "lora") as ready, torch.no_grad():
        own = ready.model(torch.from_numpy(IDS)).logits
    model = peft.PeftModel.from_pretrained(random_model("llama", torch.float32).model, tmp_path / "lora")
    with torch.no_grad():
        torch.testing.assert_close(model(torch.from_numpy(IDS)).logits, own)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_the_adapter_sees_masked_inputs(tmp_path: Path, family: str) -> None:
    loaded, _ = learn(tmp_path / "lora", family)
    seen: dict[int, set[int]] = {}

    def count(module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if args[0].shape[1] > 1:  # not the probe that looks for gated MLPs
            seen.setdefault(args[0].shape[-1], set()).update((args[0] != 0).sum(-1).flatten().tolist())

    with adapted(loaded, tmp_path / "lora") as ready:
        for name, module in ready.model.named_modules():
            if name.endswith("lora_A.default"):
                module.register_forward_pre_hook(count)
        masked_logits(ready)
    kept = {width: int(keep * width) for width, keep in zip((16, 24), DIP.keeps, strict=True)}
    assert seen == {width: {n} for width, n in kept.items()}


def test_before_it_learns_the_loss_is_the_divergence_from_the_dense_model(tmp_path: Path) -> None:
    loaded, learnt = learn(tmp_path / "kl")
    _, by_text = learn(tmp_path / "ce", recipe=Recipe(**(vars(QUICK) | {"loss": "cross-entropy"})))
    ids = torch.from_numpy(TEXT[-1])  # of twelve windows, one is held out
    dense = plain_decoder.forward(loaded.model, ids)[0]
    masked = plain_decoder.forward(loaded.model, ids, choose_for(DIP, loaded))[0]
    p, q = dense.softmax(-1), masked.softmax(-1)
    assert learnt.loss_before == pytest.approx((p * (p / q).log()).sum(-1).mean().item(), rel=1e-3)
    assert by_text.loss_before == pytest.approx(-q[range(10), ids[1:]].log().mean().item(), rel=1e-3)


@pytest.mark.parametrize("loss", ["kl", "cross-entropy"])
def test_it_learns(tmp_path: Path, loss: str) -> None:
    recipe = Recipe(**(vars(QUICK) | {"steps": 40, "evaluate_every": 10, "loss": loss}))
    loaded, learnt = learn(tmp_path / "lora", recipe=recipe)
    assert learnt.loss < 0.7 * learnt.loss_before
    with adapted(loaded, tmp_path / "lora") as ready:
        own = masked_logits(ready, TEXT[-1:])[0].log_softmax(-1)
    taught = plain_decoder.forward(loaded.model, torch.from_numpy(TEXT[-1]))[0].log_softmax(-1)
    divergence = (taught.exp() * (taught - own)).sum(-1).mean().item()
    by_text = -own[range(10), TEXT[-1, 1:]].mean().item()
    assert learnt.loss == pytest.approx(divergence if loss == "kl" else by_text, rel=0.02)
    about = json.loads((tmp_path / "lora/dipsim.json").read_text())
    assert (about["held_out_loss"], about["step"], about["rank"]) == (learnt.loss, learnt.best_step, 3)


def test_a_resumed_run_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    recipe = Recipe(**(vars(QUICK) | {"steps": 8, "patience": 100}))
    _, unbroken = learn(tmp_path / "whole", recipe=recipe)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "parts", recipe=recipe, on_step=stop)
    assert (tmp_path / "parts/checkpoint.safetensors").exists()
    steps: list[int] = []
    _, resumed = learn(
        tmp_path / "parts", recipe=recipe, resume=True, on_step=lambda done, total, note: steps.append(done)
    )
    assert sorted({*steps}) == [5, 6, 7, 8]  # from the checkpoint of step 4
    assert resumed == unbroken
    for name in ("adapter_model.safetensors", "adapter_config.json", "dipsim.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted(
        ["adapter_model.safetensors", "adapter_config.json", "dipsim.json"]
    )


def test_only_the_same_run_is_resumed(tmp_path: Path) -> None:
    def stop(done: int, total: int, note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "lora", on_step=stop)
    other = Recipe(**(vars(QUICK) | {"learning_rate": 0.5, "seed": 9}))
    with pytest.raises(DipsimError, match=r"learning_rate is 0.5, was 0.02; seed is 9, was 0$"):
        learn(tmp_path / "lora", recipe=other, resume=True)
    with pytest.raises(DipsimError, match=r"than before: masking.name is dip-ca, was dip$"):
        learn(tmp_path / "lora", masking=DipCa(density=0.5), resume=True)
    with pytest.raises(DipsimError, match="window_tokens is 10, was 11"):
        learn(tmp_path / "lora", ids=TEXT[:, :10], resume=True)
    with pytest.raises(DipsimError, match=r"tokens is \w+, was \w+"):
        learn(tmp_path / "lora", ids=TEXT[:-2], resume=True)
    (tmp_path / "lora/checkpoint.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(DipsimError, match=r"checkpoint.safetensors': cannot be read"):
        learn(tmp_path / "lora", resume=True)


def test_it_stops_when_nothing_is_gained(tmp_path: Path) -> None:
    recipe = Recipe(**(vars(QUICK) | {"learning_rate": 1e-30, "steps": 100, "patience": 3}))
    _, learnt = learn(tmp_path / "lora", recipe=recipe)
    assert (learnt.steps, learnt.best_step, learnt.loss) == (6, 0, learnt.loss_before)


@pytest.mark.parametrize("merge", [False, True])
def test_the_model_is_as_before(tmp_path: Path, merge: bool) -> None:
    loaded, _ = learn(tmp_path / "lora")
    fresh = random_model("llama", torch.float32).model
    loaded.model.train()
    with pytest.raises(ZeroDivisionError), adapted(loaded, tmp_path / "lora", merge):
        raise ZeroDivisionError
    assert [(name, type(module)) for name, module in loaded.model.named_modules()] == [
        (name, type(module)) for name, module in fresh.named_modules()
    ]
    for (name, own), other in zip(loaded.model.named_parameters(), fresh.parameters(), strict=True):
        assert torch.equal(own, other), name
        assert own.requires_grad, name
    assert hooks_on(loaded.model) == 0
    assert not hasattr(loaded.model, "peft_config")
    assert all(module.training for module in loaded.model.modules())


@pytest.mark.parametrize(
    ("masking", "layers"),
    [
        (DIP, ["gate_proj", "up_proj", "down_proj"]),
        (Glu(keep=0.4), ["down_proj"]),
        (Gate(keep=0.4), ["up_proj", "down_proj"]),
        (Up(keep=0.4), ["gate_proj", "down_proj"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_layers_are_those_of_masked_groups(masking: Method, layers: list[str]) -> None:
    expected = [f"model.layers.{layer}.mlp.{name}" for layer in range(2) for name in layers]
    assert masked_layers(random_model("llama"), masking) == expected


@tight_slots
def test_bytes_are_counted_unless_it_is_merged(tmp_path: Path) -> None:
    masking = DipCa(density=0.5, gamma=0.2)

    def describe(trace: Any) -> Simulation:
        return Simulation(device(), trace, masking, "lru", dram="0.9x")

    loaded = random_model("llama", torch.float32)
    learnt = adapt(loaded, TEXT, describe, tmp_path / "lora", QUICK)
    n_weights = 2 * 3 * QUICK.rank * (SHAPE["hidden_size"] + SHAPE["intermediate_size"])
    assert (learnt.n_weights, learnt.n_bytes) == (n_weights, 2 * n_weights)
    assert json.loads((tmp_path / "lora/dipsim.json").read_text())["masking"]["cache"]["dram"] == "0.9x"
    losses = {}
    for merge in (False, True):
        with adapted(loaded, tmp_path / "lora", merge) as ready:
            assert ready.adapter_bytes == (0 if merge else 2 * n_weights)
            assert ready.name == "llama + lora"
            losses[merge] = evaluate(ready, IDS, describe).loss
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)


def test_an_adapter_for_another_model_is_refused(tmp_path: Path) -> None:
    loaded, _ = learn(tmp_path / "lora")
    noisy = random_model("llama", torch.float32)
    for parameter in noisy.model.parameters():
        parameter.data *= 1 + 0.05 * torch.randn_like(parameter)
    scaled = random_model("llama", torch.float32)
    scaled.model.model.layers[1].mlp.gate_proj.weight.data *= 1.1
    for other in (random_model("phi3"), scaled, noisy):
        with (
            pytest.raises(DipsimError, match=r"is for another model, 'llama'; got '(llama|phi3)'"),
            adapted(other, tmp_path / "lora"),
        ):
            pass
    with adapted(random_model("llama", torch.bfloat16), tmp_path / "lora"):
        pass  # the same one, in another precision
    weights = tmp_path / "lora/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DipsimError, match="cannot be read"), adapted(loaded, tmp_path / "lora"):
        pass
    with pytest.raises(DipsimError, match=r"holds no dipsim.json"), adapted(loaded, tmp_path):
        pass


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter as it may be sent."""
    folder = tmp_path_factory.mktemp("sent") / "lora"
    learn(folder)
    return folder


@pytest.mark.parametrize(
    ("file", "changes", "told"),
    [
        ("adapter_config.json", {"target_modules": "A" * 5000}, "target_modules: got 'A+...; input should be a valid"),
        ("adapter_config.json", {"target_modules": ["lm_head.x"]}, "target_modules: got 'lm_head.x'; the model has no"),
        ("adapter_config.json", {"exclude_modules": math.nan}, "exclude_modules: got nan; 'dipsim adapt' writes None"),
        ("adapter_config.json", {"use_dora": True}, "use_dora: got True; 'dipsim adapt' writes False"),
        ("adapter_config.json", {"auto_mapping": {"parent_library": "os"}}, "auto_mapping: got"),
        ("adapter_config.json", {"peft_type": "IA3"}, "peft_type: got 'IA3'; input should be 'LORA'"),
        ("adapter_config.json", {"r": 10**9}, "its weights are not those that its adapter_config.json describes"),
        ("adapter_config.json", {"r": "4"}, "r: got '4'; input should be a valid integer"),
        ("adapter_config.json", {"lora_alpha": math.inf}, "lora_alpha: got inf"),
        ("dipsim.json", {"model": ["a"]}, r"model: got \['a'\]"),
        ("dipsim.json", {"fingerprint": [[]]}, "fingerprint.0: got"),
        ("dipsim.json", {"fingerprint": [[0.5], ["x"]]}, "fingerprint.1.0: got 'x'"),
    ],
)
def test_an_adapter_that_says_what_none_does(
    file: str, changes: dict[str, Any], told: str, sent: Path, tmp_path: Path
) -> None:
    shutil.copytree(sent, tmp_path / "lora")
    path = tmp_path / "lora" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with (
        pytest.raises(DipsimError, match=f"adapter.*: {told}"),
        adapted(random_model("llama", torch.float32), tmp_path / "lora"),
    ):
        pass


def test_weights_that_are_no_numbers_are_refused(sent: Path, tmp_path: Path) -> None:
    shutil.copytree(sent, tmp_path / "lora")
    path = tmp_path / "lora" / "adapter_model.safetensors"
    weights = load_file(path)
    weights[min(weights)][0, 0] = math.nan
    save_file(weights, path)
    with pytest.raises(DipsimError, match="no finite numbers"), adapted(random_model("llama"), tmp_path / "lora"):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "rank: got 0; must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0; must be above 0"),
        ({"loss": "kll"}, "loss: unknown name, got 'kll'; did you mean 'kl'"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_recipes_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        Recipe(**changes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masking": Dense()}, "method 'dense': masks no activations"),
        ({"masking": MagnitudePruning(density=0.5)}, "method 'magnitude-pruning': masks no activations"),
        ({"ids": TEXT[:1]}, "text: got 1 window of 11 tokens; two are needed"),
        (
            {"recipe": Recipe(learning_rate=1e20, steps=4, evaluate_every=2)},
            "learning_rate: got 1e.20; at step 1: .*activations",
        ),
    ],
    ids=["dense", "pruning", "short", "diverged"],
)
def test_what_cannot_be_trained(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        learn(tmp_path / "lora", **given)


def test_folders_are_checked_before_any_work(tmp_path: Path) -> None:
    check_folder(tmp_path / "new", resume=False, force=False)
    (tmp_path / "file").write_text("")
    taken = tmp_path / "taken"
    taken.mkdir()
    check_folder(taken, resume=False, force=False)  # empty
    for name in ("dipsim.json", "checkpoint.safetensors"):
        (taken / name).write_text("")
    check_folder(taken, resume=True, force=False)
    check_folder(taken, resume=False, force=True)
    for folder, resume, force, message in [
        (tmp_path / "no/where", False, False, "its folder does not exist"),
        (tmp_path / "file", False, True, "no folder"),
        (tmp_path / "new", True, False, "holds no checkpoint"),
        (taken, False, False, "exists already; give --force to replace it, or --resume"),
        (tmp_path, False, True, "holds 'file', which is no part of an adapter"),
    ]:
        with pytest.raises(DipsimError, match=message):
            check_folder(folder, resume, force)


def test_a_held_out_loss_that_is_no_number_is_never_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipsim.sparsify.adapters.training._Run._loss", lambda run, windows: torch.tensor(float("nan")))
    with pytest.raises(DipsimError, match="at step 0 held-out loss is nan"):
        learn(tmp_path / "lora")
