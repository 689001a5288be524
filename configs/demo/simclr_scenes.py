# SimCLR on built-in images in which every place looks different. `make demo` trains it with and
# without hard views.
_base_ = 'simclr.py'

train_dataloader = dict(dataset=dict(layout='scene'))
train_cfg = dict(max_epochs=6)
param_scheduler = [dict(_base_.param_scheduler[0], T_max=6, end=6)]
