"""Checks, judges on rows that satisfy and on rows that violate their claim, and verdicts with a broken engine."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from autophagy.analytic import laws
from autophagy.analytic.data import zipf
from autophagy.analytic.gaussian import Gaussian
from autophagy.common.components.policies import Replace
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.common.loop import chain
from autophagy.common.replication import reproduce
from autophagy.common.replication.claim import Claim, JudgeOutput, claims, contradictions, generation_figure, select_claims
from autophagy.common.replication.reproduce import experiments_of, judge, markdown, result_of
from autophagy.common.replication.schema import LAW_STANDARD_ERRORS
from autophagy.common.replication.statistical_checks import (
    Estimate,
    check_above,
    check_below,
    check_equals,
    check_mostly_up,
    check_same,
    estimate_at,
)
from support.commands import autophagy

pytestmark = pytest.mark.xdist_group("claims")  # one process: they share the results of all analytic claims, which take a minute

SEEDS = (0, 1, 2)


# ---- checks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "alternative", "verdict"),
    [(0.1, None, "holds"), (LAW_STANDARD_ERRORS - 0.1, None, "holds"), (LAW_STANDARD_ERRORS + 0.1, None, "fails"),
     (-LAW_STANDARD_ERRORS - 0.1, None, "fails"),
     (0.1, 10.0, "holds"), (0.1, 2.0, "inconclusive"), (9.0, 10.0, "fails")],
)  # fmt: skip
def test_law_holds_if_near_and_alternative_excluded(value, alternative, verdict):
    assert check_equals("x", Estimate(value, 1.0, 1000), 0.0, alternative=alternative).verdict == verdict


def test_few_chains_allow_more_standard_errors():
    assert check_equals("x", Estimate(4.5, 1.0, 1000), 0.0).verdict == "fails"
    assert check_equals("x", Estimate(4.5, 1.0, 5, freedom=4), 0.0).verdict == "holds"


def test_error_rates_of_laws_and_intervals():
    rng = np.random.default_rng(0)
    found = [Estimate.of(rng.standard_normal(5)) for _ in range(4000)]
    assert sum(check_equals("x", one, 0.0).verdict == "fails" for one in found) <= 3  # one in 16,000 is expected
    inside = np.mean([one.interval[0] < 0 < one.interval[1] for one in found])
    assert inside == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize(
    ("values", "verdict"), [((2.0, 2.1, 1.9), "holds"), ((2.0, -0.5, 1.0), "inconclusive"), ((-2, -2.1, -1.9), "fails")]
)
def test_bound_needs_the_whole_interval(values, verdict):
    assert check_above("x", Estimate.of(values)).verdict == verdict
    mirrored = check_below("x", Estimate.of([-value for value in values]))
    assert mirrored.verdict == verdict
    assert mirrored.p == pytest.approx(check_above("x", Estimate.of(values)).p)


def test_exact_values_are_checked_exactly():
    assert check_same("x", Estimate(1.0, 0.0, 100), 1.0).verdict == "holds"
    assert check_same("x", Estimate(1.0, 1e-9, 100), 1.0).verdict == "fails", "not every chain has it"
    assert check_same("x", Estimate(0.999, 0.0, 100), 1.0).verdict == "fails"
    assert check_equals("x", Estimate(1.0, 0.0, 100), 1.0).verdict == "holds"
    assert check_equals("x", Estimate(1.1, 0.0, 100), 1.0).verdict == "fails"


def test_one_chain_is_an_error():
    with pytest.raises(ValueError, match="a standard error cannot be computed from 1 chains"):
        Estimate.of([3.0])


def test_probability_of_rises_against_all_orders():
    up, level = np.array([[0, 1, 2, 3, 4, 5.0]]), np.array([[0, 1, 0, 1, 0, 1.0]])
    assert check_mostly_up("x", np.repeat(up, 3, axis=0), at_least=5).verdict == "holds"
    assert check_mostly_up("x", np.concatenate([up, level]), at_least=4).verdict == "inconclusive"
    assert check_mostly_up("x", level, at_least=4).verdict == "fails"
    orders = [sum(after > before for before, after in pairwise(order)) for order in permutations(range(6))]
    for least in range(6):
        assert check_mostly_up("x", up, at_least=least).p == pytest.approx(np.mean([rises >= least for rises in orders]))


def test_standard_errors_of_differences_and_ratios():
    rng = np.random.default_rng(1)
    one, other = Estimate(5.0, 0.1, 100), Estimate(2.0, 0.05, 100)
    drawn, against = one.value + one.error * rng.standard_normal(200_000), other.value + other.error * rng.standard_normal(200_000)
    assert (one - other).error == pytest.approx((drawn - against).std(), rel=0.02)
    assert (one / other).error == pytest.approx((drawn / against).std(), rel=0.02)


def test_claim_holds_if_every_check_holds():
    check = check_above("", Estimate(1.0, 0.1, 9))
    of = lambda *verdicts: JudgeOutput([check.model_copy(update={"verdict": one}) for one in verdicts], generation_figure("", [])).verdict  # noqa: E731
    assert of("holds", "holds") == "holds"
    assert of("holds", "inconclusive") == "inconclusive"
    assert of("inconclusive", "fails", "holds") == "fails"
    assert of() == "inconclusive"


# ---- the registry ---------------------------------------------------------------------------------------------------------


def test_claims_are_complete_and_their_experiments_load():
    for claim in claims().values():
        for name in ("statement", "source", "observable", "expects", "tolerance"):
            assert getattr(claim, name).strip(), f"{claim.id} has no {name}"
        assert claim.cost == "gpu" or not claim.needs
        for name, experiment in experiments_of(claim).items():
            assert experiment.name == name
            assert claim.cost == "seconds" or len(experiment.seeds) >= 3
    assert {f"C{number}" for number in range(1, 28) if number != 24} <= set(claims())


def test_contradictions_name_existing_claims():
    assert len(contradictions()) >= 2
    for one in contradictions():
        assert one.decided_by
        for said, ids in one.sides:
            assert said and set(ids) <= set(claims())


def test_claims_are_selected_by_id_or_cost():
    assert [claim.id for claim in select_claims(["c10", "C2"], None)] == ["C2", "C10"]
    seconds, minutes, everything = (len(select_claims((), cost)) for cost in ("seconds", "minutes", "all"))
    assert seconds < minutes < everything == len(claims())
    with pytest.raises(UserError, match="unknown claim 'C99'.*`autophagy claims` lists all claims"):
        select_claims(["C99"], None)


def test_two_experiments_with_one_name_are_an_error():
    one = claims()["C10"]
    other = Claim(**{**dict(one), "id": "X", "experiments": {"regression": ["regression.yaml", "size=50"]}})
    with pytest.raises(UserError, match="experiment 'regression' is defined differently by claims C10 .* and X"):
        reproduce.reproduce([one, other], store="nowhere", out="nowhere", progress=lambda total: nullcontext(lambda event: None))


# ---- laws that have no test of their own ------------------------------------------------------------------------------------


def test_extinction_law():
    assert laws.extinction(0, count=3, size=50) == 0
    assert laws.extinction(1, count=3, size=50) == pytest.approx((1 - 3 / 50) ** 50)
    assert laws.extinction(5, count=3, size=2000) == pytest.approx(0.390, abs=0.002)
    for generation in (1, 5, 20):
        assert laws.extinction(generation, count=3, size=2000) == pytest.approx(laws.extinction_poisson(generation, count=3), abs=2e-3)


def test_anchors_of_the_other_laws():
    """Numbers worked out independently of the code (M = 50, n = 20 fits unless said otherwise)."""
    assert laws.accumulate_variance(19, size=50) == pytest.approx(0.9684, abs=5e-5)
    assert laws.accumulate_limit(size=50) == pytest.approx(0.9674, abs=5e-5)
    assert laws.subsample_variance(19, size=50) == pytest.approx(0.9454, abs=5e-5)
    for share, level in ((0.01, 0.664), (0.05, 0.907), (0.1, 0.950)):
        assert laws.mix_fresh(2000, size=100, real_fraction=share)[0] == pytest.approx(level, abs=1e-3)
    assert laws.weighted_mean_limit(laws.golden_weight()) == pytest.approx(0.6180, abs=1e-4)
    assert laws.weighted_mean_limit(0.5) == pytest.approx(2 / 3)
    assert laws.regression_risk(7, size=40, dimensions=5, policy="replace-growing") == pytest.approx(0.372, abs=5e-4)
    assert laws.kde_variance(3000, size=50, bandwidth=0.2) == pytest.approx(50 * 0.04)
    assert laws.verifier_threshold(keep_right=0.8, keep_wrong=0.4) == pytest.approx(2 / 3)
    assert laws.effective_rows(laws.replace_wasserstein(0, size=37)) == pytest.approx(37, rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_recursions_reach_their_fixed_points(share):
    for law, kind in ((laws.mix_fresh, "fresh"), (laws.mix_fixed, "fixed")):
        variance, error = law(5000, size=100, real_fraction=share)
        assert error == pytest.approx(laws.mix_fixed_point(size=100, real_fraction=share, real=kind))
        if kind == "fresh":
            assert variance + error == pytest.approx(1.0)
    assert laws.weighted_mean_error(500, size=7, weight=share) * 7 == pytest.approx(laws.weighted_mean_limit(share))


def test_missing_mass_against_simulation():
    truth, rng = zipf(200, 1.5), np.random.default_rng(0)
    found = []
    for _ in range(4000):
        first = rng.multinomial(20, truth)
        second = rng.multinomial(60, first / 20)
        found.append(truth[second == 0].sum())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - laws.missing_mass(truth, rows=60, made_from=20)) < 4 * error


# ---- the analytic claims, run ------------------------------------------------------------------------------------------------

SECONDS = [claim.id for claim in select_claims((), "seconds")]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Every claim that costs seconds, run as the command runs it, and its rows."""
    folder = tmp_path_factory.mktemp("claims")
    judged = run_claims(SECONDS, folder)
    rows = {path.parent.name: pd.read_parquet(path) for path in (folder / "out").glob("*/rows.parquet")}
    for name, own in rows.items():
        own.attrs["worlds"] = replicates_of(name)
    return {one.id: one for one in judged}, rows


