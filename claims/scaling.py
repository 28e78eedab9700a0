"""The claim about scaling laws: with data that a model made, more of it stops helping."""

from __future__ import annotations

import numpy as np
from scipy.optimize import curve_fit

from ..analytic import laws
from ..analytic.data import zipf
from ..common.replication.claim import Claim, Curve, Figure, JudgeOutput, Rows, curve
from ..common.replication.statistical_checks import Estimate, above, at, below, by_seed, equals

FIRST = 500
TIMES = (1, 4, 16, 64)
TRUTH = zipf(20000, 1.5)


def symbols_plateau(rows: Rows) -> JudgeOutput:
    own, checks = rows["scaling-symbols"], []
    sizes = [FIRST * times for times in TIMES]
    found = {kind: [at(own, "missing", f"{kind}-{times}", 1) for times in TIMES] for kind in ("real", "made")}
    law = {
        "real": [laws.missing_mass(TRUTH, rows=size) for size in sizes],
        "made": [laws.missing_mass(TRUTH, rows=size, made_from=FIRST) for size in sizes],
    }
    for kind, other in (("made", "real"), ("real", "made")):
        for place in reversed(range(len(sizes))):
            rival = law[other][place] if place == len(sizes) - 1 else None
            checks.append(equals(f"missing mass, {sizes[place]:,} {kind} rows", found[kind][place], law[kind][place], rival=rival))
    slope = {kind: np.polyfit(np.log(sizes), np.log([one.value for one in values]), 1)[0] for kind, values in found.items()}
    note = f"Fitted exponents: {slope['real']:.2f} with real rows (the law's is -1/3), {slope['made']:.2f} with made ones, which settle at "
    note += f"{law['made'][-1]:.3f}: what the first model had not seen."
    grid = np.geomspace(sizes[0], sizes[-1], 30).round().astype(int)
    curves = [
        Curve("law: real rows", grid.tolist(), [laws.missing_mass(TRUTH, rows=size) for size in grid], law=True),
        Curve("law: made rows", grid.tolist(), [laws.missing_mass(TRUTH, rows=size, made_from=FIRST) for size in grid], law=True),
        *(curve(f"measured: {kind} rows", sizes, values) for kind, values in found.items()),
    ]
    return JudgeOutput(checks, Figure("rows", "missing mass", curves, log_x=True, log_y=True), note)


PASSAGES = 256
DOUBLED = (1, 2, 4, 8, 16)
LOSS = "heldout_nll"


def text_plateaus(rows: Rows) -> JudgeOutput:
    checks, curves, notes = [], [], []
    sizes = np.array([PASSAGES * times for times in DOUBLED])
    for name, model in (("scaling-lm", "Llama"), ("scaling-ngram", "trigram")):
        own = rows[name]
        loss = {kind: np.stack([by_seed(own, LOSS, f"{kind}-{times}", 1) for times in DOUBLED]) for kind in ("real", "made")}
        gained = {kind: values[-3] - values[-1] for kind, values in loss.items()}
        checks += [
            below(
                f"{model}: gain of four times the made text, as a share of that of real text",
                Estimate.of(gained["made"] / gained["real"]),
                0.5,
            ),
            above(f"{model}: gain from 1,024 to 4,096 real passages, nats per token", Estimate.of(gained["real"])),
            above(f"{model}: loss with 4,096 made passages - with real ones", Estimate.of(loss["made"][-1] - loss["real"][-1])),
        ]
        for kind, values in loss.items():
            curves.append(curve(f"{model}, {kind} text", sizes.tolist(), [Estimate.of(one) for one in values]))
            notes.append(f"{model}, {kind}: {_fitted(sizes, values.mean(axis=1))}")
    return JudgeOutput(
        checks, Figure("passages", "held-out loss, nats per token", curves, log_x=True), "Fitted curves. " + "; ".join(notes) + "."
    )


def _fitted(sizes: np.ndarray, loss: np.ndarray) -> str:
    """plateau + b (rows / first)^-exponent by least squares, in words."""
    if loss[-1] >= loss[0]:
        return "the loss does not fall"
    law = lambda ratio, plateau, b, exponent: plateau + b * ratio**-exponent  # noqa: E731
    start, bounds = (loss[-1], loss[0] - loss[-1], 0.5), ([0, 0, 0.01], [np.inf, np.inf, 4])
    try:
        (plateau, _, exponent), _ = curve_fit(law, sizes / sizes[0], loss, p0=start, bounds=bounds)
    except RuntimeError:
        return "no power law fits"
    if exponent < 0.1:  # no bend in sight: a plateau would be made up
        return f"{-np.polyfit(np.log2(sizes), loss, 1)[0]:.3f} nats less for every doubling, no plateau to be told"
    return f"exponent {exponent:.2f} towards {plateau:.2f} nats"


CLAIMS = (
    Claim(
        id="S1",
        says=(
            "Scaling stops: a table of counts learns from more real rows like a power law, and from more made ones only "
            "what the first model saw."
        ),
        source="Dohmatob et al. 2024 (a tale of tails)",
        cost="seconds",
        experiments={"scaling-symbols": ["scaling-symbols.yaml"]},
        observable="missing mass of the second model, 500 to 32,000 rows, Zipf's exponent 1.5",
        expects="real: sum p (1-p)^T ~ T^-1/3; made: sum p E (1 - c/T0)^T, never below sum p (1-p)^T0",
        tolerance="4 standard errors over 40 worlds; the rival is the other kind of rows",
        judge=symbols_plateau,
    ),
    Claim(
        id="S2",
        says=("Scaling stops for language models too: four times the real text lowers the loss, four times the made text hardly."),
        source="Dohmatob et al. 2024 (a tale of tails)",
        cost="minutes",
        experiments={"scaling-lm": ["scaling-lm.yaml"], "scaling-ngram": ["scaling-ngram.yaml"]},
        observable="held-out loss of the second model, 256 to 4,096 passages, real or made by the first model from 256",
        expects="from 1,024 to 4,096 passages made text gains less than half of what real text does, and ends above it",
        tolerance="95 % intervals over three seeds (Student's t), paired by seed",
        judge=text_plateaus,
    ),
)
