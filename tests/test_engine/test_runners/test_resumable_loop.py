"""Runs that are stopped in an epoch, and resumed."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop
from mmpretrain.registry import DATA_SAMPLERS, DATASETS

from hvs_mm.datasets import ShapesDataset
from hvs_mm.engine import ResumableEpochLoop
from hvs_mm.engine.hooks.equal_batches_hook import LoaderSizes, loader_sizes
from hvs_mm.engine.runners import resumable_loop
from hvs_mm.engine.runners.seeded_draws import SeededSampler
from tests.helpers.hostile_images import plain_images
from tests.helpers.tar_shards import write_shards
from tests.helpers.tiny_dino import build_runner, dino_config

IMAGES, BATCH = 10, 2


class Recorder(Hook):
    """Which images were seen in which iteration, counted in the epoch; ends a run on demand."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        images = [sample.sample_idx for sample in data_batch['data_samples']]
        self.seen.append((runner.epoch, runner.iter, batch_idx, images))

    def after_train_iter(self, runner, **kwargs):
        if runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


PIPELINE = [
    dict(type='CandidateViews', num_views=[2, 2], transforms=[
        [dict(type='RandomResizedCrop', scale=side)] for side in (32, 16)]),
    dict(type='PackViews', meta_keys=('sample_idx',)),
]  # fmt: skip


NO_CHECKPOINTS = dict(checkpoint=None)


def build(work_dir, stop_after=None, batch_size=BATCH, loader=(), **options):
    recorder = Recorder(stop_after)
    loader = {
        'batch_size': batch_size,
        'num_workers': 0,
        'sampler': dict(type='DefaultSampler', shuffle=True),
        'collate_fn': dict(type='default_collate'),
        'dataset': dict(type='ShapesDataset', num_samples=IMAGES, img_size=48, pipeline=PIPELINE),
        **dict(loader),
    }
    runner = build_runner(
        work_dir,
        dino_config(),
        **{
            'runner_type': 'mmpretrain.ReliableRunner',
            'train_dataloader': loader,
            'default_hooks': dict(
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)
            ),
            'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=3),
            **options,
        },
    )
    runner.register_hook(recorder)
    return runner, recorder


def stopped(work_dir, after, **options):
    runner, recorder = build(work_dir, after, **options)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    return recorder.seen


@pytest.mark.parametrize('train_cfg', [
    dict(by_epoch=True, max_epochs=3), dict(type='EpochBasedTrainLoop', max_epochs=3),
    dict(type='mmengine.EpochBasedTrainLoop', max_epochs=3),
])  # fmt: skip
def test_which_loop_runs(tmp_path, train_cfg):
    runner, _ = build(tmp_path, train_cfg=train_cfg)
    assert type(runner.train_loop) is ResumableEpochLoop
    # The config is the user's.
    assert runner.cfg.train_cfg == train_cfg
    # Configs of the new style name a class; MMEngine 0.10.7 cannot print one that holds it.
    by_class = runner.build_train_loop(dict(type=EpochBasedTrainLoop, max_epochs=3))
    assert type(by_class) is ResumableEpochLoop


def test_what_its_loader_tells_of_its_batches(tmp_path):
    runner, _ = build(tmp_path, batch_size=3)
    assert loader_sizes(runner.train_dataloader) == LoaderSizes(10, 4, 3, 1)


@DATASETS.register_module()
class _OpenFile(ShapesDataset):
    """Has what cannot be copied."""

    def full_init(self):
        super().full_init()
        self.file = open(__file__, 'rb')  # noqa: SIM115


def test_a_data_set_that_cannot_be_copied(tmp_path):
    runner, _ = build(tmp_path)
    runner.cfg.train_dataloader.dataset.type = '_OpenFile'
    runner._train_dataloader = runner.cfg.train_dataloader
    dataset = runner.train_loop.dataloader.dataset
    with dataset.file as file:
        assert file.read(3) == b'"""'
        # One, not two.
        assert runner.train_dataloader.sampler.sampler.dataset is dataset


def test_a_loop_over_iterations_is_left_alone(tmp_path):
    runner, _ = build(tmp_path, train_cfg=dict(by_epoch=False, max_iters=3))
    assert type(runner.train_loop) is IterBasedTrainLoop


