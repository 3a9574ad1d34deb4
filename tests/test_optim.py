"""Optimizers: the kernels against the published updates, and what surrounds them."""

import copy
import math
import pickle
import random

import numpy as np
import pytest
from mpmath import mpf
from oracle import _number  # noqa: F401  (registers the reading of formulas with mpf)

import tinygrad_act as tga
from tinygrad_act import Tensor, optim
from tinygrad_act.nn import Parameter
from tinygrad_act.ops.update import UPDATES

MAKE = {
    "sgd": lambda p, lr, **s: optim.SGD(p, lr, **s),
    "momentum": lambda p, lr, **s: optim.SGD(p, lr, **s),
    "adam": lambda p, lr, beta1, beta2, **s: optim.Adam(p, lr, (beta1, beta2), **s),
    "adamw": lambda p, lr, beta1, beta2, **s: optim.AdamW(p, lr, (beta1, beta2), **s),
    "rmsprop": lambda p, lr, **s: optim.RMSprop(p, lr, **s),
    "adagrad": lambda p, lr, **s: optim.Adagrad(p, lr, **s),
}
DEFAULTS = {
    name: {key: attr.default for key, attr in rule.settings.items()}
    for name, rule in UPDATES.items()
}


def drawn_settings(rule, seed):
    """Defaults for seed 0, else each setting from its range."""
    draw = random.Random(seed)
    return {
        name: attr.default
        if not seed
        else draw.choice(attr.drawn)
        if isinstance(attr.default, bool)
        else draw.uniform(*attr.drawn)
        for name, attr in rule.settings.items()
    }


# ---- one step is the published one ----------------------------------------------------------


def test_every_update_has_an_optimizer_and_a_source():
    assert set(MAKE) == set(UPDATES)
    for rule in UPDATES.values():
        assert any(
            part.isdigit() for part in rule.source.replace("(", " ").replace(")", " ").split()
        )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", UPDATES)
def test_steps_are_the_published_ones(name, seed, dtype, isa):
    """Each step from what is stored, in arbitrary precision: off by a few roundings of the terms.

    The sizes have full vectors and a tail.
    """
    rule, settings, lr = UPDATES[name], drawn_settings(UPDATES[name], seed), 0.05
    rng = np.random.default_rng(seed)
    p = Parameter(rng.normal(size=37).astype(dtype))
    optimizer = MAKE[name]([p], lr, **settings)
    eps = float(np.finfo(dtype).eps)
    for t in range(1, 4):
        g = rng.normal(size=37).astype(dtype)
        p.grad = Tensor(g)
        before = [p.tolist(), *[optimizer.state[0][s].tolist() for s in rule.state]]
        optimizer.step()
        after = [p.tolist(), *[optimizer.state[0][s].tolist() for s in rule.state]]
        for i in range(37):
            x, *state = [mpf(values[i]) for values in before]
            expected = rule.formula(x, mpf(float(g[i])), *state, lr=mpf(lr), t=t, **settings)
            # the largest term of each sum, whose rounding is that of the result
            terms = [
                abs(x) + abs(expected[0] - x),
                *[abs(s) + abs(g[i]) + abs(x) for s in state],
            ]
            for got, wanted, term in zip([v[i] for v in after], expected, terms, strict=True):
                assert abs(got - wanted) <= 8 * eps * term, (t, i)
    assert p.grad.numpy().tobytes() == g.tobytes(), "the gradient stays"


def torch_optimizer(torch, name, parameters, lr, settings):
    settings = dict(settings)
    if name.startswith("adam"):
        settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
    make = {
        "sgd": torch.optim.SGD,
        "momentum": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
    }[name]
    return make(parameters, lr=lr, **settings)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", UPDATES)
