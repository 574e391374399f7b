"""`synthkd rights test`."""

from pathlib import Path

import click

from synthkd.cli.options import json_option

FAILED = 1


@click.command("test")
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="Test this policy, shipped or a file; default: the shipped ones. Can be repeated.",
)
@click.option("--terms", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="A file of terms that you read. Can be repeated.")  # fmt: skip
@json_option
def command(
    files: tuple[Path, ...], policies: tuple[str, ...], terms: tuple[Path, ...], *, as_json: bool
) -> int:
    """Run the tests that policies hold, or cases of a file.

    A FILE is a policy with tests of its own, or a file of cases. Cases are judged by --policy,
    or else by the policy for the use of each. Ends with 1 where one is otherwise than expected.

    \b
    Examples:
      synthkd rights test
      synthkd rights test --policy my-policy.yaml
      synthkd rights test cases.yaml
    """
    from synthkd.cli.terminal import print_json, printable
    from synthkd.pipeline.testing import run_files

    ran = run_files(files, policies, terms)
    mistakes = [(name, result) for name, results in ran.items() for result in results
                if not result.is_right]  # fmt: skip
    if as_json:
        print_json(
            {
                name: [
                    {
                        "id": result.id,
                        "is_right": result.is_right,
                        "mistakes": result.mistakes,
                        "skipped": result.skipped,
                    }
                    for result in results
                ]
                for name, results in ran.items()
            }
        )
        return FAILED if mistakes else 0
    for name, results in ran.items():
        right = sum(result.is_right and not result.skipped for result in results)
        skipped = sum(bool(result.skipped) for result in results)
        told = f", {skipped} skipped" if skipped else ""
        click.echo(f"{name}: {right} of {len(results) - skipped} as expected{told}")
    for name, result in mistakes:
        for mistake in result.mistakes:
            click.echo(printable(f"  {name}: {result.id}: {mistake}"), err=True)
    return FAILED if mistakes else 0
