"""HardViews in plain torch chooses what HVSAlgorithm chooses, and leaves everything as it was."""

from __future__ import annotations

import random
from copy import deepcopy
from itertools import combinations

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import hvs_mm
from hvs_mm import HardViews, losses
from hvs_mm.selection.statistics.color import color_difference
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import GROUP_NORM, build_algorithm, build_hvs, random_views
from tests.helpers.tiny_dino import build_hvs_dino, candidate_crops, shake

SELECTORS = [
    'hardest',
    'easiest',
    'random',
    'softened',
    'per_group',
    {'type': 'quantile', 'quantile': 0.8},
    {'type': 'hardest', 'max_comparisons': 3},
]


class Projections(nn.Module):
    """The projections of an algorithm of MMPretrain, and SimSiam's predictions."""

    def __init__(self, algorithm, predicts=False):
        super().__init__()
        self.algorithm, self.predicts = algorithm, predicts

    def forward(self, images):
        projection = self.algorithm.neck(self.algorithm.backbone(images))[0]
        if not self.predicts:
            return projection
        return self.algorithm.head.predictor([projection])[0], projection


class Logits(nn.Module):
    """The logits of DINO's student or teacher."""

    def __init__(self, forward, *modules):
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.logits = forward

    def forward(self, images):
        return self.logits([images])[:, 0]


def small_network(**kwargs):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), **kwargs)


def tensors(record):
    names = ('indices', 'score', 'pair_loss', 'mean_score', 'hardest_score', 'target_choice')
    return {name: getattr(record, name) for name in names}


def assert_same_choice(ours, expected):
    for name, value in tensors(expected).items():
        torch.testing.assert_close(tensors(ours)[name], value, rtol=0, atol=0)


@pytest.mark.parametrize('selector', SELECTORS, ids=str)
def test_simclr_chooses_as_hvs_algorithm(selector):
    views = random_views(batch_size=6)
    wrapped = build_hvs('SimCLR', selector=deepcopy(selector))
    hard = HardViews(losses.NTXent(0.1), selector=deepcopy(selector))
    torch.manual_seed(1)
    expected = wrapped.select_views(views)
    torch.manual_seed(1)
    kept, record = hard(Projections(wrapped.algorithm), views)
    assert_same_choice(record, expected)
    for mine, theirs in zip(kept, wrapped.gather(views, expected.indices)):
        assert torch.equal(mine, theirs)


BY_BOXES = ['lowest_iou', {'type': 'iou_below', 'threshold': 0.3}]


@pytest.mark.parametrize('selector', BY_BOXES, ids=str)
def test_selectors_that_read_boxes_forward_nothing(selector):
    corner = 20 * torch.rand(6, 4, 2)
    boxes = torch.cat([corner, corner + 5 + 10 * torch.rand(6, 4, 2)], -1)
    views = random_views(batch_size=6)
    wrapped = build_hvs('SimSiam', selector=deepcopy(selector))
    samples = [DataSample(metainfo={'view_boxes': one.numpy()}) for one in boxes]
    torch.manual_seed(1)
    expected = wrapped.select_views(views, samples)
    hard = HardViews(losses.SimSiam(), selector=deepcopy(selector))
    # It cannot take images.
    network = nn.Linear(1, 1)
    torch.manual_seed(1)
    _, record = hard(network, views, boxes=boxes)
    assert_same_choice(record, expected)
    for wrong in (None, boxes[:3], boxes[:, :2]):
        with pytest.raises(ValueError, match='reads the boxes of 6 samples with 4 views, but'):
            hard(network, views, boxes=wrong)


def test_a_selector_that_reads_colors():
    colors = torch.rand(6, 4, 7)
    views = random_views(batch_size=6)
    hard = HardViews(losses.SimSiam(), selector='largest_color_difference')
    _, record = hard(nn.Linear(1, 1), views, colors=colors)
    difference = color_difference(colors[:, :, None], colors[:, None])
    assert torch.equal(record.hardest_score, difference.flatten(1).amax(1))


def test_simsiam_chooses_as_hvs_algorithm():
    views = random_views(batch_size=6)
    wrapped = build_hvs('SimSiam')
    hard = HardViews(losses.SimSiam(), select=lambda output: output)
    _, record = hard(Projections(wrapped.algorithm, predicts=True), views)
    expected = wrapped.select_views(views)
    assert torch.equal(record.indices, expected.indices)
    # Upstream's loss is half of it, plus a shift.
    loss = wrapped.algorithm.head.loss_module
    scaled = loss.shift_factor + loss.scale_factor * record.pair_loss
    torch.testing.assert_close(scaled, expected.pair_loss, rtol=0, atol=1e-6)


