"""Which folder may import which, and what importing the package may cost."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from support.tiny import ROOT

ROOMS = ("analytic", "text", "vision")
FORBIDDEN = {"common": {*ROOMS, "claims"}, **{room: {*ROOMS, "claims"} - {room} for room in ROOMS}}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_common_knows_no_track_and_tracks_do_not_know_each_other(folder):
    for path in (ROOT / folder).rglob("*.py"):
        depth = len(path.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                top = (node.module or "").split(".")[0]
                if node.level == depth + 1 or top == "autophagy":
                    assert not {*(node.module or "").split(".")} & FORBIDDEN[folder], f"{path}:{node.lineno}"


def test_the_report_does_not_know_the_engine():
    for path in (ROOT / "common").rglob("*.py"):
        if path.parent.name != "report" and path.name != "cli.py":
            assert ".report" not in path.read_text(), f"{path} knows of the report"
    for path in (ROOT / "common" / "report").rglob("*.py"):
        for engine in ("chain", "lab", "sweep", "store", "generator", "policies", "metrics"):
            assert f"from ..{engine}" not in path.read_text(), path


@pytest.mark.parametrize(
    "code", ["import autophagy.common.cli.main", "import autophagy; autophagy.write_report", "import autophagy; autophagy.load_config"]
)
def test_what_only_reads_imports_no_torch(code):
    code += "; import sys; assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
