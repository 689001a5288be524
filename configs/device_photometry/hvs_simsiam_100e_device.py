# hvs_simsiam_100e.py with color jitter, grayscale, blur and solarization on the device of the model.
_base_ = '../hvs_simsiam_100e.py'

data_preprocessor = dict(type='DevicePhotometry')

train_dataloader = dict(
    dataset=dict(pipeline=[
        _base_.train_dataloader.dataset.pipeline[0],
        dict(_base_.train_dataloader.dataset.pipeline[1], photometry='device'),
        *_base_.train_dataloader.dataset.pipeline[2:],
    ]))
