"""The parts of ``tools/benchmarks/gpu_check.py``, with stand-ins for what CUDA alone does."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.helpers.tiny import build_hvs, random_views
from tests.helpers.tools import load_tool

load_tool('benchmarks/gpu_check')
building = load_tool('benchmarks/_building')
# Importable since the tool has been loaded.
from gpu_parts import (  # noqa: E402
    batches,
    loss_scaling,
    resuming,
    same_selection,
    setting,
    step_costs,
    waiting,
    worker,
)

TINY = setting.Setting('cpu', tiny=True)
SIMSIAM, DINO = list(setting.METHODS)[:2]

pytestmark = pytest.mark.usefixtures('own_folder', 'no_runner')


# --- Batches ---------------------------------------------------------------------------------


def room_for(limit, error=None):
    error = torch.cuda.OutOfMemoryError('CUDA out of memory.') if error is None else error
    tried = []

    def work(size):
        tried.append(size)
        if size > limit:
            raise error
        return f'done at {size}'

    return work, tried


def released():
    # A handled error would hold the tensors of its frames.
    assert sys.exc_info() == (None, None, None)
    calls.append('released')


calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def test_the_largest_batch():
    work, tried = room_for(100)
    sizes = (16, 32, 64, 128, 256)
    assert batches.sizes_that_fit(work, sizes, released) == ([16, 32, 64], 'out of memory at 128')
    assert tried == [16, 32, 64, 128]
    assert calls == ['released']
    fitting, why = batches.sizes_that_fit(room_for(9)[0], (4, 8), released)
    assert (fitting, why) == ([4, 8], 'no larger one is tried')
    ticks = iter([0.0, 1.0, 1.0, 20.0])
    found = batches.sizes_that_fit(lambda size: 0, (4, 8, 16), released, now=lambda: next(ticks))
    assert found == ([4, 8], '19 s for the trial at 8')


def test_other_errors_end_the_search():
    work = room_for(8, RuntimeError('too many\nindices'))[0]
    assert batches.sizes_that_fit(work, (8, 16), released) == ([8], 'too many indices at 16')
    with pytest.raises(torch.cuda.OutOfMemoryError):
        batches.sizes_that_fit(room_for(4)[0], (8, 16), released)


def test_less_room_than_in_the_trial():
    inside = RuntimeError('backend raised:\nOutOfMemoryError: CUDA out of memory. Tried to ...')
    work, tried = room_for(20, inside)
    assert batches.largest_that_works(work, [8, 16, 32], released) == (16, 'done at 16')
    assert tried == [32, 16]
    assert calls == ['released']
    with pytest.raises(RuntimeError, match='no code'):
        batches.largest_that_works(room_for(20, RuntimeError('no code'))[0], [16, 32], released)
    with pytest.raises(RuntimeError, match='out of memory'):
        batches.largest_that_works(room_for(4, inside)[0], [8, 16], released)


def test_samples_are_drawn_once_a_size(monkeypatch):
    random_batch, drawn = batches.random_batch, []

    def count(cfg, size, *args):
        drawn.append(size)
        return random_batch(cfg, size, *args)

    monkeypatch.setattr(batches, 'random_batch', count)
    source = batches.Batches(TINY.config(DINO), torch.device('cpu'), 2, torch.channels_last)
    one, other = source.draw(None), source.draw(None)
    source.size = 3
    kept = source.draw([0, 2, 5])
    assert drawn == [2, 3]
    assert one.samples is other.samples
    assert not torch.equal(one.views[0], other.views[0])
    assert [view.shape for view in kept.views] == [(3, 3, 24, 24)] * 2 + [(3, 3, 12, 12)]
    assert kept.views[0].is_contiguous(memory_format=torch.channels_last)
    assert kept.views[0].std() == pytest.approx(1, abs=0.1)


# --- The parts -------------------------------------------------------------------------------


def test_costs_of_a_step():
    found = step_costs.measure_cost(TINY, SIMSIAM, compiled=False, fast=True)
    assert found['config'] == 'demo/hvs_simsiam.py'
    assert found['selection_pass'] == {'scale': 0.5}
    # A quarter of the pixels: 4 views forward, of 6 in a step of the baseline.
    assert 1 < found['counted_floor'] < 1.8
    assert (found['batch_size'], found['batch_ends']) == (2, 'no larger one is tried')
    rate = found['batch_size'] / found['hvs']['median']
    assert found['images_per_second']['hvs'] == pytest.approx(rate)
    json.dumps(found)
    with pytest.raises(worker.NotRunError, match='only the plain mode of SimSiam'):
        step_costs.measure_cost(TINY, DINO, compiled=True, fast=False)


@pytest.fixture
def sync_modes(monkeypatch):
    modes = [1]
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    monkeypatch.setattr(torch.cuda, 'get_sync_debug_mode', lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', modes.append)
    return modes


def test_where_a_step_waits(sync_modes):
    def waits():
        assert sync_modes[-1] == 'error'
        raise RuntimeError('called a synchronizing CUDA operation')

    assert waiting.first_wait(lambda: None) is None
    found = waiting.first_wait(waits)
    assert found.startswith('test_tools/test_benchmarks/test_gpu_parts.py:')
    assert found.endswith(' waits')
    with pytest.raises(ZeroDivisionError):
        waiting.first_wait(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match='another'):
        waiting.first_wait(another)
    assert sync_modes == [1, *['error', 1] * 4]


def another():
    raise RuntimeError('another')


@pytest.mark.parametrize('place', ['hvs', 'vanilla'])
def test_only_waiting_of_selection_fails(place, monkeypatch, sync_modes):
    """The part itself, on the CPU, with a step that is said to wait."""
    monkeypatch.setattr(waiting, 'require_cuda', lambda setting: None)
    found = iter([None, 'a.py:1 f'] if place == 'hvs' else ['a.py:1 f', 'a.py:1 f'])
    monkeypatch.setattr(waiting, 'first_wait', lambda work: work() or next(found))
    outcome = waiting.check_waiting(TINY, SIMSIAM)
    assert outcome['hvs'] == 'a.py:1 f'
    assert ('failed' in outcome) == (place == 'hvs')


@pytest.fixture
def scaled(monkeypatch):
    """Steps in float16 on the CPU, with torch's loss scaler for it."""
    module = sys.modules['mmengine.optim.optimizer.amp_optimizer_wrapper']
    monkeypatch.setattr(module, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(module, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    cfg, device = TINY.config(SIMSIAM), torch.device('cpu')
    source = batches.Batches(cfg, device, 2)
    return loss_scaling.build_steps(cfg, device, source.draw, dtype='fp16')


def test_loss_scaling(scaled):
    found = loss_scaling.train_scaled(scaled, 3)
    assert 'failed' not in found
    assert 0 <= found['skipped'] < 3
    assert found['scale'] == 65536 / 2 ** found['skipped']
    assert found['nonfinite'] == 0


def test_a_scaler_that_skips_nothing(scaled):
    scaler = scaled.optim_wrapper.loss_scaler
    scaler._init_scale = 1.0
    scaler.step = lambda optimizer: optimizer.step()
    scaler.update = lambda scale=None: scale and scaler._scale.fill_(scale)
    found = loss_scaling.train_scaled(scaled, 2)
    assert found['failed'] == 'a step with infinite gradients has changed weights'


def test_all_steps_skipped(scaled):
    scaled.optim_wrapper.loss_scaler._init_scale = 2.0**80
    assert loss_scaling.train_scaled(scaled, 2)['failed'] == 'all 2 steps were skipped'


def test_the_same_selection():
    torch.manual_seed(0)
    model, views = build_hvs('SimSiam'), random_views()
    ours = model.select_views(views)
    compare = partial(same_selection.compare_selections, ours, weights=model.score_weights)
    assert compare(ours) == {'same': 1, 'missed': 0, 'difference': 0}
    # Pair losses that differ do not matter; choices do.
    other = replace(ours, pair_loss=ours.pair_loss + 0.5)
    assert compare(other)['missed'] == 0
    assert compare(other)['difference'] == pytest.approx(0.5 / float(ours.pair_loss.abs().max()))
    worse = ours.indices.clone()
    worse[0] = torch.tensor([view for view in range(4) if view not in ours.indices[0]])
    found = compare(replace(ours, indices=worse))
    assert found['same'] == pytest.approx(2 / 3)
    assert found['missed'] > 0.1
    assert 'misses the score of the CPU' in found['failed']
    broken = replace(ours, score=ours.score * torch.nan)
    assert 'failed' in same_selection.compare_selections(broken, ours, model.score_weights)


def test_selection_on_two_devices():
    """Both the CPU here: without what each would draw for itself there is no difference."""
    found = same_selection.check_same_selection(TINY, DINO)
    assert (found['same'], found['difference']) == (1, 0)
    assert 'failed' not in found


def test_exact_float32():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    with same_selection.exact_float32():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ('weights', 'fails'),
    [
        # The whole run, the resumed one, and two more whole ones where these differ.
        ([1.0, 1.0], False),
        ([1.0, 1.5, 1.0, 1.1], False),
        ([1.0, 1.5, 1.0, 1.0], True),
        ([1.0, float('nan'), 1.0, 1.1], True),
    ],
)
def test_what_counts_as_resumed(weights, fails, monkeypatch):
    states = iter(weights)
    monkeypatch.setattr(
        resuming,
        '_train',
        lambda *args: {'steps': torch.tensor(7), 'weight': torch.tensor([0.0, next(states)])},
    )
    assert ('failed' in resuming.check_resuming(TINY, SIMSIAM)) == fails


def test_precision_of_a_gpu(monkeypatch):
    on_gpu = setting.Setting('cuda', tiny=False)
    for capability, dtype in (((7, 0), 'fp16'), ((8, 0), 'bf16'), ((12, 0), 'bf16')):
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda of=capability: of)
        assert on_gpu.dtype == dtype


def test_optimizers_at_full_size():
    """DINOv2's comes from a constructor of its own, which lowers the rates of early layers."""
    cfg = setting.Setting('cuda', tiny=False).config(list(setting.METHODS)[3])
    wrapper = building.optimizer_of(cfg)
    assert (wrapper['type'], wrapper['constructor']) == ('OptimWrapper', 'LayerDecayConstructor')
    assert building.optimizer_of(cfg, scaled=True)['type'] == 'AmpOptimWrapper'
