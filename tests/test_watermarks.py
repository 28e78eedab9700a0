"""The watermark experiments of both tracks: a detector slows collapse."""

from __future__ import annotations

import pytest
from autophagy import load_config, run
from support.tiny import ROOT

LAST = 2


@pytest.mark.slow
@pytest.mark.parametrize(("track", "loss"), [("text", "heldout_nll"), ("vision", "frechet_distance")])
def test_detector_slows_collapse_when_half_the_pool_is_synthetic(track, loss, tmp_path):
    experiment = load_config(ROOT / "configs" / track / "watermark.yaml", [f"generations={LAST}", "seeds=[0]"])
    values = run(experiment, store=tmp_path).set_index(["policy", "generation", "metric"]).value
    increase = {policy: values[policy, LAST, loss] - values[policy, 0, loss] for policy in experiment.arms}
    assert increase["replace"] > increase["scraped"] > 2 * max(0, increase["scraped-detected"])
    assert values["scraped", LAST, "trained_rows/real"] == experiment.size / 2
    assert values["scraped-detected", LAST, "real_share"] > 0.9
    missed = 1 - values["scraped-detected", 1, "watermark_detected"]
    assert values["scraped-detected", 1, "kept_share/made"] == pytest.approx(missed, abs=0.05)