def run_claims(ids, folder):
    silent = lambda total: nullcontext(lambda event: None)  # noqa: E731
    return reproduce.reproduce([claims()[name] for name in ids], store=folder / "store", out=folder / "out", progress=silent)


def replicates_of(name):
    return next(one[name] for one in map(experiments_of, select_claims((), "seconds")) if name in one).data.settings.get("replicates", 1)


@pytest.mark.parametrize("name", SECONDS)
def test_analytic_claim_holds(found, name):
    judged = found[0][name]
    assert judged.verdict == "holds", [check for check in judged.checks if check.verdict != "holds"]


def shifted(rows):
    """Every generation's numbers under the number of the one before."""
    rows = rows.assign(generation=rows.generation - 1)
    return pd.concat(
        [rows[rows.generation >= 0], rows[rows.generation == rows.generation.max()].assign(generation=rows.generation.max() + 1)]
    )


def swapped(one, other):
    return lambda rows: rows.assign(policy=rows.policy.replace({one: other, other: one}))


def scaled(metric, factor):
    return lambda rows: rows.assign(
        value=rows.value.where(~rows.metric.str.startswith(metric) | rows.metric.str.contains("_se"), rows.value * factor)
    )


def still(rows):
    """Nothing changes after generation 0."""
    first = rows[rows.generation == 0]
    return pd.concat([first.assign(generation=number) for number in sorted(rows.generation.unique())])


