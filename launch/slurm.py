"""Trains on a Slurm cluster: writes a batch script into the work directory and submits it.

    python -m launch.slurm --name so-7b --nodes 2 --gpus_per_node 8 --time 24:00:00 \\
        -- --config configs/semanticvla_libero.py --workdir /shared/runs/so-7b

One task per GPU, which is how JAX divides a Slurm step. Before the time limit the run is told to
stop, saves, and queues itself again under the same job number; so it does when it is preempted.
To be started on a node that sees the repository, its .venv and the work directory at the same
paths as the compute nodes.
"""

from __future__ import annotations

import os
import shlex
import sys

from launch import shell, training
from semanticvla_jax.errors import exit_on_input_error

SCRIPT = """\
mkdir -p {folder}
cat > {file} <<'END'
#!/usr/bin/env bash
{directives}
cd {repository} || exit
# Signals reach the processes of srun, not this shell; without the export srun forgets the CPUs.
export SRUN_CPUS_PER_TASK={cpus}
srun --kill-on-bad-exit=1 \\
    {command}
status=$?
# Stopped by SIGTERM and saved: the same command continues, so the job queues itself again.
[ "$status" = {stopped} ] && scontrol requeue "$SLURM_JOB_ID"
exit "$status"
END
sbatch {file}"""


def parser() -> shell.Parser:
    parser = shell.Parser(__doc__)
    add = parser.add_argument
    add("--name", required=True, help="of the job")
    add("--nodes", type=shell.positive, default=1)
    add("--gpus_per_node", type=shell.positive, default=8)
    add("--cpus_per_gpu", type=shell.positive, default=8, help="per task: training and its readers")
    add("--time", required=True, help="limit, as sbatch takes it: 30:00, 24:00:00, 2-00:00:00")
    add("--save_seconds", type=shell.positive, default=120, help="from SIGTERM to the time limit")
    add("--partition")
    add("--account")
    add("--option", action="append", default=[], help="further ones of sbatch, such as qos=high")
    return parser


def script(arguments, flags: list[str]) -> str:
    """The script that writes and submits the batch script.

    Raises:
      InputError: bad name or training flags.
    """
    workdir = training.flag(flags, "workdir")
    words = shell.options(
        job_name=shell.checked_name(arguments.name),
        nodes=arguments.nodes,
        gpus_per_node=arguments.gpus_per_node,
        ntasks_per_node=arguments.gpus_per_node,
        cpus_per_task=arguments.cpus_per_gpu,
        time=arguments.time,
        partition=arguments.partition,
        account=arguments.account,
        signal=f"TERM@{arguments.save_seconds}",
        requeue=True,
        open_mode="append",
        output=os.path.join(workdir, "slurm-%j.log"),
    )
    words += [f"--{option}" for option in arguments.option]
    command = training.command(flags, python=sys.executable, restarted=True)
    return SCRIPT.format(
        folder=shlex.quote(workdir),
        file=shlex.quote(os.path.join(workdir, f"{arguments.name}.sbatch")),
        directives="\n".join(f"#SBATCH {shlex.quote(word)}" for word in words),
        repository=shlex.quote(os.getcwd()),
        cpus=arguments.cpus_per_gpu,
        command=shlex.join(command),
        stopped=training.STOPPED,
    )


@exit_on_input_error
def main(argv: list[str]) -> None:
    arguments, flags = parser().parse(argv)
    text = script(arguments, flags)
    shell.show_or_run(text, needs=["sbatch"], dry_run=arguments.dry_run)


if __name__ == "__main__":
    main(sys.argv[1:])
