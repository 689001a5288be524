_base_ = 'ibot_vit.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1]))
