"""HTML previews of image samples, for reports."""

from __future__ import annotations

import base64
import io

import numpy as np
from markupsafe import Markup

from ..common.core.pool import Pool


def show(pool: Pool) -> Markup:
    """Return HTML that shows each image of a pool as an inline PNG."""
    return Markup("").join(Markup('<img alt="sample" src="data:image/png;base64,{}">').format(_png(image)) for image in pool.array("image"))


def _png(image: np.ndarray) -> str:
    """Encode an image, uint8 [h, w, c], as PNG in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
