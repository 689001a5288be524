"""Choose the settings of a run from its images, its method and its length, with reasons."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import ceil, sqrt
from pathlib import Path

import torch

from ..datasets.loading.image_kind import RGB, ImageKind
from .images import ImageSource
from .init_file import network_of_file
from .networks import NETWORKS, SMALL_IMAGES, Network

#: Methods by the names of ``--method``, each with the config that its recipe changes.
METHODS = {
    'simsiam': 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py',
    'simclr': 'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py',
    'byol': 'mmpretrain::byol/byol_resnet50_16xb256-coslr-200e_in1k.py',
    'moco': 'mmpretrain::mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k.py',
    'mocov3': 'mmpretrain::mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py',
    'densecl': 'mmpretrain::densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
    'barlowtwins': 'mmpretrain::barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py',
    'vicreg': 'hvs_mm::baselines/vicreg_resnet50_100e.py',
    'swav': 'mmpretrain::swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py',
    'dino': 'hvs_mm::baselines/dino_vit-small_100e.py',
    'ibot': 'hvs_mm::baselines/ibot_vit-small_100e.py',
    'dinov2': 'hvs_mm::baselines/dinov2_vit-small.py',
}
#: Methods that need patch tokens.
VIT_ONLY = ('ibot', 'dinov2')
#: Methods that need a map of features.
CNN_ONLY = ('densecl', 'swav')
#: Methods that start from a vision transformer unless the user asks for another network.
VIT_FIRST = ('dino', *VIT_ONLY)
#: Methods with a teacher or another momentum network.
WITH_TEACHER = ('byol', 'moco', 'mocov3', 'densecl', *VIT_FIRST)
#: Small crops per image; of small images at most 4.
LOCAL_CROPS = {'dino': 8, 'dinov2': 8, 'swav': 6}
#: Fewer cannot fill a batch whose statistics mean something.
MIN_IMAGES = 16
#: From this batch size on convolutional networks train with LARS, which is made for large batches.
LARS_BATCH = 1024
#: Share of a run from a backbone in which the backbone is frozen, the share of the learning rate
#: that it then has, and the factor of that from layer to layer of a transformer.
HEAD_WARMUP, BACKBONE_RATE, LAYER_DECAY = 0.1, 0.1, 0.9
#: Share of the k-NN accuracy whose loss is warned of in such a run.
KNN_DROP = 0.1
#: Sizes of square crops; the largest one that the images fill is taken.
_SIZES = (32, 64, 96, 128, 160, 192, 224)


@dataclass
class Recipe:
    """The settings of a run, and the reasons for them.

    Attributes:
        method, model: Names in :data:`METHODS` and :data:`NETWORKS`.
        image_size: Side of the crops, in pixels; ``local_size`` of the small ones.
        batch_size: Images per step, over all devices.
        devices: Processes, one per GPU.
        steps_per_epoch: Optimizer steps in which the run sees every image once.
        steps: Optimizer steps of the run.
        limited: Whether ``steps`` may end within an epoch.
        views: Candidates per image of the methods' large crops; 2 are kept.
        hard_views: Whether to select at all.
        optimizer: ``'SGD'``, ``'LARS'`` or ``'AdamW'``, with ``lr`` and ``weight_decay``.
        warmup: Steps of the linear warm-up of the learning rate.
        momentum: Share of the student in the first update of a teacher.
        prototypes: Of DINO, iBOT, DINOv2 and SwAV.
        local_crops: Small crops per image of DINO, DINOv2 and SwAV.
        amp: Whether to train in mixed precision.
        num_workers: Loader processes per device.
        network: The backbone.
        init: File whose backbone the run starts from, absolute; None for random weights.
        trust: Whether to read it even if it holds objects that can run code.
        kind: Channels and bits of the images.
        reasons: Lines for the user, by topic.
    """

    method: str
    model: str
    image_size: int
    batch_size: int
    devices: int
    steps_per_epoch: int
    steps: int
    limited: bool
    views: int
    hard_views: bool
    optimizer: str
    lr: float
    weight_decay: float
    warmup: int
    momentum: float
    prototypes: int
    local_crops: int
    local_size: int
    amp: bool
    num_workers: int
    network: Network
    init: str | None = None
    trust: bool = False
    kind: ImageKind = RGB
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def is_small(self) -> bool:
        """Whether images are so small that a blur or strong colors leave little of them."""
        return self.image_size <= SMALL_IMAGES

    @property
    def epochs(self) -> int:
        return ceil(self.steps / self.steps_per_epoch)


def choose_recipe(
    images: ImageSource,
    method: str = 'simclr',
    model: str | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    views: int = 4,
    hard_views: bool = True,
    image_size: int | None = None,
    batch_size: int | str = 'auto',
    devices: int = 1,
    amp: bool | None = None,
    init: str | os.PathLike | None = None,
    trust: bool = False,
) -> Recipe:
    """Choose the settings of a run.

    Args:
        images: What to train on.
        method: A name in :data:`METHODS`.
        model: A name in :data:`NETWORKS`; by default the smallest of the method's kind on a CPU,
            and the one that the method's paper trains on a GPU.
        epochs: Passes over the images, 100 by default.
        steps: Optimizer steps instead of epochs.
        views: Candidates per image, of which the hardest two are kept.
        hard_views: Select views; without it the method trains as published.
        image_size: Side of the crops in pixels; by default that of the images, at most 224 and at
            most 128 without a GPU.
        batch_size: Images per step over all devices, or ``'auto'``.
        devices: Processes.
        amp: Train in mixed precision; by default on a GPU only.
        init: File whose backbone the run starts from, which decides the network.
        trust: Read this file even if it holds objects that can run code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a setting is unknown or out of range, settings do not fit each other, or
            there are too few images.
    """
    init = None if init is None else Path(init)
    network, model = _choose_network(method, model, init, images.kind.channels, trust)
    _check_numbers(images, views if hard_views else 4, epochs, steps, batch_size, devices)
    on_gpu = torch.cuda.is_available()
    size, size_reason = _choose_size(images, image_size, on_gpu, network, method)
    if isinstance(batch_size, str):
        batch_size, batch_reason = _choose_batch(len(images), size, on_gpu, devices)
    else:
        batch_reason = 'as asked'
    steps_per_epoch = len(images) // batch_size
    limited = steps is not None
    steps = steps or (100 if epochs is None else epochs) * steps_per_epoch
    optimizer, lr, weight_decay, optimizer_reason = _choose_optimizer(method, network, batch_size)
    warmup = min(steps // 10, 10 * steps_per_epoch)
    # LinearLR of a single step would stay at its start.
    warmup = warmup if warmup > 1 else 0
    # 30 half-lives or so: a teacher that averages over a tenth of a short run would lag behind.
    momentum = min(max(30 / steps, 0.004), 0.02)
    local_crops = LOCAL_CROPS.get(method, 0)
    recipe = Recipe(
        method=method,
        model=model,
        image_size=size,
        batch_size=batch_size,
        devices=devices,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        limited=limited,
        views=views,
        hard_views=hard_views,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        warmup=warmup,
        momentum=momentum,
        prototypes=_choose_prototypes(len(images), method),
        local_crops=min(local_crops, 4) if size <= SMALL_IMAGES else local_crops,
        local_size=_local_size(size, network),
        amp=on_gpu if amp is None else amp,
        num_workers=min(max((os.cpu_count() or 1) // devices - 1, 1), 12),
        network=network,
        init=None if init is None else str(init.absolute()),
        trust=trust,
        kind=images.kind,
    )
    recipe.reasons = {
        'images': images.describe(),
        **({} if recipe.kind == RGB else {'channels': images.describe_channels()}),
        'network': f'{model}, {size} px: {size_reason}',
        'views': _describe_views(recipe),
        'length': f'{_describe_length(recipe)}, batch {batch_size} ({batch_reason})',
        'optimizer': f'{optimizer}, learning rate {lr:.3g} ({optimizer_reason}), '
        + (f'{warmup} steps of warm-up, then cosine' if warmup else 'cosine')
        + (f'; teacher momentum {1 - momentum:.4g}' if method in WITH_TEACHER else ''),
    }
    if init is not None:
        recipe.reasons['start'] = (
            f'{init.name}: its backbone is frozen for {HEAD_WARMUP:.0%} of the steps while the '
            f'new heads warm up, then trains at {BACKBONE_RATE:g} of the learning rate'
            + (f', {LAYER_DECAY:g} of that for each layer below' if network.is_vit else '')
            + network.adapted
        )
    return recipe


def check_name(option: str, name: str, known: Mapping[str, object]) -> None:
    """Raise a ``ValueError`` that proposes a similar name if a name is unknown."""
    if name in known:
        return
    similar = get_close_matches(str(name).lower(), known, n=1)
    hint = f'did you mean {similar[0]!r}? ' if similar else ''
    raise ValueError(f'{option} {name!r} is unknown: {hint}There are {", ".join(known)}.')


def _choose_network(
    method: str, model: str | None, init: Path | None, channels: int, trust: bool
) -> tuple[Network, str]:
    check_name('--method', method, METHODS)
    network = None
    if init is not None:
        name, network = network_of_file(init, channels, trust)
        if model not in (None, name):
            raise ValueError(
                f'--model {model}: --init {str(init)!r} holds a {name}. Leave out --model.'
            )
        model = name
    elif model is None:
        small, large = (
            ('vit-tiny', 'vit-small') if method in VIT_FIRST else ('resnet18', 'resnet50')
        )
        model = large if torch.cuda.is_available() else small
    if network is None:
        check_name('--model', model, NETWORKS)
        network = NETWORKS[model]
    option = f'--model {model}' if init is None else f'the {model} of --init {str(init)!r}'
    if method in VIT_ONLY and not network.is_vit:
        others = ', '.join(name for name, other in NETWORKS.items() if other.is_vit)
        way_out = f'one of {others}' if init is None else 'the file of a vision transformer'
        raise ValueError(
            f'--method {method} masks patches, which {option} does not have: take {way_out}, or '
            '--method dino.'
        )
    if method in CNN_ONLY and network.is_vit:
        others = ', '.join(name for name, other in NETWORKS.items() if not other.is_vit)
        way_out = f'one of {others}' if init is None else 'the file of a ResNet'
        raise ValueError(
            f'--method {method} needs a map of features, which {option} does not give: take '
            f'{way_out}.'
        )
    return network, model


def _check_numbers(
    images: ImageSource,
    views: int,
    epochs: int | None,
    steps: int | None,
    batch_size: int | str,
    devices: int,
) -> None:
    if epochs is not None and steps is not None:
        raise ValueError('--epochs and --steps both say how long to train: give one of them.')
    for option, value in (('--epochs', epochs), ('--steps', steps), ('--devices', devices)):
        if value is not None and value < 1:
            raise ValueError(f'{option} {value} must be at least 1.')
    if views < 3:
        raise ValueError(
            f'--views {views} leaves no choice of 2 views to train on: draw at least 3, or train '
            'without selection by --no-hard-views.'
        )
    if len(images) < MIN_IMAGES:
        raise ValueError(
            f'there are {len(images)} images below {str(images.root)!r}, expected at least '
            f'{MIN_IMAGES}: add images, or start from a pretrained backbone instead.'
        )
    if batch_size == 'auto':
        return
    if not isinstance(batch_size, int) or not 2 <= batch_size <= len(images):
        raise ValueError(
            f"--batch-size {batch_size} must be 'auto' or from 2 to the number of images, "
            f'{len(images)}.'
        )
    if batch_size < 2 * devices:
        raise ValueError(
            f'--batch-size {batch_size} leaves {batch_size / devices:g} images for each of '
            f'--devices {devices}: raise it to at least {2 * devices}, as images are compared with '
            'others of their process.'
        )
    if batch_size % devices:
        raise ValueError(f'--batch-size {batch_size} must be a multiple of --devices {devices}.')


def _choose_size(
    images: ImageSource, asked: int | None, on_gpu: bool, network: Network, method: str
) -> tuple[int, str]:
    side = images.median_side
    if asked is None:
        limit = 224 if on_gpu else 128
        size = max(size for size in _SIZES if size <= max(min(side, limit), _SIZES[0]))
        reason = f'the images have {side} px'
        if network.patch:
            # As many patches as without a file, though of enlarged pixels.
            size = max(size - size % network.patch, 8 * network.patch)
            reason += ', enlarged to 8 patches a side' if size > side else ''
        if size < min(side, 224) and size == limit:
            reason += f', and without a GPU {size} px are what is fast enough'
    else:
        size, reason = asked, 'as asked'
    if size < 16:
        raise ValueError(f'--image-size {size} must be at least 16 pixels.')
    if network.is_vit:
        patch = network.patch_size(size)
        if size % patch:
            raise ValueError(
                f'--image-size {size} is no multiple of {patch}, the patch size of a vision '
                f'transformer for such images: take {size // patch * patch} or '
                f'{(size // patch + 1) * patch}.'
            )
        return size, f'{reason}; patches of {patch} px'
    if network.has_small_stem(size):
        return size, f'{reason}; 3x3 stem without pooling'
    return size, reason


def _choose_batch(number: int, size: int, on_gpu: bool, devices: int) -> tuple[int, str]:
    small = size <= SMALL_IMAGES
    limit = devices * (512 if small else 128) if on_gpu else 128 if small else 64
    fair = number // 8
    batch = limit if limit <= fair else max(2 ** (fair.bit_length() - 1), 4)
    batch = max(batch // devices, 2) * devices
    reason = f'{number:,} images give few steps' if batch < limit else f'usual at {size} px'
    return batch, reason


def _choose_optimizer(
    method: str, network: Network, batch_size: int
) -> tuple[str, float, float, str]:
    if network.is_vit and method == 'mocov3':
        lr = 1.5e-4 * batch_size / 256
        return 'AdamW', lr, 0.1, f'1.5e-4 * {batch_size}/256 as published'
    if method == 'dinov2':
        lr = 4e-3 * sqrt(batch_size / 1024)
        reason = f'4e-3 * sqrt({batch_size}/1024) as published, less for early layers'
        return 'AdamW', lr, 0.04, reason
    if network.is_vit:
        # The published 2e-3 at batch 1024.
        lr = 2e-3 * sqrt(batch_size / 1024)
        return 'AdamW', lr, 0.04, f'2e-3 * sqrt({batch_size}/1024), usual for transformers'
    if method == 'simsiam':
        lr = 0.05 * batch_size / 256
        return 'SGD', lr, 1e-4, f'0.05 * {batch_size}/256 as published, fixed for the predictor'
    if method in ('moco', 'densecl'):
        lr = 0.03 * batch_size / 256
        return 'SGD', lr, 1e-4, f'0.03 * {batch_size}/256 as published'
    if method == 'dino':
        lr = 0.03 * batch_size / 256
        return 'SGD', lr, 1e-4, f'0.03 * {batch_size}/256 as published for ResNets'
    if batch_size >= LARS_BATCH:
        return 'LARS', 0.3 * batch_size / 256, 1e-6, f'0.3 * {batch_size}/256 as published'
    return 'SGD', 0.2 * batch_size / 256, 1e-4, f'0.2 * {batch_size}/256, below LARS batches'


def _choose_prototypes(number: int, method: str) -> int:
    """A power of two near a quarter of the images; SwAV fills each of its prototypes alike."""
    if method == 'swav':
        return 2 ** min(max((number // 16).bit_length(), 7), 11)
    return 2 ** min(max((number // 4).bit_length(), 10), 16 if method in ('dino', 'dinov2') else 13)


def _local_size(size: int, network: Network) -> int:
    """About 96 of 224 pixels, in whole patches."""
    unit = network.patch_size(size) if network.is_vit else 8
    return max(round(size * 96 / 224 / unit), 1) * unit


def _describe_views(recipe: Recipe) -> str:
    crops = f'crops of {recipe.image_size} px'
    if recipe.local_crops:
        crops += f' and {recipe.local_crops} of {recipe.local_size} px'
    if recipe.is_small:
        crops += ', no blur and mild colors on small images'
    if recipe.hard_views:
        return f'{crops}; {recipe.views} candidates, the hardest 2 are kept'
    return f'{crops}; 2 per image, no selection'


def _describe_length(recipe: Recipe) -> str:
    if recipe.limited:
        passes = recipe.steps / recipe.steps_per_epoch
        return f'{recipe.steps:,} steps ({passes:.3g} passes over the images)'
    return f'{recipe.epochs} epochs of {recipe.steps_per_epoch:,} steps'
