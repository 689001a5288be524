"""MMCV's compiled operators, as `make detection` builds them: the key of a build, and checks.

key                 print what a build depends on, as the name of a folder
check-wheel WHEEL   exit with an error if a wheel has no operators
self-check          compare nms and roi_align with what they must give
"""

from __future__ import annotations

import argparse
import platform
import sys
import zipfile
from importlib import metadata

import torch


def build_key() -> str:
    """What the binary depends on: MMCV, torch, Python, the machine, and the GPU if there is one."""
    # MMCV builds its CUDA operators where torch sees a GPU and the CUDA compiler is there.
    from torch.utils.cpp_extension import CUDA_HOME

    device = 'cpu'
    if torch.cuda.is_available() and CUDA_HOME is not None:
        major, minor = torch.cuda.get_device_capability()
        device = f'cuda{torch.version.cuda}-sm{major}{minor}'
    version = '.'.join(platform.python_version_tuple()[:2])
    return (
        f'mmcv{metadata.version("onedl-mmcv")}-torch{torch.__version__}-py{version}'
        f'-{platform.machine()}-{device}'
    )


def check_wheel(path: str) -> None:
    """Exit if a wheel was built without operators, which MMCV's setup.py does silently."""
    try:
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        sys.exit(f'error: {path} is no wheel: {error}')
    if not any(name.startswith('mmcv/_ext') for name in names):
        sys.exit(f'error: {path} has no mmcv/_ext: it was built without operators.')


def self_check() -> None:
    """Exit if nms or roi_align gives something else than torchvision's, on any device here."""
    try:
        from mmcv.ops import nms, roi_align
    except ImportError as error:
        sys.exit(f'error: MMCV has no compiled operators ({error}). Run "make detection".')
    import torchvision

    generator = torch.Generator().manual_seed(0)
    corners = 50 * torch.rand(200, 2, generator=generator)
    boxes = torch.cat([corners, corners + 1 + 20 * torch.rand(200, 2, generator=generator)], 1)
    scores = torch.rand(200, generator=generator)
    features = torch.rand(2, 3, 32, 32, generator=generator)
    # One region: the number of its image, then its box.
    regions = torch.tensor([[0, 2.3, 4.1, 20.7, 25.2], [1, 0.0, 0.0, 31.0, 31.0]])
    devices = ['cuda', 'cpu'] if 'cuda' in build_key() else ['cpu']
    for device in devices:
        b, s, f, r = (x.to(device) for x in (boxes, scores, features, regions))
        kept = nms(b, s, 0.5)[1]
        aligned = roi_align(f, r, (7, 7), 0.5, 2, 'avg', True)
        expected = torchvision.ops.roi_align(f, r, (7, 7), 0.5, 2, True)
        if not torch.equal(kept, torchvision.ops.nms(b, s, 0.5)):
            sys.exit(f"error: nms on {device} gives other boxes than torchvision's.")
        if not torch.allclose(aligned, expected, atol=1e-5):
            sys.exit(f"error: roi_align on {device} gives other values than torchvision's.")
    import mmdet

    if torch.cuda.is_available() and 'cuda' not in devices:
        print(
            'warning: there is a GPU, but no CUDA compiler (nvcc) was found: the operators run on '
            'the CPU only. Install the CUDA toolkit, or set CUDA_HOME, and run '
            '"make detection" again.'
        )
    print(
        f'MMCV operators nms and roi_align work ({", ".join(devices)}); mmdet {mmdet.__version__}'
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('action', choices=['key', 'check-wheel', 'self-check'])
    parser.add_argument('wheel', nargs='?')
    args = parser.parse_args(argv)
    if args.action == 'key':
        print(build_key())
    elif args.action == 'check-wheel':
        if args.wheel is None:
            parser.error('check-wheel needs the path of a wheel')
        check_wheel(args.wheel)
    else:
        self_check()


if __name__ == '__main__':
    main()
