"""The report: complete, self-contained, inert whatever a model wrote, and drawn by a real browser."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas
import pytest
from autophagy import experiment, write_report
from autophagy.common.pool import Pool
from autophagy.common.report import charts
from autophagy.common.run import write
from autophagy.common.sweep import Outcome
from autophagy.text import show as text_show
from autophagy.vision import show as vision_show
from tiny import TEXT

HOSTILE = ["<script>document.title='owned'</script>", "</script><img src=x onerror=\"document.title='owned'\">", "{{ 7 * 7 }}",
           "\u202eright to left", "nul \x00 bell \x07", "x" * 1_000_000, "</style>", ""]  # fmt: skip

NUMBERS = [
    ("heldout_nll", "likelihood", False),
    ("rare_recall", "tail", True),
    ("class_share/0", "tail", None),
    ("class_share/1", "tail", None),
    ("trained_rows/real", "mixture", None),
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
                    value = (generation if policy == "replace" else 0) + rng.random()
                    rows.append(
                        {**at, "metric": metric, "axis": axis, "value": value, "unit": "nats", "higher_is_better": better, "floor": 0.5}
                    )
                models.append({"policy": policy, "seed": seed, "generation": generation, "key": "ab" * 32, "torch": "2", "seconds": 1.0})
            samples.append(Pool.of(text=HOSTILE).note(generation=generation, policy=policy))
    folder = tmp_path_factory.mktemp("out") / "tiny-text"
    write(wanted, Outcome(rows, samples, models), folder)
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


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


@pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)"
)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_real_browser_draws_every_chart_and_runs_nothing_else(run_folder, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.get((run_folder / "report.html").as_uri())
        WebDriverWait(browser, 60).until(lambda page: page.execute_script("return document.documentElement.dataset.drawn") == "yes")
        charts, drawn = browser.execute_script(
            "return [document.querySelectorAll('.chart').length, document.querySelectorAll('.chart svg').length]"
        )
        assert charts == drawn >= 8
        assert browser.title != "owned"
        assert browser.execute_script("return document.querySelectorAll('.samples script').length") == 0
        assert not [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "ERROR")]
        assert browser.execute_script("return document.querySelector('h1').textContent").startswith("Is <b>this</b>")
    finally:
        browser.quit()


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
