"""Small pictures of training examples, for the list of those that a file exposes most."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from safedeploy.report.contents import decisive
from safedeploy.results import Evidence


def exposed_indices(evidence: Sequence[Evidence]) -> list[int]:
    """The `ExposedMember.index` of every example that a page lists, each once."""
    worst = [attack for one in evidence if (attack := decisive(one)) is not None]
    return list(dict.fromkeys(member.index for attack in worst for member in attack.exposed))


def png(image: NDArray[np.floating | np.integer]) -> bytes:
    """An image (C, H, W) of 1 or 3 channels, or (H, W), as a PNG, each stretched from black to white.

    Stretched, as inputs that were standardised have no black and white of their own. ValueError for other shapes.
    """
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise ValueError(f"an image has shape (C, H, W) with 1 or 3 channels, not {pixels.shape}")
    low, high = pixels.min(), pixels.max()
    grey = (pixels - low) / (high - low) if high > low else np.zeros_like(pixels)
    rgb = np.broadcast_to(np.round(grey * 255).astype(np.uint8), (3, *pixels.shape[1:])).transpose(1, 2, 0)
    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(rgb), format="png")
    return file.getvalue()
