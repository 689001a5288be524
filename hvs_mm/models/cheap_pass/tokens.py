"""Let vision transformers see a part of their patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...utils.to_device import to_device


def transformers_in(module: nn.Module) -> list[BaseModule]:
    """The vision transformers of MMPretrain's kind in a module, also those of a teacher."""
    return [m for m in module.modules() if hasattr(m, 'drop_after_pos') and hasattr(m, 'layers')]


def token_subsets(share: float) -> Callable[[int], Tensor]:
    """Draw random subsets of patches, one for every number of patches that the result is given.

    All views of a size, of student and teacher, have the same subset: their outputs stay
    comparable, and no index differs within a batch. At least one patch is left.
    """
    # Seeded now: whoever uses the subsets may put torch's generator back afterwards.
    generator = torch.Generator().manual_seed(int(torch.randint(2**63 - 1, ())))

    @torch.compiler.disable
    @cache
    def subset(num_patches: int) -> Tensor:
        """Positions (n,) int64 of the patches that are left, ascending, on the host."""
        order = torch.randperm(num_patches, generator=generator)
        return order[: max(1, round(share * num_patches))].sort().values

    return subset


@contextmanager
def fewer_tokens(
    transformers: Sequence[BaseModule], subsets: Callable[[int], Tensor]
) -> Iterator[None]:
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
    subsets: Callable[[int], Tensor], num_extra: int, module: nn.Module, args: Any, tokens: Tensor
) -> Tensor:
    # (N, extra + patches, C) -> (N, extra + n, C)
    left = num_extra + subsets(tokens.shape[1] - num_extra)
    index = torch.cat([torch.arange(num_extra), left])
    return tokens[:, to_device(index, tokens.device)]