@pytest.fixture(scope='module')
def whole_run(tmp_path_factory):
    """The folder of a run that was not stopped, with a checkpoint of every iteration, and its
    iterations."""
    folder = tmp_path_factory.mktemp('whole')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        runner, recorder = build(folder)
        runner.train()
    return folder, recorder.seen


def test_a_whole_run_sees_every_image_once_an_epoch(whole_run):
    _, seen = whole_run
    assert [entry[:3] for entry in seen] == [(i // 5, i, i % 5) for i in range(15)]
    for number in range(3):
        images = chain.from_iterable(entry[3] for entry in seen[5 * number :][:5])
        assert sorted(images) == list(range(IMAGES))


@pytest.mark.parametrize('after', [1, 4, 5, 6, 10])
def test_a_resumed_run_sees_what_is_left(tmp_path, whole_run, after):
    folder, seen = whole_run
    # Another process would have another state of its generators.
    torch.rand(5)
    checkpoint = str(folder / f'iter_{after}.pth')
    runner, rest = build(tmp_path, resume=True, load_from=checkpoint, default_hooks=NO_CHECKPOINTS)
    runner.train()
    assert rest.seen == seen[after:]


@pytest.mark.parametrize('workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_on_shards_that_is_resumed_is_the_same(tmp_path, workers):
    images = list(plain_images(IMAGES, size=48).values())
    write_shards(tmp_path, images, 2, kind='jpg')
    shards = dict(
        type='WebDatasetImages',
        shards=f'{tmp_path}/x-00{{0..1}}.tar',
        pipeline=[dict(type='LoadCheckedImage'), *PIPELINE],
    )
    loader = dict(
        dataset=shards,
        sampler=dict(type='BlockSampler', block_size=2, window=4),
        num_workers=workers,
    )
    options = dict(loader=loader, train_cfg=dict(by_epoch=True, max_epochs=2))
    whole, recorder = build(tmp_path / 'whole', default_hooks=NO_CHECKPOINTS, **options)
    whole.train()
    for number in range(2):
        seen = chain.from_iterable(entry[3] for entry in recorder.seen[5 * number :][:5])
        assert sorted(seen) == list(range(IMAGES))
    # In the second epoch; the checkpoint is from two iterations before.
    every = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=7))
    seen = stopped(tmp_path / 'run', 9, default_hooks=every, **options)
    resumed, rest = build(tmp_path / 'run', default_hooks=NO_CHECKPOINTS, resume=True, **options)
    resumed.train()
    assert [*seen[:7], *rest.seen] == recorder.seen
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


DATA_SAMPLERS.register_module(name='_Batches', module=torch.utils.data.BatchSampler)


@pytest.mark.parametrize('settings', [
    dict(num_batch_per_epoch=5), dict(batch_sampler=dict(type='_Batches', drop_last=False)),
])  # fmt: skip
def test_every_image_comes_once_without_a_seed_in_the_config(tmp_path, settings):
    """In an epoch that is resumed by a process which has drawn another seed."""
    options = dict(randomness=dict(seed=None), loader=settings)
    seen = stopped(tmp_path, 3, **options)[:2]
    runner, rest = build(tmp_path, 5, resume=True, **options)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert not isinstance(runner.train_dataloader.sampler, SeededSampler)
    assert sorted(chain.from_iterable(entry[3] for entry in seen + rest.seen)) == [*range(IMAGES)]


def test_a_seed_of_the_samplers_own_stays(tmp_path):
    orders = []
    for settings in ({}, dict(num_batch_per_epoch=5)):
        sampler = dict(type='DefaultSampler', seed=7)
        runner, recorder = build(
            tmp_path, 5, loader=dict(sampler=sampler, **settings), default_hooks=NO_CHECKPOINTS
        )
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        orders.append([*chain.from_iterable(entry[3] for entry in recorder.seen)])
    expected = [*DefaultSampler(range(IMAGES), seed=7)]
    assert orders == [expected, expected]


def test_a_loader_of_ones_own_is_read_up_to_the_place(tmp_path):
    """Without random numbers of its own it gives the same images."""
    loader = build(tmp_path / 'first')[0].train_dataloader
    order = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    own = torch.utils.data.DataLoader(
        loader.dataset.dataset, batch_size=BATCH, collate_fn=loader.collate_fn
    )
    stopped(tmp_path, 3)
    runner, recorder = build(tmp_path, resume=True)
    # A config cannot hold one, a Runner can.
    runner._train_loop = ResumableEpochLoop(runner, own, max_epochs=3)
    runner.train()
    assert [entry[2:] for entry in recorder.seen[:3]] == list(enumerate(order))[2:]
    assert recorder.seen[3][:3] == (1, 5, 0)


@pytest.mark.parametrize(
    ('ours', 'by_epoch', 'batch_size', 'start'),
    [
        # 7 of 10 batches of 5 an epoch are 14 of 20 of 10.
        (True, False, 1, 14),
        (False, False, 1, 14),
        # The end of an epoch.
        (False, True, 1, 10),
        # 5 is the second of the second 3, too.
        (False, True, 4, 3),
    ],
)
def test_with_other_batches_it_continues_at_the_same_place(
    tmp_path, capfd, ours, by_epoch, batch_size, start
):
    """Saved in the second epoch of 5 batches, or before it, by this loop or MMEngine's."""
    accumulate = dict(optim_wrapper=dict(accumulative_counts=3))
    runner_type = 'mmpretrain.ReliableRunner' if ours else 'Runner'
    hook = dict(type='CheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 7)
    # The last iteration is not saved.
    stopped(tmp_path, 8, runner_type=runner_type, default_hooks=dict(checkpoint=hook), **accumulate)
    runner, recorder = build(
        tmp_path,
        resume=True,
        batch_size=batch_size,
        default_hooks=NO_CHECKPOINTS,
        log_level='WARNING',
        **accumulate,
    )
    runner.train()
    length = len(runner.train_dataloader)
    assert recorder.seen[0][:3] == (1, start, start - length)
    assert len(recorder.seen) == 3 * length - start
    # By which it knows when to make a step, and what to divide losses by.
    assert runner.optim_wrapper.inner_count == 3 * length
    said = capfd.readouterr()
    assert f'a run with 5 batches in an epoch; with {length}, as now' in said.out + said.err


def test_as_many_batches_of_other_images_or_processes(tmp_path, capfd, monkeypatch):
    stopped(tmp_path, 8)
    settings = dict(resume=True, default_hooks=NO_CHECKPOINTS, log_level='WARNING')
    dataset = dict(type='ShapesDataset', num_samples=11, img_size=48, pipeline=PIPELINE)
    for loader, world_size, told in (
        ({}, 1, None),
        (dict(dataset=dataset, drop_last=True), 1, '10 images (now 11): from here on'),
        ({}, 2, 'a run with 1 processes (now 2): from here on'),
    ):
        monkeypatch.setattr(resumable_loop, 'get_world_size', lambda size=world_size: size)
        runner, _ = build(tmp_path, 9, loader=loader, **settings)
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        said = capfd.readouterr().out
        assert ('The checkpoint is of a run with' in said) == (told is not None)
        assert told is None or told in said


def test_a_checkpoint_of_mmengines_loop_in_an_epoch_of_as_many_batches(tmp_path):
    stopped(tmp_path, 8, runner_type='Runner')
    runner, recorder = build(tmp_path, 8, resume=True)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert [entry[:3] for entry in recorder.seen] == [(1, 7, 2)]


class _Validation(BaseLoop):
    """Notes after how many epochs a run is validated; is killed at it, or not."""

    def __init__(self, runner, epochs, is_killed):
        super().__init__(runner, runner.train_dataloader)
        self.epochs, self.is_killed = epochs, is_killed

    def run(self):
        self.epochs.append(self.runner.epoch)
        if self.is_killed:
            raise KeyboardInterrupt


def test_a_run_killed_in_its_last_validation_is_validated_after_all(tmp_path):
    settings = dict(
        train_cfg=dict(by_epoch=True, max_epochs=2, val_begin=2),
        # Of the end of the epoch: there is nothing left to train.
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    )
    epochs = []
    runner, _ = build(tmp_path, **settings)
    runner._val_loop = _Validation(runner, epochs, is_killed=True)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert epochs == [2]
    for _ in range(2):
        runner, recorder = build(tmp_path, **settings)
        runner._val_loop = _Validation(runner, epochs, is_killed=False)
        runner._resume = True
        runner.train()
        assert not recorder.seen
    assert epochs == [2, 2, 2]
