"""plan.py: the kernel calls of one training step as data, with a place in memory for each buffer.

`recorder.py` writes down which entry points of C a step called, and on which buffers; `passes.py`
makes the list shorter.  A `Plan` gives each buffer a place in memory of its own, hands the list
to csrc/plan.c, which runs it, and can be printed.
"""

import struct
from itertools import pairwise

from . import kernels
from .dtype import DTYPES

lib = kernels.lib

ALIGNMENT = 64  # bytes: a cache line
ROW = lib.TGA_ROW
SIZES = (4, 8, 8, 1, 1)  # bytes of an element, by the dtype's number

# Optimizers that treat each element by itself, so that many parameters can be one.
UPDATES = {"tga_sgd", "tga_momentum", "tga_adam", "tga_rmsprop", "tga_adagrad"}

# Calls that make each element from those at the same place alone: the operands that the result
# may take the place of, and the result.
ELEMENTWISE = {
    "tga_unary_forward": (("x",), "y"),
    "tga_unary_backward": (("gy", "saved"), "gx"),
    "tga_dropout_apply": (("x",), "y"),
}

# How buffers are placed, besides the passes in passes.py: see `Plan`.
PLACEMENTS = ("merge_updates", "in_place")


class Buffer:
    """Memory that a step reads or writes.

    Attributes
    ----------
    nbytes : int
    role : {"input", "state", "constant", "scratch"}
        Given at each call; living outside and perhaps written; a number that never
        changes; made by the step itself.
    address : int or None
        Where it lives outside the plan, if it does.
    content : bytes or None
        Of a constant.
    kept : bool
        Whether it is handed out after a step: an output or a gradient.
    plain : bool
        Whether a part of it is handed out, so that it must lie as outside.
    form : tuple or None
        How its elements lie in the plan: None as outside, ("rows", m, n) in rows of
        eight, with room for whole blocks of rows, ("bias", 1, n) in one such row,
        ("weight", n, k) in rows and again turned.
    item : int
        Bytes of an element, if it has a form.
    place : int
        Where it begins in the plan's memory.
    """

    def __init__(self, nbytes, role, address=None, content=None):
        self.nbytes = nbytes
        self.role = role
        self.address = address
        self.content = content
        self.kept = False
        self.plain = False
        self.form = None
        self.item = 1
        self.place = -1

    def size_in_plan(self):
        """Bytes in the plan's memory."""
        if self.form is None:
            return self.nbytes
        kind, rows, columns = self.form
        if kind == "weight":
            rows += columns
        elif kind == "rows":
            rows = -(-rows // lib.TGA_ROW_BLOCK) * lib.TGA_ROW_BLOCK
        return rows * ROW * self.item


class Ref:
    """A pointer into a buffer."""

    __slots__ = ("buffer", "offset")

    def __init__(self, buffer, offset=0):
        self.buffer = buffer
        self.offset = offset


class Instruction:
    """One call of an entry point of C.

    Attributes
    ----------
    name : str
        Of the entry point.
    args : list
        int, float, `Ref`, list of `Ref`, None for NULL, or a C list or layout.
    op, layer : str
        Where it comes from.
    """

    def __init__(self, name, args, op="", layer=""):
        self.name = name
        self.args = args
        self.op = op
        self.layer = layer

    def __getitem__(self, parameter):
        return self.args[PARAMETERS[self.name].index(parameter)]

    def with_args(self, **changed):
        """The same call with other values of some parameters."""
        args = [
            changed.get(parameter, arg)
            for parameter, arg in zip(PARAMETERS[self.name], self.args, strict=True)
        ]
        return Instruction(self.name, args, self.op, self.layer)

    def _of_kind(self, kinds):
        for (_, kind), arg in zip(CALLS[self.name][1], self.args, strict=True):
            if kind in kinds:
                yield from (one for one in (arg if type(arg) is list else [arg]) if is_ref(one))

    def reads(self):
        """The buffers whose content it needs, among them those that it may write in part."""
        return {ref.buffer for ref in self._of_kind("rwL")}

    def writes(self):
        """The buffers that it may change."""
        return {ref.buffer for ref in self._of_kind("wL")}


class Turned(Ref):
    """A pointer to the turned half of a weight in rows."""

    __slots__ = ()


def is_ref(arg):
    """Whether an argument points into a buffer."""
    return isinstance(arg, Ref)


CALLS = kernels.calls()
PARAMETERS = {name: [parameter for parameter, _ in call[1]] for name, call in CALLS.items()}


# ---- the plan -----------------------------------------------------------------------------------


class Plan:
    """The instructions of one step, and their memory.

    Parameters
    ----------
    instructions : list of Instruction
    inputs : list of Buffer
        Given anew at each run, from addresses that the caller passes.
    results : list of (Ref, nbytes)
        Handed out after each recorded step, to addresses that the caller passes.
    writes_back : list of (Ref, nbytes, address)
        Written outside when a run ends: what has changed, and gradients.
    noted : collection of Buffer
        Those living outside of which every write leaves a number: they need no copy where
        `quick_step` of csrc/step.c sees that nobody has written to them.
    placements : collection of str
        "merge_updates": updates of many parameters become one, since all of them lie in one
        piece.  "in_place": the result of an elementwise call takes the place of an operand that
        nobody needs any more.

    Attributes
    ----------
    nbytes : int
        The memory of the plan.
    """

    def __init__(
        self, instructions, inputs, results, writes_back, noted=(), placements=PLACEMENTS
    ):
        self.instructions = instructions
        self.inputs = inputs
        self.results = results
        self.writes_back = writes_back
        self._alive = []  # C lists that the plan of C points to
        groups = self._groups() if "merge_updates" in placements else []
        self.nbytes = self._place(groups, "in_place" in placements)
        self._plan = kernels.new_plan(self.nbytes)
        start = kernels.number_of(lib.tga_plan_memory(self._plan))
        self._base = _rounded(start)
        for instruction in instructions:
            self._emit(instruction)
        self._add_copies(noted)

    # ---- memory -----------------------------------------------------------------------------

    def _groups(self):
        """Lists of buffers that shall lie one after the other: those of an update of many."""
        groups, taken = [], set()
        for one in self.instructions:
            lists = [[r.buffer for r in arg] for arg in one.args if type(arg) is list]
            buffers = [b for group in lists for b in group]
            if one.name in UPDATES and len(set(buffers)) == len(buffers):
                if not taken.intersection(buffers):
                    groups += lists
                    taken.update(buffers)
        return groups

    def _place(self, groups, in_place):
        """Give each buffer its place; returns the bytes in all.

        What lives on from step to step gets a place of its own.  Of the rest, a buffer gets
        the first gap that is free from the instruction that writes it first to the last that
        needs it; or, `in_place`, where possible the place of what it is made of.
        """
        first, last = {}, {}
        for number, one in enumerate(self.instructions):
            for buffer in one.reads() | one.writes():
                first.setdefault(buffer, number)
                last[buffer] = number
        alone = {b for group in groups for b in group}
        handed = [ref.buffer for ref, *_ in (*self.results, *self.writes_back)]
        for buffer in (*self.inputs, *handed):
            first.setdefault(buffer, 0)
            alone.add(buffer)
        alone |= {b for b in first if b.role != "scratch" or b.kept}
        at = 0
        ordered = [b for group in groups for b in group]
        for buffer in dict.fromkeys([*ordered, *[b for b in first if b in alone]]):
            buffer.place = at
            at += _rounded(buffer.size_in_plan())
        self.fixed = at
        given_up = self._given_up(first, last, alone) if in_place else {}
        end, living = at, []  # living: (place, end of place, last instruction), by place
        for buffer in sorted(set(first) - alone, key=lambda b: first[b]):
            living = [one for one in living if one[2] >= first[buffer]]
            need = _rounded(buffer.size_in_plan())
            place = self.fixed
            if buffer in given_up:
                place = given_up[buffer].place
                living = [one for one in living if one[0] != place]
            else:
                for begin, stop, _ in living:
                    if begin - place >= need:
                        break
                    place = max(place, stop)
            buffer.place = place
            living.append((place, place + need, last[buffer]))
            living.sort()
            end = max(end, place + need)
        return end

    def _given_up(self, first, last, alone):
        """{the result of an elementwise call: the operand whose place it may take}."""
        found = {}
        for number, one in enumerate(self.instructions):
            operands, result = ELEMENTWISE.get(one.name, ((), None))
            for name in operands:
                operand, y = one[name], one[result]
                if (
                    not {operand.buffer, y.buffer} & alone
                    and first[y.buffer] == number == last[operand.buffer]
                    and operand.offset == y.offset == 0
                    and operand.buffer.size_in_plan() == y.buffer.size_in_plan()
                ):
                    found[y.buffer] = operand.buffer
                    break
        return found

    @property
    def address_in_c(self):
        """Where the plan of C lies."""
        return kernels.number_of(self._plan)

    def address(self, ref):
        """Where a `Ref` points in the plan's memory."""
        address = self._base + ref.buffer.place + ref.offset
        if type(ref) is Turned:
            address += ref.buffer.form[1] * ROW * ref.buffer.item
        return address

    # ---- handing it to C --------------------------------------------------------------------

    def _emit(self, instruction):
        args = instruction.args
        if instruction.name in UPDATES:
            args = self._as_one(instruction)
        words = []
        for arg in args:
            if type(arg) is float:
                words.append(struct.unpack("q", struct.pack("d", arg))[0])
            elif type(arg) is int:
                words.append(arg if arg < 1 << 63 else arg - (1 << 64))
            elif arg is None:
                words.append(0)
            elif is_ref(arg):
                words.append(self.address(arg))
            else:
                if type(arg) is list:
                    arg = kernels.as_pointers([self.address(ref) for ref in arg])
                self._alive.append(arg)
                words.append(kernels.number_of(arg))
        number = CALLS[instruction.name][0]
        listed = kernels.integers(words)
        kernels.check(lib.tga_plan_add(self._plan, number, len(words), listed), "capture")

    def _as_one(self, update):
        """The arguments of an update, as of one parameter where all lie in one piece.

        What lies between two parameters is 0, as are its gradient and what the optimizer
        remembers of it; so it stays 0.
        """
        item = SIZES[update["dtype"]]
        lists = [arg for arg in update.args if type(arg) is list]
        sizes = kernels.list_of(update["size"])
        for refs in lists:
            for ref, size in zip(refs, sizes, strict=True):
                if ref.offset or ref.buffer.size_in_plan() != size * item:
                    return update.args
            for ref, after in pairwise(refs):
                size = _rounded(ref.buffer.size_in_plan())
                if ref.offset or self.address(after) != self.address(ref) + size:
                    return update.args
        total = sum(_rounded(ref.buffer.size_in_plan()) for ref in lists[0])
        one = update.with_args(count=1, size=kernels.integers([total // item]))
        return [arg[:1] if type(arg) is list else arg for arg in one.args]

    def _add_copies(self, noted):
        """Copies into the plan when a run begins, and out of it after steps and when it ends."""
        used = {b for one in self.instructions for b in one.reads() | one.writes()}
        used |= {ref.buffer for ref, *_ in (*self.results, *self.writes_back)}
        for slot, buffer in enumerate(self.inputs):
            self._copy_in(buffer, slot, 0, lib.TGA_BEGIN)
        for buffer in sorted(used, key=lambda b: b.place):
            if buffer.role == "constant":
                kernels.write_memory(self._base + buffer.place, buffer.content)
            elif buffer.role == "state":
                when = lib.TGA_BEGIN_CHANGED if buffer in noted else lib.TGA_BEGIN
                self._copy_in(buffer, -1, buffer.address, when)
        slot = len(self.inputs)
        for ref, nbytes in self.results:
            self._copy_out(ref, lib.TGA_AFTER, slot, 0, nbytes)
            slot += 1
        for ref, nbytes, address in self.writes_back:
            self._copy_out(ref, lib.TGA_END, -1, address, nbytes)
        self.slots = slot

    def _copy_in(self, buffer, slot, address, when):
        for place, rows, columns, row, column, from_row, from_column in self._pieces(buffer):
            kernels.add_copy(
                self._plan, when=when, base=slot, advance=0, size=buffer.item,
                rows=rows, columns=columns, to=place, to_row=row, to_column=column,
                **{"from": address, "from_row": from_row, "from_column": from_column},
            )  # fmt: skip

    def _copy_out(self, ref, when, slot, address, nbytes):
        buffer = ref.buffer
        assert buffer.form is None or (ref.offset == 0 and nbytes == buffer.nbytes)
        place, rows, columns, row, column, to_row, to_column = self._pieces(buffer)[0]
        if buffer.form is None:
            columns = nbytes
        kernels.add_copy(
            self._plan, when=when, base=slot, advance=nbytes, size=buffer.item,
            rows=rows, columns=columns, to=address, to_row=to_row, to_column=to_column,
            **{"from": place + ref.offset, "from_row": row, "from_column": column},
        )  # fmt: skip

    def _pieces(self, buffer):
        """What a buffer consists of in the plan: address, rows, columns, and the steps in bytes
        from row to row and column to column, inside and outside.
        """
        size = buffer.item
        address = self._base + buffer.place
        if buffer.form is None:
            return [(address, 1, buffer.nbytes, 0, 1, 0, 1)]
        kind, rows, columns = buffer.form
        pieces = [(address, rows, columns, ROW * size, size, columns * size, size)]
        if kind == "weight":
            address += rows * ROW * size
            pieces.append((address, columns, rows, ROW * size, size, size, columns * size))
        return pieces

    def feed(self, buffer, nbytes):
        """Let a buffer be filled before each step, from a table outside; returns the table's slot.

        The table has `nbytes` for each step.
        """
        kernels.add_copy(
            self._plan, when=lib.TGA_BEFORE, base=self.slots, advance=nbytes, size=1, rows=1,
            columns=nbytes, to=self._base + buffer.place, to_row=0, to_column=1,
            **{"from": 0, "from_row": 0, "from_column": 1},
        )  # fmt: skip
        self.slots += 1
        return self.slots - 1

    # ---- running ----------------------------------------------------------------------------

    def begin(self, bases, done=0):
        """Copy in what the step reads; `bases` are the addresses of all slots, 0 for none."""
        lib.tga_plan_begin(self._plan, done, bases)

    def run(self, n, record_every, seconds, bases):
        """Run until `n` steps are done since `begin`, or the time is over; returns how many are.

        Raises
        ------
        ValueError, MemoryError, TypeError
            As the op would in eager mode, such as for a label out of range.
        """
        status = lib.tga_plan_run(self._plan, n, record_every, seconds, bases)
        if status:
            self.raise_for(status)
        return lib.tga_plan_done(self._plan)

    def done(self):
        """How many steps are done since `begin`."""
        return lib.tga_plan_done(self._plan)

    def raise_for(self, status):
        """Raise what the op that has failed would raise in eager mode."""
        failed = self.instructions[lib.tga_plan_failed(self._plan)]
        kernels.check(status, failed.op or failed.name)

    def end(self, bases):
        """Write back what has changed."""
        lib.tga_plan_end(self._plan, bases)

    # ---- for people -------------------------------------------------------------------------

    def cost(self):
        """What one step costs: {"flops": ..., "bytes": ...}, counted, not measured.

        A product and a sum are two operations; of elementwise functions and reductions each
        element counts one.  Bytes are those that the instructions read and write.
        """
        flops = sum(_flops(one) for one in self.instructions)
        moved = sum(_bytes(one) for one in self.instructions)
        return {"flops": flops, "bytes": moved}

    def __repr__(self):
        head = ("", "op", "layer", "kernel", "sizes", "bytes", "memory")
        rows = [
            (
                str(number), one.op, one.layer, one.name.removeprefix("tga_"), _sizes(one),
                f"{_bytes(one):,}", _places(one),
            )
            for number, one in enumerate(self.instructions)
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        ]
        cost = self.cost()
        lines.append(
            f"{len(rows)} instructions, {cost['flops']:,} FLOPs and {cost['bytes']:,} bytes moved "
            f"a step; memory {self.nbytes:,} bytes, of which {self.fixed:,} live from step to step"
        )
        return "\n".join(lines)


def _rounded(nbytes):
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _bytes(instruction):
    read, written = instruction.reads(), instruction.writes()
    return sum(b.nbytes for b in read | written)


def _sizes(instruction):
    """The sizes among the arguments, in words: m=4 n=5 k=5."""
    names = ("m", "n", "k", "rows", "columns", "classes", "count")
    parameters = PARAMETERS[instruction.name]
    sizes = [(name, instruction[name]) for name in names if name in parameters]
    return " ".join(f"{name}={size}" for name, size in sizes if type(size) is int)


def _places(instruction):
    """What it reads and writes, by the places in the plan's memory."""
    written = instruction.writes()
    read = instruction.reads() - written

    def listed(buffers):
        places = sorted(b.place for b in buffers)
        more = "" if len(places) <= 4 else f" and {len(places) - 4} more"
        return " ".join(f"{place:#x}" for place in places[:4]) + more

    return f"{listed(read)} -> {listed(written)}".strip()


def _flops(instruction):
    parameters = PARAMETERS[instruction.name]
    if {"m", "n", "k"} <= set(parameters) or instruction.name == "tga_rows_forward":
        m, k = instruction["m"], instruction["k"]
        form = instruction["y"].buffer.form if instruction.name == "tga_rows_forward" else None
        n = form[2] if form else instruction["n"]
        products = sum(p in parameters and instruction[p] is not None for p in ("gx", "gw"))
        return 2 * m * n * k * (products if "gx" in parameters else 1)
    if instruction.name.startswith("tga_conv_"):
        window = instruction["window"]
        taps = window.size[0] * window.size[1] * instruction["ci"] // instruction["groups"]
        pixels = instruction["n"] * window.out[0] * window.out[1]
        return 2 * pixels * instruction["co"] * taps
    if "n" in parameters:
        return instruction["n"]
    read, written = instruction.reads(), instruction.writes()
    seen = read - written if instruction.name == "tga_reduce" else written
    itemsize = DTYPES[instruction["dtype"]].itemsize if "dtype" in parameters else 4
    return sum(b.nbytes for b in seen) // itemsize
