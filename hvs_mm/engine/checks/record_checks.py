"""Check that the training loader records what a selector reads that takes no forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from torch import nn

from ...models.hvs_algorithm import HVSAlgorithm
from ...utils.arguments import is_list
from ...utils.class_name import class_name
from .dataset_checks import loaded_datasets

_KEY = 'train_dataloader'


def check_records(cfg: Config, model: nn.Module) -> None:
    """Check that the pipeline records what the selector compares, and changes it at random."""
    if not isinstance(model, HVSAlgorithm) or model.selector.values is None:
        return
    values, name = model.selector.values, type(model.selector).__name__
    record = f'view_{values.record}'
    for key, dataset in loaded_datasets(cfg, [_KEY]):
        steps = {class_name(step): step for step in dataset.get('pipeline') or []}
        if 'MultiView' in steps or not _is_packed(steps, record):
            raise ValueError(
                f'{name} reads {record}, which the steps {list(steps)} of {key}.pipeline do not '
                "give: draw the views with dict(type='CandidateViews', ...), and pack them with "
                "dict(type='PackViews') and its default meta_keys."
            )
        views = steps.get('CandidateViews')
        if isinstance(views, dict):
            used = set(_transforms(views.get('transforms')))
            if not used.intersection(values.changed_by):
                raise ValueError(
                    f'{name} compares {record}, but CandidateViews in {key}.pipeline has none of '
                    f'{list(values.changed_by)}, so all views are alike: add one, or take another '
                    'model.selector.'
                )


def _is_packed(steps: dict[str, Any], record: str) -> bool:
    """Whether upstream's or our packing keeps a record; others are not known."""
    for name, default in (('PackInputs', ()), ('PackViews', (record,))):
        step = steps.get(name)
        if isinstance(step, dict) and record not in step.get('meta_keys', default):
            return False
    return True


def _transforms(settings: Any) -> Iterator[str]:
    """The names of the classes of transforms, also inside wrappers."""
    if is_list(settings):
        for one in settings:
            yield from _transforms(one)
    elif settings is not None:
        yield class_name(settings)
        is_config = isinstance(settings, dict)
        yield from _transforms(
            settings.get('transforms') if is_config else getattr(settings, 'transforms', None)
        )
