"""What a step costs: counted by hand, and with clocks that tell known times."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from torch import nn

from hvs_mm.evaluation import count_operations
from hvs_mm.models import HVSAlgorithm
from tests.helpers.crops import recorded
from tests.helpers.tiny import build_hvs, random_views
from tests.helpers.tiny_dino import build_dino, candidate_crops, random_samples
from tests.helpers.tools import ROOT, load_tool

measuring = load_tool('benchmarks/_measuring')
steps_module = load_tool('benchmarks/_steps')
workload = load_tool('benchmarks/_workload')
Batch, Clock, Steps = workload.Batch, measuring.Clock, steps_module.Steps
peak_memory, summarize = measuring.peak_memory, measuring.summarize
counted_floor, measure_step = steps_module.counted_floor, steps_module.measure_step
random_batch, view_sizes = workload.random_batch, workload.view_sizes
CPU = torch.device('cpu')
OPTIMIZER = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))


pytestmark = pytest.mark.usefixtures('no_runner')


def steps_of(name, **options):
    torch.manual_seed(0)
    if name in ('DINO', 'IBOT'):
        algorithm = build_dino(name, num_crops=4)
        model = HVSAlgorithm(algorithm, (2, 2, 4), (1, 1, 2), **options)
        views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    else:
        model, views, samples = build_hvs(name, **options), random_views(), [None] * 3

    def draw(positions):
        if positions is None:
            return Batch(views, samples)
        kept = samples
        if name == 'IBOT':
            kept = random_samples(3, 2)
        return Batch([views[position] for position in positions], kept)

    return Steps(model, build_optim_wrapper(model, OPTIMIZER), draw, nullcontext)


# --- The floor -------------------------------------------------------------------------------


def conv_operations(conv, out):
    return 2 * out.numel() * conv.weight[0].numel()


def test_counted_floor_of_simsiam():
    """Layer by layer: 4 forward passes, against 2 with their backward passes."""
    steps = steps_of('SimSiam')
    forward, stem = 0, 0

    def count(module, args, out):
        nonlocal forward, stem
        if isinstance(module, nn.Conv2d):
            forward += conv_operations(module, out)
        elif isinstance(module, nn.Linear):
            forward += 2 * out.numel() * module.in_features

    handles = [m.register_forward_hook(count) for m in steps.algorithm.modules()]
    with torch.no_grad():
        x = steps.draw([0]).views[0]
        z = steps.algorithm.neck(steps.algorithm.backbone(x))
        first = steps.algorithm.backbone.conv1
        # No gradient goes to the images.
        stem = conv_operations(first, first(x))
        forward -= stem  # the call above
        steps.algorithm.head.predictor(list(z))
    for handle in handles:
        handle.remove()
    vanilla = 2 * (3 * forward - stem)
    assert counted_floor(steps) == pytest.approx((4 * forward + vanilla) / vanilla, rel=1e-6)


@pytest.mark.parametrize('name', ['DINO', 'IBOT'])
def test_counted_floor_with_a_teacher(name):
    """By other calls: the teacher's part is what it takes alone."""
    steps = steps_of(name)
    algorithm, kept = steps.algorithm, steps.draw(steps.kept)
    views, samples = steps.draw(None).views, steps.draw(None).samples
    with torch.no_grad():
        if name == 'DINO':
            student = count_operations(lambda: algorithm.student_logits(views))
            teacher = count_operations(lambda: algorithm.teacher_logits(views[:4]))
            forward = student + teacher
            reused = count_operations(lambda: algorithm.teacher_logits(kept.views[:2]))
        else:
            masks = algorithm.masks_of(samples, views[:4])
            forward = count_operations(lambda: algorithm.outputs(views, 4, masks))
            masks = algorithm.masks_of(kept.samples, kept.views[:2])
            rows = masks.flatten(2).flatten(0, 1).nonzero(as_tuple=True)
            steps.draw = lambda positions: Batch(views, samples) if positions is None else kept
            reused = count_operations(lambda: algorithm._teacher_outputs(kept.views[:2], *rows))
    vanilla = count_operations(lambda: algorithm.loss(kept.views, kept.samples)['loss'].backward())
    expected = (forward + vanilla - reused) / vanilla
    assert counted_floor(steps) == pytest.approx(expected, rel=1e-6)


