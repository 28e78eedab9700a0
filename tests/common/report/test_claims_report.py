"""The report of re-tested claims: drawn by a real browser from made-up verdicts, infinite numbers and hostile words among them."""

from __future__ import annotations

import json
import re

import pandas
import pytest
from autophagy.common.core.errors import UserError
from autophagy.common.replication import claim as judges
from autophagy.common.replication import reproduce
from autophagy.common.replication.claim import Curve, Figure, JudgeOutput
from autophagy.common.replication.statistical_checks import LAW, Estimate, above, below, equals, same
from autophagy.common.report.claims import check_charts as checks
from autophagy.common.report.claims import claim_charts as curves
from autophagy.common.report.claims import schema as judged
from autophagy.common.report.claims.report import write_claims_report
from autophagy.common.report.claims.schema import ClaimsFile
from support.browser import in_a_browser, open_report
from support.commands import autophagy

HOSTILE = "<script>document.title='owned'</script></script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"
GENERATIONS = [0, 1, 2, 3]


def claim(name, **more):
    about = {"id": name, "says": f"What {name} says.", "source": "Somebody et al. 2024", "cost": "seconds", "observable": "variance",
             "experiments": {"tiny": ["tiny.yaml"]}, "expects": "a law", "tolerance": "4 standard errors"}  # fmt: skip
    return judges.Claim(**{**about, "judge": lambda rows: None, **more})


def picture(*extra, log_y=False):
    law = Curve("law: replace", GENERATIONS, [1.0, 0.5, 0.25, 0.125], law=True)
    found = Curve("measured: replace", GENERATIONS, [1.1, 0.4, 0.3, 0.1], [1.0, 0.3, 0.2, -0.1], [1.2, 0.5, 0.4, 0.3])
    return Figure("generation", "variance", [law, found, *extra], log_y=log_y)


