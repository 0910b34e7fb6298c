"""Tasks: image classification problems with fixed train, validation and test parts, kept as tensors.

    digits                        scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; needs no download
    digits:shift=2,noise=0.2      the same, each image moved by up to 2 pixels, with noise
    my/data.npz                   arrays: images and labels, or one pair for each part
    my/folder or my/file.parquet  Parquet in the Hugging Face layout (columns image and label), through ``datasets``
    cifar10, cifar100             torchvision's, from the folder given by root=... or the variable ARCHSEARCH_DATA

Options follow a colon: ``NAME:option=value,option=value``. ``valid`` and ``test`` say how large these parts are where
the data do not bring them, ``train`` how much of the rest is trained on: a number of images, or a share up to 1.0 (of
all; for ``train`` of the rest). ``layout`` of a .npz file says where the channels are. ``load_task`` reads such a text;
a ``Task`` of your own arrays is made directly.
"""

from archsearch.task.images import Layout, split
from archsearch.task.reading import load_task
from archsearch.task.task import Augmentation, Part, Task

__all__ = [
    "Augmentation",
    "Layout",
    "Part",
    "Task",
    "load_task",
    "split",
]
