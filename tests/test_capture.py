"""Capture on real model classes: scores and masks as a plain forward gives them, and no trace of the hooks after."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plain_decoder
import pytest
import reference
import torch
import transformers
from conftest import device
from random_models import FAMILIES, IDS, as_scores, random_model
from torch import Tensor, nn

from dipsim import Dense, Dip, DipCa, DipsimError, Gate, Glu, ModelSpec, Simulation, Trace, Up, shipped
from dipsim.methods import Method
from dipsim.model.groups import SITES, Group, mlp_group
from dipsim.sparsify.capture import capture
from dipsim.sparsify.gated_mlp import find_gated_mlps
from dipsim.sparsify.hooks import Plan, hooked, without_cache
from dipsim.sparsify.loading import LoadedModel, load_model, read_spec, read_text, windows
from dipsim.sparsify.perplexity import losses


def choose_for(masking: Method, loaded: LoadedModel) -> plain_decoder.ChooseMask:
    """The method's masks from the twin's top-k on float16 scores."""
    groups = {group.site: group for group in masking.groups(loaded.spec)}

    def choose(site: str, layer: int, magnitude: Tensor) -> Tensor:
        if site not in groups:
            return torch.ones_like(magnitude)
        keep = masking.keeps[site == "glu"] if isinstance(masking, Dip) else masking.masked_keep  # type: ignore[attr-defined]
        k = max(1, int(keep * groups[site].n_columns))
        return torch.from_numpy(np.stack([reference.top_k(row, k) for row in as_scores(magnitude)])).to(magnitude)

    return choose


def hooks_on(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


METHODS: list[Method] = [Dense(), Dip(density=0.5), Glu(keep=0.4), Gate(keep=0.4), Up(keep=0.4)]


@pytest.mark.parametrize("masking", METHODS, ids=lambda masking: masking.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_a_plain_forward(tmp_path: Path, family: str, masking: Method) -> None:
    loaded = random_model(family)
    capture(loaded, IDS, tmp_path / "t.zarr", masking=masking, sites=SITES[:4], n_batch=2)
    trace = Trace.open(tmp_path / "t.zarr")
    assert trace.token_ids.tolist() == IDS.reshape(-1).tolist()
    for number, row in enumerate(IDS):
        logits, seen = plain_decoder.forward(loaded.model, torch.from_numpy(row), choose_for(masking, loaded))
        if isinstance(masking, Dense):  # the plain forward itself is right
            torch.testing.assert_close(
                logits, loaded.model(torch.from_numpy(row)[None]).logits[0], rtol=1e-4, atol=1e-4
            )
        for (site, layer), magnitude in seen.items():
            got = trace.read(site, number * 11, number * 11 + 11)[:, layer].view(np.float16)
            expected = as_scores(magnitude)
            # transformers keeps norms and angles in float32; one float16 step is 1e-3.
            np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-4 * expected.max(), err_msg=f"{site} {layer}")
            np.testing.assert_array_equal(got == 0, expected == 0, f"{site} {layer}")


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_replay_chooses_the_masks_that_the_hooks_applied(tmp_path: Path, family: str) -> None:
    loaded = random_model(family, torch.float32)
    applied: dict[tuple[str, int], list[np.ndarray]] = {}

    def watch(site: str, layer: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def see(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if args[0].shape[1] > 1:  # not the probe that looks for gated MLPs
                applied.setdefault((site, layer), []).extend((args[0][0] != 0).numpy())

        return see

    mlps = find_gated_mlps(loaded.model, 2)
    for layer, mlp in enumerate(mlps):
        mlp.gate.register_forward_hook(watch("mlp_input", layer))
        mlp.down.register_forward_hook(watch("glu", layer))
    capture(loaded, IDS, tmp_path / "t.zarr.zip", masking=Dip(density=0.5))

    chosen: dict[tuple[str, int], list[np.ndarray]] = {}

    starts: Counter[str] = Counter()

    class Watched(Dip):
        """Every layer is asked for all tokens of a sequence, which here is one block, before the next layer is."""

        def select(self, group: Any, scores: Any, resident: Any, token: int, mask: Any) -> None:
            super().select(group, scores, resident, token, mask)
            starts[group.site] += token == 0
            chosen.setdefault((group.site, (starts[group.site] - 1) % 2), []).append(mask.copy())

    trace = Trace.open(tmp_path / "t.zarr.zip")
    Simulation(device(), trace, Watched(density=0.5), "lru", dram="1x").run()
    assert chosen.keys() == applied.keys()
    for key, rows in applied.items():
        np.testing.assert_array_equal(np.stack(chosen[key]), np.stack(rows), str(key))


def test_prompt_is_dense_and_not_recorded(tmp_path: Path) -> None:
    loaded, masking, n_prompt = random_model("llama"), Dip(density=0.3), 4
    capture(loaded, IDS, tmp_path / "t.zarr", masking=masking, n_prompt=n_prompt)
    trace = Trace.open(tmp_path / "t.zarr")
    assert [(s.start, s.stop, s.prompt_length) for s in trace.sequences] == [(0, 7, 4), (7, 14, 4), (14, 21, 4)]
    assert trace.token_ids.tolist() == IDS[:, n_prompt:].reshape(-1).tolist()
    by_twin = choose_for(masking, loaded)

    def dense_prompt(site: str, layer: int, magnitude: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(magnitude[:n_prompt]), by_twin(site, layer, magnitude[n_prompt:])])

    _, seen = plain_decoder.forward(loaded.model, torch.from_numpy(IDS[1]), dense_prompt)
    for (site, layer), magnitude in seen.items():
        if site in trace.sites:
            expected = as_scores(magnitude[n_prompt:])
            got = trace.read(site, 7, 14)[:, layer].view(np.float16)
            np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-4 * expected.max(), err_msg=f"{site} {layer}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_models(tmp_path: Path, dtype: torch.dtype) -> None:
    loaded = random_model("llama", dtype)
    capture(loaded, IDS, tmp_path / "t.zarr", masking=Dense())
    scores = Trace.open(tmp_path / "t.zarr").read("glu", 0, 11).view(np.float16).astype(np.float64)
    _, seen = plain_decoder.forward(loaded.model.double(), torch.from_numpy(IDS[0]))
    error = np.abs(scores[:, 0] - as_scores(seen["glu", 0])).max() / scores.max()
    assert error < {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}[dtype]


def test_model_is_as_before(tmp_path: Path) -> None:
    loaded = random_model("phi3")
    loaded.model.train()
    loaded.model.model.layers[0].eval()
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    modes = [module.training for module in loaded.model.modules()]
    capture(loaded, IDS, tmp_path / "t.zarr", masking=Dip(density=0.5), sites=SITES[:4])
    assert hooks_on(loaded.model) == 0
    assert [module.training for module in loaded.model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_hooks_leave_and_no_file_stays_when_the_model_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = random_model("llama")

    def broken(*given: Any) -> None:
        raise IndexError

    monkeypatch.setattr(loaded.model.model.norm, "forward", broken)
    with pytest.raises(IndexError):
        capture(loaded, IDS, tmp_path / "t.zarr", masking=Dense())
    assert hooks_on(loaded.model) == 0
    assert list(tmp_path.iterdir()) == []


def test_activations_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    loaded = random_model("llama")
    nn.init.constant_(loaded.model.model.layers[1].post_attention_layernorm.weight, float("nan"))
    with pytest.raises(DipsimError, match="layer 1, site 'mlp_input': got infinite or NaN activations"):
        capture(loaded, IDS, tmp_path / "t.zarr", masking=Dense())


def test_activations_beyond_float16_count_as_its_largest_number(tmp_path: Path) -> None:
    loaded = random_model("llama", torch.float32)
    norm = loaded.model.model.layers[0].post_attention_layernorm.weight
    nn.init.ones_(norm)
    with torch.no_grad():
        norm[3] = 1e9
    capture(loaded, IDS, tmp_path / "t.zarr", masking=Dense(), sites=("mlp_input",))
    scores = Trace.open(tmp_path / "t.zarr").read("mlp_input", 0, 11)[:, 0].view(np.float16)
    assert (scores[:, 3] == 65504).all()
    assert (np.delete(scores, 3, axis=1) < 100).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_gate_and_up_are_told_apart_by_what_they_do(family: str) -> None:
    for mlp in find_gated_mlps(random_model(family).model, 2):
        names = {module: name for name, module in mlp.module.named_modules()}
        expected = ("gate_up_proj", "gate_up_proj") if family == "phi3" else ("gate_proj", "up_proj")
        assert (names[mlp.gate], names[mlp.up], names[mlp.down]) == (*expected, "down_proj")


def test_names_and_order_do_not_matter() -> None:
    class Oddly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Linear(12, 6)
            self.a = nn.Linear(6, 12)
            self.b = nn.Linear(6, 12)
            self.squash = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.a(x) * self.squash(self.b(x)))

    (found,) = find_gated_mlps(nn.Sequential(Oddly()), 1)
    assert found.gate is found.module.b
    assert found.up is found.module.a


def test_an_activation_that_is_only_called_is_found_too() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.w2, self.w3 = nn.Linear(6, 12), nn.Linear(12, 6), nn.Linear(6, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.w2(torch.nn.functional.silu(self.w1(x)) * self.w3(x))

    (found,) = find_gated_mlps(nn.Sequential(Bare()), 1)
    assert found.gate is found.module.w1


def test_weights_that_the_checkpoint_lacks_are_not_made_up(tmp_path: Path) -> None:
    folder = tmp_path / "deeper"
    shutil.copytree(shipped.folder("tiny"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(DipsimError, match=r"9 weights are missing .* the first is model.layers.3"):
        load_model(str(folder))
    weights = folder / "model.safetensors"
    (folder / "config.json").write_text(json.dumps(config))
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(DipsimError, match="cannot be loaded"):
        load_model(str(folder))


def test_a_model_without_gated_mlps_is_refused() -> None:
    config = transformers.OPTConfig(
        vocab_size=50, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=16
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    message = r"looked for one gated MLP in each of 2 layers .* found 0; modules that hold linear layers: .*fc1, fc2"
    with pytest.raises(DipsimError, match=message):
        find_gated_mlps(model, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masking": DipCa(density=0.5)}, "method 'dip-ca': its masks depend on the cache"),
        ({"sites": ("gluu",)}, "sites: unknown name, got 'gluu'; did you mean 'glu'"),
        ({"sites": ("glu", "glu")}, "sites: got glu, glu; each once"),
        ({"ids": np.zeros((1, 3000), np.int64)}, "window: got 3000 tokens; model 'llama' has positions for 2048"),
        ({"n_prompt": 11}, "prompt: got 11 tokens"),
        ({"n_batch": 0}, "batch: got 0"),
    ],
)
def test_refusals(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        capture(random_model("llama"), out=tmp_path / "t.zarr", **({"masking": Dense(), "ids": IDS} | options))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["up", "gate"], "method 'Own': group 'up' at site 'mlp_input'; a real model's input is masked for up"),
        (["up_gate", "up_gate_down"], "method 'Own': two groups at site 'mlp_input'; a real model has one mask there"),
    ],
)  # fmt: skip
def test_groups_that_no_real_model_can_mask_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    class Own(Method):
        looks_at_residency = False

        def groups(self, model: ModelSpec) -> tuple[Group, ...]:
            return tuple(mlp_group(model, name, "mlp_input") for name in names)

        def select(self, group: Group, scores: Any, resident: Any, token: int, mask: Any) -> None:
            mask[0] = True

    with pytest.raises(DipsimError, match=message):
        capture(random_model("llama"), IDS, tmp_path / "t.zarr", masking=Own())


def test_loading_refusals(tmp_path: Path) -> None:
    with pytest.raises(DipsimError, match=r"config.json: cannot be read: No such file"):
        load_model(str(tmp_path))
    with pytest.raises(DipsimError, match="dtype: unknown name, got 'float23'; did you mean 'float32'"):
        load_model("tiny", dtype="float23")
    with pytest.raises(DipsimError, match="cannot be loaded"):
        load_model("tiny", device="nowhere")
    with pytest.raises(DipsimError, match="cannot be read"):
        read_text(str(tmp_path / "no.txt"))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DipsimError, match="not UTF-8"):
        read_text(str(tmp_path / "latin.txt"))
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(DipsimError, match="is empty"):
        read_text(str(tmp_path / "empty.txt"))


def test_a_saved_model_loads_by_path_and_is_named_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    random_model("qwen3", torch.bfloat16).model.save_pretrained(folder)
    load_model("tiny").tokenizer.save_pretrained(folder)
    loaded = load_model(str(folder))
    assert loaded.name == "my-model"
    assert loaded.model.dtype == torch.bfloat16
    assert (loaded.spec.n_layers, loaded.spec.head_dim, loaded.spec.name) == (2, 8, "my-model")


@pytest.mark.parametrize("named", ["somebody/kernel@main:attention", {"": "somebody/kernel"}])
def test_a_config_that_names_code_is_refused(tmp_path: Path, named: Any) -> None:
    config = random_model("qwen3").model.config.to_dict()
    (tmp_path / "config.json").write_text(json.dumps(config | {"attn_implementation": named}))
    with pytest.raises(DipsimError, match=r"attn_implementation: got .*somebody/kernel.*code from elsewhere"):
        read_spec(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"attn_implementation": "eager"}))
    assert read_spec(str(tmp_path)).n_layers == 2


def test_windows_follow_one_another() -> None:
    loaded = load_model("tiny")
    text = read_text("held-out")[:2000]
    ids = loaded.tokenizer.encode(text, add_special_tokens=False)
    assert windows(loaded.tokenizer, text, 100, 2).reshape(-1).tolist() == ids[:200]
    assert len(windows(loaded.tokenizer, text, 100, None)) == len(ids) // 100
    overlapping = windows(loaded.tokenizer, text, 100, n_tokens=199, stride=33)
    assert overlapping.tolist() == [ids[first : first + 100] for first in (0, 33, 66, 99)]
    assert len(windows(loaded.tokenizer, text, 100, n_tokens=199)) == 1
    with pytest.raises(DipsimError, match="tokens: got 99; must be at least a window's 100"):
        windows(loaded.tokenizer, text, 100, n_tokens=99)
    with pytest.raises(DipsimError, match="windows of 100000; one asked for"):
        windows(loaded.tokenizer, text, 100_000, None)
    for n_window, n_windows in ((0, None), (-5, None), (10, 0)):
        with pytest.raises(DipsimError, match="both must be at least 1"):
            windows(loaded.tokenizer, text, n_window, n_windows)


def test_a_traceback_that_is_kept_keeps_nothing_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = random_model("llama")
    loaded.model.train()

    def interrupted(*arguments: Any, **options: Any) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", interrupted)
    plan = {"masking": Dense(), "choose": without_cache(Dense()), "about": {}}
    with pytest.raises(KeyboardInterrupt) as kept:
        losses(loaded, IDS, tmp_path / "t.zarr", **plan)
    assert torch.is_grad_enabled()
    assert loaded.model.training
    assert (hooks_on(loaded.model), list(tmp_path.iterdir())) == (0, [])
    assert kept.tb is not None


def test_an_mlp_that_is_given_rows_instead_of_sequences_is_refused(tmp_path: Path) -> None:
    loaded = random_model("llama")
    (mlp, _), (group, _) = find_gated_mlps(loaded.model, 2), Dip(density=0.5).groups(loaded.spec)
    assert group.site == "mlp_input"
    plan = Plan(Dip(density=0.5), without_cache(Dip(density=0.5)))
    with hooked([mlp], loaded.spec, plan), pytest.raises(DipsimError, match=r"its MLP is given \[7, 16\]; must be"):
        mlp.module(torch.zeros(7, 16, dtype=torch.float64))
