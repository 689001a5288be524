"""Draw subsets of a fixed size whose probability is the product of weights of their members.

The normalizing constant of subsets of size ``j`` is the elementary symmetric polynomial ``e_j`` of
the weights. Those of a set follow from those of its halves, ``e_j = sum over i of e_i of the first
half times e_(j-i) of the second``, so a tree over n members has log2(n) levels, of which each is a
few operations on the whole batch: up to sum, and down to draw how many members come from which
half. Exact, in logarithms, and without a list of the subsets.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def subset_tree(log_weights: Tensor, size: int) -> list[Tensor]:
    """The sums over subsets of the members of each node of a binary tree.

    Args:
        log_weights: (..., n) logarithms of the weights; ``-inf`` for members never drawn.
        size: Size of the subsets to draw, from 1 to n.

    Returns:
        The levels from the members to the root, of which each has half as many nodes: (..., nodes,
        most + 1), the logarithm of the sum over the subsets of j members in column j, for ``most``
        members of the node or ``size``. Element ``[..., 0, size]`` of the root is the logarithm of
        the normalizing constant.
    """
    # Members that are never drawn fill the last nodes.
    padding = 2 ** (log_weights.shape[-1] - 1).bit_length() - log_weights.shape[-1]
    members = pad(log_weights, (0, padding), value=-torch.inf)
    levels = [torch.stack([torch.zeros_like(members), members], -1)]
    while levels[-1].shape[-2] > 1:
        below = levels[-1]
        most = min(2 * (below.shape[-1] - 1), size)
        counts = torch.arange(most + 1, device=below.device)
        # (..., nodes, most + 1, ways to split)
        levels.append(_splits(below, counts.expand(*below[..., 0::2, 0].shape, -1)).logsumexp(-1))
    return levels


def draw_subsets(levels: list[Tensor], size: int) -> Tensor:
    """Draw a subset for each tree (B, nodes, most + 1) of :func:`subset_tree`.

    Returns:
        (B, size) int64, ascending positions of the members. If no subset has a positive
        probability, any positions.
    """
    root = levels[-1]
    counts = torch.full((len(root), 1), size, device=root.device)
    for below in reversed(levels[:-1]):
        # (B, nodes, 1, ways to split) -> (B, nodes)
        first = draw_category(_splits(below, counts[..., None]).squeeze(-2))
        counts = torch.stack([first, counts - first], -1).flatten(1)
    # Now 1 for the members drawn, 0 for others.
    return counts.argsort(dim=1, descending=True, stable=True)[:, :size]


def draw_category(logits: Tensor) -> Tensor:
    """Draw a category of the last dimension (..., categories): (...) int64."""
    # The first of independent exponential times; their logarithm is Gumbel noise. Without the
    # clamp, a time of exactly 0 would give NaN with the logit -inf.
    tiny = torch.finfo(logits.dtype).tiny
    times = torch.empty_like(logits).exponential_().clamp_min_(tiny)
    return (logits - times.log()).argmax(-1)


def _splits(below: Tensor, counts: Tensor) -> Tensor:
    """The logarithm of the sum for each split of a node's members between its halves.

    Args:
        below: (..., 2 nodes, most + 1) the level of the halves.
        counts: (..., nodes, K) int64, numbers of members.

    Returns:
        (..., nodes, K, most + 1), by the number of members in the first half.
    """
    first, second = below[..., 0::2, :], below[..., 1::2, :]
    width = below.shape[-1]
    # Column 0 and the last one for numbers that the second half does not have.
    second = pad(second, (1, 1), value=-torch.inf)
    index = (counts[..., None] - torch.arange(-1, width - 1, device=below.device)).clamp(
        0, width + 1
    )
    # (..., nodes, most + 3) gathered at (K, ways) -> (..., nodes, K, ways)
    ways = second.gather(-1, index.flatten(-2)).unflatten(-1, index.shape[-2:])
    return first[..., None, :] + ways
