"""Soak test: applies random faults to real runs for a given time. Usage: `python tests/support/soak.py --minutes 30`.

    undisturbed runs ──► the rows that every later run must reproduce
    round:  concurrent runs on one store that are killed at random, while files are damaged and `verify` and `gc` run
            kill all runs; damage more artifacts ──► `verify` names exactly the damaged ones
            run the same commands undisturbed ──► the same rows; `gc`, then the same commands ──► nothing is rebuilt

The test stops with exit code 1 at the first violation and keeps the folder for inspection.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas
import typer
import yaml
from autophagy.common.store.cache import ArtifactMissing
from tiny import TINY_LLAMA  # the folder of a script is on the import path

GAUSSIAN = {
    "generations": 30, "size": 10, "eval_size": 10, "data": {"use": "gaussian", "rows": 20, "replicates": 50}, "generator": "gaussian",
    "seeds": [0, 1], "policies": ["replace", "accumulate", "real"], "metrics": ["moments"],
}  # fmt: skip
TEXT = {
    "generations": 6, "size": 60, "eval_size": 30, "data": {"use": "bible", "words": 12}, "seeds": [0, 1],
    "policies": ["replace", "accumulate", "real"], "metrics": ["perplexity", "distinct", "vocabulary"],
}  # fmt: skip
LLAMA = {
    "use": "causal-lm", "context": 16, "prompt_tokens": 3, "vocabulary": 300, "architecture": TINY_LLAMA,
    "training": {"steps": 20, "batch": 8},
}  # fmt: skip
VAE = {
    "generations": 6, "size": 60, "eval_size": 30, "data": "digits", "seeds": [0, 1],
    "generator": {"use": "vae", "latent": 2, "hidden": 16, "training": {"steps": 30, "batch": 16}},
    "features": {"use": "classifier", "features": 8, "training": {"steps": 10}}, "policies": ["replace", "accumulate", "real"],
    "metrics": ["frechet", "classes", "pixel-variance"],
}  # fmt: skip
EXPERIMENTS: Mapping[str, Mapping] = {
    "gaussian": GAUSSIAN,
    "gaussian-again": {**GAUSSIAN, "generations": 40, "policies": ["accumulate", "replace"]},
    "ngram": {**TEXT, "generator": {"use": "ngram", "vocabulary": 300, "context": 16, "prompt_tokens": 3}},
    "llama": {**TEXT, "generator": LLAMA, "base": {"training": {"steps": 20}}, "policies": ["replace", "accumulate"]},
    "vae": VAE,
    "vae-again": {**VAE, "seeds": [1, 2], "policies": ["real", "replace"]},
}
"""Experiments that partly share seeds, policies and generations, so that concurrent processes need the same artifacts."""
KEPT = "gaussian"
"""The run that `gc` keeps."""
ROUND_SECONDS = 200
MISSING = str(ArtifactMissing("#")).partition("#")[2][:40]
"""Part of the error message of a run that lost the same artifact twice. Exit code 2 is allowed in this case."""


class Violation(Exception):
    """A guarantee of the store or of the loop is violated."""


def expect(holds: bool, message: str) -> None:
    if not holds:
        raise Violation(message)


# ---- damage -------------------------------------------------------------------------------------------------------


def flip(artifact: Path, rng: random.Random) -> None:
    """Flip one bit. The file is replaced, so that processes that have it memory-mapped keep the old bytes."""
    path = random_file(artifact, rng)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    replace_file(path, bytes(data))


def cut(artifact: Path, rng: random.Random) -> None:
    path = random_file(artifact, rng)
    replace_file(path, path.read_bytes()[: rng.randrange(path.stat().st_size)])


def delete(artifact: Path, rng: random.Random) -> None:
    random_file(artifact, rng).unlink()


def add(artifact: Path, rng: random.Random) -> None:
    (artifact / "notes.txt").write_text("not part of the artifact")


def newer_format(artifact: Path, rng: random.Random) -> None:
    edit(artifact, lambda manifest: manifest.update(format=manifest["format"] + 1))


def edited_recipe(artifact: Path, rng: random.Random) -> None:
    edit(artifact, lambda manifest: manifest["recipe"].update(seed=12345))


def link(artifact: Path, rng: random.Random) -> None:
    path = random_file(artifact, rng)
    path.unlink()
    path.symlink_to("/etc/hostname")


DAMAGE: Sequence[Callable[[Path, random.Random], None]] = (flip, cut, delete, add, newer_format, edited_recipe, link)


def random_file(artifact: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in artifact.rglob("*") if path.is_file() and path.stat().st_size))


def edit(artifact: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    change(manifest)
    replace_file(artifact / "manifest.json", json.dumps(manifest).encode())


def replace_file(path: Path, data: bytes) -> None:
    draft = path.parent.parent / f".{path.name}.damage"  # outside the artifact
    draft.write_bytes(data)
    os.replace(draft, path)


# ---- processes ----------------------------------------------------------------------------------------------------


def restore_sigint() -> None:
    """Restore the default SIGINT handler. Shells start background jobs with SIGINT ignored, and children inherit this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted_at_startup(output: str) -> bool:
    """Return True if the traceback comes from the start of Python, before `autophagy` could catch the interrupt."""
    return any(start in output for start in ("<frozen site>", "<frozen runpy>", "init_import_site")) and "__main__.py" not in output


