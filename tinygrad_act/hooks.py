"""Hooks: functions that are shown a gradient on its way back, and may change it.

They hang on the node; a node without them does not even have the attribute.  Backward asks
once whether there are any at all.
"""

from threading import RLock
from weakref import WeakSet

_lock = RLock()  # held while the next two change or are read together; again by finalizers
_hooked = WeakSet()  # the nodes that have hooks
in_use = False  # whether there may be any


class Hooks:
    """What hangs on a node.

    Attributes
    ----------
    functions : list
        In the order of their registration.
    retains : bool
        Whether the gradient is kept, of a node that is no leaf.
    retained : Tensor or None
        The gradient that is kept.
    """

    __slots__ = ("functions", "retains", "retained")

    def __init__(self):
        self.functions = []
        self.retains = False
        self.retained = None


class Handle:
    """What `register_hook` returns: `remove()` takes the hook off again."""

    __slots__ = ("_functions", "_function")

    def __init__(self, functions, function):
        self._functions = functions
        self._function = function

    def remove(self):
        """Take the hook off; a second time does nothing."""
        if self._function in self._functions:
            self._functions.remove(self._function)


def _of(node):
    """The hooks of a node, which has some from now on."""
    global in_use
    with _lock:
        if not hasattr(node, "hooks"):
            node.hooks = Hooks()
            _hooked.add(node)
            in_use = True
        return node.hooks


def register(node, function):
    """Show each gradient of a node to a function from now on."""
    functions = _of(node).functions
    functions.append(function)
    return Handle(functions, function)


def retain(node):
    """Keep the gradient of a node that is no leaf, too."""
    _of(node).retains = True


def retained(node):
    """The gradient kept for a node; None if there is none."""
    return node.hooks.retained if hasattr(node, "hooks") else None


def watched():
    """The nodes whose gradient somebody wants to see: a set."""
    global in_use
    with _lock:
        nodes = set(_hooked)
        in_use = bool(nodes)
        return nodes


def show(node, gradient):
    """The gradient, a Tensor, after all hooks of its node have seen it.

    Raises
    ------
    TypeError, ValueError
        If a hook returns anything but None or a Tensor of the gradient's shape and dtype.
    """
    hooks = node.hooks
    for function in tuple(hooks.functions):
        changed = function(gradient.clone())  # it may be written to, or kept
        if changed is None:
            continue
        if not isinstance(changed, type(gradient)):
            raise TypeError(f"register_hook: a hook must return a Tensor or None, not {changed!r}")
        if changed.shape != gradient.shape or changed.dtype is not gradient.dtype:
            raise ValueError(
                f"register_hook: the gradient is {gradient.dtype} of shape {gradient.shape}, but a "
                f"hook returned {changed.dtype} of shape {changed.shape}"
            )
        gradient = changed.clone()
    if hooks.retains:
        before = hooks.retained
        hooks.retained = gradient.clone() if before is None else before + gradient
    return gradient
