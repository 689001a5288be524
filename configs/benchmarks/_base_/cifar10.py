# CIFAR-10: 50,000 images to train on and 10,000 to test, 32 px, scaled up to 224 px and normalized like ImageNet's.
num_classes = 10
train_set = dict(type='CIFAR10', data_root='data/cifar10', split='train')
test_set = dict(type='CIFAR10', data_root='data/cifar10', split='test')
# The data set gives arrays in RGB order; the pipelines work in the order of image files.
load_image = dict(type='PILToNumpy', to_bgr=True)
