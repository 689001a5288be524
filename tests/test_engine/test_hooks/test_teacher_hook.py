from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS
from torch import distributed

from hvs_mm.engine import CPUDistributedDataParallel, TeacherHook, cosine_schedule
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import build_runner, dino_config

MOMENTUM = 0.3


def hvs_config(name):
    algorithm = dino_config(name, num_crops=4)
    return dict(type='HVSAlgorithm', algorithm=algorithm, candidates=[4, 3], keep=[2, 2])


class Recorder(Hook):
    """Student and teacher after every iteration; before the hooks that log."""

    def __init__(self):
        self.start = None
        self.students, self.teachers, self.steps = [], [], []

    def before_train(self, runner):
        model = runner.model
        self.start = self.weights(model.teacher['backbone'])
        self.optimizer_steps = 0

        def count(*args):
            self.optimizer_steps += 1

        runner.optim_wrapper.optimizer.register_step_post_hook(count)

    def weights(self, module):
        return torch.cat([p.detach().flatten() for p in module.parameters()]).clone()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        self.students.append(self.weights(model.backbone))
        self.teachers.append(self.weights(model.teacher['backbone']))
        self.steps.append(self.optimizer_steps)


def run(work_dir, model, **kwargs):
    recorder = Recorder()
    num_views = kwargs.pop('num_views', (2, 2))
    runner = build_runner(
        work_dir,
        model,
        num_views=num_views,
        hooks=[dict(type='TeacherHook', momentum=MOMENTUM, end_momentum=0.1)],
        **kwargs,
    )
    # After the teacher's hook, whose priority is above normal.
    runner.register_hook(recorder, priority='NORMAL')
    runner.train()
    return runner, recorder


def check_updates(recorder, num_steps, expected_steps):
    """The teacher moves by the formula in the iterations of optimizer steps, and only there."""
    assert recorder.steps == expected_steps
    teacher, steps = recorder.start, 0
    for iteration in range(num_steps):
        if expected_steps[iteration] > steps:
            steps = expected_steps[iteration]
            momentum = 0.1 + (MOMENTUM - 0.1) * (1 + np.cos(np.pi * iteration / num_steps)) / 2
            teacher = (1 - momentum) * teacher + momentum * recorder.students[iteration]
            assert not torch.equal(recorder.teachers[iteration], recorder.students[iteration])
        torch.testing.assert_close(
            recorder.teachers[iteration], teacher, rtol=1e-5, atol=1e-6, msg=f'{iteration}'
        )
    assert (recorder.teachers[-1] - recorder.start).abs().max() > 1e-4


@pytest.mark.parametrize(
    ('model', 'num_views'),
    [
        (dino_config('DINO'), (2, 2)),
        (dino_config('IBOT'), (2, 2)),
        (hvs_config('DINO'), (4, 3)),
        (hvs_config('IBOT'), (4, 3)),
    ],
    ids=['DINO', 'IBOT', 'HVS DINO', 'HVS IBOT'],
)
def test_once_per_step(tmp_path, model, num_views):
    runner, recorder = run(tmp_path, model, num_views=num_views, num_batches=3)
    check_updates(recorder, 6, [1, 2, 3, 4, 5, 6])
    logged = runner.message_hub.get_scalar('train/teacher_momentum').data[0]
    expected = [cosine_schedule(MOMENTUM, 0.1, step, 6) for step in range(6)]
    assert logged.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('num_batches', 'max_epochs', 'expected'),
    [
        (3, 2, [0, 1, 1, 2, 2, 3]),
        # The last iteration makes a step of its own.
        (5, 1, [0, 1, 1, 2, 3]),
    ],
)
def test_once_per_step_with_accumulation(tmp_path, num_batches, max_epochs, expected):
    runner, recorder = run(
        tmp_path,
        dino_config(),
        num_batches=num_batches,
        max_epochs=max_epochs,
        optim_wrapper={'accumulative_counts': 2},
    )
    check_updates(recorder, len(expected), expected)
    logged = runner.message_hub.get_scalar('train/teacher_momentum').data[0]
    assert len(logged) == expected[-1]


