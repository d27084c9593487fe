"""Trains on a GKE cluster of TPUs: submits a workload with XPK.

    python -m launch.xpk --name so-7b --cluster tpus --tpu_type v5litepod-128 --image IMAGE \\
        -- --config configs/semanticvla_libero.py --workdir /shared/runs/so-7b

IMAGE is one made from launch/docker/train_tpu.Dockerfile, in a registry that the cluster reads. The
work directory must lie on a disk that the cluster's pods see: `xpk storage attach` adds one. When
nodes are taken away the run saves, and the workload starts again and continues.
"""

from __future__ import annotations

import shlex
import sys

from launch import shell, training
from semanticvla_jax.errors import exit_on_input_error


def parser() -> shell.Parser:
    parser = shell.Parser(__doc__)
    add = parser.add_argument
    add("--name", required=True, help="of the workload")
    add("--cluster", required=True)
    add("--tpu_type", required=True, help="such as v5litepod-128")
    add("--slices", type=shell.positive, default=1)
    add("--image", required=True, help="container image, with its tag")
    add("--zone", help="default: that of gcloud")
    add("--project", help="default: that of gcloud")
    add("--restarts", type=shell.positive, default=50, help="at most, of the whole workload")
    add("--save_seconds", type=shell.positive, default=120, help="from SIGTERM to the end of a pod")
    add("--option", action="append", default=[], help="further ones of xpk, such as priority=high")
    return parser


def script(arguments, flags: list[str]) -> str:
    """The command that creates the workload.

    XPK runs the training in a subshell and passes SIGTERM on to that; `exec` puts training in its
    place. It starts a workload again whose exit status is 42 or above 126, as STOPPED is.

    Raises:
      InputError: bad name or training flags.
    """
    training.shared_workdir(flags)
    words = shell.options(
        workload=shell.checked_name(arguments.name),
        cluster=arguments.cluster,
        zone=arguments.zone,
        project=arguments.project,
        tpu_type=arguments.tpu_type,
        num_slices=arguments.slices,
        docker_image=arguments.image,
        max_restarts=arguments.restarts,
        termination_grace_period_seconds=arguments.save_seconds,
    )
    words += [f"--{option}" for option in arguments.option]
    words.append("--command=exec " + shlex.join(training.command(flags, restarted=True)))
    return shell.folded("xpk workload create", words)


@exit_on_input_error
def main(argv: list[str]) -> None:
    arguments, flags = parser().parse(argv)
    text = script(arguments, flags)
    shell.show_or_run(text, needs=["xpk"], dry_run=arguments.dry_run)


if __name__ == "__main__":
    main(sys.argv[1:])
