#!/usr/bin/env bash
# The commands of the README, with an installed package and the built-in images. Usage: smoke_test.sh VENV
# It runs in an empty folder, so that nothing is taken from the checkout. Epochs end after 3 steps.
set -euo pipefail
PATH="$(cd "$1/bin" && pwd):$PATH"
unset PYTHONPATH
export HVS_MM_STEPS_PER_EPOCH=3 PYTHONWARNINGS=ignore
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python - <<'PYTHON'
from pathlib import Path

import cv2

import hvs_mm
from hvs_mm.datasets import ShapesDataset

print(f'hvs-mm {hvs_mm.__version__} from {Path(hvs_mm.__file__).parent}')
for split, number in (('train', 80), ('val', 20)):
    dataset = ShapesDataset(split=split, num_samples=number)
    for sample in dataset:
        path = Path('images', split, dataset.metainfo['classes'][sample['gt_label']])
        path.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / f'{sample["img_id"]}.png'), sample['img'])
PYTHON
set -x
hvs-mm train --data images --out runs/first --epochs 2 --batch-size 16
hvs-mm eval runs/first --data images
hvs-mm embed runs/first --data images --out features.npz
hvs-mm export runs/first --format timm
hvs-mm report runs/first
hvs-mm train --out runs/first --resume
