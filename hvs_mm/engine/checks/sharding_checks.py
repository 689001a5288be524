"""Check that a model can be sharded over processes."""

from __future__ import annotations

from mmengine.config import Config
from torch import nn

from ...utils.class_name import class_name
from ..runners.fully_shard import check_shardable


def check_sharding(cfg: Config, model: nn.Module) -> None:
    """Check the settings of ``FullyShard``, if ``model_wrapper_cfg`` names it."""
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if class_name(wrapper) != 'FullyShard':
        return
    check_shardable(model, wrapper.get('reshard_after_forward', False))
    runner = cfg.get('runner_type', 'Runner')
    if class_name({'type': runner}) != 'ReliableRunner':
        raise ValueError(
            f'runner_type={runner!r}: a sharded model (model_wrapper_cfg.type=FullyShard) is saved '
            "by all processes together, which takes runner_type='ReliableRunner'."
        )
    if cfg.get('compile'):
        raise ValueError(
            f'compile={cfg.compile!r} has not been tried with model_wrapper_cfg.type=FullyShard: '
            'leave one of them out.'
        )
