from __future__ import annotations

import gc
import os

# Before torch is imported, and for the processes that tests start: with tensors as small as here
# threads cost more than they give, and suites and ranks run beside each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import mmengine.config.config
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope
from yapf.yapflib import yapf_api

import hvs_mm  # noqa: F401  registers what the tests build from configs


@pytest.fixture(autouse=True, scope='session')
def _quick_runners():
    """Leave out what every Runner repeats, seconds of a test with a few steps.

    It collects garbage, which is slow among all that the imports have left, and it formats its
    config several times, of which no test needs the line breaks.
    """
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        # MMEngine 0.10.7 has it by a name of its own, later ones import it when they need it.
        for module in (yapf_api, mmengine.config.config):
            patch.setattr(module, 'FormatCode', lambda text, **_: (text, True), raising=False)
        yield
    gc.unfreeze()


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
