"""Training on several processes, or machines, at a time: each has a share of every batch.

    mpirun -n 2 python examples/mnist_mpi.py

Every process computes the gradient of its share; the mean of all of them is the gradient of the
whole batch.  One Allreduce per step adds them up, and then every process takes the same step.
All begin with the same weights, since they have the same seed, and stay equal.

Needs mpi4py (extra ``mpi``) and an MPI library.  By itself, without mpirun, it trains alone.
"""

import time

import numpy as np
from common import HERE, count, parser
from mpi4py import MPI

import tinygrad_act as tga
from tinygrad_act import Tensor, checkpoint, data, nn, optim
from tinygrad_act.train import accuracy

world = MPI.COMM_WORLD


def build():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128, initialize=nn.init.he), "relu", nn.Linear(128, 10)
    )


def share_of(batch):
    """This process's rows of a batch: the shares are equal, or differ by one row."""
    n = len(batch[0])
    begin, end = (n * (world.rank + i) // world.size for i in (0, 1))
    return [x[begin:end] for x in batch], (end - begin) / n


class GradientMean:
    """The gradients of all parameters in one stretch of memory, and their mean over processes."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.flat = np.zeros(sum(p.size for p in parameters), "float32")

    def exchange(self, weight):
        """Replace each gradient by the sum over all processes, each times its weight."""
        pieces = [p.grad.numpy().ravel() for p in self.parameters]
        np.multiply(np.concatenate(pieces), np.float32(weight), out=self.flat)
        world.Allreduce(MPI.IN_PLACE, self.flat)
        begin = 0
        for p in self.parameters:
            piece = self.flat[begin : begin + p.size]
            p.grad.copy_(Tensor(piece.reshape(p.shape)))
            begin += p.size


def train(images, labels, epochs, batch_size, seed=0):
    tga.manual_seed(seed)
    net = build()
    adam = optim.Adam(net.parameters(), lr=0.001)
    mean = GradientMean(net.parameters())
    for epoch in range(epochs):
        start = time.perf_counter()
        order = data.permutation(len(images), seed, epoch)
        for batch in data.batches((images, labels), batch_size, order):
            if len(batch[0]) < world.size:
                continue  # a last batch without a row for each process
            (x, t), weight = share_of(batch)
            adam.zero_grad()
            loss = tga.cross_entropy(net(x.astype("float32") * (1 / 255)), t)
            loss.backward()
            mean.exchange(weight)
            adam.step()
        if world.rank == 0:
            seconds = time.perf_counter() - start
            done = f"epoch {epoch + 1}/{epochs}  loss {loss.item():.4f}"
            print(f"{done}  {seconds:.1f} s", flush=True)
    return net


def main(arguments=None):
    made = parser(__doc__, "mpi_out")
    made.add_argument("--data", default=HERE / "mnist", metavar="DIR", help="with MNIST's files")
    made.add_argument("--epochs", type=count, default=3, metavar="N", help="default: 3")
    made.add_argument("--batch-size", type=count, default=128, metavar="N", help="default: 128")
    options = made.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.batch_size < world.size:
        made.error("a batch must have a row for each process")

    net = train(*data.mnist(options.data), options.epochs, options.batch_size)
    if world.rank == 0:
        images, labels = data.mnist(options.data, "test")
        with tga.no_grad():
            right = accuracy(net(images.astype("float32") * (1 / 255)), labels).item()
        print(f"{world.size} processes: {right:.1%} of {len(images)} test images")
        checkpoint.save(options.out / "net.npz", net.state_dict())
        print(f"written: {options.out / 'net.npz'}")


if __name__ == "__main__":
    main()
