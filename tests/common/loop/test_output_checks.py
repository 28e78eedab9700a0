"""Invalid outputs of components, and degenerate models: measured with finite numbers, or stopped with an error that says where.

The error names experiment, policy, seed and generation. NaN and wrong shapes never reach later generations.
"""

from __future__ import annotations

import re
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

WHERE = "^tiny-gaussian, (generation 0|replace), seed 3, generation {generation}: "
FAULTY_GAUSSIAN = "support.faulty_generators:FaultyGaussian"
FAULTY_DATA = "support.faulty_generators:FaultyData"
ONE_CHAIN = {**ANALYTIC, "seeds": [3], "policies": ["replace"], "generations": 2}
EXPECTED = r"sample must return 10 rows of x extension<arrow\.fixed_shape_tensor\[value_type=double, shape=\[3\].*\]>, got "
NOT_FINITE = r"sample: column 'x' is not finite in 1 of 10 rows, first in row 5"


def run_config(config, tmp_path):
    return run(experiment(config), store=tmp_path / "store")


# ---- components that break their contract -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no rows", EXPECTED + r"Pool\(0 rows: x "),
        ("few rows", EXPECTED + r"Pool\(9 rows: x "),
        ("more rows", EXPECTED + r"Pool\(20 rows: x "),
        ("other column", EXPECTED + r"Pool\(10 rows: y "),
        ("another column", EXPECTED + r"Pool\(10 rows: x .*, y "),
        ("float32", EXPECTED + r"Pool\(10 rows: x .*float"),
        ("whole numbers", EXPECTED + r"Pool\(10 rows: x .*int64"),
        ("another replicate", EXPECTED + r"Pool\(10 rows: x .*shape=\[6\]"),
        ("nan", NOT_FINITE),
        ("infinite", NOT_FINITE),
        ("no pool", EXPECTED + "a dict$"),
        ("no fit result", "fit returned a dict, expected a FitResult$"),
        (
            "too few visit counts",
            r"`visit_counts` must hold a finite number >= 0 for each of 10 rows, got int64 of shape \(9,\)$",
        ),
        ("nothing consumed", "fit consumed no samples, so nothing was learned; every row was empty or skipped$"),
        ("nan loss", "fit reported loss = nan, expected a finite number$"),
        (
            "nan weights",
            r"its weights are not finite after the fit \(covariance in covariance\.npy\); training diverged, "
            "so try a lower learning rate$",
        ),
    ],
)
@pytest.mark.parametrize("since", [0, 1])
def test_generator_that_breaks_its_contract_stops_the_run(fault, message, since, tmp_path):
    faulty = {"use": FAULTY_GAUSSIAN, "fault": fault, "since": since}
    with pytest.raises(UserError, match=WHERE.format(generation=since) + f"generator '{FAULTY_GAUSSIAN}': {message}"):
        run_config({**ONE_CHAIN, "generator": faulty}, tmp_path)
    assert not list((tmp_path / "store" / "drafts").iterdir()), "rejected outputs are deleted"


def test_unexpected_error_keeps_its_traceback_and_notes_where(tmp_path):
    """A bug in a plug-in is no mistake of the user, so it is not turned into a UserError."""
    faulty = {"use": FAULTY_GAUSSIAN, "fault": "raises", "since": 1}
    with pytest.raises(ZeroDivisionError, match="a bug in a plug-in") as caught:
        run_config({**ONE_CHAIN, "generator": faulty}, tmp_path)
    assert caught.value.__notes__ == ["This happened in tiny-gaussian, replace, seed 3, generation 1."]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "split 'heldout': column 'x' is not finite in 1 of 10 rows, first in row 1$"),
        (
            "float32",
            "split 'heldout' has the columns x .*value_type=float,.*, but train has x .*value_type=double,.*; "
            "all splits must have the same columns$",
        ),
    ],
)
def test_invalid_data_is_rejected(fault, message, tmp_path):
    data = {"use": FAULTY_DATA, "rows": 20, "replicates": 3, "fault": fault}
    with pytest.raises(UserError, match=f"^tiny-gaussian, prepare: data '{FAULTY_DATA}': {message}"):
        run_config({**ONE_CHAIN, "data": data}, tmp_path)


CANDIDATES = Pool.of(x=np.zeros(5))


@pytest.mark.parametrize("rows", [[0, 0], [1, 0], [-1], [5], [[0]], [0.5], [True, False]], ids=str)
def test_curation_with_invalid_row_numbers_is_rejected(rows):
    values = np.array(rows)
    message = f"curation 'c': `rows` must be ascending row numbers below 5 without repeats, got {values.dtype} of shape {values.shape}"
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        validate_curation("c", CurationResult(values), candidates=CANDIDATES)


