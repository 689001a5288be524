"""A procedural image classification dataset that needs no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
from mmpretrain.datasets.base_dataset import BaseDataset
from mmpretrain.registry import DATASETS

from ..utils.arguments import check_choice, check_whole

#: Number of a split in the seed of its images, so that splits share no image.
_SPLITS = {'train': 0, 'val': 1}
_NUM_SAMPLES = {'train': 4096, 'val': 1024}

_SUPERSAMPLING = 3
#: Fixed-point bits of the outline coordinates handed to OpenCV.
_SHIFT = 4
#: Copies of the shape along each side of the image.
_GRID = 3
#: Area of one copy as a fraction of the area of its grid cell.
_AREA_RANGE = (0.13, 0.21)
#: On the 0 to 255 scale. All images have the same background luma, and lighter copies alternate
#: with darker ones: otherwise two crops of one image would share their brightness, which
#: self-supervised training picks up long before the shape.
_BACKGROUND_LUMA = 127.5
#: Exceeds the swing of the textures, so that outlines stay visible in a gray image.
_LUMA_GAP_RANGE = (65.0, 95.0)
_CHROMA_STD = 35.0
_TEXTURE_LUMA_SWING = 6.0
_TEXTURE_CHROMA_STD = 6.0
_NOISE_STD = 3.0
_BGR_TO_LUMA = np.array([0.114, 0.587, 0.299], dtype=np.float32)

#: Images that a process keeps, and their largest side in pixels: 48 MiB.
_KEPT_IMAGES = 4096
_KEPT_SIZE = 64


def _points(angle: np.ndarray, radius: np.ndarray | float = 1.0) -> np.ndarray:
    """Points (K, 2) around the origin at K angles."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _circle(radius: float) -> np.ndarray:
    return _points(np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False), radius)


def _star(points: int, inner_radius: float) -> np.ndarray:
    corner = np.arange(2 * points)
    return _points(corner * math.pi / points, np.where(corner % 2 == 0, 1.0, inner_radius))


def _crescent(inner_radius: float, offset: float) -> np.ndarray:
    """A unit disc with a shifted disc bitten out of it."""
    # Where the two circles meet, seen from the center of each of them.
    cut_x = (1.0 - inner_radius**2 + offset**2) / (2.0 * offset)
    cut_y = math.sqrt(1.0 - cut_x**2)
    outer_start = math.atan2(cut_y, cut_x)
    inner_start = math.atan2(cut_y, cut_x - offset)
    outer = np.linspace(outer_start, 2.0 * math.pi - outer_start, 48)
    inner = np.linspace(2.0 * math.pi - inner_start, inner_start, 32)
    return np.concatenate([_points(outer), _points(inner, inner_radius) + [offset, 0.0]])


def _heart() -> np.ndarray:
    """A square standing on a corner, with a half disc on each of its two upper sides."""
    # In the axes of the square.
    lobe = _points(np.linspace(0.0, math.pi, 31))
    top, side = lobe + [0.0, 1.0], lobe[:, ::-1] * [-1.0, 1.0] - [1.0, 0.0]
    return np.concatenate([[[1.0, -1.0]], top, side])


#: Outlines by class, each (K, 2): points inside an odd number of them are inside the shape.
_OUTLINES: dict[str, list[Any]] = {
    'arrow': [
        [(2, 0), (0.3, 1.5), (0.3, 0.6), (-1.9, 0.6), (-1.9, -0.6), (0.3, -0.6), (0.3, -1.5)]
    ],
    'crescent': [_crescent(inner_radius=0.8, offset=0.55)],
    'cross': [
        [(3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1)]
        + [(-3, -1), (-1, -1), (-1, -3), (1, -3), (1, -1), (3, -1)]
    ],
    'disc': [_circle(1.0)],
    'heart': [_heart()],
    'hourglass': [[(1.25, 1), (0, 0.12), (-1.25, 1), (-1.25, -1), (0, -0.12), (1.25, -1)]],
    'ring': [_circle(1.0), _circle(0.6)[::-1]],
    'square': [[(1, 1), (-1, 1), (-1, -1), (1, -1)]],
    'star': [_star(points=5, inner_radius=0.42)],
    'triangle': [[(math.cos(a), math.sin(a)) for a in (0.0, 2 * math.pi / 3, 4 * math.pi / 3)]],
}
CLASSES = tuple(_OUTLINES)


@cache
def _unit_outlines() -> tuple[list[np.ndarray], ...]:
    """Outlines by class, with area 1 and the centroid in the origin.

    Neither the size nor the position of a drawn shape then tells its class.
    """
    shapes = []
    for raw in _OUTLINES.values():
        outlines = [np.asarray(outline, dtype=np.float64) for outline in raw]
        area, moment = 0.0, 0.0
        for outline in outlines:
            following = np.roll(outline, -1, axis=0)
            cross = outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]
            area += cross.sum() / 2.0
            moment += ((outline + following) * cross[:, None]).sum(axis=0) / 6.0
        shapes.append([(outline - moment / area) / math.sqrt(abs(area)) for outline in outlines])
    return tuple(shapes)


@cache
def _reach() -> float:
    """Largest distance of a point of any unit shape from its centroid."""
    return max(float(np.hypot(*outline.T).max()) for shape in _unit_outlines() for outline in shape)


def _draw_chroma(rng: np.random.Generator, std: float, num: int = 1) -> np.ndarray:
    """BGR offsets (num, 3) float32 that change hue and saturation but no luma."""
    offset = rng.normal(0.0, std, size=(num, 3)).astype(np.float32)
    return offset - (offset @ _BGR_TO_LUMA)[:, None]


