"""Ledgers: the keys that unfinished runs have used, so that garbage collection keeps their artifacts.

A run adds each key before it looks up the artifact, in `<store>/unfinished/<name>.<digest of the config>`. When the run has finished
and its `provenance.json` lists its artifacts, the ledger is deleted. The ledger of a killed run stays until the same command finishes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..core.canonical_json import sha256_of
from ..core.errors import UserError

FOLDER = "unfinished"


@dataclass(frozen=True)
class Ledger:
    """The keys that an unfinished run has used."""

    path: Path

    @classmethod
    def of(cls, name: str, config: str, *, store: Path) -> Ledger:
        """The ledger of the experiment `name` whose complete YAML is `config`."""
        return cls(Path(store) / FOLDER / f"{name}.{sha256_of(config.encode())[:16]}")

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.path.name.rpartition(".")[0]

    def add(self, key: str) -> None:
        """Add a key. Does nothing if the store is read-only. Raises UserError if the file cannot be written."""
        if not self._store_is_writable:
            return
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("a") as file:  # one short append, which other processes cannot interleave with
                file.write(f"{key}\n")
        except OSError as error:
            raise UserError(f"--store: {self.path} cannot be written: {error.strerror}") from error

    def keys(self) -> set[str]:
        """The keys in the ledger. Ignores a line that a power cut left incomplete."""
        try:
            return set(re.findall(r"^[0-9a-f]{64}$", self.path.read_text(encoding="ascii", errors="replace"), re.MULTILINE))
        except FileNotFoundError:
            return set()

    def close(self) -> None:
        """Delete the ledger, because the run has finished."""
        if self._store_is_writable:
            self.path.unlink(missing_ok=True)

    @property
    def _store_is_writable(self) -> bool:
        return os.access(self.path.parent.parent, os.W_OK)


def open_ledgers(store: Path) -> list[Ledger]:
    """The ledgers of all unfinished runs."""
    folder = store / FOLDER
    return [Ledger(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
