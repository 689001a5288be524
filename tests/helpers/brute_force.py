"""Hard view selection written out in loops: slow, obvious, and sharing no code with the package."""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Nested lists [sample][target][view].
PairLoss = list[list[list[float]]]


def pair_loss_by_hand(
    algorithm: nn.Module,
    views: list[Tensor],
    num_targets: int,
    masks: Tensor | None = None,
    scale: float = 1.0,
    depth: int | None = None,
) -> PairLoss:
    """Losses of all pairs in float64, view by view; the diagonal is iBOT's, else NaN.

    Args:
        algorithm: Without BatchNorm or noise, so that samples do not depend on each other.
        views: S tensors (B, 3, H, W).
        num_targets: T.
        masks: Masks of iBOT, (B, T, h, w) bool.
        scale: As ``selection_pass.scale``.
        depth: As ``selection_pass.depth``.
    """
    algorithm = deepcopy(algorithm).double()
    patch = getattr(algorithm.backbone, 'patch_embed', None)
    unit = patch.projection.kernel_size if patch is not None else (1, 1)
    with torch.no_grad():
        views = [smaller_by_hand(view.double(), scale, unit) for view in views]
        if masks is not None and scale < 1:
            grid = [side // step for side, step in zip(views[0].shape[2:], unit)]
            masks = F.adaptive_avg_pool2d(masks.double(), grid) >= 0.5
        if depth is not None:
            features = [early_by_hand(algorithm.backbone, view, depth) for view in views]
            return _filled(
                views, num_targets, lambda b, t, s: -_cosine(features, features, b, t, s)
            )
        kind = type(algorithm).__name__
        return _LOSSES[kind](algorithm, views, num_targets, masks)


def smaller_by_hand(view: Tensor, scale: float, unit: tuple[int, int]) -> Tensor:
    """A view with every side scaled to whole units, averaged over the pixels that fall together."""
    if scale == 1:
        return view
    size = [max(1, round(side * scale / step)) * step for side, step in zip(view.shape[2:], unit)]
    return F.adaptive_avg_pool2d(view, size)


def early_by_hand(backbone: nn.Module, view: Tensor, depth: int) -> Tensor:
    """(B, C) mean output of a stage or layer; all others run, too."""
    is_resnet = hasattr(backbone, 'res_layers')
    layers = (
        [getattr(backbone, name) for name in backbone.res_layers] if is_resnet else backbone.layers
    )
    seen = []
    handle = layers[depth - 1].register_forward_hook(lambda *args: seen.append(args[2]))
    backbone(view)
    handle.remove()
    return seen[0].mean((2, 3)) if is_resnet else seen[0][:, 1:].mean(1)


def _filled(views: list[Tensor], num_targets: int, loss: Any, diagonal: Any = None) -> PairLoss:
    def cell(b: int, t: int, s: int) -> float:
        if t == s:
            return math.nan if diagonal is None else float(diagonal(b, t))
        return float(loss(b, t, s))

    return [
        [[cell(b, t, s) for s in range(len(views))] for t in range(num_targets)]
        for b in range(len(views[0]))
    ]


def _cosine(online: list[Tensor], target: list[Tensor], b: int, t: int, s: int) -> float:
    x, y = online[s][b], target[t][b]
    return float(x @ y / (x.norm() * y.norm()))


def _simsiam(algorithm: nn.Module, views: list[Tensor], num_targets: int, masks: None) -> PairLoss:
    z = [algorithm.neck(algorithm.backbone(view))[0] for view in views]
    p = [algorithm.head.predictor([one])[0] for one in z]
    return _filled(views, num_targets, lambda b, t, s: -_cosine(p, z, b, t, s))


def _byol(algorithm: nn.Module, views: list[Tensor], num_targets: int, masks: None) -> PairLoss:
    z = [algorithm.neck(algorithm.backbone(view))[0] for view in views]
    p = [algorithm.head.predictor([one])[0] for one in z]
    target = [algorithm.target_net(view)[0] for view in views]
    # The first update copies the online network.
    target = target if algorithm.target_net.steps > 0 else z
    return _filled(views, num_targets, lambda b, t, s: 2 - 2 * _cosine(p, target, b, t, s))


def _simclr(algorithm: nn.Module, views: list[Tensor], num_targets: int, masks: None) -> PairLoss:
    z = [F.normalize(algorithm.neck(algorithm.backbone(view))[0]) for view in views]

    def loss(b: int, t: int, s: int) -> float:
        def alike(view: int, sample: int) -> float:
            return float(z[s][b] @ z[view][sample]) / algorithm.head.temperature

        samples = range(len(z[s]))
        total = sum(math.exp(alike(s, c)) for c in samples if c != b)
        total += sum(math.exp(alike(t, c)) for c in samples)
        return -alike(t, b) + math.log(total)

    return _filled(views, num_targets, loss)


def _cross_entropy(
    student: Tensor, teacher: Tensor, center: Tensor, tau_s: float, tau_t: float
) -> Tensor:
    target = ((teacher - center[0]) / tau_t).softmax(-1)
    return -(target * (student / tau_s).log_softmax(-1)).sum(-1)


def _dino(algorithm: nn.Module, views: list[Tensor], num_targets: int, masks: None) -> PairLoss:
    head, teacher = algorithm.head, algorithm.teacher
    x = [algorithm.neck(algorithm.backbone(view))[0] for view in views]
    y = [teacher['neck'](teacher['backbone'](view))[0] for view in views[:num_targets]]
    taus = head.student_temp, head.current_teacher_temp()
    return _filled(
        views, num_targets, lambda b, t, s: _cross_entropy(x[s][b], y[t][b], head.center, *taus)
    )


def _ibot(algorithm: nn.Module, views: list[Tensor], num_targets: int, masks: Tensor) -> PairLoss:
    head, neck, teacher = algorithm.head, algorithm.neck, algorithm.teacher
    masked = [masks[:, s] if s < num_targets else None for s in range(len(views))]
    x = [algorithm.backbone(view, mask)[-1] for view, mask in zip(views, masked)]
    y = [teacher['backbone'](view)[-1] for view in views[:num_targets]]
    taus = head.student_temp, head.current_teacher_temp()

    def cls(b: int, t: int, s: int) -> Tensor:
        online, target = neck([x[s][b : b + 1]])[0], teacher['neck']([y[t][b : b + 1]])[0]
        return _cross_entropy(online[0], target[0], head.center, *taus)

    def patches(b: int, t: int) -> float:
        where = masks[b, t].flatten()
        if not where.any():
            return 0.0
        online = neck.patch_logits(x[t][b, 1:][where])
        target = teacher['neck'].patch_logits(y[t][b, 1:][where])
        tau_t = head.current_patch_teacher_temp()
        losses = _cross_entropy(online, target, head.patch_center, head.student_temp, tau_t)
        return float(losses.mean())

    return _filled(views, num_targets, cls, patches)


def sinkhorn_by_hand(logits: Tensor, tau: float, num_iterations: int = 3) -> Tensor:
    """Assignments (N, K) as the code published with DINOv2 and SwAV computes them."""
    mass = torch.exp(logits / tau)
    mass = mass / mass.sum()
    for _ in range(num_iterations):
        # Prototypes have equal mass, then samples.
        mass = mass / mass.sum(0, keepdim=True) / mass.shape[1]
        mass = mass / mass.sum(1, keepdim=True) / mass.shape[0]
    return mass * mass.shape[0]


def _dinov2(algorithm: nn.Module, views: list[Tensor], num_targets: int, masks: Tensor) -> PairLoss:
    head, neck, teacher = algorithm.head, algorithm.neck, algorithm.teacher
    if not head.uses_sinkhorn:
        return _ibot(algorithm, views, num_targets, masks)
    masked = [masks[:, s] if s < num_targets else None for s in range(len(views))]
    x = [algorithm.backbone(view, mask)[-1] for view, mask in zip(views, masked)]
    y = [teacher['backbone'](view)[-1] for view in views[:num_targets]]
    pairs = list(product(range(len(views[0])), range(num_targets)))
    cls = torch.cat([teacher['neck']([y[t][b : b + 1]])[0] for b, t in pairs])
    cls = dict(zip(pairs, sinkhorn_by_hand(cls, head.current_teacher_temp())))
    where = {(b, t): masks[b, t].flatten() for b, t in pairs}
    patches = torch.cat([teacher['neck'].patch_logits(y[t][b, 1:][where[b, t]]) for b, t in pairs])
    patches = sinkhorn_by_hand(patches, head.current_patch_teacher_temp())
    patches = dict(zip(pairs, patches.split([int(where[pair].sum()) for pair in pairs])))

    def loss(b: int, t: int, s: int) -> Tensor:
        online = neck([x[s][b : b + 1]])[0][0]
        return -(cls[b, t] * (online / head.student_temp).log_softmax(-1)).sum()

    def patch_loss(b: int, t: int) -> float:
        online = neck.patch_logits(x[t][b, 1:][where[b, t]]) / head.student_temp
        losses = -(patches[b, t] * online.log_softmax(-1)).sum(-1)
        return float(losses.mean()) if len(losses) else 0.0

    return _filled(views, num_targets, loss, patch_loss)


_LOSSES = {
    'SimSiam': _simsiam,
    'BYOL': _byol,
    'SimCLR': _simclr,
    'DINO': _dino,
    'IBOT': _ibot,
    'DINOv2': _dinov2,
}


def admissible_by_hand(candidates: list[int], keep: list[int]) -> list[tuple[int, ...]]:
    """All combinations of view positions, in lexicographic order."""
    start, per_group = 0, []
    for drawn, kept in zip(candidates, keep):
        per_group.append(list(combinations(range(start, start + drawn), kept)))
        start += drawn
    return [sum(pick, ()) for pick in product(*per_group)]


def score_by_hand(
    loss: list[list[float]],
    kept: tuple[int, ...],
    num_targets: int,
    cross_weight: float = 1.0,
    diagonal_weight: float = 0.0,
) -> float:
    """Score of a combination of one sample; ``num_targets`` of the candidates are targets."""
    targets = [view for view in kept if view < num_targets]
    terms = [loss[t][s] for t in targets for s in kept if s != t]
    score = cross_weight * sum(terms) / len(terms)
    if diagonal_weight:
        score += diagonal_weight * sum(loss[t][t] for t in targets) / len(targets)
    return score
