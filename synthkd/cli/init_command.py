"""`synthkd init`."""

from pathlib import Path

import click

from synthkd.errors import ConfigError


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Write a pipeline to start from: commented, with a prompt and ten seeds.

    It runs at once, with the small teacher that ships with synthkd. Files that are
    there already are not touched.

    \b
    Example:
      synthkd init my-task && synthkd run my-task/pipeline.yaml
    """
    starter = Path(__file__).parent / "starter"
    files = sorted(path for path in starter.iterdir() if path.is_file())
    there = [path.name for path in files if (folder / path.name).exists()]
    if there:
        raise ConfigError(
            f"{folder} has {', '.join(there)} already; nothing was written. Name another folder."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            (folder / path.name).write_bytes(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {', '.join(path.name for path in files)} to {folder}.")
    click.echo(f"Run it with: synthkd run {folder / 'pipeline.yaml'}")
