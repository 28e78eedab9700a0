"""Metrics of the analytic track. They return means over replicates with standard errors, for comparison with `laws.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.metric import MetricInfo, MetricInputs
from .categorical import symbol_counts
from .laws import conserved

OVER_REPLICATES = "standard error over replicates"
RESOLVED = 1000
"""Minimum ratio of a standard deviation to the rounding error of the mean. Above it, the variance is accurate to about 1 %, although a
fit sums hundreds of rows that each have a rounding error."""


def mean_over_replicates(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Compute the mean over replicates for each array in `values`, and its standard error as `<name>_se`.

    Arrays are float64 [replicates that have a value].
    """
    means = {}
    for name, value in values.items():
        means[name] = float(value.mean())
        head, slash, member = name.partition("/")
        with np.errstate(invalid="ignore"):  # infinite values are rejected later, by the check of metric outputs
            means[f"{head}_se{slash}{member}"] = float(value.std(ddof=1) / np.sqrt(value.size)) if value.size > 1 else 0.0
    return means


@dataclass(frozen=True)
class Moments:
    """Variance of a fitted distribution and error of its mean, averaged over replicates and dimensions, with standard errors.

    `variance` estimates the expected variance; `log_variance` describes a typical chain. The two diverge over generations. `log_variance`
    is omitted if float64 cannot resolve the variance of every replicate, because it would be the logarithm of rounding errors or of zero.
    """

    version: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("x",)
    reads: ClassVar[tuple[str, ...]] = ("model",)
    abilities: ClassVar[tuple[str, ...]] = ("mean", "covariance")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "variance": MetricInfo("diversity", "sigma^2", True, "Shumailov et al. 2024"),
        "variance_se": MetricInfo("diversity", "sigma^2", None, OVER_REPLICATES),
        "log_variance": MetricInfo("diversity", "nats", None, "Alemohammad et al. 2024"),
        "log_variance_se": MetricInfo("diversity", "nats", None, OVER_REPLICATES),
        "mean_squared_error": MetricInfo("fidelity", "sigma^2", False, "Shumailov et al. 2024"),
        "mean_squared_error_se": MetricInfo("fidelity", "sigma^2", None, OVER_REPLICATES),
        "wasserstein": MetricInfo("fidelity", "sigma^2", False, "squared 2-Wasserstein distance to the truth; Shumailov et al. 2024"),
        "wasserstein_se": MetricInfo("fidelity", "sigma^2", None, OVER_REPLICATES),
        "conserved": MetricInfo("fidelity", "sigma^2", None, "variance + squared error of the mean; see laws.conserved"),
        "conserved_se": MetricInfo("fidelity", "sigma^2", None, OVER_REPLICATES),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        model = inputs.model
        spread = np.maximum(np.linalg.eigvalsh(model.covariance), 0)  # [replicates, d]
        error = (model.mean**2).mean(axis=1)
        rounding = np.finfo(np.float64).eps * np.abs(model.mean).max(axis=1, keepdims=True)
        resolved = (spread > (RESOLVED * rounding) ** 2).all()
        variance = spread.mean(axis=1)
        return mean_over_replicates(
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
    """Diversity of a categorical model: heterozygosity, support, and survival of rare symbols.

    `heterozygosity` is 1 - sum p^2, the probability that two draws differ (Simpson 1949). `support` is the number of symbols in the
    model. `survival/c` is the share of surviving symbols among the symbols that occur c times in the chain's real training pool; a symbol
    survives if it is in the model. `missing` is the share of held-out rows whose symbol is not in the model (missing mass, Good 1953).
    """

    counts: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 3, 5, 10)
    """Values of c in `survival/c`."""
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("x",)
    reads: ClassVar[tuple[str, ...]] = ("model", "pool", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("counts",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "heterozygosity": MetricInfo("diversity", "chance", True, "Simpson 1949"),
        "heterozygosity_se": MetricInfo("diversity", "chance", None, OVER_REPLICATES),
        "support": MetricInfo("tail", "symbols", True, "Shumailov et al. 2024"),
        "support_se": MetricInfo("tail", "symbols", None, OVER_REPLICATES),
        "missing": MetricInfo("tail", "share of held-out rows", False, "Good 1953"),
        "missing_se": MetricInfo("tail", "share of held-out rows", None, OVER_REPLICATES),
        "survival": MetricInfo("tail", "share of symbols", True, "Suresh et al. 2024"),
        "survival_se": MetricInfo("tail", "share of symbols", None, OVER_REPLICATES),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        counts, real = inputs.model.counts, symbol_counts(inputs.pool.array("x"))
        share = counts / counts.sum(axis=1, keepdims=True)
        heldout = inputs.heldout.array("x")
        symbols = max(real.shape[1], counts.shape[1], int(heldout.max()) + 1)
        alive = np.pad(counts > 0, ((0, 0), (0, symbols - counts.shape[1])))
        real = np.pad(real, ((0, 0), (0, symbols - real.shape[1])))
        values = {
            "heterozygosity": 1 - (share**2).sum(axis=1),
            "support": alive.sum(axis=1),
            "missing": 1 - np.take_along_axis(alive, heldout.T, axis=1).mean(axis=1),
        }
        for occurrences in self.counts:
            rare = real == occurrences
            affected = rare.any(axis=1)  # replicates with symbols of this count
            if affected.any():
                values[f"survival/{occurrences}"] = (alive & rare).sum(axis=1)[affected] / rare.sum(axis=1)[affected]
        return mean_over_replicates(values)


@dataclass(frozen=True)
class ExcessRisk:
    """Excess risk of a regression, mean over replicates: squared error on new points due to wrong weights w, |w - e_1|^2."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    abilities: ClassVar[tuple[str, ...]] = ("weights",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "excess_risk": MetricInfo("fidelity", "squared label", False, "Dohmatob et al. 2024"),
        "excess_risk_se": MetricInfo("fidelity", "squared label", None, OVER_REPLICATES),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        weights = inputs.model.weights
        risk = ((weights - np.eye(weights.shape[-1])[0]) ** 2).sum(axis=-1)  # the true weights are e_1
        return {"excess_risk": risk.mean(), "excess_risk_se": risk.std(ddof=1) / np.sqrt(risk.size) if risk.size > 1 else 0.0}


@dataclass(frozen=True)
class PlaneAccuracy:
    """Exact accuracy of a linear classifier on new points: 1 - angle / pi, with the angle between the fitted and the true plane."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    abilities: ClassVar[tuple[str, ...]] = ("normal",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {"plane_accuracy": MetricInfo("fidelity", "share", True, "Feng et al. 2024")}

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        normal = inputs.model.normal
        return {"plane_accuracy": 1 - np.arccos(np.clip(normal[0] / np.linalg.norm(normal), -1, 1)) / np.pi}
