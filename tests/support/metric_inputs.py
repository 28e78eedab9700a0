"""Calls a metric without running an experiment, on data that is degraded in a known direction."""

from __future__ import annotations

import numpy as np
from autophagy.common.components.metric import MetricInputs
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool

from support.tiny import small_pool


def inputs(**values):
    """The inputs of a metric, by the names it declares in `reads`."""
    return MetricInputs("test", {name: (lambda value=value: value) for name, value in values.items()})


def measured(name, **values):
    """The values that the metric `name` returns for these inputs. `name` may be a mapping with settings."""
    return dict(ComponentSpec.parse("metric", name).build()(inputs(**values)))


def features_of(pool):
    """Pixels as features, and brightness as the probability of the first of two classes."""
    pixels = pool.array("image").reshape(len(pool), -1).astype(np.float32) / 255
    bright = pixels.mean(1)
    return {"features": pixels, "probabilities": np.stack([bright, 1 - bright], 1)}


class ConstantModel:
    """A language model that gives every token the same negative log-likelihood."""

    def __init__(self, nats_per_token):
        self.nats_per_token = nats_per_token

    def tokens(self, pool):
        return np.array([len(text.split()) for text in pool.list("text")])

    def score(self, pool):
        return self.tokens(pool) * self.nats_per_token


def degraded_text(share):
    """Real passages. The first `share` of them is replaced by copies of one row."""
    rows = small_pool("text", 60).list("text")
    return Pool.of(text=[rows[0] if row < share * len(rows) else rows[row] for row in range(len(rows))])


def degraded_images(share):
    """Random images. The first `share` of them is replaced by uniform grey."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
    images[: int(share * 60)] = 127
    return Pool.of(image=images)
