"""Keep SwAV's queue of embeddings in checkpoints."""

from __future__ import annotations

from mmengine.dist import all_gather, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch import Tensor

from ...utils.unwrap_model import unwrap_model

#: Name in MMEngine's hub, which checkpoints contain.
_QUEUES = 'swav_queues'


@HOOKS.register_module()
class SwAVQueueHook(Hook):
    """Continue with the queue of the checkpoint when a run with upstream's ``SwAVHook`` resumes.

    ``SwAVHook`` (MMPretrain 1.2 and OneDL 1.3) writes the queue into a file at the end of an epoch.
    A run that is stopped within an epoch, or killed after it, would continue with another one.
    :class:`ReliableRunner` adds this hook. With another number of processes, whose queues differ in
    length, ``SwAVHook`` decides alone.
    """

    # Behind SwAVHook, which gives the loss a queue at the beginning of an epoch.
    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        # The hub may hold what is of another run.
        known = runner.message_hub.get_info(_QUEUES) if runner.iter else None
        self._resumed: Tensor | None = None
        if known is not None and len(known) == get_world_size():
            self._resumed = known[get_rank()]

    def before_train_epoch(self, runner: Runner) -> None:
        if self._resumed is not None:
            model = unwrap_model(runner.model)
            device = next(model.parameters()).device
            model.head.loss_module.queue = self._resumed.to(device)
            self._resumed = None

    def before_checkpoint(self, runner: Runner) -> None:
        """Hand the queues of all processes, (crops, length, channels) each, to the checkpoint."""
        # In all processes or in none.
        queue = unwrap_model(runner.model).head.loss_module.queue
        if queue is not None:
            queues = [one.cpu() for one in all_gather(queue)]
            runner.message_hub.update_info(_QUEUES, queues)
