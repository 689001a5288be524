# SimCLR's first three seeds of shapes.py once more: whether what they say of hard views, which is
# not what later seeds say, is of the seeds, or of the machine and the revision they ran on.
_base_ = 'shapes.py'

name = 'shapes_again'
arms = dict(_delete_=True, baseline=_base_.arms.baseline, hardest=_base_.arms.hardest)
runs = [dict(methods=['simclr'], epochs=[8], seeds=[0, 1, 2])]
