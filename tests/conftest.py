"""Fixtures that several tests need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a network
os.environ["OMP_NUM_THREADS"] = "1"  # two test processes with a thread each beat one with two


@pytest.fixture
def write_config(tmp_path):
    """Writes an experiment as a YAML file and gives its path."""

    def write(experiment: dict) -> Path:
        path = tmp_path / f"{experiment['name']}.yaml"
        path.write_text(yaml.safe_dump(experiment))
        return path

    return write
