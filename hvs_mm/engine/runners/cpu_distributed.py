"""Train on the CPU in several processes, which MMEngine's launchers do not support."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmpretrain.registry import MODEL_WRAPPERS
from torch import distributed, nn

from ...utils.arguments import is_number
from ...utils.class_name import class_name

#: Seconds that processes wait for each other, for example while one writes a checkpoint: torch's
#: default with NCCL. Its default with gloo, 30 minutes, is long for a process that hangs.
_TIMEOUT = 600
#: Environment variables that say where processes meet, and how many.
_RENDEZVOUS = ('MASTER_ADDR', 'MASTER_PORT', 'RANK', 'WORLD_SIZE')


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """DistributedDataParallel on the CPU.

    torch has SyncBN only for GPUs: such layers are replaced by BatchNorm, so that each process
    normalizes with the statistics of its own part of the batch. ``device_ids``, which the Runner
    always passes, are ignored.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, **kwargs: Any) -> None:
        super().__init__(module=without_sync_bn(module), **kwargs)


def without_sync_bn(module: nn.Module) -> nn.Module:
    """Replace SyncBN by BatchNorm, and say so."""
    if not any(isinstance(m, nn.SyncBatchNorm) for m in module.modules()):
        return module
    print_log(
        'SyncBN runs only on GPUs: replaced by BatchNorm over the samples of each process.',
        logger='current',
    )
    return revert_sync_batchnorm(module)


def prepare_cpu_distributed(cfg: Config) -> None:
    """Make a config run with gloo, in place, if it has a launcher and there is no GPU.

    MMEngine's launcher (0.10.7 and 0.10.12) calls ``torch.cuda.set_device``, which fails without
    a GPU. It keeps an existing process group, so we make one first. Like MMEngine's, it ends with
    an error if a process has waited for another for ``env_cfg.dist_cfg.timeout`` seconds, here 600
    by default.

    Raises:
        ValueError: If the launcher is neither ``'none'`` nor ``'pytorch'`` and there is no GPU, the
            timeout is not a positive number, the host of the first process is not known, or the
            processes do not meet within the timeout.
    """
    if cfg.launcher == 'none':
        return
    timeout = configured_timeout(cfg)
    _check_host()
    if torch.cuda.is_available():
        return
    if cfg.launcher != 'pytorch':
        raise ValueError(
            f'--launcher {cfg.launcher} needs GPUs, and torch.cuda.is_available() is False: use '
            'tools/dist_train.sh (--launcher pytorch) to run several processes on the CPU.'
        )
    try:
        distributed.init_process_group('gloo', timeout=timeout)
    except distributed.DistError as error:
        places = ', '.join(f'{name}={os.environ.get(name)}' for name in _RENDEZVOUS)
        # Behind it comes a stack of C++.
        reason = str(error).partition('\n')[0]
        raise ValueError(
            f'the processes did not meet ({places}): {reason} Start all of them, on all machines, '
            'or let them wait longer with env_cfg.dist_cfg.timeout=SECONDS.'
        ) from error
    if class_name(cfg.get('model_wrapper_cfg') or {}) == 'FullyShard':
        return
    cfg.model_wrapper_cfg = dict(
        # The Runner looks model wrappers up in MMEngine's own registry.
        type='mmpretrain.CPUDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


def _check_host() -> None:
    """Check that the host of the first process is known; torch would ask until the timeout."""
    host = os.environ.get('MASTER_ADDR')
    try:
        if host:
            socket.getaddrinfo(host, None)
    except OSError as error:
        raise ValueError(
            f'MASTER_ADDR={host}: there is no such host ({error.strerror or error}). Name the '
            'machine of the first process, or its address.'
        ) from error


def configured_timeout(cfg: Config) -> timedelta:
    """Return how long the processes of a run wait for each other."""
    seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout', _TIMEOUT)
    if not is_number(seconds) or seconds <= 0:
        raise ValueError(
            f'env_cfg.dist_cfg.timeout={seconds!r} must be a positive number of seconds, after '
            f'which processes that wait for another one end with an error, e.g. {_TIMEOUT}.'
        )
    return timedelta(seconds=seconds)