def test_a_teacher_with_batchnorm_is_no_reusable_work():
    torch.manual_seed(0)
    model = HVSAlgorithm(build_dino(neck={'use_bn': True}), (2, 2, 4), (1, 1, 2))
    views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    steps = Steps(
        model,
        build_optim_wrapper(model, OPTIMIZER),
        lambda positions: Batch(views if positions is None else views[: len(positions)], samples),
        nullcontext,
    )
    assert not steps.reuses_teacher
    assert steps_of('DINO').reuses_teacher
    assert not steps_of('SimSiam').reuses_teacher


@pytest.mark.parametrize('name', ['SimSiam', 'DINO'])
def test_a_step_without_forwards_has_the_vanilla_step_as_floor(name):
    steps = steps_of(name, selector='lowest_iou')
    samples = recorded([DataSample() for _ in range(3)], len(steps.draw(None).views))
    draw = steps.draw
    steps.draw = lambda positions: draw(positions)._replace(samples=samples)
    assert counted_floor(steps) == 1
    vanilla = count_operations(lambda: steps.vanilla(steps.draw(steps.kept)))
    assert count_operations(lambda: steps.hvs(steps.draw(None))) == vanilla
    assert count_operations(lambda: steps.hvs_in_parts(steps.draw(None), Clock())) == vanilla


def test_outermost_calls():
    inner = nn.Linear(2, 2)
    module, seen = nn.Sequential(inner, nn.ReLU()), []
    inner.register_forward_hook(lambda *args: seen.append('inner'))
    with steps_module.outermost_calls(module, lambda: len(seen)) as spans:
        module(torch.ones(1, 2))
        inner(torch.ones(1, 2))
    module(torch.ones(1, 2))
    assert spans == [(0, 1), (1, 2)]


@pytest.mark.parametrize('tokens', [5, 17])
def test_attention_is_counted(tokens):
    """Two products of (tokens x dim) and (dim x tokens) per head; twice that, and the first again,
    on the way back."""
    query = torch.randn(2, 3, tokens, 8, requires_grad=True)
    product = 2 * 2 * 3 * tokens * tokens * 8

    def work():
        return nn.functional.scaled_dot_product_attention(query, query, query)

    assert count_operations(work) == 2 * product
    assert count_operations(lambda: work().sum().backward()) == (2 + 5) * product


def test_masks_are_those_of_the_candidates():
    cfg = Config.fromfile(ROOT / 'configs/hvs_ibot_300e.py')
    candidates, kept = random_batch(cfg, 3), random_batch(cfg, 3, [0, 2, 5])
    for whole, part in zip(candidates.samples, kept.samples):
        assert np.array_equal(part.view_masks, whole.view_masks[[0, 2]])
        assert np.array_equal(part.view_boxes, whole.view_boxes[[0, 2, 5]])
        assert np.array_equal(part.view_colors, whole.view_colors[[0, 2, 5]])
        assert (whole.view_boxes[:, 2:] >= whole.view_boxes[:, :2]).all()
    assert len({sample.view_masks.tobytes() for sample in candidates.samples}) == 3


# --- Times -----------------------------------------------------------------------------------


