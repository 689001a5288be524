"""The configs of the project, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torch import nn

from hvs_mm import get_config

CONFIGS = Path(__file__).parents[2] / 'configs'


@cache
def load(path: Path) -> Config:
    """A config, read once: whoever changes it takes a copy."""
    return Config.fromfile(path)


@cache
def baseline_of(path: Path) -> Config:
    """The first base that a config inherits from."""
    namespace: dict[str, Any] = {}
    line = next(x for x in path.read_text().splitlines() if x.startswith('_base_'))
    exec(line, namespace)
    base = namespace['_base_']
    base = base if isinstance(base, str) else base[0]
    return get_config(base) if '::' in base else load((path.parent / base).resolve())


def without_scope(value: Any) -> Any:
    """The value without the scope that inheriting across packages adds."""
    if isinstance(value, dict):
        return {key: without_scope(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [without_scope(item) for item in value]
    return value


@cache
def build_on_meta(path: Path) -> nn.Module:
    """The model in full size, without memory for its weights."""
    cfg = load(path)
    backbone = cfg.model.get('algorithm', cfg.model).backbone
    # ResNet computes with tensors while it is built.
    with torch.device('cpu' if 'ResNet' in backbone.type else 'meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    return model.to('meta')