def found_here():
    """A claim of every verdict; C2 has what JSON knows no number for, C3 can neither refuse its rival nor clear its bound."""
    one = Estimate(0.5, 0.01, 2000)
    holds = JudgeOutput([equals("E s^2, generation 3", one, 0.51, rival=0.9), equals("E s^2, generation 1", one, 0.5), above("gain", one, 0.1)],
                    picture(Curve("its limit", [0, 3], [0.1, 0.1], law=True)), "A note.")  # fmt: skip
    few, nothing = Estimate(0.5, 0.01, 4, 3), Estimate(float("nan"), float("nan"), 9)
    fails = JudgeOutput([same("survival", Estimate(0.9, 0.0, 9), 1.0), equals("few chains, generation 3", few, 0.55),
                     equals("lost", nothing, 1.0), below("loss", one, 0.1)], picture(log_y=True))  # fmt: skip
    open_ = JudgeOutput([equals("E s^2", one, 0.51, rival=0.52), above("gap", one, 0.505)], picture())
    hostile = JudgeOutput(
        [equals(HOSTILE, one, 0.5)], Figure(HOSTILE, HOSTILE, [Curve(f"measured: {HOSTILE}", [1, 2], [1.0, 2.0])]), HOSTILE
    )
    wanted = {"says": HOSTILE, "source": HOSTILE, "observable": HOSTILE, "expects": HOSTILE, "tolerance": HOSTILE, "needs": HOSTILE,
              "experiments": {HOSTILE: [HOSTILE, HOSTILE]}}  # fmt: skip
    return [
        reproduce.ClaimResult(claim("C1"), holds),
        reproduce.ClaimResult(claim("C2"), fails),
        reproduce.ClaimResult(claim("C3"), open_),
        reproduce.ClaimResult(claim("C4", needs="weights"), None, "weights: cannot be had"),
        reproduce.ClaimResult(claim(f'C5 "{HOSTILE}', **wanted), hostile),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `reproduce` leaves: claims.json as it writes it, and the report."""
    folder = tmp_path_factory.mktemp("claims")
    contradiction = judges.Contradiction(
        "Does it collapse?", [("It does.", ["C1", "C2", "C4"]), (HOSTILE, ["C3", "C99"])], "What is measured."
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "contradictions", lambda: [contradiction])
        reproduce._write(found_here(), folder)
    write_claims_report(folder / "claims.json", folder / "report.html")
    return folder


def test_the_page_is_self_contained_and_says_each_verdict(folder):
    page = (folder / "report.html").read_text()
    own = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', own), "nothing is fetched"
    assert len(page) < 8_000_000
    for said in (
        "weights: cannot be had",
        "Where the literature contradicts itself",
        "What is measured.",
        "A note.",
        "autophagy reproduce C1",
    ):
        assert said in own
    assert "<script>document" not in own and "<img" not in own


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    """A headless browser that shows the report of `folder`."""
    with open_report(folder / "report.html", tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@in_a_browser
def test_a_real_browser_draws_every_chart_without_a_complaint_and_runs_nothing_else(browser):
    drawn = "return [document.querySelectorAll('.chart').length, document.querySelectorAll('.chart svg').length]"
    assert browser.execute_script(drawn) == [4 + 4 + 3, 4 + 4 + 3], "a picture for each of four claims, laws for four, bounds for three"
    assert browser.title != "owned"
    assert not [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]
    hostile = browser.execute_script("return [...document.querySelectorAll('section.claim h2')].at(-1).textContent")
    assert "<script>document.title" in hostile and "{{ 7 * 7 }}" in hostile
    assert browser.execute_script("return [...document.querySelectorAll('img')].length") == 0


@in_a_browser
def test_the_table_says_verdicts_in_words_and_what_json_has_no_number_for(browser):
    rows = browser.execute_script("return [...document.querySelectorAll('table.verdicts tbody tr')].map((row) => row.innerText)")
    rows = [" ".join(row.split()) for row in rows]
    assert "✓ holds E s^2, generation 3 0.5 0.48 to 0.52 = 0.51 not 0.9 −1.00 3" in rows[0]
    assert "✗ fails survival 0.9 0.9 to 0.9 = 1 −∞ 1 of 4" in rows[1]
    assert "? inconclusive E s^2" in rows[2] and "not 0.52" in rows[2]
    assert "○ not run weights: cannot be had" in rows[3]
    tally = " ".join(browser.execute_script("return document.querySelector('.tally').innerText").split())
    assert tally.startswith("✓ 2 hold ✗ 1 fails C2 ? 1 inconclusive C3 ○ 1 not run C4")
    table = browser.execute_script("return document.querySelector('#claim-C2 details table').textContent")
    assert "null" not in table and "NaN" not in table and "nan" not in table
    assert "null" not in browser.execute_script(
        "return [...document.querySelectorAll('.chart svg')].map((one) => one.textContent).join(' ')"
    )


@in_a_browser
def test_every_link_leads_to_a_place_and_what_was_not_tested_is_no_link(browser):
    lost = """return [...document.querySelectorAll('a')].map((one) => decodeURIComponent(one.getAttribute('href').slice(1)))
              .filter((id) => !document.getElementById(id))"""
    assert browser.execute_script(lost) == []
    links = browser.execute_script("return [...document.querySelectorAll('.contradiction li')].map((one) => one.innerText.trim())")
    assert links == ["C1 ✓ holds", "C2 ✗ fails", "C4 ○ not run", "C3 ? inconclusive", "C99 not re-tested here"]
    assert browser.execute_script("return document.querySelectorAll('table.verdicts th a').length") == 5


@in_a_browser
def test_a_curve_is_switched_off_by_keyboard_in_its_own_figure_alone(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    points = "return document.querySelectorAll('#claim-{} figure:first-of-type .mark-symbol [aria-roledescription=point]').length"
    before = {name: browser.execute_script(points.format(name)) for name in ("C1", "C2")}
    switch = browser.find_element(By.CSS_SELECTOR, "#claim-C1 [data-switch=replace]")
    switch.send_keys(Keys.SPACE)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert switch.get_attribute("aria-pressed") == "false"
    assert browser.execute_script(points.format("C1")) == before["C1"] - 2 * len(GENERATIONS), "the law's points and the measured ones"
    assert browser.execute_script(points.format("C2")) == before["C2"]
    switch.send_keys(Keys.SPACE)
    browser.execute_async_script("setTimeout(arguments[0], 300)")
    assert browser.execute_script(points.format("C1")) == before["C1"]


@in_a_browser
def test_hovering_says_what_was_measured_and_what_the_law_is(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    for selector, said in (
        ("#claim-C1 figure [aria-roledescription=point][aria-label*=measured]", ("measured: replace", "1 to 1.2", "law")),
        ("#claim-C3 .stack figure [aria-roledescription=point]", ("inconclusive", "0.52", "chains", "2000")),
    ):
        point = browser.find_elements(By.CSS_SELECTOR, selector)[0]
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
        ActionChains(browser).move_to_element(point).perform()
        browser.execute_async_script("setTimeout(arguments[0], 300)")
        shown = browser.execute_script("return document.querySelector('.vg-tooltip')?.innerText ?? ''")
        assert all(word in shown for word in said), shown


@in_a_browser
def test_verdicts_and_checks_are_handed_out_as_csv_with_all_digits(browser, folder):
    import time

    from selenium.webdriver.common.by import By

    for button in browser.find_elements(By.CSS_SELECTOR, ".downloads button.csv"):
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
    for _ in range(50):
        found = {path.stem: path for path in browser.downloads.glob("*.csv")}
        if {"claims", "checks"} <= set(found):
            break
        time.sleep(0.1)
    frames = {name: pandas.read_csv(path) for name, path in found.items()}
    assert list(frames["claims"].verdict) == ["holds", "fails", "inconclusive", "not run", "holds"]
    written = [check for one in json.loads((folder / "claims.json").read_text())["claims"] for check in one.get("checks", ())]
    assert len(frames["checks"]) == len(written) == 10
    assert frames["checks"].low.tolist()[0] == written[0]["low"], "no digit is lost"
    assert pandas.isna(frames["checks"].z[3]) and frames["checks"].metric_rows[3] == 0.9


@in_a_browser
def test_a_phone_shows_it_without_scrolling_sideways_even_unfolded(browser):
    screen = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        browser.refresh()
        browser.execute_async_script("setTimeout(arguments[0], 3000)")
        browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        boxes = "return [...document.querySelectorAll('#verdicts .scroll, .chart')]"
        assert browser.execute_script(boxes + ".filter((one) => one.scrollWidth > one.clientWidth + 1).length") == 0, (
            "neither the verdicts nor a chart have to be pushed about"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---- what it says -------------------------------------------------------------------------------------------------------


def read(folder):
    return {claim.id: claim for claim in ClaimsFile.read(folder / "claims.json").claims}


def data_of(chart):
    """The chart's own rows: of its tables the one with the most columns."""
    return max(chart["spec"]["datasets"].values(), key=lambda rows: len(rows[0]))


def test_it_reads_what_is_written_and_draws_the_band_that_judges_hold_laws_against():
    assert judged.FORMAT == reproduce.FORMAT
    assert checks.LAW == LAW


def test_a_law_and_its_measurements_share_a_colour_and_a_limit_is_grey(folder):
    things = {thing.name: thing for thing in curves.picture(read(folder)["C1"])["things"]}
    assert list(things) == ["replace", "its limit"]
    assert things["replace"].line and things["replace"].shape and not things["replace"].dash
    assert things["its limit"].line and not things["its limit"].shape and things["its limit"].dash
    assert things["its limit"].colour != things["replace"].colour


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["law: a", "measured: a"], ["a", "a"]),
        (["law", "measured"], ["law, measured", "law, measured"]),
        (["law: ln E s² = 0", "measured: ln E s²"], ["ln E s²", "ln E s²"]),
        (["law: M = 50", "measured: M = 50", "law: M = 20"], ["M = 50", "M = 50", "M = 20"]),
        (["law: a", "accumulate", "chance"], ["a", "accumulate", "chance"]),
    ],
)
def test_curves_are_about_what_their_labels_name(labels, names):
    generated = [judged.Curve(label=label, x=[1], y=[1], law=not label.startswith(("measured", "accumulate"))) for label in labels]
    assert curves._names(generated) == names


