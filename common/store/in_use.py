"""Ledgers: files with the keys that unfinished runs have used. Garbage collection keeps the artifacts of these keys.

The path of a ledger is `<store>/unfinished/<name>.<digest of the config>`. A run adds each key before it looks up the artifact. A finished
run lists its artifacts in `provenance.json` and deletes its ledger. The ledger of a killed run stays until the same command finishes.
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
    """The ledger of one unfinished run."""

    path: Path

    @classmethod
    def of(cls, name: str, config: str, *, store: Path) -> Ledger:
        """Return the ledger of an experiment. `name`: name of the experiment. `config`: its complete YAML."""
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
            with self.path.open("a") as file:  # a short append is atomic between processes
                file.write(f"{key}\n")
        except OSError as error:
            raise UserError(f"--store: {self.path} cannot be written: {error.strerror}") from error

    def keys(self) -> set[str]:
        """Read the keys in the ledger. Ignores incomplete lines, which a power cut can leave."""
        try:
            return set(re.findall(r"^[0-9a-f]{64}$", self.path.read_text(encoding="ascii", errors="replace"), re.MULTILINE))
        except FileNotFoundError:
            return set()

    def close(self) -> None:
        """Delete the ledger after the run has finished."""
        if self._store_is_writable:
            self.path.unlink(missing_ok=True)

    @property
    def _store_is_writable(self) -> bool:
        return os.access(self.path.parent.parent, os.W_OK)


def open_ledgers(store: Path) -> list[Ledger]:
    """Return the ledgers of all unfinished runs."""
    folder = store / FOLDER
    return [Ledger(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
