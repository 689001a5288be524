"""Pair losses against the upstream algorithms' own ``loss`` on single pairs of views."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations, product

import pytest
import torch
from mmpretrain.models import selfsup
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import MODELS, TASK_UTILS

from hvs_mm.losses import byol_pair_loss, ntxent_pair_loss, simsiam_pair_loss
from hvs_mm.models import HVSAlgorithm
from hvs_mm.selection import (
    PairLoss,
    ViewGroups,
    build_pair_loss,
    forward_views,
    registered_pair_losses,
)
from hvs_mm.selection.pair_losses.base import default_pair_loss
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import (
    BATCH_NORM,
    GROUP_NORM,
    METHODS,
    algorithm_config,
    build_algorithm,
    random_views,
)

PAIRS = list(combinations(range(4), 2))


def freeze_target(algorithm):
    """Make BYOL's update, part of upstream's ``loss``, leave the target as it is."""
    algorithm.target_net.momentum = algorithm.target_net.end_momentum = 0
    algorithm.target_net.steps += 1
    for parameter in algorithm.target_net.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)


def upstream_pair_score(algorithm, view_a, view_b):
    """Upstream's loss of one pair, in the scale of the method's formulas."""
    loss = algorithm.loss([view_a, view_b], None)['loss']
    # Upstream's BYOL sums both directions and drops the constant: -2 (cos + cos).
    return 2 + loss / 2 if type(algorithm).__name__ == 'BYOL' else loss


@pytest.mark.parametrize('name', ['SimSiam', 'BYOL'])
@pytest.mark.parametrize('mode', ['train, group norm', 'eval, batch norm'])
def test_per_sample_against_upstream(name, mode):
    training = mode.startswith('train')
    algorithm = build_algorithm(name, GROUP_NORM if training else BATCH_NORM)
    algorithm.train(training)
    if name == 'BYOL':
        freeze_target(algorithm)
    views = random_views()
    with torch.no_grad():
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        assert pair_loss.shape == (3, 4, 4)
        assert pair_loss.dtype == torch.float32
        for (a, b), sample in product(PAIRS, range(3)):
            one = slice(sample, sample + 1)
            expected = upstream_pair_score(algorithm, views[a][one], views[b][one])
            score = (pair_loss[sample, a, b] + pair_loss[sample, b, a]) / 2
            torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ['SimSiam', 'BYOL'])
def test_direction(name):
    """``L[b, t, s]``: view ``s`` predicts view ``t``, not the other way round."""
    algorithm = build_algorithm(name, GROUP_NORM)
    if name == 'BYOL':
        freeze_target(algorithm)
    views = random_views()
    with torch.no_grad():
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        online = [algorithm.neck(algorithm.backbone(view))[0] for view in views]
        target = [algorithm.target_net(v)[0] for v in views] if name == 'BYOL' else online
        for t, s in product(range(4), range(4)):
            expected = algorithm.head.loss(online[s], target[t])
            if name == 'BYOL':
                expected = 2 + 2 * expected
            torch.testing.assert_close(pair_loss[:, t, s].mean(), expected)
    assert not torch.allclose(pair_loss, pair_loss.transpose(1, 2), atol=1e-4)


@pytest.mark.parametrize('name', ['SimSiam', 'BYOL'])
def test_loss_factors_of_the_head_are_honored(name):
    config = algorithm_config(name, GROUP_NORM)
    config['head']['loss'].update(shift_factor=0.5, scale_factor=3.0)
    algorithm = HVSAlgorithm(config, [4], [2]).algorithm
    if name == 'BYOL':
        freeze_target(algorithm)
    views = random_views()
    with torch.no_grad():
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        expected = upstream_pair_score(algorithm, views[0], views[3])
    torch.testing.assert_close((pair_loss[:, 0, 3] + pair_loss[:, 3, 0]).mean() / 2, expected)


def test_byol_before_the_first_update_reads_the_online_network():
    """The first update copies the online weights over those the target was built with."""
    algorithm = build_algorithm('BYOL', GROUP_NORM)
    for parameter in algorithm.target_net.parameters():
        parameter.data += 1
    views = random_views()
    with torch.no_grad():
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        # Upstream's loss makes that update before it reads the target.
        expected = upstream_pair_score(deepcopy(algorithm), views[1], views[2])
    torch.testing.assert_close((pair_loss[:, 1, 2] + pair_loss[:, 2, 1]).mean() / 2, expected)


def test_byol_that_is_reset_reads_the_online_network_again():
    algorithm = build_algorithm('BYOL', GROUP_NORM)
    pair_loss, views, fresh = (
        build_pair_loss(None, algorithm),
        random_views(),
        algorithm.state_dict(),
    )
    fresh = {key: value.clone() for key, value in fresh.items()}
    with torch.no_grad():
        expected = pair_loss(algorithm, views, 4)
        algorithm.target_net.steps += 1
        for parameter in algorithm.target_net.parameters():
            parameter.data += 1
        assert not torch.allclose(pair_loss(algorithm, views, 4), expected)
        algorithm.load_state_dict(fresh)
        torch.testing.assert_close(pair_loss(algorithm, views, 4), expected)


def simclr_losses_per_sample(algorithm, view_a, view_b):
    """Upstream's NT-Xent of each sample if the whole batch has this pair of views."""
    algorithm.head.loss_module.reduction = 'none'
    losses = algorithm.loss([view_a, view_b], None)['loss']
    algorithm.head.loss_module.reduction = 'mean'
    # Anchors come as view a of sample 0, view b of sample 0, view a of sample 1, ...
    return losses.reshape(-1, 2)


