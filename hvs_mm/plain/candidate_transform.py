"""Candidate views from the transforms of torchvision and Lightly, or any other function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F
from torchvision.transforms import v2
from torchvision.tv_tensors import Mask

from ..utils.arguments import is_list, is_whole
from ..utils.view_geometry import ViewGeometry

Transform = Callable[[Any], Any]

#: Modules of torchvision and Lightly whose transforms leave every pixel in its place.
_STILL = (
    'torchvision.transforms.v2._color',
    'torchvision.transforms.v2._deprecated',
    'torchvision.transforms.v2._meta',
    'torchvision.transforms.v2._misc',
    'torchvision.transforms.v2._type_conversion',
    'lightly.transforms.gaussian_blur',
    'lightly.transforms.solarize',
    'lightly.transforms.torchvision_v2_compatibility',
)


class CandidateBatch(NamedTuple):
    """The candidate views of an image; after the loader, of a batch of B images.

    Attributes:
        views: S views, tensors (3, H, W); then (B, 3, H, W).
        boxes: (S, 4) float32, the crops ``x1, y1, x2, y2`` in pixels of the original image; NaN
            where they are not known. Then (B, S, 4).
        flips: (S, 2) bool, mirrored horizontally, vertically. Then (B, S, 2).
    """

    views: list[Tensor]
    boxes: Tensor
    flips: Tensor


class CandidateTransform:
    """Draws several views of an image, and records where each lies.

    The views are those that the transform gives when called as often. Their boxes are known where
    torchvision's ``v2.RandomResizedCrop``, ``Resize`` and flips are all that moves pixels, as in
    the transforms of Lightly; ``v2.RandomApply`` around a crop, rotations, and functions of others
    leave the box of a view unknown.

    Args:
        transform: Maps an image to a view; a list of such pipelines, one for each group of views;
            or a multi-view transform of Lightly, whose different pipelines are the groups.
        num_views: Views to draw of each pipeline: a list, or one number for a single pipeline.

    Raises:
        TypeError: If a transform cannot be called.
        ValueError: If there is not one positive number for each pipeline.

    Examples:
        >>> draw = CandidateTransform(lightly.transforms.SimCLRTransform(input_size=64), 4)
        >>> batch = draw(image)  # batch.views: 4 tensors (3, 64, 64)
    """

    def __init__(self, transform: Transform | Sequence[Transform], num_views: Any) -> None:
        self.pipelines = _pipelines(transform)
        for pipeline in self.pipelines:
            if not callable(pipeline):
                raise TypeError(f'transform={pipeline!r} must map an image to a view.')
        counts = list(num_views) if is_list(num_views) else [num_views]
        if len(counts) != len(self.pipelines) or not all(is_whole(n, 1) for n in counts):
            raise ValueError(
                f'num_views={num_views!r} must be one positive integer for each of the '
                f'{len(self.pipelines)} pipelines of the transform, as candidates of HardViews.'
            )
        self.num_views = counts

    def __call__(self, image: Any) -> CandidateBatch:
        """Draw the views of an image of PIL, a tensor (3, H, W), or what else the transform takes.

        The boxes are known for the first two.
        """
        drawn = [
            _draw(pipeline, image, _whole(image))
            for pipeline, count in zip(self.pipelines, self.num_views)
            for _ in range(count)
        ]
        unknown = [np.nan] * 4
        boxes = [unknown if geometry is None else geometry.box for _, geometry in drawn]
        flips = [[False, False] if geometry is None else geometry.flipped for _, geometry in drawn]
        views = [view for view, _ in drawn]
        return CandidateBatch(views, torch.tensor(boxes, dtype=torch.float32), torch.tensor(flips))


def _pipelines(transform: Any) -> list[Transform]:
    if is_list(transform):
        return list(transform)
    parts: Any = getattr(transform, 'transforms', None)
    # Lightly's multi-view transforms name a pipeline once for each view that it gives.
    if is_list(parts) and not isinstance(transform, v2.Transform) and _is_multi_view(transform):
        return list(dict.fromkeys(parts))
    return [transform]


def _is_multi_view(transform: Transform) -> bool:
    return any(cls.__name__ == 'MultiViewTransform' for cls in type(transform).__mro__)


def _steps(transform: Any) -> Iterator[Transform]:
    """The transforms that a pipeline applies one after another."""
    module = type(transform).__module__
    if isinstance(transform, (v2.Compose, torch.nn.Sequential)):
        parts = transform.transforms if isinstance(transform, v2.Compose) else transform
        for part in parts:
            yield from _steps(part)
    elif module.startswith('lightly.') and isinstance(
        getattr(transform, 'transform', None), v2.Compose
    ):
        yield from _steps(transform.transform)
    else:
        yield transform


def _whole(image: Any) -> ViewGeometry | None:
    """The geometry of an image that nothing has changed yet, if its size is known."""
    if not isinstance(image, (Image.Image, Tensor)):
        return None
    width, height = F.get_image_size(image)
    return ViewGeometry(height, width)


def _draw(
    pipeline: Transform, image: Any, geometry: ViewGeometry | None
) -> tuple[Any, ViewGeometry | None]:
    """One view of an image, and its geometry, if known."""
    for step in _steps(pipeline):
        if isinstance(step, v2.RandomResizedCrop):
            image = _crop(step, image, geometry)
        elif isinstance(step, (v2.RandomHorizontalFlip, v2.RandomVerticalFlip)):
            image = _flip(step, image, geometry)
        else:
            image = step(image)
            if type(step) is v2.Resize and geometry is not None:
                geometry.size = F.get_image_size(image)[::-1]
            elif not _is_still(step):
                geometry = None
    return image, geometry


def _crop(step: v2.RandomResizedCrop, image: Any, geometry: ViewGeometry | None) -> Any:
    # The two halves of its forward. They had an underscore before torchvision 0.21.
    draw = getattr(step, 'make_params', None) or step._get_params
    apply = step.transform if hasattr(step, 'make_params') else step._transform
    window = draw([image])
    view = apply(image, window)
    if geometry is not None:
        geometry.crop(*(window[name] for name in ('top', 'left', 'height', 'width')))
        geometry.size = F.get_image_size(view)[::-1]
    return view


def _flip(step: v2.Transform, image: Any, geometry: ViewGeometry | None) -> Any:
    # Goes along and shows whether the image was mirrored.
    probe = Mask(torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8))
    image, probe = step(image, probe)
    if geometry is not None and probe[0, 0] != 0:
        is_horizontal = isinstance(step, v2.RandomHorizontalFlip)
        geometry.flip('horizontal' if is_horizontal else 'vertical')
    return image


def _is_still(step: Transform) -> bool:
    """Whether a transform leaves every pixel in its place."""
    if isinstance(step, v2.RandomApply):
        return all(_is_still(part) for part in step.transforms)
    if isinstance(step, (v2.Compose, torch.nn.Sequential)):
        return all(_is_still(part) for part in _steps(step))
    # Lightly's rotations stand in its pipelines also where they never act.
    never = getattr(step, 'prob', getattr(step, 'p', None)) == 0
    return never or (type(step).__module__ in _STILL and not isinstance(step, v2.Lambda))
