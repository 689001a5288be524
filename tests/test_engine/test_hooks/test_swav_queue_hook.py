"""A run of SwAV that is stopped and resumed is in tests/test_methods.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from hvs_mm.engine import SwAVQueueHook


def runner_of(hub, queue, iteration):
    model = nn.Linear(1, 1)
    model.head = SimpleNamespace(loss_module=SimpleNamespace(queue=queue))
    return SimpleNamespace(message_hub=hub, model=model, iter=iteration)


@pytest.mark.parametrize(
    ('iteration', 'processes', 'is_given'),
    [(5, 1, True), (0, 1, False), (5, 2, False)],
    ids=['resumed', 'another run', 'more processes then'],
)
def test_whose_queue_a_run_begins_with(request, iteration, processes, is_given):
    hub, saved = MessageHub(request.node.name), torch.rand(2, 4, 3)
    SwAVQueueHook().before_checkpoint(runner_of(hub, saved, 4))
    (queues,) = hub.runtime_info.values()
    hub.update_info(*hub.runtime_info, queues * processes)
    upstreams = torch.zeros(2, 4, 3)
    runner = runner_of(hub, upstreams, iteration)
    hook = SwAVQueueHook()
    hook.before_train(runner)
    for _ in range(2):
        hook.before_train_epoch(runner)
        expected = saved if is_given else upstreams
        assert torch.equal(runner.model.head.loss_module.queue, expected)
        # It is the loss that changes it.
        saved = runner.model.head.loss_module.queue = torch.rand(2, 4, 3)
        upstreams = saved


def test_without_a_queue_nothing_is_kept(request):
    hub = MessageHub(request.node.name)
    SwAVQueueHook().before_checkpoint(runner_of(hub, None, 4))
    assert not hub.runtime_info
