"""Several processes that train one student: the first leads, and the others follow.

    accelerate launch --multi_gpu --num_processes 2 -m synthkd train ...      (CPUs, too)
    torchrun --nproc-per-node 2 -m synthkd train ...

Plain `accelerate launch --cpu` starts one process, whatever it is told. For FSDP, write an
accelerate config with `distributed_type: FSDP`, `fsdp_version: 2`, `fsdp_reshard_after_forward:
true`, `fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP` and `fsdp_state_dict_type:
FULL_STATE_DICT`, and pass it with `--config_file`; the student is gathered before it is
written. That way follows accelerate's and TRL's own and was not run: it takes several GPUs.

A corpus can be opened by one process, so only the first runs the command. The others
wait to be told of a training, take part in it, and end when the first says so or is
gone. Which of them a process is, the launcher says in its environment; nothing here
loads torch before it is known that there are several.
"""

import os

_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_NUMBERS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def count_processes() -> int:
    """Return how many processes were started together: 1 without a launcher."""
    return _read(_COUNTS, default=1)


def is_follower() -> bool:
    """Tell whether this process takes part in the trainings of another."""
    return count_processes() > 1 and _read(_NUMBERS, default=0) > 0


def follow() -> None:
    """Take part in every training of the first process, until it needs no more.

    Raises:
        SynthkdError: A training cannot go on in this process, or the first one is gone.
    """
    quieten_processes()
    from synthkd.training import processes

    processes.follow()


def dismiss() -> None:
    """Let the processes that follow this one end; call it once, when its command has ended."""
    if count_processes() > 1 and not is_follower():
        quieten_processes()
        from synthkd.training import processes

        processes.dismiss()


def quieten_processes() -> None:
    """Keep torch from warning of what is meant: call it before torch is loaded."""
    if count_processes() > 1:
        # A mixture of experts has some that a step does not use, so it is looked for.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _read(names: tuple[str, ...], *, default: int) -> int:
    values = (os.environ.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdecimal()), default)
