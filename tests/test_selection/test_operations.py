"""The pair-loss tensor costs the matrix products of its definition, and no more."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hvs_mm.losses import byol_pair_loss, dino_pair_loss, ntxent_pair_loss, simsiam_pair_loss
from hvs_mm.selection import ViewGroups, build_selector

# samples, target views, online views, dimensions
B, T, S, K = 4, 4, 20, 96


def operations(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_counting_sees_a_product_per_pair():
    """What the bound below must not allow: a product of its own for every sample and pair."""
    x, y = torch.randn(B, S, K), torch.randn(B, T, K)
    # Every target against all samples' views: what a careless einsum does.
    assert operations(lambda: torch.einsum('btk,csk->btcs', y, x)) == 2 * B * B * T * S * K


@pytest.mark.parametrize(
    'work',
    [
        lambda: dino_pair_loss(
            torch.randn(B, S, K), torch.randn(B, T, K), torch.zeros(1, K), 0.1, 0.04
        ),
        lambda: simsiam_pair_loss(torch.randn(B, S, K), torch.randn(B, T, K)),
        lambda: byol_pair_loss(torch.randn(B, S, K), torch.randn(B, T, K)),
    ],
    ids=['dino', 'simsiam', 'byol'],
)
def test_one_product_for_all_pairs(work):
    assert operations(work) == 2 * B * T * S * K


def test_simclr_needs_all_negatives():
    assert operations(lambda: ntxent_pair_loss(torch.randn(B, 4, K), 4, 0.1)) == (
        2 * (B * 4) * (B * 4) * K
    )


class Elements(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the elements that all operators write."""

    def __init__(self):
        super().__init__()
        self.written = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        is_view = any(r.alias_info is not None for r in func._schema.returns)
        if isinstance(out, torch.Tensor) and not is_view:
            self.written += out.numel()
        return out


def test_a_few_passes_over_the_logits():
    """Memory traffic bounds the pair loss on a GPU: no copy of the logits per pair."""
    student, teacher = torch.randn(B, S, 4096), torch.randn(B, T, 4096)
    with Elements() as elements:
        dino_pair_loss(student, teacher, torch.zeros(1, 4096), 0.1, 0.04)
    # Once divided by a temperature, once exponentiated, and the same of the teacher with its
    # center and softmax; torch's own steps are some more.
    assert elements.written < 4 * (student.numel() + teacher.numel())


@pytest.mark.parametrize('selector', ['hardest', 'easiest', 'random'])
def test_picking_needs_no_product(selector):
    groups = ViewGroups((2, 2, 16), (1, 1, 8), 2)
    pair_loss = torch.randn(B, 4, 20)
    with Elements() as elements:
        build_selector(selector)(pair_loss, groups)
    # 4 pairs of targets, 16 locals for each: not the 51,480 combinations.
    assert elements.written < B * 4 * 16 * 40
