"""A feature model that uses a pretrained vision model of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..common.components.fitted import Fitted
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.training.pretrained import PretrainedEncoder, load_without_head

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel  # noqa: F401 - used in Fitted["..."], which ruff does not check

CHUNK = 64
"""Number of images per batch of the encoder."""


@dataclass
class ImageEncoder(PretrainedEncoder):
    """A pretrained vision model of transformers, such as DINOv2. The features are its `pooler_output`.

    `pretrained` is a hub id or a folder (safetensors only, no remote code). `pooler_output` is a summary vector of an image. Its
    definition depends on the architecture; for DINOv2 it is the CLS token after the last layer norm. A model folder without the weights
    of this output is rejected, because transformers would replace them with random weights.

    In the study of Stein et al. 2023, the Frechet distance agrees best with human judgement if the features come from DINOv2
    (Oquab et al. 2024), for example facebook/dinov2-base.
    """

    version: ClassVar[int] = 1
    _model = Fitted["PreTrainedModel"]()
    _processor = Fitted[Any]()
    """Image processor of the model. Its class depends on the model, and these classes share no types for their settings."""

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
        """Compute features. Returns `features`, float32 [n, hidden]."""
        import torch

        from ..common.core.device import compute_in

        images, features = pool.array("image"), []
        with torch.inference_mode(), compute_in("float32"):
            for start in range(0, len(images), CHUNK):
                output = self._model(pixel_values=self._model_input(images[start : start + CHUNK]).to(self._model.device))
                if getattr(output, "pooler_output", None) is None:
                    raise UserError(f"pretrained: {type(self._model).__name__} has no summary of an image (`pooler_output`)")
                features.append(output.pooler_output.flatten(1))
        return {"features": torch.cat(features).cpu().numpy()}

    def _model_input(self, images: np.ndarray) -> torch.Tensor:
        """Convert images, uint8 [n, h, w, 1 or 3], to model input, float32 [n, 3, h', w'].

        The model's image processor resizes and normalises the images, with one change, as in Stein et al. 2023: the whole image is
        resized to the size of the centre crop and not cropped.
        """
        import torch

        planes = torch.from_numpy(np.repeat(images, 3 // images.shape[-1], axis=-1)).permute(0, 3, 1, 2)
        without_crop: dict[str, Any] = {}
        if self._processor.do_center_crop:
            crop = self._processor.crop_size
            without_crop = {"do_center_crop": False, "size": {"height": crop.height, "width": crop.width}}
        return self._processor(list(planes), input_data_format="channels_first", return_tensors="pt", **without_crop)["pixel_values"]
