"""``FiniteStepHook`` in real runs with real overflows.

The reference of a run with a bad step is the same run in which that batch was drawn and left.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmpretrain.registry import HOOKS
from torch import nn

from hvs_mm.engine import FiniteStepHook, NonFiniteError
from tests.helpers.nonfinite_runs import (
    assert_finite,
    assert_same,
    build,
    fault_of,
    model_config,
    state_of,
    train,
)
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import GROUP_NORM, algorithm_config
from tests.helpers.tiny_dino import ARCH, dino_config
from tests.helpers.tools import load_tool

ROOT = Path(__file__).parents[3]
ONE, ALL = dict(samples=[1]), {}
TEACHER = dict(samples=[1], module='teacher.backbone')
#: The second iteration of the first epoch and the first of the second.
BAD = (1, 2)
SAVE = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 1}


def skipped(runner):
    return runner.message_hub.get_info('skipped_steps')


def assert_all_finite(path):
    """Of everything that a checkpoint says of the model and its optimizer."""
    checkpoint = torch.load(path, weights_only=False)
    assert_finite(checkpoint['state_dict'])
    assert_finite(checkpoint['optimizer'])


# --- A skipped step leaves no trace -----------------------------------------------------------


@pytest.fixture(scope='module')
def references():
    """Runs without the steps of ``BAD``, by method and precision."""
    return {}


def check_as_without(faulty, reference, left_out=BAD):
    """A run with bad steps against one that drew the batches of ``left_out`` and left them."""
    # Bit for bit, and not because nothing moves.
    assert_same(faulty.states[-1], reference.states[-1])
    with pytest.raises(AssertionError):
        assert_same(faulty.states[-1], faulty.states[left_out[0]])
    assert_finite(faulty.states)
    # The reference has no entries of what it left out, but the schedule went on.
    rates = [rate for number, rate in enumerate(faulty.rates) if number not in left_out]
    assert reference.rates == rates
    assert len(set(faulty.rates)) == len(faulty.rates)


@pytest.mark.parametrize(
    ('name', 'precision', 'fault'),
    [
        ('SimSiam', 'fp32', ONE),
        ('HVS SimSiam', 'bf16', ALL),
        ('HVS SimSiam', 'bf16', ONE),
        ('HVS SimSiam', 'fp16', dict(kind='pixels', samples=[1], factor=1e6)),
        # The variance of BatchNorm overflows and stays so, but neither loss nor gradient does.
        ('HVS SimSiam', 'fp32', dict(kind='pixels', factor=1e30)),
        ('HVS SimSiam', 'bf16', dict(kind='loss')),
        ('HVS SimCLR', 'fp16', dict(passes='training')),
        ('HVS BYOL', 'fp32', ONE),
        ('DINO', 'bf16', dict(passes='training', samples=[0])),
        ('HVS DINO', 'fp32', dict(kind='gradient')),
        ('HVS DINO', 'bf16', dict(passes='training')),
        ('HVS IBOT', 'fp32', TEACHER),
        ('HVS IBOT', 'fp16', ALL),
    ],
    ids=lambda value: ' '.join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_as_if_the_step_had_not_been_made(tmp_path, references, name, precision, fault):
    model = model_config(name)
    if (name, precision) not in references:
        runner, reference = train(tmp_path / 'without', model, left_out=BAD, precision=precision)
        assert skipped(runner) is None
        references[name, precision] = reference
    runner, faulty = train(
        tmp_path / 'faulty', model, [dict(iterations=BAD, **fault)], precision=precision
    )
    assert fault_of(runner).calls >= len(BAD)
    assert skipped(runner) == 2
    check_as_without(faulty, references[name, precision])
    # Step by step, too.
    assert_same(faulty.states[0], faulty.states[1])
    assert_same(faulty.states[0], faulty.states[2])
    if fault.get('passes') == 'training' and name.startswith('HVS'):
        assert set(logged(runner, 'hvs_nonfinite')) == {0}


@pytest.mark.parametrize(
    ('name', 'fault', 'poisoned'),
    [
        ('HVS SimSiam', ONE, 'neck.bn0.running_mean'),
        ('HVS SimSiam', dict(kind='pixels', factor=1e30), 'backbone.bn1.running_var'),
        ('SimSiam', dict(kind='gradient'), 'backbone.conv1.weight'),
        ('HVS DINO', TEACHER, 'head.center'),
        ('HVS DINO', dict(kind='gradient'), 'teacher.backbone.cls_token'),
        ('IBOT', TEACHER, 'head.patch_center'),
    ],
    ids=str,
)
def test_without_the_hook_it_stays(tmp_path, name, fault, poisoned):
    """That the faults are faults, and for ever."""
    faults = [dict(iterations=[1], **fault)]
    _, recorder = train(tmp_path, model_config(name), faults, guard=False)
    assert recorder.states[0]['model'][poisoned].isfinite().all()
    for state in recorder.states[1:]:
        assert not state['model'][poisoned].isfinite().all()


def logged(runner, name):
    return runner.message_hub.get_scalar(f'train/{name}').data[0].tolist()


@pytest.mark.parametrize('name', ['HVS SimSiam', 'HVS DINO'])
def test_the_first_step_of_a_run(tmp_path, name):
    """The optimizer has no averages yet, and gets none."""
    model = model_config(name)
    runner, faulty = train(tmp_path / 'faulty', model, [dict(iterations=[0])], max_epochs=1)
    _, reference = train(tmp_path / 'without', model, left_out=[0], max_epochs=1)
    assert skipped(runner) == 1
    assert faulty.states[0]['optimizer'] == {}
    assert_same(faulty.states[1], reference.states[0])


def test_outputs_of_the_teacher_that_are_used_again(tmp_path):
    """Selection forwards the teacher for the training step, too: the center gets them."""
    model = model_config('HVS DINO')
    model['algorithm'] = dino_config('DINO')
    fault = dict(iterations=BAD, module='teacher.backbone', samples=[2])
    runner, faulty = train(tmp_path / 'faulty', model, [fault])
    # Four views of one size at once, nothing of it again.
    assert fault_of(runner).calls == 2
    assert skipped(runner) == 2
    _, reference = train(tmp_path / 'without', model, left_out=BAD)
    check_as_without(faulty, reference)


@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
        dict(type='LARS', lr=0.3, momentum=0.9, weight_decay=0.1),
        dict(type='AdamW', lr=0.01, weight_decay=0.1, foreach=True),
        dict(type='AdamW', lr=0.01, weight_decay=0.1, fused=True),
    ],
    ids=lambda kwargs: ' '.join(map(str, kwargs.values())),
)
def test_optimizers_make_no_step(tmp_path, optimizer):
    """Neither weight decay nor momentum moves what has no gradient."""
    model, wrapper = model_config('SimSiam'), {'optimizer': optimizer}
    faults = [dict(iterations=BAD, kind='gradient')]
    runner, recorder = train(tmp_path, model, faults, optim_wrapper=wrapper)
    assert skipped(runner) == 2
    assert recorder.states[0]['optimizer']
    assert_same(recorder.states[0], recorder.states[2])
    for before, after in ((0, 3), (2, 3)):
        with pytest.raises(AssertionError):
            assert_same(recorder.states[before], recorder.states[after])
    assert_finite(recorder.states)


@pytest.mark.slow
def test_a_compiled_run(tmp_path):
    # Few layers, and views of one size: tracing is what takes time.
    model = dino_config('DINO', num_crops=2, backbone={'arch': {**ARCH, 'num_layers': 1}})
    runner, recorder = train(tmp_path, model, [dict(iterations=BAD)], compile=dict(backend='eager'))
    assert skipped(runner) == 2
    assert_same(recorder.states[0], recorder.states[2])
    with pytest.raises(AssertionError):
        assert_same(recorder.states[2], recorder.states[3])
    assert_finite(recorder.states)


# --- The selection pass alone -----------------------------------------------------------------


def selection_run(folder, name, fault=None, batch_norm=True, **kwargs):
    model = model_config(name, **kwargs)
    if not batch_norm:
        model['algorithm'] = (
            algorithm_config('SimSiam', GROUP_NORM) if 'SimSiam' in name else dino_config('DINO')
        )
    faults = [dict(iterations=[0], **fault)] if fault else []
    return train(folder, model, faults, max_epochs=1)


@pytest.mark.parametrize('name', ['HVS SimSiam', 'HVS DINO'])
@pytest.mark.parametrize('samples', [[1], None], ids=['one sample', 'all samples'])
def test_an_overflow_in_the_selection_pass_alone(tmp_path, name, samples):
    """Such a sample keeps its first candidates; the step is made on finite numbers."""
    # BatchNorm would carry the overflow to the other samples.
    fault = dict(passes='selection', samples=samples)
    runner, recorder = selection_run(tmp_path / 'faulty', name, fault, batch_norm=False)
    assert fault_of(runner).calls > 0
    assert skipped(runner) is None
    assert_finite(recorder.states)
    assert all(math.isfinite(loss) for loss in logged(runner, 'loss'))
    bad = range(4) if samples is None else samples
    share, *others = logged(runner, 'hvs_nonfinite')
    _, plain = selection_run(tmp_path / 'plain', name, batch_norm=False)
    first = [0, 1] if name == 'HVS SimSiam' else [0, 1, 4, 5]
    assert share == pytest.approx(len(bad) / 4)
    assert set(others) == {0}
    for sample, (kept, expected) in enumerate(zip(recorder.kept[0], plain.kept[0])):
        assert kept.tolist() == (first if sample in bad else expected.tolist())
    # The mean score is that of the others.
    assert math.isfinite(logged(runner, 'hvs_score')[0]) == (samples is not None)


def test_float16_overflows_in_the_selection_pass_alone(tmp_path):
    """Pixels beyond its range, with ``selection_pass.dtype='float16'`` and training in float32."""
    runner, recorder = selection_run(
        tmp_path,
        'HVS SimSiam',
        dict(kind='pixels', samples=[1], factor=1e6),
        selection_pass={'dtype': 'float16'},
    )
    assert logged(runner, 'hvs_nonfinite') == [1, 0]
    assert recorder.kept[0].tolist() == [[0, 1]] * 4
    assert skipped(runner) is None
    assert_finite(recorder.states)


# --- Accumulation -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'bad'), [('HVS SimSiam', 3), ('HVS BYOL', 2), ('HVS DINO', 2), ('HVS DINO', 3)]
)
def test_accumulation_loses_all_of_the_step(tmp_path, name, bad):
    model = model_config(name)
    kwargs = dict(num_batches=6, max_epochs=1, optim_wrapper={'accumulative_counts': 2})
    saving = dict(default_hooks={'checkpoint': SAVE})
    runner, faulty = train(tmp_path / 'faulty', model, [dict(iterations=[bad])], **kwargs, **saving)
    _, reference = train(tmp_path / 'without', model, left_out=[2, 3], **kwargs)
    assert skipped(runner) == 1
    check_as_without(faulty, reference, (2, 3))
    assert_same(faulty.states[1], faulty.states[3])
    # Also those that are saved between the bad iteration and the step.
    for number in range(1, 7):
        assert_all_finite(tmp_path / f'faulty/iter_{number}.pth')


# --- Loss scaling -----------------------------------------------------------------------------


class Start(Hook):
    """Puts what there is before the first step in front."""

    def __init__(self, recorder):
        self.recorder = recorder

    def before_train(self, runner):
        self.recorder.states.append(state_of(runner))


def test_the_loss_scaler_finds_its_scale(tmp_path):
    """It skips some steps at the start, on purpose; BatchNorm and center do not see them."""
    runner, recorder = build(
        tmp_path,
        model_config('HVS DINO'),
        precision='fp16',
        num_batches=16,
        max_epochs=1,
        optim_wrapper={'loss_scale': dict(init_scale=2.0**26, growth_interval=1000)},
    )
    runner.register_hook(Start(recorder))
    runner.train()
    halved = 26 - math.log2(runner.optim_wrapper.loss_scaler.get_scale())
    assert 1 < halved < 16
    assert skipped(runner) == halved
    unchanged = 0
    for before, after in zip(recorder.states, recorder.states[1:]):
        weights = (state['model']['backbone.cls_token'] for state in (before, after))
        if torch.equal(*weights):
            assert_same(before, after)
            unchanged += 1
    assert unchanged == halved
    assert_finite(recorder.states)
    # The losses were finite.
    assert len(logged(runner, 'loss')) == 16


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason='AmpOptimWrapper needs a GPU and runs where there is one; the tests above have its '
    'GradScaler and its precisions on the CPU',
)
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('name', ['HVS SimSiam', 'HVS DINO'])
def test_on_a_gpu(tmp_path, name, dtype):
    wrapper = dict(type='AmpOptimWrapper', dtype=dtype, loss_scale=16.0)
    model = model_config(name)
    runner, faulty = train(tmp_path, model, [dict(iterations=BAD)], optim_wrapper=wrapper)
    assert skipped(runner) == 2
    assert_same(faulty.states[0], faulty.states[2])
    with pytest.raises(AssertionError):
        assert_same(faulty.states[2], faulty.states[3])
    assert_finite(faulty.states)


# --- What is told -----------------------------------------------------------------------------


def warnings_of(folder):
    (log,) = Path(folder).glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'not finite' in line]
    return [line.split('WARNING - ')[1] for line in lines if 'WARNING - ' in line]


def test_the_log(tmp_path):
    faults = [dict(iterations=[1, 3], samples=[1])]
    runner, _ = train(
        tmp_path,
        model_config('HVS SimSiam'),
        faults,
        log_level='INFO',
        num_batches=6,
        max_epochs=1,
        log_processor=dict(mean_pattern='.*(loss|hvs).*'),
        default_hooks={'checkpoint': None, 'logger': dict(type='LoggerHook', interval=3)},
    )
    first, second = warnings_of(tmp_path)
    assert re.match(r'iteration 2: not finite: loss, gradients \(first: backbone\.\S+\), ', first)
    assert 'buffers (first: neck.bn0.running_mean), 100 % of the scores of selection' in first
    assert first.endswith('The optimizer step is skipped (1 in a row, 1 in this run).')
    assert second.endswith('(1 in a row, 2 in this run).')
    # One loss and one score for each step that was made.
    assert len(logged(runner, 'loss')) == len(logged(runner, 'hvs_score')) == 4
    assert logged(runner, 'skipped_steps') == [1, 2]
    (path,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line['skipped_steps'] for line in lines] == [1, 2]
    assert all(math.isfinite(value) for line in lines for value in line.values())


@pytest.mark.parametrize(
    ('fault', 'expected'),
    [
        (dict(kind='gradient'), r'not finite: gradients \(first: backbone\.\S+\)\. The'),
        (dict(kind='loss'), r'not finite: loss\. The'),
        (
            dict(kind='pixels', factor=1e30),
            r'not finite: buffers \(first: backbone\.bn1\.running_var\)\. The',
        ),
    ],
    ids=['gradient', 'loss', 'pixels'],
)
def test_what_was_not_finite(tmp_path, fault, expected):
    faults = [dict(iterations=[1], **fault)]
    train(tmp_path, model_config('SimSiam'), faults, log_level='WARNING', max_epochs=1)
    (line,) = warnings_of(tmp_path)
    assert re.search(expected, line)


class Grow(Hook):
    """Finite gradients whose squares overflow, in the second iteration."""

    def before_train(self, runner):
        for parameter in runner.model.parameters():
            parameter.register_hook(lambda g: g + 1e25 if runner.iter == 1 else None)


@pytest.mark.parametrize('clip_grad', [None, dict(max_norm=1.0)], ids=str)
def test_gradients_that_clipping_would_make_zero(tmp_path, clip_grad):
    """Their norm is infinite: such a step would be one of weight decay alone."""
    runner, recorder = build(
        tmp_path, model_config('SimSiam'), max_epochs=2, optim_wrapper={'clip_grad': clip_grad}
    )
    runner.register_hook(Grow())
    runner.train()
    assert skipped(runner) == 1
    assert_same(recorder.states[0], recorder.states[1])
    for before, after in ((1, 2), (2, 3)):
        with pytest.raises(AssertionError):
            assert_same(recorder.states[before], recorder.states[after])


def test_it_acts_first(tmp_path):
    """On gradients as they are, and ahead of all that logs, saves and averages."""
    runner, _ = build(tmp_path, model_config('HVS DINO'))
    assert isinstance(runner.hooks[0], FiniteStepHook)
    order = []

    class Order(Hook):
        def before_train(self, runner):
            order.extend(runner.optim_wrapper.optimizer._optimizer_step_pre_hooks.values())

    runner.register_hook(Order(), priority='LOWEST')
    runner.train()
    assert order[0].__self__ is runner.hooks[0]
    assert 'GradientHook' in order[1].__qualname__


# --- The end ----------------------------------------------------------------------------------


def test_the_run_stops(tmp_path):
    faults = [dict(iterations=[1, 3, 4, 5])]
    runner, recorder = build(
        tmp_path,
        model_config('HVS DINO'),
        faults,
        guard=dict(max_consecutive=3),
        num_batches=10,
        default_hooks={'checkpoint': dict(SAVE, interval=2)},
    )
    with pytest.raises(NonFiniteError) as error:
        runner.train()
    last = tmp_path / 'iter_4.pth'
    message = str(error.value)
    assert 'the last 3 steps in a row up to iteration 6 were skipped' in message
    assert 'max_consecutive=3' in message
    assert f'checkpoint, of finite numbers, is {last};' in message
    assert 'weights themselves' not in message
    assert skipped(runner) == 4
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_2.pth', 'iter_4.pth']
    for path in tmp_path.glob('*.pth'):
        assert_all_finite(path)
    # The model in memory is that of the last good step.
    assert_same(recorder.states[-1], recorder.states[2])


def test_the_run_stops_if_many_steps_are_skipped_but_not_in_a_row(tmp_path):
    runner, _ = build(
        tmp_path,
        model_config('SimSiam'),
        [dict(iterations=[0, 2, 3, 5, 6, 8, 9])],
        guard=dict(max_share=0.5, window=6),
        num_batches=12,
    )
    # Of the last six: 1, 1, 2, 3, 3, 4 and so on.
    message = r'^4 of the last 6 steps up to iteration 6 were .*max_share=0.5 of FiniteStepHook'
    with pytest.raises(NonFiniteError, match=message):
        runner.train()


def test_skipped_steps_are_counted_over_a_resume(tmp_path):
    def go(faults, epochs):
        runner, _ = train(
            tmp_path,
            model_config('SimSiam'),
            faults,
            guard=dict(max_consecutive=2),
            max_epochs=epochs,
            resume=True,
            default_hooks={'checkpoint': dict(SAVE, by_epoch=True)},
        )
        return runner

    assert skipped(go([dict(iterations=[1])], 1)) == 1
    # It follows directly, but is no second one in a row: the run has been looked at.
    assert skipped(go([dict(iterations=[2])], 2)) == 2


def test_no_checkpoint_of_infinite_weights(tmp_path):
    """A step may make them infinite although its gradient is finite."""
    runner, _ = build(
        tmp_path,
        model_config('SimSiam'),
        optim_wrapper={'optimizer': dict(type='SGD', lr=3e38, weight_decay=100)},
        param_scheduler=None,
        default_hooks={'checkpoint': SAVE},
    )
    with pytest.raises(NonFiniteError, match=r'parameter \S+ is not finite at iteration 1.*lr'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


def test_the_checkpoint_before_infinite_weights(tmp_path):
    """Not the one that is being written, which MMEngine already calls the last."""

    class Break(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 3:
                with torch.no_grad():
                    runner.model.backbone.conv1.weight[0] = torch.inf

    runner, _ = build(
        tmp_path,
        model_config('SimSiam'),
        default_hooks={'checkpoint': dict(type='CheckpointHook', interval=1)},
    )
    runner.register_hook(Break())
    with pytest.raises(NonFiniteError) as error:
        runner.train()
    message = str(error.value)
    assert 'parameter backbone.conv1.weight is not finite at iteration 4,' in message
    assert f'checkpoint, of finite numbers, is {tmp_path / "epoch_1.pth"};' in message
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_the_tool_stops_with_one_line(tmp_path):
    """A run that diverges for real."""
    options = [
        'train_dataloader.dataset.num_samples=64',
        'train_dataloader.batch_size=8',
        'optim_wrapper.optimizer.lr=1e30',
        'custom_hooks.0.lr=1e30',
        'default_hooks.finite_step.max_consecutive=2',
    ]
    config = str(ROOT / 'configs/demo/hvs_simsiam.py')
    with pytest.raises(SystemExit) as error:
        load_tool('train').main([config, '--work-dir', str(tmp_path), '--cfg-options', *options])
    # Python prints it to stderr, and ends with 1.
    line = error.value.code
    assert line.startswith('error: the last 2 steps in a row up to iteration')
    assert 'There is no checkpoint of this run yet. Before training on, lower' in line
    assert '\n' not in line


# --- Several processes ------------------------------------------------------------------------


DISTRIBUTED = {
    # The gradients of all processes become NaN.
    'features': ('HVS DINO', dict(rank=1, samples=[0])),
    # A buffer of one process alone, its loss and its gradient are finite.
    'pixels': ('HVS SimSiam', dict(rank=1, kind='pixels')),
    # A loss of one process alone, without a gradient.
    'loss': ('HVS SimSiam', dict(rank=1, kind='loss')),
    'accumulated': ('HVS SimSiam', dict(rank=1)),
}


def distributed_run(folder, name, faults=(), left_out=(), counts=1):
    return train(
        folder,
        model_config(name),
        faults,
        left_out=left_out,
        batch_size=2,
        num_batches=12 if counts == 2 else 8,
        max_epochs=1,
        optim_wrapper={'accumulative_counts': counts},
        launcher='pytorch',
        model_wrapper_cfg=dict(
            type='mmpretrain.CPUDistributedDataParallel', broadcast_buffers=False
        ),
    )


def train_a_rank(rank, folder):
    os.environ['LOCAL_RANK'] = str(rank)
    results, references = {}, {}
    for case, (name, fault) in DISTRIBUTED.items():
        counts = 2 if case == 'accumulated' else 1
        bad, left_out = ([2], [2, 3]) if counts == 2 else ([1, 2], [1, 2])
        if (name, counts) not in references:
            torch.manual_seed(0)
            _, references[name, counts] = distributed_run(
                f'{folder}/{case}{rank}r', name, (), left_out, counts
            )
        torch.manual_seed(0)
        runner, faulty = distributed_run(
            f'{folder}/{case}{rank}', name, [dict(iterations=bad, **fault)], (), counts
        )
        states = faulty.states[-1], references[name, counts].states[-1]
        results[case] = (skipped(runner), *states)
    torch.save(results, f'{folder}/results{rank}.pt')


def test_all_processes_skip_what_one_has_to(tmp_path):
    run_ranks(train_a_rank, 2, tmp_path, str(tmp_path))
    first, second = (torch.load(tmp_path / f'results{rank}.pt') for rank in range(2))
    for case, (count, faulty, reference) in first.items():
        other_count, other_faulty, other_reference = second[case]
        assert count == other_count == (1 if case == 'accumulated' else 2), case
        assert_finite([faulty, other_faulty])
        assert_same(faulty, reference)
        assert_same(other_faulty, other_reference)
        # The weights are the same in both; BatchNorm's statistics are each one's own.
        for name, value in faulty['model'].items():
            if 'running' not in name:
                assert torch.equal(value, other_faulty['model'][name]), (case, name)


# --- Bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [0, -1, 2.5, True, None])
def test_wrong_max_consecutive(value):
    message = f'max_consecutive={value} must be an integer of at least 1: the number of optimizer'
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='FiniteStepHook', max_consecutive=value))


def test_several_optimizers(tmp_path):
    runner, _ = build(tmp_path, model_config('SimSiam'))
    wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    runner.optim_wrapper = OptimWrapperDict(one=wrapper)
    with pytest.raises(
        TypeError, match=r'single optimizer, not OptimWrapperDict.*finite_step=None'
    ):
        runner.hooks[0].before_train(runner)


def test_the_hook_can_be_left_out():
    args = load_tool('train').parse_args(
        [str(ROOT / 'configs/hvs_simsiam_100e.py'), '--work-dir', 'x']
        + ['--cfg-options', 'default_hooks.finite_step=None']
    )
    assert load_tool('train').load_config(args).default_hooks.finite_step is None


def test_buffers_that_never_were_finite(tmp_path):
    """A constant mask is no reason to skip."""
    runner, recorder = build(tmp_path, model_config('SimSiam'), log_level='WARNING', max_epochs=1)
    runner.model.backbone.register_buffer('mask', torch.full((2,), -torch.inf))
    runner.train()
    assert skipped(runner) is None
    with pytest.raises(AssertionError):
        assert_same(recorder.states[0], recorder.states[1])
    (line,) = warnings_of(tmp_path)
    assert 'does not watch 1 buffers that are not finite from the start: backbone.mask' in line


def test_the_hook_ends_with_the_run(tmp_path):
    runner, _ = train(tmp_path, model_config('SimSiam'), max_epochs=1)
    parameter = nn.Parameter(torch.ones(2))
    runner.optim_wrapper.optimizer.add_param_group({'params': [parameter]})
    parameter.grad = torch.full((2,), torch.nan)
    runner.optim_wrapper.optimizer.step()
    assert parameter.isnan().all()
