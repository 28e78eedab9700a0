"""The results as a file in JSON and as a table in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .row import GIBIBYTE, Line, Ratio

HEADER = (
    "| row | here | rival | ratio (range) | target | | share of the limit | peak memory here / rival |\n|---|---|---|---|---|---|---|---|"
)


def table(lines: Sequence[Line]) -> str:
    """Return lines as a table in Markdown."""
    return "\n".join([HEADER, *map(table_line, lines)])


def table_line(line: Line) -> str:
    ratio = "" if line.ratio is None else f"**{line.ratio.median:.2f}x** ({line.ratio.low:.2f} to {line.ratio.high:.2f})"
    verdict = line.problem or {None: "", True: "met", False: "**missed**"}[line.met]
    share = "" if line.share is None else f"{line.share:.0%} ({line.limit})"
    memory = " / ".join(f"{size / GIBIBYTE:.1f} GiB" for size in (line.memory, line.rival_memory) if size)
    rival = f"{line.rival} {amount(line.rival_value, line.unit)}".strip()
    cells = [line.row, amount(line.ours, line.unit), rival, ratio, line.target, verdict, share, memory]
    return "| " + " | ".join(cells) + " |"


def amount(value: float | None, unit: str) -> str:
    """Format a value with three digits and its unit."""
    if value is None:
        return ""
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def machine_text(machine: Mapping[str, Any], limits: Mapping[str, float]) -> str:
    """Describe the machine and its limits in one paragraph."""
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "transformers", "diffusers", "numpy"))
    rates = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in limits.items() if name != "memory")
    cores = f"{machine['cores']} cores, {machine['memory']}"
    return f"Machine: {machine['processor']}, {cores}; {versions}. Limits: {rates}; copying {limits['memory'] / 1e9:,.0f} GB/s."


class Results:
    """The results of a device, kept in a file if there is one. Results of another machine in the file are dropped."""

    def __init__(self, device: str, machine: Mapping[str, Any], limits: Mapping[str, float], path: Path | None):
        self.device, self.machine, self.limits, self.path = device, machine, limits, path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path is not None and path.exists() else {}
        earlier = self.content.get(device, {})
        same = earlier.get("machine") == dict(machine)
        self.lines: list[Line] = [line_from_json(line) for line in earlier.get("lines", [])] if same else []

    def add(self, lines: Sequence[Line]) -> None:
        """Add the lines of a row in place of its earlier lines, and write the file."""
        title = lines[0].row
        position = next((place for place, line in enumerate(self.lines) if line.row == title), len(self.lines))
        others = [line for line in self.lines if line.row != title]
        self.lines = [*others[:position], *lines, *others[position:]]
        lines_as_json = [asdict(line) for line in self.lines]
        self.put(self.device, {"machine": dict(self.machine), "limits": dict(self.limits), "lines": lines_as_json})

    def put(self, key: str, value: object) -> None:
        """Set an entry of the file, and write it."""
        self.content[key] = value
        if self.path is not None:
            self.path.write_text(json.dumps(self.content, indent=1) + "\n")

    def markdown(self) -> str:
        return f"{machine_text(self.machine, self.limits)}\n\n{table(self.lines)}"


def line_from_json(values: dict[str, Any]) -> Line:
    ratio = values["ratio"] and Ratio(**values["ratio"])
    return Line(**{**values, "ratio": ratio})


def insert(path: Path, name: str, text: str) -> None:
    """Replace the text between the markers `<!-- bench:name -->` and `<!-- /bench:name -->` in a file. ValueError without markers."""
    content = path.read_text()
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    if start not in content or end not in content:
        raise ValueError(f"{path} has no lines '{start}' and '{end}'; add them where the table belongs")
    before, after = content.split(start)[0], content.split(end)[1]
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")
