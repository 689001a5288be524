"""Whether an iteration ends an optimizer step."""

from __future__ import annotations

from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner


def is_end_of_step(runner: Runner) -> bool:
    """Whether the iteration that hooks are called for has changed the weights.

    It has not where gradients are accumulated over several iterations.
    """
    wrapper = runner.optim_wrapper
    # Several optimizers each have a count of their own, or none.
    return isinstance(wrapper, OptimWrapperDict) or wrapper.should_update()
