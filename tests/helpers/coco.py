"""A tiny data set in COCO format."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

#: Colors of the two categories, BGR.
COLORS = {'red': (40, 40, 220), 'blue': (220, 80, 40)}


def write_coco(root: Path, num_images: int = 4, size: tuple[int, int] = (64, 96)) -> Path:
    """Draw one rectangle of each category into every image, for training and for validation.

    Args:
        root: Folder to write to.
        num_images: Images per split.
        size: Height and width in pixels.

    Returns:
        The folder, with ``train/``, ``val/`` and ``annotations/{train,val}.json``.
    """
    rng = np.random.default_rng(0)
    height, width = size
    (root / 'annotations').mkdir(parents=True)
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(COLORS)]
    for split in ('train', 'val'):
        (root / split).mkdir()
        images, annotations = [], []
        for image_id in range(num_images):
            image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
            for category in categories:
                w, h = (int(x) for x in rng.integers(24, 36, 2))
                x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
                image[y : y + h, x : x + w] = COLORS[category['name']]
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=image_id,
                        category_id=category['id'],
                        bbox=[x, y, w, h],
                        area=w * h,
                        iscrowd=0,
                        segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                    )
                )
            name = f'{image_id}.png'
            cv2.imwrite(str(root / split / name), image)
            images.append(dict(id=image_id, file_name=name, height=height, width=width))
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(content))
    return root
