# hvs_ibot_300e.py with a selection pass at half the scale. docs/performance.md says how much of
# the choice remains.
_base_ = 'hvs_ibot_300e.py'

model = dict(selection_pass=dict(scale=0.5))
