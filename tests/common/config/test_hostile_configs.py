"""Hostile configs, names and paths are either accepted or rejected with one message; nothing else happens.

AUTOPHAGY_MUTATIONS sets the number of random mutations of each shipped config.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import psutil
import pytest
import typer
import yaml
from autophagy.common.cli import main as cli
from autophagy.common.config.registry import registered
from huggingface_hub.constants import HF_HOME
from support.config_mutations import BOMB, MERGES, NUDGES, Material, mutated, restructured
from support.side_effects import recorded_side_effects
from support.tiny import ANALYTIC, ROOT

pytestmark = pytest.mark.slow

MUTATIONS = int(os.environ.get("AUTOPHAGY_MUTATIONS", "10"))
"""Random mutations of each shipped config."""
RUNS = int(os.environ.get("AUTOPHAGY_MUTATED_RUNS", "5"))
"""Mutations of each small analytic experiment that are run to the end."""
SECONDS = 30
"""Watchdog for a dry run of a mutated config, which takes 20 milliseconds on average."""
GIGABYTE = 10**9

SHIPPED = {f"{path.parent.name}-{path.stem}": path.read_text() for path in sorted(ROOT.glob("configs/*/*.yaml"))}
MATERIAL = Material(others=[yaml.safe_load(config) for config in SHIPPED.values()])


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Import libraries first: some of them write files when they are imported, which is not what these tests look for."""
    import datasets  # noqa: F401
    import torchvision  # noqa: F401

    for kind in cli.LISTED.values():
        for point in registered(kind).values():
            point.load()


@pytest.fixture(autouse=True)
def small_machine(monkeypatch):
    """Pretend that the machine has one gigabyte of memory; data may take a quarter of it."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=GIGABYTE))


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """A folder with one inside to work from: what a config writes relative to where it is run, or to its parent, is seen."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


