"""passes.py: shorter ways to the same bits, for the plan of a captured step.

Each pass takes a list of `Instruction` and returns another that computes the same, bit for bit:
``capture(fn, passes=())`` does without them, and the tests compare.  A buffer that the step makes
may be written by several instructions, and is never read before it is written.
"""

from . import kernels
from .formula import REGISTRY
from .plan import PARAMETERS, ROW, SIZES, UPDATES, Buffer, Instruction, Ref, Turned, is_ref

lib = kernels.lib


def _writers(instructions):
    """Of each buffer, the instructions that write it, and those that only read it."""
    writers, readers = {}, {}
    for instruction in instructions:
        written = instruction.writes()
        for buffer in written:
            writers.setdefault(buffer, []).append(instruction)
        for buffer in instruction.reads() - written:
            readers.setdefault(buffer, []).append(instruction)
    return writers, readers


def drop_dead(instructions):
    """Without calls whose results nobody reads: the gradients of inputs, unused outputs."""
    wanted, kept = set(), []
    for instruction in reversed(instructions):
        written = instruction.writes()
        if any(b in wanted or b.kept or b.role != "scratch" for b in written):
            wanted |= instruction.reads()
            kept.append(instruction)
    return kept[::-1]


def fuse_linear(instructions):
    """A linear layer and the activation after it as one call."""
    writers, readers = _writers(instructions)
    activations = lib.tga_activation_rows()
    after = {}  # linear layer -> the activation that follows it
    for instruction in instructions:
        if instruction.name != "tga_unary_forward" or instruction["op"] >= activations:
            continue
        x, y = instruction["x"].buffer, instruction["y"].buffer
        made_by = writers.get(x, [])
        if len(made_by) == 1 and len(writers[y]) == 1 and made_by[0].name == "tga_linear_forward":
            linear = made_by[0]
            whole = linear["m"] * linear["n"] == instruction["n"]
            if whole and linear not in after and not (x.kept or y is x):
                after[linear] = instruction
    gone = set(after.values())
    fused = []
    for instruction in instructions:
        if instruction in gone:
            continue
        if instruction in after:
            act = after[instruction]
            z = instruction["y"]
            read = [one for one in readers.get(z.buffer, []) if one is not act]
            given = dict(zip(PARAMETERS[instruction.name], instruction.args, strict=True))
            given |= {"op": act["op"], "z": z if read else None, "y": act["y"]}
            given |= {"attr_a": act["a"], "attr_b": act["b"]}
            name = "tga_linear_activation_forward"
            args = [given[parameter] for parameter in PARAMETERS[name]]
            op = f"{instruction.op} + {act.op}"
            instruction = Instruction(name, args, op, instruction.layer or act.layer)
        fused.append(instruction)
    return fused


def in_rows(instructions):
    """Small linear layers on matrices in rows of eight elements: see csrc/small.tmpl.h.

    A weight is kept twice, as it is and turned; where another kind of call needs a small
    matrix, it is copied to or from its usual form.
    """
    forms, item = _forms_of_linear_layers(instructions)
    if not forms:
        return instructions
    _spread_forms(instructions, forms, item)
    instructions = _losses_in_rows(instructions, forms, item)
    for buffer, form in forms.items():
        buffer.form, buffer.item = form, item
    changed, plain = [], {}  # plain: buffer in rows -> its copy in the usual form
    for instruction in instructions:
        if instruction.name in ("tga_linear_forward", "tga_linear_backward"):
            if instruction["w"].buffer in forms:
                instruction = _linear_in_rows(instruction)
                changed.append(instruction)
                for buffer in instruction.writes():
                    plain.pop(buffer, None)
                continue
        elif instruction.name == "tga_rows_loss":
            changed.append(instruction)
            continue
        elif instruction.name in UPDATES:
            changed.append(_update_in_rows(instruction, item))
            for buffer in instruction.writes():
                plain.pop(buffer, None)
            continue
        touched = [b for b in instruction.reads() if b in forms]
        if touched and _is_elementwise(instruction):
            _, rows, columns = forms[touched[0]]
            changed.append(instruction.with_args(n=rows * ROW))
            for buffer in instruction.writes():
                plain.pop(buffer, None)
            continue
        if instruction.name == "tga_batch" and forms.get(instruction["y"].buffer) == (
            "rows",
            instruction["count"],
            instruction["width"],
        ):
            changed.append(instruction.with_args(step=ROW))
            continue
        written = instruction.writes()
        stand_ins = {}
        for buffer in touched:
            _, rows, columns = forms[buffer]
            if buffer not in plain:
                copy = plain[buffer] = Buffer(buffer.nbytes, "scratch")
                if buffer not in written or _written_before(buffer, changed):
                    args = [_DTYPE_OF_ITEM[item], rows, columns, Ref(buffer), Ref(copy)]
                    changed.append(Instruction("tga_rows_unpack", args, "from rows"))
            stand_ins[buffer] = plain[buffer]
        changed.append(_with_buffers(instruction, stand_ins))
        for buffer in touched:
            if buffer in written:
                _, rows, columns = forms[buffer]
                args = [_DTYPE_OF_ITEM[item], rows, columns, Ref(plain[buffer]), Ref(buffer)]
                changed.append(Instruction("tga_rows_pack", args, "to rows"))
    return _fuse_in_rows(changed)


