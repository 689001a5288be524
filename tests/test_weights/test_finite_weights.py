from __future__ import annotations

import pytest
import torch

from hvs_mm.weights.finite_weights import check_finite_weights


def test_what_is_not_finite():
    mask = torch.tensor([0.0, -torch.inf])
    weights = {'mask': mask, 'half': torch.full((9,), 6e4).half(), 'count': torch.ones(2).int()}
    own = {name: value.clone() for name, value in weights.items()}
    # A constant of the module, and numbers whose sum overflows in their precision.
    check_finite_weights(weights, 'a.pth', own)
    with pytest.raises(ValueError, match=r'^a\.pth: 1 of 3 tensors .*, e\.g\. mask: '):
        check_finite_weights(weights, 'a.pth')
    own['mask'] = torch.zeros(2)
    with pytest.raises(ValueError, match='mask'):
        check_finite_weights(weights, 'a.pth', own)
