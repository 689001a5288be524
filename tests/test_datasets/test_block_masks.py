from __future__ import annotations

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import BlockMasks
from hvs_mm.datasets.block_masks import block_mask


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)


def masks_of_ratio(ratio, count=200, shape=(14, 14)):
    rng = np.random.RandomState(0)
    return np.stack([block_mask(*shape, ratio, rng) for _ in range(count)])


def views(*sizes):
    return {'img': [np.zeros((*size, 3), np.uint8) for size in sizes]}


# --- One mask --------------------------------------------------------------------------------


@pytest.mark.parametrize('shape', [(14, 14), (12, 20), (4, 4), (2, 2), (1, 1), (1, 8)])
@pytest.mark.parametrize('ratio', [0.0, 0.1, 0.3, 0.5, 0.75, 0.99])
def test_ratio_is_never_exceeded(shape, ratio):
    masks = masks_of_ratio(ratio, 50, shape)
    assert masks.shape == (50, *shape)
    assert masks.dtype == bool
    assert masks.mean((1, 2)).max() <= ratio


@pytest.mark.parametrize(('ratio', 'low'), [(0.1, 0.08), (0.3, 0.27), (0.5, 0.44)])
def test_ratio_is_nearly_reached(ratio, low):
    """Only a rest that no rectangle fits into is missing."""
    assert low < masks_of_ratio(ratio).mean() <= ratio


def spied_mask(ratio, seed, shape=(14, 14)):
    """A mask and the rectangles it was made of, as they grow."""
    rng, steps = np.random.RandomState(seed), []

    class Spy:
        def uniform(self, low=0.0, high=1.0):
            steps.append(('uniform', low, high))
            return rng.uniform(low, high)

        def randint(self, low, high):
            steps.append(('randint', low, high))
            return rng.randint(low, high)

    return block_mask(*shape, ratio, Spy()), steps


def largest_rectangle(mask):
    """Patches in the largest rectangle that is masked throughout."""
    height, width = mask.shape
    return max(
        (bottom - top) * (right - left)
        for top in range(height)
        for bottom in range(top + 1, height + 1)
        for left in range(width)
        for right in range(left + 1, width + 1)
        if mask[top:bottom, left:right].all()
    )


def test_masks_are_made_of_rectangles():
    """As BEiT's: the first is of at least (14 // 3) ** 2 = 16 patches, up to rounding."""
    for mask in masks_of_ratio(0.3, 15):
        assert largest_rectangle(mask) >= 12
    # Independent patches have no such rectangle.
    assert largest_rectangle(np.random.rand(14, 14) < 0.3) < 12


class Scripted:
    """Gives the area its lowest or highest value, the aspect its middle, the place a corner."""

    def __init__(self, area):
        self.area = area

    def uniform(self, low=None, high=None):
        return self.area if low is None else (low + high) / 2

    def randint(self, low, high):
        return low


@pytest.mark.parametrize(('area', 'side'), [(0.0, 4), (1.0, 7)])
def test_area_of_a_block(area, side):
    """From (14 // 3) ** 2 = 16 patches up to what is left over, here 49 of 196."""
    mask = block_mask(14, 14, 49 / 196, Scripted(area))
    expected = np.zeros((14, 14), bool)
    expected[:side, :side] = True
    assert np.array_equal(mask, expected)


def test_rest_smaller_than_the_smallest_block():
    """9 patches are left, and the area lies between 9 and 16: only a small one fits."""
    for area, count in ((0.0, 0), (1.0, 9)):
        assert block_mask(14, 14, 9 / 196, Scripted(area)).sum() == count


def test_blocks_have_sides_between_the_aspects():
    """An aspect of up to 1 / 0.3: no line of single patches."""
    _, steps = spied_mask(0.3, 0)
    areas = [(low, high) for kind, low, high in steps if kind == 'uniform'][::2]
    aspects = [(low, high) for kind, low, high in steps if kind == 'uniform'][1::2]
    assert set(areas) == {(0.0, 1.0)}
    assert np.allclose(np.exp(aspects), [0.3, 1 / 0.3])


def test_every_patch_is_masked_about_equally_often():
    """The border less than the middle, but no patch never and none always; no preferred side."""
    frequency = masks_of_ratio(0.3, 600).mean(0)
    assert frequency.min() > 0.005
    assert frequency.max() < 0.6
    # Both reach the last row and column: an upper bound that is off by one would not.
    assert np.abs(frequency - frequency[::-1]).max() < 0.12
    assert np.abs(frequency - frequency[:, ::-1]).max() < 0.12
    assert np.abs(frequency - frequency.T).max() < 0.12


