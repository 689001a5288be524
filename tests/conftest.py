from __future__ import annotations

import os

# Before torch is imported, and for the processes that tests start: with tensors as small as here
# threads cost more than they give, and tests and ranks run side by side.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest

# Imports that take seconds stand in the fixtures: the process that hands out the tests needs none.


@pytest.fixture(autouse=True, scope='session')
def _package():
    # Also registers the classes that tests build from configs.
    import tests.helpers.short_cuts  # noqa: F401


@pytest.fixture
def marker(tmp_path):
    """The file that code hidden in a checkpoint would make."""
    return tmp_path / 'code_ran'


@pytest.fixture
def no_runner():
    """Whatever runs of other tests have left in the hub: no iteration, the first epoch."""
    from mmengine.logging import MessageHub

    hub = MessageHub.get_current_instance()
    before = {name: hub.get_info(name) for name in ('iter', 'epoch')}
    for name in before:
        hub.update_info(name, None)
    yield
    for name, value in before.items():
        hub.update_info(name, value)


@pytest.fixture(autouse=True)
def _mmpretrain_scope(_package):
    """Build from MMPretrain's registries, as the Runner does; the same seed for every test."""
    import torch
    from mmengine.logging import MessageHub
    from mmengine.registry import DefaultScope

    torch.manual_seed(0)
    # BYOL reads the length of the run for its momentum schedule.
    MessageHub.get_current_instance().update_info('max_iters', 100)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield
