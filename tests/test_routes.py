"""Routes of other engines: what becomes of good files, and which line of a bad one is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dipsim import DipsimError, Experts, ExpertsCa, HardwareProfile, Mixture, ModelSpec, Simulation, Trace, routes
from dipsim.cli import main
from dipsim.routes import import_bigmoe, import_routes
from dipsim.trace.statistics import trace_statistics

K, E, N_PROMPT, N_TOKENS = 2, 6, 3, 4
BYTES = [0, 3000, 2400]
MODEL = ModelSpec(
    name="mix",
    n_layers=3,
    hidden_size=16,
    intermediate_size=40,
    n_heads=2,
    n_kv_heads=1,
    head_dim=8,
    vocab_size=32,
    mixture=Mixture(n_experts=E, experts_per_token=4, expert_size=100, dense_layers=[0]),
)
HEADER = [
    "# route_trace v1",
    f"# model=/a folder/mix.gguf arch=mixmoe n_layer=3 n_expert={E} n_expert_used={K}",
    *(f"# layer={layer} expert_bytes={BYTES[layer]} dense_bytes=700" for layer in range(3)),
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes",
]
Row = tuple[int, int, int, int, int, int, float]


def rows(n_turns: int = 1) -> list[Row]:
    """turn, phase, step, layer, slot, expert, weight in the order of the engine: the prompt layer by layer, the last
    layer for its last token alone."""
    rng = np.random.default_rng(1)
    found: list[Row] = []
    for turn in range(n_turns):
        prompt = [(layer, step) for layer in (1, 2) for step in range(N_PROMPT) if layer == 1 or step == N_PROMPT - 1]
        decoded = [(layer, step) for step in range(N_PROMPT, N_PROMPT + N_TOKENS) for layer in (1, 2)]
        for phase, places in ((0, prompt), (1, decoded)):
            for layer, step in places:
                weights = np.sort(rng.dirichlet([1] * K))[::-1]
                for slot, expert in enumerate(rng.permutation(E)[:K]):
                    found.append((turn, phase, step, layer, slot, int(expert), float(f"{weights[slot]:.6g}")))
    return found


def bigmoe_lines(found: list[Row]) -> list[str]:
    return [*HEADER, *(f"{','.join(map(str, row))},0,{BYTES[row[3]] * (i % 2)}" for i, row in enumerate(found))]


def general(found: list[Row]) -> pd.DataFrame:
    table = pd.DataFrame(found, columns=["sequence", "phase", "token", "layer", "slot", "expert", "weight"])
    return table.assign(prompt=1 - table.phase)[["sequence", "token", "layer", "expert", "weight", "prompt"]]


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def expected(found: list[Row], turn: int, phase: int, layer: int) -> np.ndarray:
    """Scores by hand, [token, expert]."""
    scores = np.zeros((N_TOKENS if phase else N_PROMPT, E), np.float16)
    for own in found:
        if own[:2] == (turn, phase) and own[3] == layer:
            scores[own[2] - N_PROMPT * phase, own[5]] = own[6]
    return scores


def check(trace: Trace, found: list[Row], n_turns: int) -> None:
    assert [(s.start, s.stop, s.prompt_length) for s in trace.sequences] == [
        (N_TOKENS * i, N_TOKENS * (i + 1), N_PROMPT) for i in range(n_turns)
    ]
    assert trace.chosen_per_token == K
    assert trace.model.mixture.experts_per_token == K
    assert trace.has_prompt
    for turn in range(n_turns):
        for layer in range(3):
            start = turn * N_TOKENS
            scores = trace.read("router", start, start + N_TOKENS, layer).view(np.float16)
            np.testing.assert_array_equal(scores, expected(found, turn, 1, layer))
            prompt = trace.prompt_scores("router", turn, layer).view(np.float16)
            np.testing.assert_array_equal(prompt, expected(found, turn, 0, layer))


def test_bigmoe(tmp_path: Path) -> None:
    found = rows(2)
    path = written(tmp_path / "a.csv", bigmoe_lines(found))
    trace = import_bigmoe(path, tmp_path / "a.zarr.zip", MODEL)
    check(trace, found, 2)
    assert trace.model.mixture.expert_bytes == BYTES
    assert trace.source["model"] == "mix.gguf"
    assert trace.source["dense_bytes"] == [700] * 3
    import_bigmoe(path, tmp_path / "b.zarr.zip", MODEL)
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_general_form_in_any_order(tmp_path: Path, ending: str) -> None:
    found = rows(2)
    table = general(found).sample(frac=1, random_state=3)[["weight", "expert", "prompt", "layer", "token", "sequence"]]
    path = tmp_path / f"a.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.astype({"prompt": bool}).to_parquet(path, index=False)
    trace = import_routes(path, tmp_path / "a.zarr", MODEL)
    check(trace, found, 2)
    assert trace.model.mixture.expert_bytes is None


def test_without_prompts_the_first_token_tells_their_length(tmp_path: Path) -> None:
    found = [row for row in rows() if row[1] == 1]
    general(found).drop(columns="prompt").to_csv(tmp_path / "a.csv", index=False)
    trace = import_routes(tmp_path / "a.csv", tmp_path / "a.zarr", MODEL)
    assert (trace.sequences[0].prompt_length, trace.has_prompt) == (N_PROMPT, False)
    with pytest.raises(DipsimError, match="no scores of the prompts at site 'router'"):
        trace.prompt_scores("router", 0, 1)


def test_a_chosen_expert_of_no_weight_is_still_chosen(tmp_path: Path) -> None:
    found = [(*row[:6], 0.0 if row[4] else 1.0) for row in rows()]
    trace = import_bigmoe(written(tmp_path / "a.csv", bigmoe_lines(found)), tmp_path / "a.zarr", MODEL)
    assert (np.count_nonzero(trace.read("router", 0, N_TOKENS, 1), axis=1) == K).all()


def test_methods_that_rank_anew_are_refused_by_name(tmp_path: Path) -> None:
    trace = import_bigmoe(written(tmp_path / "a.csv", bigmoe_lines(rows())), tmp_path / "a.zarr", MODEL)
    profile = HardwareProfile.load("oneplus-12-ufs4")
    with pytest.raises(DipsimError, match=r"method 'experts-ca' ranks .* scores of the 2 columns alone"):
        Simulation(profile, trace, ExpertsCa(), "lru")
    with pytest.raises(DipsimError, match=r"method 'experts' takes 3 columns of 'experts' .*--experts-per-token 2"):
        Simulation(profile, trace, Experts(per_token=3), "lru")
    with pytest.raises(DipsimError, match=r"keep: got 0.5; .* has scores of 2 of 6 columns .* at most 0.3334"):
        trace_statistics(trace, 0.5)
    assert set(trace_statistics(trace, 0.3334).overlap_1.dropna() <= 1) == {True}
    result = Simulation(profile, trace, Experts(), "lru").run().to_dict()
    assert result["n_tokens"] == N_TOKENS


def changed(at: int, new: str | None) -> Callable[[list[str]], list[str]]:
    """The file's lines with another in place of the one of that index, or without it."""
    return lambda lines: [*lines[:at], *([] if new is None else [new]), *lines[at + 1 :]]


