"""What it takes to judge a million samples, beside judging them one by one.

    python -m tests.benchmarks.judging [--samples 1000000] [--profiles 500] [--loop 5000]

A corpus is made by SQL: samples of forty sources under six licenses and kinds of data, from six
teachers at their hosts, some with a judge, some with few-shot rows: as many sets of
contributions as --profiles says, every sample with one of them. Each way is a process of its
own, of which wall-clock and peak memory (RSS) are those of the whole process:

    opened              a corpus opened and closed: what every way takes besides its work
    ours                profiles read and judged once for the use, the check written down
    ours, selected      the same on a selection of half the samples, none of them dropped
    one by one          every sample's contributions read, in order of samples, and judged
    ... remembering     the same, by one judge who remembers each contribution, as ours does

One by one is run on the first --loop samples; its time for all of them is scaled from those, less
the time to open, and said to be.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from synthkd.corpus.check_rows import write_checks
from synthkd.corpus.checks import judge_profiles, read_profiles
from synthkd.corpus.samples import add_profile
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.records import Contribution
from synthkd.rights.judge import Judge
from synthkd.rights.policy import choose_policy
from synthkd.rights.terms import read_table, resolve_terms
from synthkd.rights.use import Use
from tests.benchmarks.running import run, show

USE = Use(
    purpose="commercial", distribution="hosted", territory="EU", name="acme", base="Qwen/Qwen3-1.7B"
)
LICENSES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT", "ODC-By-1.0", "CC-BY-NC-4.0")
TEACHERS = (
    ("openai/gpt-4o", "api.openai.com"),
    ("openai/meta-llama/Llama-3.1-70B-Instruct", "api.together.xyz"),
    ("local/Qwen/Qwen3-32B", "localhost"),
    ("openai/deepseek-reasoner", "api.deepseek.com"),
    ("local/google/gemma-3-27b-it", "localhost"),
    ("anthropic/claude-sonnet-4", "api.anthropic.com"),
)
PAGE = 20_000  # samples that the loop reads at a time


def make_profile(number: int) -> list[Contribution]:
    """Return a set of contributions that no other number has."""
    place = number % 40
    license_ = LICENSES[place % len(LICENSES)]
    source = Contribution("seed", "content", f"source-{place}", license_, license_)
    made_from = [source, Contribution("prompt", "transform", "support.md", "CC0-1.0", "CC0-1.0")]
    made_from.append(describe(number // 40, "teacher"))
    if number // 240 % 2:
        made_from.append(describe(number // 40 + 1, "judge"))
    if number >= 480:
        shown = Contribution("few_shot", "transform", f"gold-{number}", "CC0-1.0", "CC0-1.0")
        made_from.append(shown)
    return made_from


def describe(number: int, role: str) -> Contribution:
    name, host = TEACHERS[number % len(TEACHERS)]
    terms = resolve_terms(name.partition("/")[2], host)
    reach = "selection" if role == "judge" else "content"
    return Contribution(role, reach, name, terms.license, terms.name, host, grade="recorded")


def fill(corpus: Corpus, samples: int, profiles: int) -> None:
    """Write `samples` samples, the n-th with profile n modulo `profiles`."""
    corpus.db.execute("CREATE TEMP TABLE made (number INTEGER, profile_id TEXT)")
    made = ({"number": n, "profile_id": add_profile(corpus, make_profile(n))}
            for n in range(profiles))  # fmt: skip
    corpus.insert("made", made)
    corpus.db.execute(
        """
        INSERT INTO store.samples BY NAME
        SELECT substr(sha256(CAST(i AS VARCHAR)), 1, 16) AS sample_id,
            'source-' || (i % ?) % 40 AS source_id, CAST(i AS VARCHAR) AS seed_id,
            'v' AS seed_version, sha256('r' || i) AS request_key, 'p' AS prompt_version,
            'teacher' AS teacher, 'an answer' AS answer, true AS is_split, 'run' AS run_id,
            now() AS created_at, m.profile_id
        FROM range(?) t(i) JOIN made m ON m.number = i % ?
        """,
        [profiles, samples, profiles],
    )


def judge_all(corpus: Corpus, *, only_selected: bool = False) -> int:
    """Judge every sample as synthkd does; return how many there were."""
    if only_selected:
        corpus.db.execute(
            "CREATE TEMP TABLE selection AS "
            "SELECT sample_id FROM store.samples WHERE hash(sample_id) % 2 = 0"
        )
    profiles = read_profiles(corpus, only_selected=only_selected, only_kept=only_selected)
    check = judge_profiles(profiles, USE, choose_policy(USE), read_table())
    write_checks(corpus, "benchmark", [check])
    return check.samples


def judge_one_by_one(corpus: Corpus, count: int, *, remembering: bool) -> int:
    """Judge the first `count` samples, each by itself; return how many there were."""
    policy, table = choose_policy(USE), read_table()
    known = Judge(USE, policy, table)

    def judge_parts(parts: list[Contribution]) -> None:
        (known if remembering else Judge(USE, policy, table)).judge(parts)

    names = ", ".join(Contribution.__dataclass_fields__)
    rows = corpus.db.execute(
        f"SELECT sample_id, {names} FROM contributions SEMI JOIN (SELECT sample_id FROM "
        "store.samples ORDER BY sample_id LIMIT ?) USING (sample_id) ORDER BY sample_id",
        [count],
    )
    judged, last, made_from = 0, None, []
    while page := rows.fetchmany(PAGE):
        for sample_id, *values in page:
            if sample_id != last and made_from:
                judge_parts(made_from)
                judged, made_from = judged + 1, []
            last = sample_id
            made_from.append(Contribution(*values))
    judge_parts(made_from)
    return judged + 1


def work(way: str, path: Path, count: int) -> None:
    with open_corpus(path, create=False) as corpus:
        if way == "ours":
            assert judge_all(corpus) == count
        elif way == "selected":
            assert 0 < judge_all(corpus, only_selected=True) < count
        elif way in {"loop", "known"}:
            assert judge_one_by_one(corpus, count, remembering=way == "known") == count


def compare(folder: Path, samples: int, profiles: int, loop: int) -> None:
    rows = []
    for size in (samples // 10, samples):
        path = folder / f"{size}.duckdb"
        with open_corpus(path) as corpus:
            fill(corpus, size, profiles)
            count = len(read_profiles(corpus, only_selected=False))
        opened = None
        for way, name, number in (
            ("opened", "opened", size),
            ("ours", "ours", size),
            ("selected", "ours, selected", size),
            ("loop", "one by one", loop),
            ("known", "... remembering", loop),
        ):
            command = [sys.executable, "-m", "tests.benchmarks.judging", "--way", way]
            done = run([*command, "--corpus", str(path), "--samples", str(number)])
            assert done.status == 0
            opened = opened or done
            scale = size / number
            rows.append(
                {
                    "corpus": f"{size:,}",
                    "profiles": count,
                    "way": name,
                    "judged": f"{number:,}" if way != "selected" else f"~{number // 2:,}",
                    "wall s": done.seconds,
                    "CPU s": done.cpu,
                    "peak MB": round(done.megabytes),
                    "wall s, all": f"{(done.seconds - opened.seconds) * scale + opened.seconds:.0f}"
                    f" (scaled x{scale:.0f})" if way in {"loop", "known"} else "",
                }
            )  # fmt: skip
    show(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--profiles", type=int, default=500)
    parser.add_argument("--loop", type=int, default=5000)
    parser.add_argument("--way")
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    if options.way:
        work(options.way, options.corpus, options.samples)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options.samples, options.profiles, options.loop)


if __name__ == "__main__":
    main()
