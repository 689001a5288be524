"""Pair losses for :class:`hvs_mm.HardViews`: each maps embeddings of all views to a tensor.

They are called with the outputs (B, S, D) of the network for S views, and with those (B, T, D) that
the views have to match, if the network or its teacher gives any. They return (B, T, S), float32.
"""

from __future__ import annotations

from torch import Tensor

from ..utils.arguments import is_number
from ..utils.gathering import gather_ranks
from .byol import byol_pair_loss
from .dino import dino_pair_loss
from .ntxent import ntxent_pair_loss
from .simsiam import simsiam_pair_loss


class SimSiam:
    """``-cos(p_s, z_t)``, see :func:`simsiam_pair_loss`."""

    def __call__(self, online: Tensor, target: Tensor | None = None) -> Tensor:
        """Without a ``target`` the ``online`` views have to match each other."""
        return simsiam_pair_loss(online, online if target is None else target)


class BYOL:
    """``2 - 2 cos(p_s, z'_t)``, see :func:`byol_pair_loss`."""

    def __call__(self, online: Tensor, target: Tensor | None = None) -> Tensor:
        """Without a ``target`` the ``online`` views have to match each other."""
        return byol_pair_loss(online, online if target is None else target)


class NTXent:
    """NT-Xent, the loss of SimCLR, see :func:`ntxent_pair_loss`.

    Args:
        temperature: Above 0.
        gather_distributed: Whether the negatives come from all processes, which must have batches
            of equal size.

    Raises:
        ValueError: If the temperature is not positive; when called, if there is a target.
    """

    def __init__(self, temperature: float = 0.1, gather_distributed: bool = True) -> None:
        self.temperature = _check_temperature('temperature', temperature)
        self.gather_distributed = gather_distributed

    def __call__(self, online: Tensor, target: Tensor | None = None) -> Tensor:
        if target is not None:
            raise ValueError(
                'NTXent compares the views of one network with each other and takes no targets: '
                'leave out target=..., and let select return one tensor.'
            )
        gathered, rank = gather_ranks(online) if self.gather_distributed else (online, 0)
        return ntxent_pair_loss(online, online.shape[1], self.temperature, rank, gathered)


class DINO:
    """Cross-entropy of student and teacher distributions, see :func:`dino_pair_loss`.

    Args:
        center: (K,) or (1, K) running mean of the teacher's logits. It is read at every call:
            update it in place.
        student_temperature: Above 0.
        teacher_temperature: Above 0; set the attribute to change it over a run.

    Raises:
        ValueError: If a temperature is not positive; when called, if there is no target.
    """

    def __init__(
        self, center: Tensor, student_temperature: float = 0.1, teacher_temperature: float = 0.04
    ) -> None:
        self.center = center
        self.student_temperature = _check_temperature('student_temperature', student_temperature)
        self.teacher_temperature = _check_temperature('teacher_temperature', teacher_temperature)

    def __call__(self, online: Tensor, target: Tensor | None = None) -> Tensor:
        if target is None:
            raise ValueError(
                'DINO needs logits of a teacher: pass it as hard(..., target=teacher).'
            )
        temperatures = self.student_temperature, self.teacher_temperature
        return dino_pair_loss(online, target, self.center, *temperatures)


def _check_temperature(name: str, value: float) -> float:
    if not is_number(value) or value <= 0:
        raise ValueError(f'{name}={value!r} must be a number above 0.')
    return float(value)
