"""Imports between packages go in one direction, and commands import no heavy library that they do not need."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.tiny import ANALYTIC, ROOT, TEXT, VISION

COMMON = ("core", "components", "config", "store", "training", "loop", "execution", "replication", "analysis", "report", "cli")
"""The packages of `common` in import order: each may import only those before it."""
TRACKS = ("analytic", "text", "vision")
READS_RESULTS_ONLY = {"analysis", "report"}
ENGINE = {"components", "training", "loop", "execution"}
"""Packages that produce results. Analysis and reports read files and must not import them."""


def package_of(parts: tuple[str, ...]) -> str:
    """`common.loop` for a module below common/loop, else the name of the top folder."""
    return ".".join(parts[:2]) if parts[0] == "common" and len(parts) > 1 else parts[0]


def imported_packages(path: Path) -> set[str]:
    """The packages of this project that a module imports, wherever in the file."""
    module = path.relative_to(ROOT).with_suffix("").parts
    package = module[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                target = (*base, *(node.module.split(".") if node.module else ()))
            elif (node.module or "").split(".")[0] == "autophagy":
                target = tuple(node.module.split(".")[1:])
            else:
                continue
            targets = [target] if len(target) > 1 or (target and target[0] != "common") else [(*target, alias.name) for alias in node.names]
            names |= {package_of(one) for one in targets if one}
    return names - {package_of(module)}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("name", COMMON)
def test_packages_of_common_import_only_earlier_ones(name):
    allowed = {f"common.{earlier}" for earlier in COMMON[: COMMON.index(name)]}
    for path in modules(f"common/{name}"):
        assert imported_packages(path) <= allowed, path


@pytest.mark.parametrize("track", TRACKS)
def test_tracks_import_common_only(track):
    for path in modules(track):
        assert all(package.startswith("common.") for package in imported_packages(path)), path


@pytest.mark.parametrize("name", sorted(READS_RESULTS_ONLY))
def test_analysis_and_reports_do_not_import_the_engine(name):
    for path in modules(f"common/{name}"):
        assert not imported_packages(path) & {f"common.{engine}" for engine in ENGINE}, path


def test_only_the_command_line_knows_the_reports():
    for name in set(COMMON) - {"report", "cli"}:
        for path in modules(f"common/{name}"):
            assert "common.report" not in imported_packages(path), path


# ---- what commands import ---------------------------------------------------------------------------------------------

HEAVY = ("torch", "transformers", "diffusers", "torchvision", "torchmetrics", "sklearn", "datasets", "altair", "scipy.stats")
"""Libraries that take a second or more to import."""


def imported_by(*words: object, code: str = "from autophagy.__main__ import main; main()", status: int = 0) -> set[str]:
    """The heavy libraries that a command has imported when it ends, in a process of its own."""
    script = (
        "import atexit, json, sys\n"
        f"atexit.register(lambda: print('\\n' + json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr))\n"
        f"sys.argv = ['autophagy', *{list(map(str, words))!r}]\n{code}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stderr.strip().splitlines()[-1]))


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["list", "metrics"], ["list", "generators"]], ids=" ".join)
def test_help_and_lists_import_no_heavy_library(words):
    assert imported_by(*words) == set()


@pytest.mark.parametrize(
    "code",
    [
        "import autophagy; autophagy.write_report",
        "import autophagy; autophagy.load_config",
        "import autophagy; autophagy.run",
        "import autophagy.common.report.runs.report, autophagy.common.report.claims.report",
    ],
)
def test_the_public_api_imports_no_heavy_library(code):
    assert imported_by(code=code) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"generatons": 3},
        {"eval_size": 10**6},
        {"policies": ["replase"]},
        {"metrics": ["frechet", "frechet"]},
        {"labels": "conditional", "prompts": "real"},
    ],
    ids=str,
)
@pytest.mark.parametrize("config", [TEXT, VISION], ids=["text", "vision"])
def test_invalid_configs_are_rejected_without_heavy_libraries(config, change, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**config, **change}))
    assert imported_by("run", path, status=2) == set()


@pytest.mark.slow
@pytest.mark.parametrize("config", [ANALYTIC, TEXT, VISION], ids=["analytic", "text", "vision"])
def test_a_finished_run_starts_no_worker_and_imports_no_heavy_library(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**config, "generations": 1, "seeds": [0]}))
    words = ["run", path, "--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", 2]
    imported_by(*words)
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    no_workers = (
        "from autophagy.common.execution import scheduler\n"
        "def executor(*_): raise AssertionError('a worker was started')\n"
        "scheduler.executor = executor\n"
        "from autophagy.__main__ import main; main()"
    )
    assert imported_by(*words, code=no_workers) == set()
    assert before == {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
