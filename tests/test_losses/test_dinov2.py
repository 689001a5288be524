"""The losses of DINOv2 against Lightly's, against loops, and on several processes."""

from __future__ import annotations

import re
from itertools import product

import pytest
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss

from hvs_mm.losses import IBOTOutputs, dinov2_pair_loss, koleo_loss, sinkhorn
from hvs_mm.models import DINOv2Head
from tests.helpers.brute_force import sinkhorn_by_hand
from tests.helpers.ranks import run_ranks

B, T, S, K, C = 3, 2, 5, 64, 16
TAU_S, TAU_T, TAU_PATCH = 0.1, 0.05, 0.06
EXACT = {'rtol': 1e-10, 'atol': 1e-10}


def some_masks():
    """(B * T, 4, 4) masks of different sizes; the second view has none."""
    masks = torch.rand(B * T, 4, 4) < torch.linspace(0.1, 0.9, B * T)[:, None, None]
    masks[0, 0, 0] = True
    masks[1] = False
    return masks


def some_outputs(masks):
    rows = masks.flatten(1).nonzero(as_tuple=True)[0]
    return IBOTOutputs(
        student=torch.randn(B, S, K, requires_grad=True),
        teacher=torch.randn(B, T, K),
        student_patches=torch.randn(len(rows), K, requires_grad=True),
        teacher_patches=torch.randn(len(rows), K),
        rows=rows,
        features=torch.randn(B, T, C, requires_grad=True),
    )


def head(centering, **kwargs):
    return DINOv2Head(
        K,
        centering,
        num_crops=S,
        student_temp=TAU_S,
        teacher_temp=TAU_T,
        warmup_teacher_temp=TAU_T,
        patch_teacher_temp=TAU_PATCH,
        warmup_patch_teacher_temp=TAU_PATCH,
        **kwargs,
    )


# --- Sinkhorn-Knopp --------------------------------------------------------------------------


@pytest.mark.parametrize('num_iterations', [1, 3])
def test_sinkhorn_formula(num_iterations):
    logits = torch.randn(7, K)
    assignments = sinkhorn(logits, TAU_T, num_iterations)
    expected = sinkhorn_by_hand(logits, TAU_T, num_iterations)
    torch.testing.assert_close(assignments, expected, **EXACT)
    assert not torch.allclose(assignments, (logits / TAU_T).softmax(-1), atol=0.1)


def test_converged_sinkhorn_uses_all_prototypes_alike():
    assignments = sinkhorn(torch.randn(48, 6) + torch.arange(6), 0.5, 100)
    torch.testing.assert_close(assignments.sum(1), torch.ones(48))
    torch.testing.assert_close(assignments.sum(0), torch.full((6,), 8.0))


def test_only_counted_samples_have_a_share():
    logits, counted = torch.randn(9, K), torch.tensor([1, 0, 1, 1, 0, 1, 1, 1, 0]) > 0
    # What fills up a list on a GPU may be anything.
    logits[1] = 30
    assignments = sinkhorn(logits, TAU_T, counted=counted)
    torch.testing.assert_close(assignments[counted], sinkhorn(logits[counted], TAU_T), **EXACT)
    assert assignments.isfinite().all()


def test_sinkhorn_of_no_masked_patch():
    assert sinkhorn(torch.zeros(0, K), TAU_T, counted=torch.zeros(0) > 0).shape == (0, K)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_large_logits_neither_overflow_nor_vanish(dtype):
    logits = 1e3 * torch.randn(8, K).to(dtype)
    # One sample far below the others: its row must not underflow.
    logits[0] -= 1e4
    with torch.autocast('cpu', torch.bfloat16):
        assignments = sinkhorn(logits, TAU_T)
    assert assignments.dtype == torch.float32
    torch.testing.assert_close(assignments.sum(1), torch.ones(8, dtype=torch.float32))


# --- KoLeo -----------------------------------------------------------------------------------


def test_koleo_and_its_gradient_against_lightly_and_loops():
    features = torch.randn(9, C, requires_grad=True)
    loss = koleo_loss(features)
    unit = features.detach() / features.detach().norm(dim=1, keepdim=True)
    for b in range(9):
        nearest = min((unit[b] - unit[c]).norm().item() for c in range(9) if c != b)
        assert loss[b].item() == pytest.approx(-torch.tensor(nearest).log().item(), abs=1e-6)
    expected = KoLeoLoss()(features)
    torch.testing.assert_close(loss.mean(), expected, **EXACT)
    gradients = [torch.autograd.grad(one, features)[0] for one in (loss.mean(), expected)]
    torch.testing.assert_close(*gradients, **EXACT)
    assert gradients[0].abs().max() > 1e-3


def test_koleo_is_computed_in_float32():
    features = torch.randn(6, C).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = koleo_loss(features)
    torch.testing.assert_close(loss.double(), koleo_loss(features.double()), rtol=1e-4, atol=1e-4)


