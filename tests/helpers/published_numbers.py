"""Inputs and results of the published repositories, see tests/test_published/data/README.md."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hvs_mm.models import DINOHead, IBOTHead

DATA = Path(__file__).parents[1] / 'test_published' / 'data'
#: Tolerances in float64.
EXACT = dict(rtol=1e-10, atol=1e-12)
#: Arrays, without the case.
Numbers = dict[str, Tensor]


@cache
def load_numbers(name: str, case: str = '') -> Numbers:
    """The arrays of a file whose names begin with ``case``, without it; numbers are 0-d."""
    with np.load(DATA / f'{name}.npz', allow_pickle=False) as arrays:
        return {
            key.removeprefix(case): torch.from_numpy(np.array(arrays[key]))
            for key in arrays.files
            if key.startswith(case) and arrays[key].dtype.kind != 'U'
        }


def names_in(name: str, key: str) -> list[str]:
    """An array of texts."""
    with np.load(DATA / f'{name}.npz', allow_pickle=False) as arrays:
        return arrays[key].tolist()


def by_sample(views: Tensor) -> Tensor:
    """Logits (view, sample, ...) as ours, (sample, view, ...)."""
    return views.transpose(0, 1).contiguous()


def _temperature(ours: str, value: Tensor) -> dict[str, float]:
    """The temperature of an epoch, held over all epochs."""
    return {ours: value.item(), f'warmup_{ours}': value.item()}


def dino_head(numbers: Numbers, center: Tensor, **kwargs: Any) -> DINOHead:
    head = DINOHead(
        center.shape[-1],
        student_temp=numbers['student_temp'].item(),
        **_temperature('teacher_temp', numbers['teacher_temp']),
        **kwargs,
    ).double()
    head.center.copy_(center)
    return head


def ibot_head(numbers: Numbers, center: Tensor, center2: Tensor, **kwargs: Any) -> IBOTHead:
    head = IBOTHead(
        center.shape[-1],
        student_temp=numbers['student_temp'].item(),
        cls_weight=numbers['lambda1'].item(),
        patch_weight=numbers['lambda2'].item(),
        **_temperature('teacher_temp', numbers['teacher_temp']),
        **_temperature('patch_teacher_temp', numbers['teacher_temp2']),
        **kwargs,
    ).double()
    head.center.copy_(center)
    head.patch_center.copy_(center2[0])
    return head


def patch_logits(numbers: Numbers, masks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The student's patches (B, T, N, K), which take a gradient; those (M, K) of student and
    teacher that are masked; and the view (M,) of each.
    """
    at_masked = masks.flatten(2)
    student = by_sample(numbers['student_patch']).requires_grad_()
    teacher = by_sample(numbers['teacher_patch'])
    return student, student[at_masked], teacher[at_masked], at_masked.flatten(0, 1).nonzero()[:, 0]