def test_full_budget_ends():
    assert masks_of_ratio(0.999, 20, (3, 3)).mean() > 0.3


# --- Ratios ----------------------------------------------------------------------------------


def kolmogorov_distance(values, low, high):
    """Largest distance of the empirical from the uniform distribution function."""
    values = np.sort(values)
    expected = np.clip((values - low) / (high - low), 0, 1)
    steps = np.arange(len(values) + 1) / len(values)
    return max((steps[1:] - expected).max(), (expected - steps[:-1]).max())


def test_distribution_of_ratios():
    """As published: nothing is masked in half of the views, else a share from 0.3 +- 0.2."""
    masks = BlockMasks(ratio=(0.0, 0.3), ratio_spread=(0.0, 0.2))
    drawn = np.array([masks.draw_ratio() for _ in range(4000)])
    masked = drawn[drawn > 0]
    # Five standard deviations, and the 0.1 % point of Kolmogorov's distribution.
    assert abs(len(masked) / 4000 - 0.5) < 5 * 0.5 / 4000**0.5
    assert masked.min() >= 0.1
    assert masked.max() <= 0.5
    assert kolmogorov_distance(masked, 0.1, 0.5) < 1.95 / len(masked) ** 0.5
    # The test can tell a normal from a uniform distribution.
    normal = np.clip(np.random.normal(0.3, 0.1, len(masked)), 0.1, 0.5)
    assert kolmogorov_distance(normal, 0.1, 0.5) > 1.95 / len(masked) ** 0.5


def test_default_is_the_published_one():
    masks = BlockMasks()
    assert masks.patch_size == 16
    assert (list(masks.ratios), list(masks.spreads)) == ([0.0, 0.3], [0.0, 0.2])


def test_a_single_ratio():
    assert {BlockMasks(ratio=0.3, ratio_spread=0.0).draw_ratio() for _ in range(20)} == {0.3}
    drawn = [BlockMasks(ratio=0.3, ratio_spread=0.2).draw_ratio() for _ in range(1000)]
    assert kolmogorov_distance(np.array(drawn), 0.1, 0.5) < 1.95 / 1000**0.5


def test_every_view_draws_a_ratio_of_its_own():
    transform = BlockMasks(patch_size=16)
    shares = np.stack(
        [transform(views((224, 224), (224, 224)))['view_masks'].mean((1, 2)) for _ in range(300)]
    )
    unmasked = shares == 0
    assert np.abs(unmasked.mean(0) - 0.5).max() < 0.15
    # Both, one, none: of independent views a quarter, a half, a quarter.
    counts = np.bincount(unmasked.sum(1), minlength=3) / 300
    assert np.abs(counts - [0.25, 0.5, 0.25]).max() < 0.15
    masked = shares[~unmasked]
    assert masked.max() <= 0.5
    assert 0.25 < masked.mean() < 0.3


# --- The transform ---------------------------------------------------------------------------


def test_masks_of_the_leading_views_of_the_first_size():
    results = views((32, 48), (32, 48), (16, 16), (16, 16), (16, 16))
    images = list(results['img'])
    masks = BlockMasks(patch_size=8, ratio=0.5, ratio_spread=0.0)(results)['view_masks']
    assert masks.shape == (2, 4, 6)
    assert masks.dtype == bool
    assert masks.any((1, 2)).all()
    assert all(a is b for a, b in zip(results['img'], images))


def test_same_seed_same_masks():
    transform, drawn = BlockMasks(patch_size=16), []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        drawn.append([transform(views(*[(224, 224)] * 4))['view_masks'] for _ in range(5)])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_in_a_pipeline():
    """From the images to what the model gets."""
    from mmcv.transforms import Compose

    pipeline = Compose(
        [
            TRANSFORMS.build(config)
            for config in (
                dict(
                    type='CandidateViews',
                    num_views=[2, 3],
                    transforms=[
                        [dict(type='RandomResizedCrop', scale=32)],
                        [dict(type='RandomResizedCrop', scale=16)],
                    ],
                ),
                dict(type='BlockMasks', patch_size=8, ratio=0.4, ratio_spread=0.0),
                dict(type='PackViews'),
            )
        ]
    )
    image = np.random.randint(0, 255, (48, 64, 3), np.uint8)
    packed = pipeline({'img': image, 'img_shape': (48, 64), 'ori_shape': (48, 64)})
    assert [tuple(view.shape[1:]) for view in packed['inputs']] == [(32, 32)] * 2 + [(16, 16)] * 3
    sample = packed['data_samples']
    assert sample.view_masks.shape == (2, 4, 4)
    assert sample.view_masks.any()
    assert sample.view_boxes.shape == (5, 4)


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('ratio', 'spread'),
    [(1.0, 0.0), (-0.1, 0.0), (1.5, 0.0), (0.9, 0.1), (0.1, 0.2), (0.5, -0.1), (np.nan, 0.0)],
)
def test_ratio_outside_of_the_interval(ratio, spread):
    for arguments in ((ratio, spread), ((0.0, ratio), (0.0, spread))):
        with pytest.raises(ValueError, match=rf'mask ratio {ratio} with spread.*\[0, 1\)'):
            BlockMasks(16, *arguments)