def test_twenty_steps_are_those_of_pytorch(name, seed):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    settings = drawn_settings(UPDATES[name], seed)
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=(5, 3)), rng.normal(size=4)]
    ours = [Parameter(a) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    optimizer = MAKE[name](ours, 0.05, **settings)
    reference = torch_optimizer(torch, name, theirs, 0.05, settings)
    for step in range(20):
        for p, q in zip(ours, theirs, strict=True):
            if step == 3 and p is ours[1]:  # one without gradient is left out, and not counted
                p.grad = q.grad = None
                continue
            g = rng.normal(size=p.shape)
            p.grad, q.grad = Tensor(g), torch.tensor(g)
        if step == 10:
            optimizer.lr = reference.param_groups[0]["lr"] = 0.01
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", UPDATES)
def test_results_do_not_depend_on_threads_or_place(name):
    """A tensor large enough for two threads; and the same elements one further on."""
    rng = np.random.default_rng(3)
    values, gradients = rng.normal(size=(2, 70_001)).astype("float32")
    results = []
    before = tga.get_num_threads()
    try:
        for threads, skip in ((1, 0), (2, 0), (1, 1)):
            tga.set_num_threads(threads)
            p = Parameter(values[skip:])
            optimizer = MAKE[name]([p], 0.05, **DEFAULTS[name])
            for _ in range(2):
                p.grad = Tensor(gradients[skip:])
                optimizer.step()
            results.append(p.numpy()[1 - skip :].tobytes())
    finally:
        tga.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_denormal_and_special_gradients(isa):
    p = Parameter([1.0, 1.0, 1.0, 1.0])
    p.grad = Tensor([math.nan, math.inf, 0.0, 1e-45])
    optim.Adam([p], lr=0.5).step()
    values = p.tolist()
    assert math.isnan(values[0]) and math.isnan(values[1]) and values[2:] == [1.0, 1.0]


# ---- the rate, and parameters that come and go ----------------------------------------------


@pytest.mark.parametrize("name", UPDATES)
def test_rate_lies_in_a_tensor(name):
    p = Parameter([1.0], dtype="float64")
    optimizer = MAKE[name]([p], 0.25, **DEFAULTS[name])
    assert optimizer.lr == 0.25
    assert optimizer.lr_tensor.shape == () and optimizer.lr_tensor.dtype == "float64"
    optimizer.lr_tensor.fill_(0.0)
    assert optimizer.lr == 0.0
    p.grad = Tensor([1.0], dtype="float64")
    optimizer.step()
    assert p.item() == 1.0
    optimizer.lr = 1
    assert optimizer.lr_tensor.item() == 1.0
    with pytest.raises(ValueError, match="lr is -1"):
        optimizer.lr = -1
    with pytest.raises(TypeError, match="lr must be a number, not 'fast'"):
        optimizer.lr = "fast"
    assert optimizer.lr == 1.0


@pytest.mark.parametrize("name", UPDATES)
def test_a_parameter_without_gradient_is_as_if_it_were_not_there(name):
    """Each parameter steps as by an optimizer of its own."""
    rng = np.random.default_rng(4)
    together = [Parameter(rng.normal(size=3)) for _ in range(3)]
    alone = [Parameter(p.numpy()) for p in together]
    joint = MAKE[name](together, 0.1, **DEFAULTS[name])
    single = [MAKE[name]([p], 0.1, **DEFAULTS[name]) for p in alone]
    for present in ((1,), (0, 1), (0, 1, 2), (), (2,), (0, 2)):
        for i in range(3):
            g = Tensor(rng.normal(size=3)) if i in present else None
            together[i].grad, alone[i].grad = g, g
        joint.step()
        for optimizer in single:
            optimizer.step()
        assert [p.tolist() for p in together] == [p.tolist() for p in alone]


def test_frozen_parameter_is_left_alone():
    p, q = Parameter([1.0]), Parameter([1.0])
    adam = optim.Adam([p, q], lr=0.1)
    q.requires_grad = False
    (p * q).sum().backward()
    adam.step()
    assert p.item() < 1.0 and q.item() == 1.0
    adam.zero_grad()
    assert p.grad is None and q.grad is None


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda p: optim.SGD([p, p], 0.1), ValueError, "given twice"),
        (lambda p: optim.SGD([p], 0.1, momentum=-1), ValueError, "SGD: momentum is -1"),
        (lambda p: optim.SGD([p], 0.1, nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda p: optim.SGD([p], 0.1, weight_decay=-1), ValueError, "weight_decay is -1"),
        (lambda p: optim.Adam([p], betas=0.9), TypeError, "betas must be two numbers"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, r"Adam: betas\[1\] is 1.0"),
        (lambda p: optim.AdamW([p], eps=-1e-8), ValueError, "AdamW: eps is -1e-08"),
        (lambda p: optim.RMSprop([p], alpha=2), ValueError, "RMSprop: alpha is 2"),
        (lambda p: optim.Adagrad([p], lr=math.nan), ValueError, "Adagrad: lr is nan"),
    ],
)
def test_misuse(make, kind, words):
    with pytest.raises(kind, match=words):
        make(Parameter([1.0]))


