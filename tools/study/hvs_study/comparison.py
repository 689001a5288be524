"""What two arms of a study differ in, beside selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from .config import portable_settings
from .schema import expect

#: Steps of a pipeline that load, draw views and pack, with and without selection.
_STEPS = {'LoadImageFromFile': 'load', 'LoadCheckedImage': 'load', 'MultiView': 'views'}
_STEPS |= {'CandidateViews': 'views', 'PackInputs': 'pack', 'PackViews': 'pack'}
#: What does not change the training, or is the run's own.
_LEFT_OUT = ('custom_imports', 'default_hooks', 'randomness')


def check_arms(run: str, cfg: Config, other: str, other_cfg: Config) -> None:
    """Check that two runs of a method differ by selection and by what the study says alone.

    Args:
        run: Name of the run with the config ``cfg``, see :func:`hvs_study.config.resolve_config`.
        other: Name of the run with ``other_cfg``.

    Raises:
        StudyError: Otherwise, with the first setting.
    """
    both = (cfg, other_cfg)
    options = [{_plain(k): v for k, v in c.study_settings.cfg_options.items()} for c in both]
    said = [k for k in {**options[0], **options[1]} if options[0].get(k) != options[1].get(k)]
    first, second = (dict(_flat(_without_selection(c))) for c in both)
    for key in {**first, **second}:
        values = [found.get(key, 'missing') for found in (first, second)]
        is_said = any(key == one or key.startswith(f'{one}.') for one in said)
        expect(
            values[0] == values[1] or is_said,
            f'runs {run} and {other} differ in {key}, {values[0]!r} and {values[1]!r}, which the '
            'study does not say: make it equal, or name it in cfg_options of an arm.',
        )


def _without_selection(cfg: Config) -> dict[str, Any]:
    found = {k: v for k, v in portable_settings(cfg).items() if k not in _LEFT_OUT}
    found['model'] = found['model'].get('algorithm', found['model'])
    for step in found['train_dataloader']['dataset'].get('pipeline', []):
        step['type'] = _STEPS.get(step['type'], step['type'])
        step.pop('num_views', None)
    return found


def _plain(key: str) -> str:
    """The name of a setting of the algorithm, whether views are selected or not."""
    return key.replace('model.algorithm.', 'model.', 1)


def _flat(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Paths of all single values, as ``--cfg-options`` has them."""
    parts: Any = None
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(one, (list, Mapping)) for one in value):
        parts = enumerate(value)
    if not parts:
        yield path, value
        return
    for name, part in parts:
        yield from _flat(part, f'{path}.{name}' if path else str(name))
