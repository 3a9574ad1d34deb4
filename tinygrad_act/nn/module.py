"""Module: a part of a network, made of parameters and of other modules."""

from contextlib import contextmanager
from reprlib import recursive_repr

from ..creation import zeros
from ..graph import no_grad
from ..state import restore
from ..tensor import Tensor


class Parameter(Tensor):
    """A Tensor that belongs to a Module and is trained: it always requires a gradient.

    Parameters
    ----------
    data : as of `Tensor`
    dtype : DType, optional
    """

    __slots__ = ()

    def __init__(self, data, dtype=None):
        super().__init__(data, requires_grad=True, dtype=dtype)


class Buffer(Tensor):
    """A Tensor that belongs to a Module and is saved with it, but not trained.

    Parameters
    ----------
    data : as of `Tensor`
    dtype : DType, optional
    """

    __slots__ = ()

    def __init__(self, data, dtype=None):
        super().__init__(data, dtype=dtype)


def _members(values):
    """The items of a dict, and those of the lists, tuples and dicts in it, with paths as names."""
    for name, value in values.items():
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            for path, item in _members(value):
                yield f"{name}.{path}", item
        else:
            yield str(name), value


class Module:
    """A part of a network: derive from it, set parameters and modules, write `forward`.

    Attributes
    ----------
    training : bool
        Whether layers such as dropout behave as in training; set by `train` and `eval`.

    Examples
    --------
    >>> class Shift(Module):
    ...     def __init__(self):
    ...         self.by = Parameter([1.0])
    ...     def forward(self, x):
    ...         return x + self.by
    >>> net = Shift()
    >>> net(Tensor([2.0])).tolist()
    [3.0]
    >>> [name for name, _ in net.named_parameters()]
    ['by']
    """

    training = True

    def forward(self, *inputs):
        """What the module computes; to be defined by each module."""
        raise TypeError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs):
        return self.forward(*inputs)

    def children(self):
        """The modules set on this one, also in lists and dicts: pairs of name and module."""
        for name, value in _members(vars(self)):
            if isinstance(value, Module):
                yield name, value

    def modules(self):
        """This module and all below it, each once, the outer before the inner.

        Returns
        -------
        list of (str, Module)
            With the path to it, which is "" for the module itself.
        """
        found = {}

        def visit(module, path):
            if module not in found:
                found[module] = path
                for name, child in module.children():
                    visit(child, f"{path}.{name}" if path else name)

        visit(self, "")
        return [(path, module) for module, path in found.items()]

    def named_parameters(self):
        """All parameters, each once, with a name that is the path to it.

        Returns
        -------
        list of (str, Parameter)
        """
        return self._named(Parameter)

    def named_buffers(self):
        """All tensors that are saved but not trained, as `named_parameters`."""
        return self._named(Buffer)

    def _named(self, kind):
        found, visited = {}, set()

        def visit(module, prefix):
            visited.add(module)
            children = []
            for name, value in _members(vars(module)):
                if isinstance(value, kind):
                    found.setdefault(value, prefix + name)
                elif isinstance(value, Module):
                    children.append((name, value))
            for name, child in children:
                if child not in visited:
                    visit(child, f"{prefix}{name}.")

        visit(self, "")
        return [(name, tensor) for tensor, name in found.items()]

    def parameters(self):
        """All parameters, each once: a list of Parameter."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, training=True):
        """Let this module and all below it behave as in training, or not; returns itself."""
        for _, module in self.modules():
            module.training = bool(training)
        return self

    def eval(self):
        """The same as ``train(False)``: no dropout, statistics as they were learnt."""
        return self.train(False)

    def apply(self, function):
        """Call ``function(module)`` on all modules below this one, and then on itself; return it.

        Examples
        --------
        >>> from tinygrad_act.nn import Linear, Sequential, init
        >>> def begin(module):
        ...     if isinstance(module, Linear):
        ...         init.constant(module.weight, 0.5)
        >>> Sequential(Linear(2, 1)).apply(begin)(Tensor([1.0, 2.0])).tolist()
        [1.5]
        """
        done = set()

        def visit(module):
            done.add(module)
            for _, child in module.children():
                if child not in done:
                    visit(child)
            function(module)

        visit(self)
        return self

    def state_dict(self):
        """A copy of every parameter and buffer: a dict from the path of each to a Tensor."""
        return {name: tensor.detach().clone() for name, tensor in self._state().items()}

    def _state(self):
        return dict(self.named_parameters() + self.named_buffers())

    def load_state_dict(self, state):
        """Take over the values of parameters and buffers that `state_dict` returned.

        Parameters
        ----------
        state : dict from str to Tensor or NumPy array

        Raises
        ------
        ValueError
            If a name is missing or not expected, or a shape or dtype differs.  The message
            lists all differences, and no value has been changed.
        """
        restore(type(self).__name__, self._state(), state)

    def summary(self, *inputs):
        """A table of all layers: what each returns, and how many numbers it learns.

        Parameters
        ----------
        *inputs : Tensor, or tuple of int
            What the module is called with once, or the shapes of zeros to call it with.
            The call is not as in training, and records nothing.

        Returns
        -------
        str

        Examples
        --------
        >>> from tinygrad_act.nn import Linear, Sequential
        >>> print(Sequential(Linear(2, 3), "tanh", Linear(3, 1)).summary((8, 2)))
        layer                  output  parameters
        0: Linear(2, 3)        (8, 3)           9
        1: Activation('tanh')  (8, 3)           0
        2: Linear(3, 1)        (8, 1)           4
        total                                  13
        """
        inputs = [zeros(x) if isinstance(x, tuple) else x for x in inputs]
        rows, counted = {}, set()

        def note(path, module, output):
            own = [value for _, value in _members(vars(module)) if isinstance(value, Parameter)]
            composed = any(True for _ in module.children())
            if path in rows or (composed and not own):
                return
            label = type(module).__name__ if composed else repr(module)
            shape = output.shape if isinstance(output, Tensor) else type(output).__name__
            size = sum(p.size for p in dict.fromkeys(own) if p not in counted)
            rows[path] = [f"{path}: {label}" if path else label, str(shape), size]
            counted.update(own)

        with no_grad(), evaluating(self), observing(self, note):
            self(*inputs)
        return _table(rows.values(), sum(p.size for p in self.parameters()))

    @recursive_repr()  # of modules that refer to each other, each is written once
    def __repr__(self):
        inside = "".join(
            "\n  " + f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.children()
        )
        return f"{type(self).__name__}({inside}\n)" if inside else f"{type(self).__name__}()"


@contextmanager
def evaluating(module):
    """``with evaluating(net): ...`` calls it as after training, and puts its modes back."""
    with keeping_modes(module):
        module.eval()
        yield


@contextmanager
def keeping_modes(module):
    """Whether it and all below it are training may change inside, and is put back after."""
    modes = [(one, one.training) for _, one in module.modules()]
    try:
        yield
    finally:
        for one, training in modes:
            one.training = training


@contextmanager
def observing(module, note):
    """Inside, ``note(path, module, output)`` is called after each call of a module.

    Parameters
    ----------
    module : Module
        Observed are it and all modules below it.
    note : function (str, Module, output)

    Examples
    --------
    >>> from tinygrad_act.nn import Linear, Sequential
    >>> net = Sequential(Linear(2, 3), "relu")
    >>> with observing(net, lambda path, module, y: print(path or "net", y.shape)):
    ...     y = net(Tensor([1.0, 2.0]))
    0 (3,)
    1 (3,)
    net (3,)
    """

    def observed(path, one, forward):
        def call(*inputs):
            output = forward(*inputs)
            note(path, one, output)
            return output

        return call

    modules = module.modules()
    before = [vars(one).get("forward") for _, one in modules]
    for path, one in modules:  # an attribute of the instance comes before the class's method
        vars(one)["forward"] = observed(path, one, one.forward)
    try:
        yield
    finally:
        for (_, one), forward in zip(modules, before):
            if forward is None:
                del vars(one)["forward"]
            else:
                vars(one)["forward"] = forward


def _table(rows, total):
    rows = [[row[0], row[1], f"{row[2]:,}"] for row in rows]
    rows = [["layer", "output", "parameters"], *rows, ["total", "", f"{total:,}"]]
    first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
    return "\n".join(f"{a:<{first}}  {b:<{second}}  {c:>{third}}" for a, b, c in rows)
