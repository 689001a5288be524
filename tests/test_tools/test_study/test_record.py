"""What a line says of the code and the machine of its run."""

from __future__ import annotations

import pytest

from hvs_study.record import any_dirty, describe_machine


@pytest.mark.parametrize(
    ('told', 'expected'),
    [
        ([False], False),
        ([None], None),
        # Begun with changed code, and gone on without.
        ([True, False], True),
        ([None, True], True),
        ([None, False], None),
    ],
)
def test_any_process_with_changed_code_counts(told, expected):
    assert any_dirty([{'dirty': one} for one in told]) is expected
    # Processes of earlier revisions do not tell.
    assert any_dirty([{}, {'dirty': False}]) is None


def test_a_machine_has_one_name():
    first = describe_machine()
    assert first == describe_machine()
    if first is not None:
        assert len(first) == 8
        int(first, 16)
