"""The command: its flags, and signals to a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from semanticvla_jax import serve
from semanticvla_jax.client.errors import ServingError
from semanticvla_jax.client.policy_client import PolicyClient
from semanticvla_jax.errors import InputError
from tests.serving.running import PATIENCE, observation, until
from tests.serving.test_limits import get


@contextlib.contextmanager
def process(*arguments: str, module: str = "tests.serving.serve_fake") -> Iterator:
    """A server's process and its url, once it is ready; killed if it does not end itself."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            url = running.stdout.readline().split()[-1]
            assert running.stdout.readline().startswith("ready: ")
            yield running, url
        finally:
            running.kill()


def options(*flags: str):
    return serve.read_options(serve.parse_arguments(["--checkpoint", "runs/x", *flags]))


def test_flags(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("one\n\n two \n")
    chosen = options("--api_keys", str(keys), "--batch_sizes", "1,3", "--origins", "https://a")
    assert (chosen.keys, chosen.batch_sizes, chosen.origins) == (
        ("one", "two"),
        (1, 3),
        ("https://a",),
    )
    assert chosen.host == "127.0.0.1" and chosen.tls is None


def test_certificates(tmp_path):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued = trustme.CA().issue_cert("robot.example")
    issued.private_key_pem.write_to_path(key)
    for link in issued.cert_chain_pems:
        link.write_to_path(chain, append=True)
    assert options("--tls_certificate", str(chain), "--tls_key", str(key)).tls is not None


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--batch_sizes", "4,2"], "ascending"),
        (["--batch_sizes", "1,x"], "ascending"),
        (["--queue", "0"], "above 0"),
        (["--rate", "nan"], "above 0"),
        (["--api_keys", "/nowhere"], "No such file"),
        (["--api_keys", "/dev/null"], "no key"),
        (["--tls_certificate", "/nowhere", "--tls_key", "/nowhere"], "PEM"),
        (["--tls_key", "/nowhere"], "pass both"),
    ],
)
def test_bad_flags(flags, message):
    with pytest.raises(InputError, match=message):
        options(*flags)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "semanticvla_jax.serve", "--checkpoint", "/nowhere"]
        command += ["--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Fix: change --port" in done.stderr


def test_a_checkpoint_that_is_none():
    arguments = serve.parse_arguments(["--checkpoint", "/nowhere", "--port", "0"])
    with pytest.raises(InputError, match="/nowhere"):
        asyncio.run(serve.serve(serve.loader(arguments), serve.read_options(arguments)))


def test_signals():
    """SIGHUP swaps while clients ask; SIGTERM lets them finish and exits with 0."""
    with process("0", "0.3") as (server, url), ThreadPoolExecutor(2) as threads:
        clients = [PolicyClient(url, timeout=PATIENCE) for _ in range(2)]
        assert clients[0].query(observation()).policy == "run@1"
        server.send_signal(signal.SIGHUP)
        until(lambda: clients[0].query(observation()).policy == "run@2")
        asked = [threads.submit(client.infer, observation(7.0)) for client in clients]
        page = url.replace("ws", "http") + "/metrics"
        until(lambda: "semanticvla_waiting 1.0" in get(page)[1])  # behind the other's computation
        server.send_signal(signal.SIGTERM)
        assert [answer.result(PATIENCE)[0, 0] for answer in asked] == [7, 7]
        assert server.wait(PATIENCE) == 0


def all_answered(counts: list[int]) -> None:
    """Waits until each of some counts has grown."""
    before = tuple(counts)
    until(lambda: all(now > then for now, then in zip(counts, before, strict=True)))


@pytest.mark.slow
def test_clients_survive_kills():
    """kill -9 and a restart, five times: clients that retry never see more than a pause."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    done, problems, counts = threading.Event(), [], [0] * 4

    def ask(number: int) -> None:
        try:
            with PolicyClient(f"ws://127.0.0.1:{port}", timeout=60) as client:
                while not done.is_set():
                    value = float(counts[number] % 100)
                    assert client.infer(observation(value))[0, 0] == value
                    counts[number] += 1
        except (ServingError, AssertionError) as error:
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        with process(port, "0.01") as (server, _):
            all_answered(counts)
            server.kill()
            server.wait(PATIENCE)
    with process(port, "0.01"):
        all_answered(counts)
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not problems and min(counts) >= 6


@pytest.mark.slow
def test_the_whole_command(finished_run):
    with process(
        "--checkpoint",
        str(finished_run),
        "--port",
        "0",
        "--batch_sizes",
        "1",
        module="semanticvla_jax.serve",
    ) as (server, url):
        with PolicyClient(url, robot="libero", timeout=PATIENCE) as client:
            assert client.infer(observation(size=32)).shape == (8, 7)
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0
