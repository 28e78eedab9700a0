"""Image data sets: digits, MNIST and folders of images."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import UserError
from autophagy.vision.data import MNIST, Digits, ImageFolder
from PIL import Image
from support.mnist_files import write_mnist


def test_digits_are_split_without_overlap_or_loss():
    splits = Digits().load(eval_size=400)
    assert {name: len(pool) for name, pool in splits.items()} == {"heldout": 400, "control": 400, "train": 997}
    assert splits["train"].array("image").shape == (997, 8, 8, 1)
    assert splits["train"].array("image").max() == 255
    assert set(splits["train"].list("label")) == set(range(10))


def test_digits_are_those_of_scikit_learn():
    from autophagy.vision.data import _digits_table
    from sklearn.datasets import load_digits

    digits, table = load_digits(), _digits_table()
    assert np.array_equal(table[:, :-1], digits.data) and np.array_equal(table[:, -1], digits.target)


def test_mnist_is_read_from_its_folder_and_not_downloaded_unasked(tmp_path):
    write_mnist(tmp_path)
    splits = MNIST(root=str(tmp_path)).load(eval_size=10)
    assert splits["train"].array("image").shape == (40, 28, 28, 1)
    with pytest.raises(UserError, match="data.root: MNIST cannot be read from"):
        MNIST(root=str(tmp_path / "nothing")).load(eval_size=10)


def test_image_folders_with_and_without_classes(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / f"class-{number % 3}"
        folder.mkdir(exist_ok=True)
        mode = ("RGB", "L", "RGBA", "P")[number % 4]
        Image.fromarray(rng.integers(0, 256, (20, 10 + number, 3), dtype=np.uint8)).convert(mode).save(folder / f"{number}.png")
    splits = ImageFolder(path=str(tmp_path), size=8).load(eval_size=3)
    assert splits["train"].array("image").shape == (6, 8, 8, 3)
    assert "label" in splits["train"]
    assert "label" not in ImageFolder(path=str(tmp_path / "class-0"), size=8).load(eval_size=1)["train"]
    complete = (tmp_path / "class-0" / "0.png").read_bytes()
    (tmp_path / "class-0" / "0.png").write_bytes(complete[: len(complete) // 2])
    with pytest.raises(UserError, match="0.png cannot be read"):
        ImageFolder(path=str(tmp_path), size=8).load(eval_size=3)
    with pytest.raises(UserError, match="data.path: no image file in"):
        ImageFolder(path=str(tmp_path / "nowhere")).load(eval_size=3)
