"""The convolutional network on images of MNIST's size: its second convolution, and a whole step.

Batches of 128, float32.  The network is that of examples/mnist_cnn.py with ReLU: convolutions
of 32 and 64 filters of 3x3, pooling, dropout, 128 units, dropout, 10 classes; a step is forward,
backward and Adam.  Each peer works in the layout that its users choose.
"""

from benchmarks.cases import Case, Group

THREADED = True
BATCH = 128
PASSES = ("conv2 forward", "conv2 gradient of x", "conv2 gradient of w")
STEP = "training step"
PEERS = ["torch", "torch_channels_last", "tensorflow"]
GROUPS = [
    Group("second convolution", lambda case: case in PASSES, PEERS),
    Group("whole step", lambda case: case == STEP, PEERS),
]


def _numbers(*shape):
    import numpy as np

    return np.random.default_rng(0).uniform(-0.1, 0.1, shape).astype("float32")


def _labels():
    import numpy as np

    return np.random.default_rng(0).integers(0, 10, BATCH)


def tinygrad_act():
    """The three passes as the ops that they are; the step captured."""
    import tinygrad_act as tga
    from tinygrad_act import Tensor

    x, w = Tensor(_numbers(BATCH, 32, 26, 26)), Tensor(_numbers(64, 32, 3, 3))
    gy = Tensor(_numbers(BATCH, 64, 24, 24))
    yield Case(PASSES[0], lambda: tga.conv2d(x, w))
    yield Case(PASSES[1], lambda: tga.conv_transpose2d(gy, w))
    yield Case(PASSES[2], lambda: tga.conv2d_weight(x, gy, size=3))
    yield Case(STEP, _our_step())


def _our_step():
    import tinygrad_act as tga
    from tinygrad_act import Tensor, nn, optim

    net = nn.Sequential(
        *[nn.Conv2d(1, 32, 3), "relu", nn.Conv2d(32, 64, 3), "relu", nn.MaxPool2d(2)],
        *[nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), "relu", nn.Dropout(0.5)],
        nn.Linear(128, 10),
    )
    optimizer = optim.Adam(net.parameters(), lr=0.001)

    def train_step(images, labels):
        optimizer.zero_grad()
        loss = tga.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = tga.capture(train_step)
    images, labels = Tensor(_numbers(BATCH, 1, 28, 28)), Tensor(_labels())
    return lambda: step(images, labels)


def torch():
    """NCHW."""
    import torch

    return _torch(torch.contiguous_format)


def torch_channels_last():
    """channels_last."""
    import torch

    return _torch(torch.channels_last)


def _torch(layout):
    import torch

    x, w, gy = [
        torch.tensor(_numbers(*shape)).contiguous(memory_format=layout)
        for shape in [(BATCH, 32, 26, 26), (64, 32, 3, 3), (BATCH, 64, 24, 24)]
    ]
    conv = torch.nn.functional.conv2d
    yield Case(PASSES[0], lambda: conv(x, w))
    backward = torch.ops.aten.convolution_backward
    sizes = [None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1]
    yield Case(PASSES[1], lambda: backward(gy, x, w, *sizes, [True, False, False]))
    yield Case(PASSES[2], lambda: backward(gy, x, w, *sizes, [False, True, False]))
    yield Case(STEP, _torch_step(layout))


def _torch_step(layout):
    import torch
    from torch import nn

    net = nn.Sequential(
        *[nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5)],
        nn.Linear(128, 10),
    ).to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, fused=True)
    images = torch.tensor(_numbers(BATCH, 1, 28, 28)).contiguous(memory_format=layout)
    labels = torch.tensor(_labels())

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return step


def tensorflow():
    """tf.function, NHWC."""
    import tensorflow as tf

    x, w = tf.constant(_numbers(BATCH, 26, 26, 32)), tf.constant(_numbers(3, 3, 32, 64))
    gy = tf.constant(_numbers(BATCH, 24, 24, 64))
    shapes = {"strides": [1, 1, 1, 1], "padding": "VALID"}
    raw = tf.raw_ops
    passes = [
        lambda: tf.nn.conv2d(x, w, 1, "VALID"),
        lambda: raw.Conv2DBackpropInput(input_sizes=x.shape, filter=w, out_backprop=gy, **shapes),
        lambda: raw.Conv2DBackpropFilter(input=x, filter_sizes=w.shape, out_backprop=gy, **shapes),
    ]
    for name, run in zip(PASSES, passes, strict=True):
        yield Case(name, tf.function(run))
    yield Case(STEP, _tensorflow_step())


def _tensorflow_step():
    import tensorflow as tf

    raw = tf.raw_ops
    shapes = [(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (9216, 128), (128,), (128, 10), (10,)]
    parameters = [tf.Variable(_numbers(*shape)) for shape in shapes]
    moments = [[tf.Variable(tf.zeros(shape)) for shape in shapes] for _ in range(2)]
    count = tf.Variable(0.0)
    images, labels = tf.constant(_numbers(BATCH, 28, 28, 1)), tf.constant(_labels())

    @tf.function
    def step():
        w1, b1, w2, b2, w3, b3, w4, b4 = parameters
        with tf.GradientTape() as tape:
            h = tf.nn.relu(tf.nn.conv2d(images, w1, 1, "VALID") + b1)
            h = tf.nn.relu(tf.nn.conv2d(h, w2, 1, "VALID") + b2)
            h = tf.nn.dropout(tf.nn.max_pool2d(h, 2, 2, "VALID"), 0.25)
            h = tf.nn.relu(tf.reshape(h, (BATCH, 9216)) @ w3 + b3)
            logits = tf.nn.dropout(h, 0.5) @ w4 + b4
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, parameters)
        count.assign_add(1.0)
        for p, g, m, v in zip(parameters, gradients, *moments):
            raw.ResourceApplyAdam(
                var=p.handle, m=m.handle, v=v.handle, beta1_power=0.9**count,
                beta2_power=0.999**count, lr=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, grad=g,
            )  # fmt: skip
        return loss

    return step


def step_of(column):
    """The training step of a column, without the passes: a function without arguments."""
    if column == "tinygrad_act":
        return _our_step()
    if column == "tensorflow":
        return _tensorflow_step()
    import torch

    return _torch_step(torch.channels_last if "last" in column else torch.contiguous_format)
