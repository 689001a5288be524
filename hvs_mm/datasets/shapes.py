"""A procedural image classification dataset that needs no files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from mmpretrain.datasets.base_dataset import BaseDataset
from mmpretrain.registry import DATASETS

from ..utils.arguments import check_choice, check_whole
from .drawing.image import LAYOUTS, SPLITS, draw_image
from .drawing.outlines import CLASSES

_NUM_SAMPLES = {'train': 4096, 'val': 1024}

#: Images that a process keeps, and their largest side in pixels: 48 MiB.
_KEPT_IMAGES = 4096
_KEPT_SIZE = 64

# Drawing takes longer than the augmentation of small images, and epochs repeat them.
_draw_once = lru_cache(maxsize=_KEPT_IMAGES)(draw_image)


@DATASETS.register_module()
class ShapesDataset(BaseDataset):
    """Images of ten kinds of plain shapes, drawn when they are first asked for.

    An image shows several copies of one shape, and nothing but that shape tells its class. Every
    image depends only on ``layout``, ``seed``, ``split``, its number and ``img_size``: it is
    bit-identical in every run, process and worker, and no global random state is read or changed.

    A pipeline starts with its first augmentation, without ``LoadCheckedImage``. It gets ``img``,
    (img_size, img_size, 3) uint8, BGR; ``img_shape`` and ``ori_shape``; ``img_id``, the number of
    the image in its split, whatever ``indices`` selects; ``gt_label``, ``img_id % 10``; and
    ``sample_idx``, the position in this dataset.

    Args:
        split: ``'train'`` or ``'val'``. No image belongs to both.
        num_samples: Number of images; 4096 for ``'train'`` and 1024 for ``'val'`` by default. A
            longer dataset begins with the images of a shorter one.
        img_size: Side of the images in pixels, at least 16.
        seed: Selects another set of images, at least 0.
        layout: ``'lattice'``: the shapes stand on a loose grid before a plain background, so every
            crop shows the same thing. ``'scene'``: several shapes among clutter, on ground and in
            light that change over the image, so crops have the less in common the less they
            overlap, as in photographs.
        metainfo: Meta information; ``classes`` may rename all classes.
        **kwargs: Further arguments of MMEngine's ``BaseDataset``, such as ``pipeline``, except for
            those about files.

    Raises:
        ValueError: If ``split`` is unknown, a number is too small or no integer, or
            ``metainfo['classes']`` does not name ten classes.

    Examples:
        >>> from hvs_mm.datasets.shapes import ShapesDataset
        >>> dataset = ShapesDataset(split='val')
        >>> len(dataset), dataset[3]['img'].shape, dataset.metainfo['classes'][3]
        (1024, (64, 64, 3), 'disc')
    """

    METAINFO: ClassVar[dict] = {'classes': CLASSES}

    def __init__(
        self,
        split: str = 'train',
        num_samples: int | None = None,
        img_size: int = 64,
        seed: int = 0,
        layout: str = 'lattice',
        metainfo: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        self.split = check_choice('split', split, SPLITS)
        self.layout = check_choice('layout', layout, LAYOUTS)
        self.num_samples = check_whole(
            'num_samples', _NUM_SAMPLES[split] if num_samples is None else num_samples
        )
        self.img_size = check_whole('img_size', img_size, 16, 'side of the images in pixels.')
        self.seed = check_whole('seed', seed, 0)
        names = (metainfo or {}).get('classes', CLASSES)
        if len(names) != len(CLASSES):
            raise ValueError(
                f"metainfo['classes']={names!r} must name {len(CLASSES)} classes, not {len(names)}."
            )
        super().__init__(ann_file='', data_root='', data_prefix='', metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict[str, int]]:
        """``img_id`` and ``gt_label`` of every image; no image is drawn."""
        return [{'img_id': i, 'gt_label': i % len(CLASSES)} for i in range(self.num_samples)]

    def prepare_data(self, idx: int) -> Any:
        """Draw the image at a position and send it through the pipeline."""
        data_info = self.get_data_info(idx)
        draw = _draw_once if self.img_size <= _KEPT_SIZE else draw_image
        number, label = data_info['img_id'], data_info['gt_label']
        # A copy: transforms may work in place.
        img = draw(self.layout, self.seed, self.split, number, label, self.img_size).copy()
        data_info.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return self.pipeline(data_info)

    def extra_repr(self) -> list[str]:
        """Lines that ``repr`` adds to those of the base class."""
        return [
            f'Split: \t{self.split}',
            f'Image size: \t{self.img_size}',
            f'Seed: \t{self.seed}',
            f'Layout: \t{self.layout}',
        ]
