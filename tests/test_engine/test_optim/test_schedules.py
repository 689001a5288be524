"""Schedules against closed forms, from the first step to the last and over a resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.registry import PARAM_SCHEDULERS
from torch import nn

from hvs_mm.engine import CosineWeightDecay, cosine_schedule
from hvs_mm.models import DINOHead, IBOTHead
from tests.helpers.tiny_dino import PROTOTYPES, build_runner, dino_config, epoch_of_run

EPOCHS, BATCHES = 10, 3
STEPS = EPOCHS * BATCHES


def cosine(start, end, steps):
    """As ``cosine_scheduler`` of the code published with DINO."""
    return end + 0.5 * (start - end) * (1 + np.cos(np.pi * np.arange(steps) / steps))


def two_groups(lr=1.0, weight_decay=0.04):
    decayed, not_decayed = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    return torch.optim.AdamW(
        [{'params': [decayed]}, {'params': [not_decayed], 'weight_decay': 0.0}],
        lr=lr,
        weight_decay=weight_decay,
    )


def build_scheduler(optimizer, **config):
    """As the Runner does."""
    return PARAM_SCHEDULERS.build(
        config, default_args={'optimizer': optimizer, 'epoch_length': BATCHES}
    )


WEIGHT_DECAY = dict(
    type='CosineWeightDecay', T_max=EPOCHS, eta_min=0.4, by_epoch=True, convert_to_iter_based=True
)


def decays(optimizer):
    return [group['weight_decay'] for group in optimizer.param_groups]


# --- Weight decay ----------------------------------------------------------------------------


def test_weight_decay():
    """0.04 at the start, 0.22 in the middle, 0.4 at the end; biases and norms keep their 0."""
    optimizer = two_groups()
    scheduler, seen = build_scheduler(optimizer, **WEIGHT_DECAY), []
    assert isinstance(scheduler, CosineWeightDecay)
    for _ in range(STEPS + 1):
        seen.append(decays(optimizer))
        optimizer.step()
        scheduler.step()
    expected = np.append(cosine(0.04, 0.4, STEPS), 0.4)
    np.testing.assert_allclose(np.array(seen)[:, 0], expected, rtol=1e-9)
    assert seen[0][0] == 0.04
    assert seen[STEPS // 2][0] == pytest.approx(0.22)
    assert seen[STEPS][0] == pytest.approx(0.4)
    assert {other for _, other in seen} == {0.0}


@pytest.mark.parametrize('saved_at', [1, STEPS // 2, STEPS - 1])
def test_weight_decay_after_a_resume(saved_at):
    optimizer = two_groups()
    scheduler = build_scheduler(optimizer, **WEIGHT_DECAY)
    for _ in range(saved_at):
        optimizer.step()
        scheduler.step()
    state = optimizer.state_dict(), scheduler.state_dict()
    optimizer = two_groups()
    scheduler = build_scheduler(optimizer, **WEIGHT_DECAY)
    optimizer.load_state_dict(state[0])
    scheduler.load_state_dict(state[1])
    expected = np.append(cosine(0.04, 0.4, STEPS), 0.4)
    for step in range(saved_at, STEPS + 1):
        assert decays(optimizer) == pytest.approx([expected[step], 0.0], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_weight_decay_by_epoch():
    optimizer = two_groups()
    scheduler = build_scheduler(optimizer, type='CosineWeightDecay', T_max=4, eta_min=0.4)
    seen = []
    for _ in range(5):
        seen.append(decays(optimizer))
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(np.array(seen)[:, 0], np.append(cosine(0.04, 0.4, 4), 0.4))


def test_weight_decay_falls_too():
    optimizer = two_groups(weight_decay=0.4)
    scheduler = build_scheduler(optimizer, **{**WEIGHT_DECAY, 'eta_min': 0.0})
    for expected in cosine(0.4, 0.0, STEPS):
        assert decays(optimizer) == pytest.approx([expected, 0.0], abs=1e-12)
        optimizer.step()
        scheduler.step()


# --- Learning rate ---------------------------------------------------------------------------

LR, MIN_LR, WARM_UP = 0.002, 1e-6, 1
LEARNING_RATE = [
    dict(
        type='LinearLR',
        start_factor=1e-6,
        by_epoch=True,
        begin=0,
        end=WARM_UP,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=EPOCHS - WARM_UP,
        eta_min=MIN_LR,
        by_epoch=True,
        begin=WARM_UP,
        end=EPOCHS,
        convert_to_iter_based=True,
    ),
]


def learning_rates():
    """Linear from about 0 to its peak over the warm-up, then a cosine."""
    warm_up = np.linspace(1e-6 * LR, LR, WARM_UP * BATCHES)
    return np.concatenate([warm_up, cosine(LR, MIN_LR, STEPS - len(warm_up))])


class Recorder(Hook):
    """What the optimizer and the teacher get in every iteration."""

    def __init__(self, seen):
        self.seen = seen

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(
            {
                'iter': runner.iter,
                # The optimizer has stepped, the schedulers have not.
                'lr': {group['lr'] for group in runner.optim_wrapper.param_groups},
                'weight_decay': {g['weight_decay'] for g in runner.optim_wrapper.param_groups},
                'momentum': runner.message_hub.get_scalar('train/teacher_momentum').current(),
                'temperature': runner.model.head.current_teacher_temp(),
            }
        )


def run(work_dir, seen, max_epochs=EPOCHS, stop_at=None, **config):
    head = {
        'warmup_teacher_temp': 0.04,
        'teacher_temp': 0.07,
        'warmup_teacher_temp_epochs': 4,
    }
    runner = build_runner(
        work_dir,
        dino_config(head=head),
        num_batches=BATCHES,
        max_epochs=max_epochs,
        hooks=[dict(type='TeacherHook', momentum=0.004)],
        optim_wrapper={
            'optimizer': dict(type='AdamW', lr=LR, weight_decay=0.04),
            'paramwise_cfg': dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
        },
        param_scheduler=[*LEARNING_RATE, WEIGHT_DECAY],
        default_hooks={'checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=True)},
        **config,
    )
    # After the teacher's hook, before the schedulers'.
    runner.register_hook(Recorder(seen), priority='NORMAL')
    if stop_at is not None:

        class Stop(Hook):
            def before_train_epoch(self, runner):
                if runner.epoch == stop_at:
                    raise KeyboardInterrupt

        runner.register_hook(Stop())
    runner.train()


def check_run(seen, start=0):
    assert [entry['iter'] for entry in seen] == list(range(start, STEPS))
    lr, decay = learning_rates(), cosine(0.04, 0.4, STEPS)
    momentum = cosine(0.004, 0.0, STEPS)
    temperature = np.concatenate([np.linspace(0.04, 0.07, 4), np.full(EPOCHS, 0.07)])
    for step, entry in zip(range(start, STEPS), seen):
        assert list(entry['lr']) == pytest.approx([lr[step]], rel=1e-6), step
        assert sorted(entry['weight_decay']) == pytest.approx([0.0, decay[step]]), step
        assert entry['momentum'] == pytest.approx(momentum[step], rel=1e-9), step
        assert entry['temperature'] == pytest.approx(temperature[step // BATCHES]), step


def test_all_schedules_of_a_run_and_after_a_resume(tmp_path):
    """Learning rate, weight decay, momentum and temperature, iteration by iteration."""
    seen = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, seen, stop_at=6)
    assert len(seen) == 6 * BATCHES
    resumed = []
    run(tmp_path, resumed, resume=True)
    check_run(resumed, 6 * BATCHES)
    check_run(seen + resumed)


def test_learning_rate_of_the_published_code():
    """The warm-up starts at about 0, ends at the peak, and the cosine goes on from there."""
    rates = learning_rates()
    assert rates[0] == pytest.approx(1e-6 * LR)
    assert rates[WARM_UP * BATCHES - 1] == rates[WARM_UP * BATCHES] == pytest.approx(LR)
    optimizer = two_groups(LR)
    schedulers, seen = [build_scheduler(optimizer, **config) for config in LEARNING_RATE], []
    for _ in range(STEPS):
        seen.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    np.testing.assert_allclose(seen, rates, rtol=1e-6)


# --- Momentum --------------------------------------------------------------------------------


def test_cosine_schedule():
    expected = cosine(0.004, 0.0, 50)
    seen = [cosine_schedule(0.004, 0.0, step, 50) for step in range(50)]
    np.testing.assert_allclose(seen, expected)
    assert seen[0] == 0.004
    assert seen[25] == pytest.approx(0.002)
    assert 0 < seen[49] < 1e-5
    assert cosine_schedule(0.004, 0.001, 50, 50) == pytest.approx(0.001)


# --- Temperature -----------------------------------------------------------------------------


def temperatures(head, max_epochs, names):
    seen = []
    for epoch in range(max_epochs):
        with epoch_of_run(epoch, max_epochs):
            seen.append([getattr(head, name)() for name in names])
    return np.array(seen)


@pytest.mark.parametrize('warm_up', [0, 1, 2, 30])
def test_temperature_of_the_teacher(warm_up):
    """As published: ``linspace`` over the warm-up, then constant."""
    settings = dict(teacher_temp=0.07, warmup_teacher_temp_epochs=warm_up)
    seen = temperatures(DINOHead(PROTOTYPES, **settings), 40, ['current_teacher_temp'])[:, 0]
    expected = np.concatenate([np.linspace(0.04, 0.07, warm_up), np.full(40 - warm_up, 0.07)])
    np.testing.assert_allclose(seen, expected)


def test_temperatures_of_ibot():
    head = IBOTHead(
        PROTOTYPES,
        teacher_temp=0.06,
        patch_teacher_temp=0.08,
        warmup_patch_teacher_temp=0.05,
        warmup_teacher_temp_epochs=30,
    )
    seen = temperatures(head, 40, ['current_teacher_temp', 'current_patch_teacher_temp'])
    for column, (start, end) in enumerate([(0.04, 0.06), (0.05, 0.08)]):
        expected = np.concatenate([np.linspace(start, end, 30), np.full(10, end)])
        np.testing.assert_allclose(seen[:, column], expected)


@pytest.mark.parametrize(('start', 'warm_up'), [(5, 30), (5, 1), (5, 0), (10, 30)])
def test_patch_temperature_waits_for_the_masks(start, warm_up):
    """As published: ``ones`` before the first masks, then ``linspace``, then constant."""
    head = IBOTHead(
        PROTOTYPES,
        teacher_temp=0.06,
        patch_teacher_temp=0.08,
        warmup_patch_teacher_temp=0.05,
        warmup_teacher_temp_epochs=warm_up,
        mask_start_epoch=start,
    )
    seen = temperatures(head, 40, ['current_teacher_temp', 'current_patch_teacher_temp'])
    rest = 40 - start - warm_up
    parts = [np.full(start, 0.05), np.linspace(0.05, 0.08, warm_up), np.full(rest, 0.08)]
    np.testing.assert_allclose(seen[:, 1], np.concatenate(parts))
    # That of the [CLS] token does not wait.
    parts = [np.linspace(0.04, 0.06, warm_up), np.full(40 - warm_up, 0.06)]
    np.testing.assert_allclose(seen[:, 0], np.concatenate(parts))
    if warm_up == 30:
        middle, end = start + 14.5, start + 29
        assert seen[0, 1] == seen[start, 1] == pytest.approx(0.05)
        assert seen[int(middle) : int(middle) + 2, 1].mean() == pytest.approx(0.065)
        assert seen[end, 1] == seen[-1, 1] == pytest.approx(0.08)


def test_temperature_without_a_runner_is_the_first():
    with epoch_of_run(None, None):
        head = DINOHead(PROTOTYPES, teacher_temp=0.07, warmup_teacher_temp_epochs=30)
        assert head.current_teacher_temp() == 0.04


@pytest.mark.parametrize('cls', [DINOHead, IBOTHead])
def test_warm_up_longer_than_the_run(cls):
    head = cls(PROTOTYPES, warmup_teacher_temp_epochs=30)
    with epoch_of_run(0, 30):
        head.current_teacher_temp()
    with epoch_of_run(0, 29), pytest.raises(ValueError, match=r'30 epochs.*max_epochs=29'):
        head.current_teacher_temp()


@pytest.mark.parametrize(
    ('settings', 'max_epochs', 'message'),
    [
        ({'mask_start_epoch': 20}, 20, r'masks begin at epoch 20, but .*max_epochs=20: lower'),
        ({'mask_start_epoch': 20}, 21, None),
        (
            {'mask_start_epoch': 5, 'warmup_teacher_temp_epochs': 30},
            34,
            r'30 epochs from epoch 5 on, when masks begin, but .*max_epochs=34',
        ),
        ({'mask_start_epoch': 5, 'warmup_teacher_temp_epochs': 30}, 35, None),
        ({'mask_start_epoch': 1}, 1, 'a loop by iterations counts as one epoch'),
        ({'warmup_teacher_temp_epochs': 2}, 1, 'a loop by iterations counts as one epoch'),
    ],
)
def test_masks_and_warm_up_beyond_the_run(settings, max_epochs, message):
    """In the head before a run, and in the first epoch of one."""
    head = IBOTHead(PROTOTYPES, **settings)
    for check in (lambda: head.check_epochs(max_epochs), head.current_patch_teacher_temp):
        with epoch_of_run(0, max_epochs):
            if message is None:
                check()
            else:
                with pytest.raises(ValueError, match=message):
                    check()


def test_check_of_the_epochs_of_dino():
    head = DINOHead(PROTOTYPES, warmup_teacher_temp_epochs=30)
    head.check_epochs(30)
    with pytest.raises(ValueError, match=r'for 30 epochs but .*max_epochs=29: lower'):
        head.check_epochs(29)


@pytest.mark.parametrize('wrapped', [False, True])
def test_warm_up_longer_than_the_run_of_a_runner(tmp_path, wrapped):
    model = dino_config(head={'warmup_teacher_temp_epochs': 3})
    if wrapped:
        model = dict(type='HVSAlgorithm', algorithm=model, candidates=[2, 2], keep=[2, 2])
    runner = build_runner(tmp_path, model, num_batches=1)
    with pytest.raises(ValueError, match=r'3 epochs.*max_epochs=2.*warmup_teacher_temp_epochs'):
        runner.train()
