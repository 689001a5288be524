"""The package in an environment that has neither MMEngine, MMCV nor MMPretrain."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from hvs_mm.utils.registry import _PlainRegistry

ROOT = Path(__file__).parents[2]
MM_PACKAGES = ('mmcv', 'mmengine', 'mmpretrain')

CODE = f"""
import sys
sys.modules.update(dict.fromkeys({MM_PACKAGES}))
import torch
import hvs_mm
from hvs_mm.datasets.shape_images import ShapeImages
from hvs_mm.selection import ScoreSelector, image_statistics
from hvs_mm.utils.registry import TASK_UTILS
from hvs_mm.visualization import draw_record
from torch import nn
from torchvision.transforms import v2

crop = v2.Compose([v2.PILToTensor(), v2.RandomResizedCrop(16), v2.ToDtype(torch.float32, True)])
images = ShapeImages('train', 8, hvs_mm.CandidateTransform(crop, 4), img_size=32)
batch, _ = next(iter(torch.utils.data.DataLoader(images, 8)))
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(8))
model(batch.views[0])

@TASK_UTILS.register_module()
class First(ScoreSelector):
    def choose(self, table):
        return table.numbered(torch.zeros(len(table.cross), 1, dtype=torch.int64))

selectors = ['hardest', 'easiest', 'random', 'softened', 'per_group', {{'type': 'First'}}]
for selector in [dict(type='quantile', quantile=0.5), *selectors]:
    hard = hvs_mm.HardViews(hvs_mm.losses.NTXent(0.1), [4], [2], selector)
    kept, record = hard(model, batch.views)
assert record.indices.tolist() == [[0, 1]] * 8
assert image_statistics(record, batch.boxes, batch.flips)['iou_kept'].shape == (8,)
draw_record(record, images.images[:2], batch.views, batch.boxes)
try:
    from hvs_mm import HVSAlgorithm
except ImportError as error:
    print(error)
found = {{name.partition('.')[0] for name, module in sys.modules.items() if module is not None}}
assert not found & set({MM_PACKAGES}), found
"""


@pytest.mark.slow
def test_all_parts_work_where_the_packages_are_absent():
    command = [sys.executable, '-W', 'ignore', '-c', CODE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('hvs_mm.HVSAlgorithm needs MMPretrain, MMEngine and MMCV')


def imported(name: str) -> set[str]:
    """Modules that a module imports as it is loaded, without those of ``if HAS_MMPRETRAIN``."""
    spec = importlib.util.find_spec(name)
    package = name if spec.submodule_search_locations else name.rpartition('.')[0]
    found = {'.'.join(name.split('.')[:n]) for n in range(1, name.count('.') + 1)}
    for node in ast.parse(Path(spec.origin).read_text()).body:
        nodes = [node]
        if isinstance(node, ast.If):
            is_optional = getattr(node.test, 'id', '') in ('HAS_MMPRETRAIN', 'TYPE_CHECKING')
            nodes = [] if is_optional else node.body
        for statement in nodes:
            if isinstance(statement, ast.Import):
                found |= {alias.name for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                base = '.' * statement.level + (statement.module or '')
                base = importlib.util.resolve_name(base, package)
                found.add(base)
                if base.startswith('hvs_mm'):
                    paths = [f'{base}.{alias.name}' for alias in statement.names]
                    found |= {path for path in paths if is_module(path)}
    return found


def is_module(name: str) -> bool:
    path = ROOT / name.replace('.', '/')
    return path.is_dir() or path.with_suffix('.py').is_file()


def test_what_is_always_imported_needs_none_of_them():
    todo, seen = {'hvs_mm', 'hvs_mm.datasets.shape_images'}, set()
    todo |= {'hvs_mm.reports', 'hvs_mm.visualization'}
    while todo:
        name = todo.pop()
        seen.add(name)
        if name.startswith('hvs_mm'):
            todo |= imported(name) - seen
    assert 'hvs_mm.selection.selectors.softened' in seen
    assert not {name for name in seen if name.partition('.')[0] in MM_PACKAGES}


def test_the_registry_in_their_place():
    registry = _PlainRegistry()

    @registry.register_module()
    class Thing:
        pass

    assert registry.get('Thing') is Thing
    assert registry.get('Nothing') is None
    assert registry.module_dict == {'Thing': Thing}
