# hvs_simsiam_100e.py with a selection pass at half the scale: see docs/performance.md for what it keeps.
_base_ = 'hvs_simsiam_100e.py'

model = dict(selection_pass=dict(scale=0.5))