class Late(BaseException):
    """Time is up. No Exception, so that nothing but the test catches it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(*_):
        raise Late(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def autophagy_run(words, folder, *, dry_run):
    """Exit code and message of `autophagy run words...` in this process; anything but an orderly end, in time, is an error."""
    said, printed, code = io.StringIO(), io.StringIO(), 0
    with limited(SECONDS), contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            cli.run([str(word) for word in words], store=folder / "store", out=folder / "out", workers=1, dry_run=dry_run)
        except typer.Exit as end:
            code = end.exit_code
    return code, said.getvalue()


def orderly(words, folder, *, dry_run, what):
    """The exit code, after checking that it is 0, or 2 with a message that one can read, and that nothing was done elsewhere."""
    kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with recorded_side_effects(folder / "store", folder / "out", Path(HF_HOME)) as deeds:
        try:
            code, said = autophagy_run(words, folder, dry_run=dry_run)
        except BaseException as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert code == 0 or (code == 2 and "error: " in said), f"{what}: exit code {code}, said {said!r}"
    assert len(said) < 25_000 and (said.replace("\n", "").isprintable() or code == 0), f"{what}: {said[:2000]!r}"
    assert deeds == [], f"{what} did {deeds}"
    assert list((folder / "here").iterdir()) == [], what
    growing_pool_size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kept) * 1024  # it never falls
    assert growing_pool_size < 2 * GIGABYTE, f"{what}: memory grew by {growing_pool_size / GIGABYTE:.1f} GB"
    return code


# ---- configs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", SHIPPED)
def test_mutated_configs_are_accepted_or_rejected(label, sandbox, record_property):
    path, codes, started = sandbox / "spoiled.yaml", [], time.monotonic()
    for number in range(MUTATIONS):
        spoiled, changes = mutated(SHIPPED[label], number, material=MATERIAL, label=label)
        path.write_bytes(spoiled)
        codes.append(orderly([path, *changes], sandbox, dry_run=True, what=f"mutation {number} of {label}"))
        assert not (sandbox / "out").exists()
    assert {entry.name for entry in sandbox.iterdir()} <= {"here", "spoiled.yaml", "store"}
    record_property("accepted", codes.count(0))
    record_property("refused", codes.count(2))
    record_property("seconds", round(time.monotonic() - started))


SETUP = {"name": "t", "seeds": [0, 1], "generations": 2, "size": 12, "eval_size": 6}
NUMBERS = {"use": "gaussian", "rows": 60, "replicates": 3}
RUNNABLE = {
    "gaussian": {
        **SETUP, "data": NUMBERS, "generator": {"use": "gaussian", "ddof": 0, "sampling": {"variance_scale": 1.0}}, "metrics": ["moments"],
        "policies": {
            "replace": None, "mix": {"use": "mix", "real_fraction": 0.25, "real": "fixed"},
            "fresh": {"use": "mix", "real_fraction": "1/t^0.5", "real": "fresh"}, "dirty": {"use": "replace", "synthetic_fraction": 0.5},
        },
    },
    "vectors": {
        **SETUP, "data": {**NUMBERS, "rows": 90, "dimensions": 3, "seed": 1}, "generator": {"use": "gaussian"}, "metrics": ["moments"],
        "policies": {
            "accumulate": None, "window": {"use": "window", "generations": 2},
            "augment": {"use": "augment", "real": "fresh", "real_weight": 1, "synthetic_weight": 2},
        },
        "controls": "auto",
    },
    "kde": {
        **SETUP, "data": NUMBERS, "generator": {"use": "kde", "bandwidth": 0.2}, "metrics": ["moments"], "candidates": 5, "floors": 3,
        "policies": {
            "sub": "accumulate-subsample", "growing": {"use": "replace-growing", "growth": 1.5, "generations": 2},
            "kept": {"use": "replace", "curation": {"use": "dedup", "against_real": True}},
        },
    },
    "symbols": {
        **SETUP, "data": {"use": "categorical", "rows": 60, "replicates": 3, "symbols": 20, "exponent": 1.0}, "generator": "categorical",
        "policies": ["replace", "real", "real-fresh", "accumulate"], "metrics": [{"use": "symbols", "counts": [1, 2]}],
        "unequal_steps": True,
    },
    "regression": {
        **SETUP, "data": {"use": "regression", "rows": 80, "replicates": 3, "dimensions": 3, "noise": 1.0, "shifted": 0.2, "shift": 1.0},
        "generator": {"use": "regression", "noise": 1.0}, "prompts": "real", "metrics": ["excess-risk"],
        "policies": {"replace": None, "grown": {"use": "real-growing", "growth": 1}},
    },
    "halfspace": {
        **SETUP, "data": {"use": "halfspace", "rows": 80, "dimensions": 4}, "metrics": ["plane-accuracy"],
        "generator": {"use": "linear-classifier", "sampling": {"flip": 0.2}},
        "policies": {
            "replace": None,
            "told": {"use": "replace", "curation": {"use": "verify-labels", "keep_right": 0.9, "keep_wrong": 0.2}},
        },
    },
    "members": {
        **SETUP, "data": NUMBERS, "generators": {"a": {"use": "gaussian"}, "b": {"use": "kde", "bandwidth": 0.1}}, "metrics": ["moments"],
        "policies": {
            "self": {"use": "replace", "learn_from": "self"}, "other": {"use": "replace", "learn_from": "other"},
            "union": {"use": "accumulate", "learn_from": "union"},
        },
        "init": "scratch",
    },
}  # fmt: skip
"""Every analytic generator and metric, and the policies and curations that apply to them, in milliseconds."""
GENTLE = Material(
    others=list(RUNNABLE.values()),
    numbers=(*range(-1, 4), 5, 8, 13, 40, 0.5, 0.1, 0.01, 0.99, 1.5, -0.5, 1e-300, 1e300, 1e-9, 1e9, 2**63 - 1, 2**70, np.nan, np.inf),
    nudges=NUDGES,
)
"""Nothing that asks for a long run: how long one takes is the user's to say."""


