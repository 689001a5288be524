"""What a loader must record for selectors that take no forward passes."""

from __future__ import annotations

import re

import pytest

from hvs_mm.engine import error_line, preflight
from tests.test_engine.test_checks.test_preflight import config as plain_config

CROP = dict(type='RandomResizedCrop', scale=32)
GRAY = dict(type='RandomGrayscale', prob=0.2)


def config(selector, transforms=(CROP,), steps=None, **packing):
    cfg = plain_config()
    cfg.model.selector = selector
    cfg.train_dataloader.dataset.pipeline = steps or [
        dict(type='CandidateViews', num_views=[4], transforms=[list(transforms)]),
        dict(type='PackViews', **packing),
    ]
    return cfg


@pytest.mark.parametrize(
    ('selector', 'transforms'),
    [
        ('lowest_iou', [CROP]),
        (dict(type='iou_below', threshold=0.3), [CROP, GRAY]),
        (dict(type='per_group', global_crops='lowest_iou'), [CROP]),
        ('largest_color_difference', [CROP, GRAY]),
        ('largest_color_difference', [dict(type='RandomApply', transforms=[GRAY], prob=0.5)]),
        # They read no records.
        ('hardest', [dict(type='Resize', scale=32)]),
    ],
)
def test_good_pipelines(selector, transforms):
    preflight(config(selector, transforms))


def test_other_steps_that_may_record():
    preflight(config('lowest_iou', meta_keys=['img_path', 'view_boxes']))
    cfg = config('lowest_iou')
    cfg.train_dataloader.dataset.pipeline[1].update(type='PackInputs', meta_keys=['view_boxes'])
    preflight(cfg)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            config(
                'lowest_iou',
                steps=[
                    dict(type='MultiView', num_views=[4], transforms=[[CROP]]),
                    dict(type='PackViews'),
                ],
            ),
            "LowestIoUSelector reads view_boxes, which the steps ['MultiView', 'PackViews'] of "
            "train_dataloader.dataset.pipeline do not give: draw the views with dict(type='Cand",
        ),
        (
            config('largest_color_difference', meta_keys=['view_boxes']),
            "LargestColorDifferenceSelector reads view_colors, which the steps ['CandidateViews', ",
        ),
        (
            config(
                'lowest_iou',
                steps=[
                    dict(type='CandidateViews', num_views=[4], transforms=[[CROP]]),
                    dict(type='PackInputs'),
                ],
            ),
            "LowestIoUSelector reads view_boxes, which the steps ['CandidateViews', 'PackInputs'] ",
        ),
        (
            config('largest_color_difference', [CROP, dict(type='RandomFlip', prob=0.5)]),
            'LargestColorDifferenceSelector compares view_colors, but CandidateViews in '
            "train_dataloader.dataset.pipeline has none of ['ColorJitter', 'RandomGrayscale'], so "
            'all views are alike: add one, or take another model.selector.',
        ),
        (
            config('lowest_iou', [dict(type='Resize', scale=32), GRAY]),
            'LowestIoUSelector compares view_boxes, but CandidateViews in train_dataloader.dataset',
        ),
    ],
)
def test_pipelines_that_record_nothing_to_compare(cfg, message):
    with pytest.raises(ValueError, match='^' + re.escape(message)) as error:
        preflight(cfg)
    assert '\n' not in error_line(error.value)
