"""Untrusted pretrained models: pickles stay unopened, their code is never run, faults are named, and nothing is downloaded unasked."""

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

CANARY = "import pathlib\npathlib.Path({path!r}).write_text('executed')\n"
"""Source code that leaves a trace when it is run."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny random GPT-2 and a tiny random DINOv2 in Hugging Face format, by the component that reads them."""
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
def copies(models, tmp_path):
    """Copies that a test may damage."""
    return {use: shutil.copytree(folder, tmp_path / use) for use, folder in models.items()}


USES = ("causal-lm", "encoder", "image-encoder")


CAUSAL = {"context": 12, "prompt_tokens": 3, "training": {"steps": 1, "batch": 4}}


def fit(use, folder, scratch):
    """Fit the component `use` to the pretrained model in a folder, after hashing its files as a dry run does."""
    settings = {"causal-lm": CAUSAL, "encoder": {"tokens": 32}, "image-encoder": {}}[use]
    spec = ComponentSpec.parse("generator" if use == "causal-lm" else "features", {"use": use, "pretrained": str(folder), **settings})
    component = spec.build()
    component.inputs()
    component.fit(small_pool("vision" if use == "image-encoder" else "text"), seed=0, scratch=scratch)
    return component


def assert_rejected(message, use, folder, tmp_path):
    """Fitting raises UserError with this message, without side effects."""
    with recorded_side_effects(tmp_path) as effects, pytest.raises(UserError) as caught:
        fit(use, folder, tmp_path)
    assert message in str(caught.value), str(caught.value)
    assert effects == []


