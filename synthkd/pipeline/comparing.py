"""Comparing: which samples were judged otherwise, by other terms or rules or on another day."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from synthkd.corpus.checks import MADE, Check, read_profiles
from synthkd.corpus.store import Corpus
from synthkd.documents import parse, read_text
from synthkd.errors import ConfigError
from synthkd.pipeline.questions import Subject
from synthkd.rights.policy import SHIPPED, read_policy
from synthkd.rights.table import read_file


class Said(NamedTuple):
    """What was said of a profile: a verdict and the codes of its reasons."""

    verdict: str
    reasons: tuple[str, ...]


Key = tuple[str, str | None]


class Change(NamedTuple):
    """Samples whose verdict changed: how many, why, and some of them."""

    before: str
    after: str
    gone: tuple[str, ...]
    come: tuple[str, ...]
    samples: int
    examples: tuple[str, ...]


def read_side(subject: Subject, name: str) -> dict[Key, Said]:
    """Return what was said of samples by the check `name`, or what is said now by what it names.

    That is a day, a file of terms, or a policy; the rest is as `subject` has it.

    Raises:
        ConfigError: It is none of these.
    """
    if subject.corpus and (said := read_check(subject.corpus, name)) is not None:
        return said
    day, rules = None, subject.rules
    with suppress(ValueError):
        day = date.fromisoformat(name)
    if day is None and name in SHIPPED:
        rules = replace(rules, policy=read_policy(name))
    elif day is None and Path(name).is_file():
        tree = parse(read_text(Path(name), "a policy, or terms"), name)
        if isinstance(tree, Mapping) and {"weights", "channels"}.intersection(tree):
            rules = replace(rules, table=rules.table.add(read_file(Path(name))))
        else:
            rules = replace(rules, policy=read_policy(Path(name)))
    elif day is None:
        raise ConfigError(
            f"{name!r} is no check of {subject.corpus.path if subject.corpus else 'a corpus'} "
            "(`synthkd rights list` names them), no policy or file of one, no file of terms, and "
            f"no day such as 2027-01-31. Known policies: {', '.join(SHIPPED)}"
        )
    (check,) = replace(subject, rules=rules).judge(day).values()
    return tell_check(check)


def read_check(corpus: Corpus, check_id: str) -> dict[Key, Said] | None:
    """Return what the check, or the group of checks, `check_id` said; None if there is none."""
    rows = corpus.db.execute(
        "SELECT profile_id, scorer_id, max_by(verdict, severity), "
        "list_sort(list_distinct(flatten(list(reasons)))) "
        "FROM store.checks JOIN store.check_verdicts USING (check_id) "
        "WHERE ? IN (check_id, group_id) GROUP BY ALL",
        [check_id],
    ).fetchall()
    said = {(profile, scorer): Said(word, tuple(codes)) for profile, scorer, word, codes in rows}
    return said or None


def tell_check(check: Check) -> dict[Key, Said]:
    """Return what `check` says, as `read_check` does."""
    return {
        (profile.profile_id, profile.scorer_id): Said(str(judgement.verdict), judgement.codes)
        for profile, judgement in check.judged
    }


def compare(
    corpus: Corpus, before: Mapping[Key, Said], after: Mapping[Key, Said], *, examples: int = 3
) -> list[Change]:
    """Return which samples of `corpus` have another verdict, or other reasons, the most first.

    What only one side judged counts as `unjudged` on the other.
    """
    nothing = Said("unjudged", ())
    samples: Counter[tuple[Said, Said]] = Counter()
    keys: defaultdict[tuple[Said, Said], list[Key]] = defaultdict(list)
    for profile in read_profiles(corpus, only_selected=False):
        key = (profile.profile_id, profile.scorer_id)
        pair = (before.get(key, nothing), after.get(key, nothing))
        if pair[0] != pair[1]:
            samples[pair] += profile.samples
            keys[pair].append(key)
    return [
        Change(
            old.verdict,
            new.verdict,
            tuple(sorted({*old.reasons} - {*new.reasons})),
            tuple(sorted({*new.reasons} - {*old.reasons})),
            count,
            _name_some(corpus, keys[old, new], examples),
        )
        for (old, new), count in samples.most_common()
    ]


def _name_some(corpus: Corpus, keys: Sequence[Key], count: int) -> tuple[str, ...]:
    rows = corpus.db.execute(
        f"SELECT s.sample_id {MADE} WHERE s.profile_id IN (SELECT unnest(?::VARCHAR[])) "
        "AND (s.profile_id || coalesce(c.profile_id, '')) IN (SELECT unnest(?::VARCHAR[])) "
        "ORDER BY s.sample_id LIMIT ?",
        [[profile for profile, _ in keys], [p + (scorer or "") for p, scorer in keys], count],
    ).fetchall()
    return tuple(sample_id for (sample_id,) in rows)
