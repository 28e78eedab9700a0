"""Fixtures that several test modules use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may use the network
os.environ["OMP_NUM_THREADS"] = "1"  # two test processes with one thread each are faster than one with two


@pytest.fixture
def write_config(tmp_path):
    """Function that writes an experiment to a YAML file and returns its path."""

    def write(experiment: dict) -> Path:
        path = tmp_path / f"{experiment['name']}.yaml"
        path.write_text(yaml.safe_dump(experiment))
        return path

    return write