def test_curation_may_keep_no_row():
    validate_curation("c", CurationResult(np.array([], dtype=np.int64)), candidates=CANDIDATES)


def test_curation_statistic_that_is_not_finite_is_rejected():
    with pytest.raises(UserError, match="^curation 'c': reported score = nan, expected a finite number$"):
        validate_curation("c", CurationResult(np.array([1]), {"score": float("nan")}), candidates=CANDIDATES)


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        (Pool.of(x=np.zeros(2)), r"`edited` must be 1 rows of x double, got Pool\(2 rows: x double"),
        (Pool.of(x=["a"]), r"`edited` must be 1 rows of x double, got Pool\(1 rows: x string"),
        (Pool.of(y=np.zeros(1)), r"`edited` must be 1 rows of x double, got Pool\(1 rows: y double"),
        (Pool.of(x=np.full(1, np.nan)), "`edited`: column 'x' is not finite in 1 of 1 rows, first in row 0$"),
    ],
    ids=["number of rows", "type", "column", "nan"],
)
def test_curation_with_invalid_edited_rows_is_rejected(edited, message):
    with pytest.raises(UserError, match=f"^curation 'c': {message}"):
        validate_curation("c", CurationResult(np.array([1]), edited=edited), candidates=CANDIDATES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"`features` must have the shape \[rows, d\], got \{\}"),
        ({"features": np.zeros(5)}, r"`features` must have the shape \[rows, d\], got \{'features': \(5,\)\}"),
        ({"features": np.zeros((4, 2))}, r"`features` must hold finite numbers for 5 rows, got float64 of shape \(4, 2\)"),
        (
            {"features": np.full((5, 2), np.inf)},
            r"`features` must hold finite numbers for 5 rows, got float64 of shape \(5, 2\) with 10 values that are not finite$",
        ),
    ],
    ids=["missing", "one dimension", "number of rows", "infinite"],
)
def test_invalid_features_are_rejected(arrays, message):
    with pytest.raises(UserError, match=f"^features 'f': {message}"):
        validate_features("f", arrays, rows=5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("distinct_1", np.nan, "distinct_1 is nan, expected a finite number$"),
        ("distinct_1", np.inf, "distinct_1 is inf, expected a finite number$"),
        ("distinct_9", 0.5, "returned 'distinct_9', but its `outputs` describe distinct_1, "),
    ],
)
def test_invalid_metric_values_are_rejected(name, value, message):
    distinct = ComponentSpec.parse("metric", "distinct").build()
    with pytest.raises(UserError, match=f"^metric 'm': {message}"):
        validate_metric_values("m", distinct, {name: value})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_of_every_dtype_are_checked(dtype, value, tmp_path):
    weights = {"a": torch.zeros(3, dtype=dtype), "b": torch.ones(2, 2, dtype=dtype), "c": torch.arange(3)}
    save_file(weights, tmp_path / "w.safetensors")
    validate_weights("g", tmp_path)
    weights["b"][1, 0] = value
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"generator 'g': its weights are not finite after the fit \(b in w.safetensors\)"):
        validate_weights("g", tmp_path)


# ---- training that diverges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (VISION, TINY_VAE, r"the loss is (nan|inf) at step [12] of 4"),
        (VISION, TINY_DIFFUSION, r"the loss is (nan|inf) at step 1 of 2"),
        (TEXT, TINY_LM, r"the loss is (nan|inf) at step [12] of 3"),
    ],
    ids=["vae", "diffusion", "causal-lm"],
)
def test_loss_that_is_not_finite_names_its_step(config, settings, message, tmp_path):
    diverging = {**settings, "training": {**settings["training"], "learning_rate": 1e30}}
    with pytest.raises(UserError, match=rf"tiny-\w+, generation 0, seed 0, generation 0: {message}"):
        run_config({**config, "generator": diverging, "base": None, "seeds": [0]}, tmp_path)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (VISION, TINY_VAE, "pixels that are NaN|weights are not finite"),
        (VISION, TINY_DIFFUSION, "pixels that are NaN|weights are not finite"),
        (TEXT, TINY_LM, "token probabilities contain NaN|weights are not finite"),
    ],
    ids=["vae", "diffusion", "causal-lm"],
)
def test_weights_that_diverge_in_the_last_step_are_noticed(config, settings, message, tmp_path):
    """The loss of a step belongs to the weights before it, so it does not show what the last step does."""
    diverging = {**settings, "training": {"steps": 1, "batch": 4, "learning_rate": 1e38}}
    with pytest.raises(UserError, match=rf"tiny-\w+, generation 0, seed 0, generation 0: .*({message})"):
        run_config({**config, "generator": diverging, "base": None, "seeds": [0]}, tmp_path)


