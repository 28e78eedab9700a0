"""Calls the `autophagy` command from tests."""

from __future__ import annotations

import os
import subprocess
import sys

from autophagy.common.cli import main as cli
from typer.testing import CliRunner

from support.tiny import ROOT


def autophagy(*words, catch_exceptions=False):
    """Run the command inside the test process. Raises unexpected exceptions unless `catch_exceptions` is true."""
    return CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=catch_exceptions)


def autophagy_process(*words, prefix=(), env=None, timeout=300, **options):
    """Run the command in a new process. `prefix`: words before the command, such as `nice`. `env`: added environment variables."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), **(env or {})}
    command = [*prefix, sys.executable, "-m", "autophagy", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, **options)