def test_what_a_logarithmic_axis_cannot_hold_is_left_out_and_said(folder):
    found = read(folder)["C2"]
    chart = curves.picture(found)
    bars = {row["x"]: (row["low"], row["high"]) for row in data_of(chart) if row["kind"] == "measured"}
    assert bars[3] == (0.1, 0.3), "an interval below 0 ends at the least number of the picture"
    gone = found.picture.model_copy(update={"curves": [judged.Curve(label="a", x=[1, 2, 3], y=[1.0, 0.0, None])]})
    chart = curves.picture(found.model_copy(update={"picture": gone}))
    assert len(data_of(chart)) == 1 and "left out, with no place on these axes: 2" in chart["unit"]
    nothing = gone.model_copy(update={"curves": [judged.Curve(label="a", x=[1], y=[None])]})
    assert curves.picture(found.model_copy(update={"picture": nothing})) is None


def test_a_check_lies_in_the_band_exactly_if_the_judge_let_it_pass():
    """Few chains are allowed more standard errors, infinitely many 4; on the axis all are held against 4."""
    for freedom in (3, 19, float("inf")):
        for distance in (0.0, 0.5, 3.9, 4.1, 5.0, 9.0, -20.0):
            check = equals("", Estimate(distance, 1.0, 4, freedom), 0.0)
            read_back = judged.Check.model_validate(reproduce._finite(vars(check)))
            assert (abs(read_back.likeness) <= checks.LAW) == (check.verdict == "holds"), (freedom, distance)


