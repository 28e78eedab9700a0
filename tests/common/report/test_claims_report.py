"""The report of re-tested claims, drawn by a real browser from invented results with infinite numbers and hostile text."""

from __future__ import annotations

import json
import re

import pandas
import pytest
from autophagy.common.core.errors import UserError
from autophagy.common.replication import reproduce
from autophagy.common.replication.claim import Claim, JudgeOutput, generation_figure
from autophagy.common.replication.schema import LAW_STANDARD_ERRORS, Check, ClaimsFile, Contradiction, Curve, Figure
from autophagy.common.replication.statistical_checks import Estimate, check_above, check_below, check_equals, check_same
from autophagy.common.report.claims import check_charts, claim_charts
from autophagy.common.report.claims.report import write_claims_report
from support.browser import in_a_browser, open_report
from support.commands import autophagy

HOSTILE = "<script>document.title='owned'</script></script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"
GENERATIONS = [0, 1, 2, 3]


def claim(name, **more):
    about = {"id": name, "statement": f"The statement of {name}.", "source": "Somebody et al. 2024", "cost": "seconds",
             "observable": "variance",
             "experiments": {"tiny": ["tiny.yaml"]}, "expects": "a law", "tolerance": "4 standard errors"}  # fmt: skip
    return Claim(**{**about, "judge": lambda rows: None, **more})


def figure(*extra, log_y=False):
    law = Curve(label="law: replace", x=GENERATIONS, y=[1.0, 0.5, 0.25, 0.125], law=True)
    measured = Curve(label="measured: replace", x=GENERATIONS, y=[1.1, 0.4, 0.3, 0.1], low=[1.0, 0.3, 0.2, -0.1], high=[1.2, 0.5, 0.4, 0.3])
    return generation_figure("variance", [law, measured, *extra], log_y=log_y)