@pytest.mark.parametrize("label", RUNNABLE)
@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_mutated_experiments_finish_or_stop_with_a_message(label, sandbox, record_property):
    path, codes = sandbox / "spoiled.yaml", []
    for number in range(RUNS):
        spoiled = restructured(copy.deepcopy(RUNNABLE[label]), random.Random(f"{label}, {number}"), GENTLE)
        path.write_text(yaml.safe_dump(spoiled, sort_keys=False), encoding="utf-8", errors="surrogatepass")
        codes.append(orderly([path], sandbox, dry_run=False, what=f"run {number} of {label}"))
        for rows in (sandbox / "out").glob("*/rows.parquet"):
            assert np.isfinite(pandas.read_parquet(rows).value).all(), f"run {number} of {label}"
            rows.unlink()
    record_property("finished", codes.count(0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{BOMB}\nname: *b11", "more than 100,000 values after aliases are expanded"),
        (f"{MERGES}\nname: *m11", "more than 100,000 values after aliases are expanded"),
        ("name: &a [*a]", "an alias refers to a value that contains it"),
        ("a: &a {b: *a}", "an alias refers to a value that contains it"),
        (f"a: {'[' * 60}{']' * 60}", "nested deeper than 50 levels"),
        ("[" * 100_000, "nested deeper than 50 levels"),
        ("{a: " * 20_000, "nested deeper than 50 levels"),
        ("- " * 60_000, "nested deeper than 50 levels"),
        ("# " + "x" * 250_000, "is larger than 250,000 bytes, the limit for a config"),
        ("a: [" + "1," * 120_000 + "]", "more than 100,000 values"),
        ("!!python/object/apply:os.system ['touch canary']", "could not determine a constructor"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("a: !!int ''", "not valid YAML"),
        ("a: !!bool perhaps", "not valid YAML"),
        ("a: !!timestamp soon", "not valid YAML"),
        ('name: "\\ud800"', "contains half of a character (a lone surrogate)"),
        ("name: \x01", "special characters are not allowed"),
        ("size: " + "9" * 5000, "not valid YAML: Exceeds the limit"),
    ],
    ids=range(18),
)
def test_malicious_yaml_is_rejected(content, said, sandbox):
    (sandbox / "c.yaml").write_text(content)
    code, message = autophagy_run([sandbox / "c.yaml"], sandbox, dry_run=True)
    assert code == 2 and said in message and len(message) < 2000
    assert not list((sandbox / "here").iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("size=1.0e+30", "size: Unable to parse input string as an integer, exceeded maximum size, not 1e+30"),
        ("size=1e30", "size: Input should be a valid integer, unable to parse string as an integer, not '1e30'"),
        (f"size={10**400}", "size: Input should be less than or equal to 1000000000, not 1000"),
        ("generations=1_000_000", "generations: Input should be less than or equal to 100000"),
        ("floor_draws=1.0e+9", "floor_draws: Input should be less than or equal to 1000"),
        (
            "data.replicates=1_000_000_000_000",
            "1,000,000,000,000 numbers each would take 320,000,000 MB; an experiment's data may take 250 MB on this machine",
        ),
        ("data.rows=1_000_000_000_000_000", "data: 1,000,000,000,000,020 rows of 3 numbers each would take"),
        ("generator.sampling.variance_scale=.inf", "generator: gaussian.sampling.variance_scale is inf, but numbers in a recipe"),
        ("generator.sampling.variance_scale=.nan", "generator.sampling.variance_scale: Input should be greater than 0, not nan"),
        ("seeds=[0.5]", "seeds.0: Input should be a valid integer"),
        ("use=x", "use: unknown key"),
        ("generator=json:JSONDecoder", "generator: 'json:JSONDecoder' is not a dataclass"),
        ("generator=autophagy.vision.data:Digits", "generator: 'autophagy.vision.data:Digits' has no `columns`; a generator needs version"),
        ("metrics=[autophagy.vision.data:Digits]", "metrics.0: 'autophagy.vision.data:Digits' has no `outputs`; a metric needs version"),
        ("generator=:x", "generator: ':x' cannot be imported: ValueError: Empty module name"),
        ("generator=.x:y", "generator: '.x:y' cannot be imported: TypeError"),
        ("policies={a: {use: replace-growing, growth: 400}}", "policies.a.growth: Input should be less than or equal to 10"),
        ('name="\\e[31m"', "name: String should match pattern"),
        ("metrics=[moments, [[[[[[moments]]]]]]]", "metrics.1: a metric is written as a name or as {use: name, ...}, not as [[[[...]]]]"),
    ],
)
def test_out_of_range_values_are_rejected(change, said, sandbox):
    (sandbox / "c.yaml").write_text(yaml.safe_dump({**ANALYTIC, "generator": {"use": "gaussian"}}))
    code, message = autophagy_run([sandbox / "c.yaml", change], sandbox, dry_run=True)
    assert code == 2 and said in message.replace("\n", " "), message


def test_settings_of_optional_components_are_checked(sandbox):
    """`watermark` may be null or a component; a misspelt setting in it was once ignored."""
    config = ROOT / "configs" / "text" / "watermark.yaml"
    code, message = autophagy_run([config, "generator.sampling.watermark.gama=0.5"], sandbox, dry_run=True)
    assert code == 2 and "generator.sampling.watermark.gama: unknown setting; did you mean 'gamma'?" in message


