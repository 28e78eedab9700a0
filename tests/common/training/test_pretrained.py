"""Checkpoints from strangers: no pickle is opened, no code of theirs is run, broken ones are named, and nothing is fetched unasked."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from autophagy import UserError, experiment, run
from autophagy.common.config.registry import ComponentSpec
from autophagy.text.data import HubText
from autophagy.text.tokenizer import END, train_bpe
from autophagy.vision.data import MNIST
from autophagy.vision.features import Inception
from safetensors.torch import load_file, save_file
from support.side_effects import recorded_side_effects
from support.tiny import ROOT, TEXT, small_pool
from transformers import AutoConfig, BitImageProcessor, Dinov2Config, Dinov2Model, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

CANARY = "import pathlib\npathlib.Path({path!r}).write_text('sang')\n"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A tiny random GPT-2 and a tiny random DINOv2, as the hub serves them."""
    torch.manual_seed(0)
    text, vision = (tmp_path_factory.mktemp(name) for name in ("text", "vision"))
    bpe = train_bpe(small_pool("text").list("text"), 300)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END).save_pretrained(text)
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2)).save_pretrained(text)
    Dinov2Model(Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)).save_pretrained(
        vision
    )
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(vision)
    return {"causal-lm": text, "encoder": text, "image-encoder": vision}


@pytest.fixture
def copied(sound, tmp_path):
    """Copies that may be spoiled."""
    return {use: shutil.copytree(folder, tmp_path / use) for use, folder in sound.items()}


USES = ("causal-lm", "encoder", "image-encoder")


CAUSAL = {"context": 12, "prompt_tokens": 3, "training": {"steps": 1, "batch": 4}}


def fit(use, folder, scratch):
    """Fit whatever reads checkpoints, with what a dry run asks for before."""
    settings = {"causal-lm": CAUSAL, "encoder": {"tokens": 32}, "image-encoder": {}}[use]
    part = ComponentSpec.parse("generator" if use == "causal-lm" else "features", {"use": use, "pretrained": str(folder), **settings})
    generated = part.build()
    generated.inputs()
    generated.fit(small_pool("vision" if use == "image-encoder" else "text"), seed=0, scratch=scratch)
    return generated


def refused(said, use, folder, tmp_path):
    with recorded_side_effects(tmp_path) as deeds, pytest.raises(UserError) as caught:
        fit(use, folder, tmp_path)
    assert said in str(caught.value), str(caught.value)
    assert deeds == []


class Burglar:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pkl", "model.safetensors.bin"])
def test_pickles_are_refused_and_not_opened(use, name, copied, tmp_path):
    (copied[use] / "model.safetensors").unlink()
    (copied[use] / name).write_bytes(pickle.dumps(Burglar(tmp_path / "entered")))
    refused("has no .safetensors file. Pickled weights are not loaded", use, copied[use], tmp_path)
    assert not (tmp_path / "entered").exists()


@pytest.mark.parametrize("use", USES)
def test_a_pickle_under_the_name_of_safetensors_is_not_opened_either(use, copied, tmp_path):
    (copied[use] / "model.safetensors").write_bytes(pickle.dumps(Burglar(tmp_path / "entered")))
    refused("cannot be read: ", use, copied[use], tmp_path)
    assert not (tmp_path / "entered").exists()


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("use", USES)
def test_code_that_a_checkpoint_brings_is_never_run(use, known, copied, tmp_path, monkeypatch):
    """`auto_map` in each of the files that may have one. What transformers knows is used; what only the code knows is refused."""
    folder, canary = copied[use], tmp_path / "canary"
    (folder / "theirs.py").write_text(CANARY.format(path=str(canary)) + "class Theirs: pass\n")
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor")
    mapped = {name: ["theirs.Theirs", None] if name == "AutoTokenizer" else "theirs.Theirs" for name in names}
    for path in folder.glob("*.json"):
        if "config" in path.name:
            written = {**json.loads(path.read_text()), "auto_map": mapped}
            if not known:
                written |= {
                    "model_type": "theirs",
                    "tokenizer_class": "Theirs",
                    "image_processor_type": "Theirs",
                    "architectures": ["Theirs"],
                }
            path.write_text(json.dumps(written))
    if known:
        with recorded_side_effects(tmp_path) as deeds:
            fit(use, folder, tmp_path)
        assert deeds == []
    else:
        refused(f"pretrained: {folder} ", use, folder, tmp_path)
    assert not canary.exists()
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(Exception, match="."):
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert canary.read_text() == "sang", "it would have been noticed"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("model.safetensors", lambda sound: b""),
        ("model.safetensors", lambda sound: b"\xff" * 200),
        ("model.safetensors", lambda sound: (2**62).to_bytes(8, "little") + sound[8:]),
        ("model.safetensors", lambda sound: sound[: len(sound) // 2]),
        ("config.json", lambda sound: b""),
        ("config.json", lambda sound: b"{"),
        ("config.json", lambda sound: b"[" * 100_000),
        ("config.json", lambda sound: b"\xff\xfe"),
        ("config.json", lambda sound: b"[]"),
        ("config.json", lambda sound: b"{}"),
        ("config.json", lambda sound: sound.replace(b"16", b'"x"')),
        ("config.json", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_checkpoints_are_named(use, name, spoil, copied, tmp_path):
    path = copied[use] / name
    sound = path.read_bytes()
    path.unlink()
    if spoil:
        path.write_bytes(spoil(sound))
    refused(f"pretrained: {copied[use]} ", use, copied[use], tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"version": "1.0", "model": 3}'])
@pytest.mark.parametrize("use", ["causal-lm", "encoder"])
def test_a_tokenizer_that_is_missing_or_broken(use, content, copied, tmp_path):
    for path in copied[use].glob("*token*"):
        path.unlink()
    if content is not None:
        (copied[use] / "tokenizer.json").write_bytes(content)
    refused(f"pretrained: {copied[use]} ", use, copied[use], tmp_path)


def test_weights_that_are_lacking_are_not_made_up(copied, tmp_path):
    for use in ("causal-lm", "image-encoder"):
        weights = load_file(copied[use] / "model.safetensors")
        lost = sorted(name for name in weights if "layer" in name or "h.0" in name)[0]
        save_file({name: value for name, value in weights.items() if name != lost}, copied[use] / "model.safetensors", {"format": "pt"})
        refused("has no encoder.layer.0." if use == "image-encoder" else f"has no {lost}", use, copied[use], tmp_path)


def test_weights_that_are_no_numbers_stop_the_fit_at_its_first_step(copied, tmp_path):
    weights = load_file(copied["causal-lm"] / "model.safetensors")
    weights["transformer.wte.weight"][0, 0] = torch.nan
    save_file(weights, copied["causal-lm"] / "model.safetensors", {"format": "pt"})
    generator = {**CAUSAL, "use": "causal-lm", "pretrained": str(copied["causal-lm"])}
    written = {**TEXT, "name": "nan", "generator": generator, "base": None, "metrics": ["distinct"]}
    with pytest.raises(UserError, match=r"nan, generation 0, seed 0, generation 0: the loss is nan at step 0 of 1"):
        run(experiment(written), store=tmp_path / "store")


@pytest.mark.parametrize("use", USES)
def test_an_adapter_is_refused_for_it_would_fetch_the_model_it_names(use, copied, tmp_path):
    (copied[use] / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}))
    refused("is an adapter, not a whole model", use, copied[use], tmp_path)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "../../x", "/etc/passwd", ".", "nobody/nothing", "-"])
