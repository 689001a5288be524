"""What the outputs of a batch tell about which image they are of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..utils.precision import full_precision


class OutputSums(NamedTuple):
    """Sums over distributions over K prototypes, which give their entropies.

    Sums of batches, or of processes, can be added element by element.

    Attributes:
        probabilities: (K,) floating point.
        entropy: (1,), in nats.
        count: (1,), the number of distributions.
    """

    probabilities: Tensor
    entropy: Tensor
    count: Tensor  # type: ignore[assignment]  # in place of the method of tuples

    @classmethod
    def of(cls, probabilities: Tensor) -> OutputSums:
        """The sums over distributions (N, K) of any floating dtype, in float64."""
        p = probabilities.double()
        entropy = torch.special.entr(p).sum().view(1)
        return cls(p.sum(0), entropy, torch.full_like(entropy, len(p)))

    @staticmethod
    def of_logits(logits: Tensor, temperature: float) -> OutputSums:
        """The sums over the softmax of logits (B, S, K), float32 or, for such logits, float64.

        Without a device synchronization.
        """
        return OutputSums(*_sums_of_logits(logits, temperature))

    def over_processes(self) -> OutputSums:
        """The sums over all processes, which call this together."""
        # Plain torch does without MMEngine.
        from mmengine.dist import all_reduce

        joined = torch.cat(self)
        all_reduce(joined)
        return OutputSums(*joined.split([len(self.probabilities), 1, 1]))

    def entropies(self) -> Tensor:
        """The entropy of the mean distribution, and the mean entropy of the distributions, (2,)."""
        of_mean = torch.special.entr(self.probabilities / self.count).sum(0, keepdim=True)
        return torch.cat([of_mean, self.entropy / self.count])

    def information(self) -> Tensor:
        """Information () of an output about which one it is, in nats.

        ``H(mean_i p_i) - mean_i H(p_i)``: 0 if all outputs are alike, such as the uniform one.
        """
        of_mean, of_samples = self.entropies()
        return of_mean - of_samples


@full_precision
def _sums_of_logits(logits: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    batch, views, prototypes = logits.shape
    dtype = torch.promote_types(logits.dtype, torch.float32)
    probabilities = logits.new_zeros(prototypes, dtype=dtype)
    entropy = logits.new_zeros(1, dtype=dtype)
    # A view at a time: all together would take as much memory as the logits do, several times.
    for view in logits.unbind(1):
        p = (view.to(dtype) / temperature).softmax(-1)
        probabilities += p.sum(0)
        entropy += torch.special.entr(p).sum()
    return probabilities, entropy, torch.full_like(entropy, batch * views)
