"""The tests' machine: CPU, four devices; types are checked, x64 is a context."""

import atexit
import os
import tempfile

from support.compile_cache import FOLDER, make_room

# Also for the processes that tests start; before jax, which reads them when imported.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(FOLDER)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import jaxtyping
import pytest
from hypothesis import HealthCheck, settings
from jax.experimental.compilation_cache import compilation_cache

DEVICES = 4
# Files that take minutes: they start first, so that no process is left with one alone.
LONG = (
    "e2e/test_distributed.py",
    "faults/test_resume.py",
    "e2e/test_imagenet.py",
    "train/test_recipes_steps.py",
    "golden/test_golden_networks.py",
    "golden/test_golden_trajectories.py",
    "golden/test_golden_detection_loss.py",
    "detection/test_objective.py",
    "detection/test_detect.py",
    "notebooks/test_notebooks.py",
    "e2e/test_first_light.py",
    "kernels/test_kernels.py",
    "export/test_export.py",
    "e2e/test_real_network.py",
    "prm/test_fast.py",
)

# Of this process and those that it starts.
_cache = tempfile.TemporaryDirectory(prefix="prm-flax-cache-")
atexit.register(_cache.cleanup)
os.environ["PRM_CACHE_DIR"] = _cache.name

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", DEVICES)
# Before the first import of prm_flax: its array annotations are checked in tests.
jaxtyping.install_import_hook(
    [
        "prm_flax.attention",
        "prm_flax.detection",
        "prm_flax.layers.norm",
        "prm_flax.prm.functional",
        "prm_flax.prm.kernels.cpu",
        "prm_flax.prm.similarity",
    ],
    "beartype.beartype",
)
settings.register_profile(
    "prm_flax",
    deadline=None,
    derandomize=True,
    max_examples=8,
    # x64 and strict promotion are entered once a test, which is what is meant.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("prm_flax")


def pytest_configure(config):
    """Once, before xdist starts its processes."""
    if not hasattr(config, "workerinput"):
        make_room()


def pytest_collection_modifyitems(items):
    """The long files first; otherwise as they are found."""

    def place(item):
        name = "/".join(item.path.parts[-2:])
        return LONG.index(name) if name in LONG else len(LONG)

    items.sort(key=place)


@pytest.fixture
def x64():
    """Arrays may be float64 inside the test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict_promotion():
    """Two dtypes meet only where the code says how."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(params=[1, 2, 4])
def devices(request):
    """The first 1, 2 and 4 of the fake devices."""
    return jax.devices()[: request.param]


@pytest.fixture
def compiled_anew():
    """No program comes from the cache: for what its text, or its compiling, tells."""
    _use_cache(False)
    yield
    _use_cache(True)


def _use_cache(used):
    jax.config.update("jax_enable_compilation_cache", used)
    compilation_cache.reset_cache()  # jax looks at the setting once


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_end_with_their_module():
    """Thousands of them would take gigabytes."""
    yield
    jax.clear_caches()
