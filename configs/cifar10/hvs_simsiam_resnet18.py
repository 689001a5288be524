_base_ = 'simsiam_resnet18.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))
