"""Metrics of the analytic track: means over worlds, each with its standard error, as closed forms predict them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.metric import MetricInfo, MetricInputs
from .categorical import count
from .laws import conserved

OVER_WORLDS = "standard error over worlds"
RESOLVED = 1000
"""A standard deviation that is so many rounding errors of the mean has its variance known to a per cent, though the fit sums
hundreds of rows that each carry one."""


def over_worlds(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of each number over worlds, float64 [those that have one], and beside it its standard error."""
    found = {}
    for name, value in values.items():
        found[name] = float(value.mean())
        head, slash, member = name.partition("/")
        with np.errstate(invalid="ignore"):  # of what is infinite: such numbers are refused by whoever measures
            found[f"{head}_se{slash}{member}"] = float(value.std(ddof=1) / np.sqrt(value.size)) if value.size > 1 else 0.0
    return found


@dataclass(frozen=True)
class Moments:
    """Mean and variance of what was fitted, averaged over worlds and dimensions, with their standard errors over worlds.

    `log_variance` follows the typical chain, `variance` the expectation; they part ways as a chain gets older. It is given as
    long as float64 resolves the variance of every world: beyond that it would be the logarithm of rounding errors, or of zero.
    """

    version: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("x",)
    reads: ClassVar[tuple[str, ...]] = ("model",)
    abilities: ClassVar[tuple[str, ...]] = ("mean", "covariance")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "variance": MetricInfo("diversity", "sigma^2", True, "Shumailov et al. 2024"),
        "variance_se": MetricInfo("diversity", "sigma^2", None, OVER_WORLDS),
        "log_variance": MetricInfo("diversity", "nats", None, "Alemohammad et al. 2024"),
        "log_variance_se": MetricInfo("diversity", "nats", None, OVER_WORLDS),
        "mean_squared_error": MetricInfo("fidelity", "sigma^2", False, "Shumailov et al. 2024"),
        "mean_squared_error_se": MetricInfo("fidelity", "sigma^2", None, OVER_WORLDS),
        "wasserstein": MetricInfo("fidelity", "sigma^2", False, "squared 2-Wasserstein distance to the truth; Shumailov et al. 2024"),
        "wasserstein_se": MetricInfo("fidelity", "sigma^2", None, OVER_WORLDS),
        "conserved": MetricInfo("fidelity", "sigma^2", None, "variance + squared error of the mean; see laws.conserved"),
        "conserved_se": MetricInfo("fidelity", "sigma^2", None, OVER_WORLDS),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        model = inputs.model
        spread = np.maximum(np.linalg.eigvalsh(model.covariance), 0)  # [worlds, d]
        error = (model.mean**2).mean(axis=1)
        rounding = np.finfo(np.float64).eps * np.abs(model.mean).max(axis=1, keepdims=True)
        resolved = (spread > (RESOLVED * rounding) ** 2).all()
        variance = spread.mean(axis=1)
        return over_worlds(
            {
                "variance": variance,
                **({"log_variance": np.log(spread).mean(axis=1)} if resolved else {}),
                "mean_squared_error": error,
                "wasserstein": error + ((np.sqrt(spread) - 1) ** 2).mean(axis=1),
                "conserved": conserved(variance, error),
            }
        )


@dataclass(frozen=True)
class Symbols:
    """What is left of the symbols of a categorical model: heterozygosity, support, and the survival of the rare.

    Heterozygosity is 1 - sum p^2, the chance that two draws differ (Simpson 1949). `survival/c` is the share still in the model of
    the symbols that occur c times in the chain's real training pool. `missing` is the share of held-out rows whose symbol the model
    does not know (the missing mass of Good 1953).
    """

    counts: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 3, 5, 10)
    """Numbers of occurrences whose symbols are followed."""
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("x",)
    reads: ClassVar[tuple[str, ...]] = ("model", "pool", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("counts",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "heterozygosity": MetricInfo("diversity", "chance", True, "Simpson 1949"),
        "heterozygosity_se": MetricInfo("diversity", "chance", None, OVER_WORLDS),
        "support": MetricInfo("tail", "symbols", True, "Shumailov et al. 2024"),
        "support_se": MetricInfo("tail", "symbols", None, OVER_WORLDS),
        "missing": MetricInfo("tail", "share of held-out rows", False, "Good 1953"),
        "missing_se": MetricInfo("tail", "share of held-out rows", None, OVER_WORLDS),
        "survival": MetricInfo("tail", "share of symbols", True, "Suresh et al. 2024"),
        "survival_se": MetricInfo("tail", "share of symbols", None, OVER_WORLDS),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        counts, real = inputs.model.counts, count(inputs.pool.array("x"))
        share = counts / counts.sum(axis=1, keepdims=True)
        heldout = inputs.heldout.array("x")
        symbols = max(real.shape[1], counts.shape[1], int(heldout.max()) + 1)
        alive = np.pad(counts > 0, ((0, 0), (0, symbols - counts.shape[1])))
        real = np.pad(real, ((0, 0), (0, symbols - real.shape[1])))
        found = {
            "heterozygosity": 1 - (share**2).sum(axis=1),
            "support": alive.sum(axis=1),
            "missing": 1 - np.take_along_axis(alive, heldout.T, axis=1).mean(axis=1),
        }
        for seen in self.counts:
            having = (real == seen).any(axis=1)  # worlds that had such symbols to lose
            if having.any():
                found[f"survival/{seen}"] = (alive & (real == seen)).sum(axis=1)[having] / (real == seen).sum(axis=1)[having]
        return over_worlds(found)
