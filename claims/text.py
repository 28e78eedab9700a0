"""Claims about language models: a small Llama and a trigram model on the King James Bible, and a grammar that can be checked.

What is claimed are signs and orderings, so they are tested on differences between chains of the same seed, which share their
generation 0; absolute numbers of large models are the business of `controls`.
"""

from __future__ import annotations

import numpy as np

from ..common.replication.claim import Claim, Contradiction, Figure, JudgeOutput, Rows, over_generations
from ..common.replication.statistical_checks import Check, Estimate, above, below, by_seed, history, mostly_up

OVER_SEEDS = "95 % intervals over three seeds (Student's t), paired by seed"
LM = {"lm": ["lm.yaml"]}
NGRAM = {"lm-ngram": ["lm-ngram.yaml"]}
GROWING = {"lm-growing": ["lm.yaml", "generations=4", "policies=[replace, accumulate, replace-growing]"]}
SHARP = {"lm-sharp": ["lm.yaml", "generations=4", "policies=[replace, accumulate]", "generator.sampling.temperature=0.3"]}
LOSS = "heldout_nll"
NATS = "held-out loss, nats per token"


def risen(rows, policy: str, generation: int, metric: str = LOSS) -> np.ndarray:
    """How far a number has moved since generation 0, in each seed."""
    return by_seed(rows, metric, policy, generation) - by_seed(rows, metric, policy, 0)


def change(about: str, rows, metric: str, policy: str, generation: int, *, up: bool):
    """The check that a number has gone up, or down, since generation 0."""
    return (above if up else below)(f"{about}, generation {generation} - 0", Estimate.of(risen(rows, policy, generation, metric)))


def replacing_raises_the_loss(rows: Rows) -> JudgeOutput:
    checks, curves, last = [], [], 8
    for name, model in (("lm", "Llama"), ("lm-ngram", "trigram")):
        own = rows[name]
        apart = lambda one, other, own=own: Estimate.of(by_seed(own, LOSS, one, last) - by_seed(own, LOSS, other, last))  # noqa: E731
        ratio = Estimate.of(by_seed(own, LOSS, "augment", last) / by_seed(own, LOSS, "augment", 0))
        checks += [
            change(f"{model}: loss under replace", own, LOSS, "replace", last, up=True),
            mostly_up(f"{model}: generations of replace whose loss rises, of 8", history(own, LOSS, "replace"), at_least=7),
            below(f"{model}: loss with all real data kept beside, generation {last} / 0", ratio, 1.05),
            above(f"{model}: replace - 10 % real", apart("replace", "mix-10")),
            above(f"{model}: 10 % real - real data alone", apart("mix-10", "real")),
        ]
        if name == "lm":
            curves = [over_generations(policy, own, LOSS, policy) for policy in ("replace", "mix-10", "augment", "real")]
    return JudgeOutput(checks, Figure("generation", NATS, curves))


def accumulating_keeps_the_loss(rows: Rows) -> JudgeOutput:
    sharp = risen(rows["lm-sharp"], "replace", 4) - risen(rows["lm-growing"], "replace", 4)
    checks = [
        *_accumulation(rows["lm-growing"], last=4),
        above("what replace loses at temperature 0.3 beyond what it does at 1", Estimate.of(sharp)),
    ]
    curves = [over_generations(policy, rows["lm-growing"], LOSS, policy) for policy in ("replace", "replace-growing", "accumulate")]
    curves += [over_generations(f"{policy}, temperature 0.3", rows["lm-sharp"], LOSS, policy) for policy in ("replace", "accumulate")]
    return JudgeOutput(checks, Figure("generation", NATS, curves))


def accumulating_keeps_a_smoother(rows: Rows) -> JudgeOutput:
    own = rows["lm-ngram"]
    first_half = risen(own, "accumulate", 4).mean()
    second_half = risen(own, "accumulate", 8).mean() - first_half
    note = f"Under accumulate the loss rises by {first_half:.3f} nats up to generation 4 and by {second_half:.3f} more up to 8. Kneser-Ney "
    note += "smoothing gives every context some of the mass of shorter ones, so a fit is flatter than its data and so is what it makes."
    curves = [over_generations(policy, own, LOSS, policy) for policy in ("replace", "replace-growing", "accumulate", "real")]
    return JudgeOutput(_accumulation(own, last=8), Figure("generation", NATS, curves), note)


def _accumulation(own, *, last: int) -> list[Check]:
    lost = risen(own, "replace", last)
    apart = lambda one, other: Estimate.of(by_seed(own, LOSS, one, last) - by_seed(own, LOSS, other, last))  # noqa: E731
    return [
        below("what accumulate loses, as a share of what replace does", Estimate.of(risen(own, "accumulate", last) / lost), 0.1),
        above("replace - replace with growing data", apart("replace", "replace-growing")),
        above("replace with growing data - accumulate", apart("replace-growing", "accumulate")),
    ]


