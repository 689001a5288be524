"""Shard a model over the processes that train it, by torch's FSDP2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.model import BaseAveragedModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from ...models.transparent import TransparentWrapper
from .cpu_distributed import without_sync_bn
from .sharded_state import save_whole_model

#: Methods that were compared with DistributedDataParallel. One that changes its weights in the
#: forward pass, as SwAV normalizes its prototypes, would lose the change without an error.
METHODS = (
    'DINO', 'SimSiam', 'SimCLR', 'BYOL', 'MoCo', 'MoCoV3', 'DenseCL', 'BarlowTwins',
)  # fmt: skip


# The Runner looks model wrappers up in MMEngine's own registry.
@MODEL_WRAPPERS.register_module()
class FullyShard(nn.Module):
    """Each process keeps a part of the weights, gradients and optimizer state.

    By `fully_shard <https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html>`_ of
    torch 2.8 or newer, with :class:`ReliableRunner`: ``model_wrapper_cfg.type=FullyShard``. A unit,
    whose weights are collected at once, is each layer of a stack, such as a transformer's blocks;
    all other weights are one more unit. The teacher of DINO, iBOT and DINOv2 has the units of the
    student, so that its update is local. Momentum networks that a method updates within its
    forward pass, such as BYOL's, stay whole in each process.

    Weights are initialized, and those of the first process sent to the others, before they are
    sharded. Gradients are reduced in every iteration, also where they are accumulated.

    Args:
        module: An algorithm of :data:`METHODS`, or one with hard view selection.
        reshard_after_forward: Free the weights of a layer after each forward pass, and collect them
            again for the next one and for the backward pass. By default they stay until the
            backward pass is through: selection then collects only what training needs anyway.

    Raises:
        ValueError: If torch is too old, or the model cannot be sharded.
    """

    #: A ``BaseSelfSupervisor``.
    module: Any

    def __init__(self, module: nn.Module, reshard_after_forward: bool = False) -> None:
        check_shardable(module, reshard_after_forward)
        # Older torch, which is refused above, does not have them.
        from torch.distributed.fsdp import FSDPModule, fully_shard

        super().__init__()
        device = next(module.parameters()).device.type
        module = without_sync_bn(module) if device == 'cpu' else module
        self.module = module
        if not self.module.is_init:
            self.module.init_weights()
        for value in module.state_dict().values():
            broadcast(value)
        settings: dict[str, Any] = {
            'mesh': init_device_mesh(device, (torch.distributed.get_world_size(),)),
            'ignored_params': {
                parameter for one in _averages(module) for parameter in one.parameters()
            },
        }
        self._reshards = reshard_after_forward
        for layer in stacked_layers(module):
            fully_shard(layer, reshard_after_forward=reshard_after_forward, **settings)
        # This wrapper, not the model, whose class stays what it is.
        fully_shard(self, reshard_after_forward=False, **settings)
        save_whole_model(module)
        self._units: list[Any] = [one for one in self.modules() if isinstance(one, FSDPModule)]
        # In its first forward torch finds out what is outermost, perhaps else an inner network.
        self()
        self._reshard()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's, or nothing if there are no inputs."""
        return self.module(*args, **kwargs) if args or kwargs else None

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """As that of MMEngine's ``MMDistributedDataParallel``."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, True)
            losses = self(**data, mode='loss')
        loss, log = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        # Hooks read and change the parts.
        self._reshard()
        return log

    @contextmanager
    def whole_weights(self) -> Iterator[None]:
        """Hold all weights within the block, in which parts of the model may be called.

        All processes must enter it together. Within it they need not do the same.
        """
        for unit in self._units:
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()
        try:
            yield
        finally:
            self._reshard()
            for unit in self._units:
                is_inner = unit is not self
                unit.set_reshard_after_forward(self._reshards and is_inner, recurse=False)

    def _reshard(self) -> None:
        for unit in self._units:
            unit.reshard()


def check_shardable(module: nn.Module, reshard_after_forward: bool = False) -> None:
    """Raise ``ValueError`` if a model cannot be sharded, or torch is too old for it."""
    setting = 'model_wrapper_cfg.type=FullyShard'
    way_out = 'leave it out to train with DistributedDataParallel.'
    if torch.__version__ < '2.8':
        raise ValueError(f'{setting} needs torch 2.8 or newer, not {torch.__version__}: {way_out}')
    algorithm = type(module.algorithm if isinstance(module, TransparentWrapper) else module)
    if not any(one.__name__ in METHODS for one in algorithm.__mro__):
        raise ValueError(
            f'{setting} shards {", ".join(METHODS)} and what derives from them, not '
            f'{algorithm.__name__}, which may change weights in its forward pass: {way_out}'
        )
    if reshard_after_forward and _averages(module):
        raise ValueError(
            f'model_wrapper_cfg.reshard_after_forward=True: {algorithm.__name__} updates its '
            'momentum network in the forward pass, for which the weights of all layers have to be '
            'there: leave it out.'
        )


def stacked_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of every stack in a module: those of one class that follow each other.

    Such as the blocks of a transformer or of a ResNet's stage. Layers within layers do not count,
    nor does what lies in a momentum network that stays whole.
    """
    if isinstance(module, BaseAveragedModel):
        return []
    if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(module) > 1:
        layers = list(module)
        if len({type(layer) for layer in layers}) == 1 and any(True for _ in module.parameters()):
            return layers
    return [layer for child in module.children() for layer in stacked_layers(child)]


def _averages(module: nn.Module) -> list[BaseAveragedModel]:
    return [one for one in module.modules() if isinstance(one, BaseAveragedModel)]
