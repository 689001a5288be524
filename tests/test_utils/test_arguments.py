from __future__ import annotations

from math import inf, nan

import pytest

from hvs_mm.utils.arguments import check_choice, check_share, check_whole


@pytest.mark.parametrize('value', [0, -1, True, 1.0, '1', None])
def test_no_integer_that_is_large_enough(value):
    with pytest.raises(ValueError, match=rf'interval={value!r} must be an integer of at least 1'):
        check_whole('interval', value)


def test_an_integer_is_returned():
    assert check_whole('interval', 3, least=3) == 3


@pytest.mark.parametrize('value', [-0.1, 1.1, nan, inf, True, '1', None])
def test_no_share(value):
    with pytest.raises(ValueError, match=r'prob=.* must be between 0 and 1: of the samples'):
        check_share('prob', value, hint='of the samples')


def test_zero_is_a_share_unless_excluded():
    assert check_share('prob', 0) == 0
    with pytest.raises(ValueError, match='prob=0 must be above 0 and at most 1'):
        check_share('prob', 0, zero=False)


@pytest.mark.parametrize('value', ['gpu', None, ['loader'], 0])
def test_no_known_choice(value):
    with pytest.raises(ValueError, match=r"photometry=.* must be one of \['loader', 'device'\]"):
        check_choice('photometry', value, ('loader', 'device'))


def test_a_known_choice_is_returned():
    assert check_choice('photometry', 'device', {'loader': 1, 'device': 2}) == 'device'
