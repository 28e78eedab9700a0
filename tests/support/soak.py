"""Do to real runs what a bad month does, for as long as you like: `python scripts/soak.py --minutes 30`.

    undisturbed runs ──► the rows that every later run must give
    round:  processes on one store, killed at random, files damaged under them, `verify` and `gc` beside them
            all killed; everything that is left damaged in some way ──► `verify` names exactly that
            the same commands again, undisturbed ──► the same rows; `gc` ──► the same commands build nothing

Ends with 1 at the first thing that is lost, built wrong or said wrong, and keeps the folder to look at.
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

TINY_LLAMA = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
GAUSSIAN = {
    "generations": 30, "size": 10, "eval_size": 10, "data": {"use": "gaussian", "rows": 20, "worlds": 50}, "generator": "gaussian",
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
"""Some share seeds, policies and generations, so that processes want the same artifacts."""
KEPT = "gaussian"
"""The run that `gc` is told to keep."""
ROUND_SECONDS = 200
GONE = "was in the store and is gone"
"""A run may say so, and end with 2, if the same artifact is taken from it twice; the same command goes on."""


class Lost(Exception):
    """Something that was promised did not hold."""


def expect(holds: bool, said: str) -> None:
    if not holds:
        raise Lost(said)


# ---- damage -------------------------------------------------------------------------------------------------------


def flip(artifact: Path, rng: random.Random) -> None:
    """Another bit in some byte of a file, as a new file: what is memory-mapped now keeps its bytes, as on a disk that rots later."""
    path = some_file(artifact, rng)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    instead_of(path, bytes(data))


def cut(artifact: Path, rng: random.Random) -> None:
    path = some_file(artifact, rng)
    instead_of(path, path.read_bytes()[: rng.randrange(path.stat().st_size)])


def delete(artifact: Path, rng: random.Random) -> None:
    some_file(artifact, rng).unlink()


def add(artifact: Path, rng: random.Random) -> None:
    (artifact / "notes.txt").write_text("not mine")


def newer(artifact: Path, rng: random.Random) -> None:
    edit(artifact, lambda manifest: manifest.update(format=manifest["format"] + 1))


def edited(artifact: Path, rng: random.Random) -> None:
    edit(artifact, lambda manifest: manifest["recipe"].update(seed=12345))


def link(artifact: Path, rng: random.Random) -> None:
    path = some_file(artifact, rng)
    path.unlink()
    path.symlink_to("/etc/hostname")


DAMAGE: Sequence[Callable[[Path, random.Random], None]] = (flip, cut, delete, add, newer, edited, link)


def some_file(artifact: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in artifact.rglob("*") if path.is_file() and path.stat().st_size))


def edit(artifact: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    change(manifest)
    instead_of(artifact / "manifest.json", json.dumps(manifest).encode())


def instead_of(path: Path, data: bytes) -> None:
    draft = path.parent.parent / f".{path.name}.damage"  # not among the files of the artifact
    draft.write_bytes(data)
    os.replace(draft, path)


# ---- processes ----------------------------------------------------------------------------------------------------


def hears_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so do its children unless they are told otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def before_ours(said: str) -> bool:
    """Whether a traceback is of Python's own start, before the first line of `autophagy` ran: no program can catch that one."""
    return any(start in said for start in ("<frozen site>", "<frozen runpy>", "init_import_site")) and "__main__.py" not in said


@dataclass
class Running:
    """A command at work, and when it is to be killed."""

    name: str
    process: subprocess.Popen
    until: float
    said: Path


