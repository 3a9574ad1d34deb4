"""What an op is: the record of its mathematics, and the registry of all records.

An op is declared once, in ``ops/``.  Its record says what is true: the function,
its derivative, where the derivative jumps, how exact the kernel is.  How it is
computed stands in ``csrc/``, in another form, so that comparing the two is a
real test.  Tests, benchmarks and the op table follow from the registry.

Three kinds of op: `Elementwise` (one input), `Binary` (two, with broadcasting) and
`General` (all others).  Each has a `forward` on arrays and a `backward`, which on
arrays calls a fused kernel where there is one, and on tensors runs the record's
formula, so that the derivative is itself recorded.  A `Composed` op is nothing but other
ops one after the other, and has no derivative of its own.

A call of ``lib.quick_...`` does the plain case in C, to the same bits, and returns None for any
other; whoever reads can skip it.
"""

from functools import lru_cache
from math import inf, prod

from . import kernels
from .array import (
    Array,
    broadcast_shape,
    broadcast_strides,
    constant,
    contiguous_strides,
    convert,
    empty,
    strides_of,
)
from .dtype import bool_, float32, float64, int64, promote
from .formula import INTERPRETERS, REGISTRY, evaluate, formula, interpreter, interpreter_of

lib = kernels.lib

ACTIVATIONS = {}  # name -> Op: what a layer accepts as a string


class Attr:
    """An attribute of an op: its default, and the range from which tests draw it."""

    __slots__ = ("default", "drawn")

    def __init__(self, default, drawn):
        self.default = default
        self.drawn = drawn

    def __repr__(self):
        return f"Attr({self.default!r}, drawn={self.drawn!r})"


class Tail:
    """Left of `x` another bound on the error holds: in ulp, or absolute.

    Far out on the left gelu and its like are tiny, and a rounding on the way to them is
    magnified.
    """

    __slots__ = ("x", "max_ulp", "max_abs")

    def __init__(self, x, max_ulp=None, max_abs=None):
        self.x = x
        self.max_ulp = max_ulp
        self.max_abs = max_abs


