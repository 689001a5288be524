"""Schedules of a run that goes on, which are those it was begun with."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

from mmengine.optim import _ParamScheduler

#: What tells how far a scheduler is, not what it does.
_PROGRESS = {'last_step', 'base_values', 'best', 'cooldown_counter', 'num_bad_epochs'}


def built_schedulers(schedulers: Any) -> list[_ParamScheduler]:
    """The schedulers of a Runner, of all of its optimizers; none as long as they are settings."""
    parts = list(schedulers.values()) if isinstance(schedulers, dict) else [schedulers]
    found = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    return [one for one in found if isinstance(one, _ParamScheduler)]


def schedule_settings(scheduler: _ParamScheduler) -> dict[str, Any]:
    """What a scheduler is made of."""
    return {
        name: value
        for name, value in vars(scheduler).items()
        if (value is None or isinstance(value, (Number, str, Sequence, dict)))
        and not name.startswith('_')
        and name not in _PROGRESS
    }


def other_than_configured(
    schedulers: list[_ParamScheduler], configured: list[dict[str, Any]]
) -> list[str]:
    """Tell which settings a checkpoint has changed.

    MMEngine's schedulers keep their settings with their progress, and take over both.

    Args:
        schedulers: As resumed.
        configured: Their :func:`schedule_settings` before.

    Returns:
        A text for each scheduler with others, with both.
    """
    found = []
    for scheduler, before in zip(schedulers, configured):
        now = vars(scheduler)
        others = [
            f'{name}={_short(now[name])} (the config: {_short(before[name])})'
            for name in before
            if now[name] != before[name]
        ]
        if others:
            found.append(f'{_name(scheduler)} has {", ".join(others)}')
    return found


def ended_before_the_run(
    schedulers: list[_ParamScheduler], before: dict[bool, int], now: dict[bool, int]
) -> list[str]:
    """Tell which schedules lasted as long as a run, which has become longer.

    Args:
        schedulers: As resumed.
        before: Length of the run that was begun, in epochs under ``True``, in iterations under
            ``False``.
        now: The same of the run that goes on.

    Returns:
        A text for each of them.
    """
    return [
        f'{_name(scheduler)} ends with {"epoch" if scheduler.by_epoch else "iteration"} '
        f'{scheduler.end} of {now[scheduler.by_epoch]} and leaves its last value'
        for scheduler in schedulers
        if before[scheduler.by_epoch] <= scheduler.end < now[scheduler.by_epoch]
    ]


def _name(scheduler: _ParamScheduler) -> str:
    return f'{type(scheduler).__name__} of {scheduler.param_name}'


def _short(value: Any) -> Any:
    # Milestones are counted.
    return sorted(value) if isinstance(value, dict) else value