@dataclass
class Soak:
    """One soak: its folder, what undisturbed runs gave, and what was done so far."""

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
        """`autophagy run` in a process group of its own."""
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump({"name": name, **EXPERIMENTS[name]}))
        self.counts["runs started"] += 1
        said = self.folder / f"said-{self.counts['runs started']}.txt"
        workers = self.rng.choice((1, 1, 2))
        command = self.command("run", config, "--store", store, "--out", out, "--workers", workers, "--checkpoint-seconds", 0)
        with said.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, preexec_fn=hears_ctrl_c)
        return Running(name, process, time.monotonic() + self.rng.expovariate(1 / 12) + 1, said)

    def finish_all(self, *, store: Path, out: Path) -> str:
        """All experiments, undisturbed, to their ends, two at a time; what they said."""
        said = ""
        for pair in zip(*[iter(EXPERIMENTS)] * 2, strict=True):
            for one in [self.start(name, store=store, out=out) for name in pair]:
                code = one.process.wait(timeout=900)
                expect(code == 0, f"{one.name} ended with {code}, undisturbed:\n{one.said.read_text()}")
                said += one.said.read_text()
        return said

    def compare(self, name: str, out: Path) -> None:
        rows = pandas.read_parquet(out / name / "rows.parquet")
        expect(rows.equals(self.expected[name]), f"the rows of {name} in {out} are not those of an undisturbed run")
        self.counts["runs compared, all rows equal"] += 1

    def call(self, *arguments: object) -> tuple[int, str]:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=600)
        expect("Traceback" not in done.stderr, done.stderr)
        return done.returncode, done.stdout + done.stderr

    def artifacts(self) -> list[Path]:
        return sorted(self.store.glob("artifacts/??/*"))

    # ---- what happens -------------------------------------------------------------------------------------------------

    def undisturbed(self) -> None:
        self.finish_all(store=self.folder / "undisturbed-store", out=self.folder / "undisturbed")
        for name in EXPERIMENTS:
            self.expected[name] = pandas.read_parquet(self.folder / "undisturbed" / name / "rows.parquet")
            print(f"undisturbed: {name}, {len(self.expected[name]):,} rows", flush=True)
        shutil.rmtree(self.folder / "undisturbed-store")

    def disturbed(self, seconds: float, *, processes: int) -> None:
        """Runs of all experiments on one store, over and over, while everything happens to them."""
        out, end, next_mischief = self.folder / "runs", time.monotonic() + seconds, time.monotonic()
        running: list[Running] = []
        while time.monotonic() < end:
            while len(running) < processes:
                free = [name for name in EXPERIMENTS if name not in (one.name for one in running)]
                name = self.rng.choice(free)
                if name != KEPT:
                    shutil.rmtree(out / name, ignore_errors=True)
                running.append(self.start(name, store=self.store, out=out))
            for one in list(running):
                if self.ended(one, out):
                    running.remove(one)
            if time.monotonic() > next_mischief:
                self.mischief(out)
                next_mischief = time.monotonic() + self.rng.expovariate(1 / 2)
            time.sleep(0.05)
        for one in running:
            self.kill(one)

    def ended(self, one: Running, out: Path) -> bool:
        code = one.process.poll()
        if code is None:
            if time.monotonic() > one.until:
                self.kill(one)
                return True
            return False
        said = one.said.read_text()
        expect(code == 0 or (code == 2 and GONE in said), f"{one.name} ended with {code}:\n{said}")
        if code == 0:
            self.compare(one.name, out)
        else:
            self.counts["runs that were robbed twice of one artifact and said so"] += 1
        return True

    def kill(self, one: Running) -> None:
        """SIGKILL to the process and its workers; a third of the time SIGINT, as Ctrl-C would."""
        how = self.rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
        try:
            os.killpg(one.process.pid, how)
        except ProcessLookupError:
            return
        try:
            one.process.wait(timeout=20)
        except subprocess.TimeoutExpired as error:
            raise Lost(f"{one.name} did not end within 20 s of {how.name}") from error
        said = one.said.read_text()
        expect(how == signal.SIGKILL or "Traceback" not in said or before_ours(said), f"{one.name}, interrupted, said:\n{said}")
        self.counts[f"killed by {how.name}"] += 1

    def mischief(self, out: Path) -> None:
        what = self.rng.random()
        if what < 0.5 and (there := self.artifacts()):
            try:
                act = self.rng.choice(DAMAGE)
                act(self.rng.choice(there), self.rng)
                self.counts["damaged under runs at work"] += 1
            except (OSError, ValueError, IndexError, KeyError):
                pass  # it was being mended, freed or damaged already
        elif what < 0.75:
            if (self.store / "artifacts").is_dir():
                code, said = self.call("verify", "--store", self.store)
                expect(code in (0, 1), f"verify ended with {code}:\n{said}")
                self.counts["verify beside runs"] += 1
        elif (out / KEPT / "provenance.json").is_file():
            also = [["--unfinished"], ["--weights"], ["--set-aside"], []][self.rng.randrange(4)]
            code, said = self.call("gc", out / KEPT, "--store", self.store, "--yes", *also)
            allowed = code == 0 or "not one of the artifacts" in said or "not finished" in said or "written by `run`" in said
            expect(allowed, f"gc ended with {code}:\n{said}")
            self.counts["gc beside runs"] += 1

    def damaged_at_rest(self) -> None:
        """Nobody is at work. What verify names is what was damaged, no more and no less."""
        self.again()  # mends what was damaged before
        for path in self.faulty():
            shutil.rmtree(path)  # of a run that no experiment asks for any more
        there = self.artifacts()
        hurt = self.rng.sample(there, min(len(there), 20))
        for number, artifact in enumerate(hurt):
            DAMAGE[number % len(DAMAGE)](artifact, self.rng)
            self.counts[f"damaged at rest: {DAMAGE[number % len(DAMAGE)].__name__}"] += 1
        named = self.faulty()
        expect(named == set(hurt), f"verify named {len(named)} artifacts, {len(hurt)} were damaged; differing: {named ^ set(hurt)}")
        before = len(list((self.store / "set-aside").glob("*")))
        self.counts["damage named by runs"] += self.again().count("is damaged")
        aside = len(list((self.store / "set-aside").glob("*"))) - before
        left = self.faulty()
        expect(aside + len(left) == len(hurt), f"of {len(hurt)} damaged artifacts {aside} were set aside and {len(left)} stand")
        self.counts["damaged, named by verify, set aside and rebuilt"] += aside

    def again(self) -> str:
        """All experiments once more on the store as it is, held against what they gave undisturbed; what they said."""
        said = self.finish_all(store=self.store, out=self.folder / "runs")
        for name in EXPERIMENTS:
            self.compare(name, self.folder / "runs")
        return said

    def faulty(self) -> set[Path]:
        code, said = self.call("verify", "--store", self.store)
        keys = {line.split()[1] for line in said.splitlines() if line.startswith("damaged: ")}
        expect(code == bool(keys), f"verify ended with {code}:\n{said}")
        self.counts["verify at rest"] += 1
        return {path for path in self.artifacts() if path.name in {key.rstrip(":") for key in keys}}

    def freed(self) -> None:
        """After a gc, what is kept builds nothing, and says what it said."""
        runs = [self.folder / "runs" / name for name in EXPERIMENTS]
        code, said = self.call("gc", *runs, "--store", self.store, "--unfinished", "--set-aside", "--yes")
        expect(code == 0, f"gc ended with {code}:\n{said}")
        before = {path: path.stat().st_mtime_ns for path in self.store.glob("artifacts/*/*/*")}
        self.again()
        after = {path: path.stat().st_mtime_ns for path in self.store.glob("artifacts/*/*/*")}
        expect(before == after, f"a kept run built something after gc: {len(after.keys() ^ before.keys())} files differ")
        left = [path for name in ("drafts", "scratch", "unfinished", "set-aside") for path in (self.store / name).glob("*")]
        expect(not left, f"gc left {len(left)} things that nobody needs, {left[:3]}")
        expect(not self.faulty(), "something is damaged after all was mended")


