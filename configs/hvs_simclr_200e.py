_base_ = ['mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py', '_base_/hvs.py']

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[4],
    keep=[2])

train_dataloader = dict(
    # MMEngine hands a scope inherited from upstream on to the function.
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='CandidateViews', num_views=[4], transforms=[{{_base_.view_pipeline}}]),
        dict(type='PackViews'),
    ]))
