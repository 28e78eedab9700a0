"""The commands: what users type, and the messages they get."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys

import pandas
import pytest
import typer
import yaml
from autophagy import UserError, experiment, load_config, run
from autophagy.common.cli import main as cli
from autophagy.common.cli.console import report_errors
from autophagy.common.config.registry import registered
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from support.commands import autophagy
from support.tiny import ANALYTIC, ROOT, TEXT, TINY, VISION


@pytest.fixture
def folders(tmp_path):
    return ["--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", "1"]


def test_run_writes_its_files_and_a_second_run_changes_nothing(write_config, folders, tmp_path):
    config = write_config(ANALYTIC)
    first = autophagy("run", config, *folders)
    assert first.exit_code == 0, first.output
    out = tmp_path / "out" / "tiny-gaussian"
    assert {path.name for path in out.iterdir()} == {"config.yaml", "rows.parquet", "samples", "provenance.json", "report.html"}
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert autophagy("run", config, *folders).exit_code == 0
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_saved_config_is_complete_and_equal(write_config, folders, tmp_path):
    autophagy("run", write_config(ANALYTIC), "generations=2", *folders)
    path = tmp_path / "out" / "tiny-gaussian" / "config.yaml"
    again = load_config(path)
    assert again.generations == 2
    assert again.yaml() == path.read_text()


def test_changes_apply_and_a_new_use_removes_old_settings(write_config):
    config = write_config(VISION)
    changed = load_config(
        config, ["data.use=image-folder", "data.path=x", "generator.training.steps=9", "generator.training.learning_rate=1e-4"]
    )
    assert changed.data.settings == {"path": "x", "size": 32, "channels": 3}
    assert changed.generator.settings["training"]["steps"] == 9
    assert changed.generator.settings["training"]["learning_rate"] == 1e-4
    assert changed.generator.settings["latent"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generatons": 3}, "generatons: unknown key; did you mean 'generations'?"),
        ({"generations": "many"}, "generations: "),
        ({"generations": 0}, "generations: Input should be greater than or equal to 1, not 0"),
        ({"eval_size": 11}, "eval_size (11) must be at most size (10), the number of rows per generation"),
        ({"size": 30}, "size: 30 exceeds the 20 training rows of data 'gaussian'"),
        ({"policies": ["replase"]}, "policies.replase: there is no policy called 'replase'; did you mean 'replace'?"),
        (
            {"policies": {"m": {"use": "mix", "real_fraction": 1.5}}},
            "policies.m.real_fraction: must be one or more numbers between 0 and 1, not 1.5",
        ),
        ({"policies": {"m": {"use": "mix"}}}, "policies.m.real_fraction: Field required"),
        (
            {"policies": {"m": {"use": "mix", "real_fraction": 0.5, "real": "fresh"}}, "generations": 9},
            "policies.m: needs 45 unseen real rows, but of 20 training rows 10 are the real training pool and 10 are left; "
            "reduce size or generations, or use more data",
        ),
        ({"generator": {"use": "gaussian", "dof": 1}}, "generator.dof: unknown setting; did you mean 'ddof'?"),
        (
            {"generator": {"use": "gaussian", "sampling": {"variance_scal": 1}}},
            "generator.sampling.variance_scal: unknown setting; did you mean 'variance_scale'?",
        ),
        ({"generator": {"ddof": 1}}, "generator: `use` must name a generator; known: categorical, causal-lm, diffusion, gaussian, gmm"),
        ({"generator": "nowhere:Class"}, "generator: 'nowhere:Class' cannot be imported"),
        ({"data": "digits"}, "generator: 'gaussian' needs the column 'x', but data 'digits' has image, label"),
        ({"metrics": ["frechet"]}, "metrics: frechet needs a feature model; set `features:`"),
        ({"metrics": []}, "metrics: "),
        ({"metrics": ["distinct"]}, "metrics: distinct needs the column 'text', but generator 'gaussian' produces x"),
        ({"metrics": ["moments"] * 2}, "metrics: moments and moments both give 'variance'; remove one of them"),
        ({"seeds": [10**20]}, "seeds.0: Input should be less than"),
        (
            {"generator": {"use": "gaussian", "sampling": {"variance_scale": float("inf")}}},
            "generator: gaussian.sampling.variance_scale is inf",
        ),
        ({"generator": "os:path"}, "generator: 'os:path' is not a dataclass"),
        (
            {"generator": {"use": "causal-lm", "training": {"steps": 1}, "architecture": {"model_type": "llama", "hiden_size": 8}}},
            "generator.architecture.hiden_size: a llama has no such setting; did you mean 'hidden_size'?",
        ),
        ({"prompts": "real"}, "prompts: real: generator 'gaussian' does not support prompts; set prompts: none"),
        ({"init": "base"}, "init: base needs a model to start from; add a `base:` section for 'gaussian'"),
        ({"base": {"ddoff": 1}}, "base.ddoff: unknown setting; did you mean 'ddof'?"),
        ({"base": {}}, "base: data 'gaussian' has no base split; remove `base:` or use other data"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] contains a seed twice"),
        ({"name": "../../x"}, "name: String should match pattern"),
        ({"generator": None}, "set exactly one of generator and generators"),
        ({"generators": {"a": "gaussian", "b": "gaussian"}}, "set exactly one of generator and generators"),
        ({"generator": None, "generators": {"a": "gaussian"}}, "generators: Value should have at least 2 items"),
        (
            {"generator": None, "generators": {"a": "gaussian", "b": "gmm"}},
            "generators: all must produce the same columns, but 'gaussian' produces x and 'gmm' produces image",
        ),
        ({"generator": None, "generators": {"a": {"use": "gaussian", "base": {"ddoff": 1}}, "b": "gaussian"}}, "generators.a.base.ddoff:"),
        ({"labels": "conditional"}, "labels: conditional: generator 'gaussian' does not learn labels"),
        ({"imbalance": 10}, "imbalance: this data has no labels, so it cannot be made long-tailed"),
        ({"imbalance": {"ratio": 0.5}}, "imbalance.ratio: Input should be greater than or equal to 1"),
        (
            {"policies": {"a": {"use": "replace", "learn_from": "union"}}},
            "policies.a.learn_from: 'union' needs several generators",
        ),
        ({"policies": {"a": {"use": "replace", "learn_from": "all"}}}, "policies.a.learn_from: Input should be 'self', 'other' or 'union'"),
        ({"policies": {"a": {"use": "replace", "synthetic_fraction": 0}}}, "policies.a.synthetic_fraction: Input should be greater than 0"),
        (
            {"policies": {"a": {"use": "real", "curation": "dedup"}}},
            "policies.a.curation: has no effect, since policy 'real' never trains on generated rows",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": "dedupe"}}},
            "policies.a.curation: there is no curation called 'dedupe'; did you",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": {"use": "verify", "keep": 2}}}},
            "policies.a.curation.keep: Input should be less than or equal to 1, not 2",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": {"use": "verify", "by": "features"}}}},
            "policies.a.curation: verify needs a feature model; set `features:`",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": "detect"}}},
            "policies.a.curation: detect needs a generator with `detect`, but 'gaussian' does not have it",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": "token-edit"}}},
            "policies.a.curation: token-edit needs the column 'text', but generator 'gaussian' produces x",
        ),
        (
            {"policies": {"a": {"use": "replace", "synthetic_fraction": 0.5}}},
            "policies.a: needs 15 unseen real rows, but of 20 training rows 10 are the real training pool and 10 are left; "
            "reduce size or generations, or use more data",
        ),
        (
            {"policies": {"a": {"use": "replace", "synthetic_fraction": 0.01}}},
            "policies.a.synthetic_fraction: 0.01 of size: 10 is less than one row",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": {"use": "prune", "keep": 0.04}}}},
            "policies.a.curation: prune is expected to keep 0.04 of its candidates",
        ),
        (
            {"policies": {"a": {"use": "replace", "curation": {"use": "verify", "keep": 1, "error": 1}}}},
            "policies.a.curation: verify is expected to keep 0 of its candidates",
        ),
        ({"policies": [{"use": "replace"}]}, "policies: a list may hold names only, not {'use': 'replace'}"),
        (
            {"generator": None, "generators": [{"use": "gaussian"}, "gaussian"]},
            "generators: a list may hold names only, not {'use': 'gaussian'}",
        ),
        (
            {"generator": None, "generators": {"a": {"use": "gaussian", "base": True}, "b": "gaussian"}},
            "generators.a.base: must be a mapping of settings",
        ),
        ({"generator": None, "generators": {"real": "gaussian", "b": "gaussian"}}, "generators: 'real' is reserved; choose another name"),
        (
            {"policies": ["accumulate"], "controls": "auto"},
            "policies.real-growing (added by controls: auto): needs 30 unseen real rows, but of 20 training rows 10 are the real "
            "training pool and 10 are left",
        ),
        ({"init": "previos"}, "init: Input should be 'base', 'previous' or 'scratch', not 'previos'"),
    ],
)
def test_invalid_configs_give_one_message_and_exit_code_2(change, message, write_config, folders):
    result = autophagy(
        "run",
        write_config({**ANALYTIC, **change} if "name" not in change else {**ANALYTIC}),
        *folders,
        *([f"name={change['name']}"] if "name" in change else []),
    )
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output + result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1", "a config must be a mapping"),
        ("a: 1\na: 2", "the key 'a' is written twice"),
        ("", "a config must be a mapping"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_invalid_config_files_are_rejected(content, message, tmp_path):
    (tmp_path / "c.yaml").write_text(content)
    result = autophagy("run", tmp_path / "c.yaml")
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")


def test_missing_files_and_wrong_arguments_are_rejected(tmp_path, write_config):
    config = write_config(ANALYTIC)
    for words, message in [
        (["run", tmp_path / "tiny-gausian.yaml"], "this config file does not exist; did you mean"),
        (["run", "size=3"], "no config given"),
        (["run", config, config], "two experiments are called 'tiny-gaussian'"),
        (["run", config, "size.x=3"], "size is 10, which has no keys"),
        (["run", config, "--device", "cuda:99"], "--device cuda:99"),
        (["report", tmp_path], "not the folder of a finished run, config.yaml is missing"),
        (["list", "generator"], "did you mean 'generators'?"),
    ]:
        result = autophagy(*words)
        assert result.exit_code == 2, words
        assert message in result.stderr.replace("\n", " "), words


def test_list_describes_every_component():
    result = autophagy("list")
    assert result.exit_code == 0
    for name in ("replace", "causal-lm", "vae", "diffusion", "frechet", "bible", "mnist", "classifier"):
        assert name in result.output


def test_dry_run_prints_the_complete_config_and_runs_nothing(write_config, folders, tmp_path):
    result = autophagy("run", write_config(ANALYTIC), "--dry-run", *folders)
    assert result.exit_code == 0
    plan = yaml.safe_load(result.output)
    assert plan["generator"] == {"use": "gaussian", "ddof": 0, "known_variance": None, "sampling": {"variance_scale": 1.0}}
    assert "3 chains of 4 generations" in result.output
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_demo_runs_both_tracks_and_writes_one_report(write_config, folders, tmp_path, monkeypatch):
    """The demo command on the demo's own configs, made small."""
    small = []
    for file, tiny in zip(cli.DEMO, (TEXT, VISION), strict=True):
        shipped = yaml.safe_load(file.read_text())
        small.append(write_config({**shipped, **{key: tiny[key] for key in ("size", "eval_size", "generations")}, "seeds": [0],
                                   **{key: tiny[key] for key in ("generator", "base", "features") if key in shipped}}))  # fmt: skip
    monkeypatch.setattr(cli, "DEMO", tuple(small))
    result = autophagy("demo", *folders)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "language model" in page
    assert "image model" in page
    rows = pandas.read_parquet(tmp_path / "out" / "vision" / "rows.parquet")
    assert rows.policy.nunique() == 4


