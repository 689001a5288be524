"""One image of the built-in data set."""

from __future__ import annotations

import numpy as np

from .lattice import draw_lattice
from .scene import draw_scene

#: Number of a split in the seed of its images, so that splits share no image.
SPLITS = {'train': 0, 'val': 1}
LAYOUTS = {'lattice': draw_lattice, 'scene': draw_scene}


def draw_image(
    layout: str, seed: int, split: str, number: int, label: int, size: int
) -> np.ndarray:
    """Draw one image (size, size, 3) uint8, BGR, contiguous."""
    rng = np.random.default_rng([seed, SPLITS[split], number])
    image = LAYOUTS[layout](rng, label, size)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
