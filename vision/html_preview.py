"""How image samples look in a report."""

from __future__ import annotations

import base64
import io

from markupsafe import Markup
from PIL import Image

from ..common.core.pool import Pool


def show(pool: Pool) -> Markup:
    """HTML for the rows of an image pool: one PNG each, inlined, drawn with sharp pixels."""
    return Markup("").join(Markup('<img alt="sample" src="data:image/png;base64,{}">').format(_png(image)) for image in pool.array("image"))


def _png(image) -> str:
    """An image uint8 [h, w, c] as base64 PNG."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
