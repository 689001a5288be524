"""The examples of plain torch run, and the notebook is the first of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / 'examples').glob('*.py'))
#: What stands in the examples, and what is run instead: a training of a few steps.
SHORTER = {r'epochs=\d+': 'epochs=1', '1024': '256'}


@pytest.mark.slow
@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path, tmp_path):
    code = path.read_text()
    for long, short in SHORTER.items():
        code, number = re.subn(long, short, code)
        assert number
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.findall(r'^k-NN (before|after): ([\d.]+) %$', done.stdout, re.MULTILINE)
    assert [name for name, _ in found] == ['before', 'after']
    # Not NaN features, of which all images are neighbors; ten classes.
    assert all(5 < float(accuracy) < 95 for _, accuracy in found)


def test_the_notebook_is_the_first_example():
    cells = json.loads((ROOT / 'docs' / 'notebooks' / 'plain_torch.ipynb').read_text())['cells']
    code = '\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
    example = (ROOT / 'examples' / 'plain_torch.py').read_text().partition('"""\n')[2]
    lines = [[line for line in text.splitlines() if line] for text in (code, example)]
    assert lines[0][: len(lines[1])] == lines[1]
