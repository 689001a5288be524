"""A procedural image classification dataset that needs no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import cv2
import numpy as np
from mmpretrain.datasets.base_dataset import BaseDataset
from mmpretrain.registry import DATASETS

CLASSES = (
    'arrow',
    'crescent',
    'cross',
    'disc',
    'heart',
    'hourglass',
    'ring',
    'square',
    'star',
    'triangle',
)

# Number mixed into the random stream of a sample, so that splits share no image.
_SPLIT_NUMBERS = {'train': 0, 'val': 1}
_DEFAULT_NUM_SAMPLES = {'train': 4096, 'val': 1024}

_MIN_IMG_SIZE = 16
_SUPERSAMPLING = 3
# Fixed-point bits of the outline coordinates handed to OpenCV.
_SHIFT = 4

# Copies of the shape along each side of the image.
_GRID = 3
# Area of one copy as a fraction of the area of its grid cell.
_AREA_RANGE = (0.13, 0.21)
# Luma values are on the 0 to 255 scale. All images have the same background luma, and lighter
# copies alternate with darker ones: brightness is then nothing that two crops of one image have
# in common, which self-supervised training would pick up long before the shape.
_BACKGROUND_LUMA = 127.5
# Exceeds what the textures can take away, so that outlines stay visible in a gray image too.
_LUMA_GAP_RANGE = (65.0, 95.0)
_CHROMA_STD = 35.0
_TEXTURE_LUMA_SWING = 6.0
_TEXTURE_CHROMA_STD = 6.0
_NOISE_STD = 3.0
_BGR_TO_LUMA = np.array([0.114, 0.587, 0.299], dtype=np.float32)

# How many images a process keeps, and up to how many pixels along a side: 48 MiB.
_KEPT_IMAGES = 4096
_KEPT_SIZE = 64


def _circle(radius: float) -> np.ndarray:
    """Return 64 points, shape (64, 2), on a circle around the origin."""
    angle = np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _star(points: int, inner_radius: float) -> np.ndarray:
    """Return the (2 * points, 2) corners of a star with outer radius 1."""
    angle = np.arange(2 * points) * math.pi / points
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner_radius)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _crescent(inner_radius: float, offset: float) -> np.ndarray:
    """Return a unit disc's outline, shape (80, 2), with a shifted disc bitten out of it."""
    # Where the two circles meet, seen from the center of each of them.
    cut_x = (1.0 - inner_radius**2 + offset**2) / (2.0 * offset)
    cut_y = math.sqrt(1.0 - cut_x**2)
    outer_start = math.atan2(cut_y, cut_x)
    inner_start = math.atan2(cut_y, cut_x - offset)
    outer = np.linspace(outer_start, 2.0 * math.pi - outer_start, 48)
    inner = np.linspace(2.0 * math.pi - inner_start, inner_start, 32)
    return np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], axis=1),
            np.stack([offset + inner_radius * np.cos(inner), inner_radius * np.sin(inner)], axis=1),
        ]
    )


def _heart() -> np.ndarray:
    """Return a heart's outline, shape (64, 2): a tip, two straight flanks and two half discs."""
    lobe = np.linspace(0.0, math.pi, 31)
    # A square standing on a corner with a half disc on each of its two upper sides; drawn in
    # the square's own axes, where the sides are axis-parallel.
    top = np.stack([np.cos(lobe), 1.0 + np.sin(lobe)], axis=1)
    side = np.stack([-1.0 - np.sin(lobe), np.cos(lobe)], axis=1)
    return np.concatenate([[[1.0, -1.0]], top, side])