def test_places_where_no_checkpoint_can_be(use, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("pretrained: ", use, path, tmp_path)


@pytest.mark.parametrize("use", USES)
def test_files_of_a_checkpoint_that_cannot_be_read(use, copied, tmp_path):
    (copied[use] / "loop.json").symlink_to(copied[use] / "loop.json")
    refused("loop.json cannot be read: ", use, copied[use], tmp_path)
    (copied[use] / "loop.json").unlink()
    (copied[use] / "vocab.txt").mkdir()
    refused("vocab.txt cannot be read: ", use, copied[use], tmp_path)


def test_offline_mode_is_respected_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    reaching = {
        "OfflineModeIsEnabled": lambda: HubText(path="nobody/nothing").load(eval_size=2),
        "data.download: MNIST cannot be fetched while HF_HUB_OFFLINE says": lambda: MNIST(root=str(tmp_path), download=True).load(
            eval_size=2
        ),
        "features: Inception's weights cannot be had: ": lambda: Inception().fit(small_pool("vision"), seed=0, scratch=tmp_path),
        "outgoing traffic has been disabled": lambda: fit("causal-lm", "nobody/nothing-there", tmp_path),
    }
    for said, reach in reaching.items():
        with recorded_side_effects(tmp_path) as deeds, pytest.raises(UserError) as caught:
            reach()
        assert said in str(caught.value), str(caught.value)
        assert deeds == []


ONLINE = """
import json, pathlib, sys
from autophagy import UserError, experiment, run
from autophagy.common.config.registry import ComponentSpec
from support.side_effects import recorded_side_effects
from support.tiny import TEXT, small_pool
text, vision, folder = sys.argv[1:]
lm = {"use": "causal-lm", "pretrained": text, "context": 12, "prompt_tokens": 3, "training": {"steps": 1, "batch": 4}}
wanted = {**TEXT, "generator": lm, "base": None, "metrics": ["held-out", "frechet"], "policies": ["replace"], "generations": 1}
with recorded_side_effects("/") as deeds:
    features = {"use": "encoder", "tokens": 32, "pretrained": text}
    run(experiment({**wanted, "features": features}), store=folder + "/store", out=folder + "/out")
    encoder = ComponentSpec.parse("features", {"use": "image-encoder", "pretrained": vision}).build()
    encoder.fit(small_pool("vision"), seed=0, scratch=pathlib.Path(folder))
    encoder(small_pool("vision"))
found = [[deed for deed in deeds if not deed.startswith(("subprocess.Popen", "os."))]]
with recorded_side_effects("/") as deeds:
    try:
        ComponentSpec.parse("generator", {**lm, "pretrained": "nobody/nothing"}).build().inputs()
    except UserError:
        found.append(deeds)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_nothing_is_fetched_unless_a_config_names_what_is_on_the_hub(sound, tmp_path):
    """Online, in a process of its own: checkpoints in folders open no connection; the id of one on the hub does, so it would be seen."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT / "tests")}
    words = [sys.executable, "-c", ONLINE, str(sound["causal-lm"]), str(sound["image-encoder"]), str(tmp_path)]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    local, named = json.loads(ran.stdout.splitlines()[-1])
    assert local == []
    assert any(deed.startswith("socket.") for deed in named)