@pytest.mark.parametrize("config", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_configs_are_valid_and_have_enough_data(config, tmp_path):
    stages = Stages(load_config(config), Store(tmp_path))
    if stages.experiment.data.use == "hub":  # tests have no network
        with pytest.raises(UserError, match="on the Hub"):
            _ = stages.real.splits
    else:
        assert stages.real.splits["train"]


def test_report_command_puts_two_runs_on_one_page(write_config, folders, tmp_path):
    assert autophagy("run", write_config(ANALYTIC), *folders).exit_code == 0
    finished = tmp_path / "out" / "tiny-gaussian"
    assert autophagy("report", finished, finished, "-o", tmp_path / "both.html").exit_code == 0
    assert (tmp_path / "both.html").stat().st_size > 100_000


def test_changed_feature_settings_change_the_numbers(write_config, folders):
    """A setting that acts when a feature model is called is part of the cache key."""
    features = {"use": "support.scaled_features:ScaledPixels", "scale": 1.0}
    config = write_config({**VISION, "metrics": ["frechet"], "features": features, "policies": ["replace"], "generations": 1, "seeds": [0]})
    distances = []
    for scale in (1.0, 10.0):
        assert autophagy("run", config, f"features.scale={scale}", *folders).exit_code == 0
        rows = pandas.read_parquet(folders[3] / "tiny-vision" / "rows.parquet")
        distances.append(rows[rows.metric == "frechet_distance"].value.iloc[0])
    assert distances[1] == pytest.approx(100 * distances[0], rel=1e-3)


def test_changed_data_is_read_again(tmp_path):
    path, config = tmp_path / "data.txt", {**TEXT, "base": None, "generations": 1, "metrics": ["distinct"], "policies": ["replace"]}
    floors = []
    for text in ("one two three four five six ", "one "):
        path.write_text(text * 700)
        rows = run(
            experiment({**config, "data": {"use": "file", "path": str(path), "words": 12, "base_share": 0}}), store=tmp_path / "store"
        )
        floors.append(rows[rows.metric == "distinct_1"].floor.iloc[0])
    assert floors[0] > floors[1]


@pytest.mark.parametrize(
    ("track", "change", "message"),
    [
        (
            "vision",
            {"policies": {"a": {"use": "replace", "curation": "verify"}}, "generator": TINY["gmm"]},
            "needs a generator with `score`, but 'gmm' does not have it",
        ),
        ("vision", {"policies": {"a": {"use": "replace", "curation": "detect"}}}, "'vae' writes none; set its sampling.watermark"),
        ("vision", {"metrics": ["watermark"]}, "metrics: watermark detects watermarks, but 'vae' writes none"),
        ("text", {"labels": "conditional"}, "labels: conditional: generator 'causal-lm' does not learn labels"),
        ("text", {"imbalance": 3}, "imbalance: this data has no labels"),
        ("vision", {"prompts": "synthetic"}, "prompts: synthetic: generator 'vae' does not support prompts"),
    ],
)
def test_incompatible_components_are_rejected_before_anything_runs(track, change, message, write_config, folders):
    result = autophagy("run", write_config({**{"text": TEXT, "vision": VISION}[track], **change}), *folders, "--dry-run")
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")


def test_every_modality_ships_a_config_for_each_policy():
    """Components that need a certain column are checked only in the modality that has it."""
    used: dict[str, set[str]] = {"analytic": set(), "text": set(), "vision": set()}
    for path in ROOT.glob("configs/*/*.yaml"):
        config = load_config(path)
        for arm in config.arms.values():
            used[config.modality] |= {arm.policy.use, arm.learn_from, "half-synthetic" if arm.synthetic_fraction < 1 else "clean"}
            used[config.modality] |= {arm.curation.use} if arm.curation else set()
        used[config.modality] |= {config.labels, "long-tailed" if config.imbalance else "as it is"}
    everywhere = {*registered("policy"), "verify", "prune", "dedup", "half-synthetic"}
    tracks = {"detect", "self", "other", "union"}
    assert used["analytic"] >= everywhere
    assert used["text"] >= everywhere | tracks | {"minhash-dedup", "token-edit"}
    assert used["vision"] >= everywhere | tracks | {"pixel-dedup", "conditional", "long-tailed"}


def test_changes_inside_an_arm_keep_its_other_settings(tmp_path):
    curated = ROOT / "configs" / "analytic" / "curation.yaml"
    arms = load_config(
        curated, ["policies.scraped.use=accumulate", "policies.replace.curation=dedup", "policies.verify.curation.keep=0.2"]
    ).arms
    assert arms["scraped"].policy.use == "accumulate" and arms["scraped"].synthetic_fraction == 0.5
    assert arms["replace"].curation.use == "dedup" and arms["replace"].policy.use == "replace"
    assert arms["verify"].curation.settings["keep"] == 0.2
    population = ROOT / "configs" / "text" / "population.yaml"
    with pytest.raises(UserError, match=r"generators\.causal-lm\.base\.training: unknown setting"):
        load_config(population, ["generators.causal-lm.use=ngram"])  # settings of the old base are not dropped silently
    members = load_config(population, ["generators.causal-lm.use=ngram", "generators.causal-lm.base={}"]).members
    assert members["causal-lm"].generator.use == "ngram" and members["causal-lm"].base_settings is not None
    listed = tmp_path / "listed.yaml"
    listed.write_text(yaml.safe_dump(ANALYTIC))
    assert load_config(listed, ["policies.replace.curation=dedup"]).arms["replace"].curation.use == "dedup"


@pytest.mark.parametrize("error", [ImportError("initialization failed"), UserError("generator 'x' cannot be loaded")])
def test_interrupt_during_an_import_exits_with_130(error, capfd):
    error.__cause__ = KeyboardInterrupt()
    with pytest.raises(typer.Exit) as ended, report_errors():
        raise error
    assert ended.value.exit_code == 130
    message = " ".join(capfd.readouterr().err.split())
    assert message == "interrupted; finished stages are kept, and the same command continues from there"


def test_terminal_shows_a_progress_bar(write_config, folders):
    config = write_config(ANALYTIC)
    seen, terminal = pty.openpty()
    command = [sys.executable, "-m", "autophagy", "run", config, *folders]
    with subprocess.Popen(list(map(str, command)), stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm", "COLUMNS": "160"}):
        os.close(terminal)
        message = b""
        with contextlib.suppress(OSError):  # raised when the process at the other end has exited
            while more := os.read(seen, 4096):
                message += more
    os.close(seen)
    n_generations = (ANALYTIC["generations"] + 1) * len(ANALYTIC["policies"])
    words = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", message.decode())  # without colours and cursor movements
    assert f"{n_generations}/{n_generations} generations" in words
    assert re.search(r"tiny-gaussian · \w+, seed 0 · generation \d: ", words)
