_base_ = 'ibot.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1]))
default_hooks.update(
    selection=dict(type='SelectionStatsHook', interval=16), panel=dict(type='SelectionPanelHook'))
