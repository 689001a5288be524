"""Start a model from the backbone of a checkpoint, or not at all, and say what was loaded."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseModule, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from ..utils.console import log_to_console
from .architecture import differing_architecture
from .checkpoint_files import load_checkpoint
from .finite_weights import check_finite_weights
from .foreign_names import mmpretrain_names, resize_positions
from .input_channels import fit_first_convolution

#: Prefixes of the networks of a checkpoint; the first that is there is taken. DINO and iBOT
#: evaluate the teacher; the only network of other methods has the prefix of the student.
NETWORKS = {'teacher': 'teacher.backbone.', 'student': 'backbone.'}
#: Weights that only pretraining needs: the token for masked patches of iBOT and DINOv2.
PRETRAINING_ONLY = frozenset({'mask_token'})
_HEADS = re.compile(r'(head|head_dist|fc|dino_head|ibot_head)\.')


class BackboneLoad(NamedTuple):
    """Names of the tensors that were loaded into a backbone, and of those that were not.

    BatchNorm's counters of batches are loaded where there are any, but never reported as missing or
    left over: many published checkpoints have none, and nothing in evaluation reads them.
    ``prefix`` is that of the backbone's names in the checkpoint, ``''`` for a bare one; ``adapted``
    says how the first convolution was fit to other channels, ``''`` if it was not.
    """

    prefix: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    adapted: str = ''

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing or left over but heads, and what only pretraining needs."""
        rest = {name for name in self.unexpected if not _HEADS.match(name)}
        return PRETRAINING_ONLY.issuperset(rest.union(self.missing))

    def describe(self, source: str | Path) -> str:
        """One line for a log; ``source`` is where the weights come from."""
        count = len(self.loaded)
        text = f'backbone: {count} of {count + len(self.missing)} tensors loaded from {source} '
        text += f'({self.prefix!r})'
        if self.missing:
            text += f'; not in the checkpoint: {list_some(self.missing)}'
        if self.unexpected:
            only = PRETRAINING_ONLY.issuperset(self.unexpected)
            note = (' (of pretraining alone)' if only else ' (heads)') if self.is_complete else ''
            text += f'; left over: {list_some(self.unexpected)}{note}'
        return text + (f'; {self.adapted}' if self.adapted else '')


