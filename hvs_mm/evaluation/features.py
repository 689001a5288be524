"""Features of the images of a data loader, with their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..models.hvs_algorithm import HVSAlgorithm
from ..utils.state_guard import preserve_state
from ..utils.unwrap_model import unwrap_model, whole_weights

#: The search for neighbors packs an index into 32 bits.
MAX_INDEX = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class LabeledFeatures:
    """The features of one process, their classes, and which image each belongs to.

    Attributes:
        features: (N, D), any floating dtype, on any device.
        labels: (N,) int64 classes, at least 0.
        indices: (N,) int64, the number of each image in the whole data set, below 2^32. An image
            that occurs again, in this process or another one, counts once.

    Raises:
        TypeError: If a tensor has the wrong dtype.
        ValueError: If the shapes do not fit, or a label or an index is out of range.
    """

    features: Tensor
    labels: Tensor
    indices: Tensor

    def __post_init__(self) -> None:
        if not self.features.is_floating_point():
            raise TypeError(f'features have dtype {self.features.dtype}, expected a floating one.')
        if self.features.ndim != 2:
            raise ValueError(f'features have shape {tuple(self.features.shape)}, expected (N, D).')
        for name, values in (('labels', self.labels), ('indices', self.indices)):
            if values.dtype != torch.int64:
                raise TypeError(f'{name} have dtype {values.dtype}, expected torch.int64.')
            if values.shape != self.features.shape[:1]:
                raise ValueError(
                    f'{name} have shape {tuple(values.shape)}, but there are '
                    f'{len(self.features)} features: give one per feature.'
                )
            if len(values) and (values.min() < 0 or values.max() > MAX_INDEX):
                raise ValueError(
                    f'{name} lie between {values.min()} and {values.max()}, expected at least 0 '
                    'and less than 2^32.'
                )

    def __len__(self) -> int:
        return len(self.features)

    def select(self, mask: Tensor) -> LabeledFeatures:
        """The samples at which a mask (N,) bool is true; no copy if it is true everywhere."""
        if mask.all():
            return self
        tensors = (self.features, self.labels, self.indices)
        return LabeledFeatures(*(tensor[mask.to(tensor.device)] for tensor in tensors))


def feature_networks(model: nn.Module) -> dict[str, Callable[[Tensor], Any]]:
    """The networks of a model that give features, by name; the default comes first.

    A model of MMPretrain, also in ``HVSAlgorithm`` or DistributedDataParallel, or a backbone.
    DINO and iBOT have ``teacher``, which their papers evaluate, and ``student``; others
    ``backbone``. Each maps images (B, 3, H, W) to the output of a backbone.
    """
    algorithm = own_model(model)
    teacher = getattr(algorithm, 'teacher', None)
    if isinstance(teacher, nn.ModuleDict) and 'backbone' in teacher:
        return {'teacher': teacher['backbone'], 'student': algorithm.extract_feat}
    return {'backbone': getattr(algorithm, 'extract_feat', algorithm)}


def choose_network(model: nn.Module, name: str | None) -> str:
    """The name of the network to evaluate, the default one for None; ``ValueError`` if missing."""
    names = list(feature_networks(model))
    if name is not None and name not in names:
        raise ValueError(
            f'network={name!r}: {type(own_model(model)).__name__} has '
            f'{" and ".join(map(repr, names))}; leave the setting out for {names[0]!r}.'
        )
    return name or names[0]


def pool_features(output: Any) -> Tensor:
    """One vector per image, (B, D) float32, from the output of a backbone.

    Args:
        output: Feature maps (B, D, H, W), which are averaged; tokens (B, 1 + N, D), of which the
            first, [CLS], is taken; or vectors (B, D). Of a sequence the last element counts.

    Raises:
        ValueError: If it is none of these.
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

    The model works in eval mode and is left as it was found. All processes of a group must call
    this together: BatchNorm normalizes with the statistics of the first one, which are those of a
    checkpoint.

    Args:
        model: As for :func:`feature_networks`, on any device. Its ``data_preprocessor``, if there
            is one, prepares the batches.
        loader: Gives batches with ``inputs`` (B, 3, H, W) and B ``data_samples`` with a
            ``gt_label`` each, as ``PackInputs`` and ``default_collate`` do. Its sampler must not
            shuffle; MMEngine's ``DefaultSampler`` gives each process its part.
        network: A name of :func:`feature_networks`; None for the default.

    Returns:
        Features (N, D) float32 on the CPU in the order of the sampler, with their labels and
        indices in the data set. D is 0 if N is.

    Raises:
        ValueError: If the loader shuffles, a sample has no label or several, the network does not
            exist, or its output is no feature.
    """
    forward = feature_networks(model)[choose_network(model, network)]
    whole, model = whole_weights(model), own_model(model)
    features, labels, start = torch.empty(0, 0), [], 0
    with whole, preserve_state(model, evaluate=True):
        # Features with other buffers could not be compared; a single process has nothing to do.
        for buffer in model.buffers():
            broadcast(buffer, 0)
        order = list(loader.sampler)
        if order != list(loader.sampler):
            raise ValueError(
                f'the loader shuffles ({type(loader.sampler).__name__}), so that its images cannot '
                'be told apart: give it sampler=DefaultSampler(dataset, shuffle=False).'
            )
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
                # Allocated once: joining batches at the end would need the memory twice.
                features = torch.empty(len(order), found.shape[1])
            features[start : start + len(found)] = found
            start += len(found)
    indices = torch.tensor(order[:start]).long()
    return LabeledFeatures(features[:start], torch.tensor(labels).long(), indices)


def own_model(model: nn.Module) -> BaseModule:
    """The algorithm, without ``HVSAlgorithm`` or a wrapper for several processes."""
    model = unwrap_model(model)
    # The modules whose modes have to be restored are those of the algorithm.
    return model.algorithm if isinstance(model, HVSAlgorithm) else model


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


def _inputs(model: BaseModule, batch: dict[str, Any]) -> Tensor:
    if hasattr(model, 'data_preprocessor'):
        return model.data_preprocessor(batch)['inputs']
    return batch['inputs'].to(next(model.parameters()).device)
