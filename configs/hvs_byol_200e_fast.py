# hvs_byol_200e.py with a selection pass at half the scale: see docs/performance.md for what it keeps.
_base_ = 'hvs_byol_200e.py'

model = dict(select_scale=0.5)
