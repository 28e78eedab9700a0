"""Small pools, generators and experiments that run in about a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from autophagy.common.config.schema import Experiment, experiment
from autophagy.common.core.pool import REAL, Pool

ROOT = Path(__file__).parents[2]

TINY_LLAMA = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
TINY_LM = {
    "use": "causal-lm",
    "context": 12,
    "prompt_tokens": 3,
    "vocabulary": 300,
    "architecture": TINY_LLAMA,
    "training": {"steps": 3, "batch": 4},
}
TINY_VAE = {"use": "vae", "latent": 2, "hidden": 8, "training": {"steps": 4, "batch": 8}}
TINY_DIFFUSION = {
    "use": "diffusion", "channels": [8, 16], "noise_steps": 20, "training": {"steps": 2, "batch": 4}, "sampling": {"steps": 3},
}  # fmt: skip
TINY_CLASSIFIER = {"use": "classifier", "features": 8, "training": {"steps": 5}}
TINY = {
    "gaussian": {"use": "gaussian"},
    "kde": {"use": "kde"},
    "categorical": {"use": "categorical"},
    "regression": {"use": "regression"},
    "linear-classifier": {"use": "linear-classifier", "sampling": {"flip": 0.2}},
    "causal-lm": TINY_LM,
    "ngram": {"use": "ngram", "vocabulary": 300, "context": 12, "prompt_tokens": 3},
    "vae": TINY_VAE,
    "gmm": {"use": "gmm", "components": 2, "dimensions": 4},
    "diffusion": TINY_DIFFUSION,
}
"""Settings for each built-in generator that make a fit take about a second. `test_generator_checks.py` fails if one is missing."""

TEXT = {
    "name": "tiny-text", "generations": 3, "size": 24, "eval_size": 12, "data": {"use": "bible", "words": 12}, "generator": TINY_LM,
    "base": {"training": {"steps": 5}}, "policies": ["replace", "accumulate", "real"],
    "features": {"use": "lsa", "features": 4}, "metrics": ["perplexity", "base-perplexity", "distinct", "vocabulary"],
}  # fmt: skip
VISION = {
    "name": "tiny-vision", "generations": 3, "size": 40, "eval_size": 20, "data": "digits", "generator": TINY_VAE,
    "features": TINY_CLASSIFIER, "seeds": [0, 1],
    "policies": {"replace": None, "mix": {"use": "mix", "real_fraction": 0.25}, "accumulate": None, "real": None},
    "metrics": ["frechet", "precision-recall", "classes", "pixel-variance"],
}  # fmt: skip
ANALYTIC = {
    "name": "tiny-gaussian", "generations": 3, "size": 10, "eval_size": 10, "data": {"use": "gaussian", "rows": 20, "replicates": 3},
    "generator": "gaussian", "policies": ["replace", "accumulate", "real"], "metrics": ["moments"],
}  # fmt: skip


def miniature(config: Path) -> Experiment:
    """Read a shipped config and make it small: few rows and small models, at most three generations and one seed.

    Policies, curations, metrics, conditions and sampling settings are those of the config.
    """
    shipped = yaml.safe_load(config.read_text())
    data = shipped["data"] if isinstance(shipped["data"], dict) else {"use": shipped["data"]}
    size = min(shipped["size"], {"digits": 40, "bible": 8, "logic": 8}.get(data["use"], 16))
    changes = {"size": size, "eval_size": min(shipped["eval_size"], size), "seeds": [0], "generations": min(shipped["generations"], 3)}
    if "replicates" in data:
        changes["data"] = {**data, "replicates": 2}
    if "generators" in shipped:
        changes["generators"] = {name: _tiny_generator(member) for name, member in shipped["generators"].items()}
    else:
        changes["generator"] = _tiny_generator(shipped["generator"])
    if shipped.get("base"):
        changes["base"] = {"training": {"steps": 5, "epochs": None, "batch": 4}}
    if shipped.get("features") == "classifier":
        changes["features"] = TINY_CLASSIFIER
    return experiment({**shipped, **changes}, where=str(config))


def _tiny_generator(settings: str | dict) -> dict:
    """Return small settings for the generator of a shipped config. They keep its sampling settings."""
    settings = {"use": settings} if isinstance(settings, str) else settings
    tiny = {**TINY[settings["use"]]}
    if "sampling" in settings:
        tiny["sampling"] = {**settings["sampling"], **tiny.get("sampling", {})}
    if "base" in settings:
        tiny["base"] = {"training": {"steps": 5, "batch": 4}}
    if "epochs" in settings.get("training", {}):
        tiny["training"] = {"epochs": 1, "batch": 16}
    return tiny


def small_pool(modality: str, rows: int = 20, *, generator: str = "") -> Pool:
    """Create random rows in the format of a modality, or of a generator with a special format."""
    rng = np.random.default_rng(0)
    if modality == "text":
        words = np.array(["the", "of", "and", "lord", "said", "unto", "them", "that", "he", "was", "day", "night", "bread"])
        columns = {"text": [" ".join(rng.choice(words, 10)) + "." for _ in range(rows)]}
    elif modality == "vision":
        columns = {"image": rng.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8), "label": rng.integers(0, 3, rows)}
    else:
        columns = {"x": rng.standard_normal((rows, 2))}
    if generator == "categorical":
        columns = {"x": rng.integers(0, 9, (rows, 2))}
    elif generator == "regression":
        columns = {"x": rng.standard_normal((rows, 2, 3)), "y": rng.standard_normal((rows, 2))}
    elif generator == "linear-classifier":
        columns = {"x": rng.standard_normal((rows, 3)), "y": rng.choice([-1, 1], rows)}
    return Pool.of(**columns).note(generation=REAL)
