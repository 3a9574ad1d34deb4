"""The convolutional network on images of MNIST's size: its second convolution, and a whole step.

Batches of 128, float32.  The network is that of examples/mnist_cnn.py with ReLU: convolutions
of 32 and 64 filters of 3x3, pooling, dropout, 128 units, dropout, 10 classes; a step is forward,
backward and Adam.  Each peer works in the layout that its users choose.  All begin with the same
weights, and must agree on some elements of the second convolution's results, and on the losses of
three steps without dropout.
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


def _parameters():
    """Weights (out, in, ...) and biases, as small as is usual."""
    import numpy as np

    shapes = [(32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 9216), (128,), (10, 128), (10,)]
    for shape in shapes:
        yield _numbers(*shape) * np.float32(10 / np.prod(shape[1:]) ** 0.5)


def _ends(call, order=(0, 1, 2, 3)):
    """A value of a case: the result's elements at both ends; `order`: of its axes, to be NCHW."""

    def value():
        import numpy as np

        y = np.asarray(call()).transpose(order)
        return y[0, 0, 0, 0], y[0, -1, 0, 1], y[-1, 0, 1, -1], y[-1, -1, -1, -1]

    return value


def tinygrad_act():
    """The three passes as the ops that they are; the step captured."""
    import tinygrad_act as tga
    from tinygrad_act import Tensor

    x, w = Tensor(_numbers(BATCH, 32, 26, 26)), Tensor(_numbers(64, 32, 3, 3))
    gy = Tensor(_numbers(BATCH, 64, 24, 24))
    passes = [
        lambda: tga.conv2d(x, w),
        lambda: tga.conv_transpose2d(gy, w),
        lambda: tga.conv2d_weight(x, gy, size=3),
    ]
    for name, run in zip(PASSES, passes, strict=True):
        yield Case(name, run, value=_ends(run))
    yield _our_step()


def _our_step():
    import tinygrad_act as tga
    from tinygrad_act import Tensor, nn, optim

    net = nn.Sequential(
        *[nn.Conv2d(1, 32, 3), "relu", nn.Conv2d(32, 64, 3), "relu", nn.MaxPool2d(2)],
        *[nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), "relu", nn.Dropout(0.5)],
        nn.Linear(128, 10),
    )
    with tga.no_grad():
        for parameter, numbers in zip(net.parameters(), _parameters(), strict=True):
            parameter.copy_(Tensor(numbers))
    optimizer = optim.Adam(net.parameters(), lr=0.001)

    def train_step(images, labels):
        optimizer.zero_grad()
        loss = tga.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = tga.capture(train_step)
    images, labels = Tensor(_numbers(BATCH, 1, 28, 28)), Tensor(_labels())

    def losses():
        net.eval()
        found = [train_step(images, labels).item() for _ in range(3)]
        net.train()
        return found

    return Case(STEP, lambda: step(images, labels), value=losses)


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
    backward = torch.ops.aten.convolution_backward
    sizes = [None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1]
    passes = [
        lambda: conv(x, w),
        lambda: backward(gy, x, w, *sizes, [True, False, False])[0],
        lambda: backward(gy, x, w, *sizes, [False, True, False])[1],
    ]
    for name, run in zip(PASSES, passes, strict=True):
        yield Case(name, run, value=_ends(run))
    yield _torch_step(layout)


def _torch_step(layout):
    import torch
    from torch import nn

    net = nn.Sequential(
        *[nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Dropout(0.25), nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5)],
        nn.Linear(128, 10),
    )
    with torch.no_grad():
        for parameter, numbers in zip(net.parameters(), _parameters(), strict=True):
            parameter.copy_(torch.tensor(numbers))
    net = net.to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, fused=True)
    images = torch.tensor(_numbers(BATCH, 1, 28, 28)).contiguous(memory_format=layout)
    labels = torch.tensor(_labels())

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def losses():
        net.eval()
        found = [step().item() for _ in range(3)]
        net.train()
        return found

    return Case(STEP, step, value=losses)


def tensorflow():
    """tf.function, NHWC."""
    import tensorflow as tf

    def constant(numbers, *order):
        return tf.constant(numbers.transpose(order))

    x = constant(_numbers(BATCH, 32, 26, 26), 0, 2, 3, 1)
    w = constant(_numbers(64, 32, 3, 3), 2, 3, 1, 0)
    gy = constant(_numbers(BATCH, 64, 24, 24), 0, 2, 3, 1)
    shapes = {"strides": [1, 1, 1, 1], "padding": "VALID"}
    raw = tf.raw_ops
    passes = [
        lambda: tf.nn.conv2d(x, w, 1, "VALID"),
        lambda: raw.Conv2DBackpropInput(input_sizes=x.shape, filter=w, out_backprop=gy, **shapes),
        lambda: raw.Conv2DBackpropFilter(input=x, filter_sizes=w.shape, out_backprop=gy, **shapes),
    ]
    orders = [(0, 3, 1, 2), (0, 3, 1, 2), (3, 2, 0, 1)]
    for name, run, order in zip(PASSES, map(tf.function, passes), orders, strict=True):
        yield Case(name, run, value=_ends(run, order))
    yield _tensorflow_step()


def _tensorflow_step():
    import tensorflow as tf

    raw = tf.raw_ops
    w1, b1, w2, b2, w3, b3, w4, b4 = _parameters()
    w1, w2, w4 = w1.transpose(2, 3, 1, 0), w2.transpose(2, 3, 1, 0), w4.T
    w3 = w3.reshape(128, 64, 12, 12).transpose(2, 3, 1, 0).reshape(9216, 128)
    parameters = [tf.Variable(numbers) for numbers in (w1, b1, w2, b2, w3, b3, w4, b4)]
    moments = [[tf.Variable(tf.zeros(p.shape)) for p in parameters] for _ in range(2)]
    count = tf.Variable(0.0)
    images = tf.constant(_numbers(BATCH, 1, 28, 28).transpose(0, 2, 3, 1))
    labels = tf.constant(_labels())

    @tf.function
    def step(drop=True):
        w1, b1, w2, b2, w3, b3, w4, b4 = parameters
        with tf.GradientTape() as tape:
            h = tf.nn.relu(tf.nn.conv2d(images, w1, 1, "VALID") + b1)
            h = tf.nn.relu(tf.nn.conv2d(h, w2, 1, "VALID") + b2)
            h = tf.nn.max_pool2d(h, 2, 2, "VALID")
            h = tf.nn.dropout(h, 0.25) if drop else h
            h = tf.nn.relu(tf.reshape(h, (BATCH, 9216)) @ w3 + b3)
            h = tf.nn.dropout(h, 0.5) if drop else h
            logits = h @ w4 + b4
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

    return Case(STEP, step, value=lambda: [float(step(drop=False)) for _ in range(3)])


def step_of(column):
    """The training step of a column, without the passes: a function without arguments."""
    if column == "tinygrad_act":
        return _our_step().call
    if column == "tensorflow":
        return _tensorflow_step().call
    import torch

    layout = torch.channels_last if "last" in column else torch.contiguous_format
    return _torch_step(layout).call
