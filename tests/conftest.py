from __future__ import annotations

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope

import hvs_mm  # noqa: F401  registers what the tests build from configs


@pytest.fixture
def no_runner():
    """Whatever runs of other tests have left in the hub: no iteration, the first epoch."""
    hub = MessageHub.get_current_instance()
    before = {name: hub.get_info(name) for name in ('iter', 'epoch')}
    for name in before:
        hub.update_info(name, None)
    yield
    for name, value in before.items():
        hub.update_info(name, value)


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    """Build from MMPretrain's registries, as the Runner does; the same seed for every test."""
    torch.manual_seed(0)
    # BYOL reads the length of the run for its momentum schedule.
    MessageHub.get_current_instance().update_info('max_iters', 100)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield
