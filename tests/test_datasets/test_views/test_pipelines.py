"""``CandidateViews(photometry='device')`` draws what the loader would have done."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from mmengine.hub import get_config

from hvs_mm.datasets import CandidateViews, PackViews
from hvs_mm.datasets.views.colors import ColorJitter
from hvs_mm.datasets.views.geometry import RandomResizedCrop
from hvs_mm.utils.photometry_operations import OPERATIONS
from tests.helpers.pictures import DISTINCT, UPSTREAM, seed

CROP = dict(type='RandomResizedCrop', scale=32)
FLIP = dict(type='RandomFlip', prob=0.5)
JITTER = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
GRAY = dict(type='RandomGrayscale', prob=0.5, keep_channels=True, channel_weights=(1, 6, 3))
BLUR = dict(type='GaussianBlur', magnitude_range=(0.5, 3.0), magnitude_std='inf', prob=0.5)
SOLARIZE = dict(type='Solarize', thr=100, prob=0.5)


def noise(height=80, width=100):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def draw(transforms, num_views=20, photometry='device'):
    seed(3)
    return CandidateViews([transforms], num_views, photometry=photometry)({'img': noise()})


def operations_of(record):
    """Names and values of what a view gets, without the padding."""
    return [(OPERATIONS[int(code) - 1], values) for code, *values in record if code]


def test_the_image_is_only_cropped_and_flipped():
    jitter = dict(type='RandomApply', transforms=[JITTER], prob=1.0)
    changed = [jitter, {**GRAY, 'prob': 1.0}, {**BLUR, 'prob': 1.0}, {**SOLARIZE, 'prob': 1.0}]
    (view,) = draw([CROP, FLIP, *changed], 1)['img']
    assert np.array_equal(view, draw([CROP, FLIP], 1, 'loader')['img'][0])


@pytest.mark.parametrize('name', DISTINCT)
def test_the_same_random_numbers_as_in_the_loader(name):
    cfg = get_config(f'mmpretrain::{name}')
    pipelines = [cfg[key] for key in UPSTREAM[name]]
    counts = [3] * len(pipelines)
    records = []
    for photometry in ('loader', 'device'):
        seed(1)
        drawn = CandidateViews(pipelines, counts, photometry=photometry)({'img': noise(200, 240)})
        after = np.random.rand()
        records.append([drawn[f'view_{key}'] for key in ('boxes', 'flips', 'colors')] + [after])
    for loader, device in zip(*records):
        assert np.array_equal(loader, device)
    assert (records[0][2] != [1, 1, 1, 0, 0, 0, 0]).any()


def test_what_is_to_be_done_is_what_is_recorded():
    drawn = draw([CROP, dict(type='RandomApply', transforms=[JITTER], prob=0.5), GRAY, BLUR])
    record = drawn['view_photometry']
    assert record.dtype == np.float32
    assert record.shape[::2] == (20, 4)
    jittered = 0
    for view, colors in zip(record, drawn['view_colors']):
        done = operations_of(view)
        values = dict(done)
        jitter = [name for name, _ in done[:4] if name in OPERATIONS[:4]]
        assert len(jitter) in (0, 4)
        jittered += bool(jitter)
        # The rest comes behind the jitter, in the order of the pipeline.
        rest = [name for name, _ in done[len(jitter) :]]
        assert rest == [name for name in ('grayscale', 'blur') if name in rest]
        for column, name in enumerate(OPERATIONS[:4]):
            assert colors[column] == (values[name][0] if jitter else (0 if name == 'hue' else 1))
        assert colors[4] == (values['blur'][0] if 'blur' in values else 0)
        assert colors[5] == ('grayscale' in values)
        if 'grayscale' in values:
            np.testing.assert_allclose(values['grayscale'], [0.1, 0.6, 0.3], rtol=1e-6)
    assert 4 < jittered < 16
    orders = {tuple(name for name, _ in operations_of(view)[:4]) for view in record}
    assert len(orders) > 4


def test_probabilities_and_ranges():
    drawn = draw([JITTER, GRAY, BLUR, SOLARIZE], 2000)
    found = {name: [] for name in OPERATIONS}
    for view in drawn['view_photometry']:
        for name, values in operations_of(view):
            found[name].append(values[0])
    # Four standard deviations of a share of 2000.
    for name in ('grayscale', 'blur', 'solarize'):
        assert len(found[name]) / 2000 == pytest.approx(0.5, abs=0.045)
    for name, low, high in (
        ('brightness', 0.6, 1.4),
        ('contrast', 0.6, 1.4),
        ('saturation', 0.6, 1.4),
        ('hue', -0.1, 0.1),
        ('blur', 0.5, 3),
    ):
        values = np.array(found[name])
        assert low - 1e-6 <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high + 1e-6
        # Uniform: the mean, within four standard deviations.
        tolerance = 4 * (high - low) / (12 * len(values)) ** 0.5
        assert values.mean() == pytest.approx((low + high) / 2, abs=tolerance)
    assert set(found['solarize']) == {100}


def test_fixed_strengths():
    transforms = [
        dict(type='GaussianBlur', radius=1.5, prob=1.0),
        dict(type='Solarize', magnitude_range=(64, 64), prob=1.0),
    ]
    (view,) = draw(transforms, 1)['view_photometry']
    assert operations_of(view) == [('blur', [1.5, 0, 0]), ('solarize', [64, 0, 0])]


def test_pipelines_without_changes_of_color():
    drawn = draw([CROP, FLIP], 3)
    assert drawn['view_photometry'].shape == (3, 0, 4)
    assert draw([CROP], 3, 'loader').keys() == drawn.keys() - {'view_photometry'}


def test_transforms_inside_of_wrappers():
    choice = dict(type='RandomChoice', transforms=[[SOLARIZE], [GRAY, FLIP]], prob=[0.5, 0.5])
    records = draw([CROP, dict(type='RandomApply', transforms=[choice], prob=0.9)], 60)
    names = [tuple(name for name, _ in operations_of(v)) for v in records['view_photometry']]
    assert set(names) == {(), ('solarize',), ('grayscale',)}


def test_a_worker_can_receive_it():
    transform = CandidateViews([[CROP, JITTER, GRAY, BLUR]], 2, photometry='device')
    seed(3)
    expected = transform({'img': noise()})['view_photometry']
    seed(3)
    copied = pickle.loads(pickle.dumps(transform))({'img': noise()})['view_photometry']
    assert np.array_equal(copied, expected)


def test_it_is_packed():
    packed = PackViews()(draw([CROP, JITTER], 2))
    assert packed['data_samples'].view_photometry.shape == (2, 4, 4)
    assert 'view_photometry' in packed['data_samples'].metainfo_keys()


@pytest.mark.parametrize(
    ('transforms', 'message'),
    [
        ([CROP, dict(type='Posterize', bits=4)], r"cannot do Posterize.*'ColorJitter', 'Gaussian"),
        ([dict(type='RandomApply', transforms=[dict(type='Invert')], prob=0.5)], 'cannot do Inve'),
        ([dict(type='AutoAugment', policies='imagenet')], 'cannot do AutoAugment'),
        (
            [
                dict(
                    type='RandAugment',
                    policies='timm_increasing',
                    num_policies=2,
                    magnitude_level=9,
                )
            ],
            'cannot do RandAugment',
        ),
        ([dict(type='torchvision/RandomGrayscale')], 'cannot do RandomGrayscale'),
        ([JITTER, CROP], r'RandomResizedCrop comes after ColorJitter.*in front'),
        ([BLUR, FLIP, dict(type='Resize', scale=8)], 'Resize comes after GaussianBlur'),
        ([dict(type='RandomGrayscale', prob=0.2)], 'keep_channels=False'),
        ([{**GRAY, 'channel_weights': (1,)}], '1 channel_weights'),
        ([{**GRAY, 'color_format': 'hsv'}], "color_format='hsv'"),
    ],
)
def test_what_the_device_cannot_do(transforms, message):
    with pytest.raises(ValueError, match=message):
        CandidateViews([transforms], 1, photometry='device')


def test_a_place_that_does_not_exist():
    message = r"photometry='gpu' must be one of \['loader', 'device', 'device_views'\]"
    with pytest.raises(ValueError, match=message):
        CandidateViews([[CROP]], 1, photometry='gpu')


@pytest.mark.parametrize('exact', [False, True])
def test_transforms_of_ours_are_taken_and_left_alone(exact):
    crop, jitter = RandomResizedCrop(32, backend='pillow'), ColorJitter(brightness=0.4)
    configs = [{**CROP, 'backend': 'pillow'}, dict(type='ColorJitter', brightness=0.4)]
    results = []
    for transforms in (configs, [crop, jitter]):
        seed(3)
        results.append(CandidateViews([transforms], 4, exact=exact)({'img': noise()}))
    for first, second in zip(results[0]['img'], results[1]['img']):
        assert np.array_equal(first, second)
    for key in ('view_boxes', 'view_colors'):
        assert np.array_equal(results[0][key], results[1][key])
        assert len(np.unique(results[0][key], axis=0)) == 4
    assert crop.exact is jitter.exact is False
    assert crop.on_device is jitter.on_device is False
