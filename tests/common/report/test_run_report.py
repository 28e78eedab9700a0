"""The report of runs: complete, self-contained, drawn by a real browser, and safe against hostile generated text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product

import numpy as np
import pandas
import pytest
from autophagy import experiment, write_report
from autophagy.common.analysis.run_folder import Provenance, RunFolder
from autophagy.common.analysis.series import metric_series
from autophagy.common.analysis.summary import summarize_chains, summarize_policies
from autophagy.common.analysis.verdicts import Verdict
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.common.execution.run import write_results
from autophagy.common.execution.scheduler import ChainResult
from autophagy.common.report import page
from autophagy.common.report.runs import breakdown_charts, headlines, metric_charts
from autophagy.common.report.runs.figures import write_figures
from autophagy.common.report.runs.report import read_runs
from autophagy.text import html_preview as text_preview
from autophagy.vision import html_preview as image_preview
from support.browser import in_a_browser, open_report
from support.result_rows import as_columns, metric_rows
from support.tiny import ANALYTIC, TEXT

HOSTILE = ["<script>document.title='owned'</script>", "</script><img src=x onerror=\"document.title='owned'\">", "{{ 7 * 7 }}",
           "\u202eright to left", "nul \x00 bell \x07", "x" * 1_000_000, "</style>", ""]  # fmt: skip

METRICS = [
    ("heldout_nll", "likelihood", False),
    ("rare_recall", "tail", True),
    ("class_share/0", "tail", None),
    ("class_share/1", "tail", None),
    ("trained_rows/real", "mixture", None),
    ("real_share", "mixture", None),
    ("steps", "cost", None),
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run as `run` writes it, with constructed numbers and hostile samples."""
    config = experiment({**TEXT, "question": "Is <b>this</b> escaped?"})
    rng, rows, samples, models = np.random.default_rng(0), [], [], []
    about = {"experiment": "tiny-text", "modality": "text", "data": "bible", "generator": "causal-lm", "n": 12}
    constants = {"unit": "nats", "floor": 0.5, "floor_sd": 0.1}
    for policy, generation in product(config.policies, range(4)):
        for seed in (0, 1):
            at = {"policy": policy, "seed": seed, "generation": generation}
            for metric, axis, better in METRICS:
                value = (generation if policy == "replace" else 0) + 0.01 * rng.random() + 1
                if metric == "real_share":
                    value = float(policy == "real" or generation == 0)
                rows.append({**about, **at, **constants, "metric": metric, "axis": axis, "value": value, "higher_is_better": better})
            peak = 10**9 + 10**8 * generation
            models.append({**at, "key": "ab" * 32, "torch": "2", "device": "cpu", "seconds": 1.0, "peak_bytes": peak})
        samples.append(Pool.of(text=HOSTILE).note(generation=generation, policy=policy))
    folder = tmp_path_factory.mktemp("out") / "tiny-text"
    write_results(config, ChainResult(rows, samples, models), folder)
    write_report([folder, folder], folder / "report.html")
    return folder


def own_html(folder):
    """The page of a run without Vega."""
    return re.sub(r'<script type="module">.*?</script>', "", (folder / "report.html").read_text(), flags=re.DOTALL)


def test_page_is_self_contained_and_not_too_big(run_folder):
    assert not re.findall(r'(?:src|href)="(?!data:)', own_html(run_folder)), "nothing is loaded"
    assert (run_folder / "report.html").stat().st_size < 8_000_000


