"""Claims about scaling laws: more data stops helping if a model generated it."""

from __future__ import annotations

import numpy as np

from ..analytic import laws
from ..analytic.data import zipf
from ..common.replication.claim import Claim, JudgeOutput, Rows, law_points, measured_curve
from ..common.replication.schema import Figure
from ..common.replication.statistical_checks import Estimate, by_seed, check_above, check_below, check_equals, estimate_at
from .text import LOSS, OVER_SEEDS

KINDS = {"real": "real", "made": "generated"}
"""Prefixes of the policies in the configs, and what their rows are."""

# ---- S1: a table of counts -----------------------------------------------------------------------------------------------------

FIRST = 500
"""Rows of the first model."""
TIMES = (1, 4, 16, 64)
SIZES = [FIRST * times for times in TIMES]
TRUTH = zipf(20000, 1.5)
MISSING_MASS = {
    "real": lambda size: laws.missing_mass(TRUTH, rows=size),
    "made": lambda size: laws.missing_mass(TRUTH, rows=size, made_from=FIRST),
}
"""The expected missing mass of the second model by the number of its rows."""


def symbols_plateau(rows: Rows) -> JudgeOutput:
    own, checks = rows["scaling-symbols"], []
    missing = {kind: [estimate_at(own, "missing", f"{kind}-{times}", 1) for times in TIMES] for kind in KINDS}
    for kind, other in (("made", "real"), ("real", "made")):
        for size, estimate in reversed(list(zip(SIZES, missing[kind], strict=True))):
            alternative = MISSING_MASS[other](size) if size == max(SIZES) else None
            label = f"missing mass, {size:,} {KINDS[kind]} rows"
            checks.append(check_equals(label, estimate, MISSING_MASS[kind](size), alternative=alternative))
    slope = {kind: np.polyfit(np.log(SIZES), np.log([one.value for one in estimates]), 1)[0] for kind, estimates in missing.items()}
    note = (
        f"Fitted exponents: {slope['real']:.2f} with real rows (the law's is -1/3) and {slope['made']:.2f} with generated rows, whose "
        f"missing mass levels off at {MISSING_MASS['made'](max(SIZES)):.3f}: the symbols that the first model never saw."
    )
    grid = np.geomspace(min(SIZES), max(SIZES), 30).round().astype(int).tolist()
    curves = [law_points(f"law: {name} rows", grid, MISSING_MASS[kind]) for kind, name in KINDS.items()]
    curves += [measured_curve(f"measured: {name} rows", SIZES, missing[kind]) for kind, name in KINDS.items()]
    return JudgeOutput(checks, Figure(x="rows", y="missing mass", curves=curves, log_x=True, log_y=True), note)


# ---- S2: language models -------------------------------------------------------------------------------------------------------

PASSAGES = 256
DOUBLED = (1, 2, 4, 8, 16)


def text_plateaus(rows: Rows) -> JudgeOutput:
    checks, curves, fits = [], [], []
    sizes = [PASSAGES * times for times in DOUBLED]
    for name, model in (("scaling-lm", "Llama"), ("scaling-ngram", "trigram")):
        loss = {kind: np.stack([by_seed(rows[name], LOSS, f"{kind}-{times}", 1) for times in DOUBLED]) for kind in KINDS}
        gain = {kind: values[-3] - values[-1] for kind, values in loss.items()}
        share, gap = Estimate.of(gain["made"] / gain["real"]), Estimate.of(loss["made"][-1] - loss["real"][-1])
        checks += [
            check_below(f"{model}: gain from four times the generated text / gain from four times the real text", share, 0.5),
            check_above(f"{model}: gain from 1,024 to 4,096 real passages, nats per token", Estimate.of(gain["real"])),
            check_above(f"{model}: loss with 4,096 generated passages - with real ones", gap),
        ]
        for kind, values in loss.items():
            curves.append(measured_curve(f"{model}, {KINDS[kind]} text", sizes, [Estimate.of(one) for one in values]))
            fits.append(f"{model}, {KINDS[kind]}: {_fitted(np.array(sizes), values.mean(axis=1))}")
    figure = Figure(x="passages", y="held-out loss, nats per token", curves=curves, log_x=True)
    return JudgeOutput(checks, figure, f"Fitted curves. {'; '.join(fits)}.")


def _fitted(sizes: np.ndarray, loss: np.ndarray) -> str:
    """A least-squares fit of plateau + b (rows / first)^-exponent, as text."""
    from scipy.optimize import curve_fit

    if loss[-1] >= loss[0]:
        return "the loss does not fall"

    def power_law(ratio: np.ndarray, plateau: float, b: float, exponent: float) -> np.ndarray:
        return plateau + b * ratio**-exponent

    start, bounds = (loss[-1], loss[0] - loss[-1], 0.5), ([0, 0, 0.01], [np.inf, np.inf, 4])
    try:
        (plateau, _, exponent), _ = curve_fit(power_law, sizes / sizes[0], loss, p0=start, bounds=bounds)
    except RuntimeError:
        return "no power law fits"
    if exponent < 0.1:  # no curvature: the data do not determine a plateau
        return f"{-np.polyfit(np.log2(sizes), loss, 1)[0]:.3f} nats less for every doubling, no plateau visible"
    return f"exponent {exponent:.2f} towards {plateau:.2f} nats"


# ---- claims ----------------------------------------------------------------------------------------------------------------

CLAIMS = (
    Claim(
        id="S1",
        statement="Scaling stops: a table of counts improves with more real rows by a power law, but with more generated rows only up to "
        "what the first model saw.",
        source="Dohmatob et al. 2024 (a tale of tails)",
        cost="seconds",
        experiments={"scaling-symbols": ["scaling-symbols.yaml"]},
        observable="missing mass of the second model with 500 to 32,000 rows; Zipf exponent 1.5",
        expects="real: sum p (1-p)^T ~ T^-1/3; generated: sum p E (1 - c/T0)^T, never below sum p (1-p)^T0",
        tolerance="within 4 standard errors over 40 replicates; the alternative is the law of the other kind of rows",
        judge=symbols_plateau,
    ),
    Claim(
        id="S2",
        statement="Scaling stops for language models too: four times the real text lowers the loss, four times the generated text "
        "hardly does.",
        source="Dohmatob et al. 2024 (a tale of tails)",
        cost="minutes",
        experiments={"scaling-lm": ["scaling-lm.yaml"], "scaling-ngram": ["scaling-ngram.yaml"]},
        observable="held-out loss of the second model, with 256 to 4,096 passages, real or generated by a first model trained on 256",
        expects="from 1,024 to 4,096 passages, generated text gains less than half as much as real text, and its loss stays above",
        tolerance=OVER_SEEDS,
        judge=text_plateaus,
    ),
)