_DTYPE_OF_ITEM = {4: 0, 8: 1}


def _losses_in_rows(instructions, forms, item):
    """A loss of rows and its gradient, which comes right after it, as one call.

    The targets get the form of the predictions.
    """
    changed = []
    for instruction in instructions:
        before = changed[-1] if changed else None
        if (
            instruction.name == "tga_loss_backward"
            and before is not None
            and before.name == "tga_loss_forward"
            and _same_loss(before, instruction)
            and _is_rows(instruction["x"], forms)
            and _is_rows(instruction["gx"], forms)
            and _may_be_rows(instruction["t"], forms[instruction["x"].buffer], forms, item)
            and instruction["gy"].buffer.role == "constant"
        ):
            form = forms[instruction["t"].buffer] = forms[instruction["x"].buffer]
            _, rows, columns = form
            given = dict(zip(PARAMETERS[instruction.name], instruction.args, strict=True))
            given |= {"rows": rows, "columns": columns, "total": before["total"]}
            args = [given[parameter] for parameter in PARAMETERS["tga_rows_loss"]]
            op = f"{before.op} + backward"
            changed[-1] = Instruction("tga_rows_loss", args, op, before.layer)
        else:
            changed.append(instruction)
    return changed


def _same_loss(forward, backward):
    """Whether one call is the gradient of what the other computes."""
    same = all(forward[name] == backward[name] for name in ("op", "dtype", "n", "a", "scale"))
    return same and all(
        forward[name].buffer is backward[name].buffer
        and forward[name].offset == backward[name].offset
        for name in ("x", "t")
    )


def _is_rows(ref, forms):
    return ref.offset == 0 and forms.get(ref.buffer, ("",))[0] == "rows"


def _may_be_rows(ref, form, forms, item):
    """Whether a buffer has a form already, or can get it."""
    buffer, (_, rows, columns) = ref.buffer, form
    whole = ref.offset == 0 and buffer.nbytes == item * rows * columns
    free = buffer.role != "constant" and not buffer.plain
    return whole and free and forms.get(buffer, form) == form


def _forms_of_linear_layers(instructions):
    """The buffers that small linear layers touch, with their forms; and the size of an element.

    A weight must be touched by linear layers and by optimizers alone.
    """
    layers = [
        one
        for one in instructions
        if one.name in ("tga_linear_forward", "tga_linear_backward")
        and 0 < one["n"] <= ROW
        and 0 < one["k"] <= ROW
        and 0 < one["m"] <= lib.TGA_ROWS_MOST
    ]
    items = {SIZES[one["dtype"]] for one in layers}
    if len(items) != 1:
        return {}, 0
    item = items.pop()
    while True:
        forms, wrong = {}, set()
        for layer in layers:
            for ref, form in _forms_of_layer(layer):
                whole = ref.offset == 0 and ref.buffer.nbytes == item * form[1] * form[2]
                right = whole and not ref.buffer.plain
                if not right or forms.setdefault(ref.buffer, form) != form:
                    wrong.add(ref.buffer)
        for update in (one for one in instructions if one.name in UPDATES):
            for refs in zip(*[arg for arg in update.args if type(arg) is list]):
                for form in {forms.get(ref.buffer) for ref in refs} - {None}:
                    for ref in refs:
                        if (
                            ref.offset
                            or ref.buffer.plain
                            or forms.setdefault(ref.buffer, form) != form
                        ):
                            wrong |= {one.buffer for one in refs}
        weights = {buffer for buffer, form in forms.items() if form[0] == "weight"}
        for one in instructions:
            if one not in layers and one.name not in UPDATES:
                wrong |= weights & one.reads()
        if not wrong:
            return forms, item
        right = [
            one for one in layers if not any(ref.buffer in wrong for ref, _ in _forms_of_layer(one))
        ]
        # where what an optimizer remembers is in the way, all layers stay as they are
        layers = right if len(right) < len(layers) else []


def _forms_of_layer(layer):
    """The operands of a linear layer, forward or backward, each with the form it needs."""
    m, n, k = layer["m"], layer["n"], layer["k"]
    forms = {"x": ("rows", m, k), "w": ("weight", n, k), "b": ("bias", 1, n), "y": ("rows", m, n)}
    if layer.name == "tga_linear_backward":
        forms = {"x": forms["x"], "w": forms["w"], "gy": forms["y"], "gx": forms["x"]}
        forms |= {"gw": ("weight", n, k), "gb": ("bias", 1, n)}
    return [(layer[name], form) for name, form in forms.items() if layer[name] is not None]


