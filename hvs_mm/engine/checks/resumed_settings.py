"""Compare the settings of a resumed run with those that its checkpoint was made with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config

from ...utils.class_name import class_name
from ...utils.dumped_config import parse_config
from .overrides import RUNNER_KEYS

#: Settings that say how a run is started, not what it does. Of schedules another warning tells.
_LEFT_OUT = r'(work_dir|resume|load_from|launcher|experiment_name|param_scheduler)\b'
#: Settings whose values a checkpoint brings along.
_IN_THE_CHECKPOINT = (
    r'optim_wrapper\.(optimizer|paramwise_cfg|constructor)\b|auto_scale_lr\b|'
    r'randomness\.seed$|(model|.*\.backbone)\..*\binit_cfg\b'
)
#: Where images lie. A copy of them elsewhere makes no other run.
_PATHS = r'train_dataloader\..*\b(data_root|data_prefix|ann_file|shards|path)\b'
#: Settings that decide what a step does.
_OF_A_STEP = (
    r'(model|data_preprocessor|optim_wrapper)\b|'
    r'train_dataloader\.(dataset|sampler|batch_sampler|collate_fn|drop_last)\b'
)
#: Hooks that take part in a step.
_HOOKS_OF_A_STEP = (
    *('TeacherHook', 'GradientHook', 'SimSiamHook', 'EMAHook'),
    *('SwAVHook', 'SwAVQueueHook', 'DenseCLHook'),
)
#: Of any more only the number is told.
_MAX_LISTED = 8


class ChangedSettings(NamedTuple):
    """Settings that differ from those of a checkpoint, each as ``'key=new (was old)'``.

    Attributes:
        effective: They take effect, and the run stays the same one.
        ineffective: They do not: the checkpoint brings the old values.
        of_another_run: They would take effect in the middle of a run and make it another one.
    """

    effective: list[str]
    ineffective: list[str]
    of_another_run: list[str]


def changed_settings(before: str | None, after: str) -> ChangedSettings | None:
    """Compare two configs, as MMEngine writes them (``Config.pretty_text``).

    Entries that the Runner does not read count as helpers of the file. Returns ``None`` if a text
    cannot be parsed.
    """
    try:
        # Parsed, not run: the one of a checkpoint may come from anybody.
        saved, current = _flat(parse_config(before or '')), _flat(parse_config(after))
    except ValueError:
        return None
    if not saved:
        return None
    changed = ChangedSettings([], [], [])
    for key in sorted(saved.keys() | current.keys()):
        old, new = saved.get(key, _MISSING), current.get(key, _MISSING)
        if old == new or re.match(_LEFT_OUT, key):
            continue
        if re.match(_IN_THE_CHECKPOINT, key):
            kind = changed.ineffective
        elif re.match(_PATHS, key):
            kind = changed.effective
        elif re.match(_OF_A_STEP, key) or _hook(key) in _HOOKS_OF_A_STEP:
            kind = changed.of_another_run
        else:
            kind = changed.effective
        kind.append(f'{key}={_shown(new)} (was {_shown(old)})')
    return changed


def settings_in_effect(before: str, after: str) -> str:
    """The settings ``after``, with those of ``before`` that a checkpoint brings along.

    Both are configs that :func:`changed_settings` can compare.
    """
    changed = changed_settings(before, after)
    if changed is None or not changed.ineffective:
        return after
    saved, current = parse_config(before), parse_config(after)
    for text in changed.ineffective:
        keys: list[Any] = text.partition('=')[0].split('.')
        *outer, last = [int(key) if key.isdecimal() else key for key in keys]
        old: Any = saved
        new: Any = current
        try:
            for key in outer:
                old, new = old[key], new[key]
            new[last] = old[last]
        except (IndexError, KeyError, TypeError):
            # Only one of them has it: the next resume tells of it again.
            continue
    return Config(current).pretty_text


def check_settings(before: str | None, after: str, path: str, allow: bool) -> None:
    """Check that a run continues with the settings in its checkpoint, at ``path``.

    Raises:
        ValueError: If the optimizer is of another class, whose state is not in the checkpoint, or
            if settings make it another run; the latter not with ``allow``.
    """
    changed = changed_settings(before, after)
    if changed is None:
        return
    optimizer = next((s for s in changed.ineffective if s.startswith(_OPTIMIZER)), None)
    if optimizer is not None:
        raise ValueError(
            f'--resume {path}: {optimizer}, and the checkpoint has the state of that optimizer '
            f'alone. Keep it, or start a new run from these weights with --cfg-options '
            f'load_from={path} and another --work-dir.'
        )
    if changed.of_another_run and not allow:
        raise ValueError(
            f'--resume {path}: {join_settings(changed.of_another_run)} would make it another run '
            'from here on. Leave that out, start a new run from these weights with --cfg-options '
            f'load_from={path} and another --work-dir, or mix both with --allow-changes.'
        )


def describe_changes(changed: ChangedSettings) -> list[str]:
    """One line for each kind of change that there is."""
    texts = (
        (changed.effective, 'take effect from here on'),
        (changed.ineffective, 'take no effect, as the checkpoint brings the old values'),
        (changed.of_another_run, 'take effect from here on, and make it another run'),
    )
    return [
        f'Settings that differ from those of the checkpoint and {meaning}: {join_settings(some)}.'
        for some, meaning in texts
        if some
    ]


def join_settings(settings: list[str]) -> str:
    """The settings in one line, at most eight of them."""
    more = len(settings) - _MAX_LISTED
    return ', '.join(settings[:_MAX_LISTED]) + (f' and {more} more' if more > 0 else '')


_MISSING = object()
_OPTIMIZER = 'optim_wrapper.optimizer.type='


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by dotted keys, those of hooks as ``custom_hooks/TeacherHook.momentum``."""
    read = {name: value for name, value in settings.items() if name in RUNNER_KEYS}
    return dict(_items(read, ''))


def _hook(key: str) -> str:
    return key.partition('/')[2].partition('.')[0]


def _items(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if key == 'custom_hooks' and isinstance(value, list):
        for hook in value:
            yield from _items(hook, f'{key}/{class_name(hook)}')
    elif isinstance(value, Mapping) and (value or not key):
        for name, part in value.items():
            # Where it comes from is no setting.
            if name != '_scope_':
                yield from _items(part, f'{key}.{name}'.lstrip('.'))
    elif _has_settings(value):
        for number, part in enumerate(value):
            yield from _items(part, f'{key}.{number}')
    else:
        yield key, value


def _has_settings(value: Any) -> bool:
    """Whether a list has settings with names in it, at any depth."""
    if isinstance(value, (list, tuple)):
        return any(isinstance(part, Mapping) or _has_settings(part) for part in value)
    return False


def _shown(value: Any) -> str:
    return 'nothing' if value is _MISSING else repr(value)
