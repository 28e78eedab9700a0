"""Positive controls: judges on rows that match or contradict the published numbers, and complete runs on tiny models and data."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from autophagy.claims import controls
from autophagy.common.loop.stages import Stages
from autophagy.common.replication.claim import claims
from autophagy.common.replication.reproduce import describe, experiments_of, judge, reproduce
from autophagy.common.replication.statistical_checks import Estimate, check_within
from autophagy.common.store import Store
from autophagy.text.tokenizer import END, train_bpe
from support.commands import autophagy
from support.tiny import small_pool
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

SEEDS = (0, 1, 2)
P1, P2, P3, P4 = (claims()[name] for name in ("P1", "P2", "P3", "P4"))


# ---- bands ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "verdict", "beyond"),
    [
        (10.9, 0.01, "holds", 0),
        (9.1, 0.01, "holds", 0),
        (10.9, 0.1, "inconclusive", 0),
        (11.1, 0.1, "inconclusive", 1),
        (12.0, 0.1, "fails", 10),
        (8.0, 0.1, "fails", -10),
        (10.0, 1.0, "inconclusive", 0),
        (10.0, 0.0, "holds", 0),
        (12.0, 0.0, "fails", np.inf),
    ],
)
def test_band_needs_the_whole_interval(value, error, verdict, beyond):
    check = check_within("x", Estimate(value, error, 1000), 10, 1)
    assert (check.verdict, check.z) == (verdict, pytest.approx(beyond))
    assert (check.p == 1) == (beyond == 0)


def test_few_chains_have_wide_intervals():
    """95 % take two standard errors of a thousand chains to either side, and 4.3 of three."""
    assert check_within("x", Estimate(10, 0.4, 1000), 10, 1).verdict == "holds"
    assert check_within("x", Estimate(10, 0.4, 3, freedom=2), 10, 1).verdict == "inconclusive"


def test_band_is_described_with_its_half_width():
    assert describe(check_within("x", Estimate(10.5, 0.1, 3), 10, 1))[1] == "≈ 10 ± 1"
    with pytest.raises(ValueError, match="half_width of the band around 10 is 0"):
        check_within("x", Estimate(10, 1, 3), 10, 0)


# ---- judges on made-up rows -------------------------------------------------------------------------------------------------


def invented_rows(policy: str, perplexity: dict[int, float] | list[float], *, scatter: float = 0.1) -> pd.DataFrame:
    """Rows of a policy whose chains scatter about the given perplexities, alike for all generations of a seed."""
    given = perplexity if isinstance(perplexity, dict) else dict(enumerate(perplexity))
    values = [(seed, generation, value + scatter * (seed - 1)) for generation, value in given.items() for seed in SEEDS]
    wide = pd.DataFrame(values, columns=["seed", "generation", "heldout_perplexity"]).assign(policy=policy)
    return wide.assign(heldout_nll=np.log(wide.heldout_perplexity)).melt(["policy", "seed", "generation"], var_name="metric")


def along(first: float, last: float, generations: int) -> list[float]:
    return np.linspace(first, last, generations + 1).tolist()


PUBLISHED = list(controls.REPLACE.values())
GPT2 = {"control-gpt2": invented_rows("replace", PUBLISHED)}
STORIES = {
    "control-stories": invented_rows("replace", np.exp([1.85, 1.98, 2.12, 2.25, 2.39, 2.5, 2.6, 2.7, 2.77, 2.84, 2.91]).tolist()),
    "control-stories-accumulate": invented_rows("accumulate", np.exp([1.85, 1.8, 1.78, 1.76, 1.74]).tolist()),
}
OPT = {"control-opt": invented_rows("replace", along(34, 58, 9)), "control-opt-10": invented_rows("mix-10", along(34, 37, 9))}


@pytest.mark.parametrize(
    ("claim", "rows", "verdict", "telling"),
    [
        (P1, GPT2, "holds", ""),
        (P1, {"control-gpt2": invented_rows("replace", [0.8 * value for value in PUBLISHED])}, "fails", "perplexity, generation 10"),
        (P1, {"control-gpt2": invented_rows("replace", along(29.6, 30, 10))}, "fails", "relative rise to generation 10"),
        (P1, {"control-gpt2": invented_rows("replace", PUBLISHED[::-1])}, "fails", "steps that go up"),
        (P1, {"control-gpt2": invented_rows("replace", PUBLISHED, scatter=5)}, "inconclusive", "perplexity, generation 10"),
        (P2, {**GPT2, "control-gpt2-augment": invented_rows("augment", along(29.6, 30.4, 10))}, "holds", ""),
        (P2, {**GPT2, "control-gpt2-augment": invented_rows("augment", PUBLISHED)}, "fails", "perplexity, generation 10"),
        (P2, {**GPT2, "control-gpt2-augment": invented_rows("augment", along(29.6, 38, 10))}, "fails", "relative rise to generation 10"),
        (P2, {"control-gpt2": invented_rows("replace", along(29.6, 29.7, 10)),
              "control-gpt2-augment": invented_rows("augment", along(29.6, 30.4, 10))},
         "fails", "with real data - without"),
        (P3, STORIES, "holds", ""),
        (P3, {**STORIES, "control-stories-accumulate": invented_rows("accumulate", np.exp([1.85, 2.0, 2.2, 2.4, 2.6]).tolist())},
         "fails", "replace - accumulate, generation 4"),
        (P3, {**STORIES, "control-stories": invented_rows("replace", np.exp([2.39] * 11).tolist())}, "fails", "from generation 4 to 10"),
        (P3, {name: rows.assign(value=rows.value * 1.5) for name, rows in STORIES.items()}, "fails", "cross-entropy, generation 4"),
        (P4, OPT, "holds", ""),
        (P4, {**OPT, "control-opt-10": invented_rows("mix-10", along(34, 60, 9))}, "fails", "rise without real data - rise with 10 %"),
        (P4, {**OPT, "control-opt-10": invented_rows("mix-10", along(34, 46, 9))}, "fails", "10 % real: rise"),
        (P4, {**OPT, "control-opt": invented_rows("replace", along(34, 75, 9))}, "fails", "no real data: rise to generation 9"),
        (P4, {**OPT, "control-opt": invented_rows("replace", along(60, 84, 9))}, "fails", "fine-tuned on real data"),
    ],
)  # fmt: skip
def test_judges_separate_matching_and_violating_rows(claim, rows, verdict, telling):
    finding = judge(claim, rows)
    assert finding.verdict == verdict
    assert not finding.note
    if telling:
        assert any(telling in check.label for check in finding.checks if check.verdict == verdict)


def test_published_numbers_are_checked_and_drawn():
    finding = judge(P1, GPT2)
    assert {check.expected for check in finding.checks} >= set(PUBLISHED)
    assert finding.figure.curves[0].y == PUBLISHED
    assert {check.expected for check in judge(P3, STORIES).checks} >= {2.39, 2.91, 1.74}


def test_shorter_run_is_judged_and_noted():
    finding = judge(P1, {"control-gpt2": invented_rows("replace", PUBLISHED[:4])})
    assert finding.verdict == "holds"
    assert finding.checks[0].label == "perplexity, generation 3"
    assert "The run ends at generation 3; published numbers of generation 4, 5," in finding.note


# ---- the configs, and the whole way on tiny stand-ins ------------------------------------------------------------------------


def test_configs_match_publications():
    gpt2, opt = (experiments_of(claim) for claim in (P1, P4))
    generator = gpt2["control-gpt2"].generator.settings
    assert (generator["pretrained"], generator["sampling"]["top_k"], generator["prompt_tokens"]) == ("openai-community/gpt2", 50, 256)
    assert experiments_of(P2)["control-gpt2-augment"].arms["augment"].policy.use == "augment"
    assert opt["control-opt-10"].arms["mix-10"].policy.settings["real_fraction"] == 0.1
    assert [one.generator.settings["training"]["epochs"] for one in opt.values()] == [5, 10]
    every = [one for claim in controls.CLAIMS for one in experiments_of(claim).values()]
    assert all(one.seeds == SEEDS and (one.init, one.prompts) in {("base", "real"), ("scratch", "none")} for one in every)


def test_small_gpt2_has_nine_million_weights():
    settings = experiments_of(P3)["control-stories"].generator.settings
    config = GPT2Config(**settings["architecture"], vocab_size=settings["vocabulary"], n_positions=settings["context"] + 1)
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in GPT2LMHeadModel(config).parameters())
    assert weights == pytest.approx(9e6, rel=0.02)


def test_hub_data_suffices_for_the_sizes(monkeypatch, tmp_path):
    """WikiText-2 has 2,088,628 and 245,569 tokens, one of them the end of each of its 36,718 and 4,358 lines (Merity et al. 2016);
    TinyStories has 2.1 million stories, 21,990 of them for validation."""
    lines = {"train": (2_088_628, 36_718), "test": (245_569, 4_358)}

    def load_dataset(path, name, *, split, revision):
        if path == "roneneldan/TinyStories":
            stories = {"train": 300_000, "validation": 21_990}[split]
            return datasets.Dataset.from_dict({"text": [f"story {number}" for number in range(stories)]})
        assert (path, name) == ("Salesforce/wikitext", "wikitext-2-raw-v1")
        tokens, ends = lines[split]
        return datasets.Dataset.from_dict({"text": ["", "word " * (tokens - ends)]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for claim in controls.CLAIMS:
        for experiment in experiments_of(claim).values():
            splits = Stages(experiment, Store(tmp_path)).real.splits
            assert experiment.size <= len(splits["train"]) < 1.05 * experiment.size  # next to all of it is used


def _checkpoint(folder, model) -> str:
    bpe = train_bpe(small_pool("text").list("text"), 300)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END).save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)


def _parquet(path, texts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"text": texts}), path)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Changes that put tiny random checkpoints and tiny data, in the formats of the hub, in the place of the big ones."""
    folder = tmp_path_factory.mktemp("hub")
    torch.manual_seed(0)
    gpt2 = _checkpoint(folder / "gpt2", GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2)))
    opt = _checkpoint(folder / "opt", OPTForCausalLM(OPTConfig(
        vocab_size=300, hidden_size=16, word_embed_proj_dim=16, ffn_dim=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32,
    )))  # fmt: skip
    lines = small_pool("text", 120).list("text")
    wiki = folder / "wikitext"  # line by line, with titles and empty lines between, as the hub's
    for split, some in (("train", lines[:90]), ("test", lines[90:])):
        records = [record for line in some for record in ("", " = Day = \n", "", f" {line} \n")]
        _parquet(wiki / "wikitext-2-raw-v1" / f"{split}-00000-of-00001.parquet", records)
    splits = "".join(f"  - split: {split}\n    path: wikitext-2-raw-v1/{split}-*\n" for split in ("test", "train"))
    (wiki / "README.md").write_text(f"---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n{splits}---\n")
    stories = folder / "stories" / "data"
    _parquet(stories / "train-00000-of-00001.parquet", lines[:90])
    _parquet(stories / "validation-00000-of-00001.parquet", lines[90:])
    small = ["size=24", "eval_size=6", "generations=2", "generator.context=16", "generator.prompt_tokens=8"]
    continued = [*small, f"data.path={wiki}", "data.words=9", "generator.training.batch=8"]
    scratch = ["generator.vocabulary=300", "generator.architecture={model_type: gpt2, n_embd: 16, n_layer: 1, n_head: 2}"]
    return {
        "control-gpt2.yaml": [*continued, f"generator.pretrained={gpt2}"],
        "control-opt.yaml": [*continued, f"generator.pretrained={opt}"],
        "control-stories.yaml": [*small, *scratch, f"data.path={folder / 'stories'}", "data.documents=80"],
    }


