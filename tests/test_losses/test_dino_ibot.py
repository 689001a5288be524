"""The losses of DINO and iBOT against Lightly's, against loops, and on several processes."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss

from hvs_mm.losses import (
    IBOTOutputs,
    dino_pair_loss,
    masked_patch_loss,
    mean_of_cross_terms,
    with_diagonal,
)
from hvs_mm.models import DINOHead, IBOTHead
from hvs_mm.selection import ScoreWeights, ViewGroups
from hvs_mm.selection.selectors import combination_scores
from tests.helpers.ranks import run_ranks

B, T, S, K = 3, 2, 5, 64
TAU_S, TAU_T, TAU_PATCH = 0.1, 0.05, 0.06
EXACT = {'rtol': 1e-10, 'atol': 1e-10}


def dino_head(**kwargs):
    return DINOHead(
        K, S, student_temp=TAU_S, teacher_temp=TAU_T, warmup_teacher_temp=TAU_T, **kwargs
    )


def ibot_head(**kwargs):
    return IBOTHead(
        K,
        num_crops=S,
        student_temp=TAU_S,
        teacher_temp=TAU_T,
        warmup_teacher_temp=TAU_T,
        patch_teacher_temp=TAU_PATCH,
        warmup_patch_teacher_temp=TAU_PATCH,
        **kwargs,
    )


def lightly_dino():
    return DINOLoss(
        K, teacher_temp=TAU_T, warmup_teacher_temp=TAU_T, student_temp=TAU_S, center_momentum=0.9
    )


def some_masks(rng=None):
    """(B * T, 4, 4) masks of different sizes; the second view has none, the third has all."""
    masks = torch.rand(B * T, 4, 4, generator=rng) < torch.linspace(0.1, 0.9, B * T)[:, None, None]
    masks[0, 0, 0] = True
    masks[1] = False
    masks[2] = True
    return masks


def ibot_outputs(masks, scale=1.0):
    rows = masks.flatten(1).nonzero(as_tuple=True)[0]
    return IBOTOutputs(
        student=(scale * torch.randn(B, S, K)).requires_grad_(),
        teacher=scale * torch.randn(B, T, K),
        student_patches=(scale * torch.randn(len(rows), K)).requires_grad_(),
        teacher_patches=scale * torch.randn(len(rows), K),
        rows=rows,
    )


# --- DINO ------------------------------------------------------------------------------------


def test_dino_pair_loss_formula():
    student, teacher, center = torch.randn(B, S, K), torch.randn(B, T, K), torch.randn(1, K)
    pair_loss = dino_pair_loss(student, teacher, center, TAU_S, TAU_T)
    assert pair_loss.shape == (B, T, S)
    for b, t, s in product(range(B), range(T), range(S)):
        target = ((teacher[b, t] - center[0]) / TAU_T).softmax(-1)
        expected = -(target * (student[b, s] / TAU_S).log_softmax(-1)).sum()
        torch.testing.assert_close(pair_loss[b, t, s], expected, **EXACT)


@pytest.mark.parametrize('num_views', [2, S])
def test_dino_loss_and_gradients_against_lightly(num_views):
    """Two global crops with and without local ones; three steps, so that the center matters."""
    head, reference = dino_head(), lightly_dino()
    for step in range(3):
        student = torch.randn(B, num_views, K, requires_grad=True)
        teacher = torch.randn(B, T, K) + torch.randn(K)
        loss = head.loss(student, teacher)
        (gradient,) = torch.autograd.grad(loss, student)
        expected = reference(list(teacher.unbind(1)), list(student.unbind(1)))
        (expected_gradient,) = torch.autograd.grad(expected, student)
        torch.testing.assert_close(loss, expected, **EXACT)
        torch.testing.assert_close(gradient, expected_gradient, **EXACT)
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(head.center, reference.center[0], **EXACT)
        assert head.center.abs().max() > 0.01, step


def test_dino_centers_by_hand():
    head = dino_head(center_momentum=0.75)
    center = torch.zeros(K)
    for _ in range(3):
        teacher = torch.randn(B, T, K)
        head.update_center(teacher)
        mean = sum(teacher[b, t] for b in range(B) for t in range(T)) / (B * T)
        center = 0.75 * center + 0.25 * mean
    torch.testing.assert_close(head.center[0], center, **EXACT)


def test_dino_center_of_this_step_enters_the_next_one():
    head = dino_head()
    head.center.normal_()
    student, teacher = torch.randn(B, S, K), torch.randn(B, T, K)
    expected = mean_of_cross_terms(head.pair_loss(student, teacher)).mean()
    first = head.loss(student, teacher)
    torch.testing.assert_close(first, expected, **EXACT)
    assert (head.loss(student, teacher) - first).abs() > 1e-4


def test_dino_training_loss_is_the_mean_off_the_diagonal():
    head = dino_head()
    head.center.normal_()
    student, teacher = torch.randn(B, S, K), torch.randn(B, T, K)
    pair_loss = head.pair_loss(student, teacher)
    terms = [pair_loss[b, t, s] for b, t, s in product(range(B), range(T), range(S)) if t != s]
    assert len(terms) == B * T * (S - 1)
    torch.testing.assert_close(head.loss(student, teacher), sum(terms) / len(terms), **EXACT)


def test_no_gradient_reaches_the_teacher():
    head = dino_head()
    teacher = torch.randn(B, T, K, requires_grad=True)
    head.loss(torch.randn(B, S, K, requires_grad=True), teacher).backward()
    assert teacher.grad is None
    assert not head.center.requires_grad


def test_a_perfect_student_has_the_entropy_of_the_teacher():
    teacher, center = torch.randn(B, T, K), torch.randn(1, K)
    student = (teacher - center) / TAU_T * TAU_S
    loss = dino_pair_loss(student, teacher, center, TAU_S, TAU_T)
    target = ((teacher - center) / TAU_T).softmax(-1)
    entropy = torch.special.entr(target).sum(-1)
    torch.testing.assert_close(loss.diagonal(dim1=1, dim2=2), entropy, **EXACT)


# --- iBOT ------------------------------------------------------------------------------------


def test_masked_patch_loss_formula():
    masks = some_masks()
    outputs, center = ibot_outputs(masks), torch.randn(1, K)
    loss = masked_patch_loss(
        outputs.student_patches,
        outputs.teacher_patches,
        center,
        TAU_S,
        TAU_PATCH,
        outputs.rows,
        B * T,
    )
    start = 0
    for row, count in enumerate(masks.flatten(1).sum(1).tolist()):
        terms = []
        for patch in range(start, start + count):
            target = ((outputs.teacher_patches[patch] - center[0]) / TAU_PATCH).softmax(-1)
            logits = (outputs.student_patches[patch] / TAU_S).log_softmax(-1)
            terms.append(-(target * logits).sum())
        expected = sum(terms) / len(terms) if terms else torch.tensor(0.0)
        torch.testing.assert_close(loss[row], expected, **EXACT)
        start += count
    assert loss[1] == 0
    assert start == len(outputs.rows)


def test_masked_patch_loss_does_not_depend_on_the_order_of_patches():
    outputs, center = ibot_outputs(some_masks()), torch.randn(1, K)
    order = torch.randperm(len(outputs.rows))
    first, second = (
        masked_patch_loss(student, teacher, center, TAU_S, TAU_PATCH, rows, B * T)
        for student, teacher, rows in (
            (outputs.student_patches, outputs.teacher_patches, outputs.rows),
            (outputs.student_patches[order], outputs.teacher_patches[order], outputs.rows[order]),
        )
    )
    torch.testing.assert_close(first, second, **EXACT)


def test_ibot_loss_and_gradients_against_lightly():
    """Both terms and both centers over three steps."""
    head, cls_reference = ibot_head(cls_weight=0.7, patch_weight=1.3), lightly_dino()
    reference = IBOTPatchLoss(K, teacher_temp=TAU_PATCH, student_temp=TAU_S, center_momentum=0.9)
    for _ in range(3):
        masks = some_masks()
        outputs = ibot_outputs(masks)
        losses = head.loss(outputs)
        inputs = (outputs.student, outputs.student_patches)
        gradients = torch.autograd.grad(losses['loss'], inputs)
        cls = cls_reference(list(outputs.teacher.unbind(1)), list(outputs.student.unbind(1)))
        patch = reference(outputs.teacher_patches, outputs.student_patches, masks)
        expected = torch.autograd.grad(0.7 * cls + 1.3 * patch, inputs)
        torch.testing.assert_close(losses['cls_term'], cls.detach(), **EXACT)
        torch.testing.assert_close(losses['patch_term'], patch.detach(), **EXACT)
        torch.testing.assert_close(losses['loss'], 0.7 * cls + 1.3 * patch, **EXACT)
        for gradient, other in zip(gradients, expected):
            torch.testing.assert_close(gradient, other, **EXACT)
            assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(head.center, cls_reference.center[0], **EXACT)
        torch.testing.assert_close(head.patch_center, reference.center.value, **EXACT)


def test_ibot_parts_do_not_enter_the_loss_of_mmengine():
    """Its ``parse_losses`` adds up every entry whose name contains 'loss'."""
    losses = ibot_head().loss(ibot_outputs(some_masks()))
    assert [name for name in losses if 'loss' in name] == ['loss']
    assert not losses['cls_term'].requires_grad
    assert not losses['patch_term'].requires_grad


def test_ibot_training_loss_is_the_score_of_the_same_tensor():
    """The mean over samples of what the selector calls the score of all the views."""
    head = ibot_head(cls_weight=0.7, patch_weight=1.3)
    head.center.normal_()
    head.patch_center.normal_()
    outputs = ibot_outputs(some_masks())
    pair_loss = head.pair_loss(outputs).detach()
    groups = ViewGroups([1, 1, 3], [1, 1, 3], 2)
    scores = combination_scores(pair_loss, [tuple(range(S))], groups, ScoreWeights(0.7, 1.3))
    torch.testing.assert_close(head.loss(outputs)['loss'].detach(), scores.mean(), **EXACT)
    # By the formula of method.md.
    cross = sum(pair_loss[:, t, s] for t in range(T) for s in range(S) if s != t)
    diagonal = pair_loss[:, 0, 0] + pair_loss[:, 1, 1]
    torch.testing.assert_close(
        scores[:, 0], 0.7 * cross / (2 + 2 * 3) + 1.3 * diagonal / 2, **EXACT
    )


def test_ibot_pair_loss_layout():
    """[CLS] off the diagonal, patches on it: view ``t`` of sample ``b`` is row ``b T + t``."""
    head = ibot_head()
    head.center.normal_()
    head.patch_center.normal_()
    masks = some_masks()
    outputs = ibot_outputs(masks)
    pair_loss = head.pair_loss(outputs)
    cls = dino_pair_loss(outputs.student, outputs.teacher, head.center, TAU_S, TAU_T)
    counts = masks.flatten(1).sum(1)
    for b, t, s in product(range(B), range(T), range(S)):
        if t != s:
            expected = cls[b, t, s]
        else:
            mine = outputs.rows == b * T + t
            target = ((outputs.teacher_patches - head.patch_center) / TAU_PATCH).softmax(-1)[mine]
            logits = (outputs.student_patches / TAU_S).log_softmax(-1)[mine]
            expected = -(target * logits).sum() / counts[b * T + t].clamp(min=1)
        torch.testing.assert_close(pair_loss[b, t, s], expected, **EXACT)


def test_ibot_without_any_mask():
    """Before the epoch of the first masks: no patch term, no gradient of it, its center rests."""
    head = ibot_head()
    head.patch_center.normal_()
    before = head.patch_center.clone()
    outputs = ibot_outputs(torch.zeros(B * T, 4, 4, dtype=torch.bool))
    losses = head.loss(outputs)
    assert losses['patch_term'] == 0
    losses['loss'].backward()
    assert outputs.student_patches.grad.shape == (0, K)
    assert outputs.student.grad.isfinite().all()
    assert head.patch_center.equal(before)
    assert not head.center.equal(torch.zeros_like(head.center))


def test_with_diagonal():
    pair_loss, diagonal = torch.randn(B, T, S), torch.randn(B, T)
    result = with_diagonal(pair_loss, diagonal)
    for b, t, s in product(range(B), range(T), range(S)):
        assert result[b, t, s] == (diagonal[b, t] if s == t else pair_loss[b, t, s])


def test_mean_of_cross_terms_ignores_a_nan_on_the_diagonal():
    pair_loss = torch.randn(B, T, S)
    expected = mean_of_cross_terms(pair_loss)
    pair_loss[:, 0, 0] = math.nan
    torch.testing.assert_close(mean_of_cross_terms(pair_loss), expected, **EXACT)


# --- Precision -------------------------------------------------------------------------------


def test_half_precision_is_computed_in_float32():
    student, teacher = torch.randn(B, S, K).bfloat16(), torch.randn(B, T, K).bfloat16()
    center = torch.randn(1, K, dtype=torch.float32)
    result = dino_pair_loss(student, teacher, center, TAU_S, TAU_T)
    assert result.dtype == torch.float32
    expected = dino_pair_loss(student.double(), teacher.double(), center.double(), TAU_S, TAU_T)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_autocast_does_not_round_the_pair_loss(dtype):
    """Under autocast a matrix product of float32 tensors is one of bfloat16 tensors."""
    student, teacher = torch.randn(B, S, K).to(dtype), torch.randn(B, T, K).to(dtype)
    center = torch.randn(1, K, dtype=torch.float32)
    expected = dino_pair_loss(student, teacher, center, TAU_S, TAU_T)
    with torch.autocast('cpu', torch.bfloat16):
        result = dino_pair_loss(student, teacher, center, TAU_S, TAU_T)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_autocast_does_not_round_the_patch_loss():
    rows = torch.tensor([0, 0, 1])
    student, teacher = torch.randn(3, K).float(), torch.randn(3, K).float()
    arguments = (student, teacher, torch.zeros(1, K).float(), TAU_S, TAU_PATCH, rows, 2)
    with torch.autocast('cpu', torch.bfloat16):
        result = masked_patch_loss(*arguments)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, masked_patch_loss(*arguments), rtol=1e-5, atol=1e-5)


def test_large_logits_do_not_overflow():
    student, teacher = 1e4 * torch.randn(B, S, K).float(), 1e4 * torch.randn(B, T, K).float()
    assert dino_pair_loss(student, teacher, torch.zeros(1, K), TAU_S, TAU_T).isfinite().all()


# --- Several processes -----------------------------------------------------------------------


def _unequal_masks(rank, step):
    """Another number of masked patches on every rank; none on the second rank at first."""
    rng = torch.Generator().manual_seed(10 * rank + step)
    masks = torch.rand(B * T, 4, 4, generator=rng) < (0.2, 0.7)[rank]
    if rank == 1 and step == 0:
        masks[:] = False
    return masks


def _rank_outputs(rank, step):
    torch.manual_seed(100 * rank + step)
    outputs = ibot_outputs(_unequal_masks(rank, step))
    outputs.teacher_patches += rank
    return outputs


def _centers_of_a_rank(rank, folder):
    torch.set_default_dtype(torch.float64)
    dino, ibot, reference = dino_head(), ibot_head(), lightly_dino()
    for step in range(3):
        outputs = _rank_outputs(rank, step)
        dino.loss(outputs.student, outputs.teacher)
        ibot.loss(outputs)
        reference(list(outputs.teacher.unbind(1)), list(outputs.student.unbind(1)))
    centers = (dino.center, ibot.center, ibot.patch_center, reference.center[0])
    torch.save(centers, folder / f'rank{rank}.pt')


def test_centers_are_means_over_all_ranks(tmp_path):
    """Also of the patches, of which every rank has another number."""
    run_ranks(_centers_of_a_rank, 2, tmp_path, tmp_path)
    center, patch_center = torch.zeros(1, K), torch.zeros(1, K)
    for step in range(3):
        both = [_rank_outputs(rank, step) for rank in range(2)]
        assert len(both[0].rows) != len(both[1].rows)
        teacher = torch.cat([outputs.teacher for outputs in both]).flatten(0, 1)
        center = 0.9 * center + 0.1 * teacher.mean(0)
        patches = torch.cat([outputs.teacher_patches for outputs in both])
        patch_center = 0.9 * patch_center + 0.1 * patches.mean(0)
    for rank in range(2):
        dino, ibot, ibot_patch, reference = torch.load(tmp_path / f'rank{rank}.pt')
        torch.testing.assert_close(dino, center, **EXACT)
        torch.testing.assert_close(ibot, center, **EXACT)
        torch.testing.assert_close(reference, center, **EXACT)
        torch.testing.assert_close(ibot_patch, patch_center, **EXACT)