def test_report_imports_no_heavy_library(run_folder, tmp_path):
    """Importing them would take ten times as long as writing the report."""
    code = (
        "import sys; from autophagy.common.report.runs.report import write_report;"
        f"write_report([{str(run_folder)!r}], {str(tmp_path / 'report.html')!r});"
        "assert not {'torch', 'transformers', 'altair', 'pandas', 'scipy', 'sklearn'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_vega_is_bundled_once_per_version(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundled = []
    monkeypatch.setattr(page, "_make_bundle", lambda: bundled.append(1) or "script")
    assert [page._vega_bundle.__wrapped__() for _ in range(2)] == ["script", "script"]
    assert bundled == [1] and len(list((tmp_path / "autophagy").iterdir())) == 1
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert page._vega_bundle.__wrapped__() == "script", "the cache folder need not be writable"


def test_peak_memory_is_a_range_and_not_a_version(run_folder):
    html = own_html(run_folder)
    assert "Peak memory of a fit: 1.00 to 1.30 GB" in html
    assert "different values of" not in html and "peak_bytes" not in html


def test_mixed_versions_are_a_warning(run_folder):
    models = [{"policy": "a", "key": "ab", "seed": 0, "generation": 0, "torch": version, "peak_bytes": 5} for version in ("2.1", "2.2")]
    provenance = Provenance(models, {})
    assert provenance.environment == {"torch": ["2.1", "2.2"]} and provenance.peak_bytes == (5, 5)
    assert Provenance([{"policy": "a", "torch": "2"}], {}).peak_bytes is None, "as in runs of version 0.1"


def test_first_screen_shows_samples_of_three_generations(run_folder):
    html = own_html(run_folder)
    assert html.index('class="strip') < html.index('class="answers"')
    strip = html[html.index('class="strip') : html.index('class="answers"')]
    assert [strip.count(f"<h4>generation {number}</h4>") for number in (0, 1, 2, 3)] == [2, 0, 2, 2], "for each of the two runs"


def test_samples_are_grouped_by_policy_and_generation(run_folder):
    [context] = read_runs([run_folder])
    samples, strip = context.samples, context.strip
    assert samples.generations == [0, 1, 2, 3] and set(samples.cells) == set(context.run.policies)
    assert strip.generations == [2, 3] and strip.shared is not None, "generation 0 is the same for all policies"
    assert samples.cells["replace"][3] == text_preview.show(Pool.of(text=HOSTILE))


def test_unfinished_runs_are_rejected(run_folder, tmp_path):
    with pytest.raises(UserError, match=r"not the folder of a finished run, config.yaml is missing"):
        write_report([tmp_path], tmp_path / "report.html")
    for name in ("config.yaml", "rows.parquet"):
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    with pytest.raises(UserError, match=r"provenance.json is missing"):
        write_report([tmp_path], tmp_path / "report.html")
    (tmp_path / "provenance.json").write_text(json.dumps({"models": []}))
    with pytest.raises(UserError, match=r"provenance.json cannot be read: KeyError: 'seconds'"):
        _ = RunFolder.read(tmp_path).provenance


def test_text_samples_are_escaped_and_cut():
    html = str(text_preview.show(Pool.of(text=HOSTILE)))
    assert "<script" not in html
    assert "<img" not in html
    assert "\x00" not in html
    assert "\u202e" not in html
    assert len(html) < 5_000


def test_image_samples_are_lossless():
    import base64
    import io

    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    html = str(image_preview.show(Pool.of(image=images)))
    decoded = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", html)]
    assert np.array_equal(decoded, images)


# ---- in a browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(run_folder, tmp_path_factory):
    """A headless browser with the report of `run_folder`."""
    with open_report(run_folder / "report.html", tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@in_a_browser
def test_browser_draws_every_chart_and_runs_nothing_else(browser):
    drawn = "return [document.querySelectorAll('.chart').length, document.querySelectorAll('.chart svg').length]"
    charts, drawings = browser.execute_script(drawn)
    assert charts == drawings >= 8
    assert browser.title != "owned"
    assert browser.execute_script("return document.querySelectorAll('.samples script').length") == 0
    assert not [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "ERROR")]
    assert browser.execute_script("return document.querySelector('h1').textContent").startswith("Is <b>this</b>")


def visible(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility()).length", selector
    )


