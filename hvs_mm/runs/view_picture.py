"""Picture of the candidate views that a training on a folder of images would draw."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..datasets import draw_examples
from ..engine import build_training_dataset, check_picture
from ..recipes import Recipe, choose_recipe, find_images, recipe_config
from ..utils.arguments import check_whole
from ..utils.atomic_write import atomic_write
from ..visualization import draw_candidates, to_rgb
from .output import prepare_output


def draw_views(
    data: str | os.PathLike,
    out: str | os.PathLike = 'views.png',
    *,
    method: str = 'simclr',
    model: str | None = None,
    views: int = 4,
    image_size: int | None = None,
    channels: int | None = None,
    number: int = 4,
    seed: int = 0,
) -> tuple[Path, Recipe]:
    """Picture images of a folder with the candidate views that a training would draw.

    Nothing is trained or selected. The text below a view names its transforms.

    Args:
        data, method, model, views, image_size, channels: As for ``hvs-mm train``.
        out: Picture to write, ``.png`` or ``.jpg``; an older one is replaced.
        number: Images, taken at equal distances from the sorted images.
        seed: Seed of the views.

    Returns:
        The picture, and the recipe whose views are shown.

    Raises:
        FileNotFoundError: If there is no such folder.
        OSError: If the picture cannot be written.
        ValueError: If a setting is unknown or out of range, or images are missing or too few.
    """
    check_picture('--out', str(out))
    check_whole('--number', number)
    path = prepare_output(out, force=True)
    images = find_images(data, channels)
    recipe = choose_recipe(images, method, model, views=views, image_size=image_size)
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_training_dataset(recipe_config(recipe, images, Path(folder)))
    positions = np.linspace(0, len(dataset) - 1, min(number, len(dataset))).round().astype(int)
    pixels = to_rgb(draw_candidates(draw_examples(dataset, positions.tolist(), seed)))
    with atomic_write(path) as unfinished:
        # The format is that of the final name.
        Image.fromarray(pixels).save(unfinished, Image.registered_extensions()[path.suffix.lower()])
    return path, recipe