class Op:
    """The record of one op; abstract, see `Elementwise`, `Binary` and `General`.

    Attributes
    ----------
    name : str
    inputs : tuple of str
        The names of the inputs, in order.
    saves : str
        What the derivative reads: names of inputs, and of the output.
    output : str
        The name of the output.
    attrs : dict from str to Attr or to a default
        Parameters that are not differentiated, such as a slope or an axis.
    max_ulp : dict from dtype name to float, or None
        Bound on the kernel's error in units in the last place; None where the
        error depends on how much is summed.
    kinks : dict or function of the attributes
        Where the derivative jumps, each with what was chosen there and why.
    conventions : str
        What else was chosen where mathematics leaves it open, and why.
    """

    promotes = 0  # from which input on (1 is the first) they meet in one dtype; 0 for none
    variadic = False  # whether it takes any number of inputs
    indices = ()  # which inputs are integers that name places; they may be given as lists
    composed = False  # whether it is made of other ops, and has no derivative of its own
    shortcut = None  # what csrc/eager.c knows of it, if its kernel has a shortcut

    def __init__(self, name, inputs, output, saves, attrs, max_ulp, kinks, conventions):
        if name in REGISTRY:
            raise ValueError(f"an op named {name!r} exists already")
        self.name = name
        self.inputs = tuple(inputs.split())
        self.output = output
        self.saves = saves
        self.attrs = attrs or {}
        self.defaults = {
            name: attr.default if isinstance(attr, Attr) else attr
            for name, attr in self.attrs.items()
        }
        self.max_ulp = max_ulp
        self.kinks = kinks
        self.conventions = conventions
        self._arity = -1 if self.variadic else len(self.inputs)
        needed = saves.split()
        self._whole = tuple([name in needed for name in (output, *self.inputs)])
        self.keep = _keep_shapes if self.variadic else _keeper(*self._whole)
        given = [*self.inputs, *[f"{name}={value!r}" for name, value in self.defaults.items()]]
        self.__doc__ = f"{name}({'*' * self.variadic}{', '.join(given)})\n\n{conventions}"
        unknown = set(saves.split()) - {output, *self.inputs}
        if unknown:
            raise ValueError(f"{name}: saves {unknown}, which it does not have")

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        from .interoperability import op_named

        return op_named, (self.name,)

    def __call__(self, *inputs, **attrs):
        # the plain case, in C; else None
        result = lib.quick_call(self.shortcut, self, self.defaults, inputs, attrs)
        if result is not None:
            return result
        if attrs or len(inputs) != self._arity:
            inputs, attrs = self._sorted(inputs, attrs)
        else:
            attrs = self.defaults
        interpret = INTERPRETERS.get(type(inputs[0])) or interpreter_of(inputs)
        if interpret is not None:
            return interpret(self, inputs, attrs)
        for x in inputs:
            if not isinstance(x, (float, int)):
                raise TypeError(
                    f"{self.name}: needs a Tensor, not {type(x).__name__}; write Tensor(...)"
                )
        return self.on_numbers(*inputs, **attrs)

    def _sorted(self, inputs, attrs):
        """Tell inputs from attributes, which may be given by place: ``sum(x, 0)``."""
        if self.variadic:
            if inputs and isinstance(inputs[0], (list, tuple)):
                inputs, given = tuple(inputs[0]), inputs[1:]
            else:
                given = ()
            if not inputs:
                raise TypeError(f"{self.name}: needs at least one Tensor")
        else:
            count = len(self.inputs)
            inputs, given = inputs[:count], inputs[count:]
            if len(inputs) < count:
                raise TypeError(
                    f"{self.name}: needs {count} inputs, {', '.join(self.inputs)}; "
                    f"{len(inputs)} given"
                )
        if given:
            if len(given) > len(self.attrs):
                raise TypeError(f"{self.name}: {len(given) - len(self.attrs)} arguments too many")
            attrs = {**dict(zip(self.attrs, given, strict=False)), **attrs}
        return inputs, self.complete(attrs) if attrs else self.defaults

    def _shortcut_of(self, kind, row=None, reads=None):
        """What csrc/eager.c needs to know: see there."""
        names = (self.output, *self.inputs)
        return lib.shortcut_of(kind, row, self._whole, names.index(reads) if reads else -1)

    def complete(self, attrs):
        """`attrs` with the defaults of those that are missing.

        Raises
        ------
        TypeError
            For an attribute that the op does not have.
        """
        refuse_unknown(self.name, attrs, self.attrs)
        return {**self.defaults, **attrs}

    def on_numbers(self, *inputs, **attrs):
        """The op on plain Python numbers, following IEEE."""
        raise TypeError(f"{self.name}: needs a Tensor, not a number; write Tensor(...)")


@lru_cache
def _keeper(*whole):
    """The function (y, *inputs) -> what the derivative needs: each array, or its shape alone.

    `whole` says of each whether it is needed whole.  The function runs at every application
    of an op, so it is written out as source, once for all ops that keep the same.
    """
    names = [f"x{i}" for i in range(len(whole))]
    kept = [x if needed else f"{x}.shape" for x, needed in zip(names, whole, strict=True)]
    return eval(f"lambda {', '.join(names)}: ({', '.join(kept)},)")


def _keep_shapes(y, *inputs):
    """The same of an op of any number of inputs."""
    return (y.shape, *[x.shape for x in inputs])


def refuse_unknown(owner, given, known):
    """Raise TypeError for a keyword that is not among the known ones."""
    for name in given:
        if name not in known:
            from .hints import no_argument

            raise no_argument(owner, name, known)


def register(op):
    """Enter an op in the registry, and return it."""
    REGISTRY[op.name] = op
    return op


@interpreter(Array)
def _on_arrays(op, inputs, attrs):
    return op.forward(*inputs, **attrs)


def needs_float(op, x):
    """Raise TypeError unless the array's dtype is a float."""
    if not x.dtype.is_float:
        raise TypeError(
            f"{op}: needs float32 or float64, but x is {x.dtype}; write x.astype('float32')"
        )


def number_dtype():
    """The dtype of a number that meets only numbers."""
    return formula.dtype or float32