def main(
    minutes: Annotated[float, typer.Option(help="How long; the undisturbed runs before and the end of the last round come on top.")] = 30,
    processes: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Of what happens when; as far as that can be repeated.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to work; a temporary folder if left out.")] = None,
) -> None:
    """Kill, damage, verify and free real runs at random, and see that nothing is lost."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    where = folder or Path(tempfile.mkdtemp(prefix="autophagy-soak-"))
    where.mkdir(parents=True, exist_ok=True)
    soak, started = Soak(where, random.Random(seed)), time.monotonic()
    print(f"seed {seed}, {processes} processes, {where}", flush=True)
    try:
        soak.undisturbed()
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            soak.disturbed(min(ROUND_SECONDS, end - time.monotonic()), processes=processes)
            soak.damaged_at_rest()
            soak.freed()
            soak.counts["rounds"] += 1
            shutil.rmtree(soak.store)
            shutil.rmtree(where / "runs")
            print(f"{(time.monotonic() - started) / 60:.1f} min: {dict(soak.counts)}", flush=True)
    except Lost as lost:
        print(f"LOST after {(time.monotonic() - started) / 60:.1f} min, {dict(soak.counts)}\n{lost}\nsee {where}", flush=True)
        raise typer.Exit(1) from lost
    for what, count in sorted(soak.counts.items()):
        print(f"{count:>6,}  {what}")
    print(f"nothing was lost in {(time.monotonic() - started) / 60:.1f} min")
    if folder is None:
        shutil.rmtree(where)


if __name__ == "__main__":
    typer.run(main)
