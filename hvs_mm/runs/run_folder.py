"""Open the folder of a run: its config, its last checkpoint and the network that gives features."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..datasets import LoadChannels, LoadCheckedImage
from ..datasets.loading.image_kind import RGB, ImageKind
from ..engine import build_model
from ..engine.runners.checkpoint_paths import (
    CheckpointPaths,
    latest_readable_checkpoint,
    why_unreadable,
)
from ..evaluation.features import choose_network, feature_networks, pool_features
from ..evaluation.knn_evaluation import CENTER_CROP
from ..recipes.pipelines import evaluation_pipeline
from ..utils.class_name import class_name
from ..weights.checkpoint_files import load_checkpoint
from ..weights.pretrained_backbone import NETWORKS, fit_backbone

#: Prefixes of the weights by network, with the name that a method with one network has for it.
PREFIXES = {**NETWORKS, 'backbone': NETWORKS['student']}
#: Steps after which all images have one size.
_SIZED = ('CenterCrop', 'Resize', 'RandomResizedCrop')
_INTERPOLATION = 'bilinear'


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A run with a trained network.

    Attributes:
        folder: Folder of the run.
        checkpoint: The checkpoint that the weights are from.
        cfg: Config of the run.
        model: The model, whose own backbone has the weights of ``network``, in eval mode.
        network: ``'teacher'``, ``'student'`` or ``'backbone'``.
        epoch: Epochs of the training so far; None if the checkpoint does not say.
    """

    folder: Path
    checkpoint: Path
    cfg: Config
    model: BaseModel
    network: str
    epoch: int | None

    @property
    def backbone(self) -> nn.Module:
        return self.model.backbone

    @property
    def backbone_config(self) -> dict[str, Any]:
        """The settings of the backbone, without how its weights were initialized."""
        model = self.cfg.model
        settings = dict(deepcopy(model.get('algorithm', model).backbone))
        settings.pop('init_cfg', None)
        return settings

    @cached_property
    def pipeline(self) -> list[dict[str, Any]]:
        """Steps from a decoded image to the sample that the network sees in evaluation.

        They are those of ``knn_pipeline`` in the config, by default a center crop of 224 pixels. If
        they leave images as large as they are, images get the size of the training crops.
        """
        steps = [dict(step) for step in self.cfg.get('knn_pipeline', CENTER_CROP)]
        steps = [step for step in steps if not class_name(step).startswith('Load')]
        if not any(class_name(step) in _SIZED for step in steps):
            size = _crop_size(self.cfg.get('train_dataloader')) or 224
            return evaluation_pipeline(size, self.kind)[1:]
        return steps

    @cached_property
    def kind(self) -> ImageKind:
        """Channels and bits of the images that the network sees."""
        first = next(iter(self.cfg.get('knn_pipeline') or [{}]))
        if class_name(first) != 'LoadChannels':
            return RGB
        return ImageKind(first['channels'], first['bits'])

    @property
    def loader(self) -> LoadCheckedImage:
        """What reads and decodes images as in the training."""
        return LoadCheckedImage() if self.kind == RGB else LoadChannels(*self.kind)

    @cached_property
    def preprocessing(self) -> dict[str, Any]:
        """How an image becomes the input of the network, for other libraries.

        Returns:
            ``size`` [H, W], ``resize`` (of the shorter edge, in pixels, None if the whole image is
            scaled to the size), ``interpolation``, and ``mean`` and ``std`` of pixels from 0 to 1
            in the order ``channels``. Of images that are not RGB also ``bits``: 1 is the highest
            value of so many.
        """
        if self.kind == RGB:
            blank, top, digits = np.zeros((300, 400, 3), np.uint8), 255, 6
        else:
            blank = np.zeros((300, 400, self.kind.channels), np.float32)
            # Few of 16 bits may be in use.
            top, digits = 2**self.kind.bits - 1, 12
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            sample = Compose(self.pipeline)(dict(img=blank, img_shape=(300, 400)))
        resize = next((s for s in self.pipeline if class_name(s).startswith('ResizeEdge')), {})
        settings = self.cfg.get('data_preprocessor') or {}
        mean, std = settings.get('mean', [0.0] * 3), settings.get('std', [255.0] * 3)
        channels = 'rgb' if settings.get('to_rgb') else 'bgr'
        return {
            'size': list(sample['inputs'].shape[1:]),
            'resize': resize.get('scale'),
            'interpolation': resize.get('interpolation', _INTERPOLATION),
            'mean': [round(value / top, digits) for value in mean],
            'std': [round(value / top, digits) for value in std],
            'channels': channels if self.kind == RGB else 'as in the file',
            **({} if self.kind == RGB else {'bits': self.kind.bits}),
        }

    @property
    def own_network(self) -> str:
        """The name under which the model itself has the network: it took the student's place."""
        return 'student' if 'student' in feature_networks(self.model) else 'backbone'

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features (B, D) float32 of images (B, C, H, W) after the preprocessor."""
        return pool_features(feature_networks(self.model)[self.own_network](images))


def open_run(
    run: str | os.PathLike,
    network: str | None = None,
    device: str | torch.device | None = None,
    trust: bool = False,
) -> TrainedRun:
    """Open a run for evaluation.

    Args:
        run: Folder of a run of ``hvs-mm train`` or ``tools/train.py``, whose last readable
            checkpoint is taken, or a checkpoint in such a folder.
        network: ``'teacher'`` or ``'student'`` of DINO and iBOT; the teacher by default.
        device: Where the model goes; a GPU by default if there is one.
        trust: Read checkpoints even if they hold objects that can run code.

    Raises:
        FileNotFoundError: If there is no such folder or file, no config in it, or no checkpoint.
        ValueError: If the checkpoint cannot be read, is of another model or holds weights that are
            not finite, or there is no such network or device.
    """
    path = Path(run).expanduser()
    shown = repr(str(run))
    if not path.exists():
        raise FileNotFoundError(
            f'run {shown} does not exist. Name the folder that hvs-mm train wrote (its --out), or '
            'a checkpoint in it.'
        )
    folder = path if path.is_dir() else path.parent
    cfg = _read_config(folder, shown, is_file=path.is_file())
    checkpoint = path if path.is_file() else _last_checkpoint(folder, cfg, shown)
    model, found, epoch = load_feature_model(cfg, checkpoint, network, trust)
    model = model.to(choose_device(device))
    # Not chained: the `train` of MMPretrain's backbones returns nothing.
    model.eval()
    return TrainedRun(folder, checkpoint, cfg, model, found, epoch)


def load_feature_model(
    cfg: Config, checkpoint: str | Path, network: str | None = None, trust: bool = False
) -> tuple[BaseModel, str, int | None]:
    """Build the model of a config, and load the backbone of a checkpoint as its own.

    Returns:
        The model, which network the weights are of, and the epochs of the training so far.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the checkpoint has no such backbone, or one of another architecture.
    """
    model = build_model(cfg, trust)
    choose_network(model, network)
    content = load_checkpoint(checkpoint, trust)
    load = fit_backbone(model.backbone, content, checkpoint, PREFIXES.get(network or ''))
    # A teacher has the architecture of the student, in whose place it is evaluated.
    found = 'teacher' if load.prefix == PREFIXES['teacher'] else network or 'backbone'
    # A bare state dict has no epoch.
    return model, found, (content.get('meta') or {}).get('epoch')


def choose_device(name: str | torch.device | None) -> torch.device:
    """The device by its name; by default a GPU if there is one.

    Raises:
        ValueError: If there is no such device.
    """
    if name is None:
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'--device {name}: there is no such device ({reason}).') from error
    return device


def _read_config(folder: Path, shown: str, is_file: bool) -> Config:
    """The config in the folder of a run, where both commands write one."""
    own = folder / 'config.py'
    dumped = sorted(folder.glob('*.py'), key=lambda file: file.stat().st_mtime)
    starts = sorted(folder.glob('*/vis_data/config.py'))
    files = [file for file in (*starts, *dumped, own) if file.is_file()]
    if not files:
        beside = f'there is no config beside the checkpoint {shown}' if is_file else (
            f'{shown} is no folder of a run: it has no config.py'
        )  # fmt: skip
        raise FileNotFoundError(
            f'{beside}. Name the folder that hvs-mm train wrote (its --out), which has both.'
        )
    try:
        cfg = Config.fromfile(files[-1])
    except Exception as error:
        # A config is Python, which fails in any way.
        raise ValueError(
            f'{files[-1]} cannot be read ({type(error).__name__}: {error}): restore it, or name '
            'another run.'
        ) from error
    if not cfg.get('model'):
        raise ValueError(f'{files[-1]} is no config of a run: it has no model.')
    return cfg


def _last_checkpoint(folder: Path, cfg: Config, shown: str) -> Path:
    try:
        found = latest_readable_checkpoint(CheckpointPaths.from_config(cfg, str(folder)))
    except ValueError as error:
        raise ValueError(
            f'run {shown}: none of its checkpoints can be read, they are damaged. Train it again, '
            'or name a checkpoint of another folder that has a config.'
        ) from error
    if found is None:
        raise FileNotFoundError(
            f'run {shown} has saved no checkpoint yet. Wait for its first epoch, or continue it '
            f'with hvs-mm train --out {folder} --resume.'
        )
    # In a copy of a run the file `last_checkpoint` names that of the original.
    own = folder / Path(found).name
    return own if own.is_file() and why_unreadable(own) is None else Path(found)


def _crop_size(settings: Any) -> int | None:
    """The size of the first ``RandomResizedCrop`` within nested settings, in pixels."""
    if isinstance(settings, dict):
        if class_name(settings) == 'RandomResizedCrop' and isinstance(settings.get('scale'), int):
            return settings['scale']
        settings = list(settings.values())
    if isinstance(settings, (list, tuple)):
        return next((size for part in settings if (size := _crop_size(part))), None)
    return None