class OpensFile:
    """An object that opens a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pkl", "model.safetensors.bin"])
def test_pickles_are_rejected_unopened(use, name, copies, tmp_path):
    (copies[use] / "model.safetensors").unlink()
    (copies[use] / name).write_bytes(pickle.dumps(OpensFile(tmp_path / "opened")))
    assert_rejected("has no .safetensors file. Pickled weights are not loaded", use, copies[use], tmp_path)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("use", USES)
def test_pickle_named_safetensors_is_not_opened(use, copies, tmp_path):
    (copies[use] / "model.safetensors").write_bytes(pickle.dumps(OpensFile(tmp_path / "opened")))
    assert_rejected("cannot be read: ", use, copies[use], tmp_path)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("use", USES)
def test_code_in_a_pretrained_model_is_never_run(use, known, copies, tmp_path, monkeypatch):
    """`auto_map` in every file that may have one. Types that transformers knows are used; types that only the code defines are rejected."""
    folder, canary = copies[use], tmp_path / "canary"
    (folder / "custom.py").write_text(CANARY.format(path=str(canary)) + "class Custom: pass\n")
    names = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer", "AutoImageProcessor", "AutoProcessor")
    mapped = {name: ["custom.Custom", None] if name == "AutoTokenizer" else "custom.Custom" for name in names}
    for path in folder.glob("*.json"):
        if "config" in path.name:
            content = {**json.loads(path.read_text()), "auto_map": mapped}
            if not known:
                content |= {
                    "model_type": "custom",
                    "tokenizer_class": "Custom",
                    "image_processor_type": "Custom",
                    "architectures": ["Custom"],
                }
            path.write_text(json.dumps(content))
    if known:
        with recorded_side_effects(tmp_path) as effects:
            fit(use, folder, tmp_path)
        assert effects == []
    else:
        assert_rejected(f"pretrained: {folder} ", use, folder, tmp_path)
    assert not canary.exists()
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(Exception, match="."):
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert canary.read_text() == "executed", "the test would notice code that is run"


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", lambda original: b""),
        ("model.safetensors", lambda original: b"\xff" * 200),
        ("model.safetensors", lambda original: (2**62).to_bytes(8, "little") + original[8:]),
        ("model.safetensors", lambda original: original[: len(original) // 2]),
        ("config.json", lambda original: b""),
        ("config.json", lambda original: b"{"),
        ("config.json", lambda original: b"[" * 100_000),
        ("config.json", lambda original: b"\xff\xfe"),
        ("config.json", lambda original: b"[]"),
        ("config.json", lambda original: b"{}"),
        ("config.json", lambda original: original.replace(b"16", b'"x"')),
        ("config.json", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors_name_a_broken_pretrained_model(use, name, damage, copies, tmp_path):
    path = copies[use] / name
    original = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(original))
    assert_rejected(f"pretrained: {copies[use]} ", use, copies[use], tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"version": "1.0", "model": 3}'])
@pytest.mark.parametrize("use", ["causal-lm", "encoder"])
def test_missing_or_broken_tokenizer_is_rejected(use, content, copies, tmp_path):
    for path in copies[use].glob("*token*"):
        path.unlink()
    if content is not None:
        (copies[use] / "tokenizer.json").write_bytes(content)
    assert_rejected(f"pretrained: {copies[use]} ", use, copies[use], tmp_path)


def test_missing_weights_are_rejected(copies, tmp_path):
    for use in ("causal-lm", "image-encoder"):
        weights = load_file(copies[use] / "model.safetensors")
        lost = sorted(name for name in weights if "layer" in name or "h.0" in name)[0]
        save_file({name: value for name, value in weights.items() if name != lost}, copies[use] / "model.safetensors", {"format": "pt"})
        assert_rejected("has no encoder.layer.0." if use == "image-encoder" else f"has no {lost}", use, copies[use], tmp_path)


def test_nan_weights_stop_the_fit_at_step_0(copies, tmp_path):
    weights = load_file(copies["causal-lm"] / "model.safetensors")
    weights["transformer.wte.weight"][0, 0] = torch.nan
    save_file(weights, copies["causal-lm"] / "model.safetensors", {"format": "pt"})
    generator = {**CAUSAL, "use": "causal-lm", "pretrained": str(copies["causal-lm"])}
    config = {**TEXT, "name": "nan", "generator": generator, "base": None, "metrics": ["distinct"]}
    with pytest.raises(UserError, match=r"nan, generation 0, seed 0, generation 0: the loss is nan at step 0 of 1"):
        run(experiment(config), store=tmp_path / "store")


@pytest.mark.parametrize("use", USES)
def test_adapter_is_rejected(use, copies, tmp_path):
    (copies[use] / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "nobody/nothing", "peft_type": "LORA"}))
    assert_rejected("is an adapter, not a whole model", use, copies[use], tmp_path)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "../../x", "/etc/passwd", ".", "nobody/nothing", "-"])
def test_impossible_paths_are_rejected(use, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_rejected("pretrained: ", use, path, tmp_path)


@pytest.mark.parametrize("use", USES)
def test_unreadable_files_are_named(use, copies, tmp_path):
    (copies[use] / "loop.json").symlink_to(copies[use] / "loop.json")
    assert_rejected("loop.json cannot be read: ", use, copies[use], tmp_path)
    (copies[use] / "loop.json").unlink()
    (copies[use] / "vocab.txt").mkdir()
    assert_rejected("vocab.txt cannot be read: ", use, copies[use], tmp_path)


def test_offline_mode_is_respected_and_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    attempts = {
        "OfflineModeIsEnabled": lambda: HubText(path="nobody/nothing").load(eval_size=2),
        "data.download: MNIST cannot be downloaded, because HF_HUB_OFFLINE is set": lambda: MNIST(root=str(tmp_path), download=True).load(
            eval_size=2
        ),
        "features: the weights of Inception ": lambda: Inception().fit(small_pool("vision"), seed=0, scratch=tmp_path),
        "outgoing traffic has been disabled": lambda: fit("causal-lm", "nobody/nothing-there", tmp_path),
    }
    for message, attempt in attempts.items():
        with recorded_side_effects(tmp_path) as effects, pytest.raises(UserError) as caught:
            attempt()
        assert message in str(caught.value), str(caught.value)
        assert effects == []


ONLINE = """
import json, pathlib, sys
from autophagy import UserError, experiment, run
from autophagy.common.config.registry import ComponentSpec
from support.side_effects import recorded_side_effects
from support.tiny import TEXT, small_pool
text, vision, folder = sys.argv[1:]
lm = {"use": "causal-lm", "pretrained": text, "context": 12, "prompt_tokens": 3, "training": {"steps": 1, "batch": 4}}
config = {**TEXT, "generator": lm, "base": None, "metrics": ["held-out", "frechet"], "policies": ["replace"], "generations": 1}
with recorded_side_effects("/") as effects:
    features = {"use": "encoder", "tokens": 32, "pretrained": text}
    run(experiment({**config, "features": features}), store=folder + "/store", out=folder + "/out")
    encoder = ComponentSpec.parse("features", {"use": "image-encoder", "pretrained": vision}).build()
    encoder.fit(small_pool("vision"), seed=0, scratch=pathlib.Path(folder))
    encoder(small_pool("vision"))
results = [[effect for effect in effects if not effect.startswith(("subprocess.Popen", "os."))]]
with recorded_side_effects("/") as effects:
    try:
        ComponentSpec.parse("generator", {**lm, "pretrained": "nobody/nothing"}).build().inputs()
    except UserError:
        results.append(effects)
print(json.dumps(results))
"""


@pytest.mark.slow
def test_only_hub_ids_open_a_connection(models, tmp_path):
    """In a process that is not offline, models in folders open no connection. A hub id does, so the test would notice one."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", ONLINE, str(models["causal-lm"]), str(models["image-encoder"]), str(tmp_path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    in_folders, by_name = json.loads(process.stdout.splitlines()[-1])
    assert in_folders == []
    assert any(effect.startswith("socket.") for effect in by_name)
