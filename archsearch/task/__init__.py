"""Tasks: what networks are trained on, in fixed train, validation and test parts, and what for.

Image classification:

    digits                        scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; needs no download
    digits:shift=2,noise=0.2      the same, each image moved by up to 2 pixels, with noise
    my/pictures                   a folder of pictures by class: CLASS/picture.png, or train/CLASS/picture.png, ...
    my/folder or my/file.parquet  Parquet in the Hugging Face layout (columns image and label), or ``save_to_disk``
    hf:NAME                       a data set of the Hugging Face hub, through ``datasets``, streamed
    my/data.npz                   arrays: images and labels, or one pair for each part
    cifar10, cifar100             torchvision's, from the folder given by root=... or the variable ARCHSEARCH_DATA

Tables:

    diabetes                      scikit-learn's set of 442 rows, of which a number is predicted
    breast_cancer, wine           scikit-learn's sets of 569 and 178 rows, of which a class is predicted
    my/table.csv:target=COLUMN    a table, or .parquet, .feather, .arrow; predicts=class or number, drop=NAME+NAME

Segmentation:

    scenes                        small scenes of discs, squares and crosses, drawn with a seed

Language modelling:

    grammar                       sequences of a small stochastic grammar whose entropy rate is known
    my/text.txt                   a text; tokens are characters, or words (unit=word)
    my/file.parquet:text=COLUMN   a column of texts
    my/tokens.npy                 an array of whole numbers

Options follow a colon: ``NAME:option=value,option=value``. ``valid`` and ``test`` say how large these parts are where
the data do not bring them, ``train`` how much of the rest is trained on: a number of examples, or a share up to 1.0 (of
all; for ``train`` of the rest). ``load_task`` reads such a text; ``dataset_task`` takes data sets of PyTorch,
``table_task`` an Arrow table; an ``ImageTask``, ``TableTask``, ``SegmentationTask`` or ``TokenTask`` of your own arrays
is made directly.
"""

from archsearch.task.goal import Goal, Judged
from archsearch.task.images import Layout, split
from archsearch.task.readers.python import dataset_task
from archsearch.task.readers.tables import table_task
from archsearch.task.reading import kind_of, load_task
from archsearch.task.scenes import SegmentationTask
from archsearch.task.stored import Inputs
from archsearch.task.tables import TableTask
from archsearch.task.task import Augmentation, ImageTask, Part, Task
from archsearch.task.tokens import TokenTask

__all__ = [
    "Augmentation",
    "Goal",
    "ImageTask",
    "Inputs",
    "Judged",
    "Layout",
    "Part",
    "SegmentationTask",
    "TableTask",
    "Task",
    "TokenTask",
    "dataset_task",
    "kind_of",
    "load_task",
    "split",
    "table_task",
]
