from __future__ import annotations

import pickle
import random
from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hub import get_config
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import CandidateViews, PackViews

#: Upstream configs and the names their view pipelines have there.
UPSTREAM = {
    'simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py': ['view_pipeline'],
    'simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py': ['view_pipeline'],
    'byol/byol_resnet50_16xb256-coslr-200e_in1k.py': ['view_pipeline1', 'view_pipeline2'],
    'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py': ['view_pipeline1', 'view_pipeline2'],
    'barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py': [
        'view_pipeline1',
        'view_pipeline2',
    ],
    'swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py': [
        'view_pipeline1',
        'view_pipeline2',
    ],
    'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py': ['view_pipeline'],
}


def seed(number=0):
    # Upstream's transforms draw from the global generators of numpy and random.
    np.random.seed(number)
    random.seed(number)
    torch.manual_seed(number)


def image(height=90, width=120):
    """Every pixel tells its place: channel 0 its x, channel 1 its y."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.full_like(x, 128)], axis=2).astype(np.uint8)


def draw(transforms, num_views=1, img=None, number=0):
    seed(number)
    return CandidateViews(transforms=[transforms], num_views=num_views)(
        {'img': image() if img is None else img}
    )


@pytest.mark.parametrize('name', UPSTREAM)
def test_upstream_pipelines_give_the_same_views_as_multiview(name):
    cfg = get_config(f'mmpretrain::{name}')
    pipelines = [cfg[key] for key in UPSTREAM[name]]
    counts = [2, 3][: len(pipelines)]
    results = {'img': np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8)}
    seed()
    multiview = dict(type='MultiView', transforms=deepcopy(pipelines), num_views=counts)
    expected = TRANSFORMS.build(multiview)(deepcopy(results))
    seed()
    drawn = CandidateViews(transforms=pipelines, num_views=counts, exact=True)(deepcopy(results))
    assert len(drawn['img']) == sum(counts)
    for view, expected_view in zip(drawn['img'], expected['img']):
        assert np.array_equal(view, expected_view)
    assert drawn['view_boxes'].shape == (sum(counts), 4)
    assert drawn['view_boxes'].dtype == np.float32
    for view, size in zip(drawn['img'], drawn['view_sizes']):
        assert view.shape[:2] == tuple(size)


#: Pipelines that move pixels, and by how many pixels of the original interpolation may blur them.
PIPELINES = {
    'resized crop': [dict(type='RandomResizedCrop', scale=64)],
    'crop, flip': [
        dict(type='RandomResizedCrop', scale=(48, 64)),
        dict(type='RandomFlip', prob=0.5, direction='vertical'),
    ],
    'flip, crop': [
        dict(
            type='RandomFlip',
            prob=[0.3, 0.3, 0.3],
            direction=['horizontal', 'vertical', 'diagonal'],
        ),
        dict(type='RandomResizedCrop', scale=64),
    ],
    'resize, crop': [
        dict(type='Resize', scale=(200, 100)),
        dict(type='RandomResizedCrop', scale=64),
        dict(type='RandomFlip', prob=0.5),
    ],
    'short edge, center crop': [
        dict(type='ResizeEdge', scale=64, edge='short'),
        dict(type='CenterCrop', crop_size=51),
    ],
    'crop twice': [
        dict(type='RandomResizedCrop', scale=80),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomCrop', crop_size=41),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Resize', scale=60),
    ],
    'efficientnet': [dict(type='EfficientNetRandomCrop', scale=64)],
    'sometimes': [
        dict(
            type='RandomApply',
            prob=0.5,
            transforms=[dict(type='CenterCrop', crop_size=60), dict(type='RandomFlip', prob=1.0)],
        ),
        dict(type='Resize', scale=64),
    ],
    'nothing': [],
}


@pytest.mark.parametrize('name', PIPELINES)
def test_boxes_and_flips_say_where_the_pixels_come_from(name):
    """Cut the recorded box out of the original, flip and resize it: the same view."""
    original = image()
    results = draw(PIPELINES[name], num_views=40)
    seen_flips = set()
    for view, box, flips, size in zip(
        results['img'], results['view_boxes'], results['view_flips'], results['view_sizes']
    ):
        assert view.shape[:2] == tuple(size)
        # The x and y that the pixel centers of the view should show.
        x = box[0] + (np.arange(size[1]) + 0.5) * (box[2] - box[0]) / size[1] - 0.5
        y = box[1] + (np.arange(size[0]) + 0.5) * (box[3] - box[1]) / size[0] - 0.5
        x, y = (x[::-1] if flips[0] else x), (y[::-1] if flips[1] else y)
        x = np.clip(x, box[0], box[2] - 1)
        y = np.clip(y, box[1], box[3] - 1)
        assert np.abs(view[..., 0] - x[None, :]).max() <= 1.6
        assert np.abs(view[..., 1] - y[:, None]).max() <= 1.6
        assert box[0] >= 0
        assert box[2] <= original.shape[1]
        seen_flips.add(tuple(flips))
    if 'flip' in name:
        assert len(seen_flips) > 1


def test_boxes_of_padded_crops_reach_beyond_the_image():
    results = draw([dict(type='RandomCrop', crop_size=100, padding=(4, 6))], num_views=30)
    inside = 0
    for view, box in zip(results['img'], results['view_boxes']):
        left, top, right, bottom = box.astype(int)
        assert (right - left, bottom - top) == (100, 100)
        shown = image()[max(top, 0) : bottom, max(left, 0) : right]
        row, column = max(-top, 0), max(-left, 0)
        assert np.array_equal(
            view[row : row + shown.shape[0], column : column + shown.shape[1]], shown
        )
        inside += top >= 0
    assert 0 <= inside < 30


def test_padding_of_each_side():
    crop = dict(type='RandomCrop', crop_size=90, padding=(1, 2, 3, 4))
    for view, box in zip(*(draw([crop], 20)[key] for key in ('img', 'view_boxes'))):
        left, top = box[:2].astype(int)
        assert -1 <= left <= 33
        assert -2 <= top <= 4
        shown = image()[max(top, 0) : top + 90, max(left, 0) : left + 90]
        row, column = max(-top, 0), max(-left, 0)
        height, width = shown.shape[:2]
        assert np.array_equal(view[row : row + height, column : column + width], shown)


def test_pad_if_needed():
    crop = dict(type='RandomCrop', crop_size=(101, 50), pad_if_needed=True)
    for view, box in zip(*(draw([crop], 20)[key] for key in ('img', 'view_boxes'))):
        left, top = box[:2].astype(int)
        assert -6 <= top <= -5
        assert np.array_equal(view[-top : 90 - top], image()[:, left : left + 50])


def test_center_crop_beyond_the_image():
    clipped = draw([dict(type='CenterCrop', crop_size=100)])
    assert clipped['view_boxes'].tolist() == [[10, 0, 110, 90]]
    padded = draw([dict(type='CenterCrop', crop_size=100, auto_pad=True)])
    assert padded['view_boxes'].tolist() == [[10, 0, 110, 100]]


def test_views_differ_and_the_original_is_not_touched():
    original = image()
    before = original.copy()
    pipeline = [dict(type='RandomResizedCrop', scale=64), dict(type='ColorJitter', brightness=0.4)]
    results = draw(pipeline, num_views=4, img=original)
    assert len(np.unique(results['view_boxes'], axis=0)) == 4
    assert np.array_equal(original, before)
    assert original.flags.writeable


def test_no_view_shares_memory_with_another():
    results = draw([], num_views=3)
    for view in results['img']:
        assert view.flags.writeable
        view += 1
    assert np.array_equal(results['img'][0], image() + 1)


def test_the_image_is_not_copied_per_view():
    seen = []

    def spy(results):
        seen.append(results['img'])
        return results

    original = image()
    CandidateViews(transforms=[[spy, dict(type='Resize', scale=8)]], num_views=4)({'img': original})
    assert all(np.shares_memory(view, original) for view in seen)


def test_writing_into_the_shared_image_is_an_error():
    def blacken(results):
        results['img'][:] = 0
        return results

    with pytest.raises(ValueError, match='function in CandidateViews writes into the decoded'):
        CandidateViews(transforms=[[blacken]], num_views=2)({'img': image()})


def test_pipelines_can_be_pickled_and_configs_stay():
    config = Config(dict(transforms=[PIPELINES['crop twice']], num_views=2))
    before = config.pretty_text
    transform = CandidateViews(**config)
    assert config.pretty_text == before
    copy = pickle.loads(pickle.dumps(transform))
    seed()
    expected = transform({'img': image()})
    seed()
    assert np.array_equal(copy({'img': image()})['view_boxes'], expected['view_boxes'])


def test_built_transforms_are_taken_and_left_alone():
    crop = TRANSFORMS.build(dict(type='RandomResizedCrop', scale=32))
    wrapper = TRANSFORMS.build(dict(type='RandomApply', transforms=[crop], prob=1.0))
    results = draw([wrapper])
    assert results['view_sizes'].tolist() == [[32, 32]]
    assert not np.array_equal(results['view_boxes'][0], [0, 0, 120, 90])
    assert type(wrapper.transforms.transforms[0]) is type(crop)


def test_a_pipeline_may_give_up():
    assert draw([lambda results: None]) is None


def test_geometry_reaches_the_data_samples():
    pipeline = CandidateViews(
        transforms=[PIPELINES['resized crop'], PIPELINES['crop, flip']], num_views=[2, 3]
    )
    packed = [
        PackViews()(pipeline({'img': image(), 'gt_label': 3, 'img_path': f'{i}.jpg'}))
        for i in range(4)
    ]
    batch = default_collate(packed)
    assert [tuple(view.shape) for view in batch['inputs']] == [(4, 3, 64, 64)] * 2 + [
        (4, 3, 48, 64)
    ] * 3
    sample = batch['data_samples'][1]
    assert sample.view_boxes.shape == (5, 4)
    assert sample.view_flips.shape == (5, 2)
    assert sample.view_sizes.tolist() == [[64, 64]] * 2 + [[48, 64]] * 3
    assert sample.img_path == '1.jpg'
    assert sample.gt_label.item() == 3


@pytest.mark.parametrize(
    ('kwargs', 'error', 'message'),
    [
        (dict(transforms=[[]], num_views=[1, 2]), ValueError, 'gives 2 count.s. for 1 pipeline'),
        (dict(transforms=[[]], num_views=4.0), TypeError, 'num_views=4.0 must be an integer'),
        (dict(transforms=[], num_views=[]), ValueError, 'gives 0 count'),
        (dict(transforms=[[]], num_views=0), ValueError, 'num_views=0: every count must be'),
        (dict(transforms=[[]], num_views=[1.5]), TypeError, r'num_views=\[1.5\] must be'),
        (dict(transforms=[dict(type='Resize', scale=4)], num_views=1), TypeError, 'list of pipe'),
        (
            dict(transforms=[[dict(type='torchvision/RandomHorizontalFlip')]], num_views=1),
            ValueError,
            'RandomHorizontalFlip in CandidateViews: its crop box or flip cannot be recorded',
        ),
        (
            dict(transforms=[[dict(type='EfficientNetCenterCrop', crop_size=8)]], num_views=1),
            ValueError,
            'Use one of .*RandomResizedCrop',
        ),
    ],
)
def test_wrong_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        CandidateViews(**kwargs)


def test_an_unknown_change_of_size():
    def halve(results):
        results['img'] = cv2.resize(results['img'], None, fx=0.5, fy=0.5)
        return results

    with pytest.raises(ValueError, match=r'changes the image size to \(45, 60\)'):
        draw([halve])


@pytest.mark.parametrize('img', [None, [[1]], np.zeros(3), np.zeros((0, 5, 3)), np.zeros((2, 0))])
def test_what_is_no_image(img):
    with pytest.raises(ValueError, match=r'takes img, an ndarray \(H, W, 3\)'):
        CandidateViews(transforms=[[]], num_views=1)({'img': img})


@pytest.mark.parametrize('transforms', ['x', b'x', ['x'], [[1]], [[None]], [['RandomFlip']]])
def test_what_is_no_list_of_pipelines(transforms):
    with pytest.raises(TypeError, match='transforms must be a list of pipelines'):
        CandidateViews(transforms=transforms, num_views=[1])
