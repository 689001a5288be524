"""What processes send each other in a training step with hard view selection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..models.hvs_algorithm import HVSAlgorithm
from .random_batch import Batch

#: What torch's collectives do, and which argument holds the tensors that a process hands in.
_OWN = {
    'allreduce_': ('all_reduce', 0),
    'broadcast_': ('broadcast', 0),
    'allgather_': ('all_gather', 1),
    '_allgather_base_': ('all_gather', 1),
    'reduce_scatter_': ('reduce_scatter', 1),
    '_reduce_scatter_base_': ('reduce_scatter', 1),
}


@dataclass(frozen=True)
class Collective:
    """One call in which all processes take part.

    Attributes:
        kind: ``'all_reduce'``, ``'all_gather'`` or another.
        size: Bytes that every process hands in.
    """

    kind: str
    size: int

    def sent(self, processes: int) -> int:
        """Bytes that a process sends, if they pass on parts in a ring, as NCCL does for large ones.

        Args:
            processes: Number of processes.
        """
        if self.kind == 'all_reduce':
            return round(2 * (processes - 1) / processes * self.size)
        if self.kind == 'all_gather':
            return (processes - 1) * self.size
        raise ValueError(f'kind={self.kind!r}: only all_reduce and all_gather have a formula here.')


@dataclass(frozen=True)
class StepTraffic:
    """The collectives of a step, by the part of it.

    Attributes:
        selection: To choose the views.
        loss: Of the method's own loss on the kept ones.
        gradients: Of the backward pass.
        selection_norms: What synchronized BatchNorm would add to the selection on GPUs.
        loss_norms: What it would add to the step on the kept views.
    """

    selection: list[Collective]
    loss: list[Collective]
    gradients: list[Collective]
    selection_norms: list[Collective]
    loss_norms: list[Collective]


class CollectiveCounter(TorchDispatchMode):
    """Notes the collectives that are called meanwhile, DistributedDataParallel's included.

    All of them pass torch's dispatcher (torch 2.5 and 2.10), and are carried out unchanged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Collective] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict | None = None
    ) -> Any:
        if func.namespace == 'c10d':
            name = func._schema.name.split('::')[1]
            if name not in _OWN:
                raise ValueError(f'collective {name!r} is none that is counted: {sorted(_OWN)}.')
            kind, position = _OWN[name]
            self.found.append(Collective(kind, _size(args[position])))
        return func(*args, **(kwargs or {}))


def _size(tensors: Any) -> int:
    if isinstance(tensors, Tensor):
        return tensors.numel() * tensors.element_size()
    return sum(_size(one) for one in tensors)


def count_step(
    model: HVSAlgorithm, wrap: Callable[[nn.Module], nn.Module], batch: Batch
) -> StepTraffic:
    """Count the collectives of a training step; to be called by all processes.

    Args:
        model: In train mode. :class:`hvs_mm.engine.CPUDistributedDataParallel` replaces its SyncBN
            layers, whose calls are counted all the same.
        wrap: Makes it a model of several processes.
        batch: That of this process.
    """
    names = [name for name, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)]
    wrapped = wrap(model)
    # The first step tells DistributedDataParallel the order of the gradients, which it sends round
    # in the second.
    for _ in range(2):
        _loss(wrapped, model, batch).backward()
    norms = [model.get_submodule(name) for name in names]
    with _normalized(norms) as selection_norms, CollectiveCounter() as selection:
        model.select_views(batch.views, batch.samples)
    with _normalized(norms) as both_norms, CollectiveCounter() as both:
        loss = _loss(wrapped, model, batch)
    with CollectiveCounter() as backward:
        loss.backward()
    return StepTraffic(
        selection=selection.found,
        loss=both.found[len(selection.found) :],
        gradients=backward.found,
        selection_norms=selection_norms,
        loss_norms=both_norms[len(selection_norms) :],
    )


def _loss(wrapped: nn.Module, model: HVSAlgorithm, batch: Batch) -> Tensor:
    return model.parse_losses(wrapped(batch.views, batch.samples, mode='loss'))[0]


@contextmanager
def _normalized(norms: list[nn.Module]) -> Iterator[list[Collective]]:
    """What torch's ``SyncBatchNorm`` would send for the calls of some layers of C channels.

    Forward a mean, an inverse standard deviation and a count, ``2 C + 1`` float32 numbers that are
    gathered; backward two sums, ``2 C`` that are added up (``torch/nn/modules/_functions.py``).
    """
    found: list[Collective] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not module.training:
            return
        found.append(Collective('all_gather', 4 * (2 * module.num_features + 1)))
        if output.requires_grad:
            found.append(Collective('all_reduce', 4 * 2 * module.num_features))

    handles = [norm.register_forward_hook(note) for norm in norms]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def formula(model: HVSAlgorithm, batch_size: int) -> dict[str, list[Collective]]:
    """What a step has to send by the method's formulas, in float32.

    With ``B`` images per process, ``S`` candidates, ``D`` embedding channels, ``K`` prototypes and
    ``P`` trained parameters: SimCLR gathers ``B S D`` numbers to select and ``2 B D`` for its loss;
    DINO adds up ``K`` sums and one count for its center, iBOT as much again for its patches; the
    others nothing. Gradients are ``P`` numbers.

    Args:
        model: SimSiam, SimCLR, BYOL, DINO or iBOT with hard view selection.
        batch_size: ``B``.

    Returns:
        ``selection``, ``loss`` and ``gradients`` of :class:`StepTraffic`; the gradients as one
        collective, which DistributedDataParallel cuts into buckets.
    """
    names = {cls.__name__ for cls in type(model.algorithm).__mro__}
    selection, loss = [], []
    if 'SimCLR' in names:
        last = [m for m in model.neck.modules() if isinstance(m, nn.Linear)][-1]
        views, channels = sum(model.candidates), last.out_features
        selection.append(Collective('all_gather', 4 * batch_size * views * channels))
        loss.append(Collective('all_gather', 4 * batch_size * 2 * channels))
    for center in ('center', 'patch_center'):
        if hasattr(getattr(model, 'head', None), center):
            prototypes = getattr(model.head, center).numel()
            loss += [Collective('all_reduce', 4 * prototypes), Collective('all_reduce', 4)]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        'selection': selection,
        'loss': loss,
        'gradients': [Collective('all_reduce', 4 * trained)],
    }
