# SimSiam on built-in images in which every place looks different. What `make demo` trains.
_base_ = 'simsiam.py'

train_dataloader = dict(dataset=dict(layout='scene'))
