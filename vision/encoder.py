"""Any transformers vision model as a feature model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.training.pretrained import PretrainedEncoder, load_without_head

if TYPE_CHECKING:
    import torch

CHUNK = 64


@dataclass
class ImageEncoder(PretrainedEncoder):
    """`pooler_output` of a transformers vision model, `pretrained` a hub id or a folder (safetensors only, no remote code).

    That output is what each architecture itself takes for the summary of an image: for DINOv2 the CLS token after the last layer
    norm. With facebook/dinov2-base (Oquab et al. 2024) the Frechet distance is the one that Stein et al. 2023 found to agree best
    with people. A checkpoint without the weights of its summary is refused: they would be random.
    """

    version: ClassVar[int] = 1

    def _load_model(self, folder: Path) -> None:
        from transformers import AutoImageProcessor

        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # transformers raises many types for broken files
            raise UserError(f"pretrained: {folder} has no usable image processor: {' '.join(str(error).split())}") from error
        self._model, missing = load_without_head(folder)
        if self._model.main_input_name != "pixel_values":
            raise UserError(f"pretrained: {folder} holds a {type(self._model).__name__}, which is not an image-only model")
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
