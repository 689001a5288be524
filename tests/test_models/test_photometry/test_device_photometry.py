"""``DevicePhotometry``, the preprocessor, alone and in a run."""

from __future__ import annotations

import builtins
import json
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample

from hvs_mm.datasets import CandidateViews, PackViews, draw_examples, join_examples, join_images
from hvs_mm.engine import preflight
from hvs_mm.models import DevicePhotometry
from hvs_mm.visualization import draw_candidates, to_rgb
from tests.helpers.fresh_process import fresh_process
from tests.helpers.pictures import seed
from tests.helpers.tiny import algorithm_config, build_hvs
from tests.helpers.tiny_dino import build_runner
from tests.test_models.test_photometry.test_batch import PIPELINE, change, picture, to_batch

NORMALIZE = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


# --- The preprocessor --------------------------------------------------------------------------


def batch_of(photometry='device', counts=(4,), batch_size=3):
    seed()
    views = CandidateViews([PIPELINE] * len(counts), list(counts), photometry=photometry)
    images = [picture(number) for number in range(batch_size)]
    return join_images([PackViews()(views({'img': image})) for image in images])


@pytest.mark.parametrize('photometry', ['device', 'device_views'])
@pytest.mark.parametrize('to_rgb', [False, True])
def test_the_preprocessor_normalizes_as_upstreams(to_rgb, photometry):
    settings = {**NORMALIZE, 'to_rgb': to_rgb}
    upstream = MODELS.build(dict(type='SelfSupDataPreprocessor', **settings))
    ours = MODELS.build(dict(type='DevicePhotometry', **settings))
    expected = upstream(batch_of('loader'), training=True)['inputs']
    inputs = ours(batch_of(photometry), training=True)['inputs']
    assert len(inputs) == len(expected) == 4
    for view, theirs in zip(inputs, expected):
        assert view.dtype == torch.float32
        assert view.shape == theirs.shape
        # Gray levels, divided by the standard deviation
        assert (view - theirs).abs().mean() < 0.5 / 57
    # Other channels would be noticed.
    assert (inputs[0] - expected[0].flip(1)).abs().mean() > 0.2


@pytest.mark.parametrize('photometry', ['device', 'device_views'])
def test_the_batch_stays_as_it_is(photometry):
    data = batch_of(photometry)
    before = deepcopy(data)
    preprocessor = DevicePhotometry(**NORMALIZE)
    first, second = (preprocessor(data, training=True) for _ in range(2))
    for one, other in ((first, second), (data, before)):
        assert len(one['inputs']) == len(other['inputs'])
        for view, same in zip(one['inputs'], other['inputs']):
            assert torch.equal(view, same)
    for sample, given in zip(first['data_samples'], data['data_samples']):
        assert not hasattr(sample, 'view_photometry')
        assert not hasattr(sample, 'view_crops')
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
    for photometry in ('device', 'device_views'):
        data = model.data_preprocessor(batch_of(photometry), training=True)
        message = rf"photometry='{photometry}'.*set data_preprocessor\.type="
        with pytest.raises(ValueError, match=message):
            model.loss(data['inputs'], data['data_samples'])
    model = build_hvs('SimSiam', data_preprocessor=dict(type='DevicePhotometry', **NORMALIZE))
    data = model.data_preprocessor(batch_of(), training=True)
    model.loss(data['inputs'], data['data_samples'])


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
    assert 'torch' in fresh_process()['packages']
    assert 'kornia' not in fresh_process()['packages']


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
            collate_fn=dict(type='join_images' if 'views' in photometry else 'default_collate'),
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
        ('device_views', 'DevicePhotometry'),
    ):
        folder = tmp_path / photometry
        logger = dict(type='LoggerHook', interval=1)
        defaults = dict(checkpoint=None, logger=logger)
        runner_of(folder, photometry, preprocessor, hooks=hooks, default_hooks=defaults).train()
        losses[photometry] = logged(folder, 'loss')
        colors[photometry] = logged(folder, 'selection/color_all')
        assert (folder / 'selection' / 'epoch_1.png').is_file()
    # The same views were drawn and the same changes recorded; the losses differ by rounding.
    assert len(losses['device_views']) == 3
    assert colors['device_views'] == colors['loader']
    assert min(colors['device_views']) > 0.1
    assert losses['device_views'][0] == pytest.approx(losses['loader'][0], abs=0.02)


def test_pictures_show_what_the_model_sees():
    """Also where the colors are still to be changed."""
    pictures = {}
    for photometry in ('loader', 'device', 'device_views'):
        dataset = DATASETS.build(shapes(photometry))
        examples = join_examples(draw_examples(dataset, [0]), draw_examples(dataset, [3]))
        pictures[photometry] = to_rgb(draw_candidates(examples)).astype(int)
    for place in ('device', 'device_views'):
        assert np.abs(pictures[place] - pictures['loader']).mean() < 0.2
    plain = shapes('loader')
    plain['pipeline'][0]['transforms'] = [PIPELINE[:2]]
    other = to_rgb(draw_candidates(draw_examples(DATASETS.build(plain), [0, 3])))
    assert other.shape != pictures['loader'].shape or np.abs(other - pictures['loader']).mean() > 1


def test_resumed_runs_and_checkpoints(tmp_path):
    """The preprocessor has no state, and an interrupted run gives the weights of a whole one."""
    checkpoint = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    # Without persistent workers, both draw the same views (docs/resume.md).
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
        ('device_views', 'SelfSupDataPreprocessor', r"photometry='device_views' leaves"),
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
    cfg = runner_of(tmp_path, 'device_views', 'DevicePhotometry').cfg
    preflight(cfg)
    cfg.train_dataloader.collate_fn.type = 'default_collate'
    with pytest.raises(ValueError, match=r"='device_views' sends.*collate_fn\.type=join_images"):
        preflight(cfg)