VIOLATIONS = {
    "C1": [shifted, still], "C2": [still], "C3": [shifted, still], "C4": [swapped("replace", "accumulate"), shifted],
    "C5": [swapped("accumulate", "accumulate-subsample"), still], "C6": [swapped("fresh-5", "fresh-25"), still],
    "C7": [swapped("fresh-10", "fixed-10")], "C8": [swapped("fresh-10", "late-10"), still],
    "C9": [swapped("weight-62", "weight-25"), scaled("mean_squared_error", 1.2)], "C10": [swapped("replace", "accumulate"), shifted],
    "C11": [shifted, still], "C12": [swapped("linear", "quadratic"), still], "C13": [shifted, swapped("replace", "accumulate")],
    "C14": [swapped("replace", "accumulate"), scaled("survival", 0.999)], "C15": [swapped("replace", "accumulate"), still],
    "C16": [swapped("replace", "accumulate"), still], "C17": [scaled("excess_risk", 1.4)], "C18": [scaled("plane_accuracy", 0.1)],
    "C26": [still], "C27": [scaled("wasserstein", 3.0)],
    "S1": [lambda rows: rows.assign(policy=rows.policy.str.replace("real", "x").str.replace("made", "real").str.replace("x", "made"))],
}  # fmt: skip


@pytest.mark.parametrize(("name", "violate"), [(name, one) for name, violations in VIOLATIONS.items() for one in violations])
def test_judge_fails_on_rows_that_violate_the_claim(found, name, violate):
    claim = claims()[name]
    rows = {}
    for experiment in claim.experiments:
        rows[experiment] = violate(found[1][experiment])
        rows[experiment].attrs.update(found[1][experiment].attrs)
    assert judge(claim, rows).verdict == "fails"


