"""Testing policies: the cases that they hold, and cases of one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from synthkd.documents import parse, read_text
from synthkd.errors import ConfigError
from synthkd.rights.cases import CaseResult, run_cases, run_tests
from synthkd.rights.policy import SHIPPED, read_policy
from synthkd.rights.table import read_table


def run_files(
    files: Sequence[Path], policies: Sequence[str], terms: Sequence[Path]
) -> dict[str, list[CaseResult]]:
    """Return what comes of the cases in `files`, or else of the tests of `policies`, by name.

    A file with `cases` is judged by the first of `policies`, if one is named; any other is a
    policy. With nothing named, the shipped policies are tested.

    Raises:
        ConfigError: A file cannot be read, or has no tests.
    """
    table = read_table(terms)
    ran = {}
    for file in files:
        tree = parse(read_text(file, "cases"), str(file))
        if isinstance(tree, Mapping) and "cases" in tree:
            policy = read_policy(policies[0]) if policies else None
            ran[str(file)] = run_cases(file, policy=policy, table=table)
        else:
            ran[str(file)] = run_tests(read_policy(file), table)
    for name in () if files else policies or SHIPPED:
        ran[name] = run_tests(read_policy(name), table)
    if empty := [name for name, results in ran.items() if not results]:
        raise ConfigError(
            f"{', '.join(empty)}: there are no tests, so nothing was tested; write some under "
            "`tests:` of a policy, or `cases:` of a file"
        )
    return ran
