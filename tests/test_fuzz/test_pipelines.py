"""Random images and arguments of CandidateViews and BlockMasks: upstream agrees, or an error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import BlockMasks, CandidateViews, PackViews
from tests.helpers.fuzzing import RefusedError, fuzz, may_refuse
from tests.helpers.pictures import seed

JUNK = st.sampled_from([None, True, 0, -1, 2.5, math.nan, 'x', '', [], [0], [None], {}, [[1]], ()])


# --- CandidateViews --------------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from(
        [
            {'type': 'RandomResizedCrop', 'scale': 8, 'crop_ratio_range': (0.1, 1.0)},
            {'type': 'RandomResizedCrop', 'scale': (3, 9), 'backend': 'pillow'},
            {'type': 'RandomFlip', 'prob': 0.5},
            {'type': 'ColorJitter', 'brightness': 0.4, 'contrast': 0.4, 'saturation': 0.2},
            {'type': 'RandomGrayscale', 'prob': 0.5, 'keep_channels': True},
            {'type': 'GaussianBlur', 'magnitude_range': (0.1, 2.0), 'prob': 0.5},
            {'type': 'Solarize', 'thr': 128, 'prob': 0.5},
        ]
    ),
    max_size=4,
)


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


@st.composite
def draws(draw: st.DrawFn) -> tuple[Any, ...]:
    pipelines = draw(st.lists(STEPS, min_size=1, max_size=2))
    counts = [draw(st.integers(1, 3)) for _ in pipelines]
    exact = draw(st.booleans())
    spoiled = draw(st.sampled_from(['', '', '', 'num_views', 'transforms', 'photometry']))
    arguments = {'transforms': pipelines, 'num_views': counts, 'exact': exact}
    if spoiled:
        arguments[spoiled] = draw(JUNK)
    return draw(pictures()), arguments, spoiled, draw(st.integers(0, 999))


def check_views(example: tuple[Any, ...]) -> str:
    image, arguments, spoiled, number = example
    if spoiled:
        try:
            with may_refuse(spoiled, 'num_views'):
                CandidateViews(**arguments)
        except RefusedError:
            return f'refused ({spoiled})'
        # One pipeline that does nothing, drawn once, is a right argument after all.
        assert arguments[spoiled] in ([[]], [1], 1) or spoiled == 'exact', arguments
        return 'right after all'
    settings = {name: arguments[name] for name in ('transforms', 'num_views')}
    seed(number)
    expected = TRANSFORMS.build({'type': 'MultiView', **settings})({'img': image.copy()})['img']
    seed(number)
    results = CandidateViews(**arguments)({'img': image.copy()})
    assert len(results['img']) == len(expected) == sum(arguments['num_views'])
    changes = sum(len(pipeline) for pipeline in arguments['transforms'])
    for view, wanted, box, size in zip(
        results['img'], expected, results['view_boxes'], results['view_sizes']
    ):
        assert view.shape == wanted.shape == (*size, 3)
        assert view.dtype == np.uint8
        if arguments['exact']:
            assert np.array_equal(view, wanted)
        elif 'Solarize' not in str(arguments['transforms']):
            # A level of difference of one step may grow in the next one.
            difference = np.abs(view.astype(int) - wanted.astype(int))
            assert difference.max() <= 3 + 3 * changes
        left, top, right, bottom = box
        assert 0 <= left < right <= image.shape[1] + 1e-3
        assert 0 <= top < bottom <= image.shape[0] + 1e-3
    packed = PackViews()(results)
    assert [tuple(view.shape) for view in packed['inputs']] == [
        (3, *view.shape[:2]) for view in expected
    ]
    return 'drawn'


def test_candidate_views() -> None:
    fuzz('CandidateViews', 60, draws(), check_views)


KINDS = st.sampled_from(
    [
        lambda image: image[..., 0],
        lambda image: image[..., :1],
        lambda image: image[..., :2],
        lambda image: image.astype(np.float32),
        lambda image: image.astype(np.uint16),
        lambda image: image[:0],
        lambda image: image.tolist(),
        lambda image: None,
        lambda image: image[0, 0],
    ]
)


def check_kind(example: tuple[Any, ...]) -> str:
    """Without a transform that is upstream's own matter."""
    change, image, counts = example
    changed = change(image)
    try:
        with may_refuse('img'):
            results = CandidateViews([[]], counts)({'img': changed})
    except RefusedError:
        return 'refused'
    assert all(np.array_equal(view, changed) for view in results['img'])
    return 'drawn'


