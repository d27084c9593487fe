"""Trains on Cloud TPU VMs: requests them, waits, prepares every worker, runs; again if need be.

    python -m launch.tpu_vm --name so-7b --zone us-west4-a --tpu_type v5litepod-128 --spot \\
        --repository https://example.org/lab/semanticvla_jax.git --commit 1a2b3c4 --delete \\
        -- --config configs/semanticvla_libero.py --workdir /shared/runs/so-7b

Instead of a commit, `--image` takes a container made from launch/docker/train_tpu.Dockerfile. When
a spot slice is taken away, another one is requested and the run continues on it. To be left running
(in tmux, say); started again, it goes on with the slice of that name.
"""

from __future__ import annotations

import shlex
import sys

from launch import shell, training, workers
from semanticvla_jax.errors import choose, exit_on_input_error

# https://cloud.google.com/tpu/docs/runtimes
RUNTIMES = {
    "v6e": "v2-alpha-tpuv6e",
    "v5p": "v2-alpha-tpuv5",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v4": "tpu-ubuntu2204-base",
}

SCRIPT = """\
#!/usr/bin/env bash
set -uo pipefail

create() {{
  {create}
}}
state() {{
  {state} || echo UNREACHABLE
}}
delete() {{
  {delete}
}}
# Everywhere at once. With a terminal, a lost connection ends what it started.
on_all_workers() {{
  {ssh} \\
    --node=all --worker=all --batch-size=all --ssh-flag=-tt \\
    --command="$1" </dev/null
}}

prepare={prepare}

train={train}

runs=0 status=1
while ((runs < {runs})); do
  case "$(state)" in
    ACTIVE)
      ((++runs))
      on_all_workers "$prepare" && on_all_workers "$train"
      status=$?
      ((status == 0)) && break
      sleep 60 # until a slice that is being taken away says so
      # Above 126 it was stopped, killed or not reached: it continues. Below, it failed by itself.
      ((status < 127)) && [ "$(state)" = ACTIVE ] && break ;;
    SUSPENDED) delete ;;
    FAILED) {describe}; break ;;
    "") create || break ;;
    *) sleep 30 ;;
  esac
done
{end}exit "$status\""""


def parser() -> shell.Parser:
    parser = shell.Parser(__doc__)
    add = parser.add_argument
    add("--name", required=True, help="of the queued resource and its nodes")
    add("--zone", required=True)
    add("--project", help="default: that of gcloud")
    add("--tpu_type", required=True, help="such as v5litepod-128, v5p-32, v6e-16")
    add("--slices", type=shell.positive, default=1)
    add("--runtime_version", help="default: by the type of TPU")
    add("--spot", action="store_true", help="cheaper, and taken away at any time")
    add("--image", help="container to run")
    add("--repository", help="to clone instead, with --commit")
    add("--commit")
    add("--prepare", action="append", default=[], help="shell command on every worker, first")
    add("--env", action="append", default=[], help="variable of training: WANDB_MODE=offline")
    add("--mount", action="append", default=[], help="directory that the container shares")
    add("--runs", type=shell.positive, default=100, help="at most, with the interrupted ones")
    add("--delete", action="store_true", help="the TPUs, when the run has ended or failed")
    add("--option", action="append", default=[], help="further ones of create: network=NAME")
    return parser


def script(arguments, flags: list[str]) -> str:
    """The whole script.

    Raises:
      InputError: bad name, TPU type, source or training flags.
    """
    training.shared_workdir(flags)
    name = shell.checked_name(arguments.name)
    place = shell.options(zone=arguments.zone, project=arguments.project)
    resources = "gcloud compute tpus queued-resources"
    prepare, train = workers.lines(arguments, flags)
    return SCRIPT.format(
        create=shell.folded(f"{resources} create {name}", [*place, *_request(arguments)], "  "),
        state=f"{resources} list {shlex.join(place)} \\\n"
        f"    --filter='name ~ /{name}$' --format='value(state.state)'",
        describe=f"{resources} describe {name} {shlex.join(place)}",
        delete=f"{resources} delete {name} {shlex.join(place)} --force --quiet",
        ssh=f"{resources} ssh {name} {shlex.join(place)}",
        prepare=shlex.quote("\n".join(prepare)),
        train=shlex.quote("\n".join(train)),
        runs=arguments.runs,
        end="delete\n" if arguments.delete else "",
    )


def _request(arguments) -> list[str]:
    family = arguments.tpu_type.partition("-")[0]
    runtime = arguments.runtime_version or choose(
        RUNTIMES, family, "--tpu_type", "correct it, or give the --runtime_version"
    )
    several = arguments.slices > 1
    nodes = shell.options(
        node_id=None if several else arguments.name,
        node_count=arguments.slices if several else None,
        node_prefix=arguments.name if several else None,
        accelerator_type=arguments.tpu_type,
        runtime_version=runtime,
        spot=arguments.spot,
    )
    return nodes + [f"--{option}" for option in arguments.option]


@exit_on_input_error
def main(argv: list[str]) -> None:
    arguments, flags = parser().parse(argv)
    text = script(arguments, flags)
    shell.show_or_run(text, needs=["gcloud"], dry_run=arguments.dry_run)


if __name__ == "__main__":
    main(sys.argv[1:])
