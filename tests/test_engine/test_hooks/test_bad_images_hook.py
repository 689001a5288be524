"""``BadImagesHook`` in real runs on real files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.hooks import Hook
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import HOOKS

from hvs_mm.engine import BadImagesHook
from hvs_mm.engine.hooks.bad_images_hook import count_images
from hvs_mm.engine.runners.seeded_draws import SeededDataset
from hvs_mm.utils.bad_images import BadImagesError
from tests.helpers.hostile_images import plain_images, write
from tests.helpers.ranks import run_ranks
from tests.helpers.tar_shards import write_shards
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import build_runner

CROP = dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.2, 1.0))
PIPELINE = [
    dict(type='LoadCheckedImage'),
    dict(type='CandidateViews', num_views=[4], transforms=[[CROP]]),
    dict(type='PackViews'),
]


def write_images(folder, good, bad, text=b'no image'):
    """The folder and the paths of its bad images."""
    write(folder, plain_images(good))
    return write(folder, {f'bad{number:02}.jpg': text for number in range(bad)})


def loader(folder, batch_size=4, num_workers=0, **dataset):
    return dict(
        batch_size=batch_size,
        num_workers=num_workers,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='CustomDataset',
            data_root=str(folder),
            with_label=False,
            pipeline=PIPELINE,
            **dataset,
        ),
    )


def build(work_dir, train_dataloader, hooks=(), max_epochs=1, **config):
    hook, *others = hooks or [{}]
    return build_runner(
        work_dir,
        dict(type='HVSAlgorithm', algorithm=algorithm_config('SimSiam'), candidates=[4], keep=[2]),
        train_dataloader=train_dataloader,
        hooks=[dict(type='BadImagesHook', **hook), *others],
        max_epochs=max_epochs,
        log_level='WARNING',
        **config,
    )


def warnings(work_dir):
    (path,) = Path(work_dir).glob('*/*.log')
    return re.findall(r'WARNING - (bad image .*)', path.read_text())


def listed(work_dir):
    (path,) = Path(work_dir).glob('*/bad_images.txt')
    return [line.split('\t') for line in path.read_text().splitlines()]


def count(runner):
    return runner.message_hub.get_scalar('train/bad_images').current()


@pytest.mark.parametrize('num_workers', [0, 2])
def test_bad_images_are_named_counted_and_skipped(tmp_path, num_workers):
    bad = write_images(tmp_path / 'data', 20, 4)
    runner = build(
        tmp_path / 'run',
        loader(tmp_path / 'data', num_workers=num_workers),
        [dict(max_share=0.2, max_lines=2)],
        max_epochs=3,
    )
    runner.train()
    assert runner.iter == 3 * 6
    assert count(runner) == 4
    first, second, *others = warnings(tmp_path / 'run')
    for number, line in ((1, first), (2, second)):
        path = re.fullmatch(rf'bad image {number}, skipped: (.*\.jpg): no image: .*', line)[1]
        assert path in bad
    assert [re.sub(' in .*', '', line) for line in others] == [
        'bad image 3: this one and those to come are named'
    ]
    reason = 'no image: none of the formats that Pillow knows'
    assert sorted(listed(tmp_path / 'run')) == [[path, reason] for path in bad]


def test_without_bad_images_nothing_is_said(tmp_path):
    write_images(tmp_path / 'data', 8, 0)
    runner = build(tmp_path / 'run', loader(tmp_path / 'data'), [dict(max_share=0)])
    runner.train()
    assert 'train/bad_images' not in runner.message_hub.log_scalars
    assert warnings(tmp_path / 'run') == []
    assert not list((tmp_path / 'run').glob('*/bad_images.txt'))


@pytest.mark.parametrize(
    ('good', 'bad', 'max_share', 'ends'),
    [
        # Exactly the share.
        (38, 2, 0.05, False),
        (37, 3, 0.05, True),
        # One never ends a run, were it one of six; two do.
        (5, 1, 0.01, False),
        (10, 2, 0.01, True),
        # None at all.
        (39, 1, 0.0, True),
        (1, 5, 1.0, False),
    ],
)
def test_how_many_end_a_run(tmp_path, good, bad, max_share, ends):
    paths = write_images(tmp_path / 'data', good, bad)
    hooks = [dict(max_share=max_share)]
    runner = build(tmp_path / 'run', loader(tmp_path / 'data'), hooks, max_epochs=2)
    if not ends:
        runner.train()
        assert runner.epoch == 2
        assert count(runner) == bad
        return
    with pytest.raises(BadImagesError) as error:
        runner.train()
    assert runner.epoch == 0
    message = str(error.value)
    assert message.startswith(
        f'{bad} of {good + bad} training images are bad, more than max_share={max_share:g} of'
    )
    last = re.search(r'The last: (\S+\.jpg) \(no image', message)[1]
    assert last in paths
    assert f'{tmp_path}/run' in message
    assert 'default_hooks.bad_images.max_share=' in message
    assert sorted(path for path, _ in listed(tmp_path / 'run')) == paths


@HOOKS.register_module()
class _TakeAway(Hook):
    """Takes another image away in every epoch, and puts it back at its end."""

    def __init__(self, folder, back=True):
        self.paths = sorted(Path(folder).glob('*.jpg'))
        self.back = back

    def before_train_epoch(self, runner):
        self.path = self.paths[runner.epoch]
        self.path.rename(self.path.with_suffix('.away'))

    def after_train_epoch(self, runner):
        if self.back:
            self.path.with_suffix('.away').rename(self.path)


@pytest.mark.parametrize('back', [True, False])
def test_faults_that_pass_do_not_add_up(tmp_path, back):
    write_images(tmp_path / 'data', 8, 0)
    hooks = [
        dict(max_share=0.125),
        dict(type='_TakeAway', folder=str(tmp_path / 'data'), back=back),
    ]
    runner = build(tmp_path / 'run', loader(tmp_path / 'data'), hooks, max_epochs=5)
    if back:
        runner.train()
        assert count(runner) == 5
    else:
        with pytest.raises(BadImagesError, match=r'2 of 8 training images are bad.*No such file'):
            runner.train()
        assert runner.epoch == 1


def test_counts_go_on_in_a_run_that_resumes(tmp_path):
    bad = write_images(tmp_path / 'data', 8, 2)

    def go(folder, epochs, **config):
        runner = build(
            tmp_path / folder,
            loader(tmp_path / 'data', batch_size=5),
            [dict(max_share=0.2)],
            max_epochs=epochs,
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            **config,
        )
        runner.train()
        return runner

    go('first', 1)
    state = torch.load(tmp_path / 'first/epoch_1.pth', weights_only=False)['message_hub']
    assert state['runtime_info']['bad_images'] == {'seen': 10, 'files': dict.fromkeys(bad, 0)}
    checkpoint = dict(load_from=str(tmp_path / 'first/epoch_1.pth'))
    runner = go('resumed', 2, resume=True, **checkpoint)
    assert count(runner) == 2
    assert warnings(tmp_path / 'resumed') == []
    state = runner.message_hub.get_info('bad_images')
    assert state == {'seen': 20, 'files': dict.fromkeys(bad, 1)}
    # Weights alone bring no counts with them.
    runner = go('other', 1, **checkpoint)
    assert len(warnings(tmp_path / 'other')) == 2
    assert runner.message_hub.get_info('bad_images')['seen'] == 10


def test_a_pass_that_was_begun_before_a_stop(tmp_path):
    # The first pass, resumed in its middle, has one more than it may.
    bad = write_images(tmp_path / 'data', 18, 2)
    runner = build(tmp_path / 'run', loader(tmp_path / 'data'), [dict(max_share=0.05)])
    runner.load_or_resume = lambda: runner.message_hub.update_info(
        'bad_images', {'seen': 10, 'files': {bad[0]: 0}}
    )
    runner.train_loop._iter = 1
    with pytest.raises(BadImagesError, match='2 of 20 training images'):
        runner.train()


def train_a_rank(rank, folder):
    for max_share in (0.1, 0.05):
        train_dataloader = loader(f'{folder}/data')
        train_dataloader['sampler']['shuffle'] = False
        save = dict(
            runner_type='mmpretrain.ReliableRunner',
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        )
        runner = build(
            f'{folder}/{max_share}/rank{rank}',
            train_dataloader,
            [dict(max_share=max_share, interval=2)],
            max_epochs=2,
            model_wrapper_cfg=dict(type='CPUDistributedDataParallel'),
            **(save if max_share == 0.1 else {}),
        )
        result = 'passed'
        try:
            runner.train()
        except BadImagesError as error:
            result = str(error)
        state = runner.message_hub.get_info('bad_images')
        torch.save((result, runner.iter, state), f'{folder}/{max_share}/result{rank}.pt')


def test_processes_add_up_and_end_together(tmp_path):
    # The first process gets the even images, the other one the odd ones: one bad image each.
    files = list(plain_images(20))
    write(tmp_path / 'data', {**plain_images(20), files[2]: b'', files[5]: b'no image'})
    run_ranks(train_a_rank, 2, tmp_path, str(tmp_path))
    bad = sorted(str(tmp_path / 'data' / files[number]) for number in (2, 5))
    for max_share in (0.1, 0.05):
        folder = tmp_path / str(max_share)
        first, second = (torch.load(folder / f'result{rank}.pt') for rank in range(2))
        assert first[1:] == second[1:]
        iteration, state = first[1:]
        assert sorted(state['files']) == bad
        if max_share == 0.1:
            assert first[0] == second[0] == 'passed'
            # In two epochs of three batches of 4, 4 and 2 images for each process.
            assert (iteration, state['seen']) == (6, 40)
            # Before the first exchange of the hook's own.
            saved = torch.load(folder / 'rank0/iter_1.pth', weights_only=False)['message_hub']
            expected = {'seen': 8, 'files': dict.fromkeys(bad, 0)}
            assert saved['runtime_info']['bad_images'] == expected
        else:
            for message, *_ in (first, second):
                assert message.startswith('2 of 20 training images are bad, more than max_share=')
                assert all(path in message for path in bad)
            # At the first exchange.
            assert iteration == 1
        assert sorted(path for path, _ in listed(folder / 'rank0')) == bad
        assert not list((folder / 'rank1').glob('*/bad_images.txt'))


@pytest.mark.filterwarnings('ignore:damaged shard')
@pytest.mark.parametrize(('max_share', 'ends'), [(0.01, True), (0.7, False)])
def test_damaged_shards_have_lost_images(tmp_path, max_share, ends):
    images = list(plain_images(12).values())
    _, *others = write_shards(tmp_path, images, 3, 'jpg')
    for shard in others:
        # The first of four images is left.
        shard.write_bytes(shard.read_bytes()[: len(images[0]) + 3000])
    cfg = loader('')
    cfg['dataset'] = dict(
        type='WebDatasetImages', shards=f'{tmp_path}/*.tar', with_label=False, pipeline=PIPELINE
    )
    runner = build(tmp_path / 'run', cfg, [dict(max_share=max_share)])
    text = rf'damaged shards: {others[0]} and 1 more; about \d images of them are lost'
    if ends:
        with pytest.raises(BadImagesError, match=rf'{text}, and \d are left: .*max_share=1\.$'):
            runner.train()
        return
    runner.train()
    (path,) = (tmp_path / 'run').glob('*/*.log')
    assert re.search(f'WARNING - {text}', path.read_text())


def test_images_are_counted_once(tmp_path):
    write(tmp_path, plain_images(3))
    images = CustomDataset(data_root=str(tmp_path), data_prefix='', with_label=False)
    assert count_images(images) == 3
    assert count_images(RepeatDataset(images, 5)) == 3
    assert count_images(SeededDataset(RepeatDataset(images, 5))) == 3
    assert count_images(ConcatDataset([images, images])) == 6
    both = dict(type='ConcatDataset', datasets=[images, images])
    assert count_images(RepeatDataset(both, 2)) == 6


@pytest.mark.parametrize(
    'settings',
    [
        {'max_share': -0.1},
        {'max_share': 2},
        {'max_share': True},
        {'interval': 0},
        {'interval': 1.5},
        {'max_lines': -1},
    ],
)
def test_wrong_settings(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=rf'{name}={value!r} must be'):
        BadImagesHook(**settings)