@in_a_browser
def test_slider_selects_generations_by_keyboard(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    slider = browser.find_element(By.CSS_SELECTOR, ".samples input")
    first = ".samples:first-of-type [data-generation='{}']"
    assert visible(browser, first.format(3)) == 3 and visible(browser, first.format(0)) == 0
    slider.send_keys(Keys.HOME)
    assert visible(browser, first.format(0)) == 3 and visible(browser, first.format(3)) == 0
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.find_element(By.CSS_SELECTOR, ".samples output").text == "1"
    slider.send_keys(Keys.END)


@in_a_browser
def test_switch_hides_its_policy_in_charts_tables_and_samples(browser):
    from selenium.webdriver.common.by import By

    points = "return document.querySelectorAll('.chart')[0].querySelectorAll('[aria-roledescription=point]').length"
    before, cells = browser.execute_script(points), visible(browser, "[data-policy=replace]")
    switch = browser.find_element(By.CSS_SELECTOR, "[data-switch=replace]")
    browser.execute_script("arguments[0].click()", switch)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert browser.execute_script(points) == before * 2 // 3
    assert cells > 0 == visible(browser, "[data-policy=replace]")
    assert switch.get_attribute("aria-pressed") == "false"
    browser.execute_script("arguments[0].click()", switch)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert browser.execute_script(points) == before and visible(browser, "[data-policy=replace]") == cells


@in_a_browser
def test_tooltip_of_a_point_has_its_value_and_number_of_rows(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    point = browser.find_elements(By.CSS_SELECTOR, ".chart [aria-roledescription=point]")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    shown = browser.execute_script("return document.querySelector('.vg-tooltip')?.innerText ?? ''")
    assert "mean over seeds" in shown and "rows measured" in shown and "12" in shown


@in_a_browser
def test_tables_and_charts_can_be_downloaded_as_csv(browser):
    import time

    for button in browser.execute_script("return [...document.querySelectorAll('button.csv')].slice(0, 4)"):
        browser.execute_script("arguments[0].click()", button)
    names = {"heldout_nll", "tiny-text-verdicts"}
    for _ in range(50):
        found = {path.stem: path for path in browser.downloads.glob("*.csv")}
        if len(found) >= 2:
            break
        time.sleep(0.1)
    assert found, f"nothing was downloaded, of {names}"
    frames = {name: pandas.read_csv(path) for name, path in found.items()}
    assert any({"policy", "generation", "mean"} <= set(frame.columns) for frame in frames.values())
    assert all(len(frame) for frame in frames.values())


@in_a_browser
def test_phone_does_not_scroll_sideways(browser):
    screen = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        browser.refresh()
        browser.execute_async_script("setTimeout(arguments[0], 3000)")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---- headlines ----------------------------------------------------------------------------------------------------------


def summaries(by_policy, metric="loss", axis="likelihood", better=False, floor=1.0):
    rows = as_columns(metric_rows(metric, by_policy, axis=axis, better=better, floor=floor, floor_sd=0.01))
    return summarize_policies(summarize_chains(metric_series(rows)), controls={})


def test_policies_are_ranked_by_the_onset_that_all_chains_have():
    late, early, one, never = [2, 2, 2, 9], [2, 3, 3, 3], [2, 8, 8, 8], [2, 2, 2, 2]
    ranking = headlines.rank_policies(
        summaries({"late": [late, late], "early": [early, early], "one": [one, never], "never": [never, never]})
    )
    assert [one.policy for one in ranking] == ["early", "late", "one", "never"], "an early onset counts more than a great change"


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (["heldout_nll", "heldout_perplexity", "frechet_distance"], "heldout_perplexity"),
        (["heldout_nats", "frechet_distance"], "frechet_distance"),
        (["variance", "wasserstein"], "variance"),
    ],
)
def test_headline_metric_is_perplexity_or_frechet_distance(metrics, expected):
    assert headlines.headline_metric([one for name in metrics for one in summaries({"a": [[1, 2]]}, metric=name)]) == expected


def test_metric_without_direction_is_the_headline_only_if_alone():
    undirected, directed = summaries({"a": [[1, 2]]}, metric="one", better=None), summaries({"a": [[1, 2]]}, metric="two")
    assert headlines.headline_metric([*undirected, *directed]) == "two" and headlines.headline_metric(undirected) == "one"


def test_losses_are_sorted_by_half_life_then_by_size():
    values = {"slow": [8, 6, 4, 2], "fast": [8, 2, 1, 1], "part": [8, 7, 6, 5], "flat": [8, 8, 8, 8]}

    def losses(axis):
        return headlines.find_losses(
            [one for name, chain in values.items() for one in summaries({"a": [chain, chain]}, name, axis, better=True, floor=8)], "a"
        )

    lost = losses("diversity")
    assert [one.metric for one in lost.halved] == ["fast", "slow"]
    assert [one.metric for one in lost.others] == ["part"]
    assert lost.others[0].ratio.mean == pytest.approx(5 / 8) and lost.measured
    assert not losses("fidelity").all and not losses("fidelity").measured, "fidelity is not something that is lost"


