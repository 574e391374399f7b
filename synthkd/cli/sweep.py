"""What `synthkd train --sweep` takes, does and prints."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkd.cli.options import Decorator

if TYPE_CHECKING:
    from synthkd.pipeline.rights import Stated
    from synthkd.pipeline.sweeping import Swept

OPTIONS = (
    click.option(
        "--sweep",
        "axes",
        multiple=True,
        metavar="[KEY=VALUE,VALUE]",
        is_flag=False,
        flag_value="",
        help="Train a student for each value and name the best; repeat it for a grid. As the "
        "last word, without KEY=VALUE: sft, and kd at three alphas.",
    ),
    click.option("--tokens", type=click.IntRange(1), help="Tokens that each of a sweep reads."),
    click.option("--student", help="The PIPELINE's student to sweep over; default: the first."),
    click.option(
        "--held-out",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --corpus and --sweep: rows with right answers; half pick, half measure.",
    ),
    click.option("--metric", "metrics", multiple=True, help="What picks; default: exact_match."),
    click.option(
        "--prompt",
        "prompt_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The prompt of the held-out rows; default: the one the corpus was made with.",
    ),
)


def sweep_options() -> Decorator:
    """Return the options of a sweep."""

    def add(command: Any) -> Any:  # noqa: ANN401 - what click's decorators take and give
        for option in reversed(OPTIONS):
            command = option(command)
        return command

    return add


def sweep_pipeline(
    pipeline: str,
    settings: Sequence[str],
    axes: Sequence[str],
    *,
    tokens: int | None,
    student: str | None,
    as_json: bool,
) -> None:
    """Sweep over a student of a pipeline file and print what came of it."""
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline import read_project
    from synthkd.pipeline.sweeping import sweep_pipeline as sweep

    project = read_project(pipeline, settings)
    _print(sweep(project, student, _grid(axes), tokens, Terminal()), as_json=as_json)


def sweep_corpus(
    corpus: Path,
    given: dict[str, Any],
    settings: Sequence[str],
    axes: Sequence[str],
    *,
    tokens: int | None,
    folder: Path,
    held_out: Path,
    metrics: Sequence[str],
    prompt_file: Path | None,
    use: "Stated",
    as_json: bool,
) -> None:
    """Sweep over a student that learns a corpus and print what came of it."""
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline.adhoc import read_student
    from synthkd.pipeline.sweeping import sweep_corpus as sweep

    swept = sweep(
        corpus,
        read_student(given, settings),
        _grid(axes),
        tokens,
        Terminal(),
        folder=folder,
        held_out=held_out,
        metrics=metrics or ("exact_match",),
        prompt_file=prompt_file,
        stated=use,
    )
    _print(swept, as_json=as_json)


def _grid(axes: Sequence[str]) -> Sequence[str]:
    """Return the axes that were written, or the small grid where none was."""
    from synthkd.pipeline.grid import SMALL_GRID

    written = [axis for axis in axes if axis]
    return written or SMALL_GRID


def _print(swept: "Swept", *, as_json: bool) -> None:
    from dataclasses import asdict

    from synthkd.cli.terminal import print_json, print_table

    if as_json:
        print_json(
            {
                "trials": [asdict(trial) for trial in swept.trials],
                "best": asdict(swept.best),
                "equal": swept.equal,
                "alike": swept.alike,
            }
        )
        return
    options = list(dict.fromkeys(key for trial in swept.trials for key in trial.settings))
    print_table(
        [
            {
                "student": trial.name,
                **{key: trial.settings.get(key) for key in options},
                trial.metric: f"{trial.value:.3f} [{trial.low:.3f}, {trial.high:.3f}]",
                "n": trial.n,
            }
            for trial in swept.trials
        ]
    )
    for note in find_ties(swept):
        click.echo(f"note: {note}", err=True)
    best = swept.best
    click.echo(
        f"best: {best.name}, {best.metric} {best.value:.3f} [{best.low:.3f}, {best.high:.3f}] on "
        f"{best.n} other rows; it is in {best.folder}"
    )


def find_ties(swept: "Swept") -> Iterator[str]:
    """Yield what the choice of the best leaves open."""
    taken = swept.trials[0]
    if len(swept.equal) > 1:
        yield (
            f"{len(swept.equal)} students reach {taken.value:.3f} on the rows that pick "
            f"({', '.join(swept.equal)}); {taken.name} was taken, the first of them in the grid"
        )
    if swept.alike:
        yield (
            f"{taken.n} rows do not tell {taken.name} from {', '.join(swept.alike)}, which lie in "
            f"its interval [{taken.low:.3f}, {taken.high:.3f}]; more held-out rows would"
        )
