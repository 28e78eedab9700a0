"""Every public name can be imported, and type checkers see the same names."""

from __future__ import annotations

import ast

import autophagy
from support.tiny import ROOT


def test_every_public_name_can_be_imported():
    for name in autophagy.__all__:
        assert getattr(autophagy, name) is not None
    assert dir(autophagy) == sorted(autophagy.__all__)


def test_type_checkers_see_the_public_names():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    imported = {
        alias.asname: f".{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert imported == autophagy._MODULES