def array_of(x, like):
    """An operand as an array: itself, or a Python number in the dtype of the array it meets."""
    if isinstance(x, Array):
        return x
    dtype = like.dtype
    if not dtype.is_float and not (dtype is bool_ and isinstance(x, bool)):
        dtype = float32 if isinstance(x, float) else int64
    return constant(x, dtype)


# ---- elementwise, one input -----------------------------------------------------------------


class Elementwise(Op):
    """A function of each element: a formula, its derivative, and perhaps a C row.

    Parameters
    ----------
    f : function (x, **attrs)
        The textbook formula.
    df : function (x, **attrs), (y, ...) or (x, y, ...)
        The derivative; its parameters' names say what it reads.
    stable : function, optional
        A form of `f` without overflow or cancellation, which serves as the kernel
        where there is no row in C.  Default: `f`.
    on_integers : function (x, **attrs), optional
        The op on integers, in integers.  Default: they raise.
    domain : pair of floats
        Where tests draw x.
    tail : Tail, optional
        What holds instead of `max_ulp` far out on the left.
    df_ulp, df_tail : as `max_ulp` and `tail`
        The same for the derivative in C, compared with `df` of what was saved.
    """

    def __init__(
        self,
        name,
        f,
        df,
        *,
        saves="x",
        attrs=None,
        stable=None,
        on_integers=None,
        domain=(-8.0, 8.0),
        max_ulp=None,
        tail=None,
        df_ulp=None,
        df_tail=None,
        kinks=None,
        conventions="",
    ):
        super().__init__(name, "x", "y", saves, attrs, max_ulp, kinks or {}, conventions)
        self.f = f
        self.df = df
        self.tail = tail
        self.df_ulp = df_ulp
        self.df_tail = df_tail
        self.stable = stable or f
        self.on_integers = on_integers
        self.domain = domain
        self.row = kernels.find("unary", name)
        takes = df.__code__.co_varnames[: df.__code__.co_argcount]
        self._df_takes = tuple(name for name in ("x", "y") if name in takes)
        if not set(self._df_takes) <= set(saves.split()):
            raise ValueError(f"{name}: df reads {self._df_takes}, but saves is {saves!r}")
        if self.row >= 0 and not set(kernels.row_saves(self.row)) <= set(saves.split()):
            raise ValueError(f"{name}: the C row saves {kernels.row_saves(self.row)!r}")
        self.row_reads_y = self.row >= 0 and kernels.row_saves(self.row) == "y"
        if self.row >= 0:
            self.shortcut = self._shortcut_of("unary", self.row, kernels.row_saves(self.row))

    def forward(self, x, **attrs):
        # the plain case, in C; else None
        if (y := lib.quick_unary(self.row, x, *attrs.values())) is not None:
            return y
        if not x.dtype.is_float:
            if self.on_integers is None:
                needs_float(self.name, x)
            return self.on_integers(x, **attrs)
        if self.row < 0:
            return evaluate(self.stable, x.dtype, x, **attrs)
        a, b = pair(attrs, self.name) if attrs else (0.0, 0.0)
        y = empty(x.shape, x.dtype, x.size)
        if x.strides is None:
            lib.tga_unary_forward(self.row, x.dtype.code, x.size, x.data, y.data, a, b)
        else:
            walk = kernels.layout(x.shape, contiguous_strides(x.shape), x.strides)
            lib.tga_unary_forward_strided(self.row, x.dtype.code, walk, x.data, y.data, a, b)
        return y

    def backward(self, parents, gy, saved, attrs):
        s = saved[0 if self.row_reads_y else 1]
        # the plain case, in C; else None
        if (gx := lib.quick_unary_backward(self.row, gy, s, *attrs.values())) is not None:
            return (gx,)
        if self.row < 0 or type(gy) is not Array:
            return (gy * self.derivative(*saved, dtype=gy.dtype, **attrs),)
        if type(s) is tuple:  # the row reads nothing, so any memory will do
            s = gy
        a, b = pair(attrs, self.name) if attrs else (0.0, 0.0)
        gx = empty(gy.shape, gy.dtype, gy.size)
        if gy.strides is None and s.strides is None:
            lib.tga_unary_backward(self.row, gy.dtype.code, gy.size, gy.data, s.data, gx.data, a, b)
        else:
            walk = walk_broadcast(gy.shape, gy, s)
            lib.tga_unary_backward_strided(
                self.row, gy.dtype.code, walk, gy.data, s.data, gx.data, a, b
            )
        return (gx,)

    def derivative(self, y, x, *, dtype=None, **attrs):
        """`df` at x and y."""
        given = {"x": x, "y": y}
        return evaluate(self.df, dtype, *[given[name] for name in self._df_takes], **attrs)

    def on_numbers(self, x, **attrs):
        attrs = self.complete(attrs)
        if self.row < 0:  # on Scalars, since Python's own / and ** raise where IEEE does not
            from .scalar import Scalar

            return evaluate(self.stable, float64, Scalar(x, requires_grad=False), **attrs).data
        return lib.tga_unary_scalar(self.row, float(x), *pair(attrs, self.name))


