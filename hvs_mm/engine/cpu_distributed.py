"""Several processes on the CPU, which MMEngine's launchers do not provide for."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmpretrain.registry import MODEL_WRAPPERS
from torch import distributed, nn


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """DistributedDataParallel on the CPU.

    torch has SyncBN only for GPUs: such layers are replaced by BatchNorm, so that each process
    normalizes with the statistics of its own part of the batch.

    Args:
        module: The model.
        device_ids: Ignored; the Runner always hands one over.
        **kwargs: As for :class:`mmengine.model.MMDistributedDataParallel`.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, **kwargs: Any) -> None:
        if any(isinstance(m, nn.SyncBatchNorm) for m in module.modules()):
            module = revert_sync_batchnorm(module)
            print_log(
                'SyncBN runs only on GPUs: replaced by BatchNorm over the samples of each process.',
                logger='current',
            )
        super().__init__(module=module, **kwargs)


def prepare_cpu_distributed(cfg: Config) -> None:
    """Make a config run with gloo if it asks for several processes and there is no GPU.

    MMEngine's launcher (0.10.7 and 0.10.12) calls ``torch.cuda.set_device``, which fails without
    a GPU. It leaves a process group that exists alone, so this one is made first.

    Args:
        cfg: The config, with ``launcher`` set. Changed in place.

    Raises:
        ValueError: If the launcher is neither ``'none'`` nor ``'pytorch'`` and there is no GPU.
    """
    if cfg.launcher == 'none' or torch.cuda.is_available():
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(
            f'--launcher {cfg.launcher} needs GPUs, and torch.cuda.is_available() is False: use '
            'tools/dist_train.sh (--launcher pytorch) to run several processes on the CPU.'
        )
    distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(
        # The Runner looks model wrappers up in MMEngine's own registry.
        type='mmpretrain.CPUDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
