# hvs_simclr_200e.py with a selection pass in bfloat16: see docs/performance.md for what it keeps.
_base_ = 'hvs_simclr_200e.py'

model = dict(selection_pass=dict(dtype='bfloat16'))