def test_optimizers_print_themselves():
    assert repr(optim.Adam([Parameter([1.0])])) == (
        "Adam(1 parameters, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-08, weight_decay=0.0)"
    )


# ---- state ----------------------------------------------------------------------------------


def random_steps(optimizer, rng, n):
    for _ in range(n):
        for i, p in enumerate(optimizer.parameters):
            present = i == 0 or rng.random() < 0.7
            p.grad = Tensor(rng.normal(size=p.shape), dtype=p.dtype) if present else None
        optimizer.step()


@pytest.mark.parametrize("name", UPDATES)
def test_training_goes_on_from_a_saved_state_bit_for_bit(name):
    def start():
        made = np.random.default_rng(5)
        p = [Parameter(made.normal(size=n), dtype=d) for n, d in ((3, "float32"), (4, "float64"))]
        p.append(Parameter(made.normal(size=2), dtype="float32"))
        return p, MAKE[name](p, 0.1, **DEFAULTS[name])

    parameters, optimizer = start()
    rng = np.random.default_rng(6)
    random_steps(optimizer, rng, 5)
    optimizer.lr = 0.02
    state = optimizer.state_dict()
    kept = {key: value.numpy().copy() for key, value in state.items()}
    values, generator = [p.numpy().copy() for p in parameters], rng.bit_generator.state
    random_steps(optimizer, rng, 5)
    assert all((state[key].numpy() == kept[key]).all() for key in kept), "a copy"

    again, other = start()
    for p, value in zip(again, values, strict=True):
        p.copy_(Tensor(value)) if not p.requires_grad else _overwrite(p, value)
    other.load_state_dict(kept)
    assert other.lr == 0.02
    rng.bit_generator.state = generator
    random_steps(other, rng, 5)
    for p, q in zip(parameters, again, strict=True):
        assert p.numpy().tobytes() == q.numpy().tobytes()


def _overwrite(p, value):
    with tga.no_grad():
        p.copy_(Tensor(value))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_optimizers_are_not_copied(copied):
    adam = optim.Adam([Parameter([1.0])], lr=0.1)
    with pytest.raises(TypeError, match=r"Adam: .*neither copied nor pickled.*state_dict\(\)"):
        copied(adam)


def test_state_that_does_not_fit_changes_nothing():
    adam = optim.Adam([Parameter([1.0, 2.0])])
    adam.parameters[0].grad = Tensor([1.0, 1.0])
    adam.step()
    before = {name: value.tolist() for name, value in adam.state_dict().items()}
    other = optim.SGD([Parameter([1.0]), Parameter([1.0])], 0.5, momentum=0.9).state_dict()
    with pytest.raises(ValueError) as caught:
        adam.load_state_dict({**other, "m.0": Tensor([1.0]), "v.0": np.zeros(2)})
    assert str(caught.value).splitlines() == [
        "Adam: the state does not fit:",
        "  missing: step.0",
        "  not expected: velocity.0",
        "  not expected: velocity.1",
        "  m.0: shape (1,), but (2,) is needed",
        "  v.0: dtype float64, but float32 is needed",
    ]
    assert {name: value.tolist() for name, value in adam.state_dict().items()} == before
    with pytest.raises(TypeError, match="a state is a dict"):
        adam.load_state_dict([1])