def test_runs_are_compared_relative_to_their_own_floors():
    """Both distances grow by 10. Generation 0 is 1 above the floor in one run and 10 in the other."""
    near = summaries({"replace": [[2, 12], [2, 12.4]], "real": [[2, 2], [2, 2]]}, metric="d", axis="fidelity", floor=1)
    far = summaries({"replace": [[20, 30], [20, 31]], "real": [[20, 20], [20, 20]]}, metric="d", axis="fidelity", floor=10)
    comparison = headlines.compare_runs({"near": near, "far": far})
    assert (comparison.further, comparison.policy, comparison.significant) == ("near", "replace", True)
    assert (comparison.agreeing, comparison.metrics, comparison.disagreeing) == (1, 1, [])
    assert comparison.changes["near"].mean == pytest.approx(10.2) and comparison.changes["far"].mean == pytest.approx(1.05)
    mixed = summaries({"replace": [[2, 2.5], [2, 13]]}, metric="d", axis="fidelity", floor=1)
    assert not headlines.compare_runs({"far": far, "mixed": mixed}).significant, "the ranges of the seeds overlap"
    assert headlines.compare_runs({"near": near}) is None
    nothing = summaries({"replace": [[0, 0], [0, 0]]}, metric="d", axis="diversity", better=True, floor=1)
    assert headlines.comparable_metrics({"one": nothing, "two": nothing}) == [], "generation 0 has nothing to lose"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.5, "e": 0.0}, "partly (2 of 5 metrics)"),
        ({"a": 0.5, "b": 0.0}, "partly (1 of 2 metrics, some chains)"),
    ],
)
def test_partial_verdicts_give_the_number_of_metrics(shares, expected):
    [row] = headlines.verdict_table([Verdict("Tail loss", "criterion", "replace", "partly", shares)], {})
    assert row.cells["replace"].text == expected and row.cells["replace"].answer == "partly"
    assert row.cells["replace"].evidence.startswith("A: yes; B: yes" if len(shares) > 2 else "A: 50% of chains; B: no")


def test_repeated_sequences_of_words_are_highlighted():
    html = str(
        text_preview.show(Pool.of(text=["and he said unto them, go", "but AND he said unto all <b>", "another text altogether here"]))
    )
    assert html.count("<mark") == 2
    assert ">and he said unto</mark> them, go" in html and ">AND he said unto</mark> all &lt;b&gt;" in html


# ---- figures and charts -------------------------------------------------------------------------------------------------


