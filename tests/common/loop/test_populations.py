"""Several generators in one chain: each learns from the members that `learn_from` selects, in equal shares."""

from __future__ import annotations

import pytest
from autophagy import experiment, run, write_report
from support.tiny import TEXT, TINY, TINY_LM, VISION

TWO = {key: value for key, value in {**VISION, "seeds": [0], "generator": None}.items() if value is not None}
TWO = {**TWO, "generators": {"vae": TINY["vae"], "gmm": TINY["gmm"]}, "metrics": ["pixel-variance"]}
ARMS = {source: {"use": "replace", "learn_from": source} for source in ("self", "other", "union")}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    arms = {**ARMS, "growing": {"use": "accumulate", "learn_from": "union"}}
    results = run(experiment({**TWO, "policies": arms}), store=tmp_path_factory.mktemp("store"))
    return results.set_index(["policy", "generator", "generation", "metric"]).value.sort_index()


def test_members_learn_from_the_selected_sources(rows):
    assert rows["self", "vae", 2, "source_share/vae"] == rows["self", "gmm", 2, "source_share/gmm"] == 1
    assert rows["other", "vae", 2, "source_share/gmm"] == rows["other", "gmm", 2, "source_share/vae"] == 1
    for generator in ("vae", "gmm"):
        assert rows["union", generator, 2, "source_share/vae"] == rows["union", generator, 2, "source_share/gmm"] == 0.5
    assert rows["growing", "gmm", 3, "trained_rows/generation 1"] == 40, "a union has as many rows as one generator samples"
    assert rows["growing", "gmm", 3, "source_share/real"] == 0.25


def test_generation_0_of_a_member_is_the_same_in_all_arms(rows):
    for generator in ("vae", "gmm"):
        assert len({rows[policy, generator, 0, "pixel_variance"] for policy in ARMS}) == 1


def test_member_that_learns_from_itself_equals_a_chain_alone(rows, tmp_path):
    alone = experiment({**{k: v for k, v in TWO.items() if k != "generators"}, "generator": TINY["vae"], "policies": ["replace"]})
    results = run(alone, store=tmp_path).set_index(["generation", "metric"]).value
    assert all(results[g, "pixel_variance"] == rows["self", "vae", g, "pixel_variance"] for g in range(4))


def test_two_members_with_equal_settings_differ(tmp_path):
    twins = {**TWO, "generators": {"one": TINY["vae"], "two": TINY["vae"]}, "policies": {"other": ARMS["other"]}}
    results = run(experiment(twins), store=tmp_path).set_index(["generator", "generation", "metric"]).value
    assert results["one", 0, "pixel_variance"] != results["two", 0, "pixel_variance"]


@pytest.mark.slow
def test_text_members_may_differ_in_tokenizer_and_base_model(tmp_path):
    config = {key: value for key, value in TEXT.items() if key not in ("generator", "base")}
    generators = {"lm": {**TINY_LM, "base": {"training": {"steps": 5}}}, "ngram": {**TINY["ngram"], "vocabulary": 280}}
    config |= {"generators": generators, "policies": {"union": ARMS["union"]}, "prompts": "synthetic"}
    results = run(experiment(config), store=tmp_path)
    assert set(results.generator) == {"lm", "ngram"}
    last = results[(results.generation == 3) & (results.metric == "bits_per_byte")]
    assert len(last) == 2 and last.value.nunique() == 2


def test_report_has_a_line_for_each_member(tmp_path):
    run(experiment({**TWO, "policies": ARMS}), store=tmp_path / "store", out=tmp_path)
    write_report([tmp_path / TWO["name"]], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for policy in ARMS:
        for generator in ("vae", "gmm"):
            assert f"{policy} · {generator}" in page
