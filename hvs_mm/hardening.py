"""Turn the config of a baseline into the config of a run with hard views.

A config file takes over the entries that :func:`hard_views` returns for its bases::

    _base_ = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'

    from hvs_mm import hard_views

    globals().update(hard_views(_base_, candidates=[4], keep=[2]))

The file makes the call itself: a base sees neither the file that inherits it nor the other bases,
and a Runner would be too late, as ``--cfg-options``, a dump and ``mim train`` must see all of the
config. The import must come after ``_base_``: MMEngine takes a file that begins with the import of
a package for a pure Python config.

In Python, :func:`harden` does the same to a whole config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import MODELS

from .apis import get_config
from .datasets import PackViews
from .engine.checks.dataset_checks import loaded_datasets
from .selection import ViewGroups
from .selection.pair_losses.base import default_pair_loss, registered_pair_losses
from .utils.arguments import check_choice, is_list, is_whole
from .utils.class_name import class_name
from .utils.photometry_operations import PHOTOMETRY_PLACES


def harden(
    config: Config | Mapping[str, Any] | str | Path,
    candidates: Sequence[int],
    keep: Sequence[int],
    **settings: Any,
) -> Config:
    """Add hard view selection to the config of a baseline.

    Args:
        config: The baseline: a config, a file, or a name for :func:`hvs_mm.get_config`, such as
            ``'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'``. It stays as it is.
        candidates, keep, **settings: See :func:`hard_views`.

    Raises:
        FileNotFoundError: If there is no such config.
        TypeError, ValueError: See :func:`hard_views`.

    Examples:
        >>> cfg = harden('hvs_mm::baselines/dino_vit-small_100e.py', [2, 2, 16], [1, 1, 8])
        >>> cfg.model.type
        'HVSAlgorithm'
    """
    if isinstance(config, (str, Path)):
        name = str(config)
        cfg = get_config(name) if '::' in name else Config.fromfile(name)
    else:
        cfg = deepcopy(config) if isinstance(config, Config) else Config(deepcopy(dict(config)))
    cfg.merge_from_dict(hard_views(cfg, candidates, keep, **settings))
    return cfg


def hard_views(
    base: Config | Mapping[str, Any],
    candidates: Sequence[int],
    keep: Sequence[int],
    *,
    num_views: Sequence[int] | None = None,
    photometry: str = 'loader',
    pair_loss: dict[str, Any] | None = None,
    selector: str | dict[str, Any] | None = None,
    target_groups: Sequence[int] | None = None,
    selection_pass: dict[str, Any] | None = None,
    schedule: dict[str, Any] | None = None,
    guard: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the entries of a config that turn its bases into a run with hard views.

    The model is wrapped in ``HVSAlgorithm``; the training pipeline draws the candidates with the
    baseline's own view pipelines, skips broken image files, and packs the geometry of the views.
    Hooks and :func:`runtime_settings` are added, unless the baseline chooses its own.

    Args:
        base: The complete config of the baseline; ``_base_`` inside a config file.
        candidates: Views drawn per group; a group is a view pipeline of the baseline.
        keep: Views kept per group.
        num_views: Views drawn per view pipeline, for groups that take them from several. The groups
            take the views in order: of ``num_views=[1, 3]`` the first of ``candidates=[2, 2]`` has
            one of each pipeline, the second two of the second. By default ``candidates``.
        photometry: ``'device'`` to change the colors of views on the device of the model,
            ``'device_views'`` to crop, resize and flip there, too, ``'loader'`` to leave all where
            the baseline has it.
        pair_loss, selector, target_groups, selection_pass, schedule, guard: Arguments of
            :class:`hvs_mm.HVSAlgorithm`; ``None`` for its defaults.

    Returns:
        Entries to merge over ``base``.

    Raises:
        TypeError: If ``candidates``, ``keep`` or ``num_views`` is no list of integers.
        ValueError: If they do not fit each other or the view pipelines, the model is no
            self-supervised algorithm with a pair loss or selects views already, or the training
            pipeline draws no views.
    """
    groups = ViewGroups(candidates, keep)
    check_choice('photometry', photometry, PHOTOMETRY_PLACES)
    algorithm = deepcopy(base.get('model') or {})
    _check_algorithm(algorithm, pair_loss)
    model = {
        '_delete_': True,
        'type': 'HVSAlgorithm',
        'algorithm': algorithm,
        'candidates': list(groups.candidates),
        'keep': list(groups.keep),
        'selector': selector,
        'pair_loss': pair_loss,
        'target_groups': target_groups,
        'selection_pass': selection_pass,
        'schedule': schedule,
        'guard': guard,
    }
    views = {'type': 'CandidateViews', 'num_views': _drawn_views(groups, num_views)}
    if photometry != 'loader':
        views['photometry'] = photometry
    loader, checks_images = _hard_loader(base.get('train_dataloader') or {}, views)
    hooks = {
        'finite_step': 'FiniteStepHook',
        'health': 'HealthHook',
        'selection': 'SelectionStatsHook',
    }
    if checks_images:
        hooks['bad_images'] = 'BadImagesHook'
    own_hooks = base.get('default_hooks') or {}
    return {
        'model': {name: value for name, value in model.items() if value is not None},
        'train_dataloader': loader,
        'default_hooks': {name: {'type': hooks[name]} for name in hooks if name not in own_hooks},
        **runtime_settings(base),
        **({} if photometry == 'loader' else _device_preprocessor(base, algorithm)),
    }