@WEIGHT_INITIALIZERS.register_module()
class PretrainedBackbone:
    """Initialize a backbone from a checkpoint and log what was loaded.

    To be used as ``init_cfg`` of a backbone of MMPretrain or MMDetection. The checkpoint may be one
    of this package, of MMPretrain, or a ViT or ResNet of DINO, iBOT, DINOv2 or timm (there also
    DINOv3), a pickle or ``.safetensors``. Position embeddings are resized as
    :func:`resize_positions` does; the first convolution of an RGB network is fit to other channels
    as :func:`adapt_input_channels` does. MMEngine's ``Pretrained`` only warns where nothing fits;
    this one stops.

    Args:
        checkpoint: Its path. ``None`` is an error once weights are initialized, which testing and
            building a model do not do.
        prefix: Prefix of the backbone's names in the checkpoint, ``''`` for a bare one. By default
            ``'teacher.backbone.'`` if there is one, else ``'backbone.'``, else a bare one.
        strict: Refuse a checkpoint that lacks tensors of the backbone or has others. Otherwise
            load the tensors that fit, and name the rest in the log.
        trust: Read the checkpoint even if it holds objects that can run code.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        prefix: str | None = None,
        strict: bool = True,
        trust: bool = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix
        self.strict = strict
        self.trust = trust

    def __call__(self, module: BaseModule) -> None:
        """Initialize a ``BaseModule`` of MMEngine and its children; see :func:`load_backbone`."""
        checkpoint = check_checkpoint_given(self.checkpoint)
        # MMEngine initializes children after their parent, unless they already are: later they
        # would overwrite what is loaded here.
        for child in module.children():
            if hasattr(child, 'init_weights'):
                child.init_weights()
        load = load_backbone(module, checkpoint, self.prefix, self.strict, self.trust)
        # Unless their `init_cfg` is of this type, backbones then set some weights again: ResNet its
        # last norms, VisionTransformer its position embeddings.
        module.init_cfg = dict(
            type='Pretrained', checkpoint=self.checkpoint, prefix=load.prefix or None
        )
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'{type(self).__name__}: loaded from {self.checkpoint}')
        text = load.describe(checkpoint)
        if load.is_complete:
            log_to_console(MMLogger.get_current_instance(), text)
        else:
            print_log(text, 'current', logging.WARNING)


def check_checkpoint_given(checkpoint: str | None, option: str = 'model.backbone.init_cfg') -> str:
    """Return the path, or raise ``ValueError`` if there is none.

    ``option`` is the initializer's name in the config.
    """
    if not checkpoint:
        raise ValueError(
            f'{option}.checkpoint={checkpoint!r}: this config starts from a pretrained backbone. '
            f'Give its checkpoint with --cfg-options {option}.checkpoint=PATH (tools/train.py: '
            f'--pretrained PATH), or ask for random weights with {option}=None.'
        )
    return checkpoint


def backbone_state(checkpoint: Any, prefix: str | None = None) -> tuple[str, dict[str, Tensor]]:
    """The weights of a checkpoint's backbone, under the names they have inside it.

    Args:
        checkpoint: A dict with a ``state_dict``, a bare state dict, or the content of a published
            file; see :func:`mmpretrain_names`.
        prefix: As for :class:`PretrainedBackbone`.

    Returns:
        The prefix, and the tensors without it, with the names of MMPretrain.

    Raises:
        ValueError: If the checkpoint holds no such backbone.
    """
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        raise ValueError(
            f'the checkpoint holds a {type(checkpoint).__name__}, expected a dict of tensors or '
            "one with a 'state_dict'."
        )
    if prefix and not prefix.endswith('.'):
        prefix += '.'
    for candidate in NETWORKS.values() if prefix is None else (prefix,):
        found = {
            name.removeprefix(candidate): value
            for name, value in state.items()
            if isinstance(name, str) and name.startswith(candidate) and isinstance(value, Tensor)
        }
        if found:
            is_foreign = 'patch_embed.proj.weight' in found
            return candidate, (mmpretrain_names(found) if is_foreign else None) or found
    if not state:
        raise ValueError('the checkpoint is empty.')
    if prefix is None:
        if 'patch_embed.projection.weight' in state:
            return '', {name: value for name, value in state.items() if isinstance(value, Tensor)}
        renamed = mmpretrain_names(checkpoint)
        if renamed is not None:
            return '', renamed
    if {'student', 'teacher'} & state.keys():
        raise ValueError(
            "the checkpoint has the layout of DINO's and iBOT's own code: convert it with "
            'tools/model_converters/published_to_hvs.py first.'
        )
    wanted = ' or '.join(map(repr, NETWORKS.values() if prefix is None else [prefix]))
    tops = Counter(f'{str(name).split(".")[0]}.' for name in state)
    names = list_some([f'{top!r} ({count})' for top, count in tops.most_common()], number=5)
    raise ValueError(
        f'the checkpoint holds no backbone: no tensor has a name that begins with {wanted}; the '
        f"names begin with {names}. If the backbone is there, give its prefix, '' if the "
        'checkpoint is a bare backbone.'
    )


def load_backbone(
    backbone: nn.Module,
    path: str | Path,
    prefix: str | None = None,
    strict: bool = True,
    trust: bool = False,
) -> BackboneLoad:
    """Load the backbone of a checkpoint into a module, which is changed in place.

    See :class:`PretrainedBackbone` for the files and the other settings.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, holds no backbone, shares no name with the module, has
            weights that are not finite, has a tensor of another shape or, if ``strict``, does not
            fit completely. In the last two cases the module may be partly loaded.
    """
    checkpoint = load_checkpoint(path, trust)
    return fit_backbone(backbone, checkpoint, path, prefix, strict, fit_channels=True)


def fit_backbone(
    backbone: BaseModule,
    checkpoint: Any,
    source: str | Path,
    prefix: str | None = None,
    strict: bool = True,
    fit_channels: bool = False,
) -> BackboneLoad:
    """:func:`load_backbone` for a checkpoint that has been read from the file ``source``.

    ``fit_channels`` allows a first convolution for RGB in a backbone for other channels.
    """
    try:
        prefix, state = backbone_state(checkpoint, prefix)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from error
    own, kind = backbone.state_dict(), type(backbone).__name__
    common = [name for name in own if name in state]
    if not common:
        raise ValueError(
            f'{source}: none of the {len(state)} tensors under {prefix!r} is one of this {kind}, '
            f'which has {list_some(own)}; the checkpoint has {list_some(state)}. Is it of another '
            'architecture?'
        )
    misfit = f'its backbone is of another architecture than this {kind}'
    adapted = ''
    if fit_channels:
        try:
            state, adapted = fit_first_convolution(state, own)
        except ValueError as error:
            raise ValueError(f'{source}: {error}') from error
    differing = differing_architecture(state, own) if strict else ''
    if differing:
        raise ValueError(f'{source}: {misfit}: {differing}.')
    check_finite_weights({name: state[name] for name in common}, source, own)
    if 'pos_embed' in common and getattr(backbone, 'num_extra_tokens', 0) == 1:
        grid = tuple(backbone.patch_resolution)
        state = {**state, 'pos_embed': resize_positions(state['pos_embed'], grid)}
    try:
        result = backbone.load_state_dict(state, strict=False)
    except (AssertionError, RuntimeError) as error:
        # Load hooks may change shapes, so only loading tells whether one fits.
        unfit = [
            f'{name}: {theirs} in the checkpoint, {ours} here'
            for name, theirs, ours in differing_shapes(state, own)
            if None not in (theirs, ours)
        ]
        reason = list_some(unfit, separator='; ') if unfit else str(error)
        raise ValueError(f'{source}: {misfit}: {reason}.') from error
    missing, unexpected = (
        tuple(name for name in names if not name.endswith('num_batches_tracked'))
        for names in (result.missing_keys, result.unexpected_keys)
    )
    load = BackboneLoad(prefix, tuple(common), missing, unexpected, adapted)
    if strict and not load.is_complete:
        raise ValueError(f'{load.describe(source)}: {misfit}.')
    return load


def differing_shapes(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> list[tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Name, found shape and expected shape of each tensor where they differ, None if missing."""
    there, here = (
        {name: tuple(value.shape) for name, value in state.items()} for state in (found, expected)
    )
    shapes = [(name, there.get(name), here.get(name)) for name in {**here, **there}]
    return [(name, theirs, ours) for name, theirs, ours in shapes if theirs != ours]


def list_some(names: Iterable[str], number: int = 3, separator: str = ', ') -> str:
    """The first names for a message, and how many more there are."""
    names = list(names)
    rest = f'{separator}and {len(names) - number} more' if len(names) > number else ''
    return separator.join(names[:number]) + rest