def test_all_analytic_claims_have_violations():
    assert set(VIOLATIONS) == set(SECONDS)


def test_claims_share_the_run_of_an_experiment(found, tmp_path):
    """C1 and C4 read the same chains; a finished run is read back, and says the same."""
    judged, _ = found
    assert estimate_at(found[1]["gaussian"], "variance", "replace", 19).value == judged["C1"].checks[0].measured
    assert "gaussian" in claims()["C4"].experiments


# ---- a broken engine -------------------------------------------------------------------------------------------------------


def stale(self, sources, *, size, rng):
    """Off by one: the pool before the last one, where there is one."""
    return sources.history[max(0, len(sources.history) - 2)].choose(size, rng)


def leaky(self, sources, *, size, rng):
    """One real row in fifty, another one each time (of one that stays the same the expected variance knows nothing)."""
    return Pool.concat([sources.real.choose(1, rng), sources.history[-1].choose(size - 1, rng)])


sample = Gaussian.sample


def narrow(self, n, *, seed, given=None):
    """Samples with 2 % less variance than the model has."""
    generated = sample(self, n, seed=seed)
    return Pool.of(x=self.mean[:, 0] + np.sqrt(0.98) * (generated.array("x") - self.mean[:, 0])) if self.mean.shape[1] == 1 else generated