def test_dino_with_a_teacher_and_local_crops_chooses_as_hvs_algorithm():
    groups = (2, 2, 4)
    wrapped = build_hvs_dino('DINO', candidates=groups, keep=[1, 1, 2])
    algorithm = shake(wrapped.algorithm)
    head, views = algorithm.head, candidate_crops(groups)
    expected = wrapped.select_views(views)
    pair_loss = losses.DINO(head.center, head.student_temp, float(head.teacher_temp))
    student = Logits(algorithm.student_logits, algorithm.backbone, algorithm.neck)
    teacher = Logits(algorithm.teacher_logits, algorithm.teacher)
    hard = HardViews(pair_loss, groups, [1, 1, 2])
    kept, record = hard(student, views, target=teacher)
    assert record.pair_loss.shape == (len(views[0]), 4, 8)
    torch.testing.assert_close(record.pair_loss, expected.pair_loss, rtol=1e-5, atol=1e-6)
    assert torch.equal(record.indices, expected.indices)
    assert [tuple(view.shape) for view in kept] == [tuple(views[n].shape) for n in (0, 2, 4, 5)]


def test_state_stays_and_no_gradient_is_kept():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(), nn.Flatten(), nn.LazyLinear(16)
    )
    views = random_views(batch_size=4)
    model(views[0])
    model[2].eval()
    before = deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    _, record = HardViews(losses.NTXent())(model, views)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [module.training for module in model.modules()] == modes
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    assert not record.pair_loss.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_under_autocast_the_training_step_has_gradients():
    model, views = small_network(), random_views(batch_size=4)
    hard = HardViews(lambda z: torch.cdist(z, z))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        kept, record = hard(model, views)
        model(kept[0]).float().sum().backward()
    assert record.pair_loss.dtype == torch.float32
    assert model[1].weight.grad.abs().sum() > 0


def test_the_kept_pair_has_the_highest_loss_of_all():
    """Against a loss of two embeddings, pair by pair."""
    model, views = small_network(), random_views(batch_size=5)
    kept, record = HardViews(losses.BYOL())(model, views)
    z = [nn.functional.normalize(model(view).detach(), dim=1) for view in views]
    for sample, chosen in enumerate(record.indices.tolist()):
        loss = {(a, b): (z[a] - z[b])[sample].square().sum() for a, b in combinations(range(4), 2)}
        assert tuple(chosen) == max(loss, key=loss.get)
        torch.testing.assert_close(record.score[sample], loss[tuple(chosen)])
        assert all(torch.equal(k[sample], views[v][sample]) for k, v in zip(kept, chosen))


@pytest.mark.slow
@pytest.mark.parametrize('compiled', ['network', 'step'])
def test_compiled(compiled):
    torch._dynamo.reset()
    convolution = nn.Sequential(nn.Conv2d(3, 8, 3, 4), nn.BatchNorm2d(8), nn.ReLU())
    model = nn.Sequential(convolution, nn.Flatten(), nn.Linear(8 * 8 * 8, 16))
    views = random_views(batch_size=4)
    hard = HardViews(losses.NTXent())
    expected = hard(model, views)[1]
    state = deepcopy(model.state_dict())

    def step(network):
        kept, record = hard(network, views)
        return record, sum(network(view).sum() for view in kept)

    if compiled == 'step':
        record, loss = torch.compile(lambda: step(model), backend='aot_eager')()
    else:
        record, loss = step(torch.compile(model, backend='aot_eager'))
    loss.backward()
    torch.testing.assert_close(record.pair_loss, expected.pair_loss, rtol=1e-4, atol=1e-4)
    assert torch.equal(record.indices, expected.indices)
    # The two forwards of the kept views count in BatchNorm, those of the selection do not.
    counts = [name for name in state if name.endswith('num_batches_tracked')]
    assert counts
    assert all(model.state_dict()[name] == state[name] + 2 for name in counts)
    torch._dynamo.reset()


def _select_in_ranks(rank, folder):
    views, expected = torch.load(folder / 'expected.pt', weights_only=False)
    torch.manual_seed(0)
    model = DistributedDataParallel(Projections(build_algorithm('SimCLR', GROUP_NORM)))
    own = [view.chunk(2)[rank] for view in views]
    kept, record = HardViews(losses.NTXent())(model, own)
    torch.testing.assert_close(record.pair_loss, expected.pair_loss.chunk(2)[rank])
    assert torch.equal(record.indices, expected.indices.chunk(2)[rank])
    local = HardViews(losses.NTXent(gather_distributed=False))(model, own)[1]
    assert not torch.allclose(local.pair_loss, record.pair_loss)
    sum(model(view).sum() for view in kept).backward()
    assert all(parameter.grad is not None for parameter in model.module.algorithm.neck.parameters())


