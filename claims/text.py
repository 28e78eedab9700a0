"""Claims about language models, tested with a small Llama and a trigram model on the King James Bible, and with logic expressions.

The claims are about directions and orderings. Judges compare chains of the same seed, because these have the same generation 0. Claims
about absolute numbers of large models are in `controls`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..common.replication.claim import Claim, JudgeOutput, Rows, generation_figure, over_generations
from ..common.replication.schema import Check, Contradiction, Curve, Figure
from ..common.replication.statistical_checks import Estimate, by_seed, check_above, check_below, check_mostly_up, history

if TYPE_CHECKING:
    import pandas

OVER_SEEDS = "95 % intervals over three seeds (Student's t), paired by seed"
LM = {"lm": ["lm.yaml"]}
NGRAM = {"lm-ngram": ["lm-ngram.yaml"]}
GROWING = {"lm-growing": ["lm.yaml", "generations=4", "policies=[replace, accumulate, replace-growing]"]}
SHARP = {"lm-sharp": ["lm.yaml", "generations=4", "policies=[replace, accumulate]", "generator.sampling.temperature=0.3"]}
LOSS, LOSS_TITLE = "heldout_nll", "held-out loss, nats per token"
OWN_LOSS, OWN_LOSS_P95 = "samples_nll", "samples_nll_p95"
"""Metrics of the loss of generated text under the first model: mean and 95th percentile."""


# ---- differences by seed -----------------------------------------------------------------------------------------------------


def rise(rows: pandas.DataFrame, policy: str, generation: int, metric: str = LOSS) -> np.ndarray:
    """Compute the change of a metric since generation 0, float64 [seeds]."""
    change: np.ndarray = by_seed(rows, metric, policy, generation) - by_seed(rows, metric, policy, 0)
    return change


def gap(rows: pandas.DataFrame, metric: str, policy: str, other: str, generation: int) -> Estimate:
    """Compute the difference of a metric between two policies at one generation, paired by seed."""
    return Estimate.of(by_seed(rows, metric, policy, generation) - by_seed(rows, metric, other, generation))


def check_change(label: str, rows: pandas.DataFrame, metric: str, policy: str, generation: int, *, up: bool) -> Check:
    """Check that a metric is higher (`up`) or lower than at generation 0."""
    check = check_above if up else check_below
    return check(f"{label}, generation {generation} - 0", Estimate.of(rise(rows, policy, generation, metric)))


def _curves(rows: pandas.DataFrame, metric: str, policies: Sequence[str], suffix: str = "") -> list[Curve]:
    return [over_generations(policy + suffix, rows, metric, policy) for policy in policies]


# ---- C19, C20, C20b: the loss on real text ----------------------------------------------------------------------------------


def replacing_raises_the_loss(rows: Rows) -> JudgeOutput:
    checks, last = [], 8
    for name, model in (("lm", "Llama"), ("lm-ngram", "trigram")):
        own = rows[name]
        ratio = Estimate.of(by_seed(own, LOSS, "augment", last) / by_seed(own, LOSS, "augment", 0))
        checks += [
            check_change(f"{model}: loss under replace", own, LOSS, "replace", last, up=True),
            check_mostly_up(f"{model}: generations of replace whose loss rises, of 8", history(own, LOSS, "replace"), at_least=7),
            check_below(f"{model}: loss with all real data, generation {last} / 0", ratio, 1.05),
            check_above(f"{model}: replace - 10 % real", gap(own, LOSS, "replace", "mix-10", last)),
            check_above(f"{model}: 10 % real - real data alone", gap(own, LOSS, "mix-10", "real", last)),
        ]
    return JudgeOutput(checks, generation_figure(LOSS_TITLE, _curves(rows["lm"], LOSS, ("replace", "mix-10", "augment", "real"))))


def accumulating_keeps_the_loss(rows: Rows) -> JudgeOutput:
    growing, sharp = rows["lm-growing"], rows["lm-sharp"]
    extra = Estimate.of(rise(sharp, "replace", 4) - rise(growing, "replace", 4))
    checks = [*_check_accumulation(growing, last=4), check_above("loss increase of replace, temperature 0.3 - temperature 1", extra)]
    curves = _curves(growing, LOSS, ("replace", "replace-growing", "accumulate"))
    curves += _curves(sharp, LOSS, ("replace", "accumulate"), ", temperature 0.3")
    return JudgeOutput(checks, generation_figure(LOSS_TITLE, curves))


def accumulating_keeps_a_smoother(rows: Rows) -> JudgeOutput:
    own = rows["lm-ngram"]
    first_half = rise(own, "accumulate", 4).mean()
    second_half = rise(own, "accumulate", 8).mean() - first_half
    note = (
        f"Under accumulate the loss rises by {first_half:.3f} nats up to generation 4 and by another {second_half:.3f} up to 8. Kneser-Ney "
        "smoothing moves probability from every context to shorter contexts, so a fit and its output are flatter than the training data."
    )
    curves = _curves(own, LOSS, ("replace", "replace-growing", "accumulate", "real"))
    return JudgeOutput(_check_accumulation(own, last=8), generation_figure(LOSS_TITLE, curves), note)


def _check_accumulation(rows: pandas.DataFrame, *, last: int) -> list[Check]:
    share = Estimate.of(rise(rows, "accumulate", last) / rise(rows, "replace", last))
    return [
        check_below("loss increase of accumulate / of replace", share, 0.1),
        check_above("replace - replace with growing data", gap(rows, LOSS, "replace", "replace-growing", last)),
        check_above("replace with growing data - accumulate", gap(rows, LOSS, "replace-growing", "accumulate", last)),
    ]


# ---- C21, C21b: the model's own text -------------------------------------------------------------------------------------------

DIVERSITY = {"distinct_2": "distinct pairs of words", "word_entropy": "entropy of words", "rare_recall": "recall of rare words"}


def own_text_gets_likelier(rows: Rows) -> JudgeOutput:
    llama, trigram = rows["lm"], rows["lm-ngram"]
    first, last = (by_seed(llama, OWN_LOSS, "replace", number).mean() for number in (0, 8))
    note = (
        f"Under the first Llama its own text has a loss of {first:.2f} nats per token, the text of generation 8 {last:.2f}. At temperature "
        "1 samples follow the model's distribution. Errors go in all directions, and most erroneous text is unlikely under the first model."
    )
    checks = [*_check_own_text(llama, "Llama", 8), *_check_own_text(trigram, "trigram", 8)]
    return JudgeOutput(checks, _own_and_real_text({"Llama": llama, "trigram": trigram}), note)


def sharp_text_gets_likelier(rows: Rows) -> JudgeOutput:
    own = rows["lm-sharp"]
    tail = (by_seed(own, OWN_LOSS_P95, "replace", 4) - by_seed(own, OWN_LOSS, "replace", 4)).max()
    change = rise(own, "replace", 1, OWN_LOSS)
    note = (
        f"After one generation the loss on own text under the first model is lower by {-change.max():.2f} to {-change.min():.2f} nats per "
        f"token. By generation 4 almost all output is one sentence (the 95th percentile lies at most {tail:.2f} nats above the mean), so "
        "no tail can grow, and the probability of that sentence differs between seeds."
    )
    return JudgeOutput(_check_own_text(own, "Llama, temperature 0.3", 4), _own_and_real_text({"temperature 0.3": own}), note)


def _check_own_text(rows: pandas.DataFrame, model: str, last: int) -> list[Check]:
    """Check that generated text becomes likelier, real text less likely, diversity lower and the upper tail of the loss longer."""
    tail = history(rows, OWN_LOSS_P95, "replace") - history(rows, OWN_LOSS, "replace")
    return [
        check_change(f"{model}: loss on its own text under the first model", rows, OWN_LOSS, "replace", last, up=False),
        check_change(f"{model}: loss on real text", rows, LOSS, "replace", last, up=True),
        *(check_change(f"{model}: {name}", rows, metric, "replace", last, up=False) for metric, name in DIVERSITY.items()),
        check_above(
            f"{model}: 95th percentile - mean of the loss on its own text, generation {last} - 0",
            Estimate.of(tail[:, last] - tail[:, 0]),
        ),
    ]


def _own_and_real_text(models: Mapping[str, pandas.DataFrame]) -> Figure:
    metrics = {OWN_LOSS: "its own text", LOSS: "real text"}
    curves = [
        over_generations(f"{model}: {name}", own, metric, "replace") for model, own in models.items() for metric, name in metrics.items()
    ]
    return generation_figure("loss, nats per token", curves)


# ---- C22: a language that can be checked ---------------------------------------------------------------------------------------

LOGIC = {"logic": ["logic.yaml"]}


def correct_but_alike(rows: Rows) -> JudgeOutput:
    own, last, distance = rows["logic"], 6, "edit_distance"
    checks = [
        check_change("share of valid expressions, full", own, "valid_share", "full", last, up=True),
        check_change("edit distance between expressions, full", own, distance, "full", last, up=False),
        check_above("edit distance: balanced - full", gap(own, distance, "balanced", "full", last)),
        check_above("edit distance: incremental - full", gap(own, distance, "incremental", "full", last)),
        check_above("edit distance: expanding - incremental", gap(own, distance, "expanding", "incremental", last)),
    ]
    first, end = (by_seed(own, "valid_share", "full", number).mean() for number in (0, last))
    note = (
        f"Valid expressions: {first:.0%} of the first model's output and {end:.0%} of the output of generation {last}. Mistakes are not "
        "removed, so the next model learns them. Sampling at temperature 0.8 does not compensate for this."
    )
    curves = _curves(own, distance, ("full", "balanced", "incremental", "expanding"))
    return JudgeOutput(checks, generation_figure("edit distance between expressions", curves), note)


# ---- C25: width ----------------------------------------------------------------------------------------------------------------

WIDTHS = {32: "lm-32", 64: "lm-64", 128: "lm"}


def _width_config(width: int) -> list[str]:
    heads = "num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 4, tie_word_embeddings: true"
    architecture = f"{{model_type: llama, hidden_size: {width}, intermediate_size: {width * 11 // 4}, {heads}}}"
    return ["lm.yaml", "policies=[replace]", f"generator.architecture={architecture}"]


SCALED = {**LM, **{name: _width_config(width) for width, name in WIDTHS.items() if name != "lm"}}


def width_is_no_cure(rows: Rows) -> JudgeOutput:
    checks = []
    for width, name in WIDTHS.items():
        slope = np.polyfit(np.arange(9), history(rows[name], LOSS, "replace").T, 1)[0]
        checks.append(check_above(f"width {width}: slope of the loss under replace, nats per generation", Estimate.of(slope)))
    curves = [over_generations(f"width {width}", rows[name], LOSS, "replace") for width, name in WIDTHS.items()]
    return JudgeOutput(checks, generation_figure(LOSS_TITLE, curves))


# ---- claims ----------------------------------------------------------------------------------------------------------------

CLAIMS = (
    Claim(
        id="C19",
        statement="A language model fine-tuned on its own text predicts real text worse in every generation; if all real data is added, it "
        "hardly degrades.",
        source="Shumailov et al. 2024, fig. 1; Drayson et al. 2025",
        cost="minutes",
        experiments={**LM, **NGRAM},
        observable="held-out loss of a Llama and of a trigram model, 8 generations, 3 seeds",
        expects="up in at least 7 of 8 generations; with all real data below 1.05 times generation 0; replace > 10 % real > real alone",
        tolerance=f"{OVER_SEEDS}; up in 7 of 8 generations in each seed",
        judge=replacing_raises_the_loss,
    ),
    Claim(
        id="C20",
        statement="Accumulating keeps a language model's loss; replacing with equally much data still degrades; a low temperature degrades "
        "faster.",
        source="Gerstgrasser et al. 2024, table 2",
        cost="minutes",
        experiments={**GROWING, **SHARP},
        observable="held-out loss of a Llama under accumulate, replace, replace with growing data, and at temperature 0.3",
        expects="the loss increase of accumulate is below a tenth of that of replace; the loss with growing data lies strictly between; "
        "temperature 0.3 raises the loss more",
        tolerance=f"{OVER_SEEDS}; a tenth counts as keeping",
        judge=accumulating_keeps_the_loss,
    ),
    Claim(
        id="C20b",
        statement="Accumulating also keeps the loss of a model that smooths its data: a trigram model with Kneser-Ney discounts.",
        source="after Gerstgrasser et al. 2024, table 2; no such claim was published",
        cost="minutes",
        experiments=NGRAM,
        observable="held-out loss under accumulate, replace and replace with growing data",
        expects="the loss increase of accumulate is below a tenth of that of replace; the loss with growing data lies strictly between",
        tolerance=f"{OVER_SEEDS}; a tenth counts as keeping",
        judge=accumulating_keeps_a_smoother,
    ),
    Claim(
        id="C21",
        statement="A model's own text becomes less varied and, under the first model, likelier with a longer tail of unlikely text; real "
        "text becomes less likely.",
        source="Shumailov et al. 2024, fig. 1; Guo et al. 2024; Briesch et al. 2023",
        cost="minutes",
        experiments={**LM, **NGRAM},
        observable="distinct pairs, entropy, recall of rare words; loss on own text under the first model, and its upper tail; "
        "loss on real text; temperature 1",
        expects="diversity and loss on own text down, 95th percentile - mean of that loss up, loss on real text up",
        tolerance=OVER_SEEDS,
        judge=own_text_gets_likelier,
    ),
    Claim(
        id="C21b",
        statement="C21 is also true for sharpened samples (temperature 0.3).",
        source="Shumailov et al. 2024 (beam search); Gerstgrasser et al. 2024 (temperature 0.3)",
        cost="minutes",
        experiments=SHARP,
        observable="as for C21, over 4 generations at temperature 0.3",
        expects="as for C21",
        tolerance=OVER_SEEDS,
        judge=sharp_text_gets_likelier,
    ),
    Claim(
        id="C22",
        statement="On a language that can be checked, output becomes more correct and less varied, soonest without real data.",
        source="Briesch et al. 2023",
        cost="minutes",
        experiments=LOGIC,
        observable="share of valid logic expressions; mean token edit distance between generated expressions; four data cycles",
        expects="full cycle: validity up, edit distance down; edit distance lowest in the full cycle, then incremental, then expanding",
        tolerance=OVER_SEEDS,
        judge=correct_but_alike,
    ),
    Claim(
        id="C25",
        statement="A wider model does not avoid collapse: replacement degrades models of every size.",
        source="Gerstgrasser et al. 2024 (9 to 126 million weights); Dohmatob et al. 2024",
        cost="minutes",
        experiments=SCALED,
        observable="slope of the held-out loss under replace, for Llamas of width 32, 64 and 128",
        expects="above 0 at every width",
        tolerance=OVER_SEEDS,
        judge=width_is_no_cure,
    ),
)

CONTRADICTIONS = (
    Contradiction(
        question="Does a collapsing model find its own text increasingly likely?",
        sides=[
            ("Yes: its samples move towards what the first model found likely (Shumailov et al. 2024, fig. 1).", ["C21b"]),
            ("No: perplexity rises in every generation, on any text.", ["C21", "C19"]),
        ],
        decided_by="The sampling method. If samples follow the model's own distribution, errors go in every direction and are unlikely "
        "under the first model, which is why C21 fails. If samples are closer to the mode, generated text is likelier after one "
        "generation. Later almost all output is one sentence, whose probability differs between seeds (C21b).",
    ),
)