BREAKAGES = {
    "off by one": (Replace, "__call__", stale),
    "leaked row": (Replace, "__call__", leaky),
    "biased sampler": (Gaussian, "sample", narrow),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_engine_fails_the_claim(breakage, monkeypatch, tmp_path):
    where, name, broken = BREAKAGES[breakage]
    monkeypatch.setattr(where, name, broken)
    if breakage == "off by one":  # which the audit would not let pass; here the laws have to notice by themselves
        with pytest.raises(UserError, match="audit: "):
            run_claims(["C1"], tmp_path / "audited")
        monkeypatch.setattr(chain, "check_mixture", lambda *_, **__: None)
    judged = run_claims(["C1"], tmp_path)[0]
    assert judged.verdict == "fails"
    worst = max(judged.checks, key=lambda check: abs(check.z))
    assert abs(worst.z) > LAW_STANDARD_ERRORS + 2, "and not by a hair"


def test_biased_sampler_fails_accumulation(monkeypatch, tmp_path):
    monkeypatch.setattr(Gaussian, "sample", narrow)
    assert run_claims(["C4"], tmp_path)[0].verdict == "fails"


def test_generations_numbered_from_one_fail_the_claim(found):
    """Off by one in the labels: generation 0 taken for the truth."""
    rows = {name: found[1][name].assign(generation=found[1][name].generation + 1) for name in claims()["C1"].experiments}
    rows = {name: pd.concat([own, own[own.generation == 1].assign(generation=0)]) for name, own in rows.items()}
    for name, own in rows.items():
        own.attrs.update(found[1][name].attrs)
    assert judge(claims()["C1"], rows).verdict == "fails"


# ---- judges of the neural claims, on made-up rows ------------------------------------------------------------------------------


def invented_rows(*numbers, generations=8):
    """Rows of chains: `(policy, metric, value(generation))`, each seed a little beside the others."""
    lines = []
    for policy, metric, value in numbers:
        for seed in SEEDS:
            for generation in range(generations + 1):
                beside = 1 + 0.002 * np.sin(7 * seed + 3 * generation + len(policy) + len(metric))
                lines.append(
                    {"policy": policy, "metric": metric, "seed": seed, "generation": generation, "value": value(generation) * beside}
                )
    return pd.DataFrame(lines)


def losses(**slopes):
    return [(name.replace("_", "-"), "heldout_nll", lambda g, slope=slope: 4 + slope * g) for name, slope in slopes.items()]


def of_text(own, real=0.1, diversity=-0.02, tail=0.05):
    rows = [("replace", metric, lambda g: 0.9 + diversity * g) for metric in ("distinct_2", "word_entropy", "rare_recall")]
    rows += [("replace", "samples_nll", lambda g: 4 + own * g), ("replace", "samples_nll_p95", lambda g: 5 + (own + tail) * g)]
    return [*rows, *losses(replace=real)]


LOST = {"replace": 0.1, "mix_10": 0.05, "augment": 0.001, "real": 0.0}
GROWN = {"replace": 0.1, "replace_growing": 0.06, "accumulate": 0.002}
CYCLES = {"full": -0.03, "balanced": -0.004, "incremental": -0.015, "expanding": -0.002}


def logic(valid, cycles):
    apart = [(name, "edit_distance", lambda g, slope=slope: 0.6 + slope * g) for name, slope in cycles.items()]
    return {"logic": invented_rows(("full", "valid_share", lambda g: 0.7 + valid * g), *apart)}


def images(*, precision=-0.02, sharp_precision=0.02, recall=-0.03, sharp_recall=-0.08, augment=5.0, replace=50.0):
    def rows(p, r, generations):
        kept = [
            ("precision", lambda g: 0.7 + p * g),
            ("recall", lambda g: max(0.0, 0.8 + r * g)),
            ("frechet_distance", lambda g: 100 + replace * g),
        ]
        policies = [("replace", metric, value) for metric, value in kept]
        more = [(name, "frechet_distance", lambda g, slope=slope: 100 + slope * g) for name, slope in (("augment", augment), ("real", 0.0))]
        return invented_rows(*policies, *more, generations=generations)

    fair, sharp = (precision, recall), (sharp_precision, sharp_recall)
    return {
        f"{name}{tail}": rows(*which, last)
        for name, last in (("vae", 8), ("diffusion", 3))
        for tail, which in (("", fair), ("-sharp", sharp))
    }


def sizes(real, generated):
    numbers = []
    for kind, gain in (("real", real), ("made", generated)):
        numbers += [
            (f"{kind}-{times}", "heldout_nll", lambda g, times=times, gain=gain: 5 - gain * np.log2(times)) for times in (1, 2, 4, 8, 16)
        ]
    return {name: invented_rows(*numbers, generations=1) for name in ("scaling-lm", "scaling-ngram")}


def both(**slopes):
    return {name: invented_rows(*losses(**slopes)) for name in ("lm", "lm-ngram")}


def growing(slopes, sharp):
    return {
        "lm-growing": invented_rows(*losses(**slopes), generations=4),
        "lm-sharp": invented_rows(*losses(replace=sharp, accumulate=0.1), generations=4),
    }


def widths(slope):
    return {name: invented_rows(*losses(replace=0.1 if name == "lm" else slope)) for name in ("lm", "lm-64", "lm-32")}


TRUE = {
    "C19": both(**LOST), "C20": growing(GROWN, 0.3), "C20b": {"lm-ngram": invented_rows(*losses(**GROWN, real=0.0))},
    "C21": {name: invented_rows(*of_text(-0.2)) for name in ("lm", "lm-ngram")},
    "C21b": {"lm-sharp": invented_rows(*of_text(-0.2), generations=4)},
    "C22": logic(0.03, CYCLES), "C23": images(), "C25": widths(0.1), "S2": sizes(0.3, 0.02),
}  # fmt: skip
FALSE = {
    "C19": [both(**{**LOST, name: slope}) for name, slope in (("replace", 0.0), ("augment", 0.05), ("mix_10", 0.2), ("real", 0.07))],
    "C20": [growing({**GROWN, "accumulate": 0.03}, 0.3), growing({**GROWN, "replace_growing": 0.2}, 0.3), growing(GROWN, 0.05)],
    "C20b": [{"lm-ngram": invented_rows(*losses(**{**GROWN, "accumulate": 0.03}, real=0.0))}],
    "C21": [
        {name: invented_rows(*of_text(*change)) for name in ("lm", "lm-ngram")}
        for change in ((0.2,), (-0.2, -0.1), (-0.2, 0.1, 0.02), (-0.2, 0.1, -0.02, -0.1))
    ],
    "C21b": [{"lm-sharp": invented_rows(*of_text(0.2), generations=4)}],
    "C22": [logic(-0.03, CYCLES), logic(0.03, {**CYCLES, "full": 0.01}), logic(0.03, {**CYCLES, "expanding": -0.03})],
    "C23": [
        images(**change)
        for change in ({"precision": 0.02}, {"sharp_precision": -0.02}, {"recall": 0.02}, {"sharp_recall": -0.01}, {"augment": -5.0},
                       {"augment": 90.0}, {"replace": -3.0})
    ],
    "C25": [widths(-0.1)],
    "S2": [sizes(0.3, 0.28), sizes(-0.1, -0.1), sizes(0.02, 0.3)],
}  # fmt: skip


@pytest.mark.parametrize("name", TRUE)
def test_neural_claim_holds_on_matching_rows(name):
    finding = judge(claims()[name], TRUE[name])
    assert finding.verdict == "holds", [check for check in finding.checks if check.verdict != "holds"]


@pytest.mark.parametrize(("name", "rows"), [(name, rows) for name, several in FALSE.items() for rows in several])
def test_neural_claim_fails_on_violating_rows(name, rows):
    assert judge(claims()[name], rows).verdict == "fails"


def test_all_neural_claims_have_rows():
    assert set(TRUE) == set(FALSE) == {claim.id for claim in claims().values() if claim.cost == "minutes"}


# ---- the command -----------------------------------------------------------------------------------------------------------


def test_command_reports_unknown_claims_and_costs():
    assert "unknown claim 'C88'" in autophagy("reproduce", "C88").stderr
    wrong = autophagy("reproduce", "--cost", "minute")
    assert (
        wrong.exit_code == 2
        and "--cost minute: must be seconds, minutes, gpu or all" in wrong.stderr
        and "did you mean 'minutes'" in wrong.stderr
    )


def test_claims_are_listed():
    listed = autophagy("claims")
    assert listed.exit_code == 0
    for claim in claims().values():
        assert f"{claim.id} " in listed.output


@pytest.mark.slow
def test_killed_reproduction_continues_to_the_same_verdicts(tmp_path):
    """Killed three times with SIGKILL at random moments, with two workers."""

    def command(name, workers):
        where = ["--store", tmp_path / name / "store", "-o", tmp_path / name / "out", "--workers", workers]
        return [sys.executable, "-m", "autophagy", "reproduce", "C10", "C12", "S1", *map(str, where)]

    subprocess.run(command("whole", 1), check=True, capture_output=True)
    rng = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command("killed", 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(3 + 5 * rng.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command("killed", 2), check=True, capture_output=True)
    whole, killed = ((tmp_path / name / "out" / "claims.json").read_text() for name in ("whole", "killed"))
    assert whole == killed
    assert {claim["id"]: claim["verdict"] for claim in json.loads(whole)["claims"]} == {"C10": "holds", "C12": "holds", "S1": "holds"}


def test_table_has_a_line_for_every_claim():
    claim = claims()["C10"]
    holding = result_of(claim, JudgeOutput([check_equals("E s^2 | x", Estimate(1.0, 0.5, 9), 1.0)], generation_figure("", [])))
    lines = markdown([holding, result_of(claim, None, not_run="no hub")]).splitlines()
    assert len(lines) == 4
    assert "**holds**" in lines[2] and "E s\\^2 \\| x: 1 [0.02, 1.98]" in lines[2]
    assert "**not run**" in lines[3] and "no hub" in lines[3]