def test_ratios_and_spreads_of_different_number():
    with pytest.raises(ValueError, match='must have the same length'):
        BlockMasks(ratio=(0.0, 0.3), ratio_spread=(0.2,))
    with pytest.raises(ValueError, match='must have the same length'):
        BlockMasks(ratio=[], ratio_spread=[])


@pytest.mark.parametrize('patch_size', [0, -16])
def test_wrong_patch_size(patch_size):
    with pytest.raises(ValueError, match=f'patch_size={patch_size} must be an integer of at'):
        BlockMasks(patch_size)


@pytest.mark.parametrize('size', [(225, 224), (224, 225)])
def test_size_that_is_no_multiple_of_the_patch(size):
    with pytest.raises(
        ValueError, match=rf'{size[0]} x {size[1]} pixels cannot be cut.*patch_size=16.*multiple'
    ):
        BlockMasks(16)(views(size, size))


@pytest.mark.parametrize('patch_size', [None, 'x', 2.5, True, []])
def test_a_patch_size_that_is_no_whole_number(patch_size):
    with pytest.raises(ValueError, match='patch_size='):
        BlockMasks(patch_size)


@pytest.mark.parametrize('name', ['ratio', 'ratio_spread'])
@pytest.mark.parametrize('value', [None, 'x', [None], [True], {}, [[1]]])
def test_shares_that_are_no_numbers(name, value):
    with pytest.raises(TypeError, match=f'{name}='):
        BlockMasks(**{name: value})


@pytest.mark.parametrize('views', [[], None, np.zeros((8, 8, 3))])
def test_no_list_of_views(views):
    with pytest.raises(ValueError, match='a list of views: put it after'):
        BlockMasks(8)({'img': views})


# --- As DINOv2 -------------------------------------------------------------------------------


def test_half_of_the_views_and_ratios_from_a_tenth_to_a_half():
    transform = BlockMasks(patch_size=8, min_patches=4)
    ratios = np.array([transform.draw_ratio() for _ in range(4000)])
    masked = ratios[ratios > 0]
    assert abs(len(masked) / len(ratios) - 0.5) < 0.03
    # Evenly: a quarter in each quarter.
    counts = np.histogram(masked, np.linspace(0.1, 0.5, 5))[0]
    assert counts.sum() == len(masked)
    assert np.abs(counts / len(masked) - 0.25).max() < 0.04


def test_smallest_block():
    """Blocks of 4 patches come close to a ratio that a third of the side squared cannot."""
    rng = np.random.RandomState(0)
    small = np.mean([block_mask(16, 16, 0.1, rng, min_patches=4).sum() for _ in range(100)])
    large = np.mean([block_mask(16, 16, 0.1, rng).sum() for _ in range(100)])
    assert large < small <= 25.6


def test_candidates_of_a_pipeline_are_masked_alike():
    transform = BlockMasks(patch_size=1, min_patches=1, per_pipeline=True)
    seen = set()
    for _ in range(50):
        results = views(*[(32, 32)] * 4, (8, 8))
        results['view_pipelines'] = [0, 0, 1, 1, 2]
        shares = transform(results)['view_masks'].mean((1, 2))
        # Up to a rest that no rectangle fits into.
        for first, second in (shares[:2], shares[2:]):
            assert abs(first - second) < 0.02
            assert (first == 0) == (second == 0)
        seen.add(abs(shares[0] - shares[2]) > 0.02)
        assert len({mask.tobytes() for mask in results['view_masks'][:2]}) == 1 + (shares[0] > 0)
    assert seen == {True, False}
    # MultiView does not tell the pipelines.
    del results['view_pipelines']
    assert transform(results)['view_masks'].shape == (4, 32, 32)


@pytest.mark.parametrize('value', [0, 1.5, True])
def test_wrong_smallest_block(value):
    with pytest.raises(ValueError, match=r'min_patches=.* must be an integer of at least 1'):
        BlockMasks(min_patches=value)