DIVERSITY = {"distinct_2": "distinct pairs of words", "word_entropy": "entropy of words", "rare_recall": "recall of rare words"}
OWN = "samples_nll"


def _signs(own, model: str, last: int) -> list:
    checks = [
        change(f"{model}: loss on its own text under the first model", own, OWN, "replace", last, up=False),
        change(f"{model}: loss on real text", own, LOSS, "replace", last, up=True),
    ]
    checks += [change(f"{model}: {about}", own, metric, "replace", last, up=False) for metric, about in DIVERSITY.items()]
    spread = history(own, "samples_nll_p95", "replace") - history(own, OWN, "replace")
    widened = Estimate.of(spread[:, last] - spread[:, 0])
    return [*checks, above(f"{model}: 95th percentile of that loss, beyond its mean, generation {last} - 0", widened)]


def own_text_gets_likelier(rows: Rows) -> JudgeOutput:
    checks = [*_signs(rows["lm"], "Llama", 8), *_signs(rows["lm-ngram"], "trigram", 8)]
    first, last = (by_seed(rows["lm"], OWN, "replace", number).mean() for number in (0, 8))
    note = f"The first Llama gives its own text {first:.2f} nats a token and that of generation 8 {last:.2f}: at "
    note += (
        "temperature 1 samples are drawn from the model as it is, so errors wander in every direction, and most of them are strange to it."
    )
    return JudgeOutput(checks, _own_and_real({"Llama": rows["lm"], "trigram": rows["lm-ngram"]}), note)


def sharp_text_gets_likelier(rows: Rows) -> JudgeOutput:
    own = rows["lm-sharp"]
    tail = (by_seed(own, "samples_nll_p95", "replace", 4) - by_seed(own, OWN, "replace", 4)).max()
    falls = risen(own, "replace", 1, OWN)
    note = f"After one generation own text is {-falls.max():.2f} to {-falls.min():.2f} nats a token likelier to "
    note += "the first model. By generation 4 hardly anything but one sentence is made (its 95th percentile lies at most "
    note += f"{tail:.2f} nats above its mean): there is no tail left to grow, and how likely that sentence is differs from seed to seed."
    return JudgeOutput(_signs(own, "Llama, temperature 0.3", 4), _own_and_real({"temperature 0.3": own}), note)


def _own_and_real(found) -> Figure:
    names = {OWN: "its own text", LOSS: "real text"}
    curves = [
        over_generations(f"{model}: {about}", own, metric, "replace") for model, own in found.items() for metric, about in names.items()
    ]
    return Figure("generation", "loss, nats per token", curves)


LOGIC = {"logic": ["logic.yaml"]}


def correct_but_alike(rows: Rows) -> JudgeOutput:
    own, last = rows["logic"], 6
    apart = lambda one, other: Estimate.of(by_seed(own, "edit_distance", one, last) - by_seed(own, "edit_distance", other, last))  # noqa: E731
    checks = [
        change("share of valid expressions, full", own, "valid_share", "full", last, up=True),
        change("edit distance between expressions, full", own, "edit_distance", "full", last, up=False),
        above("edit distance: balanced - full", apart("balanced", "full")),
        above("edit distance: incremental - full", apart("incremental", "full")),
        above("edit distance: expanding - incremental", apart("expanding", "incremental")),
    ]
    first, end = (by_seed(own, "valid_share", "full", number).mean() for number in (0, last))
    note = f"Of what the first model makes {first:.0%} is valid, of what generation {last} makes {end:.0%}. "
    note += "Nothing takes the mistakes out, the next model learns them, and sampling at temperature 0.8 does not outweigh that."
    curves = [over_generations(cycle, own, "edit_distance", cycle) for cycle in ("full", "balanced", "incremental", "expanding")]
    return JudgeOutput(checks, Figure("generation", "edit distance between expressions", curves), note)


WIDTHS = {32: "lm-32", 64: "lm-64", 128: "lm"}


def _width(width: int) -> list[str]:
    heads = "num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 4, tie_word_embeddings: true"
    architecture = f"{{model_type: llama, hidden_size: {width}, intermediate_size: {width * 11 // 4}, {heads}}}"
    return ["lm.yaml", "policies=[replace]", f"generator.architecture={architecture}"]


SCALED = {**LM, **{name: _width(width) for width, name in WIDTHS.items() if name != "lm"}}


