"""Several generators in one chain: who learns from whom, and in what parts."""

from __future__ import annotations

import pytest
from autophagy import experiment, run, write_report
from support.tiny import TEXT, TINY, TINY_LM, VISION

TWO = {key: value for key, value in {**VISION, "seeds": [0], "generator": None}.items() if value is not None}
TWO = {**TWO, "generators": {"vae": TINY["vae"], "gmm": TINY["gmm"]}, "metrics": ["pixel-variance"]}
ARMS = {source: {"use": "replace", "learn_from": source} for source in ("self", "other", "union")}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    found = run(
        experiment({**TWO, "policies": {**ARMS, "kept": {"use": "accumulate", "learn_from": "union"}}}), store=tmp_path_factory.mktemp("s")
    )
    return found.set_index(["policy", "generator", "generation", "metric"]).value.sort_index()


def test_each_learns_from_whom_it_should(rows):
    assert rows["self", "vae", 2, "source_share/vae"] == rows["self", "gmm", 2, "source_share/gmm"] == 1
    assert rows["other", "vae", 2, "source_share/gmm"] == rows["other", "gmm", 2, "source_share/vae"] == 1
    for generator in ("vae", "gmm"):
        assert rows["union", generator, 2, "source_share/vae"] == rows["union", generator, 2, "source_share/gmm"] == 0.5
    assert rows["kept", "gmm", 3, "trained_rows/generation 1"] == 40, "a union is as large as what one generator makes"
    assert rows["kept", "gmm", 3, "source_share/real"] == 0.25


def test_generation_0_is_each_generators_own_and_the_same_under_every_policy(rows):
    for generator in ("vae", "gmm"):
        assert len({rows[policy, generator, 0, "pixel_variance"] for policy in ARMS}) == 1


def test_self_is_what_a_chain_of_its_own_would_be(rows, tmp_path):
    alone = experiment({**{k: v for k, v in TWO.items() if k != "generators"}, "generator": TINY["vae"], "policies": ["replace"]})
    found = run(alone, store=tmp_path).set_index(["generation", "metric"]).value
    assert all(found[g, "pixel_variance"] == rows["self", "vae", g, "pixel_variance"] for g in range(4))


def test_two_of_a_kind_are_not_one_twice(tmp_path):
    twins = {**TWO, "generators": {"one": TINY["vae"], "two": TINY["vae"]}, "policies": {"other": ARMS["other"]}}
    found = run(experiment(twins), store=tmp_path).set_index(["generator", "generation", "metric"]).value
    assert found["one", 0, "pixel_variance"] != found["two", 0, "pixel_variance"]


@pytest.mark.slow
def test_text_models_with_other_tokenizers_and_a_base_for_one_share_a_chain(tmp_path):
    written = {key: value for key, value in TEXT.items() if key not in ("generator", "base")}
    generators = {"lm": {**TINY_LM, "base": {"training": {"steps": 5}}}, "ngram": {**TINY["ngram"], "vocabulary": 280}}
    found = run(
        experiment({**written, "generators": generators, "policies": {"union": ARMS["union"]}, "prompts": "synthetic"}), store=tmp_path
    )
    assert set(found.generator) == {"lm", "ngram"}
    last = found[(found.generation == 3) & (found.metric == "bits_per_byte")]
    assert len(last) == 2 and last.value.nunique() == 2


def test_the_report_gives_each_generator_a_line_of_its_own(tmp_path):
    run(experiment({**TWO, "policies": ARMS}), store=tmp_path / "store", out=tmp_path)
    write_report([tmp_path / TWO["name"]], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for policy in ARMS:
        for generator in ("vae", "gmm"):
            assert f"{policy} · {generator}" in page
