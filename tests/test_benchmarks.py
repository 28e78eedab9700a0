"""Every row of `scripts/bench.py` runs at a tiny size, and the table follows from the timings."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks import growth, report
from benchmarks.engine import mean_use
from benchmarks.processes import compare, sides_of, timed
from benchmarks.row import Cost, Line, Ratio, Rival, Row, SideResult, Task, Timing, lines_of
from benchmarks.rows import ROWS
from support.benchmark_sides import count_to_ten, failing_run, missing_package
from support.tiny import ROOT


def side(*seconds: float, count: float = 1.0, memory: int = 0) -> SideResult:
    return SideResult([Timing(one, count) for one in seconds], memory)


def row(**changes: object) -> Row:
    return replace(Row("a", "b", "tokens/s", ours=count_to_ten, settings=None, tiny=None), **changes)  # type: ignore[arg-type]


# ---- numbers ------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_the_ratios_of_neighbouring_runs():
    ours, rival = side(1, 2, 4), side(3, 4, 20)  # ratios 3, 2 and 5
    assert Ratio.of(ours, rival) == Ratio(3, 2, 5)


def test_a_ratio_compares_rates_if_the_sides_do_different_amounts_of_work():
    assert Ratio.of(side(2, count=10), side(1, count=1)).median == 5


def test_counts_of_numpy_can_be_written_as_json():
    timing = timed(Task(lambda: np.ones(3), np.sum))
    assert json.loads(json.dumps([timing.count, timing.value("tokens/s") > 0])) == [3.0, True]


@pytest.mark.parametrize(("unit", "value"), [("s", 2.0), ("tokens/s", 5.0), ("%", 10.0)])
def test_the_unit_determines_the_value_of_a_timing(unit, value):
    assert Timing(2.0, 10.0).value(unit) == value


def test_a_target_is_met_if_the_median_ratio_reaches_it():
    rivals = [Rival("slow", missing_package, 3), Rival("fast", missing_package, 3.01), Rival("no target", missing_package)]
    results = {
        "ours": side(1, 1, 1, count=10),
        "slow": side(3, 9, 1, count=10),
        "fast": side(3, 9, 1, count=10),
        "no target": side(1, 1, 1),
    }
    lines = lines_of(row(rivals=rivals), results, {})
    assert [(line.rival, line.target, line.met) for line in lines] == [
        ("slow", "≥ 3x", True), ("fast", "≥ 3.01x", False), ("no target", "", None),
    ]  # fmt: skip


def test_targets_of_this_package_alone_have_a_line_of_their_own():
    one = row(unit="s", at_most=15, memory_at_most=2 * 2**30, rivals=[Rival("other", missing_package)])
    fits, too_large = (lines_of(one, {"ours": side(14, memory=n), "other": side(28)}, {}) for n in (2**30, 3 * 2**30))
    assert (fits[0].target, fits[0].met, too_large[0].met) == ("≤ 15 s, ≤ 2 GiB", True, False)
    assert fits[1].ratio == Ratio(2, 2, 2)


def test_the_limit_with_the_longer_time_applies():
    one = row(cost=lambda settings: Cost(operations=100, bytes=30))
    limits = {"float32": 1000.0, "memory": 100.0}  # 0.1 s and 0.3 s per unit
    line = lines_of(one, {"ours": side(6, count=10)}, limits)[0]
    assert (line.limit, line.share) == ("memory", pytest.approx(0.5))


def test_the_slope_of_a_power_is_its_exponent():
    x = [1.0, 2.0, 4.0, 8.0]
    assert growth.slope(x, [3 * value**2 for value in x]) == pytest.approx(2)
    points = [growth.Point("replace", axis, value, value**1.5, int(2**20 * value)) for axis in ("rows", "chains") for value in x]
    assert growth.table(points).splitlines()[2] == "| replace |  | **1.50**, 1.00 | **1.50**, 1.00 |  |"


def test_gpu_use_counts_only_fits_and_samples():
    activities = [(0.0, "start"), (1.0, "fit"), (2.0, "measure"), (3.0, "sample")]
    assert mean_use([(0.5, 0), (1.5, 90), (2.5, 0), (3.5, 70)], activities) == 80
    with pytest.raises(ValueError, match="nvidia-smi gave no sample during a fit or while sampling"):
        mean_use([(0.5, 0)], activities)


# ---- table --------------------------------------------------------------------------------------------------------

LINE = Line("lm: small", "tokens/s", 12345.6, "generate", 4115.2, Ratio(3, 2.5, 3.5), "≥ 3x", True, "matrix", 0.4, 2**30, 2**31)


def test_a_line_of_the_table_has_all_numbers():
    assert report.table_line(LINE) == (
        "| lm: small | 12,346 tokens/s | generate 4,115 tokens/s | **3.00x** (2.50 to 3.50) | ≥ 3x | met | 40% (matrix) "
        "| 1.0 GiB / 2.0 GiB |"
    )


def test_results_keep_other_rows_and_drop_those_of_another_machine(tmp_path):
    path, limits = tmp_path / "results.json", {"float32": 1e9, "memory": 1e9}
    report.Results("cpu", {"cores": 2}, limits, path).add([LINE])
    again = report.Results("cpu", {"cores": 2}, limits, path)
    again.add([replace(LINE, row="other")])
    again.add([replace(LINE, met=False)])
    assert [(line.row, line.met) for line in again.lines] == [("lm: small", False), ("other", True)]
    assert report.Results("cpu", {"cores": 2}, limits, path).lines == again.lines
    assert report.Results("cpu", {"cores": 4}, limits, path).lines == []
    assert set(json.loads(path.read_text())) == {"cpu"}


def test_the_markers_in_a_file_stay(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- bench:cpu -->\nold\n<!-- /bench:cpu -->\nafter\n")
    for text in ("new", "newer"):
        report.insert(path, "cpu", text)
    assert path.read_text() == "before\n<!-- bench:cpu -->\nnewer\n<!-- /bench:cpu -->\nafter\n"
    with pytest.raises(ValueError, match=r"page\.md has no lines '<!-- bench:cuda -->' and '<!-- /bench:cuda -->'"):
        report.insert(path, "cuda", "text")


def test_the_page_has_a_place_for_each_table(tmp_path):
    path = tmp_path / "performance.md"
    path.write_text((ROOT / "docs" / "performance.md").read_text())
    for name in ("cpu", "cuda", "growth"):
        report.insert(path, name, "table")


OPTIONAL_RIVALS = {"prdc": "prdc", "mauve-text": "mauve"}
"""Rivals that are no dependencies of this package, and their modules."""

# ---- running ------------------------------------------------------------------------------------------------------


def test_sides_run_in_turn_and_a_failed_side_does_not_stop_the_others():
    rivals = [Rival("missing", missing_package), Rival("broken", failing_run)]
    steps: list[str] = []
    results = compare(row(rivals=rivals), pairs=2, tell=steps.append)
    assert steps == ["preparation", "warm-up", "run 1 of 2", "run 2 of 2"]
    assert [timing.count for timing in results["ours"].timings] == [10, 10] and results["ours"].memory > 2**20
    assert results["missing"].problem == "rival is not installed"
    assert results["broken"].problem == "ZeroDivisionError: division by zero"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # torchmetrics warns about the memory of KID
@pytest.mark.parametrize("one", [row for row in ROWS if row.device == "cpu"], ids=lambda row: row.title)
def test_every_row_runs_at_a_tiny_size(one, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPHAGY_DEVICE", "cpu")
    if one.files is not None:
        one.files(one.tiny, tmp_path)
    for name, prepare in sides_of(one).items():
        if name in OPTIONAL_RIVALS and importlib.util.find_spec(OPTIONAL_RIVALS[name]) is None:
            continue
        task = prepare(one.tiny, tmp_path)
        assert task.count(task.run()) > 0
    if one.cost is not None:
        assert one.cost(one.settings).operations > 0
