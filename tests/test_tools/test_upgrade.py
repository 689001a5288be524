"""Constraints from what pip has resolved."""

from __future__ import annotations

import json

from tests.helpers.tools import load_tool


def test_constraints_are_rewritten(tmp_path, capsys) -> None:
    path = tmp_path / 'constraints.txt'
    path.write_text('# Tested.\n# Why.\nalpha==1.0\nold==3\ntorch==2.9.0\n')
    found = {'torch': '2.10.0+cpu', 'Alpha': '1.0', 'New_Name.x': '4'}
    entries = [{'metadata': {'name': name, 'version': found[name]}} for name in found]
    (tmp_path / 'report.json').write_text(json.dumps({'install': entries}))
    load_tool('dev/upgrade').main([str(tmp_path / 'report.json'), str(path)])
    assert path.read_text() == '# Tested.\n# Why.\nalpha==1.0\nnew-name-x==4\ntorch==2.10.0\n'
    assert capsys.readouterr().out.splitlines()[1:] == [
        '  new-name-x (none) -> 4', '  old 3 -> (none)', '  torch 2.9.0 -> 2.10.0',
    ]  # fmt: skip
