"""Features of the images of a data loader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..models.hvs_algorithm import HVSAlgorithm
from ..utils.state_guard import evaluation_mode
from .labeled_features import LabeledFeatures


def feature_networks(model: nn.Module) -> dict[str, Callable[[Tensor], Any]]:
    """What of a model gives features, by name; the first is the one that is evaluated by default.

    Args:
        model: A model of MMPretrain, alone, in :class:`hvs_mm.models.HVSAlgorithm` or in
            DistributedDataParallel, or a backbone.

    Returns:
        ``teacher`` and ``student`` for DINO and iBOT, whose papers evaluate the teacher;
        ``backbone`` for everything else. Each maps images (B, 3, H, W) to the output of a backbone.
    """
    model = _unwrap(model)
    teacher = getattr(model, 'teacher', None)
    if isinstance(teacher, nn.ModuleDict) and 'backbone' in teacher:
        return {'teacher': teacher['backbone'], 'student': model.extract_feat}
    return {'backbone': getattr(model, 'extract_feat', model)}


def choose_network(model: nn.Module, name: str | None) -> str:
    """The name of the network to evaluate.

    Args:
        model: As for :func:`feature_networks`.
        name: The one asked for; None for the default.

    Raises:
        ValueError: If the model has none of that name.
    """
    names = list(feature_networks(model))
    if name is not None and name not in names:
        raise ValueError(
            f'network={name!r}: {type(_unwrap(model)).__name__} has '
            f'{" and ".join(map(repr, names))}; leave the setting out for {names[0]!r}.'
        )
    return name or names[0]


def pool_features(output: Any) -> Tensor:
    """One vector per image from what a backbone returns.

    Args:
        output: A tensor, or a sequence of which the last one counts: feature maps (B, D, H, W),
            which are averaged; tokens (B, 1 + N, D), of which the first, [CLS], is taken; or
            vectors (B, D).

    Returns:
        (B, D) float32.

    Raises:
        ValueError: If it is neither.
    """
    last = output[-1] if isinstance(output, Sequence) else output
    if not isinstance(last, Tensor) or last.ndim not in (2, 3, 4):
        found = tuple(last.shape) if isinstance(last, Tensor) else type(last).__name__
        raise ValueError(
            f'the network returns {found}, expected feature maps (B, D, H, W), tokens '
            '(B, 1 + N, D) or vectors (B, D).'
        )
    if last.ndim == 4:
        return last.float().mean((2, 3))
    return (last[:, 0] if last.ndim == 3 else last).float()


@torch.no_grad()
def extract_features(
    model: nn.Module, loader: DataLoader, network: str | None = None
) -> LabeledFeatures:
    """Features of the images that a loader gives to this process.

    The model works in eval mode and is left as it was found, see :func:`evaluation_mode`. Where
    there are several processes, all of them call this together: BatchNorm normalizes with the
    statistics of the first one, which a checkpoint has, too.

    Args:
        model: As for :func:`feature_networks`, on any device. Its ``data_preprocessor``, if there
            is one, prepares the batches.
        loader: Gives batches with ``inputs`` (B, 3, H, W) and B ``data_samples`` with a
            ``gt_label`` each, as ``PackInputs`` and ``default_collate`` do. Its sampler must not
            shuffle. One of several processes gets its part from MMEngine's ``DefaultSampler``.
        network: ``'teacher'``, ``'student'`` or ``'backbone'``, see :func:`feature_networks`; None
            for the default.

    Returns:
        Features (N, D) float32 on the CPU in the order of the sampler, with their labels and
        indices in the data set. D is 0 if N is.

    Raises:
        ValueError: If the loader shuffles, a sample has no label or several, the network does not
            exist, or its output is no feature.
    """
    forward = feature_networks(model)[choose_network(model, network)]
    model = _unwrap(model)
    features, labels, start = torch.empty(0, 0), [], 0
    with evaluation_mode(model):
        _share_buffers(model)
        indices = _order(loader)
        for batch in loader:
            samples = batch.get('data_samples') or []
            labels += [_label(sample) for sample in samples]
            found = pool_features(forward(_inputs(model, batch)))
            if len(samples) != len(found):
                raise ValueError(
                    f'the loader gives {len(samples)} data samples for {len(found)} images: its '
                    "pipeline must end with dict(type='PackInputs')."
                )
            if start == 0:
                # At once: joining batches afterwards would need the memory twice.
                features = torch.empty(len(indices), found.shape[1])
            features[start : start + len(found)] = found
            start += len(found)
    return LabeledFeatures(
        features[:start], torch.tensor(labels, dtype=torch.int64), indices[:start]
    )


def _unwrap(model: nn.Module) -> nn.Module:
    if is_model_wrapper(model):
        model = model.module
    # Its `extract_feat` is that of the algorithm, whose modules have the modes to restore.
    return model.algorithm if isinstance(model, HVSAlgorithm) else model


def _share_buffers(model: nn.Module) -> None:
    """Give all processes the buffers of the first one, or their features would not compare."""
    if get_world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer, 0)


def _order(loader: DataLoader) -> Tensor:
    order = list(loader.sampler)
    if order != list(loader.sampler):
        raise ValueError(
            f'the loader shuffles ({type(loader.sampler).__name__}), so that its images cannot be '
            'told apart: give it sampler=DefaultSampler(dataset, shuffle=False).'
        )
    return torch.tensor(order, dtype=torch.int64)


def _label(sample: Any) -> int:
    label = getattr(sample, 'gt_label', None)
    if label is None or label.numel() != 1:
        found = 'no label' if label is None else f'{label.numel()} labels'
        path = getattr(sample, 'img_path', None)
        raise ValueError(
            f'an image{f" ({path})" if path else ""} has {found}; k-NN needs exactly one gt_label '
            'per image.'
        )
    return int(label)


def _inputs(model: nn.Module, batch: dict[str, Any]) -> Tensor:
    if hasattr(model, 'data_preprocessor'):
        return model.data_preprocessor(batch)['inputs']
    return batch['inputs'].to(next(model.parameters()).device)
