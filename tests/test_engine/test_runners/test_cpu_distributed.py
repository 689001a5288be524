"""The settings of several processes on the CPU."""

from __future__ import annotations

import re
import time

import pytest
import torch
from mmengine.config import Config
from torch import distributed

from hvs_mm.engine import prepare_cpu_distributed
from tests.helpers.tools import rank_environments


@pytest.mark.parametrize('timeout', [0, -1, 'ten', True, None, float('nan'), float('inf')])
def test_a_wrong_timeout(timeout):
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=timeout))))
    message = re.escape(f'env_cfg.dist_cfg.timeout={timeout!r} must be a positive number')
    with pytest.raises(ValueError, match=message):
        prepare_cpu_distributed(cfg)
    assert not distributed.is_initialized()


@pytest.fixture
def cfg(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name, value in rank_environments(2)[0].items():
        monkeypatch.setenv(name, value)
    return Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(timeout=0.5))))


def test_an_unknown_host_is_not_waited_for(cfg, monkeypatch):
    cfg.env_cfg.dist_cfg.timeout = 600
    monkeypatch.setenv('MASTER_ADDR', 'no-such-host.invalid')
    started = time.monotonic()
    with pytest.raises(ValueError, match=r'^MASTER_ADDR=no-such-host\.invalid: there is no such '):
        prepare_cpu_distributed(cfg)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize('rank', [0, 1])
def test_the_other_process_never_starts(rank, cfg, monkeypatch):
    monkeypatch.setenv('RANK', str(rank))
    message = rf'^the processes did not meet \(.*RANK={rank}, WORLD_SIZE=2\): .* Start all of them'
    with pytest.raises(ValueError, match=message) as error:
        prepare_cpu_distributed(cfg)
    assert '\n' not in str(error.value)
    assert not distributed.is_initialized()


def test_one_process_needs_no_timeout():
    cfg = Config(dict(launcher='none', env_cfg=dict(dist_cfg=dict(timeout='ten'))))
    prepare_cpu_distributed(cfg)
    assert not distributed.is_initialized()


def test_a_sharded_model_stays_sharded(cfg, monkeypatch):
    monkeypatch.setattr(distributed, 'init_process_group', lambda *args, **kwargs: None)
    for name in ('FullyShard', 'MMDistributedDataParallel'):
        cfg.model_wrapper_cfg = dict(type=name)
        prepare_cpu_distributed(cfg)
        kept = cfg.model_wrapper_cfg.type == name
        assert kept == (name == 'FullyShard')
