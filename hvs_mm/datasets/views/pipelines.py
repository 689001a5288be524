"""Build the pipeline of a group of views from upstream's transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from mmcv.transforms import Compose, RandomApply, RandomChoice

from ...utils.crop_record import FILTERS
from .colors import COLOR_TRANSFORMS, ColorTransform, RandomGrayscale
from .geometry import GEOMETRY_TRANSFORMS, GeometryTransform, RandomFlip, RandomResizedCrop

_TRANSFORMS = (*COLOR_TRANSFORMS, *GEOMETRY_TRANSFORMS)
#: Our transforms by the upstream class they derive from; built ones of ours map to themselves.
_OURS = {cls.__bases__[-1]: cls for cls in _TRANSFORMS} | {cls: cls for cls in _TRANSFORMS}
#: Wrappers in which transforms can be left to the device.
_WRAPPERS = (Compose, RandomApply, RandomChoice)


def names(transforms: Sequence[type]) -> list[str]:
    """Names of transforms in a config."""
    return [cls.__name__ for cls in transforms]


def build_pipeline(
    transforms: Sequence[dict[str, Any] | Callable], exact: bool, photometry: str
) -> Compose:
    """Build the pipeline of a group of views, which records what it does to them.

    The transforms are configs or built ones, also inside wrappers, and are not changed; for
    ``exact`` and ``photometry`` see :class:`hvs_mm.datasets.CandidateViews`.

    Raises:
        ValueError: If a crop or flip cannot be recorded, or the device would give other views.
    """
    steps: list[Any] = []
    attributes = {
        'exact': exact,
        'on_device': photometry != 'loader',
        'cut_on_device': photometry == 'device_views',
    }
    pipeline = _replace(Compose(transforms), attributes, steps)
    if photometry != 'loader':
        _check_colors(steps, photometry)
    if photometry == 'device_views':
        _check_crops(pipeline, steps)
    return pipeline


def _replace(transform: Any, attributes: dict[str, bool], steps: list[Any]) -> Any:
    """Put our transforms in place of upstream's, also inside wrappers, and list them."""
    ours = _OURS.get(type(transform))
    if ours is not None:
        steps.append(ours.from_upstream(transform, **attributes))
        return steps[-1]
    name = _name(transform)
    if _moves_pixels(name):
        known = [known for known in names(GEOMETRY_TRANSFORMS) if _moves_pixels(known)]
        raise ValueError(
            f'transform {name} in CandidateViews: its crop box or flip cannot be recorded. Use one '
            f'of {known}.'
        )
    if type(transform) not in _WRAPPERS:
        steps.append(transform)
    inner = getattr(transform, 'transforms', None)
    if inner is None:
        return transform
    wrapper = copy(transform)
    wrapper.transforms = (
        [_replace(one, attributes, steps) for one in inner]
        if isinstance(inner, list)
        else _replace(inner, attributes, steps)
    )
    return wrapper


def _name(transform: Any) -> str:
    # torchvision's transforms come wrapped, with the original in the attribute ``t``.
    return type(getattr(transform, 't', transform)).__name__


def _moves_pixels(name: str) -> bool:
    return 'Crop' in name or 'Flip' in name


def _check_colors(steps: Sequence[Any], photometry: str) -> None:
    """Check that the views stay the same if the device changes the colors last."""
    changed_by = None
    for transform in steps:
        name, problem = _name(transform), None
        if isinstance(transform, RandomGrayscale) and not transform.has_fast():
            problem = (
                f'RandomGrayscale has keep_channels={transform.keep_channels}, '
                f'{len(transform.channel_weights)} channel_weights and color_format='
                f"{transform.color_format!r}. Set keep_channels=True, 3 weights and 'bgr' or 'rgb'"
            )
        elif isinstance(transform, ColorTransform):
            changed_by = name
        elif not isinstance(transform, GeometryTransform):
            problem = (
                f'the device cannot do {name}. It does {names(COLOR_TRANSFORMS)}, also inside '
                f'{names(_WRAPPERS[1:])}; the loader crops, resizes and flips with '
                f'{names(GEOMETRY_TRANSFORMS)}. Leave {name} out'
            )
        elif changed_by is not None and not isinstance(transform, RandomFlip):
            problem = (
                f'{name} comes after {changed_by}, but the loader crops and resizes before the '
                f'device changes colors. Put {name} in front'
            )
        if problem:
            raise ValueError(
                f'photometry={photometry!r} in CandidateViews: {problem}, or set '
                "photometry='loader'."
            )


def _check_crops(pipeline: Compose, steps: Sequence[Any]) -> None:
    """Check that each view is one crop that the device can resize."""
    moving = [
        s for s in steps if isinstance(s, GeometryTransform) and not isinstance(s, RandomFlip)
    ]
    others = [type(one).__name__ for one in moving if not isinstance(one, RandomResizedCrop)]
    crops = [one for one in pipeline.transforms if isinstance(one, RandomResizedCrop)]
    problem = None
    if others:
        problem = f'the device cannot do {others[0]}: crop with RandomResizedCrop alone'
    elif len(moving) != 1 or not crops:
        problem = (
            f'a pipeline has RandomResizedCrop {len(moving)} times, {len(moving) - len(crops)} of '
            'them inside of other transforms: crop once, outside of them'
        )
    elif crops[0].filter not in FILTERS:
        backend, interpolation = crops[0].filter
        problem = (
            f'RandomResizedCrop has backend={backend!r} and interpolation={interpolation!r}: set '
            f'one of {" and ".join(map("/".join, FILTERS))}'
        )
    if problem:
        raise ValueError(
            f"photometry='device_views' in CandidateViews: {problem}, or set photometry='device', "
            'with which the loader crops.'
        )
