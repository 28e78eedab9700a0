"""Ways to call a metric directly, and data that is degraded in a known direction."""

from __future__ import annotations

import numpy as np
from autophagy.common.components.metrics import MetricInputs
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool

from support.tiny import small_pool


def inputs(**parts):
    return MetricInputs("test", {name: (lambda value=value: value) for name, value in parts.items()})


def features_of(pool):
    """Plain pixels as features, brightness as two classes."""
    pixels = pool.array("image").reshape(len(pool), -1).astype(np.float32) / 255
    bright = pixels.mean(1)
    return {"features": pixels, "probabilities": np.stack([bright, 1 - bright], 1)}


class Judge:
    """A model that gives every text the NLL it is told to."""

    def __init__(self, nats_per_token):
        self.nats = nats_per_token

    def tokens(self, pool):
        return np.array([len(text.split()) for text in pool.list("text")])

    def score(self, pool):
        return self.tokens(pool) * self.nats


def measured(name, **parts):
    return dict(ComponentSpec.parse("metric", name).build()(inputs(**parts)))


def degraded_text(share):
    """Real passages, a growing share of them replaced by one and the same row."""
    rows = small_pool("text", 60).list("text")
    return Pool.of(text=[rows[0] if row < share * len(rows) else rows[row] for row in range(len(rows))])


def degraded_images(share):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    images[: int(share * 60)] = 127
    return Pool.of(image=images)
