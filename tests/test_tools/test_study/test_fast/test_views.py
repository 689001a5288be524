"""Views of batches in memory: random numbers, records, and pixels."""

from __future__ import annotations

from typing import Any

import mmcv
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from hvs_mm.datasets import BlockMasks, CandidateViews, ShapesDataset
from hvs_mm.datasets.views.colors import _FAST
from hvs_mm.engine.hooks.selection_stats_hook import recorded_views
from hvs_mm.utils.photometry_operations import OPERATIONS
from hvs_study.fast import views as views_module
from hvs_study.fast.views import BatchedViews
from hvs_study.schema import StudyError

IMAGES = 24
JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
FLIP = dict(type='RandomFlip', prob=0.5)
COLORS = [
    dict(type='RandomApply', transforms=[JITTER], prob=0.8),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(1, 2, 5)),
]
LARGE = [dict(type='RandomResizedCrop', scale=24, backend='pillow'), FLIP, *COLORS]
SMALL = [dict(type='RandomResizedCrop', scale=12, crop_ratio_range=(0.1, 0.3)), FLIP]
MASKS = dict(type='BlockMasks', patch_size=4, ratio=(0.0, 0.3), ratio_spread=(0.0, 0.2))


@pytest.fixture(scope='module')
def arrays() -> np.ndarray:
    dataset = ShapesDataset(layout='scene', num_samples=IMAGES, pipeline=[])
    return np.stack([dataset[number]['img'] for number in range(IMAGES)])


@pytest.fixture
def images(arrays):
    return torch.from_numpy(arrays).permute(0, 1, 3, 2).contiguous()


def pipeline(*counts: int, transforms: Any = (LARGE, SMALL), kind: str = 'MultiView') -> list[Any]:
    return [dict(type=kind, num_views=list(counts), transforms=list(transforms)), MASKS]


def draw(images: torch.Tensor, steps: list[Any], *key: int) -> dict[str, Any]:
    return BatchedViews(steps, images).draw(torch.arange(IMAGES), key or (0, 0, 0))


def test_more_candidates_begin_with_the_views_of_fewer(images):
    few, many = draw(images, pipeline(2, 1)), draw(images, pipeline(4, 3, kind='CandidateViews'))
    for mine, other in ((0, 0), (1, 1), (2, 4)):
        assert torch.equal(few['inputs'][mine], many['inputs'][other])
    for one, other in zip(few['data_samples'], many['data_samples']):
        assert (one.view_boxes == other.view_boxes[[0, 1, 4]]).all()
        assert (one.view_colors == other.view_colors[[0, 1, 4]]).all()
        assert (one.view_masks == other.view_masks[:2]).all()


def test_masks_of_every_group_begin_with_those_of_fewer_candidates(images):
    few, many = (draw(images, pipeline(n, n, transforms=(LARGE, LARGE))) for n in (1, 2))
    for one, other in zip(few['data_samples'], many['data_samples']):
        assert (one.view_masks == other.view_masks[[0, 2]]).all()


def test_views_depend_on_the_key_and_the_position_alone(images):
    first, again = draw(images, pipeline(2, 1), 5, 0, 3), draw(images, pipeline(2, 1), 5, 0, 3)
    assert all(torch.equal(one, other) for one, other in zip(first['inputs'], again['inputs']))
    for key in ((5, 0, 4), (5, 1, 3), (6, 0, 3)):
        other = draw(images, pipeline(2, 1), *key)
        assert not any(torch.equal(a, b) for a, b in zip(first['inputs'], other['inputs']))
    assert not torch.equal(first['inputs'][0], first['inputs'][1])


def test_records_are_those_of_a_data_sample(images):
    batch = draw(images, pipeline(2, 3))
    assert [tuple(view.shape) for view in batch['inputs']] == [(IMAGES, 3, 24, 24)] * 2 + [
        (IMAGES, 3, 12, 12)
    ] * 3
    assert all(view.dtype == torch.uint8 for view in batch['inputs'])
    records = recorded_views(batch['data_samples'])
    assert records['boxes'].shape == (IMAGES, 5, 4)
    assert records['flips'].shape == (IMAGES, 5, 2)
    assert records['colors'].shape == (IMAGES, 5, 7)
    assert records['masked'].shape == (IMAGES, 2)
    sample = batch['data_samples'][0]
    assert sample.view_masks.shape == (2, 6, 6)
    assert sample.view_masks.dtype == bool
    assert sample.view_sizes.tolist() == [[24, 24]] * 2 + [[12, 12]] * 3


