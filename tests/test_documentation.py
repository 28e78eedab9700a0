"""The documentation matches the code: links lead to files, shown commands exist, and the example components work."""

from __future__ import annotations

import re
import sys

import numpy as np
import pandas
import pytest
import yaml
from autophagy import load_config, run
from autophagy.common.cli import main as cli
from autophagy.common.components.generator_checks import check
from autophagy.common.config.registry import registered
from autophagy.common.config.renames import PROMPTS, RENAMED_ARM_KEYS, RENAMED_COMPONENTS, RENAMED_EXPERIMENT_KEYS, RENAMED_SETTINGS
from autophagy.common.core.pool import Pool
from support.tiny import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
EXAMPLES = ROOT / "docs" / "examples"
MAX_LINES, MAX_COLUMNS = 150, 120


def code_blocks(page, *languages):
    return "\n".join(re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", page.read_text(), flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_named_files_exist(page):
    names = re.findall(r"(?<![\w/.])((?:configs|scripts|tests|docs|common|analytic|text|vision|claims)/[\w./-]*\w)", page.read_text())
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: page.name)
def test_shown_commands_exist(page):
    commands = {command.name or command.callback.__name__.rstrip("_") for command in cli.app.registered_commands}
    shown = set(re.findall(r"^autophagy (?!--)([\w-]+)", code_blocks(page, "sh"), flags=re.MULTILINE))
    assert shown <= commands


def test_readme_names_existing_tests():
    names = re.findall(r"`([\w/]+/test_\w+\.py)`", (ROOT / "README.md").read_text())
    assert [name for name in names if not ((ROOT / "tests" / "common" / name).exists() or (ROOT / name).exists())] == []


def test_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= MAX_LINES
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


def test_configs_in_readme_are_valid():
    for line in re.findall(r"^autophagy run (.*?)(?:\s+#.*)?$", code_blocks(ROOT / "README.md", "sh"), flags=re.MULTILINE):
        file, *changes = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line) if not word.startswith("--")]
        if (ROOT / file).exists():
            load_config(ROOT / file, changes)


def test_changelog_lists_every_renamed_key():
    text = (ROOT / "CHANGELOG.md").read_text()
    pairs = [*RENAMED_EXPERIMENT_KEYS.items(), *RENAMED_ARM_KEYS.items(), *PROMPTS.items()]
    pairs += [pair for names in RENAMED_COMPONENTS.values() for pair in names.items()]
    pairs += [(setting.old, setting.new) for settings in RENAMED_SETTINGS.values() for setting in settings]
    missing = [(old, new) for old, new in pairs if not re.search(rf"\| `{re.escape(old)}`.*\| `{re.escape(new)}`", text)]
    assert missing == []


def test_versions_agree():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"$', project, flags=re.MULTILINE)[1]
    assert f'__version__ = "{version}"' in (ROOT / "__init__.py").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(("kind", "page"), [("policy", "regimes"), ("curation", "regimes"), ("features", "metrics")])
def test_guides_name_every_component(kind, page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert [name for name in registered(kind) if f"`{name}`" not in text] == []


# ---- example components -----------------------------------------------------------------------------------------------


@pytest.fixture
def in_examples(monkeypatch):
    """Run as from the folder of the examples."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [*sys.path, str(EXAMPLES)])


def test_example_experiment_runs(in_examples, tmp_path):
    rows = run(load_config("my_experiment.yaml", ["generations=2", "seeds=[0]"]), store=tmp_path, workers=1)
    assert isinstance(rows, pandas.DataFrame)
    assert {"range", "frechet_distance"} <= set(rows.metric)
    assert set(rows.policy) == {"replace", "alternate", "trimmed", "real"}


def test_example_generator_keeps_its_contract(in_examples):
    from my_components import SmoothedBootstrap

    check(SmoothedBootstrap, Pool.of(x=np.random.default_rng(0).standard_normal((20, 3))).note(generation=-1))
