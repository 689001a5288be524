"""``KNNHook`` in real runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS, HOOKS, RUNNERS
from sklearn.neighbors import KNeighborsClassifier

from hvs_mm.datasets import ShapesDataset
from hvs_mm.evaluation.knn import Accuracy, KNNResult
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import RESNET, build_runner, dino_config
from tests.helpers.tools import load_tool

ROOT = Path(__file__).parents[2]
PIPELINE = [dict(type='Resize', scale=32), dict(type='PackInputs')]
QUERIES = dict(type='ShapesDataset', split='val', img_size=48, num_samples=30)
HOOK = dict(type='KNNHook', interval=1, queries=QUERIES, k=[1, 5])
TEACHER = dict(type='TeacherHook', momentum=0.3)


def simsiam():
    algorithm = algorithm_config('SimSiam')
    return dict(type='HVSAlgorithm', algorithm=algorithm, candidates=[2], keep=[2])


def train(work_dir, model, hooks=(), **kwargs):
    """Train with the hook given; the view counts are those of the model."""
    hooks = list(hooks)
    if model['type'] == 'DINO':
        hooks.append(TEACHER)
    else:
        kwargs['num_views'] = [2]
    runner = build_runner(work_dir, model, hooks=hooks, knn_pipeline=PIPELINE, **kwargs)
    runner.train()
    return runner


def knn_entries(work_dir):
    """What the hook wrote into the JSON log."""
    (path,) = Path(work_dir).glob('*/vis_data/scalars.json')
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry for entry in entries if any(key.startswith('knn/') for key in entry)]


@torch.no_grad()
def scikit_learn(backbone, k):
    """Top-1 accuracy in percent, without anything of the package."""
    backbone.eval()
    features, labels = [], []
    for split, number in (('train', 6), ('val', 30)):
        dataset = DATASETS.build(
            dict(
                type='ShapesDataset',
                split=split,
                img_size=48,
                num_samples=number,
                pipeline=PIPELINE,
            )
        )
        images = (torch.stack([sample['inputs'] for sample in dataset]).float() - 127.5) / 60
        output = backbone(images)[-1]
        features.append((output.mean((2, 3)) if output.ndim == 4 else output).double().numpy())
        labels.append(dataset.get_gt_labels())
    classifier = KNeighborsClassifier(
        k, metric='cosine', weights=lambda distance: np.exp((1 - distance) / 0.07)
    )
    return 100 * classifier.fit(features[0], labels[0]).score(features[1], labels[1])


# --- What is logged --------------------------------------------------------------------------


@pytest.mark.parametrize('network', [None, 'student'])
def test_values_of_every_epoch(tmp_path, network):
    hook = dict(HOOK, network=network, at_start=True)
    runner = train(tmp_path, dino_config(), [hook], num_batches=3)
    entries = knn_entries(tmp_path)
    assert [entry['epoch'] for entry in entries] == [0, 1, 2]
    assert [entry['iter'] for entry in entries] == [0, 3, 6]
    assert [entry['step'] for entry in entries] == [0, 3, 6]
    model = runner.model
    backbone = model.backbone if network else model.teacher['backbone']
    for k in (1, 5):
        assert entries[-1][f'knn/top1_k{k}'] == pytest.approx(scikit_learn(backbone, k))
        assert entries[-1][f'knn/top5_k{k}'] >= entries[-1][f'knn/top1_k{k}']
        history = runner.message_hub.get_scalar(f'knn/top1_k{k}')
        assert history.data[0].tolist() == [entry[f'knn/top1_k{k}'] for entry in entries]
    names = {'knn/top1_k1', 'knn/top5_k1', 'knn/top1_k5', 'knn/top5_k5', 'epoch', 'iter', 'step'}
    assert all(set(entry) == names for entry in entries)


def test_lost_features_are_warned_of_once(tmp_path, monkeypatch):
    """Of 80 % a tenth may be lost; the first k counts."""
    values = iter([80.0, 73.0, 71.9, 40.0])

    def measure(model):
        accuracy = {1: Accuracy(next(values), 90.0), 5: Accuracy(10.0, 90.0)}
        return KNNResult(accuracy, num_bank=6, num_queries=30)

    monkeypatch.setattr('hvs_mm.evaluation.knn_hook.KNNEvaluation', lambda *args: measure)
    hook = dict(HOOK, at_start=True, warn_drop=0.1)
    train(tmp_path, simsiam(), [hook], num_batches=1, max_epochs=3, log_level='WARNING')
    (log,) = tmp_path.glob('*/*.log')
    (line,) = [line for line in log.read_text().splitlines() if 'WARNING' in line]
    assert 'fell from 80.0 % before training to 71.9 % after epoch 2' in line
    assert all(word in line for word in ('backbone_lr_mult', 'freeze_share'))
    with pytest.raises(ValueError, match=r'warn_drop=0.1 of KNNHook .* set at_start=True'):
        HOOKS.build(dict(HOOK, warn_drop=0.1))


@pytest.mark.parametrize(('interval', 'max_epochs', 'expected'), [(2, 3, [2, 3]), (10, 1, [1])])
def test_when_it_acts(tmp_path, monkeypatch, interval, max_epochs, expected):
    listed = []
    original = ShapesDataset.load_data_list
    monkeypatch.setattr(
        ShapesDataset, 'load_data_list', lambda self: listed.append(self.split) or original(self)
    )
    hook = dict(HOOK, interval=interval)
    train(tmp_path, simsiam(), [hook], max_epochs=max_epochs, num_batches=3)
    assert [entry['epoch'] for entry in knn_entries(tmp_path)] == expected
    # One of them for training; those of the hook serve all epochs.
    assert sorted(listed) == ['train', 'train', 'val']


def test_a_run_that_counts_iterations(tmp_path):
    loop = dict(type='IterBasedTrainLoop', max_iters=4)
    config = dict(train_cfg=loop, log_processor=dict(by_epoch=False))
    train(tmp_path, simsiam(), [HOOK], num_batches=3, **config)
    assert [entry['iter'] for entry in knn_entries(tmp_path)] == [4]


def test_the_log_line(tmp_path):
    runner = train(tmp_path, dino_config(), [HOOK], max_epochs=1, log_level='INFO')
    log = (Path(runner.log_dir) / f'{runner.timestamp}.log').read_text()
    entry = knn_entries(tmp_path)[0]
    found = re.search(
        r'k-NN after epoch 1 \(teacher, 10 images in the bank, 30 queries\)  (.*)', log
    )
    assert f'knn/top1_k1: {entry["knn/top1_k1"]:.2f}' in found[1]
    assert f'knn/top5_k5: {entry["knn/top5_k5"]:.2f}' in found[1]
    # The other JSON log of MMEngine has the values, too.
    other = Path(runner.log_dir) / 'vis_data' / f'{runner.timestamp}.json'
    assert json.dumps(entry) in other.read_text()
    # And the training entries have none of them.
    lines = [line for line in log.splitlines() if 'Epoch(train)' in line]
    assert lines
    assert not any('knn' in line for line in lines)


# --- What it leaves alone --------------------------------------------------------------------


@pytest.mark.parametrize(
    ('model', 'num_workers'),
    [
        (dino_config(drop_path=0.5), 1),
        (dino_config(backbone=RESNET, neck=dict(in_channels=64)), 0),
        (simsiam(), 0),
    ],
    ids=['drop path', 'BatchNorm', 'HVS'],
)
def test_training_is_the_same_bit_for_bit(tmp_path, model, num_workers):
    hook = dict(HOOK, at_start=True, num_workers=num_workers)
    weights = []
    for name, hooks in (('without', []), ('with', [hook])):
        ema = dict(type='EMAHook')
        runner = train(tmp_path / name, model, [ema, *hooks], num_batches=3)
        (ema,) = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        numpy_state = np.random.get_state()
        weights.append(
            {
                **runner.model.state_dict(),
                **{f'average {k}': v for k, v in ema.ema_model.state_dict().items()},
                'modes': torch.tensor([m.training for m in runner.model.modules()]),
                'random numbers': torch.get_rng_state(),
                'random numbers of NumPy': torch.tensor(
                    [*map(int, numpy_state[1]), numpy_state[2]]
                ),
            }
        )
    assert len(knn_entries(tmp_path / 'with')) == 3
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        assert torch.equal(value, weights[1][key]), key


# --- In several processes --------------------------------------------------------------------

DEMO = ROOT / 'configs/demo/hvs_simsiam.py'
#: ``--cfg-options`` that switch the hook on, for a run and for the evaluation of its checkpoint.
OPTIONS = {
    'train_dataloader.dataset.num_samples': 32,
    'default_hooks.knn.type': 'KNNHook',
    'default_hooks.knn.k': 20,
    'default_hooks.knn.queries.type': 'ShapesDataset',
    'default_hooks.knn.queries.split': 'val',
    'default_hooks.knn.queries.num_samples': 128,
}


def _train_a_rank(rank, folder):
    cfg = Config.fromfile(DEMO)
    cfg.merge_from_dict(OPTIONS)
    cfg.train_dataloader.update(batch_size=8, num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_epochs = 1
    # The group is there already; MMEngine reads which GPU this process would have.
    os.environ['LOCAL_RANK'] = str(rank)
    cfg.launcher = 'pytorch'
    cfg.default_hooks.pop('panel')
    # As `prepare_cpu_distributed` does, which makes a process group of its own.
    wrapper = dict(type='mmpretrain.CPUDistributedDataParallel', broadcast_buffers=False)
    cfg.model_wrapper_cfg = wrapper
    cfg.work_dir = str(folder / 'run')
    RUNNERS.build(cfg).train()


def test_options_switch_it_on_in_several_processes(tmp_path):
    run_ranks(_train_a_rank, 2, tmp_path, tmp_path)
    work_dir = tmp_path / 'run'
    log = next(work_dir.glob('*/*.log')).read_text()
    assert 'k-NN after epoch 1 (backbone, 32 images in the bank, 128 queries)' in log
    (entry,) = knn_entries(work_dir)
    assert set(entry) == {'knn/top1_k20', 'knn/top5_k20', 'epoch', 'iter', 'step'}
    # One process with these weights.
    options = [f'{name}={value}' for name, value in OPTIONS.items()]
    checkpoint = str(work_dir / 'epoch_1.pth')
    command = [str(DEMO), checkpoint, '--device', 'cpu', '--num-workers', '0']
    load_tool('eval_knn').main([*command, '--cfg-options', *options])
    alone = json.loads((work_dir / 'knn_epoch_1.json').read_text())
    assert (alone['num_bank'], alone['num_queries'], alone['epoch']) == (32, 128, 1)
    # float32 may round a similarity differently: 1 of 128 queries.
    assert entry['knn/top1_k20'] == pytest.approx(alone['k']['20']['top1'], abs=0.8)
    assert entry['knn/top5_k20'] == pytest.approx(alone['k']['20']['top5'], abs=0.8)


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        (dict(interval=0), ValueError, 'interval=0 must be an integer of at least 1: the epochs'),
        (dict(k=[0]), ValueError, 'must be at least 1'),
        (dict(temperature=-1), ValueError, 'temperature=-1 must be positive'),
        (dict(batch_size=0), ValueError, 'batch_size=0 must be an integer of at least 1'),
        (dict(kk=3), TypeError, "unexpected keyword argument 'kk'"),
    ],
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        HOOKS.build({'type': 'KNNHook', **settings})


@pytest.fixture(scope='module')
def runner(tmp_path_factory):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        folder = tmp_path_factory.mktemp('runner')
        return build_runner(folder, simsiam(), num_views=[2], knn_pipeline=PIPELINE)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(k=[11]), 'k=11 neighbors, but the bank has only 10 images'),
        (dict(bank='/nowhere'), "bank: CustomDataset.data_root='/nowhere'. cannot be read"),
        (dict(queries='/nowhere'), "queries: CustomDataset.data_root='/nowhere'. cannot be read"),
        (dict(network='teacher'), "network='teacher': SimSiam has 'backbone'"),
    ],
)
def test_what_cannot_work_stops_the_run_before_it_trains(runner, settings, message):
    hook = HOOKS.build({**HOOK, **settings})
    with pytest.raises(ValueError, match=message):
        hook.before_train(runner)


class Spoil(Hook):
    def after_train_epoch(self, runner):
        with torch.no_grad():
            next(runner.model.parameters()).fill_(float('nan'))


def test_a_network_that_diverges(tmp_path):
    runner = build_runner(
        tmp_path, simsiam(), num_views=[2], num_batches=3, hooks=[HOOK], knn_pipeline=PIPELINE
    )
    runner.register_hook(Spoil(), priority='HIGH')
    with pytest.raises(ValueError, match='6 of 6 features of the bank are NaN or infinite'):
        runner.train()
