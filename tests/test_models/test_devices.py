"""What matters on a GPU, checked on every device of the machine, the CPU included."""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hvs_mm.models import DevicePhotometry, HVSAlgorithm, ViewsError
from tests.helpers.tiny import GROUP_NORM, build_hvs, random_views
from tests.helpers.tiny_dino import build_dino, candidate_crops, random_samples
from tests.test_models.test_photometry.test_device_photometry import NORMALIZE, batch_of

METHODS = ['SimSiam', 'SimCLR', 'BYOL', 'DINO']
DEVICES = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
#: Operators that make the host wait for a GPU, because it needs a value or a size from there.
WAITING = {'_local_scalar_dense', 'equal', 'is_nonzero', 'masked_select', 'nonzero', 'unique'}


class NoWaiting(TorchDispatchMode):
    """Raises at an operator that would make the host wait, also where there is no GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if is_mask_of_the_host(args):
            return func(*args, **(kwargs or {}))
        masks = args[1] if name in ('index', 'index_put_') else ()
        if name in WAITING or any(m is not None and m.dtype == torch.bool for m in masks):
            raise AssertionError(f'{name} makes the host wait for the device')
        return func(*args, **(kwargs or {}))


def is_mask_of_the_host(args):
    """What iBOT knows of its masks before they are sent: which patches, and how many."""
    tensor = args[0] if args and isinstance(args[0], torch.Tensor) else None
    return (
        tensor is not None
        and tensor.device.type == 'cpu'
        and tensor.dtype in (torch.bool, torch.int64)
        and not isinstance(tensor, Sent)
    )


def build(name, **kwargs):
    """A model with 4 candidates, the samples of whose batches do not depend on each other."""
    if name == 'DINO':
        return HVSAlgorithm(build_dino(num_crops=2), [4], [2], **kwargs)
    return build_hvs(name, GROUP_NORM, **kwargs)


def to(device, views):
    return [view.to(device) for view in views]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', METHODS)
def test_same_losses_as_in_double_precision(name, device):
    model, views = build(name), random_views()
    expected = deepcopy(model).double().select_views([view.double() for view in views])
    selection = model.to(device).select_views(to(device, views))
    for ours, theirs in (
        (selection.pair_loss, expected.pair_loss),
        (selection.score, expected.score),
    ):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize(
    'selector', ['hardest', 'random', {'type': 'hardest', 'max_comparisons': 3}]
)
def test_selection_does_not_wait_for_the_device(name, selector, device):
    model, views = build(name, selector=selector).to(device), to(device, random_views())
    with NoWaiting():
        selection = model.select_views(views)
        model.gather(views, selection.indices)
        selection.choice_shares()


class Sent(torch.Tensor):
    """A tensor that has been sent to a device, and whatever is computed from it."""


def pin_memory(tensor):
    if isinstance(tensor, Sent):
        raise RuntimeError('only dense CPU tensors can be pinned')
    return tensor.as_subclass(Sent)


@pytest.fixture
def as_on_a_gpu(monkeypatch, device):
    """Let the CPU pass for a device that the host must not ask; a GPU needs no help."""
    if device == 'cpu':
        for module in ('selection.pair_losses.ibot', 'utils.to_device'):
            monkeypatch.setattr(f'hvs_mm.{module}.is_asynchronous', lambda device: True)
        monkeypatch.setattr(
            'hvs_mm.utils.to_device.is_on_host', lambda tensor: not isinstance(tensor, Sent)
        )
        monkeypatch.setattr(torch.Tensor, 'pin_memory', pin_memory)


#: How a step may select.
OPTIONS = [
    {},
    {'selection_pass': {'scale': 0.5}},
    {'schedule': {'prob': 0.5}},
    {'schedule': {'interval': 2}},
]


@pytest.mark.parametrize('device', DEVICES)
# The losses of upstream's SimCLR and BYOL ask the device themselves.
@pytest.mark.parametrize(
    ('name', 'options'),
    [*product(['SimSiam', 'DINO', 'IBOT'], OPTIONS), *product(['DINO', 'IBOT'], [{'guard': {}}])],
)
@pytest.mark.skipif(
    torch.__version__ < '2.6',
    reason='torch 2.5 makes no tensor subclass under a dispatch mode: runs on the default stack',
)
@pytest.mark.usefixtures('as_on_a_gpu')
def test_a_step_does_not_wait_for_the_device(name, options, device):
    if name == 'SimSiam':
        model, views, samples = build_hvs(name, GROUP_NORM, **options), random_views(), None
    else:
        algorithm = build_dino(name, num_crops=4)
        model = HVSAlgorithm(algorithm, (2, 2, 4), (1, 1, 2), **options)
        views, samples = candidate_crops((2, 2, 4)), random_samples(3, 4)
    # It has an answer of its own on a GPU, see below.
    model._check_finite = lambda *args: None
    model, views = model.to(device), to(device, views)
    if device == 'cpu':
        views = [view.as_subclass(Sent) for view in views]
    for _ in range(2):
        with NoWaiting():
            losses = model.loss(views, samples)
            losses['loss'].backward()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.usefixtures('as_on_a_gpu')
def test_patches_that_fill_up_change_nothing(device):
    """iBOT on a GPU lists more patches than are masked; the step must be that of the masked."""
    torch.manual_seed(0)
    model = HVSAlgorithm(build_dino('IBOT', num_crops=4), (2, 2, 4), (1, 1, 2)).to(device)
    views, samples = to(device, candidate_crops((2, 2, 4), 6)), random_samples(6, 4)
    baseline, seen = deepcopy(model.algorithm), {}
    head_loss = model.head.loss
    model.head.loss = lambda outputs: seen.update(outputs=outputs) or head_loss(outputs)
    ours = model.loss(views, samples)
    outputs = seen['outputs']
    assert not outputs.is_masked.all(), 'no patch fills up: the test sees nothing'
    indices = model.last_selection.indices.tolist()
    for sample, views_kept in zip(samples, indices):
        kept = sample.view_masks[views_kept[:2]]
        sample.set_field(kept, 'view_masks', field_type='metainfo')
    masked = sum(int(sample.view_masks.sum()) for sample in samples)
    assert int(outputs.is_masked.sum()) == masked
    theirs = baseline.loss(model.gather(views, model.last_selection.indices), samples)
    for name in ('loss', 'cls_term', 'patch_term'):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)
    ours['loss'].backward()
    theirs['loss'].backward()
    for mine, other in zip(model.algorithm.parameters(), baseline.parameters()):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-5)
    for name in ('center', 'patch_center'):
        expected = getattr(baseline.head, name)
        torch.testing.assert_close(getattr(model.head, name), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.usefixtures('as_on_a_gpu')
def test_patches_do_not_fill_up_under_batchnorm(device):
    """They would enter its statistics, so the number of masked patches is waited for."""
    torch.manual_seed(0)
    algorithm = build_dino('IBOT', num_crops=4, neck={'use_bn': True})
    model = HVSAlgorithm(algorithm, (2, 2, 4), (1, 1, 2)).to(device)
    views, samples = to(device, candidate_crops((2, 2, 4), 6)), random_samples(6, 4)
    baseline = deepcopy(model.algorithm)
    ours = model.loss(views, samples)
    indices = model.last_selection.indices
    for sample, views_kept in zip(samples, indices.tolist()):
        kept = sample.view_masks[views_kept[:2]]
        sample.set_field(kept, 'view_masks', field_type='metainfo')
    theirs = baseline.loss(model.gather(views, indices), samples)
    for name in ('loss', 'patch_term'):
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_waiting_would_be_noticed():
    with pytest.raises(AssertionError, match='index makes the host wait'), NoWaiting():
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]


class Event:
    """A CUDA event that has happened."""

    def synchronize(self):
        pass


@pytest.fixture
def model_with_a_bad_batch_behind_it():
    """As on a GPU, where the answer about a batch is read later."""
    model = build_hvs('SimSiam')
    flags = torch.ones(4, 3, dtype=torch.bool)
    flags[2, 1] = False
    model._check_finite._pending = (flags, Event(), None)
    return model


def test_bad_pixels_are_reported_with_the_next_batch(model_with_a_bad_batch_behind_it):
    model = model_with_a_bad_batch_behind_it
    with pytest.raises(ViewsError, match='view 2 of sample 1 of the batch before this one'):
        model.loss(random_views())
    model.loss(random_views())


def test_bad_pixels_are_reported_before_a_checkpoint(model_with_a_bad_batch_behind_it):
    with pytest.raises(ViewsError, match='of the batch before this one'):
        model_with_a_bad_batch_behind_it.state_dict()


def test_a_copy_does_not_answer_for_the_original(model_with_a_bad_batch_behind_it):
    deepcopy(model_with_a_bad_batch_behind_it).state_dict()


@pytest.mark.parametrize('device', DEVICES)
def test_bad_pixels_of_this_device(device):
    model, bad = build_hvs('SimSiam').to(device), to(device, random_views())
    bad[2][1, 0, 5, 5] = math.nan

    def train_and_save():
        model.loss(bad)
        model.state_dict()

    with pytest.raises(ViewsError, match='view 2 of sample 1'):
        train_and_save()


@pytest.mark.parametrize('photometry', ['device', 'device_views'])
@pytest.mark.parametrize('device', DEVICES)
def test_views_are_made_without_waiting_for_the_device(device, photometry):
    data = batch_of(photometry, counts=(4, 2), batch_size=8)
    expected = DevicePhotometry(**NORMALIZE)(data, training=True)['inputs']
    preprocessor = DevicePhotometry(**NORMALIZE).to(device)
    with NoWaiting(), torch.autocast(device, dtype=torch.bfloat16):
        inputs = preprocessor(data, training=True)['inputs']
    for view, theirs in zip(inputs, expected):
        assert (view.device.type, view.dtype) == (device, torch.float32)
        # Rounding may fall to the other side: gray levels, divided by the standard deviation.
        assert (view.cpu() - theirs).abs().max() < 10 / 57
        assert (view.cpu() - theirs).abs().mean() < 0.05 / 57
