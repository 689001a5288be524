"""Let vision transformers see a part of their patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.to_device import to_device


def transformers_in(module: nn.Module) -> list[nn.Module]:
    """The vision transformers of MMPretrain's kind in a module, also those of a teacher."""
    return [m for m in module.modules() if hasattr(m, 'drop_after_pos') and hasattr(m, 'layers')]


class TokenSubsets:
    """Random subsets of patches, one for every number of patches, as long as the object lives.

    All views of a size, of student and teacher, have the same subset: their outputs stay
    comparable, and no index differs within a batch. At least one patch is left.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._subsets: dict[int, Tensor] = {}
        # Seeded now: whoever uses the subsets may put torch's generator back afterwards.
        self._generator = torch.Generator().manual_seed(int(torch.randint(2**63 - 1, ())))

    @torch.compiler.disable
    def __call__(self, num_patches: int) -> Tensor:
        """Positions (n,) int64 of the patches that are left, ascending, on the host."""
        if num_patches not in self._subsets:
            count = max(1, round(self.share * num_patches))
            order = torch.randperm(num_patches, generator=self._generator)
            self._subsets[num_patches] = order[:count].sort().values
        return self._subsets[num_patches]


@contextmanager
def fewer_tokens(transformers: Sequence[nn.Module], subsets: TokenSubsets) -> Iterator[None]:
    """Let vision transformers continue with some of their patch tokens.

    The others are dropped behind the position embedding, so those left know where they lie. The
    extra tokens, such as [CLS], stay.
    """
    with ExitStack() as stack:
        for transformer in transformers:
            hook = partial(_thin_out, subsets, transformer.num_extra_tokens)
            stack.callback(transformer.drop_after_pos.register_forward_hook(hook).remove)
        yield


@torch.compiler.disable
def _thin_out(
    subsets: TokenSubsets, num_extra: int, module: nn.Module, args: Any, tokens: Tensor
) -> Tensor:
    # (N, extra + patches, C) -> (N, extra + n, C)
    left = num_extra + subsets(tokens.shape[1] - num_extra)
    index = torch.cat([torch.arange(num_extra), left])
    return tokens[:, to_device(index, tokens.device)]
