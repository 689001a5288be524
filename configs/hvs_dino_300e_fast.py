# hvs_dino_300e.py, whose selection pass forwards only local views through the student, in bfloat16.
# docs/performance.md says how much of the choice remains.
_base_ = 'hvs_dino_300e.py'

model = dict(selection_pass=dict(online='local', dtype='bfloat16'))