@dataclass
class Running:
    """A running command and its planned kill time."""

    name: str
    process: subprocess.Popen
    kill_at: float
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()


@dataclass
class Soak:
    """State of a soak test: its folder, the rows of undisturbed runs, and counts of all actions."""

    folder: Path
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    expected: dict[str, pandas.DataFrame] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "autophagy", *map(str, arguments)]

    def start(self, name: str, *, store: Path, out: Path) -> Running:
        """Start `autophagy run` in a new process group."""
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump({"name": name, **EXPERIMENTS[name]}))
        self.counts["runs started"] += 1
        log = self.folder / f"log-{self.counts['runs started']}.txt"
        workers = self.rng.choice((1, 1, 2))
        command = self.command("run", config, "--store", store, "--out", out, "--workers", workers, "--checkpoint-seconds", 0)
        with log.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, preexec_fn=restore_sigint)
        return Running(name, process, time.monotonic() + self.rng.expovariate(1 / 12) + 1, log)

    def finish_all(self, *, store: Path, out: Path) -> str:
        """Run all experiments undisturbed, two at a time, and return their output."""
        output = ""
        for pair in zip(*[iter(EXPERIMENTS)] * 2, strict=True):
            for run in [self.start(name, store=store, out=out) for name in pair]:
                code = run.process.wait(timeout=900)
                expect(code == 0, f"{run.name}: exit code {code} although undisturbed:\n{run.output}")
                output += run.output
        return output

    def compare(self, name: str, out: Path) -> None:
        rows = pandas.read_parquet(out / name / "rows.parquet")
        expect(rows.equals(self.expected[name]), f"the rows of {name} in {out} differ from those of an undisturbed run")
        self.counts["runs compared, all rows equal"] += 1

    def call(self, *arguments: object) -> tuple[int, str]:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=600)
        expect("Traceback" not in done.stderr, done.stderr)
        return done.returncode, done.stdout + done.stderr

    def artifacts(self) -> list[Path]:
        return sorted(self.store.glob("artifacts/??/*"))

    # ---- phases -------------------------------------------------------------------------------------------------------

    def undisturbed(self) -> None:
        self.finish_all(store=self.folder / "undisturbed-store", out=self.folder / "undisturbed")
        for name in EXPERIMENTS:
            self.expected[name] = pandas.read_parquet(self.folder / "undisturbed" / name / "rows.parquet")
            print(f"undisturbed: {name}, {len(self.expected[name]):,} rows", flush=True)
        shutil.rmtree(self.folder / "undisturbed-store")

    def disturbed(self, seconds: float, *, processes: int) -> None:
        """Run experiments repeatedly on one store. Kills runs and disturbs the store at random times."""
        out, end, next_disturbance = self.folder / "runs", time.monotonic() + seconds, time.monotonic()
        running: list[Running] = []
        while time.monotonic() < end:
            while len(running) < processes:
                free = [name for name in EXPERIMENTS if name not in (run.name for run in running)]
                name = self.rng.choice(free)
                if name != KEPT:
                    shutil.rmtree(out / name, ignore_errors=True)
                running.append(self.start(name, store=self.store, out=out))
            for run in list(running):
                if self.ended(run, out):
                    running.remove(run)
            if time.monotonic() > next_disturbance:
                self.disturb_store(out)
                next_disturbance = time.monotonic() + self.rng.expovariate(1 / 2)
            time.sleep(0.05)
        for run in running:
            self.kill(run)

    def ended(self, run: Running, out: Path) -> bool:
        """Return True if the run has ended. Kills the run if its kill time has passed."""
        code = run.process.poll()
        if code is None:
            if time.monotonic() > run.kill_at:
                self.kill(run)
                return True
            return False
        expect(code == 0 or (code == 2 and MISSING in run.output), f"{run.name}: exit code {code}:\n{run.output}")
        if code == 0:
            self.compare(run.name, out)
        else:
            self.counts["runs that lost an artifact twice and reported it"] += 1
        return True

    def kill(self, run: Running) -> None:
        """Send SIGKILL (two of three times) or SIGINT (Ctrl-C) to the process and its workers."""
        how = self.rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
        try:
            os.killpg(run.process.pid, how)
        except ProcessLookupError:
            return
        try:
            run.process.wait(timeout=20)
        except subprocess.TimeoutExpired as error:
            raise Violation(f"{run.name} did not end within 20 s after {how.name}") from error
        output = run.output
        expect(how == signal.SIGKILL or "Traceback" not in output or interrupted_at_startup(output), f"{run.name}, interrupted:\n{output}")
        self.counts[f"killed by {how.name}"] += 1

    def disturb_store(self, out: Path) -> None:
        """Damage an artifact, verify the store, or collect garbage."""
        kind = self.rng.random()
        if kind < 0.5 and (artifacts := self.artifacts()):
            try:
                damage = self.rng.choice(DAMAGE)
                damage(self.rng.choice(artifacts), self.rng)
                self.counts["damaged while runs work"] += 1
            except (OSError, ValueError, IndexError, KeyError):
                pass  # the artifact is damaged already, or another process repairs or removes it
        elif kind < 0.75:
            if (self.store / "artifacts").is_dir():
                code, output = self.call("verify", "--store", self.store)
                expect(code in (0, 1), f"verify: exit code {code}:\n{output}")
                self.counts["verify while runs work"] += 1
        elif (out / KEPT / "provenance.json").is_file():
            options = [["--unfinished"], ["--weights"], ["--set-aside"], []][self.rng.randrange(4)]
            code, output = self.call("gc", out / KEPT, "--store", self.store, "--yes", *options)
            refused = code == 2 and f"{out / KEPT}: " in output  # the run is being rewritten, or its artifacts are damaged
            expect(code == 0 or refused, f"gc: exit code {code}:\n{output}")
            self.counts["gc while runs work"] += 1

    def damaged_at_rest(self) -> None:
        """Damage artifacts while no process runs. Checks that `verify` names exactly these artifacts and that runs rebuild them."""
        self.run_again()  # repairs earlier damage
        for path in self.faulty():
            shutil.rmtree(path)  # no experiment needs this artifact
        artifacts = self.artifacts()
        damaged = self.rng.sample(artifacts, min(len(artifacts), 20))
        for number, artifact in enumerate(damaged):
            DAMAGE[number % len(DAMAGE)](artifact, self.rng)
            self.counts[f"damaged at rest: {DAMAGE[number % len(DAMAGE)].__name__}"] += 1
        named = self.faulty()
        differing = named ^ set(damaged)
        expect(not differing, f"verify named {len(named)} artifacts, {len(damaged)} are damaged; differing: {differing}")
        before = len(list((self.store / "set-aside").glob("*")))
        self.run_again()
        set_aside = len(list((self.store / "set-aside").glob("*"))) - before
        left = len(self.faulty())
        expect(set_aside + left == len(damaged), f"{len(damaged)} damaged artifacts: {set_aside} set aside, {left} still there")
        self.counts["damaged, named by verify, set aside and rebuilt"] += set_aside

    def run_again(self) -> str:
        """Run all experiments on the store, compare their rows with the rows of undisturbed runs, and return their output."""
        output = self.finish_all(store=self.store, out=self.folder / "runs")
        for name in EXPERIMENTS:
            self.compare(name, self.folder / "runs")
        return output

    def faulty(self) -> set[Path]:
        """Return the artifacts that `verify` reports as damaged."""
        code, output = self.call("verify", "--store", self.store)
        keys = {line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("damaged: ")}
        expect(code == bool(keys), f"verify: exit code {code}:\n{output}")
        self.counts["verify at rest"] += 1
        return {path for path in self.artifacts() if path.name in keys}

    def collect_garbage(self) -> None:
        """Run `gc`. Checks that the kept runs then build nothing and give the same rows."""
        runs = [self.folder / "runs" / name for name in EXPERIMENTS]
        code, output = self.call("gc", *runs, "--store", self.store, "--unfinished", "--set-aside", "--yes")
        expect(code == 0, f"gc: exit code {code}:\n{output}")
        before = {path: path.stat().st_mtime_ns for path in self.store.glob("artifacts/*/*/*")}
        self.run_again()
        after = {path: path.stat().st_mtime_ns for path in self.store.glob("artifacts/*/*/*")}
        expect(before == after, f"a kept run built something after gc: {len(after.keys() ^ before.keys())} files differ")
        left = [path for name in ("drafts", "scratch", "unfinished", "set-aside") for path in (self.store / name).glob("*")]
        expect(not left, f"gc left {len(left)} unneeded entries, for example {left[:3]}")
        expect(not self.faulty(), "an artifact is damaged after all were repaired")