# ---- clipping -------------------------------------------------------------------------------


def with_gradients(*gradients):
    parameters = [Parameter(np.zeros(np.shape(g)), dtype=np.asarray(g).dtype) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = Tensor(g)
    return parameters


@pytest.mark.parametrize("size", [0, 1, 7, 37, 70_001])
def test_norm_is_exact_and_the_gradients_are_scaled_to_it(size, dtype, isa):
    rng = np.random.default_rng(size)
    gradients = [rng.normal(size=size).astype(dtype), rng.normal(size=(3, 2)).astype(dtype)]
    parameters = [*with_gradients(*gradients), Parameter([1.0])]
    exact = math.sqrt(math.fsum(float(v) ** 2 for g in gradients for v in g.ravel()))
    norm = optim.clip_grad_norm_(parameters, 0.5)
    assert norm.shape == () and norm.dtype == "float64"
    assert norm.item() == pytest.approx(exact, rel=1e-14)
    for p, g in zip(parameters, gradients, strict=False):
        factor = np.dtype(dtype).type(0.5 / norm.item())
        assert p.grad.numpy().tobytes() == (g * factor).tobytes()
    assert optim.clip_grad_norm_(parameters, 1.0).item() == pytest.approx(0.5, rel=1e-6)


def test_small_gradients_are_left_as_they_are():
    (p,) = with_gradients(np.array([0.3, 0.4]))
    assert optim.clip_grad_norm_(p, 0.5).item() == 0.5 and p.grad.tolist() == [0.3, 0.4]
    optim.clip_grad_value_([p], 0.4)
    assert p.grad.tolist() == [0.3, 0.4]


def test_norm_of_both_precisions_and_of_exploding_gradients():
    p, q = with_gradients(np.array([3e30], "float32"), np.array([4e30]))
    assert optim.clip_grad_norm_([p, q], 5.0).item() == pytest.approx(5e30)
    assert p.grad.item() == pytest.approx(3.0) and q.grad.item() == pytest.approx(4.0)
    p, q = with_gradients(np.array([math.nan]), np.array([4.0]))
    assert math.isnan(optim.clip_grad_norm_([p, q], 1.0).item()) and q.grad.item() == 4.0


def test_norm_does_not_depend_on_threads():
    g = np.random.default_rng(7).normal(size=300_000).astype("float32")
    norms, before = [], tga.get_num_threads()
    try:
        for threads in (1, 2):
            tga.set_num_threads(threads)
            norms.append(optim.clip_grad_norm_(with_gradients(g), 1.0).item())
    finally:
        tga.set_num_threads(before)
    assert norms[0] == norms[1]


def test_clipping_by_value(dtype, isa):
    values = [-3.0, -0.5, -0.25, -0.0, 0.0, 0.5, 1e30, math.inf, -math.inf, math.nan] * 4
    (p,) = with_gradients(np.array(values, dtype))
    memory = p.grad.numpy()
    optim.clip_grad_value_([p], 0.5)
    np.testing.assert_array_equal(memory, np.clip(np.array(values, dtype), -0.5, 0.5))
    optim.clip_grad_value_([p, Parameter([1.0])], 0)
    assert set(np.abs(memory[~np.isnan(memory)])) == {0.0}


def test_clipping_of_gradients_in_another_order():
    p = Parameter(np.zeros((2, 3)))
    p.grad = Tensor(np.arange(6.0).reshape(3, 2)).T
    optim.clip_grad_value_([p], 2.5)
    assert p.grad.tolist() == [[0.0, 2.0, 2.5], [1.0, 2.5, 2.5]]
    norm = optim.clip_grad_norm_([p], 1.0).item()
    assert norm == pytest.approx(math.sqrt(4 + 1 + 3 * 6.25))
    assert p.grad[0, 1].item() == pytest.approx(2 / norm)


def test_misuse_of_clipping():
    with pytest.raises(ValueError, match="max_norm is -1"):
        optim.clip_grad_norm_([], -1)
    with pytest.raises(TypeError, match="must be Tensors, not 3"):
        optim.clip_grad_value_([3], 1)
    assert optim.clip_grad_norm_([], 1).item() == 0.0


# ---- schedules ------------------------------------------------------------------------------


def torch_rates(torch, scheduler, lr, n, **settings):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule = scheduler(optimizer, **settings)
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("ours", "theirs", "settings", "n"),
    [
        (optim.step_decay(0.5, 3, 0.25), "StepLR", {"step_size": 3, "gamma": 0.25}, 10),
        (optim.exponential(0.5, 0.9), "ExponentialLR", {"gamma": 0.9}, 10),
        (optim.cosine(0.5, 10, 0.1), "CosineAnnealingLR", {"T_max": 10, "eta_min": 0.1}, 11),
        (optim.one_cycle(0.5, 20), "OneCycleLR", {"max_lr": 0.5, "total_steps": 20}, 20),
        (
            optim.one_cycle(0.5, 30, rise=0.25, first=0.05, last=0.01),
            "OneCycleLR",
            {
                "max_lr": 0.5,
                "total_steps": 30,
                "pct_start": 0.25,
                "div_factor": 10,
                "final_div_factor": 5,
            },
            30,
        ),
        (
            optim.warm_up(0.5, 4),
            "LinearLR",
            {"start_factor": 0.25, "end_factor": 1.0, "total_iters": 3},
            8,
        ),
    ],
    ids=["step", "exponential", "cosine", "one cycle", "one cycle 2", "warm up"],
)
def test_rates_are_those_of_pytorch(ours, theirs, settings, n):
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
    scheduler = getattr(torch.optim.lr_scheduler, theirs)
    assert ours.values(n) == pytest.approx(torch_rates(torch, scheduler, 0.5, n, **settings))


