"""Calls metrics without an experiment, and creates data that is degraded by a known amount."""

from __future__ import annotations

import numpy as np
from autophagy.common.components.metric import MetricInputs
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool

from support.tiny import small_pool


def inputs(**values):
    """Create the inputs of a metric. Keyword names are the names in its `reads`."""
    return MetricInputs("test", {name: (lambda value=value: value) for name, value in values.items()})


def measured(name, **values):
    """Compute the values of the metric `name` for these inputs. `name` may be a mapping with settings."""
    return dict(ComponentSpec.parse("metric", name).build()(inputs(**values)))


def features_of(pool):
    """Return a feature model's output: pixels as features, and mean brightness as the probability of the first of two classes."""
    pixels = pool.array("image").reshape(len(pool), -1).astype(np.float32) / 255
    bright = pixels.mean(1)
    return {"features": pixels, "probabilities": np.stack([bright, 1 - bright], 1)}


class ConstantModel:
    """A language model with a constant negative log-likelihood per token."""

    def __init__(self, nats_per_token):
        self.nats_per_token = nats_per_token

    def tokens(self, pool):
        return np.array([len(text.split()) for text in pool.list("text")])

    def score(self, pool):
        return self.tokens(pool) * self.nats_per_token


def degraded_text(share):
    """Create random passages and replace the first `share` of them by copies of one passage."""
    rows = small_pool("text", 60).list("text")
    return Pool.of(text=[rows[0] if row < share * len(rows) else rows[row] for row in range(len(rows))])


def degraded_images(share):
    """Create random images and replace the first `share` of them by uniform grey."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    images[: int(share * 60)] = 127
    return Pool.of(image=images)
