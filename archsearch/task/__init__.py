"""Tasks: what networks are trained on, in fixed train, validation and test parts, kept as tensors.

Image classification:

    digits                        scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; needs no download
    digits:shift=2,noise=0.2      the same, each image moved by up to 2 pixels, with noise
    my/data.npz                   arrays: images and labels, or one pair for each part
    my/folder or my/file.parquet  Parquet in the Hugging Face layout (columns image and label), through ``datasets``
    cifar10, cifar100             torchvision's, from the folder given by root=... or the variable ARCHSEARCH_DATA

Language modelling:

    grammar                       sequences of a small stochastic grammar whose entropy rate is known
    my/text.txt                   a text; tokens are characters, or words (unit=word)
    my/file.parquet:text=COLUMN   a column of texts
    my/tokens.npy                 an array of whole numbers

Options follow a colon: ``NAME:option=value,option=value``. ``valid`` and ``test`` say how large these parts are where
the data do not bring them, ``train`` how much of the rest is trained on: a number of images, or a share up to 1.0 (of
all; for ``train`` of the rest). ``layout`` of a .npz file says where the channels are. ``load_task`` reads such a text;
an ``ImageTask`` or ``TokenTask`` of your own arrays is made directly.
"""

from archsearch.task.goal import Goal, Judged
from archsearch.task.images import Layout, split
from archsearch.task.reading import kind_of, load_task
from archsearch.task.task import Augmentation, ImageTask, Part, Task
from archsearch.task.tokens import TokenTask

__all__ = [
    "Augmentation",
    "Goal",
    "ImageTask",
    "Judged",
    "Layout",
    "Part",
    "Task",
    "TokenTask",
    "kind_of",
    "load_task",
    "split",
]
