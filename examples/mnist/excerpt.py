"""Cut the excerpt of MNIST beside this file out of the whole of it.

    python examples/mnist/excerpt.py FOLDER

FOLDER holds the four IDX files of MNIST.  The excerpt is their beginnings: the first 4,000
images to train with and the first 1,000 to test with, about 1 MB.  The whole of MNIST can be
fetched with ``tinygrad_act.data.mnist(download=True)``, and used in every example with ``--data``.

MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges, and free to share and to adapt
(Creative Commons Attribution-Share Alike 3.0).
"""

import sys
from pathlib import Path

from tinygrad_act.data import mnist, write_idx

HERE = Path(__file__).parent
SIZES = {"train": 4000, "test": 1000}
PREFIX = {"train": "train", "test": "t10k"}

if __name__ == "__main__":
    for part, n in SIZES.items():
        images, labels = mnist(sys.argv[1], part)
        for kind, x in (("images-idx3", images), ("labels-idx1", labels.astype("uint8"))):
            write_idx(HERE / f"{PREFIX[part]}-{kind}-ubyte.gz", x[:n])
