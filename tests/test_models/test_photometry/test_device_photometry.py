"""Photometry on the device against the same pipelines, with the same seed, in the loader."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmengine.hub import get_config
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample
from PIL import Image, ImageFilter
from torch import Tensor

from hvs_mm.datasets import CandidateViews, PackViews, draw_examples
from hvs_mm.engine.checks.preflight import preflight
from hvs_mm.models import DevicePhotometry
from hvs_mm.models.photometry.batch import apply_photometry
from hvs_mm.models.photometry.blur import blur_kernels
from hvs_mm.utils.photometry_operations import OPERATIONS, pack_operations, stack_operations
from hvs_mm.visualization import draw_candidates, to_rgb
from tests.test_datasets.test_views.test_candidate_views import UPSTREAM, seed
from tests.tiny import algorithm_config, build_hvs
from tests.tiny_dino import GLOBAL, build_runner

ROOT = Path(__file__).parents[3]
#: Weights of blue, green and red.
GRAY = (0.114, 0.587, 0.299)
NORMALIZE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
PIPELINE = [
    dict(type='RandomResizedCrop', scale=GLOBAL, crop_ratio_range=(0.3, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomApply',
        transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        ],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=GRAY),
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
    dict(type='Solarize', thr=128, prob=0.2),
]


def picture(number=0, size=96):
    """Smooth colors with some noise, as those of a photograph; BGR."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def to_batch(images):
    """(N, 3, H, W) of N images (H, W, 3)."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def to_images(batch: Tensor):
    return batch.permute(0, 2, 3, 1).numpy().astype(int)


def change(images, operations):
    """One view of each image, with a list of operations for each."""
    records = stack_operations([pack_operations([steps]) for steps in operations])
    (changed,) = apply_photometry([to_batch(images)], records)
    assert changed.dtype == torch.uint8
    return to_images(changed)


# --- Each operation, against what upstream's transforms call -----------------------------------


def blurred(image, sigma):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def gray(image, *weights):
    return np.repeat((image * np.array(weights)).sum(2, keepdims=True).astype(np.uint8), 3, axis=2)


#: By operation: upstream's, the values, the largest mean and largest difference in gray levels.
UPSTREAM_OPERATIONS = {
    'brightness': (
        lambda image, x: mmcv.adjust_brightness(image, x, backend='pillow'),
        [(0.0,), (0.6,), (1.0,), (1.4,), (3.0,)],
        (0, 0),
    ),
    'contrast': (
        lambda image, x: mmcv.adjust_contrast(image, x, backend='pillow'),
        [(0.0,), (0.6,), (1.0,), (1.4,), (3.0,)],
        (0.001, 1),
    ),
    'saturation': (
        lambda image, x: mmcv.adjust_color(image, alpha=x, backend='pillow'),
        [(0.0,), (0.6,), (1.0,), (1.4,), (3.0,)],
        (0.001, 1),
    ),
    'hue': (
        lambda image, x: mmcv.adjust_hue(image, x, backend='pillow'),
        [(-0.5,), (-0.2,), (-0.001,), (0.0,), (0.1,), (0.25,), (0.5,)],
        (0.02, 8),
    ),
    'grayscale': (gray, [GRAY, (0.3, 0.3, 0.4)], (0.01, 1)),
    'blur': (blurred, [(0.1,), (0.7,), (1.0,), (1.5,), (2.0,), (5.0,)], (0.6, 12)),
    'solarize': (
        lambda image, x: mmcv.solarize(image, x).astype(np.uint8),
        [(0.0,), (100.0,), (128.0,), (256.0,)],
        (0, 0),
    ),
}


@pytest.mark.parametrize('name', OPERATIONS)
def test_an_operation_with_given_values(name):
    upstream, given, (largest_mean, largest) = UPSTREAM_OPERATIONS[name]
    images = [picture(number) for number in range(len(given))]
    for number in range(len(images)):
        # Extremes, where 8 bits overflow.
        images[number][:8], images[number][8:16] = 0, 255
    changed = change(images, [[(name, *values)] for values in given])
    differences = []
    for image, values, ours in zip(images, given, changed):
        expected = upstream(image, *values).astype(int)
        differences.append(np.abs(ours - expected))
        assert differences[-1].mean() <= largest_mean, values
        assert differences[-1].max() <= largest, values
    # What would do nothing would be noticed.
    assert np.abs(changed - np.stack(images)).mean() > 1


def test_the_order_is_that_of_the_record():
    steps = [('solarize', 128), ('brightness', 1.5)]
    images = [picture()] * 2
    first, second = change(images, [steps, steps[::-1]])
    darker = mmcv.solarize(images[0], 128).astype(np.uint8)
    expected = mmcv.adjust_brightness(darker, 1.5, backend='pillow')
    assert np.array_equal(first, expected)
    brighter = mmcv.adjust_brightness(images[0], 1.5, backend='pillow')
    assert np.array_equal(second, mmcv.solarize(brighter, 128))


@pytest.mark.parametrize('sigma', [0.1, 0.5, 1.0, 2.0, 3.7])
def test_the_filter_is_pillows(sigma):
    """On a line of whole steps the filter shows; the widths beyond it are 0."""
    narrow, wide = blur_kernels(np.array([sigma, 5.0])), blur_kernels(np.array([sigma]))
    assert narrow.shape[1] >= wide.shape[1]
    for kernel in (narrow[0], wide[0]):
        assert kernel.sum() == pytest.approx(1)
        offsets = np.arange(len(kernel)) - len(kernel) // 2
        assert (kernel * offsets).sum() == pytest.approx(0, abs=1e-12)
        # The mark of Gwosdek's filter: its variance is exactly the Gaussian's.
        assert (kernel * offsets**2).sum() == pytest.approx(sigma**2)
    edge = np.zeros((41, 41, 3), np.uint8)
    edge[:, 20:] = 255
    expected = blurred(edge, sigma)[20, :, 0].astype(float)
    middle = np.convolve(np.pad(edge[0, :, 0].astype(float), len(wide[0]) // 2, 'edge'), wide[0])
    start = len(wide[0]) - 1
    assert np.abs(middle[start : start + 41] - expected).max() < 2


def test_no_blur_is_the_identity():
    assert blur_kernels(np.zeros(1)).round(12).tolist() == [[0, 0, 0, 1, 0, 0, 0]]


# --- Whole pipelines ---------------------------------------------------------------------------


def both(pipelines, counts, images, number=0):
    """The views by the loader and by the device (S, B, H, W, 3), and the samples of both."""
    drawn = []
    for photometry in ('loader', 'device'):
        seed(number)
        views = CandidateViews(pipelines, counts, photometry=photometry)
        drawn.append(default_collate([PackViews()(views({'img': img})) for img in images]))
    loader, device = drawn
    record = stack_operations([sample.view_photometry for sample in device['data_samples']])
    changed = apply_photometry(device['inputs'], record)
    return (
        [to_images(view) for view in loader['inputs']],
        [to_images(view) for view in changed],
        [to_images(view) for view in device['inputs']],
    )


@pytest.mark.parametrize('name', UPSTREAM)
def test_the_views_of_the_loader(name):
    """The same seed gives the same views, up to a few gray levels."""
    cfg = get_config(f'mmpretrain::{name}')
    pipelines = [cfg[key] for key in UPSTREAM[name]]
    images = [picture(number, 200) for number in range(6)]
    loader, device, before = both(pipelines, [2] * len(pipelines), images)
    differences = [np.abs(ours - theirs) for ours, theirs in zip(device, loader)]
    assert max(difference.mean((1, 2, 3)).max() for difference in differences) < 1
    assert np.mean([difference.mean() for difference in differences]) < 0.3
    assert max(np.quantile(difference, 0.999) for difference in differences) <= 5
    assert np.mean([np.abs(a - b).mean() for a, b in zip(before, loader)]) > 10


def test_a_jitter_of_opencv():
    jitter = dict(
        type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, backend='cv2'
    )
    loader, device, _ = both([[jitter]], [8], [picture(number) for number in range(4)])
    assert np.abs(np.array(device) - np.array(loader)).mean() < 2


def test_statistics_of_other_seeds():
    """The distributions agree, not only the views of one seed."""
    images = [picture(number) for number in range(25)]
    loader, _, _ = both([PIPELINE], [40], images, number=0)
    _, device, _ = both([PIPELINE], [40], images, number=1)

    def statistics(views):
        views = np.concatenate(views).astype(float)
        edges = np.abs(np.diff(views, axis=2)).mean((1, 2, 3))
        is_gray = (views == views[..., :1]).all((1, 2, 3))
        return np.stack([views.mean((1, 2, 3)), views.std((1, 2, 3)), edges, is_gray], 1)

    first, second = statistics(loader), statistics(device)
    assert len(first) == 1000
    # Four standard errors of the difference.
    error = 4 * (first.var(0) / len(first) + second.var(0) / len(second)) ** 0.5
    assert (np.abs(first.mean(0) - second.mean(0)) < error).all()
    # Each would have been noticed.
    assert (error / first.mean(0) < [0.05, 0.08, 0.13, 0.4]).all()


def test_views_of_two_sizes():
    local = [{**PIPELINE[0], 'scale': 16}, *PIPELINE[1:]]
    loader, device, _ = both([PIPELINE, local, PIPELINE], [2, 3, 1], [picture(i) for i in range(3)])
    assert [view.shape[1] for view in device] == [GLOBAL] * 2 + [16] * 3 + [GLOBAL]
    for ours, theirs in zip(device, loader):
        assert np.abs(ours - theirs).mean() < 1.5


def test_pipelines_without_changes_of_color():
    loader, device, _ = both([PIPELINE[:2]], [3], [picture(i) for i in range(2)])
    assert np.array_equal(loader, device)


def test_samples_do_not_depend_on_each_other():
    seed()
    views = CandidateViews([PIPELINE], 12, photometry='device')
    batch = default_collate([PackViews()(views({'img': picture(i)})) for i in range(5)])
    records = stack_operations([sample.view_photometry for sample in batch['data_samples']])
    together = apply_photometry(batch['inputs'], records)
    for sample in range(5):
        rows = slice(sample, sample + 1)
        alone = apply_photometry([view[rows] for view in batch['inputs']], records[rows])
        for view, expected in zip(alone, together):
            # The order in which a convolution adds up depends on the batch.
            difference = view.int() - expected[rows].int()
            assert difference.abs().max() <= 1
            assert difference.abs().float().mean() < 0.01


def test_it_runs_in_full_precision_and_leaves_its_input_alone():
    images = to_batch([picture(i) for i in range(4)])
    steps = [('blur', 1.3), ('contrast', 1.2), ('hue', 0.1)]
    records = stack_operations([pack_operations([steps])] * 4)
    given = images.clone()
    (expected,) = apply_photometry([images], records)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        (changed,) = apply_photometry([images], records)
    assert torch.equal(changed, expected)
    assert torch.equal(images, given)


# --- The preprocessor --------------------------------------------------------------------------


def batch_of(photometry='device', counts=(4,), batch_size=3):
    seed()
    views = CandidateViews([PIPELINE] * len(counts), list(counts), photometry=photometry)
    images = [picture(number) for number in range(batch_size)]
    return default_collate([PackViews()(views({'img': image})) for image in images])


@pytest.mark.parametrize('to_rgb', [False, True])
def test_the_preprocessor_normalizes_as_upstreams(to_rgb):
    settings = {**NORMALIZE, 'to_rgb': to_rgb}
    upstream = MODELS.build(dict(type='SelfSupDataPreprocessor', **settings))
    ours = MODELS.build(dict(type='DevicePhotometry', **settings))
    expected = upstream(batch_of('loader'), training=True)['inputs']
    inputs = ours(batch_of(), training=True)['inputs']
    assert len(inputs) == len(expected) == 4
    for view, theirs in zip(inputs, expected):
        assert view.dtype == torch.float32
        assert view.shape == theirs.shape
        # Gray levels, divided by the standard deviation
        assert (view - theirs).abs().mean() < 0.5 / 57
    # Other channels would be noticed.
    assert (inputs[0] - expected[0].flip(1)).abs().mean() > 0.2


def test_the_batch_stays_as_it_is():
    data = batch_of()
    before = deepcopy(data)
    preprocessor = DevicePhotometry(**NORMALIZE)
    first, second = (preprocessor(data, training=True) for _ in range(2))
    for view, same, given, kept in zip(
        first['inputs'], second['inputs'], data['inputs'], before['inputs']
    ):
        assert torch.equal(view, same)
        assert torch.equal(given, kept)
    for sample, given in zip(first['data_samples'], data['data_samples']):
        assert not hasattr(sample, 'view_photometry')
        assert hasattr(given, 'view_photometry')
        assert np.array_equal(sample.view_colors, given.view_colors)
        assert np.array_equal(sample.view_boxes, given.view_boxes)


def test_random_states_are_left_alone():
    data = batch_of()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    DevicePhotometry(**NORMALIZE)(data, training=True)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


def test_a_batch_of_one_tensor_is_only_normalized():
    data = dict(inputs=to_batch([picture()]), data_samples=[DataSample()])
    expected = MODELS.build(dict(type='SelfSupDataPreprocessor', **NORMALIZE))(deepcopy(data))
    assert torch.equal(DevicePhotometry(**NORMALIZE)(data)['inputs'], expected['inputs'])


def test_samples_that_do_not_say_what_to_do():
    preprocessor = DevicePhotometry(**NORMALIZE)
    with pytest.raises(ValueError, match=r"no 'view_photometry'.*photometry='device'.*PackViews"):
        preprocessor(batch_of('loader'), training=True)


def test_views_that_nobody_changes():
    """A preprocessor that leaves colors alone must not go unnoticed."""
    model = build_hvs('SimSiam', data_preprocessor=dict(type='SelfSupDataPreprocessor'))
    data = model.data_preprocessor(batch_of(), training=True)
    with pytest.raises(ValueError, match=r"photometry='device'.*set data_preprocessor\.type="):
        model.loss(data['inputs'], data['data_samples'])
    model = build_hvs('SimSiam', data_preprocessor=dict(type='DevicePhotometry', **NORMALIZE))
    data = model.data_preprocessor(batch_of(), training=True)
    model.loss(data['inputs'], data['data_samples'])


@pytest.mark.parametrize(
    ('views', 'error', 'message'),
    [
        ([torch.zeros(2, 3, 4, 4)], TypeError, 'view 0 is of torch.float32'),
        ([torch.zeros(2, 1, 4, 4, dtype=torch.uint8)], ValueError, r'shape \(2, 1, 4, 4\)'),
        ([torch.zeros(2, 3, 4, 4, dtype=torch.uint8)] * 2, ValueError, r'\(2, 1\).*\(2, 2\)'),
    ],
)
def test_views_that_do_not_fit(views, error, message):
    record = stack_operations([pack_operations([[('hue', 0.1)]])] * 2)
    with pytest.raises(error, match=message):
        apply_photometry(views, record)


def test_an_operation_that_does_not_exist():
    with pytest.raises(ValueError, match=r"'sharpen' is none of \['brightness'"):
        pack_operations([[('sharpen', 1.0)]])


@pytest.fixture
def without_kornia(monkeypatch):
    for name in [name for name in sys.modules if name.partition('.')[0] == 'kornia']:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition('.')[0] == 'kornia':
            raise ModuleNotFoundError("No module named 'kornia'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    monkeypatch.setitem(sys.modules, 'kornia', None)


@pytest.mark.usefixtures('without_kornia')
def test_without_kornia():
    with pytest.raises(ImportError, match='run "pip install kornia"'):
        MODELS.build(dict(type='DevicePhotometry', **NORMALIZE))
    with pytest.raises(ImportError, match='run "pip install kornia"'):
        change([picture()], [[('hue', 0.1)]])
    # The loader does without.
    batch_of('loader')


def test_importing_the_package_does_not_import_kornia():
    code = 'import sys, hvs_mm; sys.exit(any(n.partition(".")[0] == "kornia" for n in sys.modules))'
    command = [sys.executable, '-W', 'ignore', '-c', code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# --- Before and in a run -----------------------------------------------------------------------


def candidate_views(photometry='device', counts=(4,)):
    return dict(
        type='CandidateViews',
        num_views=list(counts),
        transforms=[PIPELINE] * len(counts),
        photometry=photometry,
    )


def shapes(photometry='device', number=8):
    return dict(
        type='ShapesDataset',
        num_samples=number,
        img_size=48,
        pipeline=[candidate_views(photometry), dict(type='PackViews')],
    )


def runner_of(
    work_dir, photometry='device', preprocessor='DevicePhotometry', loader=None, **kwargs
) -> Runner:
    model = dict(
        type='HVSAlgorithm', algorithm=algorithm_config('SimSiam'), candidates=[4], keep=[2]
    )
    kwargs = {'max_epochs': 1, 'num_batches': 3, **kwargs}
    batch_size, num_batches = 4, kwargs.pop('num_batches')
    return build_runner(
        work_dir,
        model,
        data_preprocessor=dict(type=preprocessor, **NORMALIZE),
        train_dataloader=dict(
            batch_size=batch_size,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=shapes(photometry, batch_size * num_batches),
            **(loader or dict(num_workers=0)),
        ),
        **kwargs,
    )


def logged(work_dir, name):
    (path,) = Path(work_dir).glob('*/vis_data/scalars.json')
    return [
        entry[name] for entry in map(json.loads, path.read_text().splitlines()) if name in entry
    ]


def test_a_run_with_the_hooks_that_show_the_selection(tmp_path):
    hooks = [
        dict(type='SelectionStatsHook', interval=1),
        dict(type='SelectionPanelHook', num_images=2),
    ]
    losses, colors = {}, {}
    for photometry, preprocessor in (
        ('loader', 'SelfSupDataPreprocessor'),
        ('device', 'DevicePhotometry'),
    ):
        folder = tmp_path / photometry
        logger = dict(type='LoggerHook', interval=1)
        defaults = dict(checkpoint=None, logger=logger)
        runner_of(folder, photometry, preprocessor, hooks=hooks, default_hooks=defaults).train()
        losses[photometry] = logged(folder, 'loss')
        colors[photometry] = logged(folder, 'selection/color_all')
        assert (folder / 'selection' / 'epoch_1.png').is_file()
    # The same views were drawn and the same changes recorded; the losses differ by rounding.
    assert len(losses['device']) == 3
    assert colors['device'] == colors['loader']
    assert min(colors['device']) > 0.1
    assert losses['device'][0] == pytest.approx(losses['loader'][0], abs=0.02)


def test_pictures_show_what_the_model_sees():
    """Also where the colors are still to be changed."""
    pictures = {}
    for photometry in ('loader', 'device'):
        dataset = DATASETS.build(shapes(photometry))
        pictures[photometry] = to_rgb(draw_candidates(draw_examples(dataset, [0, 3]))).astype(int)
    assert np.abs(pictures['device'] - pictures['loader']).mean() < 0.2
    plain = shapes('loader')
    plain['pipeline'][0]['transforms'] = [PIPELINE[:2]]
    other = to_rgb(draw_candidates(draw_examples(DATASETS.build(plain), [0, 3])))
    assert other.shape != pictures['loader'].shape or np.abs(other - pictures['loader']).mean() > 1


def test_resumed_runs_and_checkpoints(tmp_path):
    """The preprocessor has no state, and an interrupted run gives the weights of a whole one."""
    checkpoint = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    # Without persistent workers, both draw the same views (docs/training.md).
    settings = dict(
        max_epochs=2,
        default_hooks=checkpoint,
        loader=dict(num_workers=1, persistent_workers=False),
    )
    whole = runner_of(tmp_path / 'whole', **settings)
    whole.train()
    path = str(tmp_path / 'whole' / 'epoch_1.pth')
    first = torch.load(path, weights_only=False)['state_dict']
    assert first.keys() == build_hvs('SimSiam').state_dict().keys()
    resumed = runner_of(tmp_path / 'resumed', load_from=path, resume=True, **settings)
    resumed.train()
    assert resumed.epoch == 2
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert not torch.equal(whole.model.backbone.conv1.weight, first['backbone.conv1.weight'])


@pytest.mark.parametrize(
    ('photometry', 'preprocessor', 'message'),
    [
        ('loader', 'DevicePhotometry', r"photometry='loader': set --cfg-options .*=device"),
        (
            'device',
            'SelfSupDataPreprocessor',
            r"photometry='device' leaves.*data_preprocessor\.type=DevicePhotometry",
        ),
        (None, 'DevicePhotometry', r'pipeline draws none'),
    ],
)
def test_a_config_that_says_it_in_one_place_only(tmp_path, photometry, preprocessor, message):
    cfg = runner_of(tmp_path, photometry or 'loader', preprocessor).cfg
    if photometry is None:
        cfg.train_dataloader.dataset.pipeline = [dict(type='PackInputs')]
    with pytest.raises(ValueError, match=message):
        preflight(cfg)


def test_configs_that_agree(tmp_path):
    preflight(runner_of(tmp_path, 'device', 'DevicePhotometry').cfg)
    preflight(runner_of(tmp_path, 'loader', 'SelfSupDataPreprocessor').cfg)
