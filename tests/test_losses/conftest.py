from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _double():
    """Everything in this folder is in float64 unless a test says otherwise."""
    # An import that takes seconds, see tests/conftest.py.
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