N = len(HEADER)
N_ROWS = len(rows())
BAD = {
    "hole, a row": (changed(N, None), r"line 7: sequence 0, token 0, layer 1: got 1 experts; 2 in every other place"),
    "hole, a layer": (lambda lines: lines[:-2], r"line 27: .*token 6, layer 1: is the first of 1 .*layer 2 is missing"),
    "hole, a token": (lambda lines: [*lines[:-8], *lines[-4:]], r"line 23: .*token 5 of the sequence is missing"),
    "expert": (changed(N + 1, "0,0,0,1,1,6,.5,0,0"), r"line 8: expert: got 6; must be a whole number from 0 to 5"),
    "half": (changed(N + 1, "0,0,0,1,1,1.5,.5,0,0"), r"line 8: expert: got 1.5; must be a whole"),
    "layer": (changed(N + 1, "0,0,0,3,1,1,.5,0,0"), r"line 8: layer: got 3; must be a whole number from 0 to 2"),
    "bytes": (changed(N + 1, "0,0,0,1,1,1,.5,0,2999"), r"line 8: expert_bytes: got 2999; .* layer 1 has 3000"),
    "NaN": (changed(N + 1, "0,0,0,1,1,1,nan,0,0"), r"line 8: weight: got nothing or NaN"),
    "negative": (changed(N + 1, "0,0,0,1,1,1,-.5,0,0"), r"line 8: weight: got -0.5; must be from 0 to 65504"),
    "cut": (lambda lines: [*lines[:-1], lines[-1][:9]], rf"line {N + N_ROWS}: got 5 fields; must be 9: turn,phase"),
    "word": (changed(N + 1, "0,0,0,1,1,x,.5,0,0"), r"line 8: expert: got 'x'; must be a number"),
    "phase": (changed(N + 1, "0,2,0,1,1,1,.5,0,0"), r"line 8: phase: got 2; 0 \(prompt\) or 1"),
    "empty": (lambda lines: lines[:N], r"a.csv: has no rows"),
    "not it": (changed(0, "a,b"), r"line 1: got 'a,b'; a route trace of BigMoeOnEdge begins with"),
    "sizes": (changed(1, HEADER[1].replace("n_layer=3", "n_layer=4")), r"line 6: got 'turn,.*must be '# layer=3"),
    "a layer's line": (changed(3, None), r"line 4: got '# layer=2.*must be '# layer=1"),
    "used": (changed(1, HEADER[1].replace("used=2", "used=3")), r"line 2: says 3 experts for a token; got 2"),
    "dense": (changed(2, "# layer=0 expert_bytes=9 dense_bytes=1"), r"no experts in layer 0; .* says 9 bytes"),
    "fat": (
        lambda lines: [line.replace("3000", "30000") for line in lines],
        r"4,800 weights; .* says 30,000 bytes in layer 1, 50 bits each",
    ),
    "decoded first": (
        lambda lines: [*lines, "0,0,9,1,0,1,.5,0,0"],
        r"line 31: .*token 9, layer 1: got 1 experts",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_routes_name_the_line(tmp_path: Path, name: str) -> None:
    change, message = BAD[name]
    path = written(tmp_path / "a.csv", change(bigmoe_lines(rows())))
    with pytest.raises(DipsimError, match=message) as refused:
        import_bigmoe(path, tmp_path / "a.zarr", MODEL)
    assert "\n" not in str(refused.value)
    assert [own.name for own in tmp_path.iterdir()] == ["a.csv"]


def test_an_expert_twice_names_the_second_line(tmp_path: Path) -> None:
    found = rows()
    found[1] = (*found[1][:5], found[0][5], found[1][6])
    with pytest.raises(DipsimError, match=rf"line 8: sequence 0, token 0, layer 1: expert {found[0][5]} twice"):
        import_bigmoe(written(tmp_path / "a.csv", bigmoe_lines(found)), tmp_path / "a.zarr", MODEL)


def test_of_the_last_layer_a_prompt_has_an_end(tmp_path: Path) -> None:
    """Its last tokens and no others: a token in the middle is a hole."""
    found = rows()
    extra = [(0, 0, 0, 2, slot, slot, 0.5) for slot in range(K)]
    with pytest.raises(DipsimError, match=r"token 1, layer 1: is the first of 1 .*layer 2 is missing"):
        import_bigmoe(written(tmp_path / "a.csv", bigmoe_lines([*extra, *found])), tmp_path / "a.zarr", MODEL)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("sequence,token,layer,expert", "line 1: has no column 'weight'"),
        ("sequence,token,layer,expert,weigth", "line 1: column 'weigth': unknown; did you mean 'weight'?"),
        ("sequence,token,layer,expert,weight,weight", "has a column twice"),
    ],
)
def test_columns_of_the_general_form(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DipsimError, match=message.replace("?", r"\?")):
        import_routes(written(tmp_path / "a.csv", [header, "0,0,1,0,.5"]), tmp_path / "a.zarr", MODEL)


