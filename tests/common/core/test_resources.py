"""Limits of the machine: what counts as a machine fault, and the limit on data."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
from autophagy import UserError
from autophagy.common.core.resources import cause_chain, check_memory, free_disk, machine_fault


class LibraryError(Exception):
    """Stands for an error type of safetensors, pyarrow or torch."""


def test_machine_faults_get_a_message():
    assert machine_fault(MemoryError()) == "out of memory"
    assert machine_fault(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore")) == (
        "out of memory: CUDA out of memory. Tried to allocate 2 GiB"
    )
    assert machine_fault(OSError(24, "Too many open files", "/a/file")) == "/a/file: Too many open files"
    assert machine_fault(LibraryError("I/O error: No space left on device (os error 28)")) == (
        "No space left on device: LibraryError: I/O error: No space left on device (os error 28)"
    )


def test_machine_faults_are_found_among_the_causes():
    error = LibraryError("could not save")
    error.__cause__ = PermissionError(13, "Permission denied", "/a/file")
    assert machine_fault(error) == "/a/file: Permission denied"


def test_mistakes_in_code_are_no_machine_faults():
    assert machine_fault(ValueError("a mistake")) is None
    assert machine_fault(FileNotFoundError(2, "No such file or directory", "x")) is None


def test_cause_chain_ends_even_if_it_is_circular():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert list(cause_chain(first)) == [first, second]


def test_data_may_take_a_quarter_of_the_memory(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * 10**9))
    check_memory(2 * 10**9, what="data")
    with pytest.raises(UserError, match=r"data: x would take 2,001 MB; .* may take 2,000 MB on this machine \(25% of its memory\)"):
        check_memory(2_001_000_000, what="data: x")


def test_free_disk_of_a_folder_that_does_not_exist_yet(tmp_path):
    assert free_disk(tmp_path / "not" / "yet") > 0
