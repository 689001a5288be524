"""Random resized crops of a batch of images, with separate boxes for each image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...utils.crop_record import CROP_COLUMNS, FILTERS
from ...utils.precision import full_precision
from ...utils.to_device import to_device

#: Reach of Pillow's bicubic filter, in pixels of the larger of the two images, and its ``a``.
_SUPPORT = 2.0
_CUBIC = -0.5
#: Images whose sides are the same number of these steps, rounded up, are cut together.
_STEP = 128
#: Pixels of the images and views that are cut together, for which there are about ten floats each.
_PIXELS = 2**23

#: Height, width, backend and interpolation of a view.
Kind = tuple[int, int, str, str]


def cut_views(pixels: Tensor, crops: np.ndarray) -> list[Tensor]:
    """Cut, resize and flip the S views of B images of any sizes, as recorded.

    The host never waits for the device.

    Args:
        pixels: (N,) uint8, the images (H, W, 3) one after the other, flattened.
        crops: (B, S, 11) float32, see :data:`hvs_mm.utils.crop_record.CROP_COLUMNS`.

    Returns:
        S tensors (B, 3, height, width) uint8.

    Raises:
        TypeError: If the pixels are not 8-bit.
        ValueError: If there are more or fewer of them than recorded, or a view differs in size or
            filter from one image to the next.
    """
    # (B, 2)
    sizes = crops[:, 0, CROP_COLUMNS.index('image_height') :].astype(np.int64)
    _check(pixels, crops, sizes)
    height, width, position = crops[0, :, 6:9].astype(int).T.tolist()
    kinds = [(h, w, *FILTERS[p]) for h, w, p in zip(height, width, position)]
    images = pixels.split((3 * sizes.prod(1)).tolist())
    chunks = _group(sizes, sum(h * w for h, w, *_ in kinds))
    order = np.concatenate(chunks)
    rows = to_device(torch.from_numpy(crops[order]), pixels.device)
    parts = []
    for numbers, some in zip(chunks, rows.split([len(chunk) for chunk in chunks])):
        batch = _stack([images[number] for number in numbers], sizes[numbers])
        parts.append(resize_views(batch, some[..., :4], some[..., 4:6] > 0, kinds))
    back = to_device(torch.from_numpy(order.argsort()), pixels.device)
    return [torch.cat(views).index_select(0, back) for views in zip(*parts)]


def resize_views(
    images: Tensor, boxes: Tensor, flips: Tensor, kinds: Sequence[Kind]
) -> list[Tensor]:
    """Cut S boxes out of each of B images and resize them, each to a size of its own.

    Args:
        images: (B, H, 3, W) uint8.
        boxes, flips: (B, S, 4) and (B, S, 2) bool, see :func:`resize_boxes`.
        kinds: Size and filter of each view.

    Returns:
        S tensors (B, 3, height, width) uint8.
    """
    alike = defaultdict(list)
    for view, kind in enumerate(kinds):
        alike[kind].append(view)
    found: dict[int, Tensor] = {}
    for (height, width, backend, interpolation), views in alike.items():
        # Not by a list of positions, which would have to be sent to the device.
        box, flip = (torch.stack([of[:, view] for view in views], 1) for of in (boxes, flips))
        cut = resize_boxes(images, box, flip, (height, width), interpolation, backend)
        found.update(zip(views, cut.to(torch.uint8).unbind(1)))
    return [found[view] for view in range(len(kinds))]


@full_precision
@torch.no_grad()
def resize_boxes(
    images: Tensor,
    boxes: Tensor,
    flips: Tensor,
    size: Sequence[int],
    interpolation: str,
    backend: str,
) -> Tensor:
    """Cut V boxes out of each of B images and resize them.

    Both passes are matrix products with the whole image, so boxes of all sizes go together. As in
    Pillow the first is horizontal, and its result is rounded; OpenCV rounds once.

    Args:
        images: (B, H, 3, W) uint8.
        boxes: (B, V, 4), ``x1, y1, x2, y2`` in pixels, which may be fractions.
        flips: (B, V, 2) bool, mirrored horizontally, vertically.
        size: (height, width) of the result.

    Returns:
        (B, V, 3, height, width) float32, integers from 0 to 255.
    """
    count, height, _, width = images.shape
    x1, y1, x2, y2 = boxes.unbind(-1)
    across = resampling_weights(x1, x2, size[1], width, interpolation, backend)
    down = resampling_weights(y1, y2, size[0], height, interpolation, backend)
    across = torch.where(flips[..., 0, None, None], across.flip(-2), across)
    down = torch.where(flips[..., 1, None, None], down.flip(-2), down)
    # (B, H 3, W) x (B, W, V w) -> (B, H 3, V w)
    rows = images.flatten(1, 2).float() @ across.flatten(1, 2).mT
    # (B, H, 3, V, w) -> (B, V, H, 3 w)
    rows = rows.view(count, height, 3, -1, size[1]).permute(0, 3, 1, 2, 4).flatten(3)
    if backend == 'pillow':
        rows = _round(rows)
    # (B, V, h, H) x (B, V, H, 3 w) -> (B, V, h, 3 w)
    views = _round(down @ rows)
    # (B, V, h, 3, w) -> (B, V, 3, h, w)
    return views.unflatten(3, (3, -1)).transpose(2, 3)


def resampling_weights(
    start: Tensor, stop: Tensor, size: int, extent: int, interpolation: str, backend: str
) -> Tensor:
    """Weights (..., size, extent) float32 that resample a window of a row of pixels.

    With ``backend='pillow'`` the filters are Pillow's, which grow with the factor of reduction;
    with ``'cv2'`` OpenCV's bilinear ones, which do not.

    Args:
        start, stop: (...) bounds of the window in pixels, the upper one exclusive. Pixels that lie
            partly in the window count.
        size: Pixels of the result.
        extent: Pixels of the row.
    """
    start, length = start[..., None].float(), (stop - start)[..., None].float()
    scale = length / size
    # (..., size), in pixels of the row, whose first has its center at 0
    center = (torch.arange(size, device=start.device) + 0.5) * scale - 0.5
    pixels = torch.arange(extent, device=start.device, dtype=torch.float32)
    if backend == 'cv2':
        center = torch.minimum(center.clamp(min=0), length - 1) + start
        # (..., size, extent)
        return (1 - (pixels - center[..., None]).abs()).clamp_(min=0)
    reach = scale.clamp(min=1)
    distance = (pixels - (center + start)[..., None]).abs_().div_(reach[..., None])
    weights = _cubic(distance) if interpolation == 'bicubic' else (1 - distance).clamp_(min=0)
    is_inside = (pixels > start - 1) & (pixels < start + length)
    weights = weights * is_inside[..., None, :]
    return weights / weights.sum(-1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic filter at distances of at least 0."""
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = _CUBIC * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < _SUPPORT, far, 0.0))


