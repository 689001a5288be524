"""Compare the schedules of a resumed run with those of its config."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

from mmengine.optim import _ParamScheduler

#: Attributes of a scheduler that say how far it is, not what it does.
_PROGRESS = {'last_step', 'base_values', 'best', 'cooldown_counter', 'num_bad_epochs'}


def schedule_settings(schedulers: Any) -> list[dict[str, Any]]:
    """Return the settings of schedulers, which MMEngine saves and loads with their progress."""
    return [
        {
            name: value
            for name, value in vars(scheduler).items()
            if (value is None or isinstance(value, (Number, str, Sequence, dict)))
            and not name.startswith('_')
            and name not in _PROGRESS
        }
        for scheduler in built_schedulers(schedulers)
    ]


def resumed_differences(
    schedulers: Any,
    configured: list[dict[str, Any]],
    old_lengths: dict[bool, int],
    new_lengths: dict[bool, int],
) -> list[str]:
    """Describe how resumed schedules differ from the settings ``configured`` before the resume.

    Lengths are those of the saved and of the resumed run, in epochs under ``True``, in iterations
    under ``False``. They are empty if they are unknown.

    Returns:
        A text for each scheduler whose settings changed, then one for each that lasted for the
        whole old run, but ends before the new one.
    """
    texts = []
    for scheduler, before in zip(built_schedulers(schedulers), configured):
        now = vars(scheduler)
        changes = [
            f'{name}={_short(now[name])} (the config: {_short(value)})'
            for name, value in before.items()
            if now[name] != value
        ]
        if changes:
            texts.append(f'{_name(scheduler)} has {", ".join(changes)}')
    for scheduler in built_schedulers(schedulers) if new_lengths else []:
        by_epoch, end = scheduler.by_epoch, scheduler.end
        if old_lengths[by_epoch] <= end < new_lengths[by_epoch]:
            texts.append(
                f'{_name(scheduler)} ends with {"epoch" if by_epoch else "iteration"} {end} of '
                f'{new_lengths[by_epoch]} and leaves its last value'
            )
    return texts


def built_schedulers(schedulers: Any) -> list[_ParamScheduler]:
    """The schedulers of all optimizers; none as long as they are settings."""
    parts = list(schedulers.values()) if isinstance(schedulers, dict) else [schedulers]
    found = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    return [one for one in found if isinstance(one, _ParamScheduler)]


def _name(scheduler: _ParamScheduler) -> str:
    return f'{type(scheduler).__name__} of {scheduler.param_name}'


def _short(value: Any) -> Any:
    # Milestones are a Counter.
    return sorted(value) if isinstance(value, dict) else value
