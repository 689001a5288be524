"""Criteria of Lightly and of others against evaluating them on each pair."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from lightly.loss import (
    BarlowTwinsLoss,
    DINOLoss,
    NegativeCosineSimilarity,
    NTXentLoss,
    VICRegLoss,
)
from torch import nn

from hvs_mm import HardViews
from hvs_mm.plain import PerPair
from hvs_mm.plain.lightly_criteria import lightly_pair_loss

B, S, T, D = 5, 4, 2, 8
EXACT = {'rtol': 1e-5, 'atol': 1e-5}


class Cached(nn.Module):
    """A network whose outputs are known: images hold the positions of their embeddings."""

    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def forward(self, images):
        return self.embedding[images[:, 0, 0, 0].long(), images[:, 0, 0, 1].long()]


def numbered_views():
    """S views (B, 3, 1, 2) that hold the numbers of sample and view."""
    numbers = torch.arange(B * S).reshape(B, S)
    views = torch.stack([numbers // S, numbers % S], -1).float()
    return [view[:, None, None].expand(-1, 3, -1, -1) for view in views.unbind(1)]


def embeddings(views=S):
    return torch.randn(B, views, D)


def off_diagonal(pair_loss):
    return pair_loss.masked_fill(torch.eye(pair_loss.shape[1], S, dtype=torch.bool), 0)


def by_pair(evaluate, num_targets):
    """(B, T, S) of ``evaluate(t, s)``, which gives (B,), zero on the diagonal."""
    zero = torch.zeros(B)
    rows = [[zero if t == s else evaluate(t, s) for s in range(S)] for t in range(num_targets)]
    return torch.stack([torch.stack(row, -1) for row in rows], 1)


def test_negative_cosine_similarity():
    online, target = embeddings(), embeddings(T)
    criterion = NegativeCosineSimilarity()

    def alone(t, s):
        pairs = zip(online[:, s].split(1), target[:, t].split(1))
        return torch.stack([criterion(*pair) for pair in pairs])

    expected = by_pair(alone, T)
    torch.testing.assert_close(PerPair(criterion)(online, target), expected, **EXACT)
    ours = lightly_pair_loss(criterion)(online, target)
    torch.testing.assert_close(off_diagonal(ours), expected, **EXACT)


@pytest.mark.parametrize('temperature', [0.1, 0.5])
def test_ntxent_loss(temperature):
    """Its rows, not reduced, are the losses of the anchors; their mean is its own value."""
    z, criterion = embeddings(), NTXentLoss(temperature)
    rows = deepcopy(criterion)
    rows.cross_entropy.reduction = 'none'
    # The anchor is view s, its positive view t.
    expected = by_pair(lambda t, s: rows(z[:, s], z[:, t])[:B], S)
    ours = lightly_pair_loss(criterion)(z)
    torch.testing.assert_close(off_diagonal(ours), expected, **EXACT)
    both = (ours[:, 1, 2] + ours[:, 2, 1]).mean() / 2
    torch.testing.assert_close(both, criterion(z[:, 1], z[:, 2]), **EXACT)


def test_ntxent_loss_with_a_memory_bank():
    query, key = embeddings(), embeddings(T)
    criterion = NTXentLoss(0.2, memory_bank_size=(16, D))
    bank = deepcopy(criterion.memory_bank.state_dict()), criterion.memory_bank.bank.clone()
    rows = deepcopy(criterion)
    rows.cross_entropy.reduction = 'none'
    expected = by_pair(lambda t, s: rows(query[:, s], key[:, t]), T)
    ours = lightly_pair_loss(criterion)(query, key)
    torch.testing.assert_close(off_diagonal(ours), expected, **EXACT)
    torch.testing.assert_close(ours[:, 0, 1].mean(), criterion(query[:, 1], key[:, 0]), **EXACT)
    # With a bank a sample's loss depends on no other sample, so the slow way agrees.
    torch.testing.assert_close(PerPair(criterion)(query, key), expected, **EXACT)
    assert torch.equal(criterion.memory_bank.bank, bank[1])


@pytest.mark.parametrize('arguments', [{}, {'epoch': 1}, {'epoch': 9}, {'teacher_temp': 0.06}])
def test_dino_loss(arguments):
    student, teacher = embeddings(), embeddings(T)
    criterion = DINOLoss(D, 0.02, 0.05, warmup_teacher_temp_epochs=3)
    criterion.center.normal_()
    center = criterion.center.clone()

    def alone(t, s):
        # Terms of equal position are left out: another view stands in front of the student's.
        pairs = zip(teacher[:, t].split(1), student[:, s].split(1))
        terms = [deepcopy(criterion)([y], [0 * x, x], **arguments) for y, x in pairs]
        return torch.stack(terms)

    ours = lightly_pair_loss(criterion)(student, teacher, **arguments)
    torch.testing.assert_close(off_diagonal(ours), by_pair(alone, T), **EXACT)
    # The score of all views is the criterion's own loss.
    whole = deepcopy(criterion)([*teacher.unbind(1)], [*student.unbind(1)], **arguments)
    mean = off_diagonal(ours).sum((1, 2)).mean() / (T * (S - 1))
    torch.testing.assert_close(mean, whole, **EXACT)
    assert torch.equal(criterion.center, center)


def test_vicreg_loss():
    z, criterion = embeddings(), VICRegLoss(20.0, 5.0, 3.0, eps=1e-3)
    ours = lightly_pair_loss(criterion)(z)
    torch.testing.assert_close(ours[:, 1, 2].mean(), criterion(z[:, 1], z[:, 2]), **EXACT)
    with pytest.raises(ValueError, match='takes no targets'):
        lightly_pair_loss(criterion)(z, z)


@pytest.mark.parametrize('criterion', [NTXentLoss(0.1), NegativeCosineSimilarity()], ids=repr)
def test_criteria_are_recognized(criterion):
    z = embeddings()
    _, record = HardViews(criterion)(Cached(z), numbered_views())
    assert torch.equal(record.pair_loss, lightly_pair_loss(criterion)(z))


def test_a_subclass_with_a_loss_of_its_own_is_another_criterion():
    class Changed(NegativeCosineSimilarity):
        def forward(self, x0, x1):
            return 3 * super().forward(x0, x1)

    class Named(NegativeCosineSimilarity):
        pass

    assert lightly_pair_loss(Changed()) is None
    assert lightly_pair_loss(Named()) is not None
    z = embeddings()
    expected = 3 * off_diagonal(lightly_pair_loss(NegativeCosineSimilarity())(z))
    torch.testing.assert_close(PerPair(Changed())(z), expected, **EXACT)


class Counting(nn.Module):
    """Has a state that every call changes, and that vmap does not allow."""

    def __init__(self):
        super().__init__()
        self.register_buffer('count', torch.zeros(()))

    def forward(self, x0, x1):
        self.count += (x0 - x1).square().sum()
        return (x0 - x1).square().sum(1).mean() + self.count


@pytest.mark.parametrize(
    'criterion',
    [
        nn.MSELoss(),
        nn.L1Loss(reduction='sum'),
        lambda x, y: (x - y).abs().sum(1),
        lambda x, y: (x - y).abs().sum(1).mean().item() * torch.ones(()),
    ],
    ids=['mean', 'sum', 'per sample', 'vmap cannot'],
)
def test_any_criterion_that_can_be_taken_apart(criterion):
    z = embeddings()

    def alone(t, s):
        pairs = zip(z[:, s].split(1), z[:, t].split(1))
        return torch.stack([criterion(*pair).reshape(()) for pair in pairs])

    torch.testing.assert_close(PerPair(criterion)(z), by_pair(alone, S), **EXACT)


def test_a_criterion_with_a_state_starts_every_pair_from_it():
    criterion, z = Counting(), embeddings()
    expected = by_pair(lambda t, s: 2 * (z[:, s] - z[:, t]).square().sum(1), S)
    pair_loss = PerPair(criterion)
    pair_loss._is_checked = True
    torch.testing.assert_close(pair_loss(z), expected, **EXACT)
    assert criterion.count == 0


@pytest.mark.parametrize(
    'criterion', [BarlowTwinsLoss(), VICRegLoss(), lambda x, y: (x - y).mean(0).norm()]
)
def test_criteria_that_mix_samples(criterion):
    pair_loss = PerPair(criterion)
    with pytest.raises(ValueError, match='mixes samples and cannot be taken apart') as raised:
        pair_loss(embeddings())
    assert '\n' not in str(raised.value)
    # It is checked again, and a batch of one sample tells nothing.
    with pytest.raises(ValueError, match='mixes samples'):
        pair_loss(embeddings())


def test_a_memory_bank_shorter_than_the_batch():
    criterion = NTXentLoss(0.1, memory_bank_size=(3, D))
    message = rf'memory_bank_size=\(3, {D}\)\) has room for 3 keys, but a step brings {B}'
    with pytest.raises(ValueError, match=message):
        HardViews(criterion)(Cached(embeddings()), numbered_views())


def test_other_wrong_criteria():
    with pytest.raises(ValueError, match=r'returns a loss of shape \(5, 8\) for a batch of 5'):
        PerPair(nn.L1Loss(reduction='none'))(embeddings())
    with pytest.raises(TypeError, match='returns a float, expected a tensor'):
        PerPair(lambda x, y: 0.5)(embeddings())
    with pytest.raises(TypeError, match=r"arguments \['epoch'\]: .*unexpected keyword"):
        PerPair(nn.MSELoss())(embeddings(), epoch=1)
    with pytest.raises(ValueError, match='DINOLoss needs outputs of a teacher'):
        HardViews(DINOLoss(D))(Cached(embeddings()), numbered_views())