def test_figures_are_files_in_the_requested_formats(run_folder, tmp_path):
    from PIL import Image

    paths = write_figures([run_folder], tmp_path / "figures")
    assert {path.suffix for path in paths} == {".pdf", ".svg", ".png"} and all(path.stat().st_size > 1000 for path in paths)
    names = {path.stem for path in paths}
    assert {"tiny-text-heldout_nll", "tiny-text-class_share", "tiny-text-trained-on"} <= names
    svg = (tmp_path / "figures" / "tiny-text-heldout_nll.svg").read_text()
    assert "replace" in svg and "Held-out loss" in svg, "a figure has its own legend and title"
    assert (tmp_path / "figures" / "tiny-text-heldout_nll.pdf").read_bytes().startswith(b"%PDF")
    image = np.asarray(Image.open(tmp_path / "figures" / "tiny-text-heldout_nll.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(image, axis=0)) > 20, "something is drawn"
    with pytest.raises(UserError, match=r"--format pgn: unknown format; known: pdf, svg, png"):
        write_figures([run_folder], tmp_path, formats=["pgn"])


def test_every_chart_is_valid_json_with_the_parameter_hidden(run_folder):
    """NaN would stop the page's scripts: JSON does not have it."""
    specs = [
        json.loads(text, parse_constant=pytest.fail) for text in re.findall(r'"application/json">(.*?)</script>', own_html(run_folder))
    ]
    assert len(specs) >= 8
    assert all(spec["params"] == [{"name": "hidden", "value": []}] for spec in specs)


def compare(metric_by_run):
    """The points of a comparison chart, by run, policy and generation."""
    spec = metric_charts.comparison_chart(metric_by_run, {run: {} for run in metric_by_run}).spec
    return {(row["run"], row["policy"], row["generation"]): row["mean"] for row in spec["datasets"]["rows"]}


def test_comparison_charts_put_floors_at_0_and_generation_0_at_1():
    def metric(first, floor, unit, policies=("replace", "real")):
        values = {policy: [[first, first + step, first + 2 * step]] * 2 for policy, step in zip(policies, (5.0, 0.0), strict=True)}
        return metric_series(as_columns(metric_rows("m", values, unit=unit, floor=floor, floor_sd=0.1)))["m"]

    points = compare({"one": metric(30.0, 10.0, "squared distance"), "two": metric(3.0, 5.0, "squared distance", ("replace", "mix"))})
    assert points["one", "replace", 0] == 1 and points["one", "replace", 2] == 1.5
    assert points["two", "replace", 0] == -1, "a value below the floor stays below"
    assert {policy for _, policy, _ in points} == {"replace"}, "only policies of both runs"
    shares = compare({"one": metric(0.7, 0.9, "share"), "two": metric(0.5, 0.8, "share")})
    assert shares["one", "real", 0] == pytest.approx(-0.2) and shares["two", "real", 0] == pytest.approx(-0.3)


def test_intervals_of_many_seeds_are_bootstrap_intervals():
    few, many = ([[1.0, 2.0 + seed] for seed in range(count)] for count in (4, 6))
    ranges, intervals = (
        metric_charts.over_seeds(metric_series(as_columns(metric_rows("m", {"a": chains})))["m"])[1] for chains in (few, many)
    )
    assert (ranges["low"], ranges["high"], ranges["seeds"]) == (2, 5, 4)
    assert 2 < intervals["low"] < intervals["mean"] == 4.5 < intervals["high"] < 7


def test_long_run_keeps_every_training_row_and_every_point_of_a_line(tmp_path):
    """Under `accumulate` the rows about training data grow with the square of the generations; bars group the generations of origin."""
    config = experiment({**ANALYTIC, "generations": 130, "policies": ["accumulate", "replace"]})
    about = {"experiment": config.name, "modality": "analytic", "data": "gaussian", "generator": "gaussian", "seed": 0, "n": 10}
    variance = {"metric": "variance", "axis": "diversity", "unit": "sigma^2", "higher_is_better": True, "floor": 1.0, "floor_sd": 0.1}
    counted = {"axis": "mixture", "value": 10.0, "unit": "rows", "higher_is_better": None, "floor": None, "floor_sd": None}
    rows, samples, models = [], [], []
    for policy, generation in product(config.policies, range(131)):
        at = {"policy": policy, "generation": generation}
        origins = ["real", *(f"generation {number}" for number in range(generation))]
        rows.append({**about, **at, **variance, "value": 0.9**generation})
        for origin in origins if policy == "accumulate" else origins[-1:]:
            rows.append({**about, **at, **counted, "metric": f"trained_rows/{origin}"})
        samples.append(Pool.of(x=np.zeros((1, 3))).note(**at))
        models.append({**at, "seed": 0, "key": "ab" * 32, "torch": "2", "seconds": 1.0})
    write_results(config, ChainResult(rows, samples, models), tmp_path / config.name)
    write_report([tmp_path / config.name], tmp_path / "report.html")
    assert 100_000 < (tmp_path / "report.html").stat().st_size < 6_000_000
    metrics = RunFolder.read(tmp_path / config.name).metrics
    bars = pandas.DataFrame(breakdown_charts.training_chart(metrics).spec["datasets"]["rows"])
    assert bars.origin.nunique() == 20 and {"real", "generations 0 to 6", "generations 126 to 129"} <= set(bars.origin)
    assert {0, 130} <= set(bars.generation) and bars.generation.nunique() == 40
    totals = bars[bars.policy == "accumulate"].groupby("generation").value.sum()
    assert totals.tolist() == [10 * (1 + generation) for generation in totals.index]
    datasets = metric_charts.metric_chart(metrics["variance"], ["accumulate", "replace"], {}).spec["datasets"]
    assert max(map(len, datasets.values())) == 2 * 131, "a line has every generation"
