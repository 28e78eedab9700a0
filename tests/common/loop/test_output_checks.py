"""Numbers that are none, and parts that give something else than they promised: measured with finite numbers, or stopped with a message
that says in which experiment, policy, seed and generation. Never passed on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from autophagy import UserError, experiment, run
from autophagy.analytic.metrics import Moments
from autophagy.common.components.curation import CurationResult
from autophagy.common.config.registry import ComponentSpec, registered
from autophagy.common.core.pool import Pool
from autophagy.common.loop.output_checks import validate_curation, validate_features, validate_metric_values, validate_weights
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from safetensors.torch import save_file
from support.tiny import ANALYTIC, TEXT, TINY, TINY_DIFFUSION, TINY_LM, TINY_VAE, VISION

WHERE = r"^tiny-gaussian, (generation 0|replace), seed 3, generation {generation}: "
FAULTY_GAUSSIAN = "support.faulty_generators:FaultyGaussian"
ODD = {**ANALYTIC, "seeds": [3], "policies": ["replace"], "generations": 2}


def ran(written, tmp_path):
    return run(experiment(written), store=tmp_path / "store")


# ---- parts that break a promise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no rows", r"asked for 10 rows of x .*shape=\[3\].*, it gave Pool\(0 rows"),
        ("few rows", r"asked for 10 rows of x .*, it gave Pool\(9 rows"),
        ("more rows", r"it gave Pool\(20 rows"),
        ("other column", r"it gave Pool\(10 rows: y "),
        ("another column", r"it gave Pool\(10 rows: x .*, y "),
        ("float32", r"it gave Pool\(10 rows: x .*float"),
        ("whole numbers", r"it gave Pool\(10 rows: x .*int64"),
        ("another world", r"it gave Pool\(10 rows: x .*shape=\[6\]"),
        ("nan", r"made numbers that are not finite in 'x': 1 of 10 rows, the first is 5"),
        ("infinite", r"made numbers that are not finite in 'x': 1 of 10 rows, the first is 5"),
        ("no pool", r"it gave a dict"),
        ("no fitted", r"fit gave a dict, it is to give `Fitted`"),
        ("seen of other rows", r"`visit_counts` is to be a number >= 0 for each of 10 rows, it is int64 of shape \(9,\)"),
        ("nothing consumed", r"fit consumed no samples"),
        ("nan loss", r"fit gave loss = nan"),
        ("nan weights", r"its weights are not finite after the fit \(covariance in covariance\.npy\)"),
    ],
)
@pytest.mark.parametrize("since", [0, 1])
def test_a_generator_that_breaks_its_promise_stops_the_run_where_it_does(fault, said, since, tmp_path):
    odd = {"use": FAULTY_GAUSSIAN, "fault": fault, "since": since}
    with pytest.raises(UserError, match=WHERE.format(generation=since) + f"generator '{FAULTY_GAUSSIAN}'.*{said}"):
        ran({**ODD, "generator": odd}, tmp_path)
    assert not list((tmp_path / "store" / "drafts").iterdir()), "what was refused is not kept"


def test_an_error_in_a_part_keeps_its_traceback_and_says_where(tmp_path):
    """A fault of somebody's code is no fault of the user's."""
    odd = {"use": FAULTY_GAUSSIAN, "fault": "raises", "since": 1}
    with pytest.raises(ZeroDivisionError, match="a bug in a plug-in") as caught:
        ran({**ODD, "generator": odd}, tmp_path)
    assert caught.value.__notes__ == ["This happened in tiny-gaussian, replace, seed 3, generation 1."]


@pytest.mark.parametrize(
    ("fault", "said"),
    [("nan", "heldout holds numbers that are not finite in 'x': 1 of 10 rows, the first is 1"), ("float32", "splits differ in nothing")],
)
def test_data_that_are_no_numbers_are_refused(fault, said, tmp_path):
    with pytest.raises(UserError, match=rf"^tiny-gaussian, prepare: data 'support.faulty_generators:FaultyData': .*{said}"):
        ran({**ODD, "data": {"use": "support.faulty_generators:FaultyData", "rows": 20, "replicates": 3, "fault": fault}}, tmp_path)


def test_what_curations_feature_models_and_metrics_give_is_looked_at():
    pool = Pool.of(x=np.zeros(5))
    for rows in ([0, 0], [1, 0], [-1], [5], [[0]], [0.5], [True, False]):
        with pytest.raises(UserError, match=r"curation 'c': `rows` are numbers below 5 in ascending order, none twice"):
            validate_curation("c", CurationResult(np.array(rows)), candidates=pool)
    with pytest.raises(UserError, match=r"curation 'c': score is nan"):
        validate_curation("c", CurationResult(np.array([1]), {"score": float("nan")}), candidates=pool)
    for edited in (Pool.of(x=np.zeros(2)), Pool.of(x=["a"]), Pool.of(y=np.zeros(1)), Pool.of(x=np.full(1, np.nan))):
        with pytest.raises(UserError, match=r"curation 'c' (keeps 1 rows of x double and wrote|wrote numbers that are not finite)"):
            validate_curation("c", CurationResult(np.array([1]), edited=edited), candidates=pool)
    validate_curation("c", CurationResult(np.array([], dtype=np.int64)), candidates=pool)
    for found in ({}, {"features": np.zeros(5)}, {"features": np.zeros((4, 2))}, {"features": np.full((5, 2), np.inf)}):
        with pytest.raises(UserError, match=r"features 'f': "):
            validate_features("f", found, rows=5)
    distinct = ComponentSpec.parse("metric", "distinct").build()
    for name, value in (("distinct_1", np.nan), ("distinct_1", np.inf), ("distinct_9", 0.5)):
        with pytest.raises(UserError, match=rf"metric 'm'.*{name}"):
            validate_metric_values("m", distinct, {name: value})


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_of_every_kind_are_looked_at(kind, value, tmp_path):
    weights = {"a": torch.zeros(3, dtype=kind), "b": torch.ones(2, 2, dtype=kind), "c": torch.arange(3)}
    save_file(weights, tmp_path / "w.safetensors")
    validate_weights("g", tmp_path)
    weights["b"][1, 0] = value
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"generator 'g': its weights are not finite after the fit \(b in w.safetensors\)"):
        validate_weights("g", tmp_path)


# ---- training that diverges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "settings", "said"),
    [
        (VISION, TINY_VAE, r"the loss is (nan|inf) at step [12] of 4"),
        (VISION, TINY_DIFFUSION, r"the loss is (nan|inf) at step 1 of 2"),
        (TEXT, TINY_LM, r"the loss is (nan|inf) at step [12] of 3"),
    ],
    ids=["vae", "diffusion", "causal-lm"],
)
def test_a_loss_that_is_no_number_names_its_step(written, settings, said, tmp_path):
    diverging = {**settings, "training": {**settings["training"], "learning_rate": 1e30}}
    with pytest.raises(UserError, match=rf"tiny-\w+, generation 0, seed 0, generation 0: {said}"):
        ran({**written, "generator": diverging, "base": None, "seeds": [0]}, tmp_path)


@pytest.mark.parametrize(
    ("written", "settings", "said"),
    [
        (VISION, TINY_VAE, "pixels that are NaN|weights are not finite"),
        (VISION, TINY_DIFFUSION, "pixels that are NaN|weights are not finite"),
        (TEXT, TINY_LM, "token probabilities contain NaN|weights are not finite"),
    ],
    ids=["vae", "diffusion", "causal-lm"],
)
def test_weights_that_diverged_at_the_very_last_step_are_noticed(written, settings, said, tmp_path):
    """The loss of the only step is that of the model before it."""
    diverging = {**settings, "training": {"steps": 1, "batch": 4, "learning_rate": 1e38}}
    with pytest.raises(UserError, match=rf"tiny-\w+, generation 0, seed 0, generation 0: .*({said})"):
        ran({**written, "generator": diverging, "base": None, "seeds": [0]}, tmp_path)


@pytest.mark.parametrize("use", ["ngram", "causal-lm"])
def test_sampling_that_leaves_nothing_to_draw_is_refused(use, tmp_path):
    written = {**TEXT, "generator": {**TINY[use], "sampling": {"temperature": 1e-320}}, "base": None, "metrics": ["distinct"]}
    with pytest.raises(UserError, match="generation 0: token probabilities contain NaN or sum to zero"):
        ran(written, tmp_path)


# ---- collapse -----------------------------------------------------------------------------------------------------------------


def applicable(written):
    """All metrics that an experiment could have."""
    found = []
    for name in sorted(registered("metric")):
        try:
            experiment({**written, "metrics": [name]})
            found.append(name)
        except UserError:
            continue
    return found


SHORT = {"seeds": [0], "generations": 2, "policies": ["replace", "accumulate"], "floors": 2}
NO_VARIANCE = {"variance_scale": 0}
COLLAPSED = {
    "one row of an n-gram model": (TEXT, {"generator": {**TINY["ngram"], "sampling": {"top_k": 1}}, "base": None}, 21),
    "one row, watermarked": (TEXT, {"generator": {**TINY["ngram"], "sampling": {"top_k": 1, "watermark": {}}}, "base": None}, 22),
    "one row of a language model": (TEXT, {"generator": {**TINY_LM, "sampling": {"top_k": 1}}}, 21),
    "one image of a VAE": (VISION, {"generator": {**TINY_VAE, "sampling": NO_VARIANCE}}, 15),
    "one image a class of a VAE": (VISION, {"generator": {**TINY_VAE, "sampling": NO_VARIANCE}, "labels": "conditional"}, 15),
    "one image of a mixture": (VISION, {"generator": {"use": "gmm", "components": 1, "dimensions": 4, "sampling": NO_VARIANCE}}, 14),
    "one image, watermarked": (
        VISION, {"generator": {**TINY["gmm"], "components": 1, "sampling": {**NO_VARIANCE, "watermark": {}}}, "labels": "conditional"}, 15,
    ),
    "one image of a diffusion model": (VISION, {"generator": {**TINY_DIFFUSION, "sampling": {"steps": 3, "variance_scale": 0}}}, 14),
    "all rows equal": (ANALYTIC, {"generator": {"use": FAULTY_GAUSSIAN, "fault": "nearly equal rows"}}, 2),
    "one symbol": (ANALYTIC, {"generator": "categorical", "data": {"use": "categorical", "rows": 40, "exponent": 900}}, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", COLLAPSED)
def test_every_metric_that_applies_is_finite_on_a_collapsed_model(name, tmp_path):
    """All rows equal from generation 0 on: generations 1 and 2 learn from that."""
    written, changes, n_metrics = COLLAPSED[name]
    written = {**written, **SHORT, **changes}
    metrics = applicable(written)
    assert len(metrics) >= n_metrics, metrics
    rows = ran({**written, "metrics": metrics}, tmp_path)
    assert np.isfinite(rows.value).all() and np.isfinite(rows.floor.dropna()).all()
    assert set(rows.generation) == {0, 1, 2}


def test_the_logarithm_of_a_variance_ends_where_float64_does_and_nothing_else_with_it(tmp_path):
    odd = {**ODD, "generator": {"use": FAULTY_GAUSSIAN, "fault": "equal rows", "since": 0}}
    rows = ran(odd, tmp_path).pivot(index="generation", columns="metric", values="value")
    assert rows.log_variance.notna().tolist() == [True, False, False]
    assert rows.variance.iloc[1:].eq(0).all()


@pytest.mark.parametrize("places", [10, 13, 14, 17])
def test_the_logarithm_of_a_variance_is_right_to_a_per_cent_or_not_given(places):
    """Worlds of known standard deviation, 10^-places, around a mean of one third."""
    unit = np.random.default_rng(0).standard_normal((200, 50, 1))
    x = 1 / 3 + 10.0**-places * unit
    model = SimpleNamespace(mean=x.mean(axis=0), covariance=np.einsum("nwi,nwj->wij", x - x.mean(axis=0), x - x.mean(axis=0)) / len(x))
    found, known = Moments()(SimpleNamespace(model=model)), np.log(unit.var(axis=0)).mean() - 2 * places * np.log(10)
    assert ("log_variance" in found) == (places <= 13)
    if "log_variance" in found:
        assert abs(found["log_variance"] - known) < 0.01


def test_a_row_has_no_likelihood_under_a_gaussian_without_variance(tmp_path):
    odd = {**ODD, "generator": {"use": FAULTY_GAUSSIAN, "fault": "equal rows", "since": 0}, "metrics": ["held-out-score"]}
    with pytest.raises(UserError, match=WHERE.format(generation=1) + "generator 'gaussian': a variance is 0, so no row has a likelihood"):
        ran(odd, tmp_path)


def test_real_data_without_any_difference_are_measured_or_refused(tmp_path):
    (tmp_path / "a.txt").write_text("the lord said unto them that he was there today again and " * 300)
    written = {
        **TEXT,
        **SHORT,
        "base": None,
        "generator": TINY["ngram"],
        "data": {"use": "file", "path": str(tmp_path / "a.txt"), "words": 12},
    }
    with pytest.raises(UserError, match="tiny-text, prepare: features: 'lsa' cannot tell these .* rows apart"):
        ran({**written, "metrics": ["frechet"]}, tmp_path)
    written["features"] = None
    assert np.isfinite(ran({**written, "metrics": applicable(written)}, tmp_path).value).all()


@pytest.mark.parametrize("use", ["vae", "gmm", "diffusion"])
def test_a_pool_of_one_class_under_labels_is_learned_and_measured(use, tmp_path):
    """A real pool of three digits that happen to be the same one, while the data has others too."""
    written = {**VISION, **SHORT, "size": 3, "eval_size": 3, "generator": TINY[use], "labels": "conditional", "policies": ["replace"]}
    written |= {"imbalance": {"ratio": 100}, "metrics": ["classes", "pixel-variance", "tstr-classifier", "memorisation"]}
    for seed in range(300):
        wanted = experiment({**written, "seeds": [seed]})
        if len(set(Stages(wanted, Store(tmp_path)).real.draw_training_pool(seed)[0].list("label"))) == 1:
            break
    rows = run(wanted, store=tmp_path)
    assert seed < 299 and np.isfinite(rows.value).all()