def tiny(claim, stand_ins):
    """The same claim on stand-ins."""
    return claim.model_copy(
        update={"experiments": {name: [*written, *stand_ins[written[0]]] for name, written in claim.experiments.items()}}
    )


def test_every_control_runs_to_a_verdict(stand_ins, tmp_path):
    """Through the code that `reproduce` runs: data, checkpoints, prompts, policies, epochs, held-out splits, judges, reports."""
    wanted = [tiny(claim, stand_ins) for claim in controls.CLAIMS]
    found = reproduce(wanted, store=tmp_path / "store", out=tmp_path, progress=lambda total: nullcontext(lambda event: None))
    assert [judged.id for judged in found] == ["P1", "P2", "P3", "P4"]
    for judged in found:
        assert not judged.not_run
        assert judged.verdict in ("holds", "fails", "inconclusive")
        assert all(np.isfinite([check.measured, check.low, check.high]).all() and check.chains == 3 for check in judged.checks)
    assert {one.label for one in found[0].checks} >= {f"perplexity, generation {number}" for number in (0, 1, 2)}
    assert found[0].verdict == "fails"  # random weights have a perplexity of about 300
    written = json.loads((tmp_path / "claims.json").read_text())["claims"]
    assert [one["verdict"] for one in written] == [judged.verdict for judged in found]
    assert written[0]["checks"][0] | {"relation": "≈", "expected": 36.1, "half_width": pytest.approx(3.61)} == written[0]["checks"][0]
    rows = pd.read_parquet(tmp_path / "control-gpt2-augment" / "rows.parquet")
    steps = rows[(rows.metric == "steps") & (rows.seed == 0)].sort_values("generation").value.tolist()
    assert steps == [15, 30, 30]  # 5 epochs of 24 rows, then of 48
    tokens = rows[(rows.metric == "heldout_nll") & (rows.generation == 0)].value
    assert np.exp(tokens).between(100, 600).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_control_without_hub_is_not_run(tmp_path, workers):
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    words = ["reproduce", "P1", "--store", tmp_path / "store", "-o", tmp_path / "out", "--workers", workers]
    result = autophagy(*words)
    assert result.exit_code == 0
    first = result.stdout.splitlines()[0]
    assert first.startswith("P1   not run      control-gpt2, prepare: data.path: data set 'Salesforce/wikitext' cannot be loaded: ")
    assert "Traceback" not in result.output
    told = json.loads((tmp_path / "out" / "claims.json").read_text())["claims"][0]
    assert (told["verdict"], told["needs"]) == ("not run", "hub + GPU")
    assert told["not_run"] in first
    assert "\n" not in told["not_run"]


def test_control_without_hub_weights_is_not_run(stand_ins, tmp_path):
    claim = tiny(P1, stand_ins)
    claim = claim.model_copy(
        update={"experiments": {"control-gpt2": [*claim.experiments["control-gpt2"], "generator.pretrained=openai-community/gpt2"]}}
    )
    found = reproduce([claim], store=tmp_path / "store", out=tmp_path, progress=lambda total: nullcontext(lambda event: None))
    assert found[0].verdict == "not run"
    assert "'openai-community/gpt2' is neither a local folder nor a model" in found[0].not_run