_NO_BOUND = {"min": -inf, "max": inf}  # what None means for the attribute of that name


def pair(attrs, op):
    """The attributes as the two numbers that a C row takes."""
    for name, value in attrs.items():
        if hasattr(value, "requires_grad"):
            raise TypeError(f"{op}: {name} must be a number: no gradient flows to it")
    try:
        values = [
            float(_NO_BOUND.get(name) if value is None else value) for name, value in attrs.items()
        ]
    except (TypeError, ValueError):
        given = ", ".join(f"{name}={value!r}" for name, value in attrs.items())
        raise TypeError(f"{op}: attributes must be numbers, but there is {given}") from None
    return (*values, 0.0, 0.0)[:2]


def elementwise(name, f, df, **fields):
    """Declare an elementwise op; the parameters are those of `Elementwise`."""
    return register(Elementwise(name, f, df, **fields))


def activation(name, f, df, **fields):
    """Declare an activation: an elementwise op that layers accept by name.

    Parameters
    ----------
    name : str
    f, df : function
        The formula and its derivative, see `Elementwise`.
    **fields
        The other parameters of `Elementwise`, such as ``saves`` and ``attrs``.

    Examples
    --------
    >>> from tinygrad_act import Tensor, exp
    >>> bump = activation("bump", f=lambda x: exp(-x * x), df=lambda x, y: -2 * x * y, saves="x y")
    >>> x = Tensor([0.0, 1.0], requires_grad=True, dtype="float64")
    >>> bump(x).sum().backward()
    >>> x.grad.tolist()
    [-0.0, -0.7357588823428847]
    """
    op = elementwise(name, f, df, **fields)
    ACTIVATIONS[name] = op
    return op


# ---- two inputs, with broadcasting ----------------------------------------------------------