def width_is_no_cure(rows: Rows) -> JudgeOutput:
    checks = [
        above(
            f"width {width}: slope of the loss under replace, nats per generation",
            Estimate.of(np.polyfit(np.arange(9), history(rows[name], LOSS, "replace").T, 1)[0]),
        )
        for width, name in WIDTHS.items()
    ]
    curves = [over_generations(f"width {width}", rows[name], LOSS, "replace") for width, name in WIDTHS.items()]
    return JudgeOutput(checks, Figure("generation", NATS, curves))


CLAIMS = (
    Claim(
        id="C19",
        says=(
            "A language model fine-tuned on its own text predicts real text worse every generation; with all real data beside it, hardly."
        ),
        source="Shumailov et al. 2024, fig. 1; Drayson et al. 2025",
        cost="minutes",
        experiments={**LM, **NGRAM},
        observable="held-out loss of a Llama and of a trigram model, 8 generations, 3 seeds",
        expects=("up in at least 7 of 8 generations; with all real data below 1.05 times generation 0's; replace > 10 % real > real alone"),
        tolerance=f"{OVER_SEEDS}; 7 of 8 in each seed",
        judge=replacing_raises_the_loss,
    ),
    Claim(
        id="C20",
        says=("Accumulating keeps a language model's loss; replacing with as much data still degrades; a low temperature degrades faster."),
        source="Gerstgrasser et al. 2024, table 2",
        cost="minutes",
        experiments={**GROWING, **SHARP},
        observable="held-out loss of a Llama under accumulate, replace, replace with growing data, and at temperature 0.3",
        expects=("accumulate loses less than a tenth of what replace does; growing data strictly between; more at temperature 0.3"),
        tolerance=f"{OVER_SEEDS}; a tenth counts as keeping",
        judge=accumulating_keeps_the_loss,
    ),
    Claim(
        id="C20b",
        says="The same for a model that smooths what it learns: a trigram model with Kneser-Ney discounts.",
        source="after Gerstgrasser et al. 2024, table 2; no such claim was published",
        cost="minutes",
        experiments=NGRAM,
        observable="held-out loss under accumulate, replace and replace with growing data",
        expects="accumulate loses less than a tenth of what replace does; growing data strictly between",
        tolerance=f"{OVER_SEEDS}; a tenth counts as keeping",
        judge=accumulating_keeps_a_smoother,
    ),
    Claim(
        id="C21",
        says=(
            "What a model makes gets less varied and, to the first model, likelier, with a longer tail of the unlikely, "
            "while real text gets less so."
        ),
        source="Shumailov et al. 2024, fig. 1; Guo et al. 2024; Briesch et al. 2023",
        cost="minutes",
        experiments={**LM, **NGRAM},
        observable=(
            "distinct pairs, entropy, recall of rare words; loss on own text under the first model, and its upper tail; "
            "loss on real text; temperature 1"
        ),
        expects="diversity and loss on own text down, its 95th percentile away from its mean, loss on real text up",
        tolerance=OVER_SEEDS,
        judge=own_text_gets_likelier,
    ),
    Claim(
        id="C21b",
        says="The same where samples are sharpened (temperature 0.3).",
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
        says="On a language that can be checked, what is made gets more correct and less varied, soonest without real data.",
        source="Briesch et al. 2023",
        cost="minutes",
        experiments=LOGIC,
        observable="share of valid logic expressions; mean token edit distance between made expressions; four data cycles",
        expects="validity up, edit distance down in the full cycle; there lowest, then incremental, then expanding",
        tolerance=OVER_SEEDS,
        judge=correct_but_alike,
    ),
    Claim(
        id="C25",
        says="A wider model does not escape: replacement degrades models of every size.",
        source="Gerstgrasser et al. 2024 (9 to 126 million weights); Dohmatob et al. 2024",
        cost="minutes",
        experiments=SCALED,
        observable="slope of the held-out loss under replace, Llamas 32, 64 and 128 wide",
        expects="above 0 at every width",
        tolerance=OVER_SEEDS,
        judge=width_is_no_cure,
    ),
)

CONTRADICTIONS = (
    Contradiction(
        "Does a collapsing model find its own text ever likelier?",
        (
            ("It does: its samples move to what the first model found likely (Shumailov et al. 2024, fig. 1).", ["C21b"]),
            ("It does not: perplexity rises, generation after generation, whatever text it is measured on.", ["C21", "C19"]),
        ),
        "How samples are drawn. Drawn from the model's own distribution, errors wander in every direction and the first model finds them "
        "strange (why C21 fails). Drawn closer to the mode, own text is likelier after one generation; then hardly anything but "
        "one sentence is left, as likely as it happens to be (C21b).",
    ),
)
