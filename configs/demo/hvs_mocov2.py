_base_ = 'mocov2.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))
default_hooks.update(
    selection=dict(type='SelectionStatsHook', interval=16), panel=dict(type='SelectionPanelHook'))