_OPERANDS = {
    "tga_unary_forward": ("x", "y"),
    "tga_unary_backward": ("gy", "saved", "gx"),
}


def _is_elementwise(instruction):
    """Whether it treats each element by itself, so that it may take rows for what they are."""
    operands = _OPERANDS.get(instruction.name)
    return operands is not None and len({instruction[one].buffer.form for one in operands}) == 1


def _spread_forms(instructions, forms, item):
    """Give what elementwise calls touch the form of the rows that they meet, in place."""
    changed = True
    while changed:
        changed = False
        for one in instructions:
            if one.name not in _OPERANDS:
                continue
            refs = [one[parameter] for parameter in _OPERANDS[one.name]]
            met = {forms[ref.buffer] for ref in refs if ref.buffer in forms}
            if len(met) != 1:
                continue
            form = met.pop()
            whole = form[0] == "rows" and form[1] * form[2] == one["n"]
            if whole and all(
                r.offset == 0 and not r.buffer.plain and r.buffer.nbytes == item * one["n"]
                for r in refs
            ):
                for ref in refs:
                    if ref.buffer not in forms:
                        forms[ref.buffer] = form
                        changed = True


def _written_before(buffer, instructions):
    return buffer.role != "scratch" or any(buffer in one.writes() for one in instructions)


def _with_buffers(instruction, other):
    """The same call on other buffers."""

    def changed(arg):
        if type(arg) is list:
            return [changed(one) for one in arg]
        if is_ref(arg) and arg.buffer in other:
            return Ref(other[arg.buffer], arg.offset)
        return arg

    args = [changed(arg) for arg in instruction.args]
    return Instruction(instruction.name, args, instruction.op, instruction.layer)


_IDENTITY = REGISTRY["identity"].row


def _linear_in_rows(layer):
    dtype, m, n, k = layer["dtype"], layer["m"], layer["n"], layer["k"]
    x, w = layer["x"], layer["w"]
    if layer.name == "tga_linear_forward":
        turned = Turned(w.buffer)
        args = [_IDENTITY, dtype, m, k, x, turned, layer["b"], None, layer["y"], 0.0, 0.0]
        return Instruction("tga_rows_forward", args, layer.op, layer.layer)
    gy, gx, gw, gb = layer["gy"], layer["gx"], layer["gw"], layer["gb"]
    turned = gw and Turned(gw.buffer)
    args = [_IDENTITY, dtype, m, n, k, gy, gy, x, w, gx, gw, turned, gb, 0.0, 0.0]
    return Instruction("tga_rows_backward", args, layer.op, layer.layer)


def _update_in_rows(update, item):
    """The same update of buffers that are larger in rows: it is elementwise."""
    refs = next(arg for arg in update.args if type(arg) is list)
    sizes = [
        ref.buffer.size_in_plan() // item if ref.buffer.form else size
        for ref, size in zip(refs, kernels.list_of(update["size"]), strict=True)
    ]
    return update.with_args(size=kernels.integers(sizes))


def _fuse_in_rows(instructions):
    """The activation after a layer in rows, and before one on the way back, as part of it."""
    writers, readers = _writers(instructions)
    activations = lib.tga_activation_rows()

    def once(buffer):
        """Whether one call writes it and one reads it, and nobody else wants it."""
        return (
            buffer.role == "scratch"
            and not buffer.kept
            and len(writers.get(buffer, [])) == 1
            and len(readers.get(buffer, [])) == 1
        )

    gone, replaced = set(), {}
    for act in instructions:
        if not _is_elementwise(act) or act["op"] >= activations:
            continue
        if act.name == "tga_unary_forward":
            layer = next(iter(writers.get(act["x"].buffer, [])), None)
            if not (layer and layer.name == "tga_rows_forward" and layer not in replaced):
                continue
            z = layer["y"]
            if len(writers[z.buffer]) != 1 or z.buffer.kept or len(writers[act["y"].buffer]) != 1:
                continue
            z = None if once(z.buffer) else z
            changed = layer.with_args(op=act["op"], z=z, y=act["y"], a1=act["a"], a2=act["b"])
            changed.op = f"{layer.op} + {act.op}"
        else:
            gx = act["gx"].buffer
            layer = next(iter(readers.get(gx, [])), None)
            if not (layer and layer.name == "tga_rows_backward" and once(gx)):
                continue
            if layer["gy"].buffer is not gx:
                continue
            saved = act["saved"]
            changed = layer.with_args(
                op=act["op"], gy=act["gy"], saved=saved, a1=act["a"], a2=act["b"]
            )
            changed.op = f"{act.op} + {layer.op}"
        gone.add(act)
        replaced[layer] = changed
    return [replaced.get(one, one) for one in instructions if one not in gone]


PASSES = {
    "drop_dead": drop_dead,
    "in_rows": in_rows,
    "fuse_linear": fuse_linear,
}
