"""Sinkhorn-Knopp centering: assign a batch to its prototypes evenly (arXiv 2006.09882)."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from ..utils.gathering import reduce_ranks
from ..utils.precision import full_precision
from ..utils.to_device import is_asynchronous


@torch.no_grad()
@full_precision
def sinkhorn(
    logits: Tensor, temperature: float, num_iterations: int = 3, counted: Tensor | None = None
) -> Tensor:
    """Distributions over prototypes, of which each has about the same share of the batch.

    The batch is that of all processes, which may have different numbers of samples. All of them
    must call this together. As in DINOv2 (`arXiv 2304.07193 <https://arxiv.org/abs/2304.07193>`_),
    each iteration scales every prototype to equal mass, then every sample to a mass of one.

    Args:
        logits: (N, K), any floating-point dtype.
        temperature: Divides the logits.
        num_iterations: At least 1.
        counted: (N,) bool, which samples have a share; by default all. N may be 0 with it.

    Returns:
        (N, K) in float32, or float64 if the logits are; each row sums to one.

    Raises:
        ValueError: If all processes together have fewer samples than there are processes, without
            ``counted``. A GPU is not waited for to find this out.

    Examples:
        >>> assignments = sinkhorn(torch.randn(64, 512), temperature=0.05)
    """
    if counted is None and not is_asynchronous(logits.device):
        _check_samples(logits)
    scaled = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    # Relative to the largest logit of each sample, so that no row underflows to zero.
    peaks = scaled.amax(1)
    mass = (scaled - peaks[:, None]).exp()
    lowest = peaks.new_full((1,), torch.finfo(peaks.dtype).min)
    highest = peaks if counted is None else torch.where(counted, peaks, lowest)
    highest = reduce_ranks(torch.cat([highest, lowest]).amax(0), largest=True)
    # Scales (N,) of the samples and (K,) of the prototypes in place of a matrix that changes: an
    # iteration reads the mass twice and writes none. Common factors cancel.
    samples = (peaks - highest).exp()
    # Least mass of a prototype, so that sums of its inverse stay finite: 1e-30 in float32. Logits
    # of unit vectors never come there at a temperature above 0.03.
    least = torch.finfo(mass.dtype).tiny ** 0.8
    for _ in range(num_iterations):
        shares = samples if counted is None else torch.where(counted, samples, 0)
        prototypes = 1 / reduce_ranks(mass.T @ shares).clamp(min=least)
        samples = 1 / (mass @ prototypes)
    return mass * prototypes * samples[:, None]


@torch.compiler.disable
def _check_samples(logits: Tensor) -> None:
    is_distributed = distributed.is_available() and distributed.is_initialized()
    processes = distributed.get_world_size() if is_distributed else 1
    number = int(reduce_ranks(torch.tensor(len(logits))))
    if number < processes:
        raise ValueError(
            f'Sinkhorn-Knopp centering got {number} sample(s) in {processes} process(es), expected '
            "at least one in each: raise train_dataloader.batch_size, or set centering='softmax' "
            'of the head.'
        )