def main(
    minutes: Annotated[
        float, typer.Option(help="Duration of the rounds. The undisturbed runs and the end of the last round take extra time.")
    ] = 30,
    processes: Annotated[int, typer.Option(min=1, help="Number of concurrent runs.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Seed of the random faults. Timing still differs between runs.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Working folder. Default: a temporary folder.")] = None,
) -> None:
    """Kill runs, damage artifacts, verify and collect garbage at random. Check that no result changes."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    work = folder or Path(tempfile.mkdtemp(prefix="autophagy-soak-"))
    work.mkdir(parents=True, exist_ok=True)
    soak, started = Soak(work, random.Random(seed)), time.monotonic()
    print(f"seed {seed}, {processes} processes, {work}", flush=True)
    try:
        soak.undisturbed()
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            soak.disturbed(min(ROUND_SECONDS, end - time.monotonic()), processes=processes)
            soak.damaged_at_rest()
            soak.collect_garbage()
            soak.counts["rounds"] += 1
            shutil.rmtree(soak.store)
            shutil.rmtree(work / "runs")
            print(f"{(time.monotonic() - started) / 60:.1f} min: {dict(soak.counts)}", flush=True)
    except Violation as violation:
        print(f"FAILED after {(time.monotonic() - started) / 60:.1f} min, {dict(soak.counts)}\n{violation}\nsee {work}", flush=True)
        raise typer.Exit(1) from violation
    for name, count in sorted(soak.counts.items()):
        print(f"{count:>6,}  {name}")
    print(f"no violation in {(time.monotonic() - started) / 60:.1f} min")
    if folder is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    typer.run(main)
