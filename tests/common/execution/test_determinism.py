"""The same experiment gives the same bytes for every global random state, process and number of workers.

Together the experiments below use every registered component. A component that is missing here fails a test.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pandas
import pytest
import torch
import yaml
from autophagy import experiment, run
from autophagy.common.config.registry import registered
from autophagy.common.core.task_threads import LARGE_MODEL_PARAMETERS
from autophagy.common.execution import placement
from autophagy.common.execution.placement import THREADS_VARIABLE
from autophagy.common.store.artifact import digest_of, read_manifest
from support.tiny import ANALYTIC, TEXT, TINY, TINY_DIFFUSION, VISION

pytestmark = pytest.mark.slow

SHORT = {"generations": 2, "size": 20, "eval_size": 10, "seeds": [0]}
BY_FEATURES = [
    *("frechet", "precision-recall", "kernel-distance", "density-coverage", "mauve", "vendi"),
    "memorisation",
]


def curated_arms(*curations):
    """An arm for each curation."""
    by_name = {one if isinstance(one, str) else one["use"]: one for one in curations}
    return {name: {"use": "replace", "synthetic_fraction": 0.5, "curation": one} for name, one in by_name.items()}


EXPERIMENTS = {
    "language model": {
        **TEXT, **SHORT, "policies": ["replace"],
        "metrics": [
            *BY_FEATURES, "perplexity", "base-perplexity", "vocabulary", "word-frequency", "ngram-frequency", "zipf", "continuation",
            "tstr", "distinct", "repetition", "self-bleu", "overlap",
        ],
    },
    "n-grams": {
        **TEXT, **SHORT, "data": {"use": "logic", "rows": 400}, "base": None, "metrics": ["grammar", "watermark", "frechet"],
        "generator": {**TINY["ngram"], "sampling": {"watermark": {"delta": 4.0}}},
        "features": {"use": "lm-embedding", "context": 16, "training": {"steps": 3, "batch": 4}},
        "policies": curated_arms("verify", "dedup", "minhash-dedup", "token-edit", "detect"),
    },
    "autoencoder": {
        **VISION, **SHORT, "policies": ["replace"],
        "metrics": [
            *BY_FEATURES, "classes", "class-frequency", "pixel-variance", {"use": "ms-ssim", "pairs": 4}, "inception-score",
            "tstr-classifier", "sharpness",
        ],
    },
    "diffusion": {**VISION, **SHORT, "generator": TINY_DIFFUSION, "features": "pixels", "metrics": ["frechet"], "policies": ["replace"]},
    "mixture": {
        **VISION, **SHORT, "generator": TINY["gmm"], "metrics": ["pixel-variance"], "policies": curated_arms("pixel-dedup"),
    },
    "Gaussian": {
        **ANALYTIC, "data": {**ANALYTIC["data"], "rows": 400}, "metrics": ["moments", "held-out-score"],
        "policies": {
            **dict.fromkeys(sorted(set(registered("policy")) - {"mix", "window"})), "mix": {"use": "mix", "real_fraction": 0.5},
            "window": {"use": "window", "generations": 2},
            "prune": {"use": "replace", "synthetic_fraction": 0.5, "curation": "prune"},
        },
    },
    "kernels": {**ANALYTIC, "generator": "kde"},
    "symbols": {
        **ANALYTIC, "data": {"use": "categorical", "rows": 20, "replicates": 3, "symbols": 9}, "generator": "categorical",
        "metrics": ["symbols"],
    },
    "regression": {
        **ANALYTIC, "data": {"use": "regression", "rows": 20, "replicates": 3, "dimensions": 2}, "generator": "regression",
        "prompts": "fixed", "metrics": ["excess-risk"],
    },
    "classifier": {
        **ANALYTIC, "data": {"use": "halfspace", "rows": 200, "dimensions": 3}, "generator": TINY["linear-classifier"],
        "metrics": ["plane-accuracy"], "policies": curated_arms("verify-labels"),
    },
}  # fmt: skip
TESTED_ELSEWHERE = {
    "data": {"file", "hub", "mnist", "fashion-mnist", "cifar10", "image-folder"},  # the digits and the text here in other file formats
    "features": {"encoder", "inception", "image-encoder"},  # frozen pretrained networks
}
"""Components that read files of the user. They are tested with the code that reads them."""


def random_states():
    """The global random states of Python, NumPy and torch."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def digests_by_key(store):
    """The digest of every artifact of a store, by key."""
    return {folder.name: digest_of(read_manifest(folder, key=folder.name)[0]) for folder in store.glob("artifacts/*/*")}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_global_random_state_is_neither_used_nor_changed(name, tmp_path):
    config = experiment(EXPERIMENTS[name])
    rows = run(config, store=tmp_path / "one")
    random.seed(99), np.random.seed(99), torch.default_generator.manual_seed(99)
    before = random_states()
    again = run(config, store=tmp_path / "other")
    assert random_states() == before
    assert again.equals(rows)
    assert digests_by_key(tmp_path / "one") == digests_by_key(tmp_path / "other")


@pytest.mark.parametrize("name", ["language model", "autoencoder", "Gaussian"])
def test_two_workers_write_the_same_bytes_as_one_process(name, tmp_path):
    """The workers also use another hash seed, so that sets are iterated in another order."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(EXPERIMENTS[name], sort_keys=False))
    rows = run(experiment(EXPERIMENTS[name]), store=tmp_path / "one")
    command = [sys.executable, "-m", "autophagy", "run", config, "--store", tmp_path / "two", "--out", tmp_path, "--workers", "2"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "77"})
    assert digests_by_key(tmp_path / "two") == digests_by_key(tmp_path / "one")
    assert pandas.read_parquet(tmp_path / EXPERIMENTS[name]["name"] / "rows.parquet").equals(rows)


def test_bytes_do_not_depend_on_workers_if_tasks_use_several_threads(tmp_path, monkeypatch):
    """A pretended machine with four cores, and a VAE that is large enough for several threads."""
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    monkeypatch.setattr(placement, "processors", lambda: 4)
    large = {**TINY["vae"], "hidden": 2400, "training": {"steps": 2, "batch": 32}}
    change = {"generator": large, "policies": ["replace", "real"], "generations": 1, "metrics": ["pixel-variance"]}
    config = experiment({**EXPERIMENTS["autoencoder"], **change})
    assert placement.place([config], workers=None).threads == {"prepare": 4, "generation 0": 4, "chain": 2}
    rows = run(config, store=tmp_path / "one", workers=1)
    assert max(file.stat().st_size for file in tmp_path.rglob("*.safetensors")) > 4 * LARGE_MODEL_PARAMETERS
    assert run(config, store=tmp_path / "two", workers=2).equals(rows)
    assert digests_by_key(tmp_path / "one") == digests_by_key(tmp_path / "two")


def test_every_registered_component_is_used_above():
    used = {kind: set() for kind in ("generator", "data", "policy", "curation", "metric", "features")}
    for settings in EXPERIMENTS.values():
        config = experiment(settings)
        arms = config.arms.values()
        used["generator"] |= {member.generator.use for member in config.members.values()}
        used["data"] |= {config.data.use}
        used["policy"] |= {arm.policy.use for arm in arms}
        used["curation"] |= {arm.curation.use for arm in arms if arm.curation}
        used["metric"] |= {spec.use for spec in config.metrics}
        used["features"] |= {config.features.use} if config.features else set()
    for kind, names in used.items():
        assert names == set(registered(kind)) - TESTED_ELSEWHERE.get(kind, set()), kind