@pytest.mark.parametrize('batch_size', [2, 5])
def test_simclr_against_upstream(batch_size):
    algorithm = build_algorithm('SimCLR', GROUP_NORM)
    views = random_views(batch_size=batch_size)
    with torch.no_grad():
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        for a, b in PAIRS:
            per_anchor = simclr_losses_per_sample(algorithm, views[a], views[b])
            # Anchor a with positive b is online view a, target view b.
            torch.testing.assert_close(pair_loss[:, b, a], per_anchor[:, 0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(pair_loss[:, a, b], per_anchor[:, 1], rtol=1e-5, atol=1e-5)


def _simclr_rank(rank, folder):
    with torch.no_grad():
        algorithm = build_algorithm('SimCLR', GROUP_NORM)
        # Both ranks draw the global batch of 6 and keep their half of it.
        views = [view[3 * rank : 3 * rank + 3] for view in random_views(batch_size=6)]
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        upstream = {
            pair: simclr_losses_per_sample(algorithm, views[pair[0]], views[pair[1]])
            for pair in PAIRS
        }
    torch.save((pair_loss, upstream), folder / f'rank{rank}.pt')


def test_simclr_takes_negatives_from_all_ranks(tmp_path):
    run_ranks(_simclr_rank, 2, tmp_path, tmp_path)
    single = build_algorithm('SimCLR', GROUP_NORM)
    torch.manual_seed(0)
    single = build_algorithm('SimCLR', GROUP_NORM)
    with torch.no_grad():
        alone = build_pair_loss(None, single)(single, random_views(batch_size=6), 4)
    for rank in range(2):
        pair_loss, upstream = torch.load(tmp_path / f'rank{rank}.pt')
        # One process with the whole batch.
        torch.testing.assert_close(pair_loss, alone[3 * rank : 3 * rank + 3], rtol=1e-5, atol=1e-5)
        # Upstream's own distributed loss: all anchors of the global batch on every rank.
        for (a, b), per_anchor in upstream.items():
            mine = per_anchor[3 * rank : 3 * rank + 3]
            torch.testing.assert_close(pair_loss[:, b, a], mine[:, 0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(pair_loss[:, a, b], mine[:, 1], rtol=1e-5, atol=1e-5)


def ntxent_by_hand(z, t, s, b, temperature):
    """The formula of ``method.md`` with loops, in double precision."""
    z = z.double() / z.double().norm(dim=-1, keepdim=True)
    num_samples = len(z)

    def similarity(b1, v1, b2, v2):
        return z[b1, v1] @ z[b2, v2] / temperature

    total = sum(similarity(b, s, c, s).exp() for c in range(num_samples) if c != b)
    total += sum(similarity(b, s, c, t).exp() for c in range(num_samples))
    return -similarity(b, s, b, t) + total.log()


def test_ntxent_formula():
    embedding = torch.randn(4, 5, 7)
    pair_loss = ntxent_pair_loss(embedding, 3, 0.5)
    assert pair_loss.shape == (4, 3, 5)
    for b, t, s in product(range(4), range(3), range(5)):
        expected = 0 if t == s else ntxent_by_hand(embedding, t, s, b, 0.5).item()
        assert pair_loss[b, t, s].item() == pytest.approx(expected, abs=1e-5)


def test_ntxent_of_a_single_sample_is_finite():
    pair_loss = ntxent_pair_loss(torch.randn(1, 4, 8), 4, 0.1)
    torch.testing.assert_close(pair_loss, torch.zeros(1, 4, 4), atol=1e-5, rtol=0)


def test_ntxent_at_a_low_temperature_does_not_overflow():
    assert ntxent_pair_loss(torch.randn(8, 4, 8), 4, 1e-3).isfinite().all()


def test_cosine_formulas():
    prediction, projection = torch.randn(3, 5, 7), torch.randn(3, 4, 7)
    simsiam, byol = (
        simsiam_pair_loss(prediction, projection),
        byol_pair_loss(prediction, projection),
    )
    for b, t, s in product(range(3), range(4), range(5)):
        p, z = prediction[b, s], projection[b, t]
        cosine = (p @ z / (p.norm() * z.norm())).item()
        assert simsiam[b, t, s].item() == pytest.approx(-cosine, abs=1e-6)
        distance = (p / p.norm() - z / z.norm()).square().sum().item()
        assert byol[b, t, s].item() == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize('function', [simsiam_pair_loss, byol_pair_loss])
def test_half_precision_is_computed_in_float32(function):
    online, target = torch.randn(3, 4, 64).bfloat16(), torch.randn(3, 4, 64).bfloat16()
    assert function(online, target).dtype == torch.float32
    torch.testing.assert_close(function(online, target), function(online.float(), target.float()))


@pytest.mark.parametrize('name', ['SimSiam', 'BYOL', 'SimCLR'])
def test_autocast_does_not_reach_the_maths(name):
    """Autocast would carry out the products of float32 features in bfloat16."""
    features = torch.randn(3, 4, 64)
    function = {
        'SimSiam': lambda: simsiam_pair_loss(features, features),
        'BYOL': lambda: byol_pair_loss(features, features),
        'SimCLR': lambda: ntxent_pair_loss(features, 4, 0.1),
    }[name]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = function()
    assert inside.dtype == torch.float32
    assert torch.equal(inside, function())


def test_batch_statistics_are_over_all_views():
    """BatchNorm normalizes the concatenation of all candidates, as in the paper's code."""
    algorithm = build_algorithm('SimSiam')
    views = random_views()
    with torch.no_grad():
        pair_loss = build_pair_loss(None, algorithm)(algorithm, views, 4)
        z = algorithm.neck(algorithm.backbone(torch.cat(views)))[0]
        p = algorithm.head.predictor([z])[0]
        z, p = z.reshape(4, 3, -1).transpose(0, 1), p.reshape(4, 3, -1).transpose(0, 1)
    torch.testing.assert_close(pair_loss, simsiam_pair_loss(p, z), rtol=1e-4, atol=1e-5)


def test_forward_views_of_several_sizes():
    views = [torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4), torch.randn(2, 3, 8, 8)]
    calls = []

    def forward(x):
        calls.append(tuple(x.shape))
        return x.mean((2, 3))

    features = forward_views(forward, views)
    assert calls == [(4, 3, 8, 8), (2, 3, 4, 4)]
    torch.testing.assert_close(features, torch.stack([v.mean((2, 3)) for v in views], 1))


def test_every_shipped_method_is_registered():
    assert set(registered_pair_losses()) >= {*METHODS, 'DINO', 'IBOT'}


@pytest.mark.parametrize('name', ['SimSiam', 'SimCLR', 'BYOL'])
def test_another_number_of_kept_views(name):
    with pytest.raises(
        ValueError, match=rf'keep=\[3\] keeps 3 views, but {name} trains on exactly 2'
    ):
        HVSAlgorithm(algorithm_config(name), [4], [3])


@pytest.mark.parametrize(
    ('name', 'loss', 'expected'),
    [
        ('SimSiam', {'type': 'PixelReconstructionLoss', 'criterion': 'L1'}, 'CosineSimilarityLoss'),
        ('BYOL', {'type': 'CrossEntropyLoss'}, 'CosineSimilarityLoss'),
        ('SimCLR', {'type': 'LabelSmoothLoss', 'label_smooth_val': 0.1}, 'CrossEntropyLoss'),
    ],
)
def test_another_loss_in_the_head(name, loss, expected):
    config = algorithm_config(name)
    config['head']['loss'] = loss
    with pytest.raises(ValueError, match=f'describes only {expected}'):
        HVSAlgorithm(config, [4], [2])


def test_algorithm_without_pair_loss():
    @MODELS.register_module(force=True)
    class Unknown(BaseSelfSupervisor):
        def loss(self, inputs, data_samples):
            raise NotImplementedError

    config = {**algorithm_config('SimSiam'), 'type': 'Unknown'}
    with pytest.raises(ValueError, match=r"Unknown has no pair loss.*'BYOL'.*'SimSiam'"):
        HVSAlgorithm(config, [4], [2])


@pytest.mark.parametrize('name', selfsup.__all__)
def test_every_algorithm_of_upstream_has_a_pair_loss_or_a_reason(name):
    cls = getattr(selfsup, name)
    if not issubclass(cls, BaseSelfSupervisor) or cls is BaseSelfSupervisor:
        return
    if name in METHODS:
        assert issubclass(default_pair_loss(cls, name), PairLoss)
    else:
        with pytest.raises(
            ValueError, match=f'^{name} reconstructs the masked patches of a single'
        ):
            default_pair_loss(cls, name)


def test_pair_loss_of_ones_own():
    @TASK_UTILS.register_module(force=True)
    class ConstantPairLoss(PairLoss):
        def forward(self, algorithm, views, num_targets):
            return len(views[0]), num_targets, len(views)

        def form(self, algorithm, outputs):
            return torch.zeros(outputs)

    model = HVSAlgorithm(
        algorithm_config('SimSiam'), [4], [2], pair_loss={'type': 'ConstantPairLoss'}
    )
    # All equal: the first combination.
    assert model.select_views(random_views()).indices.tolist() == [[0, 1]] * 3


def test_subclass_inherits_the_pair_loss():
    from mmpretrain.models import SimSiam

    class Variant(SimSiam):
        pass

    config = algorithm_config('SimSiam')
    config.pop('type')
    model = HVSAlgorithm(Variant(**config), [4], [2])
    assert type(model.pair_loss).__name__ == 'SimSiamPairLoss'


@pytest.mark.parametrize(
    ('pair_loss', 'error', 'message'),
    [
        (
            {'type': 'NoSuchPairLoss'},
            ValueError,
            r"'NoSuchPairLoss' is not known: expected one of \['BYOLPairLoss'",
        ),
        ('SimSiamPairLoss', TypeError, 'must be None, a dict'),
    ],
)
def test_wrong_pair_loss(pair_loss, error, message):
    with pytest.raises(error, match=message):
        HVSAlgorithm(algorithm_config('SimSiam'), [4], [2], pair_loss=pair_loss)


def test_groups_of_a_two_view_method():
    """BYOL's two pipelines: one view of each."""
    groups = ViewGroups([2, 2], [1, 1], 2)
    model = HVSAlgorithm(algorithm_config('BYOL'), groups.candidates, groups.keep)
    indices = model.select_views(random_views()).indices
    assert (indices[:, 0] < 2).all()
    assert (indices[:, 1] >= 2).all()
