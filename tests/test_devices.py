"""Everything works on any device and in every precision. The device is a pretend one, which runs on every machine.

The contract of generators and the feature models are tested on it in `test_generator_checks.py` and `test_feature_models.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.common.components.generator import Scores
from autophagy.common.components.pretend_device import pretend_device, register
from autophagy.common.config.registry import ComponentSpec, find, registered
from support.tiny import ROOT, TEXT, TINY, VISION, miniature, small_pool

pytestmark = pytest.mark.xdist_group("devices")  # one process: they share a store

register()  # before any test computes gradients

TRAINED = sorted(name for name in registered("generator") if "training" in TINY.get(name, {}))
"""Generators with a `training` setting."""
CONFIGS = [path for path in sorted(ROOT.glob("configs/*/*.yaml")) if not path.stem.startswith("control-")]
"""The shipped configs, except those for data and models of the Hub, which `test_positive_controls.py` runs with others."""
OTHERS = {
    "text": {
        **TEXT, "policies": ["replace"], "features": {"use": "lm-embedding", "context": 16, "training": {"steps": 3, "batch": 4}},
        "metrics": ["memorisation", "continuation", "ngram-frequency", "zipf", "overlap", "repetition", "self-bleu"],
    },
    "vision": {**VISION, "seeds": [0], "policies": ["replace"], "metrics": ["inception-score", {"use": "ms-ssim", "pairs": 4}]},
    "vision without labels": {**VISION, "seeds": [0], "policies": ["replace"], "features": "pixels", "metrics": ["frechet"]},
}  # fmt: skip
"""Experiments with the components that no shipped config uses."""
PRETRAINED = {"encoder", "image-encoder", "inception"}
"""Feature models that need weights. `test_feature_models.py` runs them on the device, except `inception`, whose weights are a download."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store that the miniatures share, so that equal feature models and base models are fitted once."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_configs_run_in_miniature_on_a_device(config, store):
    small = miniature(config)
    with pretend_device():
        rows = run(small, store=store)
    assert np.isfinite(rows.value).all()
    assert rows.generation.max() == small.generations and set(rows.policy) == set(small.arms)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_components_run_on_a_device(name, store):
    with pretend_device():
        assert np.isfinite(run(experiment(OTHERS[name]), store=store).value).all()


def test_every_component_runs_on_a_device():
    experiments = [*map(miniature, CONFIGS), *map(experiment, OTHERS.values())]
    used = {(spec.kind, spec.use) for one in experiments for spec in (*one.components, *(arm.policy for arm in one.arms.values()))}
    for kind in ("generator", "policy", "curation", "metric", "features"):
        missing = set(registered(kind)) - PRETRAINED - {name for used_kind, name in used if used_kind == kind}
        assert not missing, f"{kind}: add {sorted(missing)} to an experiment in OTHERS or to a shipped config"


def fitted(name, folder, *, precision="float32"):
    """A generator fitted on a small pool, and the pool."""
    pool = small_pool(find("generator", name).modality)
    settings = {**TINY[name], "training": {**TINY[name]["training"], "precision": precision}}
    model = ComponentSpec.parse("generator", settings).build()
    pool = pool.only(model.columns)
    model.fit(pool, seed=1, scratch=folder)
    return model, pool


@pytest.mark.parametrize("name", TRAINED)
def test_generators_give_the_values_of_the_cpu_on_a_device(name, tmp_path):
    """A model that was fitted on the CPU also loads on the device and samples the same rows there."""
    model, pool = fitted(name, tmp_path / "cpu")
    saved = tmp_path / "saved"
    saved.mkdir()
    model.save(saved)
    with pretend_device():
        other, _ = fitted(name, tmp_path / "device")
        loaded, _ = fitted(name, tmp_path / "loaded")
        loaded.load(saved)
        samples, scores = zip(
            *((one.sample(5, seed=2), one.score(pool) if isinstance(one, Scores) else 0) for one in (other, loaded)), strict=True
        )
    assert {rows.digest for rows in samples} == {model.sample(5, seed=2).digest}
    if isinstance(model, Scores):
        assert all(values == pytest.approx(model.score(pool), rel=1e-5) for values in scores)  # attention sums in another order


@pytest.mark.parametrize("where", ["cpu", "pretend"])
@pytest.mark.parametrize("name", TRAINED)
def test_generators_work_in_bfloat16(name, where, tmp_path):
    """Scores are within 2 % of those in float32, and differ from them; samples survive saving."""
    exact, _ = fitted(name, tmp_path / "exact")
    saved = tmp_path / "saved"
    saved.mkdir()

    def in_bfloat16():
        model, pool = fitted(name, tmp_path / "reduced", precision="bfloat16")
        model.save(saved)
        loaded, _ = fitted(name, tmp_path / "loaded", precision="bfloat16")
        loaded.load(saved)
        assert loaded.sample(5, seed=2).digest == model.sample(5, seed=2).digest
        if isinstance(model, Scores):
            scores = model.score(pool)
            assert scores.dtype == np.float64 and not np.array_equal(scores, exact.score(pool))
            assert scores == pytest.approx(exact.score(pool), rel=0.02)

    if where == "cpu":
        in_bfloat16()
    else:
        with pretend_device():
            exact, _ = fitted(name, tmp_path / "exact-there")
            in_bfloat16()
