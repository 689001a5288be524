"""A config of a run, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..utils.arguments import is_whole
from ..utils.class_name import class_name
from ..utils.printable import printable
from .run_log import whole_number

#: What a run does: pretraining, or one of the two kinds of training on labels.
PRETRAINING, LINEAR, FINE_TUNING = 'pretraining', 'linear', 'fine-tuning'

_LAST_LAYERS = 'LastLayersVisionTransformer'
_VISION_TRANSFORMERS = (
    'VisionTransformer',
    'MaskedVisionTransformer',
    'OffsetVisionTransformer',
    _LAST_LAYERS,
)
# From this many frozen parts on a backbone counts as frozen, where the config does not say how many
# there are: a ResNet has 4 stages, the transformers of MMPretrain have at least 8 layers.
_STAGES, _LAYERS = 4, 8


class ConfigSummary(NamedTuple):
    """Summary of a config; None where it does not tell. Texts are printable.

    Attributes:
        kind: ``PRETRAINING``, ``LINEAR`` (a classifier on a frozen backbone) or ``FINE_TUNING``.
        method: E.g. ``'SimSiam'``; the kind for a classifier.
        selection: E.g. ``'hardest 4->2'``, ``'none'`` for a baseline, None for a classifier.
        planned: Length of the run in epochs or, unless ``by_epoch``, iterations.
        checkpoint: The checkpoint that a classifier starts from.
    """

    kind: str
    method: str | None
    selection: str | None
    backbone: str | None
    planned: int | None
    by_epoch: bool
    checkpoint: str | None


def summarize_config(config: Mapping[str, Any]) -> ConfigSummary:
    """Summarize a config of MMEngine, of which any setting may be missing."""
    model = _mapping(config.get('model'))
    algorithm = _mapping(model.get('algorithm')) or model
    backbone = _mapping(algorithm.get('backbone'))
    train_cfg = _mapping(config.get('train_cfg'))
    by_epoch = not train_cfg or 'max_epochs' in train_cfg
    method, kind, checkpoint = class_name(algorithm), PRETRAINING, None
    selection = _selection(model)
    if method == 'ImageClassifier':
        kind = LINEAR if _is_frozen(backbone) else FINE_TUNING
        method, selection = kind, ''
        checkpoint = _checkpoint(backbone.get('init_cfg'))
        # The checkpoint of a run that is resumed is its own.
        if checkpoint is None and not config.get('resume'):
            checkpoint = config.get('load_from')
    return ConfigSummary(
        kind=kind,
        method=printable(method) or None,
        selection=printable(selection) or None,
        backbone=printable(_backbone(backbone)) or None,
        planned=whole_number(train_cfg.get('max_epochs' if by_epoch else 'max_iters')),
        by_epoch=by_epoch,
        checkpoint=checkpoint if isinstance(checkpoint, str) else None,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _selection(model: Mapping[str, Any]) -> str:
    if class_name(model) != 'HVSAlgorithm':
        return 'none' if model else ''
    candidates, keep = model.get('candidates'), model.get('keep')
    if not isinstance(candidates, (list, tuple)) or not isinstance(keep, (list, tuple)):
        return ''
    counts = f'{"+".join(map(str, candidates))}->{"+".join(map(str, keep))}'
    if list(candidates) == list(keep):
        return f'none, {counts}'
    selector = model.get('selector', 'hardest')
    others = dict(_mapping(selector))
    limit = others.pop('max_comparisons', None)
    details = [f'of {limit} combinations'] if limit else []
    details += [
        f'{name}={class_name(value) if isinstance(value, Mapping) else value}'
        for name, value in others.items()
        if name not in ('type', '_scope_')
    ]
    name = selector if isinstance(selector, str) else class_name(_mapping(selector))
    return ', '.join([f'{name} {counts}', *details])


def _backbone(config: Mapping[str, Any]) -> str:
    name = class_name(config)
    if not name:
        return ''
    if 'depth' in config:
        return f'{name}-{config["depth"]}'
    arch = config.get('arch')
    if isinstance(arch, Mapping):
        arch = f'{arch.get("embed_dims", "?")}x{arch.get("num_layers", "?")}'
    patch = f'/{config["patch_size"]}' if 'patch_size' in config else ''
    name = 'ViT' if name in _VISION_TRANSFORMERS else name
    return f'{name} {arch}{patch}' if arch else f'{name}{patch}'


def _is_frozen(backbone: Mapping[str, Any]) -> bool:
    if class_name(backbone) == _LAST_LAYERS:
        return True
    total = backbone.get('num_stages', _STAGES)
    if 'depth' not in backbone:
        total = _mapping(backbone.get('arch')).get('num_layers', _LAYERS)
    return is_whole(total) and is_whole(backbone.get('frozen_stages'), least=total)


def _checkpoint(init_cfg: Any) -> Any:
    entries = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    found = (_mapping(entry).get('checkpoint') for entry in entries)
    return next((checkpoint for checkpoint in found if checkpoint), None)