def _round(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)


def _check(pixels: Tensor, crops: np.ndarray, sizes: np.ndarray) -> None:
    if pixels.dtype != torch.uint8:
        raise TypeError(
            f"photometry='device_views' cuts views out of 8-bit images (torch.uint8), not "
            f'{pixels.dtype}: leave normalization to data_preprocessor.'
        )
    if pixels.ndim != 1 or len(pixels) != 3 * sizes.prod(1).sum():
        raise ValueError(
            f'the data samples have crops of {len(sizes)} images with {3 * sizes.prod(1).sum()} '
            f"values, but inputs have the shape {tuple(pixels.shape)}: set collate_fn.type='"
            "join_images', and leave the images as CandidateViews gives them."
        )
    if (crops[:, :, 6:9] != crops[:1, :, 6:9]).any():
        raise ValueError(
            "photometry='device_views': the view pipelines of a batch differ in scale, "
            'interpolation or backend of RandomResizedCrop from one image to the next: let all '
            "data sets have the same, or set photometry='loader'."
        )


def _group(sizes: np.ndarray, view_pixels: int) -> list[np.ndarray]:
    """Positions of the images that are cut together, given sizes (B, 2) and the views' pixels."""
    steps = defaultdict(list)
    for number, size in enumerate(sizes):
        steps[tuple(-(-size // _STEP))].append(number)
    chunks: list[np.ndarray] = []
    for numbers in steps.values():
        count = max(1, _PIXELS // int(sizes[numbers].max(0).prod() + view_pixels))
        chunks += (np.array(numbers[at : at + count]) for at in range(0, len(numbers), count))
    return chunks


def _stack(images: Sequence[Tensor], sizes: np.ndarray) -> Tensor:
    """Images (H W 3,) uint8 of the given sizes as (n, H, 3, W), padded to the largest."""
    height, width = sizes.max(0).tolist()
    if (sizes == sizes[0]).all():
        # (n, H W 3) -> (n, H, 3, W)
        return torch.stack(list(images)).view(-1, height, width, 3).transpose(2, 3)
    batch = images[0].new_zeros(len(images), height, 3, width)
    for room, image, (h, w) in zip(batch, images, sizes.tolist()):
        room[:h, :, :w] = image.view(h, w, 3).transpose(1, 2)
    return batch