class Binary(Op):
    """A function of two elements; shapes meet by broadcasting, dtypes by promotion.

    Parameters
    ----------
    f : function (x, y)
        The textbook formula; here the result is called z.
    vjp : pair of functions (gz, z, x, y), or None
        The gradient with respect to x and to y, before broadcasting is undone.
        None for a comparison, which has none.
    on_integers : {"no", "same", "float"}
        Whether integers raise, stay integers, or are converted to float32 first.
    ties : function (x, y) -> bool, optional
        Where the derivative jumps, for the tests to keep away from.
    """

    def __init__(
        self,
        name,
        f,
        vjp,
        *,
        saves="",
        on_integers="no",
        domain=((-8.0, 8.0), (-8.0, 8.0)),
        ties=None,
        max_ulp=None,
        kinks=None,
        conventions="",
    ):
        super().__init__(name, "x y", "z", saves, None, max_ulp, kinks or {}, conventions)
        self.f = f
        self.vjp = vjp
        self.domain = domain
        self.ties = ties
        self.compares = vjp is None
        self.promotes = 0 if self.compares else 1
        self.on_integers = on_integers
        self.row = kernels.find("compare" if self.compares else "binary", name)
        if self.row < 0:
            raise ValueError(
                f"{name}: there is no row of that name in arithmetic.def; declare it with general()"
            )
        self.shortcut = self._shortcut_of("compare" if self.compares else "binary", self.row)

    def forward(self, x, y):
        # the plain case, in C; else None
        if not self.compares and (z := lib.quick_binary(self.row, x, y)) is not None:
            return z
        if type(x) is not Array:
            x = array_of(x, y)
        elif type(y) is not Array:
            y = array_of(y, x)
        if x.dtype is not y.dtype or not x.dtype.is_float:
            x, y = self._meet(x, y)
        if self.compares:
            return self._compare(x, y)
        code = x.dtype.code
        if x.shape == y.shape and x.strides is None and y.strides is None:
            z = empty(x.shape, x.dtype, x.size)
            lib.tga_binary_forward(self.row, code, x.size, x.data, 1, y.data, 1, z.data)
        elif y.shape == () and x.strides is None:
            z = empty(x.shape, x.dtype, x.size)
            lib.tga_binary_forward(self.row, code, x.size, x.data, 1, y.data, 0, z.data)
        elif x.shape == () and y.strides is None:
            z = empty(y.shape, y.dtype, y.size)
            lib.tga_binary_forward(self.row, code, y.size, x.data, 0, y.data, 1, z.data)
        else:
            shape = broadcast_shape(self.name, x.shape, y.shape)
            z = empty(shape, x.dtype, prod(shape))
            walk = walk_broadcast(shape, x, y)
            lib.tga_binary_forward_strided(self.row, code, walk, x.data, y.data, z.data)
        return z

    def _meet(self, x, y):
        """The operands in the dtype in which they meet."""
        if self.compares and x.dtype is y.dtype:
            return x, y
        dtype = promote(x.dtype, y.dtype)
        if not dtype.is_float and not self.compares:
            if self.on_integers == "no":
                raise TypeError(
                    f"{self.name}: needs float32 or float64, but x is {x.dtype} and y is "
                    f"{y.dtype}; write x.astype('float32')"
                )
            if self.on_integers == "float":
                dtype = float32
        x = x if x.dtype is dtype else convert(x, dtype)
        y = y if y.dtype is dtype else convert(y, dtype)
        return x, y

    def _compare(self, x, y):
        shape = broadcast_shape(self.name, x.shape, y.shape)
        z = empty(shape, bool_, prod(shape))
        walk = walk_broadcast(shape, x, y)
        lib.tga_compare_strided(
            self.row, x.dtype.code, walk, x.data, y.data, kernels.as_bytes(z.data)
        )
        return z

    def backward(self, parents, gz, saved, attrs):
        z, x, y = saved
        rule_x, rule_y = self.vjp
        gx = gy = None
        if parents[0] is not None:
            gx = rule_x(gz, z, x, y)
            shape = x if type(x) is tuple else x.shape  # shape_of, written out
            if gx.shape != shape:
                gx = unbroadcast(gx, shape)
        if parents[1] is not None:
            gy = rule_y(gz, z, x, y)
            shape = y if type(y) is tuple else y.shape
            if gy.shape != shape:
                gy = unbroadcast(gy, shape)
        return gx, gy

    def on_numbers(self, x, y):
        if self.compares:
            return bool(self.f(x, y))
        return lib.tga_binary_scalar(self.row, float(x), float(y))


def walk_broadcast(shape, *inputs):
    """The layout for a new contiguous result of `shape` from inputs that broadcast to it."""
    return kernels.layout(
        shape,
        contiguous_strides(shape),
        *[broadcast_strides(x.shape, strides_of(x), shape) for x in inputs],
    )


def shape_of(saved):
    """The shape of what was saved, which may be the shape alone."""
    return saved if type(saved) is tuple else saved.shape


def unbroadcast(g, shape):
    """Undo broadcasting: sum a gradient over the axes along which its input was repeated."""
    lead = len(g.shape) - len(shape)
    axes = (*range(lead), *[lead + i for i, n in enumerate(shape) if n != g.shape[lead + i]])
    return REGISTRY["reshape"](REGISTRY["sum"](g, axis=axes), shape=shape)


def binary(name, f, vjp, **fields):
    """Declare an op of two operands; the parameters are those of `Binary`."""
    return register(Binary(name, f, vjp, **fields))


def comparison(name, f):
    """Declare a comparison, whose result is bool and carries no gradient."""
    return register(Binary(name, f, None, on_integers="same"))


# ---- all others -----------------------------------------------------------------------------