def _drawn_views(groups: ViewGroups, num_views: Sequence[int] | None) -> list[int]:
    """How many views each view pipeline draws."""
    if num_views is None:
        return list(groups.candidates)
    if not is_list(num_views) or not all(is_whole(count, 1) for count in num_views):
        raise TypeError(
            f'num_views={num_views!r} must be a list of positive integers, one per view pipeline.'
        )
    if sum(num_views) != groups.num_views:
        raise ValueError(
            f'num_views={list(num_views)} draws {sum(num_views)} views, but candidates='
            f'{list(groups.candidates)} needs {groups.num_views}: make them equal.'
        )
    return list(num_views)


def runtime_settings(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config that every run needs, whatever its method.

    Args:
        base: The config to merge them over; its own choices stay.
    """
    imports = base.get('custom_imports') or {}
    names = imports.get('imports') or []
    names = [names] if isinstance(names, str) else list(names)
    # Average the entries of selection and of the parts of losses, such as `koleo_cls_term`, as
    # MMEngine does for losses.
    mean_pattern = r'.*(loss|time|data_time|grad_norm|hvs|cls_term|patch_term).*'
    return {
        'custom_imports': {
            'imports': names if 'hvs_mm' in names else [*names, 'hvs_mm'],
            'allow_failed_imports': imports.get('allow_failed_imports', False),
        },
        # Resumes a killed run exactly where it stopped.
        'runner_type': base.get('runner_type') or 'mmpretrain.ReliableRunner',
        'log_processor': {'mean_pattern': mean_pattern, **(base.get('log_processor') or {})},
    }


def _check_algorithm(model: Mapping[str, Any], pair_loss: dict[str, Any] | None) -> None:
    name = class_name(model)
    if name == 'HVSAlgorithm':
        raise ValueError(
            f'the config has hard views already, model.candidates={model.get("candidates")} and '
            f'model.keep={model.get("keep")}: pass the config of its baseline.'
        )
    cls = MODELS.get(name) if name else None
    if not (isinstance(cls, type) and issubclass(cls, BaseSelfSupervisor)):
        raise ValueError(
            f'model.type={model.get("type")!r} is no self-supervised algorithm of MMPretrain, so '
            'it has no views to select: pass the config that pretrains one of '
            f'{sorted(registered_pair_losses())}.'
        )
    if pair_loss is None:
        default_pair_loss(cls, f'model.type={name!r}')


def _hard_loader(loader: Mapping[str, Any], views: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The entries of the training loader, and whether it checks image files."""
    if not loader.get('dataset'):
        raise ValueError(
            'the config has no train_dataloader with a dataset: pass the config of a training.'
        )
    dataset = deepcopy(dict(loader['dataset']))
    steps: set[str] = set()
    # In place: the data set may be one inside of wrappers such as RepeatDataset.
    wrapped = {'train_dataloader': {'dataset': dataset}}
    for key, inner in loaded_datasets(wrapped, ['train_dataloader']):
        inner['pipeline'] = _hard_pipeline(f'{key}.pipeline', inner.get('pipeline') or [], views)
        steps.update(map(class_name, inner['pipeline']))
    # MMEngine would pass the scope, which comes with `mmpretrain::`, to the function.
    collate_fn = dict(loader.get('collate_fn') or {'type': 'default_collate'})
    collate_fn.pop('_scope_', None)
    if views.get('photometry') == 'device_views':
        collate_fn = {'type': 'join_images'}
    if 'collate_fn' in loader:
        collate_fn['_delete_'] = True
    entries = {'collate_fn': collate_fn, 'dataset': {'_delete_': True, **dataset}}
    return entries, not steps.isdisjoint(('LoadCheckedImage', 'LoadChannels'))


def _hard_pipeline(key: str, pipeline: Sequence[Any], views: dict[str, Any]) -> list[Any]:
    names, hard = list(map(class_name, pipeline)), []
    for name, step in zip(names, pipeline):
        if name in ('MultiView', 'CandidateViews'):
            drawing = step = {**step, **views}
        elif name == 'LoadImageFromFile':
            step = {**step, 'type': 'LoadCheckedImage'}
        elif name == 'PackInputs':
            step = {**step, 'type': 'PackViews'}
            if 'meta_keys' in step:
                # What the baseline packs, and the geometry.
                step['meta_keys'] = sorted({*step['meta_keys'], *PackViews.DEFAULT_META_KEYS})
        hard.append(step)
    if names.count('MultiView') + names.count('CandidateViews') != 1:
        raise ValueError(
            f'{key} has the steps {names}, expected MultiView or CandidateViews once among them: '
            "draw views with dict(type='MultiView', num_views=[...], transforms=[...])."
        )
    if len(views['num_views']) != len(drawing['transforms']):
        raise ValueError(
            f'candidates={views["num_views"]} must have one number for each of the '
            f'{len(drawing["transforms"])} view pipelines of {key}, or num_views, if groups take '
            'views of several.'
        )
    return hard


def _device_preprocessor(base: Mapping[str, Any], algorithm: dict[str, Any]) -> dict[str, Any]:
    """The entries that let the preprocessor change the colors of views."""
    own = algorithm.get('data_preprocessor')
    name = class_name(own or base.get('data_preprocessor') or {})
    if name not in ('', 'SelfSupDataPreprocessor', 'DevicePhotometry'):
        raise ValueError(
            f'photometry on the device takes the place of SelfSupDataPreprocessor, but '
            f"data_preprocessor.type={name!r}: use photometry='loader'."
        )
    if own:
        own['type'] = 'DevicePhotometry'
        return {}
    return {'data_preprocessor': {'type': 'DevicePhotometry'}}