def test_koleo_of_a_single_sample():
    with pytest.raises(ValueError, match=r'there is 1 in this process: .*koleo_weight=0'):
        koleo_loss(torch.randn(1, C))
    outputs = some_outputs(some_masks())
    outputs.features = outputs.features[:1]
    head('sinkhorn', koleo_weight=0).loss(outputs)
    with pytest.raises(ValueError, match='KoLeo compares each image'):
        head('sinkhorn').loss(outputs)


# --- All terms -------------------------------------------------------------------------------


def test_softmax_centering_against_lightly():
    """Loss, gradients and both centers over three steps."""
    ours = head('softmax', cls_weight=0.7, patch_weight=1.3, koleo_weight=0.2)
    cls = DINOLoss(K, teacher_temp=TAU_T, warmup_teacher_temp=TAU_T, student_temp=TAU_S)
    patch, koleo = IBOTPatchLoss(K, teacher_temp=TAU_PATCH, student_temp=TAU_S), KoLeoLoss()
    for _ in range(3):
        masks = some_masks()
        outputs = some_outputs(masks)
        losses = ours.loss(outputs)
        expected = 0.7 * cls(list(outputs.teacher.unbind(1)), list(outputs.student.unbind(1)))
        expected += 1.3 * patch(outputs.teacher_patches, outputs.student_patches, masks)
        spread = sum(koleo(outputs.features[:, t]) for t in range(T))
        expected += 0.2 * spread
        torch.testing.assert_close(losses['loss'], expected, **EXACT)
        torch.testing.assert_close(losses['koleo_cls_term'], spread.detach() / T, **EXACT)
        inputs = (outputs.student, outputs.student_patches, outputs.features)
        for pair in zip(*(torch.autograd.grad(one, inputs) for one in (losses['loss'], expected))):
            torch.testing.assert_close(*pair, **EXACT)
            assert pair[0].abs().max() > 1e-3
        torch.testing.assert_close(ours.center, cls.center[0], **EXACT)
        torch.testing.assert_close(ours.patch_center, patch.center.value, **EXACT)


def test_sinkhorn_pair_loss_by_hand():
    masks = some_masks()
    outputs = some_outputs(masks)
    pair_loss = dinov2_pair_loss(outputs, TAU_S, TAU_T, TAU_PATCH)
    target = sinkhorn_by_hand(outputs.teacher.reshape(B * T, K), TAU_T).reshape(B, T, K)
    patches = sinkhorn_by_hand(outputs.teacher_patches, TAU_PATCH)
    for b, t, s in product(range(B), range(T), range(S)):
        if t != s:
            expected = -(target[b, t] * (outputs.student[b, s] / TAU_S).log_softmax(-1)).sum()
        else:
            mine = outputs.rows == b * T + t
            logits = (outputs.student_patches[mine] / TAU_S).log_softmax(-1)
            losses = -(patches[mine] * logits).sum(-1)
            expected = losses.mean() if len(losses) else torch.tensor(0.0)
        torch.testing.assert_close(pair_loss[b, t, s], expected, **EXACT)
    assert (pair_loss.diagonal(dim1=1, dim2=2) == 0).sum() == 1
    # No center moves with these targets.
    ours = head('sinkhorn')
    torch.testing.assert_close(ours.pair_loss(outputs), pair_loss, **EXACT)
    ours.loss(outputs)
    assert not ours.center.any()
    assert not ours.patch_center.any()


def test_no_part_is_added_to_the_loss_twice():
    """MMEngine adds up every entry whose name contains 'loss'."""
    losses = head('sinkhorn').loss(some_outputs(some_masks()))
    assert [name for name in losses if 'loss' in name] == ['loss']
    assert not losses['koleo_cls_term'].requires_grad


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'centering': 'swav'}, "centering='swav' must be one of ['sinkhorn', 'softmax']"),
        ({'koleo_weight': -1}, 'koleo_weight=-1 must be finite and not negative'),
    ],
)
def test_wrong_settings(setting, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        DINOv2Head(K, **setting)


# --- Several processes -----------------------------------------------------------------------


def _joint_batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, K, generator=generator, dtype=torch.float64)
    return logits, torch.rand(9, generator=generator, dtype=torch.float64) < 0.7


def _assign_on_a_rank(rank, folder):
    logits, counted = _joint_batch()
    # Another number of samples on every rank.
    mine = slice(0, 3) if rank == 0 else slice(3, 9)
    found = sinkhorn(logits[mine], TAU_T), sinkhorn(logits[mine], TAU_T, counted=counted[mine])
    try:
        sinkhorn(logits[: 1 - rank], TAU_T)
    except ValueError as error:
        found += (str(error),)
    torch.save(found, folder / f'rank{rank}.pt')


def test_sinkhorn_is_that_of_the_joint_batch(tmp_path):
    run_ranks(_assign_on_a_rank, 2, tmp_path, tmp_path)
    logits, counted = _joint_batch()
    (*first, error), (*second, other) = (torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1))
    joint = sinkhorn(logits, TAU_T), sinkhorn(logits, TAU_T, counted=counted)
    for expected, *parts in zip(joint, first, second):
        torch.testing.assert_close(torch.cat(parts), expected, **EXACT)
    # Every process says so, none waits for the others.
    assert error == other
    assert 'got 1 sample(s) in 2 process(es), expected at least one in each' in error
