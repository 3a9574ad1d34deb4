"""How thorough the tests are, and what they share.

HYPOTHESIS_PROFILE=dev        quick, the default: the same examples each time
HYPOTHESIS_PROFILE=ci         more of them, and how to reproduce a failure is printed
HYPOTHESIS_PROFILE=thorough   many, new ones each time, and the tests marked `thorough`, too

``pytest -m thorough`` runs the marked tests alone, with the thorough profile.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

import tinygrad_act as tga
from tinygrad_act import graph

_ALL = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=20, derandomize=True, **_ALL)
settings.register_profile("ci", max_examples=60, derandomize=True, print_blob=True, **_ALL)
settings.register_profile("thorough", max_examples=1000, print_blob=True, **_ALL)


def pytest_configure(config):
    marked = config.option.markexpr == "thorough"
    profile = os.environ.get("HYPOTHESIS_PROFILE", "thorough" if marked else "dev")
    settings.load_profile(profile)
    if profile == "thorough" and config.option.markexpr == "not thorough":
        config.option.markexpr = ""


@pytest.fixture(params=tga.supported_isas())
def isa(request):
    """Runs the test once with each instruction set of this machine."""
    with tga.use_isa(request.param):
        yield request.param


@pytest.fixture(params=["float32", "float64"], scope="session")
def dtype(request):
    """Runs the test once in each precision."""
    return request.param


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Fails a test that changes what other tests would see."""
    before = tga.isa(), tga.get_num_threads(), graph.mode.recording
    yield
    after = tga.isa(), tga.get_num_threads(), graph.mode.recording
    assert after == before, "instruction set, number of threads or recording mode was not restored"
