"""A pair loss from any criterion that compares two batches of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.state_guard import preserve_state

#: What a criterion raises about a batch of one sample, and vmap about what it does not allow.
_UNFIT = (AssertionError, RuntimeError, ValueError)


class PerPair:
    """Evaluates a criterion on every sample of every pair of views.

    ``L[b, t, s]`` is ``criterion(online, target)`` of sample ``b`` alone: a batch of one. That is
    the sample's part in the loss only if the loss of a batch is the mean or the sum over its
    samples, which is checked on the first batch. A criterion that returns a loss for each sample is
    evaluated on whole batches, and may compare them.

    Samples go through the criterion together, by ``torch.vmap``, where it allows that. Its buffers
    and the random states stay as they are.

    Args:
        criterion: Maps embeddings (n, D) of online and of target views to a loss: one number, or
            (n,).

    Raises:
        TypeError: When called, if the criterion does not take two tensors and give one.
        ValueError: When called, if the loss mixes samples in a way that cannot be taken apart.
    """

    def __init__(self, criterion: Callable[..., Tensor]) -> None:
        self.criterion = criterion
        self._is_checked = False
        self._takes_vmap = True

    def __call__(self, online: Tensor, target: Tensor | None = None, **arguments: Any) -> Tensor:
        """Fill the tensor (B, T, S) for ``online`` (B, S, D) and ``target`` (B, T, D).

        Without a target the online views have to match each other. The diagonal is zero: a view
        does not have to match itself. Further arguments go to the criterion.
        """
        targets = (online if target is None else target).unbind(1)
        views = online.unbind(1)
        whole = self._evaluate_once(views[-1], targets[0], arguments)
        samples = len(online)
        per_sample = whole.ndim == 1 and len(whole) == samples
        if not per_sample and whole.numel() != 1:
            raise ValueError(
                f'{self._name} returns a loss of shape {tuple(whole.shape)} for a batch of '
                f'{samples}: expected one number, or one for each sample.'
            )
        fill = self._evaluate if per_sample else self._evaluate_alone
        cells = [
            torch.zeros(samples, device=online.device) if t == s else fill(view, one, arguments)
            for t, one in enumerate(targets)
            for s, view in enumerate(views)
        ]
        # T * S times (B,) -> (B, T, S)
        pair_loss = torch.stack([cell.float() for cell in cells], 1)
        pair_loss = pair_loss.unflatten(1, (len(targets), len(views)))
        if not per_sample and not self._is_checked and samples > 1:
            self._check(whole.float().reshape(()), pair_loss[:, 0, -1])
        return pair_loss

    @property
    def _name(self) -> str:
        return getattr(self.criterion, '__name__', type(self.criterion).__name__)

    def _evaluate_once(self, online: Tensor, target: Tensor, arguments: dict[str, Any]) -> Tensor:
        try:
            loss = self._evaluate(online, target, arguments)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise TypeError(
                f'{self._name} cannot be called as criterion(online, target), two tensors (n, D), '
                f'with the arguments {sorted(arguments)}: {error}'
            ) from error
        if not isinstance(loss, Tensor):
            raise TypeError(f'{self._name} returns a {type(loss).__name__}, expected a tensor.')
        return loss

    def _evaluate(self, online: Tensor, target: Tensor, arguments: dict[str, Any]) -> Tensor:
        module = self.criterion if isinstance(self.criterion, nn.Module) else None
        with nullcontext() if module is None else preserve_state(module):
            return self.criterion(online, target, **arguments)

    def _evaluate_alone(self, online: Tensor, target: Tensor, arguments: dict[str, Any]) -> Tensor:
        """The losses (B,) of samples, each in a batch of its own."""

        def evaluate(online: Tensor, target: Tensor) -> Tensor:
            return self._evaluate(online[None], target[None], arguments).reshape(())

        if self._takes_vmap:
            try:
                return torch.vmap(evaluate, randomness='different')(online, target)
            except _UNFIT:
                # In-place changes, or branches on values: vmap does not know them.
                self._takes_vmap = False
        try:
            return torch.stack([evaluate(*one) for one in zip(online, target)])
        except _UNFIT as error:
            raise ValueError(self._mixes(f'of a single one it raises {str(error)!r}')) from error

    def _check(self, whole: Tensor, alone: Tensor) -> None:
        if not whole.isfinite():
            return
        close = [torch.allclose(whole, sums, 1e-3, 1e-5) for sums in (alone.mean(), alone.sum())]
        if not any(close):
            found = f'is {whole:.4g}, the mean of the losses of its samples {alone.mean():.4g}'
            raise ValueError(self._mixes(f'of a batch it {found}'))
        self._is_checked = True

    def _mixes(self, found: str) -> str:
        return (
            f'the loss of {self._name} mixes samples and cannot be taken apart ({found}): pass '
            "pair_loss a function from embeddings (B, S, D) to each sample's losses (B, T, S), or "
            'one of hvs_mm.losses.'
        )
