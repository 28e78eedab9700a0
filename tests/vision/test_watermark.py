"""The image watermark: its test is calibrated, and detection improves with the number of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.vision.data import Digits
from autophagy.vision.watermark import Pattern


def test_z_of_unmarked_images_is_standard_normal_over_keys():
    images = Digits().load(eval_size=50)["heldout"].array("image")
    z = np.array([Pattern(key=key).z_scores(images) for key in range(200)])
    assert np.abs(z.mean(0)).max() < 0.3 and z.var(0).mean() == pytest.approx(1, abs=0.1)
    assert Pattern().z_scores(np.zeros((2, 8, 8, 1), dtype=np.uint8)).tolist() == [0, 0], "black images have no detail"


@pytest.mark.slow
@pytest.mark.parametrize(("size", "strength", "power"), [(8, 48, 0.9), (32, 16, 0.99)])
def test_detection_improves_with_the_number_of_pixels(size, strength, power):
    """The share of marked images above the 99 % quantile of real ones."""
    splits = Digits().load(eval_size=300)
    real, heldout = (
        np.kron(splits[name].array("image"), np.ones((1, size // 8, size // 8, 1))).astype(np.uint8) for name in ("train", "heldout")
    )
    pattern = Pattern(strength=strength)
    threshold = np.quantile(pattern.z_scores(real), 0.99)
    assert (pattern.z_scores(heldout) > threshold).mean() < 0.03
    assert (pattern.z_scores(pattern.mark(heldout)) > threshold).mean() > power
