"""Functions made from functions: their gradients, Jacobians, products with these.

`grad`, `value_and_grad`, `jacobian` and `hessian` take a function and return one; `vjp`,
`jvp` and `hvp` evaluate at once.  Arguments and results are tensors, or lists, tuples and
dicts of such, nested as you like; a derivative comes in the same form.

What they return can be differentiated in turn, so they can be nested: ``hessian`` is the
jacobian of the gradient.  Arguments need not require a gradient.
"""

from contextlib import contextmanager
from functools import wraps

from . import graph
from .creation import ones_like, zeros
from .ops.shape import clone, stack
from .tensor import Tensor
from .tensor import grad as gradients_of

# ---- nested lists, tuples and dicts of tensors ----------------------------------------------


def _flatten(tree, what, path=""):
    """The tensors in a tree, in order.

    Raises
    ------
    TypeError
        For anything else in it; the message says what and where.
    """
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    elif isinstance(tree, dict):
        items = tree.items()
    else:
        raise TypeError(
            f"{what}{path} is {tree!r}, but must be a Tensor, or a list, tuple or dict of Tensors"
        )
    return [x for key, item in items for x in _flatten(item, what, f"{path}[{key!r}]")]


def _rebuild(tree, values):
    """A tree of the same form, with the next of an iterator of values in place of each tensor."""
    if isinstance(tree, Tensor):
        return next(values)
    if isinstance(tree, dict):
        return {key: _rebuild(item, values) for key, item in tree.items()}
    items = [_rebuild(item, values) for item in tree]
    if isinstance(tree, list):
        return items
    return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)  # a named tuple


def _like(tree, values):
    return _rebuild(tree, iter(values))


# ---- evaluating a function at points of its own ---------------------------------------------


@contextmanager
def _recording():
    """Record inside, also under no_grad."""
    mode = graph.mode
    before = mode.no_grads, mode.recording
    mode.no_grads, mode.recording = 0, True
    try:
        yield
    finally:
        mode.no_grads, mode.recording = before


def _fresh(x, what):
    """The same values as a new input; what x was computed from stays behind it."""
    if not x.dtype.is_float:
        raise TypeError(
            f"{what}: only float32 and float64 can be differentiated, but there is a tensor of "
            f"{x.dtype}; give it to the function in another way"
        )
    if x.requires_grad:
        return clone(x)
    x = x.detach()
    x.requires_grad = True
    return x


def _check_function(function, what):
    if not callable(function):
        raise TypeError(f"{what}: needs a function of tensors, not {function!r}")


def _evaluate(function, primals, what):
    """The function's result, and its inputs as a flat list of new tensors."""
    _check_function(function, what)
    inputs = [_fresh(x, what) for x in _flatten(primals, f"{what}: the argument ")]
    return function(*_like(primals, inputs)), inputs


def _depend_on_others(outputs, inputs, seeds=()):
    """Whether outputs were computed from more than these inputs, or the seeds from anything.

    Only then can somebody want to differentiate a derivative of these outputs.
    """
    own = {x.node for x in inputs}
    roots = [y.node for y in outputs if y.node is not None]
    nodes = graph.count_users(roots)
    leaves = {p for node in nodes for p in node.parents if p is not None and p.op is None}
    return not leaves <= own or any(seed.requires_grad for seed in seeds)


def _finished(tree, was_recording):
    """A result as it is handed out: outside the graph, if nothing is recorded there."""
    if was_recording:
        return tree
    return _like(tree, [x.detach() for x in _flatten(tree, "result")])


def _one_number(y, what):
    if not isinstance(y, Tensor) or y.size != 1:
        found = f"a tensor of shape {y.shape}" if isinstance(y, Tensor) else repr(y)
        raise ValueError(f"{what}: the function must return one number as a Tensor, not {found}")


# ---- gradients ------------------------------------------------------------------------------


def value_and_grad(function, argnums=0):
    """A function that returns the value of `function` and its gradient.

    Parameters
    ----------
    function : callable
        Returns a Tensor of one element.
    argnums : int or tuple of int
        Which of its positional arguments to differentiate with respect to.  Default: the
        first.

    Returns
    -------
    callable
        Takes the same arguments; returns the value and the gradient, in the form of the
        argument: a tensor, or nested lists, tuples and dicts of them.  For several `argnums`
        a tuple of such.

    Raises
    ------
    TypeError, ValueError
        When called: if the argument holds anything but float tensors, or the result is not
        one number.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> def loss(parameters, x):
    ...     return ((x * parameters["w"] + parameters["b"]) ** 2).sum()
    >>> at = {"w": Tensor(2.0), "b": Tensor(1.0)}
    >>> value, slopes = value_and_grad(loss)(at, Tensor([1.0, 2.0]))
    >>> value.item(), {name: slope.item() for name, slope in slopes.items()}
    (34.0, {'w': 26.0, 'b': 16.0})
    """
    _check_function(function, "value_and_grad")
    several = isinstance(argnums, (tuple, list))

    @wraps(function)
    def differentiated(*args, **kwargs):
        of_chosen, chosen = _chosen(function, argnums, args, kwargs, "value_and_grad")
        was_recording = graph.mode.recording
        with _recording():
            y, inputs = _evaluate(of_chosen, chosen, "value_and_grad")
            _one_number(y, "value_and_grad")
            create_graph = was_recording and _depend_on_others([y], inputs)
            gradients = gradients_of(y, inputs, ones_like(y), create_graph=create_graph)
        gradients = _like(chosen, gradients)
        y = y if create_graph else y.detach()
        return y, _finished(gradients if several else gradients[0], was_recording)

    return differentiated


