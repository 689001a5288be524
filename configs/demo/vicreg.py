# VICReg on the built-in shapes: Barlow Twins' demo with another loss.
_base_ = 'barlowtwins.py'

model = dict(type='VICReg', head=dict(_delete_=True, type='VICRegHead'))
# 0.01 gave lower k-NN accuracy.
optim_wrapper = dict(optimizer=dict(lr=0.03))
