"""Positive controls: published absolute numbers of language models that learn from themselves. They need weights and data of the
Hugging Face hub and a GPU; the configs beside them say which published details they follow and which they cannot.

The other claims are laws and orderings, true at any scale. A number of one run is neither: it has no interval, and hangs on details
that papers leave out. So it gets a band, fixed beforehand (`LEVEL`, `RISE`), and what must hold beside it is an ordering.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING

from ..common.replication.claim import Claim, Curve, Figure, JudgeOutput, Rows, over_generations
from ..common.replication.statistical_checks import Check, Estimate, above, at, below, by_seed, history, mostly_up, within

if TYPE_CHECKING:
    import numpy as np
    import pandas

PERPLEXITY, NATS = "heldout_perplexity", "heldout_nll"
LEVEL = 0.10
"""Share of a published number that a measured one may lie off: what tokens a perplexity is a mean over, how they are cut into windows
and which precision a model is trained in each move it by some per cent."""
RISE = 0.25
"""Share of a published change over generations that a measured one may lie off. Such details mostly cancel in a change, but what is
left of it after a few seeds is less certain."""
NEEDS = "hub + GPU"

REPLACE = dict(enumerate((29.6, 33.3, 36.1, 38.3, 40.4, 42.3, 44.1, 46.0, 47.6, 49.5, 51.0)))
AUGMENT = {0: 29.6, 10: 30.4}
STORIES = {"replace": {4: 2.39, 10: 2.91}, "accumulate": {4: 1.74}}
OPT_REAL, OPT_LOSS, OPT_GENERATIONS = 34.0, (20.0, 28.0), 9

GPT2 = {"control-gpt2": ["control-gpt2.yaml"]}
GPT2_AUGMENT = {"control-gpt2-augment": ["control-gpt2.yaml", "policies=[augment]"]}
STORIES_REPLACE = {"control-stories": ["control-stories.yaml"]}
STORIES_ACCUMULATE = {"control-stories-accumulate": ["control-stories.yaml", "policies=[accumulate]", "generations=4"]}
OPT = {"control-opt": ["control-opt.yaml"]}
MIX_10 = "policies={mix-10: {use: mix, real_fraction: 0.1}}"
OPT_10 = {"control-opt-10": ["control-opt.yaml", MIX_10, "generator.training.epochs=10"]}


# ---- what rows say --------------------------------------------------------------------------------------------------------


def last_of(rows: pandas.DataFrame, policy: str) -> int:
    """The last generation that a policy was run to."""
    return int(rows[rows.policy == policy].generation.max())


def levels(about: str, rows: pandas.DataFrame, metric: str, policy: str, published: Mapping[int, float]) -> list[Check]:
    """A number held to the published ones at all of their generations that were run, the last one first."""
    run = [number for number in sorted(published, reverse=True) if number <= last_of(rows, policy)]
    return [
        within(f"{about}, generation {number}", at(rows, metric, policy, number), published[number], LEVEL * published[number])
        for number in run
    ]


def points(rows: pandas.DataFrame, metric: str, policy: str, generation: int, *, since: int = 0) -> np.ndarray:
    """How far a number has risen since a generation in every chain, float64 [seeds]."""
    return by_seed(rows, metric, policy, generation) - by_seed(rows, metric, policy, since)


def rise(rows: pandas.DataFrame, policy: str, generation: int) -> Estimate:
    """How far perplexity has risen since generation 0, as a share of what it was then, chain by chain."""
    return Estimate.of(points(rows, PERPLEXITY, policy, generation) / by_seed(rows, PERPLEXITY, policy, 0))


def published_curve(label: str, published: Mapping[int, float]) -> Curve:
    return Curve(label, list(published), list(published.values()), law=True)


def left_out(published: Iterable[int], last: int) -> str:
    """For a reader of a run that was made shorter."""
    missing = [str(number) for number in published if number > last]
    return f"Run to generation {last}; not held against what is published of generation {', '.join(missing)}." if missing else ""


# ---- judges ---------------------------------------------------------------------------------------------------------------


def replacing_costs_perplexity(rows: Rows) -> JudgeOutput:
    own = rows["control-gpt2"]
    last = last_of(own, "replace")
    checks = levels("perplexity", own, PERPLEXITY, "replace", REPLACE)
    if last in REPLACE:
        expected = REPLACE[last] / REPLACE[0] - 1
        checks.append(within(f"rise to generation {last}, of the first", rise(own, "replace", last), expected, RISE * expected))
    checks.append(mostly_up("steps that go up", history(own, PERPLEXITY, "replace"), at_least=ceil(0.8 * last)))
    curves = [published_curve("published: replace", REPLACE), over_generations("measured: replace", own, PERPLEXITY, "replace")]
    return JudgeOutput(checks, Figure("generation", "held-out perplexity", curves), left_out(REPLACE, last))


def real_data_holds_perplexity(rows: Rows) -> JudgeOutput:
    replaced, own = rows["control-gpt2"], rows["control-gpt2-augment"]
    last = last_of(own, "augment")
    both = min(last, last_of(replaced, "replace"))
    checks = levels("perplexity", own, PERPLEXITY, "augment", AUGMENT)
    if last in AUGMENT:
        expected, scale = AUGMENT[last] / AUGMENT[0] - 1, REPLACE[last] / REPLACE[0] - 1
        checks.append(within(f"rise to generation {last}, of the first", rise(own, "augment", last), expected, RISE * scale))
    gap = Estimate.of(by_seed(own, PERPLEXITY, "augment", both) - by_seed(replaced, PERPLEXITY, "replace", both))
    checks.append(below(f"with real data - without, generation {both}", gap))
    curves = [
        published_curve("published: augment", AUGMENT),
        published_curve("published: replace", REPLACE),
        over_generations("measured: augment", own, PERPLEXITY, "augment"),
        over_generations("measured: replace", replaced, PERPLEXITY, "replace"),
    ]
    return JudgeOutput(checks, Figure("generation", "held-out perplexity", curves), left_out(AUGMENT, last))


def accumulating_stories_helps(rows: Rows) -> JudgeOutput:
    own = {"replace": rows["control-stories"], "accumulate": rows["control-stories-accumulate"]}
    last = {policy: last_of(found, policy) for policy, found in own.items()}
    both = min(last.values())
    gap = Estimate.of(by_seed(own["replace"], NATS, "replace", both) - by_seed(own["accumulate"], NATS, "accumulate", both))
    checks = [above(f"replace - accumulate, generation {both}", gap)]
    if both == 4:
        expected = STORIES["replace"][4] - STORIES["accumulate"][4]
        checks.append(within("replace - accumulate, generation 4", gap, expected, RISE * expected))
    if last["replace"] >= 10:
        expected = STORIES["replace"][10] - STORIES["replace"][4]
        growing_pool_size = Estimate.of(points(own["replace"], NATS, "replace", 10, since=4))
        checks.append(within("replace: rise from generation 4 to 10", growing_pool_size, expected, RISE * expected))
    curves = []
    for policy, published in STORIES.items():
        checks += levels(f"{policy}: cross-entropy", own[policy], NATS, policy, published)
        curves.append(published_curve(f"published: {policy}", published))
        curves.append(over_generations(f"measured: {policy}", own[policy], NATS, policy))
    note = " ".join(filter(None, (left_out(published, last[policy]) for policy, published in STORIES.items())))
    return JudgeOutput(checks, Figure("generation", "held-out cross-entropy, nats per token", curves), note)


def a_tenth_real_is_enough(rows: Rows) -> JudgeOutput:
    without, with_real = rows["control-opt"], rows["control-opt-10"]
    last = min(last_of(without, "replace"), last_of(with_real, "mix-10"))
    lost = points(without, PERPLEXITY, "replace", last)
    kept = points(with_real, PERPLEXITY, "mix-10", last)
    low, high = OPT_LOSS
    ends = (1 - RISE) * low, (1 + RISE) * high
    checks = [
        above(f"rise without real data - rise with 10 %, generation {last}", Estimate.of(lost - kept)),
        above(f"no real data: rise to generation {last}", Estimate.of(lost)),
        below(f"10 % real: rise to generation {last}", Estimate.of(kept), low / 2),
    ]
    if last == OPT_GENERATIONS:
        checks.append(within(f"no real data: rise to generation {last}", Estimate.of(lost), sum(ends) / 2, (ends[1] - ends[0]) / 2))
    first = at(without, PERPLEXITY, "replace", 0)
    checks.append(within("fine-tuned on real data", first, OPT_REAL, RISE * OPT_REAL))
    curves = [
        Curve("published: real data alone", [0, last], [OPT_REAL, OPT_REAL], law=True),
        over_generations("measured: no real data", without, PERPLEXITY, "replace"),
        over_generations("measured: 10 % real", with_real, PERPLEXITY, "mix-10"),
    ]
    return JudgeOutput(checks, Figure("generation", "held-out perplexity", curves), left_out([OPT_GENERATIONS], last))


# ---- claims ---------------------------------------------------------------------------------------------------------------

PER_TOKEN = "exp of the mean nats per token of the model's own tokenizer, on the test set"
RERUN = "Drayson et al. 2025 (the setting); the numbers are those of an independent rerun"
BANDS = (
    "published numbers are of one run each and have no interval, so the whole 95 % interval over 3 seeds has to lie within "
    f"{LEVEL:.0%} of a level and within {RISE:.0%} of a change over generations; orderings clear by 95 %"
)

CLAIMS = (
    Claim(
        id="P1",
        says="GPT-2, always fine-tuned from its own weights but on the last generation's wikitext-2, goes from perplexity 29.6 to 51.",
        source=RERUN,
        cost="gpu",
        experiments=GPT2,
        observable=(
            f"{PER_TOKEN}, in windows of at most 512 tokens; how the rerun cut its windows is not published, "
            "the code published with the paper takes blocks of 512"
        ),
        expects=(
            ", ".join(f"{value:g}" for value in REPLACE.values())
            + " at generations 0 to 10; so a rise of 72 % of the first; upwards in at least 8 of 10 steps"
        ),
        tolerance=BANDS,
        judge=replacing_costs_perplexity,
        needs=NEEDS,
    ),
    Claim(
        id="P2",
        says="With all real data beside the last generation's, the same GPT-2 goes from perplexity 29.6 to 30.4 only.",
        source=RERUN,
        cost="gpu",
        experiments=GPT2 | GPT2_AUGMENT,
        observable=f"{PER_TOKEN}, as in P1",
        expects="29.6 at generation 0, 30.4 at generation 10; so a rise of 3 % of the first; below P1's at the last generation",
        tolerance=f"{BANDS}; a quarter of a rise of 3 % is finer than three seeds can tell, so this rise may lie off by a quarter of P1's",
        judge=real_data_holds_perplexity,
        needs=NEEDS,
    ),
    Claim(
        id="P3",
        says="A small GPT-2 trained on TinyStories gets ever worse where made stories replace the last ones, not where they accumulate.",
        source="Gerstgrasser et al. 2024, language models on TinyStories",
        cost="gpu",
        experiments=STORIES_REPLACE | STORIES_ACCUMULATE,
        observable=(
            "mean nats per token on the validation set, in windows of at most 256 tokens of a vocabulary of 10,000; the published "
            "tokens may be others, but most of so plain a vocabulary's words are one token in either"
        ),
        expects="replace: 2.39 at generation 4, 2.91 at 10; accumulate: 1.74 at 4; so 0.65 between them at 4, and 0.52 from 4 to 10",
        tolerance=f"{BANDS}; levels are of nats: 10 % of 2.39 nats is a factor of 1.27 in perplexity",
        judge=accumulating_stories_helps,
        needs=NEEDS,
    ),
    Claim(
        id="P4",
        says="OPT-125m loses 20 to 28 points of perplexity by learning wikitext-2 from itself; with 10 % real data it loses little.",
        source="Shumailov et al. 2024, the text on fig. 1b and 1c",
        cost="gpu",
        experiments=OPT | OPT_10,
        observable=(
            f"{PER_TOKEN}, in rows of about 64 tokens, as long as the paper's blocks; the paper decodes with five beams, "
            "here tokens are sampled"
        ),
        expects="34 after fine-tuning on real data; without real data 20 to 28 points more after 9 generations; with 10 % less than that",
        tolerance=(
            "orderings clear by 95 % over 3 seeds. Bands of whole 95 % intervals: the loss without real data within 20 to 28, either end "
            "moved out by a quarter; 'only minor degradation', which has no number, read as below 10 points, half the least of these; the "
            "level within a quarter of 34, since rows here count their first token and hold no line ends, unlike the paper's blocks, "
            "and both make it higher"
        ),
        judge=a_tenth_real_is_enough,
        needs=NEEDS,
    ),
)
