"""Images and seeds for tests of candidate views."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

#: Upstream configs and the names their view pipelines have there.
UPSTREAM = {
    'simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py': ['view_pipeline'],
    'simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py': ['view_pipeline'],
    'byol/byol_resnet50_16xb256-coslr-200e_in1k.py': ['view_pipeline1', 'view_pipeline2'],
    'mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k.py': ['view_pipeline1', 'view_pipeline2'],
    'barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py': [
        'view_pipeline1',
        'view_pipeline2',
    ],
    'swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py': [
        'view_pipeline1',
        'view_pipeline2',
    ],
    'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py': ['view_pipeline'],
}


#: Those of them with pipelines of their own: DenseCL has SimSiam's, Barlow Twins BYOL's.
DISTINCT = [name for name in UPSTREAM if not name.startswith(('densecl', 'barlowtwins'))]


def seed(number=0):
    # Upstream's transforms draw from the global generators of numpy and random.
    np.random.seed(number)
    random.seed(number)
    torch.manual_seed(number)


def photo(height, width, number=0):
    """Structure of all sizes, falling off as that of photographs does, in dull colors."""
    rng = np.random.default_rng(number)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing='ij'))
    spectrum = np.fft.fft2(rng.normal(size=(3, height, width))) / (frequency + 0.5 / height)
    waves = np.fft.ifft2(spectrum).real
    waves = waves / np.maximum(waves.std(axis=(1, 2), keepdims=True), 1e-6)
    luma, *chroma = waves
    planes = [128 + 55 * luma + 20 * tint for tint in (*chroma, -chroma[0])]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


RNG = np.random.default_rng(0)
#: Noise, photographs, single colors, all of them small; single pixels, rows and columns.
IMAGES = {
    'noise': RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8),
    'photo': photo(96, 128),
    'gray': np.repeat(RNG.integers(0, 256, (40, 50, 1), dtype=np.uint8), 3, axis=2),
    'black': np.zeros((9, 7, 3), dtype=np.uint8),
    'white': np.full((9, 7, 3), 255, dtype=np.uint8),
    'dark': RNG.integers(0, 4, (30, 31, 3), dtype=np.uint8),
    'extremes': RNG.choice(np.array([0, 1, 254, 255], dtype=np.uint8), (30, 31, 3)),
    'pixel': np.array([[[200, 3, 77]]], dtype=np.uint8),
    'row': RNG.integers(0, 256, (1, 4, 3), dtype=np.uint8),
    'column': RNG.integers(0, 256, (4, 1, 3), dtype=np.uint8),
    'two by two': RNG.integers(0, 256, (2, 2, 3), dtype=np.uint8),
    'reversed': RNG.integers(0, 256, (21, 33, 3), dtype=np.uint8)[:, ::-1],
    'window': RNG.integers(0, 256, (50, 60, 3), dtype=np.uint8)[7:40, 11:50],
}
every_image = pytest.mark.parametrize('name', IMAGES)


def difference(first, second):
    assert first.shape == second.shape
    assert first.dtype == second.dtype == np.uint8
    return np.abs(first.astype(int) - second)
