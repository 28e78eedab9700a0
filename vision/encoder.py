"""Any transformers vision model as a feature model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..common.core.errors import UserError
from ..common.core.pool import Pool

if TYPE_CHECKING:
    import torch

CHUNK = 64


@dataclass
class ImageEncoder:
    """`pooler_output` of a transformers vision model, `pretrained` a hub id or a folder (safetensors only, no remote code).

    That output is what each architecture itself takes for the summary of an image: for DINOv2 the CLS token after the last layer
    norm. With facebook/dinov2-base (Oquab et al. 2024) the Frechet distance is the one that Stein et al. 2023 found to agree best
    with people. A checkpoint without the weights of its summary is refused: they would be random.
    """

    pretrained: str
    revision: str | None = None
    version: ClassVar[int] = 1

    def inputs(self) -> Mapping[str, str]:
        from ..common.training.pretrained import checkpoint, digests

        return digests(checkpoint(self.pretrained, self.revision))

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Nothing is learned here; the weights are fetched now, so that a missing network is noticed at once."""
        self._load()

    def _load(self) -> None:
        from transformers import AutoImageProcessor

        from ..common.training.pretrained import checkpoint, feature_model

        folder = checkpoint(self.pretrained, self.revision)
        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # transformers meets broken files with whatever error comes up
            raise UserError(f"pretrained: {folder} does not say how it wants images: {' '.join(str(error).split())}") from error
        self._model, missing = feature_model(folder)
        if self._model.main_input_name != "pixel_values":
            raise UserError(f"pretrained: {folder} holds a {type(self._model).__name__}, which takes more than images")
        if missing:
            raise UserError(f"pretrained: {folder} has no {missing[0]}, so features would be random")

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, hidden]."""
        import torch

        from ..common.training.trainer import device

        images, found = pool.array("image"), []
        with torch.inference_mode():
            for start in range(0, len(images), CHUNK):
                output = self._model(pixel_values=self._prepared(images[start : start + CHUNK]).to(device()))
                if getattr(output, "pooler_output", None) is None:
                    raise UserError(f"pretrained: {type(self._model).__name__} has no summary of an image (`pooler_output`)")
                found.append(output.pooler_output.flatten(1).cpu().numpy())
        return {"features": np.concatenate(found)}

    def _prepared(self, images: np.ndarray) -> torch.Tensor:
        """Images uint8 [n, h, w, 1 or 3] as the model wants them, float32 [n, 3, h', w'], resized and normalised as the checkpoint says.

        But nothing is cut off: the whole image is resized to what a centre crop would have left, as Stein et al. 2023 do.
        """
        import torch

        planes = torch.from_numpy(np.repeat(images, 3 // images.shape[-1], axis=-1)).permute(0, 3, 1, 2)
        whole = {}
        if self._processor.do_center_crop:
            crop = self._processor.crop_size
            whole = {"do_center_crop": False, "size": {"height": crop.height, "width": crop.width}}
        return self._processor(list(planes), input_data_format="channels_first", return_tensors="pt", **whole)["pixel_values"]

    def save(self, folder: Path) -> None:
        (folder / "encoder.json").write_text(json.dumps({"pretrained": self.pretrained, "files": dict(self.inputs())}, sort_keys=True))

    def load(self, folder: Path) -> None:
        self._load()
