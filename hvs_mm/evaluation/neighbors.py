"""Nearest neighbors by cosine similarity, chunk by chunk, with a fixed order of ties.

A neighbor is one int64 number: its similarity in the high 32 bits, mapped so that integers sort
like the floats, and its inverted index in the low 32 bits. The larger number is the nearer
neighbor; of equally near ones the lower index is larger. Merging two parts of a search takes the
largest numbers of both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils.precision import full_precision
from .features import MAX_INDEX

#: Less than every neighbor.
NO_NEIGHBOR = torch.iinfo(torch.int64).min
#: All bits of an int32 but the sign: flips the order of negative floats.
_MAGNITUDE = 0x7FFFFFFF


def pack_neighbors(similarity: Tensor, index: Tensor) -> Tensor:
    """Encode neighbors as sortable numbers.

    Args:
        similarity: (..., N) float32, not NaN.
        index: (N,) int64, at least 0 and less than 2^32.

    Returns:
        (..., N) int64.
    """
    # Adding zero gives -0 and 0, which are equal, the same bits.
    bits = similarity.add(0.0).view(torch.int32)
    order = bits >> 31
    # In place from here on: allocating would cost more than the arithmetic.
    order.bitwise_and_(_MAGNITUDE).bitwise_xor_(bits)
    return order.long().bitwise_left_shift_(32).bitwise_or_(MAX_INDEX - index)


def unpack_neighbors(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity (...) float32 and index (...) int64 of neighbors (...) int64."""
    order = (packed >> 32).int()
    bits = order ^ ((order >> 31) & _MAGNITUDE)
    return bits.view(torch.float32), MAX_INDEX - (packed & MAX_INDEX)


def merge_neighbors(packed: Tensor, k: int) -> Tensor:
    """The k nearest (..., k) of neighbors (..., N), nearest first; all if there are fewer."""
    return packed.topk(min(k, packed.shape[-1]), dim=-1).values


@torch.no_grad()
@full_precision
def nearest_neighbors(
    queries: Tensor,
    bank: Tensor,
    index: Tensor,
    k: int,
    query_chunk: int = 1024,
    bank_chunk: int = 4096,
) -> Tensor:
    """Find the k nearest neighbors of every query by cosine similarity.

    Computes in float32, also inside autocast and for features of another precision. Besides queries
    and results it needs memory for one chunk of the bank and about 20 bytes times
    ``query_chunk * bank_chunk``. The bank may lie on another device: it passes over the device of
    the queries once per call, chunk by chunk. The similarity of a zero vector is 0.

    Args:
        queries: (Q, D).
        bank: (N, D).
        index: (N,) int64, unique, at least 0 and less than 2^32.
        k: Neighbors wanted.
        query_chunk: Queries per matrix product.
        bank_chunk: Features of the bank per matrix product.

    Returns:
        (Q, k) int64 for :func:`unpack_neighbors`, nearest first, the lower index first among
        equally near ones. ``NO_NEIGHBOR`` fills the end if the bank has fewer than k features.
    """
    found = queries.new_full((len(queries), k), NO_NEIGHBOR, dtype=torch.int64)
    directions = F.normalize(queries.float(), dim=1)
    for start in range(0, len(bank), bank_chunk):
        rows = slice(start, start + bank_chunk)
        features = F.normalize(bank[rows].to(queries.device).float(), dim=1)
        numbers = index[rows].to(queries.device)
        for part, best in zip(directions.split(query_chunk), found.split(query_chunk)):
            # (q, D) x (D, n) -> (q, n)
            nearest = merge_neighbors(pack_neighbors(part @ features.T, numbers), k)
            best.copy_(merge_neighbors(torch.cat([best, nearest], dim=1), k))
    return found
