"""The bytes that processes send each other in a training step with hard view selection."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _workload import Batch, random_batch, selecting_model
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hvs_mm.engine import CPUDistributedDataParallel, read_merged_config
from hvs_mm.models import HVSAlgorithm

#: The kind of torch's collectives, and the argument that holds the tensors a process hands in.
_COLLECTIVES = {
    'allreduce_': ('all_reduce', 0),
    'broadcast_': ('broadcast', 0),
    'allgather_': ('all_gather', 1),
    '_allgather_base_': ('all_gather', 1),
    'reduce_scatter_': ('reduce_scatter', 1),
    '_reduce_scatter_base_': ('reduce_scatter', 1),
}


class Collective(NamedTuple):
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


class CollectiveCounter(TorchDispatchMode):
    """Notes the collectives that are called under it, DistributedDataParallel's included.

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
            if name not in _COLLECTIVES:
                raise ValueError(
                    f'collective {name!r} is none that is counted: {sorted(_COLLECTIVES)}.'
                )
            kind, position = _COLLECTIVES[name]
            self.found.append(Collective(kind, _size(args[position])))
        return func(*args, **(kwargs or {}))


def _size(tensors: Any) -> int:
    if isinstance(tensors, Tensor):
        return tensors.numel() * tensors.element_size()
    return sum(_size(one) for one in tensors)


def count_step(
    model: HVSAlgorithm, wrap: Callable[[nn.Module], nn.Module], batch: Batch
) -> dict[str, list[Collective]]:
    """Count the collectives of a training step; to be called by all processes.

    Args:
        model: In train mode. :class:`hvs_mm.engine.CPUDistributedDataParallel` replaces its SyncBN
            layers, whose calls are counted all the same.
        wrap: Makes it a model of several processes.
        batch: The batch of this process.

    Returns:
        The collectives of ``selection``, of the method's own ``loss`` on the kept views and of its
        ``gradients``, and those that synchronized BatchNorm would add to the first two on GPUs,
        ``selection_norms`` and ``loss_norms``.
    """
    names = [name for name, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)]
    wrapped = wrap(model)

    def loss() -> Tensor:
        return model.parse_losses(wrapped(*batch, mode='loss'))[0]

    # The first step tells DistributedDataParallel the order of the gradients, which it sends round
    # in the second.
    for _ in range(2):
        loss().backward()
    norms = [model.get_submodule(name) for name in names]
    with _norm_calls(norms) as selection_norms, CollectiveCounter() as selection:
        model.select_views(*batch)
    with _norm_calls(norms) as both_norms, CollectiveCounter() as both:
        total = loss()
    with CollectiveCounter() as backward:
        total.backward()
    return {
        'selection': selection.found,
        'loss': both.found[len(selection.found) :],
        'gradients': backward.found,
        'selection_norms': selection_norms,
        'loss_norms': both_norms[len(selection_norms) :],
    }


@contextmanager
def _norm_calls(norms: list[nn.Module]) -> Iterator[list[Collective]]:
    """The collectives that torch's ``SyncBatchNorm`` would call for layers of C channels.

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


def run_rank(
    rank: int, processes: int, folder: str, path: str, options: dict, batch_size: int
) -> None:
    """Count the collectives of a step in one of the processes; the first writes them down."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=processes
    )
    cfg = read_merged_config(path, options)
    model = selecting_model(cfg).train()
    hub = MessageHub.get_current_instance()
    # A step in which views are selected, and masked; BYOL reads the length of the run.
    hub.update_info('epoch', max(model.schedule.warmup, getattr(model.head, 'mask_start_epoch', 0)))
    hub.update_info('max_iters', 100)

    def wrap(model: nn.Module) -> nn.Module:
        if processes == 1:
            return revert_sync_batchnorm(model)
        find = cfg.get('find_unused_parameters', False)
        return CPUDistributedDataParallel(
            model, broadcast_buffers=False, find_unused_parameters=find
        )

    traffic = count_step(model, wrap, random_batch(cfg, batch_size))
    if rank == 0:
        Path(folder, 'traffic').write_bytes(pickle.dumps(traffic))
    distributed.barrier()
    distributed.destroy_process_group()


def formula(model: HVSAlgorithm, batch_size: int) -> dict[str, list[Collective]]:
    """The collectives of a step by the method's formulas, in float32.

    With ``B`` images per process, ``S`` candidates, ``D`` embedding channels, ``K`` prototypes and
    ``P`` trained parameters: SimCLR gathers ``B S D`` numbers to select and ``2 B D`` for its loss,
    MoCo v3 the same of its keys; Barlow Twins gathers ``B S D`` and adds up ``D^2`` for its loss;
    SwAV adds up a number per assigned view; DINO adds up ``K`` sums and one count for its center,
    iBOT as much again for its patches; DINOv2 with Sinkhorn-Knopp adds up ``K`` sums in each of 3
    iterations, for [CLS] tokens and for patches, to select and for its loss; the others nothing.
    Gradients are ``P`` numbers.

    Args:
        model: An algorithm with hard view selection, but not MoCo v2 or DenseCL, which also send
            the images of key views.
        batch_size: ``B``.

    Returns:
        ``selection``, ``loss`` and ``gradients`` as :func:`count_step` names them; the gradients as
        one collective, which DistributedDataParallel cuts into buckets.
    """
    names = {cls.__name__ for cls in type(model.algorithm).__mro__}
    selection, loss = [], []
    if names & {'SimCLR', 'MoCoV3', 'BarlowTwins'}:
        last = [m for m in model.neck.modules() if isinstance(m, nn.Linear)][-1]
        numbers = batch_size * last.out_features
        selection.append(Collective('all_gather', 4 * numbers * sum(model.candidates)))
        if 'SimCLR' in names:
            loss.append(Collective('all_gather', 4 * numbers * 2))
        elif 'MoCoV3' in names:
            loss += [Collective('all_gather', 4 * numbers)] * 2
        else:
            loss.append(Collective('all_reduce', 4 * last.out_features**2))
    if 'SwAV' in names:
        # The first group has the large crops.
        selection += [Collective('all_reduce', 4)] * model.candidates[0]
        loss += [Collective('all_reduce', 4)] * len(model.head.loss_module.crops_for_assign)
    head = getattr(model, 'head', None)
    for center in ('center', 'patch_center'):
        if not hasattr(head, center):
            continue
        prototypes = Collective('all_reduce', 4 * getattr(head, center).numel())
        if getattr(head, 'uses_sinkhorn', False):
            # On the CPU [CLS] tokens are counted, too.
            counts = [Collective('all_reduce', 8)] * (center == 'center')
            assignment = [*counts, Collective('all_reduce', 4), *[prototypes] * 3]
            selection += assignment
            loss += assignment
        else:
            loss += [prototypes, Collective('all_reduce', 4)]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    gradients = [Collective('all_reduce', 4 * trained)]
    return {'selection': selection, 'loss': loss, 'gradients': gradients}
