# hvs_dino_300e.py, selecting by its local views and in bfloat16: see docs/performance.md for what it
# keeps.
_base_ = 'hvs_dino_300e.py'

model = dict(selection_pass=dict(online='local', dtype='bfloat16'))