def test_messages_are_short_and_escape_control_characters(sandbox):
    (sandbox / "c.yaml").write_text('"\\e[2J\\e]0;owned\\a": 1\n')
    code, message = autophagy_run([sandbox / "c.yaml"], sandbox, dry_run=True)
    assert code == 2 and "\\x1b[2J\\x1b]0;owned\\x07: unknown key" in message
    (sandbox / "c.yaml").write_text(yaml.safe_dump({**ANALYTIC, "seeds": ["x" * 1000] * 200}))
    code, message = autophagy_run([sandbox / "c.yaml"], sandbox, dry_run=True)
    assert code == 2 and len(message) < 10_000 and " more errors" in message


# ---- names and places -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x", "..", ".", "", "a/b", "/tmp/x", "a\\b", "~", "-x", ".x", "x\n", "a b", "ä", "x" * 101, "a:b"])
def test_names_must_not_be_paths(name, sandbox):
    (sandbox / "c.yaml").write_text(yaml.safe_dump({**ANALYTIC, "name": name}))
    assert orderly([sandbox / "c.yaml"], sandbox, dry_run=False, what=name) == 2
    assert {entry.name for entry in sandbox.iterdir()} <= {"here", "c.yaml"}


def place(what, path, elsewhere):
    """Something that stands where a folder should be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "file":
        path.write_text("mine")
    elif what == "link":
        elsewhere.mkdir(exist_ok=True)
        path.symlink_to(elsewhere)
    elif what == "link to nothing":
        path.symlink_to(elsewhere / "nowhere")
    else:
        path.symlink_to(path)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("what", ["file", "link", "link to nothing", "link to itself"])
@pytest.mark.parametrize("where", ["out", "out/tiny-gaussian", "out/tiny-gaussian/samples", "store", "store/artifacts"])
def test_files_and_links_in_place_of_folders_are_rejected(where, what, dry_run, sandbox):
    """Refused before anything runs, and nothing is written through a link but where the user put one for the whole of --out or --store."""
    (sandbox / "c.yaml").write_text(yaml.safe_dump({**ANALYTIC, "policies": ["replace"], "generations": 1}))
    place(what, sandbox / where, sandbox / "elsewhere")
    code, message = autophagy_run([sandbox / "c.yaml"], sandbox, dry_run=dry_run)
    meant = what == "link" and where in ("out", "store", "store/artifacts")
    assert code == (0 if meant else 2), message
    assert meant or ("--out" if where.startswith("out") else "--store") in message
    if what == "link" and not meant:
        assert not list((sandbox / "elsewhere").iterdir())
    assert meant or not list((sandbox / "store").glob("artifacts/*/*")), "nothing was made before the place was looked at"


def test_results_are_not_written_into_the_store(sandbox):
    (sandbox / "c.yaml").write_text(yaml.safe_dump({**ANALYTIC, "name": "store"}))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), pytest.raises(typer.Exit):
        cli.run([str(sandbox / "c.yaml")], store=sandbox / "store", out=sandbox, workers=1)
    assert "name: the output folder of 'store' is inside the store" in said.getvalue()


def test_drafts_do_not_follow_links(sandbox):
    """A link that waits where a draft is written would have its target overwritten."""
    (sandbox / "c.yaml").write_text(yaml.safe_dump({**ANALYTIC, "policies": ["replace"], "generations": 1}))
    folder = sandbox / "out" / "tiny-gaussian"
    (folder / "samples").mkdir(parents=True)
    drafts = ("config.yaml", "rows.parquet", "provenance.json", "report.html", "samples/pool.arrow")
    for name in drafts:
        (sandbox / "precious").write_text("mine")
        for link in (folder / name, (folder / name).with_name(f".{Path(name).name}.draft")):
            link.symlink_to(sandbox / "precious")
    assert autophagy_run([sandbox / "c.yaml"], sandbox, dry_run=False)[0] == 0
    assert (sandbox / "precious").read_text() == "mine"
    assert not any((folder / name).is_symlink() for name in drafts)


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x.yaml", "a\0b.yaml", "x" * 5000 + ".yaml", "/dev/zero", "here", "c.yaml/d.yaml"])
def test_unreadable_config_paths_are_rejected(path, sandbox):
    (sandbox / "here" / "here").mkdir()
    (sandbox / "here" / "c.yaml").write_text("")
    code, message = autophagy_run([path], sandbox, dry_run=True)
    assert code == 2 and message.startswith("error: ")
