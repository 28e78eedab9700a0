"""The generator contract: the files of a fit result, and defaults of optional members."""

from __future__ import annotations

import json

import numpy as np
from autophagy.analytic.gaussian import Gaussian
from autophagy.common.components.generator import (
    CountsTokens,
    Detects,
    FitResult,
    Scores,
    file_digests_of,
    supports_labels,
    supports_prompts,
)
from autophagy.text.ngram import NGram
from autophagy.vision.gmm import GMM


def test_fit_result_keeps_the_file_format_of_the_store(tmp_path):
    result = FitResult("tokens", np.array([2, 1]), np.array([3, 4]), 5, {"loss": 0.5})
    result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["each.npy", "fitted.json", "seen.npy"]
    assert (tmp_path / "fitted.json").read_text() == '{"figures": {"loss": 0.5}, "steps": 5, "unit": "tokens"}'
    assert np.load(tmp_path / "seen.npy").dtype == np.int64 and np.load(tmp_path / "each.npy").dtype == np.float64
    loaded = FitResult.load(tmp_path)
    assert loaded.consumed.tolist() == result.consumed.tolist() == [6, 4]
    assert (loaded.unit, loaded.steps, loaded.stats) == ("tokens", 5, {"loss": 0.5})


def test_closed_form_result_uses_every_row_once(tmp_path):
    result = FitResult.closed_form("samples", 3, units_per_row=2.0)
    assert result.visit_counts.tolist() == [1, 1, 1] and result.steps == 1
    assert result.consumed.tolist() == [2, 2, 2]
    result.save(tmp_path)
    assert json.loads((tmp_path / "fitted.json").read_text())["figures"] == {}


def test_optional_members_are_recognised_or_have_defaults():
    class Minimal:
        """Has none of the optional members."""

    assert not supports_prompts(Minimal) and not supports_labels(Minimal)
    assert not file_digests_of(Minimal())
    assert not isinstance(Minimal(), Scores | Detects | CountsTokens)
    assert supports_prompts(NGram) and not supports_labels(NGram)
    assert supports_labels(GMM) and supports_labels(GMM(components=2))
    assert isinstance(NGram(), Scores) and isinstance(NGram(), CountsTokens) and not isinstance(Gaussian(), CountsTokens)