def test_schedules():
    assert optim.step_decay(1.0, 2, 0.5).values(5) == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert optim.exponential(1.0, 0.5).values(3, start=2) == [0.25, 0.125, 0.0625]
    assert optim.constant(0.3)(17) == 0.3
    cosine = optim.cosine(1.0, 4, 0.2)
    assert cosine.values(7) == pytest.approx(
        [1, 0.6 + 0.4 / math.sqrt(2), 0.6, 0.3171573] + 3 * [0.2]
    )
    cycle = optim.one_cycle(1.0, 11, rise=0.6, first=0.1, last=0.0)
    assert cycle(0) == pytest.approx(0.1) and cycle(10) == cycle(50) == 0.0
    assert cycle.values(6) == sorted(cycle.values(6)) and max(cycle.values(11)) < 1.0
    assert optim.one_cycle(1.0, 2, rise=0.01)(1) == pytest.approx(1 / 25e4)
    warm = optim.warm_up(optim.exponential(0.8, 0.5), 2)
    assert warm.values(5) == pytest.approx([0.4, 0.8, 0.8, 0.4, 0.2])
    with pytest.raises(ValueError, match="no step -1"):
        warm(-1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: optim.step_decay(0.1, 0), "every must be a whole number"),
        (lambda: optim.cosine(-0.1, 5), "lr is -0.1"),
        (lambda: optim.one_cycle(0.1, 1), "steps must be .* of at least 2"),
        (lambda: optim.one_cycle(0.1, 10, rise=1.0), "rise is 1.0"),
        (lambda: optim.warm_up(0.1, 2.5), "steps must be a whole number"),
    ],
)
def test_misuse_of_schedules(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()
