"""Selection in some steps and for some samples."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmpretrain.registry import HOOKS

from hvs_mm.models import SelectionSchedule
from tests.helpers.tiny import GROUP_NORM, algorithm_config, build_hvs, random_views
from tests.helpers.tiny_dino import (
    build_hvs_dino,
    build_runner,
    candidate_crops,
    dino_config,
    epoch_of_run,
    random_samples,
)

pytestmark = pytest.mark.usefixtures('no_runner')


# --- When ------------------------------------------------------------------------------------


def test_every_third_step_of_a_run():
    schedule, hub = SelectionSchedule(interval=3), MessageHub.get_current_instance()
    due = []
    # From 4 on: a resumed run goes on in step.
    for iteration in range(4, 12):
        hub.update_info('iter', iteration)
        due.append(schedule.is_due())
    assert due == [False, False, True, False, False, True, False, False]


def test_calls_count_without_a_run():
    schedule = SelectionSchedule(interval=3)
    assert [schedule.is_due() for _ in range(7)] == [True, False, False] * 2 + [True]


def test_warmup():
    schedule = SelectionSchedule(warmup=2)
    due = []
    for epoch in range(4):
        with epoch_of_run(epoch, 10):
            due.append(schedule.is_due())
    assert due == [False, False, True, True]


@pytest.mark.parametrize(
    ('options', 'expected'),
    [({}, True), ({'interval': 2}, False), ({'warmup': 1}, False), ({'prob': 0.5}, False)],
)
def test_completeness(options, expected):
    assert SelectionSchedule(**options).is_complete == expected


# --- For whom --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('prob', 'batch_size', 'expected'), [(0.5, 8, 4), (0.3, 8, 2), (0.01, 8, 1), (0.99, 8, 8)]
)
def test_number_of_samples(prob, batch_size, expected):
    samples = SelectionSchedule(prob=prob).draw_samples(batch_size)
    if expected == batch_size:
        assert samples is None
    else:
        assert len(set(samples.tolist())) == expected
        assert samples.tolist() == sorted(samples.tolist())


def test_every_sample_is_drawn():
    torch.manual_seed(0)
    schedule = SelectionSchedule(prob=0.25)
    drawn = torch.cat([schedule.draw_samples(8) for _ in range(800)])
    # 200 times each, standard deviation 12
    assert (drawn.bincount(minlength=8) - 200).abs().max() < 50


# --- What the step does ----------------------------------------------------------------------


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL', 'DINO', 'IBOT'])
def test_a_step_without_selection_is_the_baseline(name):
    if name in ('DINO', 'IBOT'):
        model = build_hvs_dino(name)
        views, samples, first = candidate_crops((2, 2, 4)), random_samples(3, 4), [0, 2, 4, 5]
    else:
        model, views, samples, first = build_hvs(name), random_views(), None, [0, 1]
    model.schedule = SelectionSchedule(interval=2)
    baseline = deepcopy(model.algorithm)
    assert model.schedule.is_due()
    passes = []
    model.selection_pass.forward = lambda *args: passes.append(args)
    random_state = torch.get_rng_state()
    ours = model.loss(views, samples)
    assert not passes
    assert model.last_selection is None
    assert ours['hvs_share'] == 0
    assert not any(key.startswith('hvs_') for key in ours if key != 'hvs_share')
    torch.set_rng_state(random_state)
    if name == 'IBOT':
        for sample in samples:
            sample.set_field(sample.view_masks[[0, 2]], 'view_masks', field_type='metainfo')
    expected = baseline.loss([views[view] for view in first], samples)
    assert ours['loss'] == expected['loss']
    for key, value in baseline.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize('name', ['SimSiam', 'DINO', 'IBOT'])
def test_selection_for_some_samples(name):
    torch.manual_seed(0)
    if name == 'SimSiam':
        model = build_hvs(name, GROUP_NORM, schedule={'prob': 0.5})
        views, samples, first = random_views(batch_size=6), None, [0, 1]
    else:
        model = build_hvs_dino(name)
        model.schedule = SelectionSchedule(prob=0.5)
        views, samples = candidate_crops((2, 2, 4), 6), random_samples(6, 4)
        first = [0, 2, 4, 5]
    expected = model.select_views(views, samples)
    baseline, seen = deepcopy(model.algorithm), {}
    loss = model.algorithm.loss

    def spy(inputs, data_samples=None, **known):
        seen.update(inputs=inputs, **known)
        return loss(inputs, data_samples, **known)

    model.algorithm.loss = spy
    ours = model.loss(views, samples)
    assert ours['hvs_share'] == 0.5
    selection = model.last_selection
    drawn = selection.samples.tolist()
    assert len(drawn) == 3
    # Samples do not depend on each other here, so those selected for choose as in the whole batch.
    assert torch.equal(selection.indices, expected.indices[drawn])
    indices = torch.tensor([first] * 6)
    indices[drawn] = selection.indices
    for slot, view in enumerate(seen['inputs']):
        for b in range(6):
            assert torch.equal(view[b], views[indices[b, slot]][b])
    if name == 'IBOT':
        for b, sample in enumerate(samples):
            masks = sample.view_masks[indices[b, :2]]
            assert np.array_equal(seen['masks'][b].numpy(), masks)
            sample.set_field(masks, 'view_masks', field_type='metainfo')
    other = baseline.loss(seen['inputs'], samples)
    torch.testing.assert_close(ours['loss'], other['loss'], rtol=1e-4, atol=1e-5)


def test_simclr_selects_for_two_samples_at_least():
    """One alone has no negatives, and the same loss whatever it keeps."""
    torch.manual_seed(0)
    model = build_hvs('SimCLR', GROUP_NORM, schedule={'prob': 0.1})
    model.loss(random_views(batch_size=6))
    assert len(model.last_selection.samples) == 2
    assert model.last_selection.pair_loss.abs().max() > 0


def test_always_selecting_logs_no_share():
    assert 'hvs_share' not in build_hvs('SimSiam').loss(random_views())


# --- In runs ---------------------------------------------------------------------------------


@HOOKS.register_module()
class _KeepSelections(Hook):
    def before_train(self, runner):
        self.records = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        boxes = np.stack([s.view_boxes for s in data_batch['data_samples']])
        self.records.append((runner.model.last_selection, boxes, outputs))


def run(tmp_path, schedule):
    model = dict(
        type='HVSAlgorithm',
        algorithm=dino_config('DINO', num_crops=4),
        candidates=[3, 4],
        keep=[2, 2],
        schedule=schedule,
    )
    hooks = [
        dict(type='SelectionStatsHook', interval=100),
        dict(type='_KeepSelections'),
        dict(type='TeacherHook'),
    ]
    runner = build_runner(tmp_path, model, num_views=(3, 4), batch_size=4, hooks=hooks)
    runner.train()
    (keep,) = (hook for hook in runner.hooks if isinstance(hook, _KeepSelections))
    return runner, keep.records


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        # 2 epochs of 5 iterations
        ({'interval': 3}, [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]),
        ({'warmup': 1}, [0] * 5 + [1] * 5),
        # Never.
        ({'warmup': 2}, [0] * 10),
        ({'warmup': 1, 'interval': 2}, [0] * 5 + [0, 1, 0, 1, 0]),
        ({'prob': 0.5}, [0.5] * 10),
    ],
)
def test_share_over_a_run(tmp_path, options, expected):
    _, records = run(tmp_path, options)
    assert [outputs['hvs_share'] for _, _, outputs in records] == expected
    assert [selection is not None for selection, _, _ in records] == [n > 0 for n in expected]


@pytest.mark.parametrize('options', [{'interval': 2}, {'warmup': 1}, {'prob': 0.5}])
def test_statistics_count_what_was_selected_for(tmp_path, options):
    runner, records = run(tmp_path, options)
    file = tmp_path / runner.timestamp / 'vis_data' / f'{runner.timestamp}.json'
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    logged = [line for line in lines if 'selection/images' in line]
    for line in logged:
        first, last = (0, 5) if line['epoch'] == 1 else (5, 10)
        kept = []
        for selection, boxes, _ in records[first:last]:
            if selection is None:
                continue
            of_sample = boxes if selection.samples is None else boxes[selection.samples.numpy()]
            for box, indices in zip(of_sample, selection.indices.tolist()):
                kept.append(iou(box[indices[0]], box[indices[1]]))
        assert line['selection/images'] == len(kept)
        assert line['selection/iou_kept'] == pytest.approx(np.mean(kept), abs=1e-5)
    assert [line['epoch'] for line in logged] == ([2] if 'warmup' in options else [1, 2])


def iou(a, b):
    overlap = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    shared = overlap[0] * overlap[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def test_selected_losses_are_of_the_run(tmp_path):
    """An interval of one is a run without the option, bit for bit."""
    model = dict(
        type='HVSAlgorithm', algorithm=algorithm_config('SimSiam'), candidates=[4], keep=[2]
    )
    weights = []
    every_step = {'schedule': {'interval': 1, 'warmup': 0, 'prob': 1.0}}
    for number, options in enumerate(({}, every_step)):
        runner = build_runner(tmp_path / str(number), {**model, **options}, num_views=(4,))
        runner.train()
        weights.append(runner.model.state_dict())
    for key, value in weights[0].items():
        assert torch.equal(weights[1][key], value), key
