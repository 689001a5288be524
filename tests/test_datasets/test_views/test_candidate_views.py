from __future__ import annotations

import pickle
from copy import deepcopy

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.hub import get_config
from mmpretrain.registry import TRANSFORMS

from hvs_mm.datasets import CandidateViews, PackViews
from tests.helpers.pictures import UPSTREAM, seed
from tests.test_datasets.test_views.test_geometry import PIPELINES, draw, image


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
