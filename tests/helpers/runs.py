"""Small trained runs, and images of classes that any network tells apart by their color."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from PIL import Image
from torch import Tensor, nn

from hvs_mm.engine import build_runner
from hvs_mm.recipes import choose_recipe, find_images, recipe_config

COLORS = {'blue': (40, 60, 200), 'green': (40, 180, 60), 'red': (200, 50, 40)}
#: The runs of the tests: method, model, size of the crops, whether views are selected.
KINDS = {
    'resnet': ('simclr', 'resnet18', 64, True),
    'small_resnet': ('simsiam', 'resnet18', 32, False),
    'dino': ('dino', 'vit-tiny', 32, True),
    'ibot': ('ibot', 'vit-tiny', 32, True),
}


def draw(path: Path, color: tuple[int, int, int], seed: int, size: tuple[int, int]) -> None:
    """Write a noisy image of a color, (width, height) pixels."""
    noise = np.random.default_rng(seed).integers(-30, 30, (*size[::-1], 3))
    pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def class_folders(folder: Path, number: int, size: tuple[int, int] = (48, 40)) -> Path:
    """Write class folders with so many images each."""
    for name, color in COLORS.items():
        for image in range(number):
            draw(folder / name / f'{image}.png', color, 100 * len(name) + image, size)
    return folder


def train_tiny(folder: Path, data: Path, kind: str) -> Path:
    """Train a run of :data:`KINDS` for a step, as ``hvs-mm train`` does."""
    method, model, size, hard_views = KINDS[kind]
    return train_step(folder, data, method, model, hard_views=hard_views, image_size=size)


def train_step(folder: Path, data: Path, *args: Any, **settings: Any) -> Path:
    """Train a recipe for a step, without k-NN; see ``choose_recipe`` for the settings."""
    images = find_images(data)
    recipe = choose_recipe(images, *args, steps=1, batch_size=4, **settings)
    folder.mkdir()
    cfg = recipe_config(recipe, images, folder)
    cfg.work_dir = str(folder)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook['type'] != 'KNNHook']
    cfg.dump(folder / 'config.py')
    build_runner(cfg).train()
    return folder


def backbone_of(run: Path, network: str | None = None) -> nn.Module:
    """The backbone of a run, built and loaded with nothing but MMPretrain and torch."""
    settings = Config.fromfile(run / 'config.py').model
    backbone = MODELS.build(settings.get('algorithm', settings).backbone)
    state = torch.load(next(run.glob('*.pth')), weights_only=False)['state_dict']
    teacher = 'teacher.backbone.'
    has_teacher = any(name.startswith(teacher) for name in state)
    prefix = teacher if has_teacher and network != 'student' else 'backbone.'
    own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    backbone.load_state_dict(own)
    backbone.eval()
    return backbone


@torch.no_grad()
def features_of(backbone: nn.Module, images: Tensor) -> Tensor:
    """The mean of the last feature map, or the [CLS] token, (B, D)."""
    output = backbone(images)[-1]
    if output.ndim == 4:
        return output.mean((2, 3))
    return output[:, 0] if output.ndim == 3 else output
