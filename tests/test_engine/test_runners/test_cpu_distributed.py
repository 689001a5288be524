"""The settings of several processes on the CPU."""

from __future__ import annotations

import re

import pytest
from mmengine.config import Config
from torch import distributed

from hvs_mm.engine import prepare_cpu_distributed


@pytest.mark.parametrize('timeout', [0, -1, 'ten', True, None, float('nan'), float('inf')])
def test_a_wrong_timeout(timeout):
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=timeout))))
    message = re.escape(f'env_cfg.dist_cfg.timeout={timeout!r} must be a positive number')
    with pytest.raises(ValueError, match=message):
        prepare_cpu_distributed(cfg)
    assert not distributed.is_initialized()


def test_one_process_needs_no_timeout():
    cfg = Config(dict(launcher='none', env_cfg=dict(dist_cfg=dict(timeout='ten'))))
    prepare_cpu_distributed(cfg)
    assert not distributed.is_initialized()
