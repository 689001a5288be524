"""Schedules of how hard the kept views are."""

from __future__ import annotations

from copy import deepcopy
from math import cos, pi
from typing import Any

from mmengine.logging import MessageHub
from mmengine.optim import _ParamScheduler
from mmpretrain.registry import PARAM_SCHEDULERS
from torch import nn

from ...models.hvs_algorithm import HVSAlgorithm
from ...selection.selectors import Selector
from ...utils.arguments import check_choice, is_number
from ...utils.unwrap_model import unwrap_model
from .resumed_schedules import built_schedulers

#: Value that MMEngine's schedulers have for "until the end".
_FOREVER = int(1e9)


@PARAM_SCHEDULERS.register_module()
class HardnessSchedule(_ParamScheduler):
    """Changes a dial of the selector over a run, as other schedulers change the learning rate.

    From ``begin`` to ``end`` the dial goes from ``from_value`` to ``to_value``, which it reaches in
    the last epoch or iteration. Before that it is as set in the selector, afterwards it stays. So
    ``begin`` gives a late start, and several schedules of a dial can follow each other.

    The log has the value as ``selection_<dial>``. The optimizer's parameter groups hold it, too, as
    those of any scheduler, so a resumed run continues with it. All processes have the same. Needs
    :class:`hvs_mm.engine.ReliableRunner`, which connects it with the selector.

    Args:
        optimizer: The optimizer's wrapper, which the Runner passes.
        dial: A setting of the selector: ``'temperature'``, ``'quantile'``, ``'threshold'``,
            ``'max_comparisons'`` or another of its ``dials``, such as
            ``'local_crops.temperature'``.
        from_value: Value in the first epoch or iteration. Numbers of comparisons are rounded.
        to_value: Value in the last one; easier or harder.
        curve: ``'linear'``, or ``'cosine'``, which starts and ends slowly.
        **kwargs: ``begin``, ``end`` and ``by_epoch``, and in a config ``convert_to_iter_based``, as
            all schedulers of MMEngine have them; by default from the first epoch to the last.

    Raises:
        ValueError: If a value is no finite number or the curve unknown; when it is connected, if
            the model selects no views, or its selector has no such dial or value.
    """

    def __init__(
        self,
        optimizer: Any,
        dial: str,
        from_value: float,
        to_value: float,
        curve: str = 'linear',
        **kwargs: Any,
    ) -> None:
        for name, value in (('from_value', from_value), ('to_value', to_value)):
            if not is_number(value):
                raise ValueError(
                    f'HardnessSchedule: {name}={value!r} must be a finite number, a value of the '
                    f'dial {dial!r}.'
                )
        self.dial, self.from_value, self.to_value = dial, from_value, to_value
        self.curve = check_choice('curve', curve, ('linear', 'cosine'))
        self._selector: Selector | None = None
        self._add_to(optimizer)
        super().__init__(optimizer, f'selection_{dial}', **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = _FOREVER,
        by_epoch: bool = True,
        epoch_length: int,
        **kwargs: Any,
    ) -> HardnessSchedule:
        """Build a schedule by iterations from settings in epochs."""
        if end != _FOREVER:
            end *= epoch_length
        return cls(*args, begin=begin * epoch_length, end=end, by_epoch=False, **kwargs)

    def connect(self, model: nn.Module) -> None:
        """Turn the dial of a model's selector from now on.

        Raises:
            ValueError: If the model selects no views, or its selector has no such dial or value.
        """
        model = unwrap_model(model)
        if not isinstance(model, HVSAlgorithm):
            raise ValueError(
                f'HardnessSchedule turns a dial of the selector, but the model '
                f'{type(model).__name__} selects no views: remove it from param_scheduler.'
            )
        trial = deepcopy(model.selector)
        for value in (self.from_value, self.to_value):
            try:
                trial.set_dial(self.dial, value)
            except ValueError as error:
                raise ValueError(
                    f'HardnessSchedule with dial={self.dial!r} does not fit model.selector: {error}'
                ) from error
        self._selector = model.selector
        self._turn()

    def step(self) -> None:
        """Compute the value of the next epoch or iteration."""
        self._add_to(self.optimizer)
        super().step()
        # The first step is that of the constructor.
        if self._selector is None and self._global_step > 0:
            raise RuntimeError(
                'HardnessSchedule needs a Runner that connects it with the selector: set '
                "runner_type='mmpretrain.ReliableRunner'."
            )
        self._turn()

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != '_selector'}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint, whose optimizer has been loaded before."""
        super().load_state_dict(state_dict)
        self._turn()

    def _add_to(self, optimizer: Any) -> None:
        # Those of a checkpoint from before this schedule lack it.
        for group in optimizer.param_groups:
            group.setdefault(f'selection_{self.dial}', self.from_value)
            group.setdefault(f'initial_selection_{self.dial}', self.from_value)

    def _get_value(self) -> list[float]:
        steps = self.end - self.begin - 1
        progress = self.last_step / steps if steps else 1.0
        if self.curve == 'cosine':
            progress = (1 - cos(pi * progress)) / 2
        # In this form exact at both ends.
        value = (1 - progress) * self.from_value + progress * self.to_value
        return [value] * len(self.optimizer.param_groups)

    def _turn(self) -> None:
        """Pass the value on, once the schedule has begun."""
        if self._selector is not None and self._global_step >= self.begin:
            value = self.optimizer.param_groups[0][self.param_name]
            self._selector.set_dial(self.dial, value)
            hub = MessageHub.get_current_instance()
            hub.update_scalar(f'train/{self.param_name}', value)


def connect_hardness_schedules(schedulers: Any, model: nn.Module) -> None:
    """Connect those schedules among the built ones of a run that turn a dial of the selector.

    Raises:
        ValueError: See :meth:`HardnessSchedule.connect`.
    """
    for scheduler in built_schedulers(schedulers):
        if isinstance(scheduler, HardnessSchedule):
            scheduler.connect(model)
