"""Calls the `autophagy` command from tests."""

from __future__ import annotations

import os
import subprocess
import sys

from autophagy.common.cli import main as cli
from typer.testing import CliRunner

from support.tiny import ROOT


def autophagy(*words, catch_exceptions=False):
    """The command inside the test process. Unexpected exceptions are raised unless `catch_exceptions`."""
    return CliRunner().invoke(cli.app, [str(word) for word in words], catch_exceptions=catch_exceptions)


def autophagy_process(*words, prefix=(), env=None, timeout=300, **options):
    """The command as a process of its own, after the words `prefix` (such as `nice`), with `env` added to the environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), **(env or {})}
    command = [*prefix, sys.executable, "-m", "autophagy", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, **options)