class General(Op):
    """An op that mixes elements: a matrix product, a reduction, a change of shape.

    Parameters
    ----------
    inputs : str
        Names of the inputs; ``*xs`` for any number of them.
    forward : function (*arrays, **attrs) -> Array
        Checks its input, and calls the kernel.
    vjp : tuple of functions, or function
        Per input the gradient: ``(gy, y, *inputs, **attrs)``, written in ops; for
        ``*xs`` one function that returns the gradients of all.  None for an input
        that has no gradient.
    fused : function (parents, gy, y, *inputs, **attrs) -> tuple of Arrays, optional
        The same by kernels, for first derivatives; None in `parents` marks an input
        whose gradient nobody wants.
    shortcut : tuple, optional
        Where forward and backward have shortcuts: what csrc/eager.c calls them, which of that
        kind it is, and the name of what backward reads.
    promotes : int
        From which input on (1 is the first) they meet in one dtype; 0 for none.
    indices : str
        Names of the inputs that are integers and name places of another.
    by_element : function (*inputs, **attrs), optional
        Of an op that works element by element: its formula, which serves for Scalars.
    sample : function (random) -> (inputs, attrs)
        Valid inputs as nested lists, drawn with a ``random.Random``, for the tests.
    reference : function (*inputs, **attrs)
        The textbook loop on nested lists of any kind of number, for the tests.
    """

    def __init__(
        self,
        name,
        inputs,
        forward,
        vjp,
        *,
        saves="",
        output="y",
        attrs=None,
        fused=None,
        shortcut=None,
        promotes=0,
        indices="",
        by_element=None,
        sample=None,
        reference=None,
        max_ulp=None,
        kinks=None,
        conventions="",
    ):
        self.variadic = inputs.startswith("*")
        super().__init__(
            name, inputs.lstrip("*"), output, saves, attrs, max_ulp, kinks or {}, conventions
        )
        if shortcut:
            self.shortcut = self._shortcut_of(*shortcut)
        self.forward = forward
        self.vjp = vjp
        self.fused = fused
        self.promotes = promotes
        self.indices = tuple(self.inputs.index(one) for one in indices.split())
        self.by_element = by_element
        self.sample = sample
        self.reference = reference

    def on_numbers(self, *inputs, **attrs):
        if self.by_element is None:
            return super().on_numbers(*inputs, **attrs)
        return self.by_element(*inputs, **attrs)

    def backward(self, parents, gy, saved, attrs):
        if self.fused is not None and type(gy) is Array:
            if not attrs:
                return self.fused(parents, gy, *saved)
            return self.fused(parents, gy, *saved, **attrs)
        if self.variadic:
            gradients = list(self.vjp(gy, *saved, **attrs))
        else:
            gradients = [
                None if parent is None else (rule or self._refuse)(gy, *saved, **attrs)
                for rule, parent in zip(self.vjp, parents, strict=True)
            ]
        for g, x, parent in zip(gradients, saved[1:], parents, strict=True):
            if parent is None:
                continue
            shape = getattr(g, "shape", None)  # None as well of what is no array at all
            if shape != shape_of(x):  # kernels rely on it
                raise ValueError(
                    f"{self.name}: the gradient of an input of shape {shape_of(x)} is "
                    f"{g if shape is None else shape}: the rule is wrong"
                )
        return gradients

    def _refuse(self, *_, **attrs):
        names = [name for name, rule in zip(self.inputs, self.vjp) if rule is None]
        raise TypeError(
            f"{self.name}: no gradient flows to {' and '.join(names)}; write {names[0]}.detach()"
        )


def general(name, inputs, forward, vjp, **fields):
    """Declare an op that is not elementwise; the parameters are those of `General`."""
    return register(General(name, inputs, forward, vjp, **fields))


class Composed(General):
    """An op that is nothing but other ops one after the other: its derivative is theirs.

    `forward` is written in ops, so that on Tensors each of them is recorded, and on Arrays
    each runs its kernel.  The other parameters are those of `General`.
    """

    composed = True

    def __init__(self, name, inputs, forward, **fields):
        super().__init__(name, inputs, forward, None, **fields)


def composed(name, inputs, forward, **fields):
    """Declare an op made of others; the parameters are those of `Composed`."""
    return register(Composed(name, inputs, forward, **fields))