def _chosen(function, argnums, args, kwargs, what):
    """The function of the arguments to be differentiated alone, and those arguments."""
    argnums = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for i in argnums:
        if not isinstance(i, int) or isinstance(i, bool):
            raise TypeError(f"{what}: argnums must be integers, not {i!r}")
        if not -len(args) <= i < len(args):
            raise ValueError(f"{what}: there is no argument {i}, {len(args)} were given")
    if len({i % len(args) for i in argnums}) < len(argnums):
        raise ValueError(f"{what}: argnums {tuple(argnums)} name an argument twice")

    def of_chosen(*chosen):
        filled = list(args)
        for i, value in zip(argnums, chosen, strict=True):
            filled[i] = value
        return function(*filled, **kwargs)

    return of_chosen, tuple(args[i] for i in argnums)


def grad(function, argnums=0):
    """A function that returns the gradient of `function`; see `value_and_grad`.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> cube = lambda x: x**3
    >>> grad(cube)(Tensor(2.0)).item(), grad(grad(cube))(Tensor(2.0)).item()
    (12.0, 12.0)
    """
    of_both = value_and_grad(function, argnums)

    @wraps(function)
    def differentiated(*args, **kwargs):
        return of_both(*args, **kwargs)[1]

    return differentiated


# ---- products with the Jacobian -------------------------------------------------------------


def vjp(function, *primals):
    """The value of a function, and the function that pulls a gradient back through it.

    Parameters
    ----------
    function : callable
        Returns a tensor, or nested lists, tuples and dicts of tensors.
    *primals
        Its arguments, all of which are differentiated with respect to.

    Returns
    -------
    value
        What the function returns.
    pull_back : function (gradient) -> tuple
        The gradient with respect to each argument, given that with respect to the value, in
        its form; it can be called many times.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> y, pull_back = vjp(lambda x, w: x * w, Tensor([1.0, 2.0]), Tensor([3.0, 4.0]))
    >>> [g.tolist() for g in pull_back(Tensor([1.0, 10.0]))]
    [[3.0, 40.0], [1.0, 20.0]]
    """
    was_recording = graph.mode.recording
    with _recording():
        y, inputs = _evaluate(function, primals, "vjp")
    outputs = _flatten(y, "vjp: the result ")

    def pull_back(gradient):
        seeds = _matching(gradient, outputs, "vjp: the gradient ")
        recording = graph.mode.recording
        with _recording():
            on = recording and _depend_on_others(outputs, inputs, seeds)
            gradients = gradients_of(outputs, inputs, seeds, create_graph=on, retain_graph=True)
        return _finished(_like(primals, gradients), recording)

    others = was_recording and _depend_on_others(outputs, inputs)
    return (y if others else _like(y, [x.detach() for x in outputs])), pull_back


def _matching(tree, tensors, what):
    """The tensors of a tree, which must have the shapes and dtypes of others."""
    found = _flatten(tree, what)
    if len(found) != len(tensors):
        raise ValueError(f"{what}has {len(found)} tensors, but there must be {len(tensors)}")
    for got, wanted in zip(found, tensors, strict=True):
        if got.shape != wanted.shape or got.dtype is not wanted.dtype:
            raise ValueError(
                f"{what}is {got.dtype} of shape {got.shape}, but must be {wanted.dtype} of "
                f"shape {wanted.shape}"
            )
    return found


def jvp(function, primals, tangents):
    """The value of a function, and how it moves when its arguments do.

    The rules of the ops pull gradients back.  That is linear in the gradient, so pulling back
    through it, in turn, pushes a tangent forward.

    Parameters
    ----------
    function : callable
    primals : tuple or list
        Its arguments.
    tangents : tuple or list
        The direction of each, in its form.

    Returns
    -------
    value, tangent
        In the form of the result.

    Source: Townsend, "A new trick for calculating Jacobian vector products" (2017).

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> y, dy = jvp(lambda x: x * x, (Tensor([1.0, 3.0]),), (Tensor([1.0, 0.5]),))
    >>> y.tolist(), dy.tolist()
    ([1.0, 9.0], [2.0, 3.0])
    """
    primals = _as_arguments(primals, "jvp")
    was_recording = graph.mode.recording
    with _recording():
        y, inputs = _evaluate(function, primals, "jvp")
        outputs = _flatten(y, "jvp: the result ")
        directions = _matching(tangents, inputs, "jvp: the tangent ")
        on = was_recording and _depend_on_others(outputs, inputs, directions)
        seeds = [_fresh(zeros(y.shape, dtype=y.dtype), "jvp") for y in outputs]
        pulled = gradients_of(outputs, inputs, seeds, create_graph=True)
        pushed = gradients_of(pulled, seeds, directions, create_graph=on)
    tangent = _finished(_like(y, pushed), was_recording)
    return (y if on else _like(y, [x.detach() for x in outputs])), tangent