def test_laws_of_one_number_share_a_row_and_infinite_distances_are_pinned(folder):
    laws = checks.against_laws(read(folder)["C2"])
    rows = {row["row"]: row for row in data_of(laws)}
    assert list(rows) == ["survival", "few chains"], "what is no number has no place"
    assert rows["survival"]["place"] == -checks.EDGE and rows["survival"]["pin"] == "−∞"
    assert abs(rows["few chains"]["place"]) < checks.LAW < 5 == round(-read(folder)["C2"].checks[1].away)
    rows = data_of(checks.against_laws(read(folder)["C1"]))
    assert [row["row"] for row in rows] == ["E s^2", "E s^2"]


@pytest.mark.parametrize(
    ("generated", "clear"),
    [
        (above("", Estimate(0.5, 0.1, 9), 0.1), True),
        (below("", Estimate(-0.5, 0.1, 9), 0.0), True),
        (above("", Estimate(0.5, 0.1, 9), 0.4), False),
        (below("", Estimate(3000.0, 1.0, 9), 1.0), False),
    ],
)
def test_orderings_lie_right_of_their_bound_exactly_if_they_hold(generated, clear, folder):
    own = judged.Check.model_validate(vars(generated))
    [row] = data_of(checks.against_bounds(read(folder)["C1"].model_copy(update={"checks": [own]})))
    assert (row["low"] > 0) == clear == (generated.verdict == "holds")
    assert row["low"] <= row["place"] <= row["high"] and max(abs(row["low"]), abs(row["high"])) == pytest.approx(1)


def test_orderings_without_scatter_have_a_place():
    own = judged.Check.model_validate(reproduce._finite(vars(above("", Estimate(2.0, 0.0, 9), 2.0))))
    assert checks._scaled(own) == {"place": 0, "low": 0, "high": 0}


# ---- what users are told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory; `autophagy reproduce` writes it"),
        ("", "is not what `autophagy reproduce` writes: Invalid JSON"),
        ('{"claims": []}', "format: Field required"),
        ('{"format": 99, "claims": []}', "format: 99 was found, this version of autophagy reads 1"),
        ('{"format": 1, "claims": [{"id": "C1"}]}', "claims.0.says: Field required"),
        ("[]", "is not what `autophagy reproduce` writes: Input should be"),
    ],
)
def test_a_missing_or_broken_file_gets_one_clear_message(content, said, tmp_path):
    if content is not None:
        (tmp_path / "claims.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(said)) as told:
        write_claims_report(tmp_path / "claims.json", tmp_path / "report.html")
    assert str(tmp_path / "claims.json") in str(told.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["claims"].append(one["claims"][0]), "claims: 'C1' is there twice"),
        (lambda one: one["claims"][0].update(checks=[]), "claims.0: 'holds', yet there is no check"),
        (lambda one: one["claims"][0]["picture"]["curves"][0]["y"].pop(), "x, y and intervals of 'law: replace' are [4, 3] long"),
        (lambda one: one["claims"][0].update(verdict="true"), "claims.0.verdict: Input should be 'holds', 'fails', 'inconclusive' or"),
        (lambda one: one["claims"][0]["checks"][0].update(z="far"), "claims.0.checks.0.z: Input should be a valid number"),
    ],
)
def test_what_contradicts_itself_is_named(change, said, folder, tmp_path):
    content = json.loads((folder / "claims.json").read_text())
    change(content)
    (tmp_path / "claims.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(said)):
        ClaimsFile.read(tmp_path / "claims.json")


def test_report_makes_it_again_without_running_and_refuses_two_reports_in_one(folder, tmp_path):
    assert autophagy("report", folder, "-o", tmp_path / "again.html").exit_code == 0
    assert (tmp_path / "again.html").read_text() == (folder / "report.html").read_text()
    for words, said in (
        ((folder, tmp_path), f"{folder} holds claims.json and {tmp_path} does not: a report is about claims or about runs, not about both"),
        ((tmp_path, folder), f"{folder} holds claims.json and {tmp_path} does not"),
        ((folder, folder), "a report of claims is about one folder; 2 with claims.json were given"),
    ):
        result = autophagy("report", *words, "-o", tmp_path / "none.html")
        assert result.exit_code == 2 and said in result.stderr.replace("\n", " ")
    assert not (tmp_path / "none.html").exists()