def test_bad_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DipsimError, match=r"a.parquet: not a Parquet file of numbers"):
        import_routes(tmp_path / "a.parquet", tmp_path / "a.zarr", MODEL)
    table = general(rows())
    table.assign(expert=table.expert.astype(str).replace("3", "x")).to_parquet(tmp_path / "b.parquet", index=False)
    with pytest.raises(DipsimError, match=r"b.parquet: not a Parquet file of numbers"):
        import_routes(tmp_path / "b.parquet", tmp_path / "a.zarr", MODEL)
    table.assign(weight=[None, *table.weight[1:]]).to_parquet(tmp_path / "c.parquet", index=False)
    with pytest.raises(DipsimError, match=r"c.parquet: row 1: weight: got nothing or NaN"):
        import_routes(tmp_path / "c.parquet", tmp_path / "a.zarr", MODEL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1 is not UTF-8; not a CSV file of routes"),
        (b"a" * 10_000, "line 1 has more than 4096 bytes; not a CSV file of routes"),
        (b"# route_trace v1\n\0", "line 2 has a NUL"),
    ],
)
def test_what_is_no_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DipsimError, match=message):
        import_bigmoe(tmp_path / "a.csv", tmp_path / "a.zarr", MODEL)


def test_more_rows_than_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes.rows, "MOST_ROWS", N_ROWS - 1)
    general(rows()).to_parquet(tmp_path / "a.parquet", index=False)
    general(rows()).to_csv(tmp_path / "a.csv", index=False)
    for name in ("a.parquet", "a.csv"):
        with pytest.raises(DipsimError, match=f"{name}: has more than {N_ROWS - 1} rows"):
            import_routes(tmp_path / name, tmp_path / "a.zarr", MODEL)


def test_the_model_must_be_the_file_s(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", bigmoe_lines(rows()))
    for model, message in (
        (None, "no preset is of architecture 'mixmoe' with 3 layers and 6 experts; give --model"),
        (ModelSpec.load("tiny"), "'tiny' has no experts to route to"),
        (MODEL.model_copy(update={"n_layers": 4}), "'mix' has 4 layers; .*a.csv says 3"),
    ):
        with pytest.raises(DipsimError, match=message):
            import_bigmoe(path, tmp_path / "a.zarr", model)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "a.csv", bigmoe_lines(rows()))
    general(rows()).to_csv(tmp_path / "b.csv", index=False)
    (tmp_path / "model.json").write_text(MODEL.model_dump_json())
    for form, name in (("bigmoe", path), ("routes", tmp_path / "b.csv")):
        words = ["import", form, str(name), "--model", str(tmp_path / "model.json"), "-o", str(tmp_path / "a.zarr.zip")]
        monkeypatch.setattr("sys.argv", ["dipsim", *words, "--force"])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code
        said = capsys.readouterr().err
        assert "4 tokens and 3 of prompts in 1 sequences, 2 experts each, of mix" in said