def _as_arguments(primals, what):
    if not isinstance(primals, (tuple, list)):
        raise TypeError(f"{what}: primals must be a tuple of the arguments, not {primals!r}")
    return tuple(primals)


def hvp(function, primals, tangents):
    """The value of a function, and its Hessian times a vector, without the Hessian.

    Parameters
    ----------
    function : callable
        Returns a Tensor of one element.
    primals, tangents : tuple or list
        Its arguments, and for each a direction in its form.

    Returns
    -------
    value : Tensor
    product : tuple
        In the form of `primals`.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> x, v = Tensor([1.0, 2.0]), Tensor([1.0, 1.0])
    >>> value, (product,) = hvp(lambda x: (x**3).sum(), (x,), (v,))
    >>> value.item(), product.tolist()
    (9.0, [6.0, 12.0])
    """
    primals = _as_arguments(primals, "hvp")
    was_recording = graph.mode.recording
    with _recording():
        y, inputs = _evaluate(function, primals, "hvp")
        _one_number(y, "hvp")
        directions = _matching(tangents, inputs, "hvp: the tangent ")
        on = was_recording and _depend_on_others([y], inputs, directions)
        slopes = gradients_of(y, inputs, ones_like(y), create_graph=True)
        products = gradients_of(slopes, inputs, directions, create_graph=on)
    product = _finished(_like(primals, products), was_recording)
    return (y if on else y.detach()), product


# ---- whole matrices -------------------------------------------------------------------------


def jacobian(function, argnums=0):
    """A function that returns all derivatives of all elements of the result.

    Parameters
    ----------
    function : callable
        Returns a tensor, or nested lists, tuples and dicts of tensors.
    argnums : int or tuple of int
        As in `value_and_grad`.

    Returns
    -------
    callable
        Takes the same arguments.  For a tensor y of a tensor x the result has the shape
        ``y.shape + x.shape``; else it has the form of the function's result, with the form of
        the argument in place of each tensor.

    Notes
    -----
    One pass backward for each element of the result.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> jacobian(lambda x: x * x)(Tensor([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    _check_function(function, "jacobian")
    several = isinstance(argnums, (tuple, list))

    @wraps(function)
    def differentiated(*args, **kwargs):
        of_chosen, chosen = _chosen(function, argnums, args, kwargs, "jacobian")
        was_recording = graph.mode.recording
        with _recording():
            y, inputs = _evaluate(of_chosen, chosen, "jacobian")
            outputs = _flatten(y, "jacobian: the result ")
            create_graph = was_recording and _depend_on_others(outputs, inputs)
            blocks = []
            for output in outputs:
                rows = _rows(output, inputs, create_graph)
                block = _like(
                    chosen,
                    [
                        stack(*[row[i] for row in rows]).reshape(*output.shape, *x.shape)
                        if rows
                        else zeros((*output.shape, *x.shape), dtype=x.dtype)
                        for i, x in enumerate(inputs)
                    ],
                )
                blocks.append(block if several else block[0])
        return _finished(_like(y, blocks), was_recording)

    return differentiated


def _rows(output, inputs, create_graph):
    """For each element of a tensor its derivatives with respect to all inputs."""
    rows = []
    for place in range(output.size):
        seed = zeros(output.size, dtype=output.dtype)
        seed[place] = 1.0
        rows.append(
            gradients_of(
                output,
                inputs,
                seed.reshape(output.shape),
                create_graph=create_graph,
                retain_graph=True,
            )
        )
    return rows


def hessian(function, argnums=0):
    """A function that returns all second derivatives of `function`: of its gradient the jacobian.

    Parameters
    ----------
    function : callable
        Returns a Tensor of one element.
    argnums : int or tuple of int
        As in `value_and_grad`.

    Returns
    -------
    callable
        For a tensor x it returns one of shape ``x.shape + x.shape``.

    Examples
    --------
    >>> from tinygrad_act import Tensor
    >>> hessian(lambda x: x[0] * x[0] * x[1])(Tensor([2.0, 3.0])).tolist()
    [[6.0, 4.0], [4.0, 0.0]]
    """
    return jacobian(grad(function, argnums), argnums)
