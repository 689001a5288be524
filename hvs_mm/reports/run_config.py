"""What the config of a run says about it, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..utils.printable import printable
from .run_log import whole_number

#: What a run does: pretraining, or one of the two kinds of training on labels.
PRETRAINING, LINEAR, FINE_TUNING = 'pretraining', 'linear', 'fine-tuning'

_VISION_TRANSFORMERS = {
    'VisionTransformer',
    'MaskedVisionTransformer',
    'LastLayersVisionTransformer',
}
# Beyond this many frozen parts a backbone is all frozen, where the config does not say how many
# there are: a ResNet has 4 stages, the transformers of MMPretrain have at least 8 layers.
_STAGES, _LAYERS = 4, 8


class ConfigSummary(NamedTuple):
    """What a config says; None where it does not.

    Attributes:
        kind: ``PRETRAINING``, ``LINEAR`` (a classifier on a frozen backbone) or ``FINE_TUNING``.
        method: E.g. ``'SimSiam'``; of a classifier its kind.
        selection: E.g. ``'hardest 4->2'``, ``'none'`` for a baseline, None for a classifier.
        backbone: E.g. ``'ResNet-50'``.
        planned: Length of the run in epochs or iterations.
        by_epoch: Whether the run counts epochs.
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
    """Summarize a config of MMEngine.

    Args:
        config: The settings as :func:`~hvs_mm.reports.parse_config` gives them; any may be missing.
    """
    model = _mapping(config.get('model'))
    algorithm = _mapping(model.get('algorithm')) or model
    backbone = _mapping(algorithm.get('backbone'))
    train_cfg = _mapping(config.get('train_cfg'))
    by_epoch = not train_cfg or 'max_epochs' in train_cfg
    planned = train_cfg.get('max_epochs' if by_epoch else 'max_iters')
    method = _type_name(algorithm)
    kind, selection, checkpoint = PRETRAINING, _selection(model), None
    if method == 'ImageClassifier':
        kind = LINEAR if _is_frozen(backbone) else FINE_TUNING
        method, selection = kind, None
        checkpoint = _checkpoint(backbone.get('init_cfg'))
        # A run that is resumed loads itself.
        if checkpoint is None and not config.get('resume'):
            checkpoint = config.get('load_from')
    return ConfigSummary(
        kind=kind,
        method=_printable(method),
        selection=_printable(selection),
        backbone=_printable(_backbone(backbone)),
        planned=whole_number(planned),
        by_epoch=by_epoch,
        checkpoint=checkpoint if isinstance(checkpoint, str) else None,
    )


def checkpoint_folder(checkpoint: str | None) -> Path | None:
    """The folder of a checkpoint, absolute and without links; relative ones are as seen from here.

    Args:
        checkpoint: As a config names it.
    """
    if not checkpoint or '://' in checkpoint:
        return None
    return Path(checkpoint).expanduser().resolve().parent


def _printable(text: str | None) -> str | None:
    return None if text is None else printable(text)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _type_name(config: Mapping[str, Any]) -> str | None:
    """The type without a scope or a module before it."""
    kind = config.get('type')
    return kind.rpartition('.')[2] if isinstance(kind, str) else None


def _selection(model: Mapping[str, Any]) -> str | None:
    if not model:
        return None
    if _type_name(model) != 'HVSAlgorithm':
        return 'none'
    candidates, keep = model.get('candidates'), model.get('keep')
    if not isinstance(candidates, (list, tuple)) or not isinstance(keep, (list, tuple)):
        return None
    counts = f'{"+".join(map(str, candidates))}->{"+".join(map(str, keep))}'
    if list(candidates) == list(keep):
        return f'none, {counts}'
    selector = model.get('selector', 'hardest')
    limit = _mapping(selector).get('max_comparisons')
    name = selector if isinstance(selector, str) else _type_name(_mapping(selector))
    return f'{name} {counts}' + (f', of {limit} combinations' if limit else '')


def _backbone(config: Mapping[str, Any]) -> str | None:
    name = _type_name(config)
    if name is None:
        return None
    if 'depth' in config:
        return f'{name}-{config["depth"]}'
    arch = config.get('arch')
    if isinstance(arch, Mapping):
        arch = f'{arch.get("embed_dims", "?")}x{arch.get("num_layers", "?")}'
    patch = f'/{config["patch_size"]}' if 'patch_size' in config else ''
    name = 'ViT' if name in _VISION_TRANSFORMERS else name
    return f'{name} {arch}{patch}' if arch else f'{name}{patch}'


def _is_frozen(backbone: Mapping[str, Any]) -> bool:
    if _type_name(backbone) == 'LastLayersVisionTransformer':
        return True
    frozen = backbone.get('frozen_stages', -1)
    total = backbone.get('num_stages', _STAGES)
    if 'depth' not in backbone:
        total = _mapping(backbone.get('arch')).get('num_layers', _LAYERS)
    return isinstance(frozen, int) and isinstance(total, int) and frozen >= total


def _checkpoint(init_cfg: Any) -> Any:
    entries = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    found = (_mapping(entry).get('checkpoint') for entry in entries)
    return next((checkpoint for checkpoint in found if checkpoint), None)
