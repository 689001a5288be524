# hvs_ibot_300e.py with a selection pass at half the scale: see docs/performance.md for what it keeps.
_base_ = 'hvs_ibot_300e.py'

model = dict(selection_pass=dict(scale=0.5))
