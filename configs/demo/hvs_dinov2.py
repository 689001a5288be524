_base_ = 'dinov2.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2, 4], keep=[1, 1, 4]))
default_hooks.update(
    selection=dict(type='SelectionStatsHook', interval=16), panel=dict(type='SelectionPanelHook'))
