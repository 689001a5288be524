_base_ = 'simclr.py'

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[4],
    keep=[2])

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='CandidateViews', num_views=[4], transforms=[{{_base_.view_pipeline}}]),
        dict(type='PackViews'),
    ]))

default_hooks = dict(
    selection=dict(type='SelectionStatsHook', interval=16), panel=dict(type='SelectionPanelHook'))