def test_views_are_distributed_as_those_of_candidate_views(images, arrays):
    """One image, many views: boxes, flips, colors and sizes of the loader."""
    np.random.seed(0)
    loader = CandidateViews([LARGE, SMALL], [2, 1])
    wanted = [loader({'img': arrays[0]}) for _ in range(400)]
    steps = BatchedViews(pipeline(2, 1), images)
    found = steps.draw(torch.zeros(400, dtype=torch.int64), (0, 0, 0))['data_samples']
    for view in range(3):
        for name in ('view_boxes', 'view_colors', 'view_flips'):
            mine = np.stack([getattr(one, name)[view] for one in found])
            theirs = np.stack([one[name][view] for one in wanted])
            for column in range(mine.shape[1]):
                assert ks_2samp(mine[:, column], theirs[:, column]).pvalue > 0.005, (name, column)
    brightness = np.stack([one.view_colors[:2, 0] for one in found])
    assert abs(np.corrcoef(brightness.T)[0, 1]) < 0.15


def test_masks_are_distributed_as_those_of_block_masks(images):
    np.random.seed(0)
    masks = BlockMasks(**{key: value for key, value in MASKS.items() if key != 'type'})
    image = np.zeros((24, 24, 3), np.uint8)
    wanted = [masks({'img': [image]})['view_masks'].mean() for _ in range(400)]
    steps = BatchedViews(pipeline(1, 1), images)
    found = steps.draw(torch.zeros(400, dtype=torch.int64), (0, 0, 0))['data_samples']
    assert ks_2samp([one.view_masks.mean() for one in found], wanted).pvalue > 0.01


def test_pixels_are_those_of_the_loader(images, arrays, monkeypatch):
    """The loader's own functions on the boxes and operations of a batch."""
    drawn = []
    apply = views_module.apply_photometry
    monkeypatch.setattr(
        views_module, 'apply_photometry', lambda v, o: (drawn.append(o), apply(v, o))[1]
    )
    batch = draw(images, pipeline(3, 1))
    gaps = []
    for number, sample in enumerate(batch['data_samples']):
        for view in range(3):
            x1, y1, x2, y2 = sample.view_boxes[view].astype(int)
            window = np.ascontiguousarray(arrays[number, y1:y2, x1:x2])
            image = mmcv.imresize(window, (24, 24), backend='pillow')
            image = image[:, ::-1].copy() if sample.view_flips[view, 0] else image
            for code, *values in drawn[0][number, view]:
                if code:
                    name = OPERATIONS[int(code) - 1]
                    image = _FAST[name](image, *(values if name == 'grayscale' else values[:1]))
            found = batch['inputs'][view][number].permute(1, 2, 0).numpy()
            gaps.append(np.abs(image.astype(int) - found.astype(int)))
    gaps = np.stack(gaps)
    # Levels of 256: of few pixels, and of hardly any by more than two.
    assert (gaps > 0).mean() < 0.02
    assert (gaps > 1).mean() < 0.005
    assert gaps.max() < 16


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        ([], 'must have MultiView or CandidateViews once'),
        ([dict(type='Rotate', angle=3)], 'knows no step Rotate'),
        (pipeline(1, transforms=[LARGE[1:]]), 'pipelines that begin with RandomResizedCrop'),
        (pipeline(1, transforms=[[*LARGE, FLIP]]), 'takes one RandomFlip'),
        (pipeline(1, transforms=[[dict(LARGE[0], interpolation='area')]]), 'RandomResizedCrop'),
        (
            [dict(type='CandidateViews', num_views=1, transforms=[LARGE], photometry='device')],
            'makes views in batches anyway',
        ),
    ],
)
def test_pipelines_that_it_cannot_draw_are_rejected(images, steps, message):
    with pytest.raises(StudyError, match=message):
        draw(images, steps)
