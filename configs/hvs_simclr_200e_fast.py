# hvs_simclr_200e.py with a selection pass in bfloat16. docs/performance.md says how much of the
# choice remains.
_base_ = 'hvs_simclr_200e.py'

model = dict(selection_pass=dict(dtype='bfloat16'))
