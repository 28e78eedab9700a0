"""Ledgers: what runs that are not finished have used of a store, so that `gc` leaves it to them.

A run writes down every key before it looks for it, in `<store>/unfinished/<name>.<digest of the experiment>`. When it is done, and its
folder names all it used, the ledger goes; that of a killed run stays until the same command has gone on to the end.
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
    """The keys that a run which is not finished has used."""

    path: Path

    @classmethod
    def of(cls, name: str, config: str, *, store: Path) -> Ledger:
        """The ledger of the experiment `name` whose complete YAML is `config`."""
        return cls(Path(store) / FOLDER / f"{name}.{sha256_of(config.encode())[:16]}")

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.path.name.rpartition(".")[0]

    def note(self, key: str) -> None:
        """Write a key down. Who may only read a store leaves nothing in it, and no ledger."""
        if not self._writable:
            return
        try:
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("a") as file:  # one short write at the end of the file, which no other process can split
                file.write(f"{key}\n")
        except OSError as error:
            raise UserError(f"--store: {self.path} cannot be written: {error.strerror}") from error

    def noted(self) -> set[str]:
        """What it holds; a line that a power cut left incomplete names nothing."""
        try:
            return set(re.findall(r"^[0-9a-f]{64}$", self.path.read_text(encoding="ascii", errors="replace"), re.MULTILINE))
        except FileNotFoundError:
            return set()

    def close(self) -> None:
        """The run is finished."""
        if self._writable:
            self.path.unlink(missing_ok=True)

    @property
    def _writable(self) -> bool:
        return os.access(self.path.parent.parent, os.W_OK)


def ledgers(store: Path) -> list[Ledger]:
    """Those of all runs that are not finished."""
    folder = store / FOLDER
    return [Ledger(path) for path in sorted(folder.iterdir())] if folder.is_dir() else []