@pytest.mark.slow
def test_two_processes_choose_as_one_with_their_joint_batch(tmp_path):
    torch.manual_seed(0)
    model = Projections(build_algorithm('SimCLR', GROUP_NORM))
    views = random_views(batch_size=8)
    record = HardViews(losses.NTXent())(model, views)[1]
    torch.save((views, record), tmp_path / 'expected.pt')
    (tmp_path / 'ranks').mkdir()
    run_ranks(_select_in_ranks, 2, tmp_path / 'ranks', tmp_path)


# --- Bad input ------------------------------------------------------------------------------------


def select(network=None, pair_loss=None, views=None, **kwargs):
    pair_loss = losses.NTXent() if pair_loss is None else pair_loss
    settings = {name: kwargs.pop(name) for name in ('candidates', 'select') if name in kwargs}
    views = random_views(batch_size=4) if views is None else views
    HardViews(pair_loss, **settings)(network or small_network(), views, **kwargs)


def uneven():
    views = random_views(batch_size=4)
    return [*views[:3], views[3][:3]]


class Outputs(nn.Module):
    """A network that returns what a function makes of its embeddings."""

    def __init__(self, function):
        super().__init__()
        self.network, self.function = small_network(), function

    def forward(self, images):
        return self.function(self.network(images))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (
            {'pair_loss': lambda z: z},
            r'pair_loss returns shape \(4, 4, 16\), expected .*\(4, 4, 4\)',
        ),
        ({'pair_loss': lambda z: 1.0}, 'pair_loss returns a float, expected'),
        ({'pair_loss': lambda x, y: x}, r"1 tensors of shape \(4, 4, 16\).*argument: 'y'. Wrap"),
        ({'pair_loss': losses.NTXent}, r'pair_loss=NTXent is a class: pass an instance'),
        ({'pair_loss': losses.BYOL(), 'epoch': 3}, r"the arguments \['epoch'\]. But: got an unexp"),
        ({'select': 'z'}, "select='z' must be a function that picks"),
        (
            {'pair_loss': losses.DINO(torch.zeros(9)), 'target': small_network()},
            r'DINO fails on embeddings of shape \(4, 4, 16\) and \(4, 4, 16\): .* a center',
        ),
        ({'pair_loss': nn.Identity()}, 'Identity cannot be called as criterion'),
        ({'views': uneven()}, r'batches of \[4, 4, 4, 3\] samples: position b'),
        ({'views': random_views(3)}, r'3 views per image, candidates=\[4\] needs 4: draw them'),
        ({'views': [torch.zeros(3, 8, 8)] * 4}, r'must be images \(B, 3, H, W\)'),
        ({'views': [*random_views(3), *random_views(1, size=16)]}, 'but differ in size'),
        ({'views': torch.zeros(4, 3, 8, 8)}, 'views is a Tensor, it must be a list'),
        ({'network': Outputs(lambda z: (z, z))}, r'the model returns a tuple of 2: .*select='),
        ({'network': Outputs(lambda z: {'z': z})}, r'the model returns a dict of 1: .*select='),
        ({'network': Outputs(lambda z: z[..., None])}, r'shape \(16, 16, 1\) .*\(16, D\): flatten'),
        ({'select': lambda z: [z, z, z]}, 'select returns a list of 3'),
        ({'network': torch.relu}, 'it must be a torch.nn.Module'),
        ({'target': torch.relu}, 'target is a builtin_function_or_method, it must be'),
        ({'target': small_network()}, 'takes no targets: leave out target'),
        ({'pair_loss': losses.DINO(torch.zeros(16))}, 'DINO needs logits of a teacher'),
        ({'pair_loss': 0.1}, r'pair_loss=0.1 must be one of hvs_mm.losses'),
        ({'candidates': [2, 4]}, 'must have the same length'),
    ],
)
def test_bad_input(kwargs, message):
    with pytest.raises((TypeError, ValueError), match=message) as raised:
        select(**kwargs)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('temperature', [0, -1, 'cold', float('nan')])
def test_bad_temperatures(temperature):
    with pytest.raises(ValueError, match=r'temperature=.* must be a number above 0'):
        losses.NTXent(temperature)
    with pytest.raises(ValueError, match=r'student_temperature=.* must be a number above 0'):
        losses.DINO(torch.zeros(2), temperature)


def test_names_that_do_not_exist():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hvs_mm.nothing
