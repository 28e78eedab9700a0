"""The report: complete, self-contained, inert whatever a model wrote, and drawn by a real browser."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pandas
import pytest
from autophagy import experiment, write_report
from autophagy.common.analysis import summary
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.common.execution.run import write_results
from autophagy.common.execution.scheduler import ChainResult
from autophagy.common.report.runs import charts
from autophagy.common.report.runs import headlines as answers
from autophagy.common.report.runs.figures import write_figures
from autophagy.text import html_preview as text_show
from autophagy.vision import html_preview as vision_show
from support.browser import in_a_browser, open_report
from support.tiny import ANALYTIC, TEXT

HOSTILE = ["<script>document.title='owned'</script>", "</script><img src=x onerror=\"document.title='owned'\">", "{{ 7 * 7 }}",
           "\u202eright to left", "nul \x00 bell \x07", "x" * 1_000_000, "</style>", ""]  # fmt: skip

NUMBERS = [
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
    """A run as `run` writes it, with made-up numbers and hostile samples."""
    wanted = experiment({**TEXT, "question": "Is <b>this</b> escaped?"})
    rng, rows, samples, models = np.random.default_rng(0), [], [], []
    about = {"experiment": "tiny-text", "modality": "text", "data": "bible", "generator": "causal-lm"}
    for policy in wanted.policies:
        for generation in range(4):
            for seed in (0, 1):
                at = {**about, "policy": policy, "seed": seed, "generation": generation, "n": 12}
                for metric, axis, better in NUMBERS:
                    value = (generation if policy == "replace" else 0) + 0.01 * rng.random() + 1
                    if metric == "real_share":
                        value = float(policy == "real" or generation == 0)
                    rows.append(
                        {
                            **at,
                            "metric": metric,
                            "axis": axis,
                            "value": value,
                            "unit": "nats",
                            "higher_is_better": better,
                            "floor": 0.5,
                            "floor_sd": 0.1,
                        }
                    )
                models.append({"policy": policy, "seed": seed, "generation": generation, "key": "ab" * 32, "torch": "2", "seconds": 1.0})
            samples.append(Pool.of(text=HOSTILE).note(generation=generation, policy=policy))
    folder = tmp_path_factory.mktemp("out") / "tiny-text"
    write_results(wanted, ChainResult(rows, samples, models), folder)
    write_report([folder, folder], folder / "report.html")
    return folder


def test_the_page_is_self_contained_and_not_too_big(run_folder):
    page = (run_folder / "report.html").read_text()
    own = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:)', own), "nothing is fetched"
    assert len(page) < 8_000_000


def test_what_models_wrote_is_escaped_and_cut():
    shown = str(text_show.show(Pool.of(text=HOSTILE)))
    assert "<script" not in shown
    assert "<img" not in shown
    assert "\x00" not in shown
    assert "\u202e" not in shown
    assert len(shown) < 5_000


def test_images_are_shown_as_they_are():
    import base64
    import io

    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    shown = str(vision_show.show(Pool.of(image=images)))
    found = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", shown)]
    assert np.array_equal(found, images)


@pytest.fixture(scope="module")
def browser(run_folder, tmp_path_factory):
    """A headless browser that shows the report of `run_folder`."""
    with open_report(run_folder / "report.html", tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@in_a_browser
def test_a_real_browser_draws_every_chart_and_runs_nothing_else(browser):
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
def test_the_slider_moves_through_the_generations_by_keyboard(browser):
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
def test_a_switch_takes_its_policy_out_of_charts_tables_and_samples(browser):
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
def test_hovering_a_point_says_its_value_and_how_many_rows_it_rests_on(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    point = browser.find_elements(By.CSS_SELECTOR, ".chart [aria-roledescription=point]")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    shown = browser.execute_script("return document.querySelector('.vg-tooltip')?.innerText ?? ''")
    assert "mean over seeds" in shown and "rows measured" in shown and "12" in shown


@in_a_browser
def test_tables_and_charts_are_handed_out_as_csv(browser):
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
def test_a_phone_shows_it_without_scrolling_sideways(browser):
    screen = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        browser.refresh()
        browser.execute_async_script("setTimeout(arguments[0], 3000)")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---- what it says -------------------------------------------------------------------------------------------------


def arms_of(by_policy, metric="loss", axis="likelihood", better=False, floor=1.0):
    rows = pandas.DataFrame(
        {"metric": metric, "axis": axis, "unit": "u", "higher_is_better": better, "floor": floor, "floor_sd": 0.01, "n": 9,
         "generator": "g",
         "policy": policy, "seed": seed, "generation": generation, "value": value}
        for policy, chains in by_policy.items()
        for seed, values in enumerate(chains)
        for generation, value in enumerate(values)
    )  # fmt: skip
    return summary.policies(summary.chains(rows), controls={})


def test_the_policy_that_goes_first_is_the_one_whose_chains_all_leave_the_noise_first():
    late, early, one, never = [2, 2, 2, 9], [2, 3, 3, 3], [2, 8, 8, 8], [2, 2, 2, 2]
    found = answers.by_policy(arms_of({"late": [late, late], "early": [early, early], "one": [one, never], "never": [never, never]}))
    assert [line["policy"] for line in found] == ["early", "late", "one", "never"], "earlier before further, all chains before some"


def test_what_is_lost_first_is_what_is_halved_first():
    table = pandas.concat(
        arms_of({"a": [values, values]}, metric=name, axis="diversity", better=True, floor=8)
        for name, values in {"slow": [8, 6, 4, 2], "fast": [8, 2, 1, 1], "part": [8, 7, 6, 5], "flat": [8, 8, 8, 8]}.items()
    )
    found = answers.lost_first(table, "a")
    assert [line["metric"] for line in found["halved"]] == ["fast", "slow"]
    assert [line["metric"] for line in found["rest"]] == ["part"]
    assert found["rest"][0]["gone"] == pytest.approx(3 / 8)
    assert not answers.lost_first(table.assign(axis="fidelity"), "a")["halved"], "being unlike is nothing that is lost"


def test_which_run_moves_further_is_judged_from_each_ones_own_floor():
    """Both distances grow by 10; one began 10 from its floor, the other 1."""
    near = arms_of({"replace": [[2, 12], [2, 12.4]], "real": [[2, 2], [2, 2]]}, metric="d", axis="fidelity", floor=1)
    far = arms_of({"replace": [[20, 30], [20, 31]], "real": [[20, 20], [20, 20]]}, metric="d", axis="fidelity", floor=10)
    found = answers.which_sooner({"near": near, "far": far})
    assert (found["sooner"], found["policy"], found["apart"]) == ("near", "replace", True)
    assert found["ends"]["near"]["mean"] == pytest.approx(10.2) and found["ends"]["far"]["mean"] == pytest.approx(1.05)
    mixed = arms_of({"replace": [[2, 2.5], [2, 13]]}, metric="d", axis="fidelity", floor=1)
    assert not answers.which_sooner({"far": far, "mixed": mixed})["apart"], "the seeds overlap"
    assert answers.which_sooner({"near": near}) is None
    gone = arms_of({"replace": [[0, 0], [0, 0]]}, metric="d", axis="diversity", better=True, floor=1)
    assert answers.shared_metrics({"gone": gone, "too": gone}) == [], "nothing was there to lose"


def test_runs_of_words_that_come_again_are_marked():
    shown = str(text_show.show(Pool.of(text=["and he said unto them, go", "but AND he said unto all <b>", "another text altogether here"])))
    assert shown.count("<mark") == 2
    assert ">and he said unto</mark> them, go" in shown and ">AND he said unto</mark> all &lt;b&gt;" in shown


# ---- figures ------------------------------------------------------------------------------------------------------


def test_figures_are_files_of_the_formats_asked_for(run_folder, tmp_path):
    from PIL import Image

    written = write_figures([run_folder], tmp_path / "figures")
    assert {path.suffix for path in written} == {".pdf", ".svg", ".png"} and all(path.stat().st_size > 1000 for path in written)
    names = {path.stem for path in written}
    assert {"tiny-text-heldout_nll", "tiny-text-class_share", "tiny-text-trained-on"} <= names
    svg = (tmp_path / "figures" / "tiny-text-heldout_nll.svg").read_text()
    assert "replace" in svg and "held-out NLL" in svg, "a figure has its legend and its title"
    assert (tmp_path / "figures" / "tiny-text-heldout_nll.pdf").read_bytes().startswith(b"%PDF")
    image = np.asarray(Image.open(tmp_path / "figures" / "tiny-text-heldout_nll.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(image, axis=0)) > 20, "something is drawn"
    with pytest.raises(UserError, match="figures are written as pdf, svg, png"):
        write_figures([run_folder], tmp_path, formats=["pgn"])


def test_side_by_side_puts_floors_at_0_and_generation_0_at_1_away():
    def rows(first, floor, unit, policies=("replace", "real")):
        lines = [
            {
                "metric": "m",
                "policy": policy,
                "seed": seed,
                "generation": g,
                "value": first + g * step,
                "floor": floor,
                "floor_sd": 0.1,
                "unit": unit,
                "n": 9,
            }
            for policy, step in zip(policies, (5.0, 0.0), strict=True)
            for seed in (0, 1)
            for g in (0, 1, 2)
        ]
        return pandas.DataFrame(lines).assign(n=9)

    def drawn(spec):
        [data] = spec["datasets"].values()
        return {(line["run"], line["policy"], line["generation"]): line["mean"] for line in data}

    one, two = rows(30.0, 10.0, "squared distance"), rows(3.0, 5.0, "squared distance", ("replace", "mix"))
    found = drawn(charts.beside({"one": one, "two": two}, "m")["spec"])
    assert found["one", "replace", 0] == 1 and found["one", "replace", 2] == 1.5
    assert found["two", "replace", 0] == -1, "below the floor stays below"
    assert {policy for _, policy, _ in found} == {"replace"}, "policies that both runs have"
    shares = drawn(charts.beside({"one": rows(0.7, 0.9, "share"), "two": rows(0.5, 0.8, "share")}, "m")["spec"])
    assert shares["one", "real", 0] == pytest.approx(-0.2) and shares["two", "real", 0] == pytest.approx(-0.3)


def test_a_run_of_hundreds_of_generations_gets_a_report_that_leaves_no_row_out(tmp_path):
    """Under `accumulate` the rows that say what was trained on grow with the square of the generations; bars take births together."""
    wanted = experiment({**ANALYTIC, "generations": 130, "policies": ["accumulate", "replace"]})
    about = {"experiment": wanted.name, "modality": "analytic", "data": "gaussian", "generator": "gaussian", "seed": 0, "n": 10}
    variance = {"metric": "variance", "axis": "diversity", "unit": "sigma^2", "higher_is_better": True, "floor": 1.0, "floor_sd": 0.1}
    counted = {"axis": "mixture", "value": 10.0, "unit": "rows", "higher_is_better": None, "floor": None, "floor_sd": None}
    rows, samples, models = [], [], []
    for policy, generation in product(wanted.policies, range(131)):
        at = {"policy": policy, "generation": generation}
        count_by_generation = ["real", *(f"generation {number}" for number in range(generation))]
        rows.append({**about, **at, **variance, "value": 0.9**generation})
        for birth in count_by_generation if policy == "accumulate" else count_by_generation[-1:]:
            rows.append({**about, **at, **counted, "metric": f"trained_rows/{birth}"})
        samples.append(Pool.of(x=np.zeros((1, 3))).note(**at))
        models.append({**at, "seed": 0, "key": "ab" * 32, "torch": "2", "seconds": 1.0})
    write_results(wanted, ChainResult(rows, samples, models), tmp_path / wanted.name)
    write_report([tmp_path / wanted.name], tmp_path / "report.html")
    assert 100_000 < (tmp_path / "report.html").stat().st_size < 6_000_000
    (bars,) = charts.mixture(pandas.DataFrame(rows))["spec"]["datasets"].values()
    drawn = pandas.DataFrame(bars)
    assert drawn.birth.nunique() == 20 and {"real", "generations 0 to 6", "generations 126 to 129"} <= set(drawn.birth)
    assert {0, 130} <= set(drawn.generation) and drawn.generation.nunique() == 40
    totals = drawn[drawn.policy == "accumulate"].groupby("generation").value.sum()
    assert totals.tolist() == [10 * (1 + generation) for generation in totals.index]
    data = charts.lines(pandas.DataFrame(rows), "variance", ["accumulate", "replace"])["spec"]["datasets"]
    assert max(map(len, data.values())) == 2 * 131, "a line has every generation"