@pytest.mark.parametrize("use", ["ngram", "causal-lm"])
def test_temperature_without_valid_probabilities_is_rejected(use, tmp_path):
    config = {**TEXT, "generator": {**TINY[use], "sampling": {"temperature": 1e-320}}, "base": None, "metrics": ["distinct"]}
    with pytest.raises(UserError, match="generation 0: token probabilities contain NaN or sum to zero"):
        run_config(config, tmp_path)


# ---- collapse -----------------------------------------------------------------------------------------------------------------


def applicable_metrics(config):
    """Names of all metrics that an experiment can have."""
    names = []
    for name in sorted(registered("metric")):
        try:
            experiment({**config, "metrics": [name]})
            names.append(name)
        except UserError:
            continue
    return names


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
def test_every_applicable_metric_is_finite_for_a_collapsed_model(name, tmp_path):
    """All rows are equal from generation 0 on, and generations 1 and 2 learn from them."""
    track, changes, min_metrics = COLLAPSED[name]
    config = {**track, **SHORT, **changes}
    metrics = applicable_metrics(config)
    assert len(metrics) >= min_metrics, metrics
    rows = run_config({**config, "metrics": metrics}, tmp_path)
    assert np.isfinite(rows.value).all() and np.isfinite(rows.floor.dropna()).all()
    assert set(rows.generation) == {0, 1, 2}


def test_log_variance_is_left_out_when_the_variance_is_zero(tmp_path):
    generator = {"use": FAULTY_GAUSSIAN, "fault": "equal rows", "since": 0}
    rows = run_config({**ONE_CHAIN, "generator": generator}, tmp_path).pivot(index="generation", columns="metric", values="value")
    assert rows.log_variance.notna().tolist() == [True, False, False]
    assert rows.variance.iloc[1:].eq(0).all()


@pytest.mark.parametrize("digits", [10, 13, 14, 17])
def test_log_variance_is_accurate_to_one_percent_or_left_out(digits):
    """Replicates with the known standard deviation 10^-digits, around a mean of one third."""
    unit = np.random.default_rng(0).standard_normal((200, 50, 1))
    x = 1 / 3 + 10.0**-digits * unit
    centred = x - x.mean(axis=0)
    model = SimpleNamespace(mean=x.mean(axis=0), covariance=np.einsum("nwi,nwj->wij", centred, centred) / len(x))
    values, expected = Moments()(SimpleNamespace(model=model)), np.log(unit.var(axis=0)).mean() - 2 * digits * np.log(10)
    assert ("log_variance" in values) == (digits <= 13)
    if "log_variance" in values:
        assert abs(values["log_variance"] - expected) < 0.01


def test_likelihood_under_a_gaussian_without_variance_is_rejected(tmp_path):
    generator = {"use": FAULTY_GAUSSIAN, "fault": "equal rows", "since": 0}
    message = (
        "generator 'gaussian': a fitted variance is 0, so the likelihood is undefined; the model has collapsed to a point. "
        "Remove the metric that scores rows, or use fewer generations."
    )
    with pytest.raises(UserError, match=WHERE.format(generation=1) + re.escape(message)):
        run_config({**ONE_CHAIN, "generator": generator, "metrics": ["held-out-score"]}, tmp_path)


def test_real_rows_without_variety_are_measured_or_rejected(tmp_path):
    (tmp_path / "a.txt").write_text("the lord said unto them that he was there today again and " * 300)
    data = {"use": "file", "path": str(tmp_path / "a.txt"), "words": 12}
    config = {**TEXT, **SHORT, "base": None, "generator": TINY["ngram"], "data": data}
    message = (
        r"^tiny-text, prepare: features: 'lsa' cannot distinguish these \d+ rows: all have the same value in one of the directions\. "
        r"Reduce features\.features or use more varied rows\.$"
    )
    with pytest.raises(UserError, match=message):
        run_config({**config, "metrics": ["frechet"]}, tmp_path)
    config["features"] = None
    assert np.isfinite(run_config({**config, "metrics": applicable_metrics(config)}, tmp_path).value).all()


@pytest.mark.parametrize("use", ["vae", "gmm", "diffusion"])
def test_conditional_training_pool_may_hold_one_class_only(use, tmp_path):
    """The seed is chosen so that the three real images of the pool show the same digit, while the data has all digits."""
    config = {**VISION, **SHORT, "size": 3, "eval_size": 3, "generator": TINY[use], "labels": "conditional", "policies": ["replace"]}
    config |= {"imbalance": {"ratio": 100}, "metrics": ["classes", "pixel-variance", "tstr-classifier", "memorisation"]}
    for seed in range(300):
        one_class = experiment({**config, "seeds": [seed]})
        train, _ = Stages(one_class, Store(tmp_path)).real.draw_training_pool(seed)
        if len(set(train.list("label"))) == 1:
            break
    rows = run(one_class, store=tmp_path)
    assert seed < 299 and np.isfinite(rows.value).all()
