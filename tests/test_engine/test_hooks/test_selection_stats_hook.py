"""``SelectionStatsHook`` in real runs."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import combinations
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS, TASK_UTILS

from hvs_mm.engine import SelectionStatsHook
from hvs_mm.selection import SimSiamPairLoss
from hvs_mm.selection.statistics.geometry import pair_ious
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import build_runner, dino_config

HOOK = dict(type='SelectionStatsHook', interval=2)
TEACHER = dict(type='TeacherHook', momentum=0.3)
#: Settings of a run that counts iterations.
FIVE_ITERATIONS = dict(
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=5), log_processor=dict(by_epoch=False)
)


@HOOKS.register_module()
class _KeepBatches(Hook):
    """Remembers what every iteration selected and where the random generators stand."""

    def before_train(self, runner):
        self.batches, self.states, self.masks = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        boxes = torch.tensor(np.stack([s.view_boxes for s in data_batch['data_samples']]))
        self.batches.append((runner.iter + 1, runner.model.last_selection, boxes))
        self.masks.append([getattr(s, 'view_masks', None) for s in data_batch['data_samples']])
        self.states.append(
            (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
        )


def simsiam(**kwargs):
    algorithm = algorithm_config('SimSiam')
    return dict(type='HVSAlgorithm', algorithm=algorithm, candidates=[4], keep=[2], **kwargs)


def random_pairs():
    return simsiam(selector='random')


def dino():
    return dict(type='HVSAlgorithm', algorithm=dino_config('DINO'), candidates=[3, 4], keep=[2, 2])


def ibot():
    return dict(dino(), algorithm=dino_config('IBOT'))


def train(work_dir, model, hooks=(), **kwargs):
    hooks = [*hooks, dict(type='_KeepBatches')]
    if model['algorithm']['type'] in ('DINO', 'IBOT'):
        hooks.append(TEACHER)
        kwargs.setdefault('num_views', [3, 4])
    runner = build_runner(
        work_dir, model, hooks=hooks, **{'num_views': [4], 'num_batches': 3, **kwargs}
    )
    runner.train()
    return runner


def batches(runner):
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, _KeepBatches))
    return hook


def entries(work_dir):
    (path,) = Path(work_dir).glob('*/vis_data/scalars.json')
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [entry for entry in found if 'selection/images' in entry]


@pytest.mark.parametrize('model', [simsiam, dino])
def test_what_is_logged(tmp_path, model):
    runner = train(tmp_path, model(), [HOOK], batch_size=3)
    logged = entries(tmp_path)
    # Every second iteration of an epoch, and at the end of the two epochs of three.
    assert [(entry['iter'], entry['epoch']) for entry in logged] == [(2, 1), (3, 1), (5, 2), (6, 2)]
    spans = [(1, 2), (3,), (4, 5), (6,)]
    num_targets = 4 if model is simsiam else 3
    pairs = list(combinations(range(num_targets), 2))
    for span, entry in zip(spans, logged):
        gaps, ious, lowest, counts, kept_ious = [], [], [], dict.fromkeys(pairs, 0), []
        hardness = []
        for iteration, selection, boxes in batches(runner).batches:
            if iteration not in span:
                continue
            for sample in range(3):
                own = pair_ious(boxes[sample : sample + 1], pairs)[0].tolist()
                pair = tuple(selection.indices[sample, :2].tolist())
                counts[pair] += 1
                ious.append(sum(own) / len(own))
                kept_ious.append(own[pairs.index(pair)])
                lowest.append(own[pairs.index(pair)] <= min(own) + 1e-6)
                gaps.append((selection.score - selection.mean_score)[sample].item())
                hardness.append(selection.hardness()[sample].item())
        assert entry['selection/images'] == len(gaps) == 3 * len(span)
        assert entry['selection/score_gap_images'] == np.isfinite(gaps).sum()
        expected = {
            'iou_kept': np.mean(kept_ious),
            'iou_all': np.mean(ious),
            'lowest_iou': np.mean(lowest),
            'score_gap': np.mean(gaps),
            'score_gap_std': np.std(gaps),
            'hardness': np.mean(hardness),
            'iou_gap': np.mean(kept_ious) - np.mean(ious),
            'iou_gap_std': np.std(np.subtract(kept_ious, ious)),
            'nonfinite': 0,
            'choice_entropy': -sum(n / len(gaps) * log(n / len(gaps)) for n in counts.values() if n)
            / log(len(pairs)),
            **{f'kept_{a}-{b}': counts[a, b] / len(gaps) for a, b in pairs},
        }
        for name, value in expected.items():
            assert entry[f'selection/{name}'] == pytest.approx(value, abs=1e-5), name
    # The views differ in nothing but their crops.
    assert logged[0]['selection/color_all'] == logged[0]['selection/blur_kept'] == 0
    assert logged[0]['selection/strongest_color_chance'] == 1


def test_masks_of_kept_views(tmp_path):
    runner = train(tmp_path, ibot(), [HOOK], batch_size=3, num_batches=2, max_epochs=1)
    (entry,) = entries(tmp_path)
    kept, of_all = [], []
    for (_, selection, _), masks in zip(batches(runner).batches, batches(runner).masks):
        for sample, mask in enumerate(masks):
            targets = selection.indices[sample, :2].tolist()
            kept += [mask[target].sum() / mask[target].size for target in targets]
            of_all.append(mask.sum() / mask.size)
    assert entry['selection/masked_kept'] == pytest.approx(np.mean(kept))
    assert entry['selection/masked_all'] == pytest.approx(np.mean(of_all)) != 0
    assert 'train/masked_kept' in runner.message_hub.log_scalars


def test_scores_that_are_not_finite(tmp_path):
    """The line must not go on showing the last number."""

    @HOOKS.register_module(force=True)
    class _SpoilScores(Hook):
        priority = 'HIGH'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter >= 2:
                selection = runner.model.last_selection
                spoiled = torch.full_like(selection.score, float('nan'))
                runner.model.last_selection = replace(selection, score=spoiled)

    runner = train(
        tmp_path, simsiam(), [HOOK, dict(type='_SpoilScores')], num_batches=4, max_epochs=1
    )
    first, second = entries(tmp_path)
    assert np.isfinite(first['selection/score_gap'])
    assert np.isnan(second['selection/score_gap'])
    assert second['selection/score_gap_images'] == 0
    assert np.isnan(runner.message_hub.get_scalar('train/score_gap').current())
    assert np.isfinite(second['selection/iou_kept'])


def test_the_log_line(tmp_path):
    train(tmp_path, simsiam(), [HOOK], num_batches=10, max_epochs=1, log_level='INFO')
    (log_file,) = tmp_path.glob('*/*.log')
    (line,) = (
        line for line in log_file.read_text().splitlines() if 'Epoch(train) [1][10/10]' in line
    )
    last = entries(tmp_path)[-1]
    for name in (
        'iou_kept', 'iou_all', 'lowest_iou', 'lowest_iou_chance', 'score_gap', 'choice_entropy',
    ):  # fmt: skip
        assert f'  {name}: {last[f"selection/{name}"]:.4f}' in line
    assert 'overlap' not in line
    assert 'color' not in line


def test_a_run_that_counts_iterations(tmp_path):
    train(tmp_path, simsiam(), [HOOK], batch_size=3, **FIVE_ITERATIONS)
    logged = entries(tmp_path)
    # The last iteration, too.
    assert [entry['iter'] for entry in logged] == [2, 4, 5]
    assert [entry['selection/images'] for entry in logged] == [6, 6, 3]
    assert not any('epoch' in entry for entry in logged)


def test_a_single_target_view(tmp_path):
    model = dict(dino(), candidates=[2, 4], keep=[1, 3])
    train(tmp_path, model, [HOOK], num_views=[2, 4])
    entry = entries(tmp_path)[0]
    assert 'selection/iou_kept' not in entry
    assert 0 <= entry['selection/local_iou_kept'] <= 1


def test_colors_that_differ(tmp_path):
    jitter = dict(type='ColorJitter', brightness=0.4)
    pipeline = [
        dict(
            type='CandidateViews',
            num_views=[4],
            transforms=[[dict(type='RandomResizedCrop', scale=32), jitter]],
        ),
        dict(type='PackViews'),
    ]
    runner = build_runner(tmp_path, simsiam(), hooks=[HOOK], num_batches=2, max_epochs=1)
    runner.cfg.train_dataloader.dataset.pipeline = pipeline
    runner._train_dataloader.dataset.pipeline = pipeline
    runner.train()
    (entry,) = entries(tmp_path)
    assert 0 < entry['selection/brightness_all'] < 0.4
    assert entry['selection/color_all'] == pytest.approx(entry['selection/brightness_all'])
    assert 0 <= entry['selection/strongest_color'] <= 1
    assert entry['selection/strongest_color_chance'] == pytest.approx(1 / 6)
    assert entry['selection/hue_all'] == 0
    assert 'train/color_kept' in runner.message_hub.log_scalars


@pytest.mark.parametrize('model', [simsiam, random_pairs, dino])
def test_a_run_trains_as_without_it(tmp_path, model):
    with_hook = train(tmp_path / 'with', model(), [dict(HOOK, interval=1)])
    without = train(tmp_path / 'without', model())
    expected = without.model.state_dict()
    assert with_hook.model.state_dict().keys() == expected.keys()
    for name, value in with_hook.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    for own, other in zip(batches(with_hook).states, batches(without).states):
        assert torch.equal(own[0], other[0])
        assert own[1:] == other[1:]
    scalars = without.message_hub.log_scalars['train/loss'].data[0]
    assert np.array_equal(with_hook.message_hub.log_scalars['train/loss'].data[0], scalars)


def _train_a_rank(rank, folder):
    runner = train(
        folder / f'rank{rank}',
        simsiam(selector='random'),
        [HOOK],
        batch_size=4,
        num_batches=4,
        model_wrapper_cfg=dict(type='CPUDistributedDataParallel'),
    )
    torch.save(
        [
            (iteration, selection.target_choice, boxes)
            for iteration, selection, boxes in batches(runner).batches
        ],
        folder / f'batches{rank}.pt',
    )


def test_all_processes_count(tmp_path):
    run_ranks(_train_a_rank, 2, tmp_path, tmp_path)
    pairs = list(combinations(range(4), 2))
    first = []
    for rank in range(2):
        first += torch.load(tmp_path / f'batches{rank}.pt')[:2]
    ious = torch.cat([pair_ious(boxes, pairs) for _, _, boxes in first])
    choice = torch.cat([choice for _, choice, _ in first])
    entry = entries(tmp_path / 'rank0')[0]
    assert entry['selection/images'] == len(ious) == 16
    assert entry['selection/iou_kept'] == pytest.approx(
        ious[range(16), choice].mean().item(), abs=1e-6
    )
    assert entry['selection/iou_all'] == pytest.approx(ious.mean().item(), abs=1e-6)
    assert entry['selection/kept_0-1'] == (choice == 0).float().mean().item()


@TASK_UTILS.register_module()
class _SpoiledOnTheSecondRank(SimSiamPairLoss):
    """NaN for the first sample that the second process selects for."""

    algorithms = ()

    def form(self, algorithm, outputs):
        pair_loss = super().form(algorithm, outputs)
        if get_rank() == 1:
            pair_loss[0] = float('nan')
        return pair_loss


def _train_on_some_samples(rank, folder):
    # Every process draws its own.
    torch.manual_seed(rank)
    runner = train(
        f'{folder}/rank{rank}',
        simsiam(schedule=dict(prob=0.5), pair_loss=dict(type='_SpoiledOnTheSecondRank')),
        [HOOK],
        batch_size=4,
        num_batches=4,
        max_epochs=1,
        model_wrapper_cfg=dict(type='CPUDistributedDataParallel'),
        randomness=dict(seed=rank),
    )
    torch.save(batches(runner).batches, f'{folder}/batches{rank}.pt')


def test_samples_left_out_and_scores_that_are_not_finite(tmp_path):
    """In one process only; the means are those over all that count, wherever they are."""
    run_ranks(_train_on_some_samples, 2, tmp_path, str(tmp_path))
    pairs = list(combinations(range(4), 2))
    ious, gaps, nonfinite, drawn = [], [], [], []
    for rank in range(2):
        for _, selection, boxes in torch.load(tmp_path / f'batches{rank}.pt', weights_only=False):
            drawn.append(tuple(selection.samples.tolist()))
            ious.append(pair_ious(boxes[selection.samples], pairs))
            gaps += (selection.score - selection.mean_score).tolist()
            nonfinite += selection.nonfinite.tolist()
    assert len(set(drawn)) > 1
    finite = [gap for gap in gaps if np.isfinite(gap)]
    (entry,) = entries(tmp_path / 'rank0')
    assert entry['selection/images'] == len(gaps) == 8
    assert entry['selection/score_gap_images'] == len(finite) == 6
    assert entry['selection/nonfinite'] == np.mean(nonfinite) == 0.25
    assert entry['selection/score_gap'] == pytest.approx(np.mean(finite), abs=1e-6)
    assert entry['selection/iou_all'] == pytest.approx(torch.cat(ious).mean().item(), abs=1e-6)


@pytest.mark.parametrize(('other', 'images'), [(None, 6), ('candidates', 2), ('names', 2)])
def test_a_window_of_another_selection_is_left_out(tmp_path, capfd, other, images):
    """Two iterations before a stop and one after it, of two images each."""
    options = dict(
        max_epochs=1,
        log_level='WARNING',
        runner_type='mmpretrain.ReliableRunner',
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
    )
    hook = dict(HOOK, interval=10)
    train(tmp_path / 'first', simsiam(), [hook], **options)
    path = tmp_path / 'first/iter_2.pth'
    if other == 'names':
        checkpoint = torch.load(path, weights_only=False)
        checkpoint['message_hub']['runtime_info']['selection_since_log']['names'][0] = 'other'
        torch.save(checkpoint, path)
    capfd.readouterr()
    candidates = 5 if other == 'candidates' else 4
    model = dict(simsiam(), candidates=[candidates])
    options.update(load_from=str(path), resume=True, num_views=[candidates])
    train(tmp_path / 'second', model, [hook], **options)
    (entry,) = entries(tmp_path / 'second')
    assert entry['selection/images'] == images
    said = ''.join(capfd.readouterr())
    assert ('selected among other candidates' in said) == (other is not None)


@pytest.mark.parametrize('interval', [0, -1, 1.5, True, '5'])
def test_a_wrong_interval(interval):
    with pytest.raises(ValueError, match='must be an integer of at least 1: a number of'):
        SelectionStatsHook(interval)


def test_a_model_that_selects_nothing(tmp_path):
    runner = build_runner(
        tmp_path, algorithm_config('SimSiam'), hooks=[HOOK], num_views=[2], num_batches=1
    )
    with pytest.raises(ValueError, match='SimSiam selects no views'):
        runner.train()


def test_views_that_were_not_recorded(tmp_path):
    runner = build_runner(tmp_path, simsiam(), hooks=[HOOK], num_views=[4], num_batches=1)
    runner._train_dataloader.dataset.pipeline[-1] = dict(type='PackInputs')
    with pytest.raises(ValueError, match='CandidateViews and pack them with PackViews'):
        runner.train()