def example_results():
    """A claim for every verdict. C2 has infinite and missing numbers, C3 can neither rule out its alternative nor clear its bound."""
    one = Estimate(0.5, 0.01, 2000)
    holds = JudgeOutput([check_equals("E s^2, generation 3", one, 0.51, alternative=0.9),
                     check_equals("E s^2, generation 1", one, 0.5), check_above("gain", one, 0.1)],
                    figure(Curve(label="its limit", x=[0, 3], y=[0.1, 0.1], law=True)), "A note.")  # fmt: skip
    few, nothing = Estimate(0.5, 0.01, 4, 3), Estimate(float("nan"), float("nan"), 9)
    fails = JudgeOutput([check_same("survival", Estimate(0.9, 0.0, 9), 1.0), check_equals("few chains, generation 3", few, 0.55),
                     check_equals("lost", nothing, 1.0), check_below("loss", one, 0.1)], figure(log_y=True))  # fmt: skip
    open_ = JudgeOutput([check_equals("E s^2", one, 0.51, alternative=0.52), check_above("gap", one, 0.505)], figure())
    hostile = JudgeOutput(
        [check_equals(HOSTILE, one, 0.5)],
        Figure(x=HOSTILE, y=HOSTILE, curves=[Curve(label=f"measured: {HOSTILE}", x=[1, 2], y=[1.0, 2.0])]),
        HOSTILE,
    )
    texts = {"statement": HOSTILE, "source": HOSTILE, "observable": HOSTILE, "expects": HOSTILE, "tolerance": HOSTILE, "needs": HOSTILE,
              "experiments": {HOSTILE: [HOSTILE, HOSTILE]}}  # fmt: skip
    return [
        reproduce.result_of(claim("C1"), holds),
        reproduce.result_of(claim("C2"), fails),
        reproduce.result_of(claim("C3"), open_),
        reproduce.result_of(claim("C4", needs="weights"), None, not_run="weights: not available"),
        reproduce.result_of(claim(f'C5 "{HOSTILE}', **texts), hostile),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with claims.json as `reproduce` writes it, and the report."""
    folder = tmp_path_factory.mktemp("claims")
    contradiction = Contradiction(
        question="Does it collapse?",
        sides=[("It does.", ["C1", "C2", "C4"]), (HOSTILE, ["C3", "C99"])],
        decided_by="What is measured.",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "contradictions", lambda: [contradiction])
        reproduce.write_results(example_results(), folder)
    write_claims_report(folder / "claims.json", folder / "report.html")
    return folder


def test_page_is_self_contained(folder):
    page = (folder / "report.html").read_text()
    own = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', own), "nothing is fetched"
    assert len(page) < 8_000_000
    for said in (
        "weights: not available",
        "Contradictions in the literature",
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
def test_browser_draws_every_chart_and_runs_no_foreign_script(browser):
    drawn = "return [document.querySelectorAll('.chart').length, document.querySelectorAll('.chart svg').length]"
    assert browser.execute_script(drawn) == [4 + 4 + 3, 4 + 4 + 3], "a figure for each of four claims, laws for four, bounds for three"
    assert browser.title != "owned"
    assert not [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]
    hostile = browser.execute_script("return [...document.querySelectorAll('section.claim h2')].at(-1).textContent")
    assert "<script>document.title" in hostile and "{{ 7 * 7 }}" in hostile
    assert browser.execute_script("return [...document.querySelectorAll('img')].length") == 0


@in_a_browser
def test_table_shows_verdicts_and_infinite_numbers(browser):
    rows = browser.execute_script("return [...document.querySelectorAll('table.verdicts tbody tr')].map((row) => row.innerText)")
    rows = [" ".join(row.split()) for row in rows]
    assert "✓ holds E s^2, generation 3 0.5 0.48 to 0.52 = 0.51 not 0.9 −1.00 3" in rows[0]
    assert "✗ fails survival 0.9 0.9 to 0.9 = 1 −∞ 1 of 4" in rows[1]
    assert "? inconclusive E s^2" in rows[2] and "not 0.52" in rows[2]
    assert "○ not run weights: not available" in rows[3]
    tally = " ".join(browser.execute_script("return document.querySelector('.tally').innerText").split())
    assert tally.startswith("✓ 2 hold ✗ 1 fails C2 ? 1 inconclusive C3 ○ 1 not run C4")
    table = browser.execute_script("return document.querySelector('#claim-C2 details table').textContent")
    assert "null" not in table and "NaN" not in table and "nan" not in table
    assert "null" not in browser.execute_script(
        "return [...document.querySelectorAll('.chart svg')].map((one) => one.textContent).join(' ')"
    )


@in_a_browser
def test_links_have_targets_and_untested_claims_no_link(browser):
    lost = """return [...document.querySelectorAll('a')].map((one) => decodeURIComponent(one.getAttribute('href').slice(1)))
              .filter((id) => !document.getElementById(id))"""
    assert browser.execute_script(lost) == []
    links = browser.execute_script("return [...document.querySelectorAll('.contradiction li')].map((one) => one.innerText.trim())")
    assert links == ["C1 ✓ holds", "C2 ✗ fails", "C4 ○ not run", "C3 ? inconclusive", "C99 not re-tested here"]
    assert browser.execute_script("return document.querySelectorAll('table.verdicts th a').length") == 5


@in_a_browser
def test_keyboard_switches_a_curve_off_in_one_figure_only(browser):
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
def test_tooltips_show_measurement_and_law(browser):
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
def test_csv_downloads_have_all_digits(browser, folder):
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
    assert pandas.isna(frames["checks"].z[3]) and frames["checks"].measured[3] == 0.9


@in_a_browser
def test_phone_needs_no_sideways_scrolling(browser):
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


# ---- charts -------------------------------------------------------------------------------------------------------


def read(folder):
    return {claim.id: claim for claim in ClaimsFile.read(folder / "claims.json").claims}


def data_of(chart):
    """The chart's own rows: of its tables the one with the most columns."""
    return max(chart["spec"]["datasets"].values(), key=lambda rows: len(rows[0]))


def test_grey_zone_is_the_tolerance_of_judges():
    assert check_charts.LAW == LAW_STANDARD_ERRORS


def test_law_and_measurements_share_a_colour_and_limits_are_grey(folder):
    series = {one.name: one for one in claim_charts.figure_chart(read(folder)["C1"])["series"]}
    assert list(series) == ["replace", "its limit"]
    assert series["replace"].line and series["replace"].shape and not series["replace"].dash
    assert series["its limit"].line and not series["its limit"].shape and series["its limit"].dash
    assert series["its limit"].colour != series["replace"].colour


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
def test_series_are_named_after_curve_labels(labels, names):
    generated = [Curve(label=label, x=[1], y=[1], law=not label.startswith(("measured", "accumulate"))) for label in labels]
    assert claim_charts.series_names(generated) == names


def test_points_outside_a_logarithmic_axis_are_counted(folder):
    found = read(folder)["C2"]
    chart = claim_charts.figure_chart(found)
    bars = {row["x"]: (row["low"], row["high"]) for row in data_of(chart) if row["kind"] == "measured"}
    assert bars[3] == (0.1, 0.3), "an interval below 0 ends at the smallest number of the figure"
    gone = found.figure.model_copy(update={"curves": [Curve(label="a", x=[1, 2, 3], y=[1.0, 0.0, None])]})
    chart = claim_charts.figure_chart(found.model_copy(update={"figure": gone}))
    assert len(data_of(chart)) == 1 and "points outside the axes, not drawn: 2" in chart["unit"]
    nothing = gone.model_copy(update={"curves": [Curve(label="a", x=[1], y=[None])]})
    assert claim_charts.figure_chart(found.model_copy(update={"figure": nothing})) is None


def test_law_holds_exactly_if_its_point_is_in_the_grey_zone():
    """Few chains are allowed more standard errors, infinitely many 4; on the axis all are held against 4."""
    for freedom in (3, 19, float("inf")):
        for distance in (0.0, 0.5, 3.9, 4.1, 5.0, 9.0, -20.0):
            check = check_equals("", Estimate(distance, 1.0, 4, freedom), 0.0)
            read_back = Check.model_validate_json(check.model_dump_json())
            assert (abs(read_back.normal_z) <= check_charts.LAW) == (check.verdict == "holds"), (freedom, distance)


def test_laws_of_one_number_share_a_row_and_far_points_are_pinned(folder):
    laws = check_charts.law_chart(read(folder)["C2"])
    rows = {row["row"]: row for row in data_of(laws)}
    assert list(rows) == ["survival", "few chains"], "what is no number has no place"
    assert rows["survival"]["place"] == -check_charts.LAW_AXIS_END and rows["survival"]["pin"] == "−∞"
    assert abs(rows["few chains"]["place"]) < check_charts.LAW < 5 == round(-read(folder)["C2"].checks[1].z)
    rows = data_of(check_charts.law_chart(read(folder)["C1"]))
    assert [row["row"] for row in rows] == ["E s^2", "E s^2"]


@pytest.mark.parametrize(
    ("generated", "clear"),
    [
        (check_above("", Estimate(0.5, 0.1, 9), 0.1), True),
        (check_below("", Estimate(-0.5, 0.1, 9), 0.0), True),
        (check_above("", Estimate(0.5, 0.1, 9), 0.4), False),
        (check_below("", Estimate(3000.0, 1.0, 9), 1.0), False),
    ],
)
def test_bound_holds_exactly_if_its_interval_is_right_of_it(generated, clear, folder):
    own = Check.model_validate_json(generated.model_dump_json())
    [row] = data_of(check_charts.bound_chart(read(folder)["C1"].model_copy(update={"checks": [own]})))
    assert (row["low"] > 0) == clear == (generated.verdict == "holds")
    assert row["low"] <= row["place"] <= row["high"] and max(abs(row["low"]), abs(row["high"])) == pytest.approx(1)


def test_bound_without_scatter_has_a_place():
    own = check_above("", Estimate(2.0, 0.0, 9), 2.0)
    assert check_charts._bound_place(own) == {"place": 0, "low": 0, "high": 0}


# ---- errors ----------------------------------------------------------------------------------------------------


def test_files_of_format_1_are_read(folder, tmp_path):
    """Format 1 has other field names; infinite distances are null in both."""
    raw = json.loads((folder / "claims.json").read_text())
    old = json.loads(json.dumps(raw))
    for one in old["claims"]:
        one["says"], one["picture"] = one.pop("statement"), one.pop("figure")
        for check in [*one["checks"], *([one["headline"]] if one["headline"] else [])]:
            for present, former in (("label", "about"), ("alternative", "rival"), ("alternative_z", "rival_z"), ("half_width", "reach")):
                check[former] = check.pop(present)
    for one in old["contradictions"]:
        one["says"] = one.pop("question")
    (tmp_path / "claims.json").write_text(json.dumps({**old, "format": 1}))
    present, former = (ClaimsFile.read(path / "claims.json") for path in (folder, tmp_path))
    assert former.model_dump_json(exclude={"format"}) == present.model_dump_json(exclude={"format"})
    assert present.claims[1].checks[0].z == former.claims[1].checks[0].z == float("-inf")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory; run `autophagy reproduce` to create it"),
        ("", "not a claims file of `autophagy reproduce`: Invalid JSON"),
        ('{"claims": []}', "format: Field required"),
        ('{"format": 99, "claims": []}', "format: format 99 is not supported; this version of autophagy reads formats 1 and 2"),
        ('{"format": 1, "claims": [{"id": "C1"}]}', "claims.0.statement: Field required"),
        ("[]", "not a claims file of `autophagy reproduce`: Input should be"),
    ],
)
def test_missing_or_broken_file_is_one_clear_error(content, said, tmp_path):
    if content is not None:
        (tmp_path / "claims.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(said)) as told:
        write_claims_report(tmp_path / "claims.json", tmp_path / "report.html")
    assert str(tmp_path / "claims.json") in str(told.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["claims"].append(one["claims"][0]), "claims: claim 'C1' appears 2 times; each claim may appear once"),
        (lambda one: one["claims"][0].update(checks=[]), "claims.0: the verdict is 'holds' but there are no checks"),
        (lambda one: one["claims"][0]["figure"]["curves"][0]["y"].pop(), "x, y, low and high of 'law: replace' have lengths [4, 3]"),
        (lambda one: one["claims"][0].update(verdict="true"), "claims.0.verdict: Input should be 'holds', 'fails', 'inconclusive' or"),
        (lambda one: one["claims"][0]["checks"][0].update(z="far"), "claims.0.checks.0.z: Input should be a valid number"),
    ],
)
def test_inconsistent_files_are_refused(change, said, folder, tmp_path):
    content = json.loads((folder / "claims.json").read_text())
    change(content)
    (tmp_path / "claims.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(said)):
        ClaimsFile.read(tmp_path / "claims.json")


def test_report_command_takes_one_folder_of_claims(folder, tmp_path):
    assert autophagy("report", folder, "-o", tmp_path / "again.html").exit_code == 0
    assert (tmp_path / "again.html").read_text() == (folder / "report.html").read_text()
    for words, said in (
        ((folder, tmp_path), f"{folder} contains claims.json, but {tmp_path} does not; make separate reports of claims and of runs"),
        ((tmp_path, folder), f"{folder} contains claims.json, but {tmp_path} does not"),
        ((folder, folder), "2 folders contain claims.json"),
    ):
        result = autophagy("report", *words, "-o", tmp_path / "none.html")
        assert result.exit_code == 2 and said in result.stderr.replace("\n", " ")
    assert not (tmp_path / "none.html").exists()