@pytest.mark.parametrize(
    ('model', 'num_views'),
    [
        (dino_config('DINO'), (2, 2)),
        (dino_config('IBOT'), (2, 2)),
        (dino_config('IBOT', head={'patch_center': 'all'}), (2, 2)),
        (hvs_config('DINO'), (4, 3)),
    ],
    ids=['DINO', 'IBOT', 'IBOT all patches', 'HVS DINO'],
)
def test_accumulated_batches_equal_the_joint_batch(tmp_path, model, num_views):
    """Weights, teacher and centers; the networks hold no BatchNorm."""
    states = []
    for counts in (1, 3):
        runner = build_runner(
            tmp_path / str(counts),
            model,
            num_views=num_views,
            batch_size=6 // counts,
            num_batches=3 * counts,
            max_epochs=1,
            # Its schedule counts iterations.
            hooks=[dict(type='TeacherHook', momentum=MOMENTUM, end_momentum=MOMENTUM)],
            optim_wrapper=dict(
                accumulative_counts=counts, optimizer=dict(type='SGD', lr=0.5, momentum=0.9)
            ),
        )
        runner.model.init_weights()
        start = {name: value.clone() for name, value in runner.model.state_dict().items()}
        runner.train()
        states.append(runner.model.state_dict())
    joint, accumulated = states
    for name, value in joint.items():
        torch.testing.assert_close(accumulated[name], value, rtol=1e-4, atol=1e-5, msg=name)
    for name in ('head.center', 'neck.mlp.0.weight', 'teacher.neck.mlp.0.weight'):
        assert (joint[name] - start[name]).abs().max() > 1e-3, name
    assert not any(name.endswith(('_sum', '_count')) for name in joint)


def test_the_center_waits_for_the_optimizer_step(tmp_path):
    centers = []

    class CenterRecorder(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            centers.append(runner.model.head.center.clone())

    runner = build_runner(
        tmp_path,
        dino_config(),
        num_batches=5,
        max_epochs=1,
        hooks=[dict(type='TeacherHook')],
        optim_wrapper={'accumulative_counts': 2},
    )
    runner.register_hook(CenterRecorder())
    runner.train()
    moved = [not a.equal(b) for a, b in zip([torch.zeros_like(centers[0]), *centers], centers)]
    assert moved == [False, True, False, True, True]


def test_accumulation_after_a_resume(tmp_path):
    """Three iterations an epoch: the second epoch begins in the middle of an accumulation."""
    options = dict(
        num_batches=3,
        optim_wrapper={'accumulative_counts': 2},
        default_hooks={'checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=True)},
    )
    run(tmp_path, dino_config(), max_epochs=1, **options)
    _, recorder = run(tmp_path, dino_config(), max_epochs=3, resume=True, **options)
    # Iterations 3 to 8, of which the odd ones and the last make a step.
    assert recorder.steps == [1, 1, 2, 2, 3, 4]
    moved = [
        not torch.equal(before, after)
        for before, after in zip([recorder.start, *recorder.teachers], recorder.teachers)
    ]
    # The start was recorded after the checkpoint was loaded.
    assert moved == [True, False, True, False, True, True]


def test_a_resumed_teacher_is_the_saved_one(tmp_path):
    options = dict(
        num_batches=2,
        default_hooks={'checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=True)},
    )
    runner, recorder = run(tmp_path, dino_config(), max_epochs=1, **options)
    center = runner.model.head.center.clone()
    assert center.abs().max() > 0
    resumed, again = run(tmp_path, dino_config(), max_epochs=2, resume=True, **options)
    assert torch.equal(again.start, recorder.teachers[-1])
    assert not torch.equal(again.start, recorder.students[-1])
    assert not torch.equal(resumed.model.head.center, center)


def test_without_the_hook_the_teacher_rests(tmp_path):
    recorder = Recorder()
    runner = build_runner(tmp_path, dino_config(), num_batches=2, max_epochs=1)
    runner.register_hook(recorder)
    runner.train()
    assert all(torch.equal(teacher, recorder.start) for teacher in recorder.teachers)
    assert not torch.equal(recorder.students[-1], recorder.start)


def test_a_wrapped_model(tmp_path):
    """DistributedDataParallel hides the model's methods."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        runner, recorder = run(tmp_path, dino_config(), num_batches=2, max_epochs=1)
        runner.model = CPUDistributedDataParallel(runner.model, broadcast_buffers=False)
        before = recorder.weights(runner.model.module.teacher)
        hook = next(hook for hook in runner.hooks if isinstance(hook, TeacherHook))
        hook.before_train(runner)
        hook.after_train_iter(runner, 0)
        assert not torch.equal(recorder.weights(runner.model.module.teacher), before)
    finally:
        distributed.destroy_process_group()


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['momentum', 'end_momentum'])
@pytest.mark.parametrize('value', [-0.1, 1.5])
def test_wrong_momentum(name, value):
    with pytest.raises(ValueError, match=rf'{name}={value} must be between 0 and 1'):
        HOOKS.build({'type': 'TeacherHook', name: value})


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_model_without_a_teacher(tmp_path, wrapped):
    model = algorithm_config('SimSiam', {'type': 'BN'})
    if wrapped:
        model = dict(type='HVSAlgorithm', algorithm=model, candidates=[2], keep=[2])
    runner = build_runner(
        tmp_path, model, num_views=[2], num_batches=1, hooks=[dict(type='TeacherHook')]
    )
    with pytest.raises(TypeError, match=r'needs a model with a teacher.*remove it'):
        runner.train()
