"""Serves a policy to robots over websockets; openpi-client and semanticvla_jax.client both work.

    python -m semanticvla_jax.serve --checkpoint runs/soup --port 8000

`kill -TERM` finishes what is under way, `kill -HUP` loads the checkpoint again and swaps it in.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import signal
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from semanticvla_jax.errors import InputError, exit_on_input_error
from semanticvla_jax.inference import options as inference
from semanticvla_jax.serving.accelerated import AcceleratedPolicy
from semanticvla_jax.serving.options import ServerOptions
from semanticvla_jax.serving.served_policy import BatchedPolicy, ServablePolicy
from semanticvla_jax.serving.server import PolicyServer

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_log = logging.getLogger("semanticvla_jax.serve")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="semanticvla_jax.serve",
        description="A policy server. /healthz says whether it is ready, /metrics is Prometheus's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, usual = parser.add_argument, ServerOptions()
    add("--checkpoint", required=True, help="work directory of a training run, or one of its steps")
    add("--checkpoint_step", type=int, help="which step; the last if not given")
    add("--dataset", help="whose normalisation to use, if the policy was trained on several")
    add("--accelerate", default="", help="methods and settings, see docs/accelerators.md")
    add("--execute", type=int, help="actions of each answer that clients execute, for --accelerate")
    add("--typical", help="demonstrations for efficient_vla, if not those of the training")
    inference.add_arguments(add)
    add("--host", default=usual.host, help="0.0.0.0 lets other machines in")
    add("--port", type=int, default=usual.port, help="0 picks a free one")
    add("--api_keys", type=Path, help="file of API keys, one a line, any of which opens")
    add("--tls_certificate", type=Path, help="PEM chain; with --tls_key, speaks wss://")
    add("--tls_key", type=Path, help="PEM private key")
    add("--origins", default="", help="web origins to let in, separated by commas")
    add(
        "--batch_sizes",
        default=",".join(map(str, usual.batch_sizes)),
        help="batches to compile, ascending",
    )
    add("--batch_wait", type=float, default=usual.batch_wait, help="s to wait for a fuller batch")
    add("--queue", type=int, default=usual.queue, help="requests waiting before clients hear busy")
    add("--clients", type=int, default=usual.clients, help="connections at once")
    add("--message_bytes", type=int, default=usual.message_bytes, help="of one observation")
    add("--rate", type=float, default=usual.rate, help="requests per second and connection")
    add("--idle_timeout", type=float, default=usual.idle_timeout, help="s without a message")
    add("--infer_timeout", type=float, default=usual.infer_timeout, help="s per request")
    add("--drain_timeout", type=float, default=usual.drain_timeout, help="s to finish on SIGTERM")
    return parser.parse_args(argv)


@exit_on_input_error
def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("websockets").setLevel(logging.WARNING)
    options = read_options(arguments)
    if options.host not in _LOOPBACK and not options.keys:
        _log.warning("no --api_keys: whoever reaches %s may use the policy", options.host)
    finished = asyncio.run(serve(loader(arguments), options, batched(arguments)))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(not finished)  # a thread that loads or computes cannot be interrupted otherwise


async def serve(
    load: Callable[[], ServablePolicy],
    options: ServerOptions,
    batched: Callable[..., BatchedPolicy] = BatchedPolicy,
) -> bool:
    """Runs a server under SIGTERM, SIGINT (drain) and SIGHUP (reload); see `PolicyServer.run`.

    Raises:
      InputError: the port cannot be had, or the policy cannot be loaded.
    """
    server, loop = PolicyServer(load, options, batched), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    loop.add_signal_handler(signal.SIGHUP, server.reload)
    announcing = asyncio.create_task(_announce(server))
    try:
        return await server.run()
    except OSError as error:
        if server.listening.is_set():
            raise
        raise InputError(
            f"port {options.port} of {options.host}",
            found=error.strerror,
            expected="a free port of this machine",
            fix="change --port or --host",
        ) from None
    finally:
        announcing.cancel()


async def _announce(server: PolicyServer) -> None:
    await server.listening.wait()
    scheme = "wss" if server.options.tls else "ws"
    print(f"listening on {scheme}://{server.options.host}:{server.port}", flush=True)
    await server.slot.filled.wait()
    print(f"ready: {server.slot.current.label}", flush=True)


def loader(arguments: argparse.Namespace) -> Callable[[], ServablePolicy]:
    """Loads the policy of a command line; imports JAX only when called."""

    def load() -> ServablePolicy:
        from semanticvla_jax.policy import load_policy

        checkpoint, step = arguments.checkpoint, arguments.checkpoint_step
        options = inference.read_arguments(arguments)
        policy = load_policy(checkpoint, step=step, dataset=arguments.dataset, options=options)
        if not arguments.accelerate:
            return policy
        from semanticvla_jax.accelerate.load import load_accelerated

        return load_accelerated(policy, arguments.accelerate, checkpoint, step, arguments.typical)

    return load


def batched(arguments: argparse.Namespace) -> Callable[..., BatchedPolicy]:
    """How what `loader` loads computes batches."""
    if not arguments.accelerate:
        return BatchedPolicy
    methods = arguments.accelerate.replace(" ", "")
    return functools.partial(AcceleratedPolicy, methods=methods, execute=arguments.execute)


def read_options(arguments: argparse.Namespace) -> ServerOptions:
    """The options of a command line.

    Raises:
      InputError: a file that cannot be read, or numbers that make no server.
    """
    positive = ("queue", "clients", "message_bytes", "rate", "idle_timeout", "infer_timeout")
    for name in positive:
        if not getattr(arguments, name) > 0:
            raise InputError(
                f"--{name}",
                found=getattr(arguments, name),
                expected="a number above 0",
                fix=f"change --{name}",
            )
    return ServerOptions(
        host=arguments.host,
        port=arguments.port,
        tls=_tls(arguments.tls_certificate, arguments.tls_key),
        keys=_keys(arguments.api_keys),
        origins=tuple(filter(None, arguments.origins.split(","))),
        batch_sizes=_sizes(arguments.batch_sizes),
        batch_wait=max(0.0, arguments.batch_wait),
        drain_timeout=arguments.drain_timeout,
        **{name: getattr(arguments, name) for name in positive},
    )


def _sizes(text: str) -> tuple[int, ...]:
    sizes = [int(size) if size.strip().isdecimal() else 0 for size in text.split(",")]
    if 0 in sizes or sizes != sorted(set(sizes)):
        raise InputError(
            "--batch_sizes",
            found=text,
            expected="ascending positive numbers, separated by commas",
            fix="for example --batch_sizes 1,2,4,8",
        )
    return tuple(sizes)


def _keys(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        keys = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        keys, found = (), error
    else:
        found = "no key"
    if not keys:
        raise InputError(
            f"--api_keys {path}", found=found, expected="one key a line", fix="write keys into it"
        )
    return keys


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate or "", key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            "TLS certificate and key",
            found=f"{certificate}, {key}: {error}",
            expected="a PEM certificate chain and its private key",
            fix="pass both --tls_certificate and --tls_key",
        ) from None
    return context


if __name__ == "__main__":
    main()