def test_images_of_other_kinds() -> None:
    fuzz('kinds', 40, st.tuples(KINDS, pictures(), st.integers(1, 2)), check_kind)


# --- BlockMasks ------------------------------------------------------------------------------

RATIOS = st.one_of(st.floats(-0.1, 1.1), st.integers(0, 1), st.lists(st.floats(0, 0.9), max_size=2))
SPREADS = st.one_of(st.sampled_from([0.0, 0, 0.1]), st.lists(st.floats(0, 0.1), max_size=2))


@st.composite
def masks(draw: st.DrawFn) -> tuple[Any, ...]:
    arguments = {
        'patch_size': draw(st.sampled_from([1, 1, 2, 4, 8])),
        'ratio': draw(RATIOS),
        'ratio_spread': draw(SPREADS),
    }
    if draw(st.booleans()):
        # Right ones.
        arguments |= {'ratio': draw(st.floats(0, 0.99)), 'ratio_spread': 0.0}
    elif draw(st.booleans()):
        arguments[draw(st.sampled_from([*arguments]))] = draw(JUNK)
    sizes = draw(st.lists(st.tuples(st.integers(1, 24), st.integers(1, 24)), max_size=2))
    if not draw(st.integers(0, 4)):
        return arguments, sizes, draw(st.integers(0, 999))
    sizes = [(8 * (1 + rows % 4), 8 * (1 + columns % 4)) for rows, columns in sizes]
    return arguments, sizes, draw(st.integers(0, 999))


def is_share(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_right(arguments: dict[str, Any]) -> bool:
    patch, ratio, spread = (arguments[n] for n in ('patch_size', 'ratio', 'ratio_spread'))
    ratios = list(ratio) if type(ratio) in (list, tuple) else [ratio]
    spreads = list(spread) if type(spread) in (list, tuple) else [spread] * len(ratios)
    if type(patch) is not int or patch < 1 or not ratios or len(ratios) != len(spreads):
        return False
    return all(map(is_share, ratios + spreads)) and all(
        s >= 0 and r - s >= 0 and r + s < 1 for r, s in zip(ratios, spreads)
    )


def check_masks(example: tuple[Any, ...]) -> str:
    arguments, sizes, number = example
    transform = None
    try:
        with may_refuse('patch_size', 'ratio'):
            transform = BlockMasks(**arguments)
    except RefusedError:
        pass
    assert (transform is not None) == is_right(arguments)
    if transform is None:
        return 'refused'
    patch, seen = arguments['patch_size'], [np.zeros((*size, 3), np.uint8) for size in sizes]
    seed(number)
    fits = bool(sizes) and all(side % patch == 0 for side in sizes[0])
    found = None
    try:
        with may_refuse('patch_size', 'img'):
            found = transform({'img': seen})['view_masks']
    except RefusedError:
        pass
    assert (found is not None) == fits
    if found is None:
        return 'refused (size)'
    leading = next((n for n, size in enumerate(sizes) if size != sizes[0]), len(sizes))
    assert found.dtype == bool
    assert found.shape == (leading, *(side // patch for side in sizes[0]))
    ratio, spread = arguments['ratio'], arguments['ratio_spread']
    most = max(ratio if isinstance(ratio, (list, tuple)) else [ratio])
    most += max(spread if isinstance(spread, (list, tuple)) else [spread])
    for mask in found:
        assert mask.sum() <= most * mask.size + 1e-9
    return 'masked'


def test_block_masks() -> None:
    fuzz('BlockMasks', 200, masks(), check_masks)
