"""The same experiment gives the same bytes: whatever global random state it finds, in whatever process, with however many workers.

One small experiment or another holds every part the registry has, so a part that is added without a place here fails a test.
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
from autophagy.common.store.artifact import digest_of, read_manifest
from support.tiny import ANALYTIC, TEXT, TINY, TINY_DIFFUSION, VISION

pytestmark = pytest.mark.slow

SHORT = {"generations": 2, "size": 20, "eval_size": 10, "seeds": [0]}
BY_FEATURES = [
    *("frechet", "precision-recall", "kernel-distance", "density-coverage", "mauve", "vendi"),
    "memorisation",
]


def curated(*curations):
    """An arm for each curation."""
    named = {one if isinstance(one, str) else one["use"]: one for one in curations}
    return {name: {"use": "replace", "synthetic_fraction": 0.5, "curation": one} for name, one in named.items()}


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
        "policies": curated("verify", "dedup", "minhash-dedup", "token-edit", "detect"),
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
        **VISION, **SHORT, "generator": TINY["gmm"], "metrics": ["pixel-variance"], "policies": curated("pixel-dedup"),
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
        "metrics": ["plane-accuracy"], "policies": curated("verify-labels"),
    },
}  # fmt: skip
ELSEWHERE = {
    "data": {"file", "hub", "mnist", "fashion-mnist", "cifar10", "image-folder"},  # the digits and the text here in other wrappings
    "features": {"encoder", "inception", "image-encoder"},  # pretrained: frozen networks, tested with tiny checkpoints
}
"""What reads files or checkpoints of the user's; its own tests have them."""


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def contents(store):
    """Keys and digests of a store."""
    return {folder.name: digest_of(read_manifest(folder, key=folder.name)[0]) for folder in store.glob("artifacts/*/*")}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_global_random_state_neither_matters_nor_changes(name, tmp_path):
    wanted = experiment(EXPERIMENTS[name])
    rows = run(wanted, store=tmp_path / "one")
    random.seed(99), np.random.seed(99), torch.default_generator.manual_seed(99)
    before = states()
    again = run(wanted, store=tmp_path / "other")
    assert states() == before
    assert again.equals(rows)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.parametrize("name", ["language model", "autoencoder", "Gaussian"])
def test_other_processes_and_two_workers_write_the_same_bytes(name, tmp_path):
    """Each with its own order of hashes, too."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(EXPERIMENTS[name], sort_keys=False))
    rows = run(experiment(EXPERIMENTS[name]), store=tmp_path / "one")
    command = [sys.executable, "-m", "autophagy", "run", config, "--store", tmp_path / "two", "--out", tmp_path, "--workers", "2"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "77"})
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert pandas.read_parquet(tmp_path / EXPERIMENTS[name]["name"] / "rows.parquet").equals(rows)


def test_every_registered_part_is_run_above():
    used = {kind: set() for kind in ("generator", "data", "policy", "curation", "metric", "features")}
    for written in EXPERIMENTS.values():
        wanted = experiment(written)
        arms = wanted.arms.values()
        used["generator"] |= {member.generator.use for member in wanted.members.values()}
        used["data"] |= {wanted.data.use}
        used["policy"] |= {arm.policy.use for arm in arms}
        used["curation"] |= {arm.curation.use for arm in arms if arm.curation}
        used["metric"] |= {part.use for part in wanted.metrics}
        used["features"] |= {wanted.features.use} if wanted.features else set()
    for kind, names in used.items():
        assert names == set(registered(kind)) - ELSEWHERE.get(kind, set()), kind