def _signed_area_and_centroid(outline: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the signed area and the (2,) centroid of a simple polygon of shape (K, 2)."""
    following = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * following[:, 1] - following[:, 0] * outline[:, 1]
    area = float(cross.sum()) / 2.0
    return area, ((outline + following) * cross[:, None]).sum(axis=0) / (6.0 * area)


@lru_cache(maxsize=1)
def _unit_outlines() -> tuple[tuple[np.ndarray, ...], ...]:
    """Return the outlines of every class, in the order of ``CLASSES``.

    Each class has one or more float64 arrays of shape (K, 2); points inside an odd number of
    them are inside the shape. The area of each shape is 1 and its centroid is the origin, so
    that neither the size nor the position of a drawn shape tells its class.
    """
    raw: dict[str, list[Any]] = {
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
    shapes = []
    for name in CLASSES:
        outlines = [np.asarray(outline, dtype=np.float64) for outline in raw[name]]
        parts = [_signed_area_and_centroid(outline) for outline in outlines]
        area = sum(part_area for part_area, _ in parts)
        centroid = sum(part_area * center for part_area, center in parts) / area
        shapes.append(tuple((outline - centroid) / math.sqrt(abs(area)) for outline in outlines))
    return tuple(shapes)


@lru_cache(maxsize=1)
def _reach() -> float:
    """Return the largest distance of any outline point of any unit-area shape from its centroid."""
    return max(float(np.hypot(*outline.T).max()) for shape in _unit_outlines() for outline in shape)


def _draw_chroma(rng: np.random.Generator, std: float, num: int = 1) -> np.ndarray:
    """Draw BGR offsets, float32 of shape (num, 3), that change hue and saturation but no luma."""
    offset = rng.normal(0.0, std, size=(num, 3)).astype(np.float32)
    return offset - (offset @ _BGR_TO_LUMA)[:, None]


def _draw_copies(rng: np.random.Generator, label: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw copies of one shape on a loose grid that starts at a random place.

    Args:
        rng (np.random.Generator): The source of randomness.
        label (int): The class index.
        size (int): Side of the image in pixels.

    Returns:
        tuple[np.ndarray, np.ndarray]: The colors of the copies on black, BGR from 0 to 255, of
        shape (size, size, 3), and how much of each pixel they cover, from 0 to 1, of shape
        (size, size, 1); both float32.
    """
    fine = size * _SUPERSAMPLING
    canvas = np.zeros((fine, fine, 4), dtype=np.uint8)
    # One more row and column than fit: the first and the last ones are cut by the image border.
    cells = np.array(list(np.ndindex(_GRID + 1, _GRID + 1)))
    num = len(cells)
    # All lengths are in cells here.
    scale = np.sqrt(rng.uniform(*_AREA_RANGE, size=num))
    # The room to move is that of the farthest-reaching class, whatever the class drawn is.
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
    """Draw a texture of a random kind: gradient, stripes, checks, blobs or grain.

    Args:
        rng (np.random.Generator): The source of randomness.
        size (int): Side of the texture in pixels.

    Returns:
        np.ndarray: Values from -1 to 1, float32, of shape (size, size).
    """
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
    stripes = np.sin(waves * along + rng.uniform(0.0, 2.0 * math.pi))
    if kind == 1:
        return stripes.astype(np.float32)
    across = math.cos(angle) * axis[:, None] - math.sin(angle) * axis[None, :]
    return (stripes * np.sin(waves * across + rng.uniform(0.0, 2.0 * math.pi))).astype(np.float32)


def _draw_shading(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a faint colored texture, float32 of shape (size, size, 3), to be added to an image."""
    swing = _draw_chroma(rng, _TEXTURE_CHROMA_STD)
    swing += np.float32(rng.uniform(-_TEXTURE_LUMA_SWING, _TEXTURE_LUMA_SWING))
    return _draw_texture(rng, size)[..., None] * swing


def draw_shapes(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw one image: copies of one shape in many colors on a textured background.

    Only the outline of the copies depends on the label. Their areas, positions, angles and
    colors, and the color and the texture of the background, come from the same distributions
    for all classes.

    Args:
        rng (np.random.Generator): The source of randomness.
        label (int): The class index, from 0 to ``len(CLASSES) - 1``.
        size (int): Side of the image in pixels.

    Returns:
        np.ndarray: BGR image, uint8, C-contiguous, of shape (size, size, 3).
    """
    background = _BACKGROUND_LUMA + _draw_chroma(rng, _CHROMA_STD) + _draw_shading(rng, size)
    copies, cover = _draw_copies(rng, label, size)
    image = copies + cover * _draw_shading(rng, size) + (1.0 - cover) * background
    image += rng.standard_normal(size=image.shape, dtype=np.float32) * np.float32(_NOISE_STD)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _draw_sample(seed: int, split: str, number: int, label: int, size: int) -> np.ndarray:
    """Draw the image of a sample, see :func:`draw_shapes`."""
    rng = np.random.default_rng([seed, _SPLIT_NUMBERS[split], number])
    return draw_shapes(rng, label, size)


# Drawing takes longer than small crops and their augmentation; epochs have the same images.
_draw_sample_once = lru_cache(maxsize=_KEPT_IMAGES)(_draw_sample)


def _check_int(name: str, value: Any, minimum: int) -> None:
    """Raise a TypeError or ValueError unless ``value`` is an int of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'{name} must be an int, got {value!r} ({type(value).__name__})')
    if value < minimum:
        raise ValueError(f'{name} must be at least {minimum}, got {value}')


@DATASETS.register_module()
class ShapesDataset(BaseDataset):
    """Patterns of ten kinds of plain shapes, drawn when they are first asked for.

    An image shows several copies of one shape, and its class is that shape and nothing else:
    the colors, areas, positions and angles of the copies, and the color and the texture of the
    background, follow the same distributions in all classes. Every image depends only on
    ``seed``, ``split``, its index and ``img_size``, so that it is bit-identical in every run,
    process and worker, and no global random state is read or changed.

    A sample enters the pipeline with the keys that an image loading step would have set, so a
    pipeline starts with its first augmentation and has no ``LoadCheckedImage``:

    - ``img`` (np.ndarray): BGR image, uint8, C-contiguous, of shape (img_size, img_size, 3).
    - ``img_shape``, ``ori_shape`` (tuple[int, int]): Height and width in pixels.
    - ``gt_label`` (int): The class index; sample ``i`` has the label ``i % 10``.
    - ``img_id`` (int): The number of the image in its split, kept under ``indices``.
    - ``sample_idx`` (int): The position in this dataset.

    Methods which only read annotations, such as ``get_data_info`` and ``get_gt_labels``, draw
    nothing.

    Raw pixels say next to nothing about the class: a ``KNeighborsClassifier(n_neighbors=20)``
    of scikit-learn on the flattened 64 x 64 BGR values divided by 255, fitted to the 4096 train
    images of the default settings, gets 12.0 % of the 1024 val images right; chance is 10 %. On
    the gray images (``cv2.COLOR_BGR2GRAY``) it is 17.4 %.

    Args:
        split (str): 'train' or 'val'. No image belongs to both. Defaults to 'train'.
        num_samples (int, optional): Number of images. Defaults to None, which means 4096 for
            'train' and 1024 for 'val'. A longer dataset begins with the images of a shorter one.
        img_size (int): Side of the square images in pixels, at least 16. Defaults to 64.
        seed (int): Selects another set of images, at least 0. Defaults to 0.
        pipeline (Sequence[dict | Callable]): Processing steps. Defaults to an empty tuple.
        metainfo (Mapping, optional): Extra meta information; under ``classes`` it may rename
            all classes. Defaults to None.
        indices (int | Sequence[int], optional): Use only the first so many images, or the images
            listed. Defaults to None, which means all.
        serialize_data (bool): Whether workers share one copy of the labels. Defaults to True.
        test_mode (bool): Whether a failing pipeline is an error. Defaults to False.
        lazy_init (bool): Whether to leave the label list for later. Defaults to False.
        max_refetch (int): How many other samples to try when a pipeline returns None and
            ``test_mode`` is off. Defaults to 1000.

    Raises:
        TypeError: If ``split`` is no str, or ``num_samples``, ``img_size`` or ``seed`` no int.
        ValueError: If ``split`` is not a known split, if a number is too small, or if
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
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        if not isinstance(split, str):
            raise TypeError(f'split must be a str, got {split!r} ({type(split).__name__})')
        if split not in _SPLIT_NUMBERS:
            raise ValueError(f'split must be one of {sorted(_SPLIT_NUMBERS)}, got {split!r}')
        if num_samples is None:
            num_samples = _DEFAULT_NUM_SAMPLES[split]
        _check_int('num_samples', num_samples, minimum=1)
        _check_int('img_size', img_size, minimum=_MIN_IMG_SIZE)
        _check_int('seed', seed, minimum=0)
        if metainfo is not None and 'classes' in metainfo:
            num_names = len(metainfo['classes'])
            if num_names != len(CLASSES):
                raise ValueError(
                    f"metainfo['classes'] must name {len(CLASSES)} classes, got {num_names}: "
                    f'{metainfo["classes"]!r}'
                )

        self.split = split
        self.num_samples = num_samples
        self.img_size = img_size
        self.seed = seed
        super().__init__(
            ann_file='',
            metainfo=metainfo,
            indices=indices,
            serialize_data=serialize_data,
            pipeline=pipeline,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def load_data_list(self) -> list[dict[str, int]]:
        """Return the label and the number of every image; no image is drawn.

        Returns:
            list[dict[str, int]]: One dict with ``img_id`` and ``gt_label`` per image.
        """
        return [{'img_id': i, 'gt_label': i % len(CLASSES)} for i in range(self.num_samples)]

    def prepare_data(self, idx: int) -> Any:
        """Draw an image and send it through the pipeline.

        Args:
            idx (int): The position in this dataset.

        Returns:
            Any: What the last step of the pipeline returns; a dict if there is none.
        """
        data_info = self.get_data_info(idx)
        draw = _draw_sample_once if self.img_size <= _KEPT_SIZE else _draw_sample
        img = draw(
            self.seed, self.split, data_info['img_id'], data_info['gt_label'], self.img_size
        ).copy()
        data_info.update(img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return self.pipeline(data_info)

    def extra_repr(self) -> list[str]:
        """Return the lines that ``repr`` adds to those of the base class."""
        return [
            f'Split: \t{self.split}',
            f'Image size: \t{self.img_size}',
            f'Seed: \t{self.seed}',
        ]
