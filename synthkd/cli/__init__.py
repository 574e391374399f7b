"""The command line: one file per command, loaded when it is called.

Data goes to standard output, everything else to standard error. What the user got
wrong is told in a sentence; a traceback is a bug in synthkd.
"""

import errno
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from synthkd.cli.lazy import LazyGroup
from synthkd.errors import SynthkdError

# In the order a user meets them.
COMMANDS = (
    "init",
    "check",
    "quote",
    "run",
    "generate",
    "status",
    "import",
    "score",
    "filter",
    "train",
    "evaluate",
    "report",
    "export",
    "sql",
    "show",
    "trace",
    "rights",
    "notice",
    "summary",
    "snapshot",
    "prove",
    "verify",
    "terms",
    "erase",
    "schema",
)

INTERRUPTED = 130

# What accelerate launch, torchrun and MPI set where they start several processes.
_LAUNCHED = frozenset({"WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"})


@click.group(
    cls=LazyGroup,
    names=COMMANDS,
    module="{}_command",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="synthkd", message="%(prog)s %(version)s")
def cli() -> None:
    """Teach a small model from a large one, and know where every sample came from.

    \b
    Start with:
      synthkd run pipelines/quickstart.yaml
      synthkd init my-task && synthkd run my-task/pipeline.yaml
    """


def main() -> NoReturn:
    """Run the command line and exit with its code.

    0 done, 1 some rows have no sample, 2 wrong input, 3 rights, 4 budget, 5 teacher
    unreachable, 130 interrupted.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # Threads of torch that wait for each other spin; on a busy machine that is most of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = _follow_or_run()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SynthkdError as error:
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted. Everything answered is kept; run it again to go on.", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # whoever read it has seen enough
        code = 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        click.echo("Error: the disk is full, so not all was written. Make room.", err=True)
        code = SynthkdError.exit_code
    sys.exit(code)


def _follow_or_run() -> int:
    """Run the command; started as one of several processes, take part in what the first trains."""
    if _LAUNCHED.isdisjoint(os.environ):
        return _run()
    from synthkd.training import following

    if following.is_follower():
        following.follow()
        return 0
    try:
        return _run()
    finally:
        following.dismiss()


def _run() -> int:
    code: int = cli.main(prog_name="synthkd", standalone_mode=False)
    return code


def _drop_output() -> None:
    """Send what is left of our output nowhere; Python would complain of it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise KeyboardInterrupt
