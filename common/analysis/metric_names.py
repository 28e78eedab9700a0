"""Display names of metrics and units: `heldout_perplexity` is shown as *Perplexity*, `frechet_distance` as *FID (Inception)*.

Data files contain the metric ids. Display names are used in reports, in figures and in the column `metric_name` of exported files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEADLINE_METRICS = ("heldout_perplexity", "frechet_distance")
"""Ids of headline metrics (main metric of a run), in order of preference. Text runs have the first, image runs the second."""

NAMES = {
    # likelihood
    "heldout_perplexity": "Perplexity",
    "heldout_nll": "Held-out loss",
    "heldout_nats": "Held-out loss",
    "bits_per_byte": "Bits per byte",
    "continuation_nll": "Continuation loss",
    "continuation_bits_per_byte": "Continuation bits per byte",
    "samples_nll": "Loss of samples under the first model",
    "samples_nll_p95": "Loss of samples, 95th percentile",
    "samples_nll_share": "Loss of samples, histogram",
    # fidelity
    "mauve": "MAUVE",
    "student_bits_per_byte": "TSTR bits per byte",
    "student_accuracy": "TSTR accuracy",
    "valid_share": "Valid expressions",
    "true_share": "True expressions",
    "mean_squared_error": "Squared error of the mean",
    "wasserstein": "Squared Wasserstein distance",
    "conserved": "Variance + squared error of the mean",
    # diversity
    "vendi_score": "Vendi score",
    "distinct_1": "Distinct words",
    "distinct_2": "Distinct 2-grams",
    "distinct_3": "Distinct 3-grams",
    "repetition_2": "Repeated 2-grams",
    "repetition_3": "Repeated 3-grams",
    "repetition_4": "Repeated 4-grams",
    "self_bleu": "Self-BLEU",
    "ms_ssim": "MS-SSIM",
    "edit_distance": "Edit distance between rows",
    # tail
    "vocabulary_kept": "Vocabulary kept",
    "rare_recall": "Recall of rare words",
    "rarest_class_share": "Share of the rarest class",
    "class_share": "Share of each class",
    "frequency_ratio": "Generated/real share, common to rare",
    "frequency_recall": "Recall, common to rare",
    "ngram_ratio": "Generated/real share of n-grams, common to rare",
    "ngram_recall": "Recall of n-grams, common to rare",
    "zipf_exponent": "Zipf exponent",
    "support": "Surviving symbols",
    "missing": "Missing mass",
    "survival": "Survival by number of copies",
    # memorisation
    "nearest_ratio": "Distance to training/held-out rows",
    "copies": "Exact copies",
    "verbatim_rows": "Rows with verbatim text",
    "longest_verbatim": "Longest verbatim text",
    # mixture and cost
    "real_share": "Share of real data",
    "depth": "Mean depth",
    "source_share": "Share by source",
    "steps": "Optimizer steps",
    "rows_seen": "Rows seen (with repeats)",
    "collected_made_share": "Generated share of the collected pool",
    "kept_share": "Share kept by curation",
    "watermark_detected": "Watermark detected",
    "watermark_auc": "Watermark AUC",
    "watermark_z": "Watermark z score",
}
"""Display names by metric id, or by the part of the id before `/`. Other ids are shown as words: `pixel_variance` as *Pixel variance*."""

FEATURE_METRICS = {
    "frechet_distance": ("FID", "Fréchet distance"),
    "kernel_distance": ("KID", "Kernel distance"),
    "classifier_score": ("Inception score", "Inception score"),
}
"""Metrics whose display name depends on the feature model: (name with Inception features, name with other features)."""

FEATURE_MODELS = {
    "inception": "Inception",
    "lsa": "LSA",
    "lm-embedding": "LM embedding",
    "encoder": "text encoder",
    "image-encoder": "image encoder",
    "pixels": "pixels",
}

UNITS = {
    "as the generator says": "reported by the generator",
    "as the curation says": "reported by the curation",
    "models between a row and reality": "models between a row and real data",
    "nats per token under an earlier model": "nats per token",
}


def display_name(metric: str, config: Mapping[str, Any] | None = None) -> str:
    """Return the display name of a metric id. The config of the run, if given, adds the names of the feature model and the data.

    >>> display_name("frechet_distance", {"features": {"use": "inception"}})
    'FID (Inception)'
    >>> display_name("frechet_distance", {"features": {"use": "classifier"}, "data": {"use": "digits"}})
    'Fréchet distance (digits classifier)'
    >>> display_name("class_share/7")
    'Share of each class: 7'
    """
    family, _, member = metric.partition("/")
    if family in FEATURE_METRICS:
        model = feature_model(config or {})
        name = FEATURE_METRICS[family][0 if model == "Inception" else 1]
        name = f"{name} ({model})" if model else name
    else:
        name = NAMES.get(family) or family.replace("_", " ").capitalize()
    return f"{name}: {member}" if member else name


def feature_model(config: Mapping[str, Any]) -> str:
    """Return the display name of the feature model in a run's config, or an empty string if the config has no feature model."""
    use = _component(config.get("features"))
    if use == "classifier":
        return f"{_component(config.get('data'))} classifier".strip()
    return FEATURE_MODELS.get(use, use)


def display_unit(unit: str) -> str:
    """Return the display form of a unit in rows.parquet. For example, `made` is shown as `generated`."""
    words = {"made": "generated", "x": "×", "sigma^2": "σ²"}
    return UNITS.get(unit) or " ".join(words.get(word, word) for word in unit.split(" "))


def _component(spec: Any) -> str:
    """Return the name of a component in a config, which is either `name` or `{use: name, ...}`."""
    return str(spec.get("use", "")) if isinstance(spec, Mapping) else str(spec or "")