def _draw_copies(rng: np.random.Generator, label: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw copies of one shape on a loose grid that starts at a random place.

    Returns:
        The colors of the copies on black, (size, size, 3), BGR from 0 to 255, and the share of each
        pixel that they cover, (size, size, 1); both float32.
    """
    fine = size * _SUPERSAMPLING
    canvas = np.zeros((fine, fine, 4), dtype=np.uint8)
    # One more row and column than fit: the image border cuts the first and the last ones.
    cells = np.array(list(np.ndindex(_GRID + 1, _GRID + 1)))
    num = len(cells)
    # All lengths are in cells here.
    scale = np.sqrt(rng.uniform(*_AREA_RANGE, size=num))
    # Every class has the room to move of the farthest-reaching one.
    room = 0.5 - scale * _reach()
    center = cells + 0.5 - rng.uniform(0.0, 1.0, size=2)
    center += rng.uniform(-1.0, 1.0, size=(num, 2)) * room[:, None]
    angle = rng.uniform(0.0, 2.0 * math.pi, size=num)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1)

    sign = 1 - 2 * ((cells.sum(axis=1) + rng.integers(2)) % 2)
    luma = _BACKGROUND_LUMA + sign * rng.uniform(*_LUMA_GAP_RANGE, size=num)
    colors = luma[:, None] + _draw_chroma(rng, _CHROMA_STD, num)
    colors = np.concatenate([np.clip(colors, 0.0, 255.0), np.full((num, 1), 255.0)], axis=1)

    to_fixed_point = (fine << _SHIFT) / _GRID
    outlines = [
        np.rint((outline @ rotation + center[:, None]) * to_fixed_point).astype(np.int32)
        for outline in _unit_outlines()[label]
    ]
    for copy, color in enumerate(colors.tolist()):
        cv2.fillPoly(canvas, [outline[copy] for outline in outlines], color, shift=_SHIFT)
    canvas = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return canvas[..., :3], canvas[..., 3:] / 255.0


def _draw_texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Gradient, stripes, checks, blobs or grain, (size, size) float32 from -1 to 1."""
    kind = rng.integers(5)
    if kind >= 3:
        # Smoothly enlarged noise: a few large blobs, or grain of a few pixels.
        cells = rng.integers(3, 7) if kind == 3 else rng.integers(size // 4, size // 2)
        coarse = rng.uniform(-1.0, 1.0, size=(cells, cells)).astype(np.float32)
        return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)

    angle = rng.uniform(0.0, 2.0 * math.pi)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    along = math.cos(angle) * axis[None, :] + math.sin(angle) * axis[:, None]
    if kind == 0:
        return along * np.float32(math.sqrt(2.0))
    waves = 2.0 * math.pi * rng.uniform(3.0, 8.0)
    texture = np.sin(waves * along + rng.uniform(0.0, 2.0 * math.pi))
    if kind == 2:
        across = math.cos(angle) * axis[:, None] - math.sin(angle) * axis[None, :]
        texture = texture * np.sin(waves * across + rng.uniform(0.0, 2.0 * math.pi))
    return texture.astype(np.float32)


def _draw_shading(rng: np.random.Generator, size: int) -> np.ndarray:
    """A faint colored texture (size, size, 3) float32, to be added to an image."""
    swing = _draw_chroma(rng, _TEXTURE_CHROMA_STD)
    swing += np.float32(rng.uniform(-_TEXTURE_LUMA_SWING, _TEXTURE_LUMA_SWING))
    return _draw_texture(rng, size)[..., None] * swing


def _draw(seed: int, split: str, number: int, label: int, size: int) -> np.ndarray:
    """Draw one image (size, size, 3) uint8, BGR, contiguous.

    Only the outline of the copies depends on the label: their areas, positions, angles and colors,
    and the color and texture of the background have the same distributions in all classes.
    """
    rng = np.random.default_rng([seed, _SPLITS[split], number])
    background = _BACKGROUND_LUMA + _draw_chroma(rng, _CHROMA_STD) + _draw_shading(rng, size)
    copies, cover = _draw_copies(rng, label, size)
    image = copies + cover * _draw_shading(rng, size) + (1.0 - cover) * background
    image += rng.standard_normal(size=image.shape, dtype=np.float32) * np.float32(_NOISE_STD)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


# Drawing takes longer than the augmentation of small images, and epochs repeat them.
_draw_once = lru_cache(maxsize=_KEPT_IMAGES)(_draw)


@DATASETS.register_module()
class ShapesDataset(BaseDataset):
    """Patterns of ten kinds of plain shapes, drawn when they are first asked for.

    An image shows several copies of one shape, and nothing but that shape tells its class. Every
    image depends only on ``seed``, ``split``, its number and ``img_size``: it is bit-identical in
    every run, process and worker, and no global random state is read or changed.

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
        metainfo: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        self.split = check_choice('split', split, _SPLITS)
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
        draw = _draw_once if self.img_size <= _KEPT_SIZE else _draw
        number, label = data_info['img_id'], data_info['gt_label']
        # A copy: transforms may work in place.
        img = draw(self.seed, self.split, number, label, self.img_size).copy()
        data_info.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return self.pipeline(data_info)

    def extra_repr(self) -> list[str]:
        """Lines that ``repr`` adds to those of the base class."""
        return [f'Split: \t{self.split}', f'Image size: \t{self.img_size}', f'Seed: \t{self.seed}']
