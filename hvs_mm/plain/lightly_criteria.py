"""Pair losses from the criteria of Lightly that have a closed form for all pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, distributed, nn

from ..losses.callables import NTXent
from ..losses.dino import dino_pair_loss
from ..losses.moco import moco_pair_loss
from ..losses.simsiam import simsiam_pair_loss
from ..losses.vicreg import vicreg_pair_loss
from ..utils.gathering import gather_ranks

if TYPE_CHECKING:
    # Only who passes its criteria needs Lightly.
    from lightly.loss import DINOLoss, NTXentLoss, VICRegLoss


def lightly_pair_loss(criterion: nn.Module) -> Callable[..., Tensor] | None:
    """The pair loss of a criterion of Lightly, or ``None`` if none is known.

    Known are ``NTXentLoss``, with and without its memory bank, ``NegativeCosineSimilarity``,
    ``DINOLoss`` and ``VICRegLoss``. Temperatures, bank and center are read at every call, and
    nothing is changed.
    """
    for cls in type(criterion).__mro__:
        # A subclass with a loss of its own is another criterion.
        own = getattr(cls, 'forward', None)
        is_own = cls.__module__.startswith('lightly.') and type(criterion).forward is own
        if is_own and cls.__name__ in _PAIR_LOSSES:
            return partial(_PAIR_LOSSES[cls.__name__], criterion)
    return None


def _negative_cosine(criterion: nn.Module, online: Tensor, target: Tensor | None = None) -> Tensor:
    return simsiam_pair_loss(online, online if target is None else target)


def _ntxent(criterion: NTXentLoss, online: Tensor, target: Tensor | None = None) -> Tensor:
    bank = criterion.memory_bank
    if bank.size[0] == 0:
        return NTXent(criterion.temperature, criterion.gather_distributed)(online, target)
    arrive = len(online)
    if criterion.gather_distributed and distributed.is_initialized():
        arrive *= distributed.get_world_size()
    if len(bank.bank) < arrive:
        raise ValueError(
            f'NTXentLoss(memory_bank_size={tuple(bank.size)}) has room for {len(bank.bank)} keys, '
            f'but a step brings {arrive}: some would never be negatives. Raise memory_bank_size, '
            'or lower the batch size.'
        )
    target = online if target is None else target
    return moco_pair_loss(online, target, bank.bank.T, criterion.temperature)


def _dino(
    criterion: DINOLoss,
    online: Tensor,
    target: Tensor | None = None,
    teacher_temp: float | None = None,
    epoch: int | None = None,
) -> Tensor:
    if target is None:
        raise ValueError(
            'DINOLoss needs outputs of a teacher: pass it as hard(..., target=teacher).'
        )
    if teacher_temp is None:
        warm_up = epoch is not None and epoch < criterion.warmup_teacher_temp_epochs
        schedule = criterion.teacher_temp_schedule
        teacher_temp = float(schedule[epoch]) if warm_up else criterion.teacher_temp
    center = criterion.center.flatten()
    return dino_pair_loss(online, target, center, criterion.student_temp, teacher_temp)


def _vicreg(criterion: VICRegLoss, online: Tensor, target: Tensor | None = None) -> Tensor:
    if target is not None:
        raise ValueError(
            'VICRegLoss compares the views of one network with each other and takes no targets: '
            'leave out target=..., and let select return one tensor.'
        )
    gathered, rank = gather_ranks(online) if criterion.gather_distributed else (online, 0)
    weights = criterion.lambda_param, criterion.mu_param, criterion.nu_param
    return vicreg_pair_loss(online, *weights, rank, gathered, criterion.eps)


_PAIR_LOSSES = {
    'DINOLoss': _dino,
    'VICRegLoss': _vicreg,
    'NTXentLoss': _ntxent,
    'NegativeCosineSimilarity': _negative_cosine,
}
