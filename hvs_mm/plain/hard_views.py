"""Hard view selection for a training loop of plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..selection.gather import gather_views
from ..selection.groups import ViewGroups
from ..selection.pair_losses.forward import forward_views
from ..selection.record import Selection
from ..selection.selectors import Selector, build_selector
from ..utils.compile_guards import compile_guards
from ..utils.precision import full_precision
from ..utils.state_guard import preserve_state
from .checks import (
    call_pair_loss,
    check_candidates,
    check_output,
    check_pair_loss,
    check_record,
    check_settings,
)
from .lightly_criteria import lightly_pair_loss
from .per_pair import PerPair


class HardViews:
    """Keeps the hardest views of each image (HVS, `arXiv 2310.03940
    <https://arxiv.org/abs/2310.03940>`_).

    Each call forwards all candidate views without gradient, forms the loss of every admissible
    combination for each sample, and keeps the combination that the selector chooses. The weights,
    buffers and modes of the network and the random states stay as they are, but for what the
    selector itself draws.

    Args:
        pair_loss: One of ``hvs_mm.losses``: ``NTXent``, ``SimSiam``, ``BYOL``, ``DINO``; a function
            from embeddings (B, S, D) to losses (B, T, S); or a criterion, a module that compares
            two batches of embeddings, such as those of Lightly. ``NTXentLoss``,
            ``NegativeCosineSimilarity``, ``DINOLoss`` and ``VICRegLoss`` have a closed form, others
            are evaluated on each pair, see :class:`PerPair`.
        candidates: Views drawn per group; those of full size first.
        keep: Views kept per group, at most as many as drawn.
        selector: As for :class:`hvs_mm.HVSAlgorithm`: ``'hardest'``, ``'random'``, a dict, or a
            selector. Those that read records of the views, such as ``'lowest_iou'``, forward
            nothing.
        select: Maps what the network returns for images (N, 3, H, W) to its embeddings (N, D), or
            to a pair: those of online views, and what they have to match. By default the network
            returns embeddings.

    Raises:
        TypeError: If ``pair_loss`` or ``select`` cannot be called, or another argument has a wrong
            type.
        ValueError: If an argument has a wrong value.

    Examples:
        >>> hard = HardViews(hvs_mm.losses.NTXent(0.1), candidates=[4], keep=[2])
        >>> kept, record = hard(model, views)  # 2 of 4 tensors (B, 3, H, W)
        >>> loss = criterion(*[model(view) for view in kept])
    """

    def __init__(
        self,
        pair_loss: Callable[..., Tensor] | nn.Module,
        candidates: Sequence[int] = (4,),
        keep: Sequence[int] = (2,),
        selector: str | dict[str, Any] | Selector = 'hardest',
        select: Callable[[Any], Tensor | tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        check_settings(pair_loss, select)
        self._pair_loss = pair_loss
        if isinstance(pair_loss, nn.Module):
            self._pair_loss = lightly_pair_loss(pair_loss) or PerPair(pair_loss)
        self.groups = ViewGroups(candidates, keep)
        self.selector = build_selector(selector)
        self._select = select

    @compile_guards
    @torch.no_grad()
    def __call__(
        self,
        model: nn.Module,
        views: Sequence[Tensor],
        *,
        target: nn.Module | None = None,
        boxes: Tensor | None = None,
        colors: Tensor | None = None,
        **arguments: Any,
    ) -> tuple[list[Tensor], Selection]:
        """Choose the views to train on.

        Args:
            model: The network, in the mode in which it trains. One wrapped for several processes
                selects in each of them for its own samples.
            views: S tensors (B, 3, H, W), group after group. Groups with views of the first one's
                size are the targets.
            target: The network whose outputs the views have to match, such as a teacher or a
                momentum encoder; it forwards the views of the target groups.
            boxes: (B, S, 4) crop boxes, for selectors that read them.
            colors: (B, S, 7) color changes, likewise; the columns are those of
                :data:`hvs_mm.selection.COLOR_CHANGES`.
            **arguments: Passed to the pair loss, such as the ``epoch`` of Lightly's ``DINOLoss``.

        Returns:
            The kept views, tensors (B, 3, H, W), and the record of the selection.

        Raises:
            TypeError: If the model is no module, the views are no list of tensors, or the pair loss
            takes other arguments.
            ValueError: If the views do not fit ``candidates``, the outputs of the model or the
                pair loss have a wrong shape, or the selector lacks a record of the views.
        """
        groups = check_candidates(views, self.groups)
        values = self.selector.values
        if values is None:
            pair_loss = self._score_pairs(model, target, views, groups, arguments)
        else:
            record = {'boxes': boxes, 'colors': colors}[values.record]
            shape = len(views[0]), groups.num_views
            record = check_record(values.record, record, shape, self.selector)
            pair_loss = values.of_pairs(record.to(views[0].device), groups.num_targets)
        selection = full_precision(self.selector)(pair_loss, groups)
        return gather_views(views, selection.indices, groups), selection

    def _score_pairs(
        self,
        model: nn.Module,
        target: nn.Module | None,
        views: Sequence[Tensor],
        groups: ViewGroups,
        arguments: dict[str, Any],
    ) -> Tensor:
        """Forward the candidates and form the pair losses (B, T, S)."""
        networks = [_unwrapped('model', model)]
        if target is not None:
            networks.append(_unwrapped('target', target))
        with ExitStack() as stack:
            for network in networks:
                stack.enter_context(preserve_state(network))
            outputs = self._forward(networks[0], views)
            if target is not None:
                outputs = outputs[:1] + self._forward(networks[1], views[: groups.num_targets])[:1]
            elif len(outputs) == 2:
                outputs = outputs[0], outputs[1][:, : groups.num_targets]
            # Autocast would compute the products of a user's function in half precision.
            exact = [
                output.to(torch.promote_types(output.dtype, torch.float32)) for output in outputs
            ]
            pair_loss = call_pair_loss(self._pair_loss, exact, arguments)
            pair_loss = check_pair_loss(pair_loss, len(views[0]), groups)
        # Autocast remembers the weights it has cast. Those it cast here have no gradient history,
        # so the training step must not find them (torch 2.10: gradients would be None).
        torch.clear_autocast_cache()
        return pair_loss

    def _forward(self, network: nn.Module, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs of a network for n views: (B, n, D), or two such tensors."""
        widths: list[int] = []
        # A transformer has one, which cuts the patches.
        is_convolutional = sum(isinstance(one, nn.Conv2d) for one in network.modules()) > 1
        if views[0].device.type == 'cpu' and is_convolutional:
            # The same numbers but for rounding, in 0.5 to 0.7 of the time (torch 2.10, AMD EPYC).
            views = [view.contiguous(memory_format=torch.channels_last) for view in views]

        def forward(images: Tensor) -> Tensor:
            output = network(images)
            parts = check_output(output, self._select, len(images))
            widths[:] = [part.shape[1] for part in parts]
            return torch.cat(parts, 1)

        return forward_views(forward, views).split(widths, dim=-1)


def _unwrapped(name: str, network: nn.Module) -> nn.Module:
    """The network inside ``DistributedDataParallel``, which would synchronize its buffers."""
    if not isinstance(network, nn.Module):
        raise TypeError(f'{name} is a {type(network).__name__}, it must be a torch.nn.Module.')
    # A compiled wrapper has the original one inside.
    inner = getattr(network, '_orig_mod', network)
    return inner.module if isinstance(inner, DistributedDataParallel) else network
