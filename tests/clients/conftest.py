"""What the client tests share: where the proxy is, which models it serves, and clients that do not retry.

PROXY_URL is the proxy's address. MODEL_A and MODEL_B (an id with a slash) are served by two mock containers,
LLAMA_MODEL by a real llama.cpp. tests/engine starts all of them and sets these variables.
"""

import os
import time

import anthropic
import httpx
import openai
import pytest

# A wait that no test should reach.
TIMEOUT = 60.0


def setting(name):
    value = os.environ.get(name)
    if not value:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not set")
        pytest.skip(f"not run: {name} is not set (tests/engine starts the containers and sets it)")
    return value


@pytest.fixture(scope="session")
def proxy_url():
    return setting("PROXY_URL").rstrip("/")


@pytest.fixture(scope="session")
def model_a():
    return setting("MODEL_A")


@pytest.fixture(scope="session")
def model_b():
    return setting("MODEL_B")


@pytest.fixture(scope="session")
def llama_model():
    return setting("LLAMA_MODEL")


@pytest.fixture
def http(proxy_url):
    with httpx.Client(base_url=proxy_url, timeout=TIMEOUT, trust_env=False) as client:
        yield client


@pytest.fixture
def openai_client(proxy_url):
    with openai.OpenAI(base_url=f"{proxy_url}/v1", api_key="any", max_retries=0, timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def anthropic_client(proxy_url):
    with anthropic.Anthropic(base_url=proxy_url, api_key="any", max_retries=0, timeout=TIMEOUT) as client:
        yield client


@pytest.fixture
def arrivals():
    """Runs through a stream and returns [(seconds since the start, item)]."""

    def run_through(stream):
        start = time.monotonic()
        return [(time.monotonic() - start, item) for item in stream]

    return run_through


@pytest.fixture
def one_by_one():
    """Checks that items came as they were generated, `pause` seconds apart, and not all at the end."""

    def check(times, pause):
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        apart = sum(gap > pause / 3 for gap in gaps)
        assert apart >= len(gaps) * 2 / 3, f"gaps between events: {gaps}"

    return check


@pytest.fixture
def breaks_off():
    """Runs through a stream that must end with an error of the transfer; returns what came before it."""
    # By name: the clients have changed the HTTP library below them, and its errors reach the caller as they are.
    broken = {"RemoteProtocolError", "ReadError", "APIConnectionError", "APIError"}

    def run_through(stream):
        seen = []
        try:
            for event in stream:
                seen.append(event)
        except Exception as why:
            assert type(why).__name__ in broken, repr(why)
            return seen
        pytest.fail(f"a stream that broke off ended as if it were whole, after {len(seen)} events")

    return run_through