class Ticks:
    """A clock that every network pass moves on by one per image, and every backward by ten."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(measuring.time, 'perf_counter', lambda: self.now)

    def watch(self, module):
        def forward(module, args, out):
            self.now += len(args[0])

        module.register_forward_hook(forward)


def test_times_of_the_parts(monkeypatch):
    """The backbones are all that takes time; it must turn up where it is spent."""
    ticks, steps = Ticks(monkeypatch), steps_of('DINO')
    ticks.watch(steps.algorithm.backbone)
    ticks.watch(steps.algorithm.teacher['backbone'])
    cost = measure_step(steps, CPU, repeats=2, memory=False)
    # 3 samples. Vanilla: 4 views to the student, 2 to the teacher. Candidates: 8 and 4.
    assert cost['vanilla']['median'] == 3 * 6
    assert cost['bare']['median'] == 3 * 12
    assert cost['reused']['median'] == 3 * 2
    # The teacher does not run again.
    assert cost['hvs']['median'] == 3 * (12 + 4)
    assert {name: part['median'] for name, part in cost['parts'].items()} == {
        'forward': 36,
        'pair_loss': 0,
        'pick': 0,
        'gather': 0,
        'train': 12,
    }
    assert cost['ratio']['median'] == pytest.approx(16 / 6)
    assert cost['measured_floor']['median'] == pytest.approx((12 + 6 - 2) / 6)
    assert cost['over_measured']['median'] == pytest.approx(1)
    assert cost['over_counted']['median'] == pytest.approx(16 / 6 / cost['counted_floor'])
    assert cost['batch_size'] == 3
    assert cost['selecting']['median'] == 0
    assert cost['vanilla_memory'] is None


def test_steps_without_selection_count(monkeypatch):
    ticks, steps = Ticks(monkeypatch), steps_of('SimSiam', schedule=dict(interval=4))
    ticks.watch(steps.algorithm.backbone)
    cost = measure_step(steps, CPU, repeats=2, memory=False)
    # Of four steps one forwards 4 candidates besides the 2 views it trains on.
    assert cost['hvs']['median'] == pytest.approx(3 * (2 + 4 / 4))
    # The parts are those of a step with selection.
    assert cost['parts']['forward']['median'] == 12


def test_summary():
    found = summarize([3.0, 1.0, 2.0])
    assert found == {'median': 2, 'low': 1, 'high': 3}


def test_clock_adds_up_and_starts_again(monkeypatch):
    times = iter([0.0, 1.0, 5.0, 7.0, 10.0, 11.0])
    monkeypatch.setattr(measuring.time, 'perf_counter', lambda: next(times))
    clock = Clock(CPU)
    for _ in range(2):
        with clock.part('a'):
            pass
    assert clock.read() == {'a': 3.0}
    with clock.part('b'):
        pass
    assert clock.read() == {'b': 1.0}


# --- Memory ----------------------------------------------------------------------------------


def test_peak_memory_sees_what_is_freed_again():
    base = peak_memory(lambda: None, CPU)

    def work():
        # 200 MiB, written so that they are resident
        return np.ones(200 * 2**20, dtype=np.uint8).sum()

    assert 180 * 2**20 < peak_memory(work, CPU) - base < 300 * 2**20
    assert peak_memory(lambda: None, CPU) - base < 100 * 2**20


def test_peaks_of_both_steps():
    cost = measure_step(steps_of('SimSiam'), CPU, repeats=1)
    assert cost['vanilla_memory'] > 2**20
    assert cost['hvs_memory'] > 2**20


# --- Random batches --------------------------------------------------------------------------


def test_sizes_and_masks_of_a_config():
    cfg = Config.fromfile(ROOT / 'configs/hvs_ibot_300e.py')
    assert view_sizes(cfg) == [(224, 224)] * 4 + [(96, 96)] * 10
    batch = random_batch(cfg, 2)
    assert [tuple(view.shape) for view in batch.views] == (
        [(2, 3, 224, 224)] * 4 + [(2, 3, 96, 96)] * 10
    )
    assert all(sample.view_masks.shape == (4, 14, 14) for sample in batch.samples)
    kept = random_batch(cfg, 2, [0, 2, 4], memory_format=torch.channels_last)
    assert [view.shape[-1] for view in kept.views] == [224, 224, 96]
    assert kept.samples[0].view_masks.shape == (2, 14, 14)
    assert all(v.is_contiguous(memory_format=torch.channels_last) for v in kept.views)


def test_a_config_without_candidates():
    cfg = Config.fromfile(ROOT / 'configs/baselines/dino_vit-small_100e.py')
    with pytest.raises(ValueError, match=r'draws no candidate views.*hvs_simsiam_100e\.py'):
        view_sizes(cfg)
    cfg = Config.fromfile(ROOT / 'configs/hvs_simsiam_100e.py')
    # Without its crop.
    cfg.train_dataloader.dataset.pipeline[1].transforms[0].pop(0)
    with pytest.raises(ValueError, match='does not say the size'):
        view_sizes(cfg)
