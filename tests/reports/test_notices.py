"""What travels with a student: whom it is owed to, and what is missing before it may travel."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from synthkd.corpus.rows import to_json
from synthkd.corpus.samples import select
from synthkd.errors import ConfigError
from synthkd.records import Contribution
from synthkd.reports.notices import Noticed, write_notice
from synthkd.reports.owed import Bound
from synthkd.reports.scope import Scope, of_kept, of_student
from synthkd.reports.texts import COMMON, find_text
from synthkd.rights.table import read_table
from synthkd.rights.verdicts import Obligation
from tests.reports.building import Building
from tests.reports.judging import (
    ACME,
    BASE,
    COMMERCE,
    HELP,
    JUDGE,
    LLAMA,
    MINE,
    OWN,
    TODAY,
    check,
    found,
    make,
    state,
)

ATTRIBUTION = {
    "title": "Help pages",
    "author": "A. Writer",
    "uri": "https://example.org/help_pages",
    "license_uri": "https://creativecommons.org/licenses/by-sa/4.0/",
    "changes": "shortened",
}
HOSTILE = "x](http://evil) <script>alert(1)</script>\n# heading\n| a | \x1b[31m\u202e --- `"


def notice(scope: Scope, folder: Path, *places: Path) -> Noticed:
    return write_notice(scope, folder, table=read_table(), on=TODAY, places=places)


def kept(building: Building) -> Scope:
    select(building.corpus, None)
    return of_kept(building.corpus)


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


def test_a_source_is_credited_as_its_license_asks(building: Building, tmp_path: Path) -> None:
    make(building, HELP, MINE, count=3)
    state(building, "help", attribution=ATTRIBUTION)

    noticed = notice(kept(building), tmp_path)

    told = read(tmp_path, "ATTRIBUTION.md")
    assert (
        "- Help pages, by A. Writer, <https://example.org/help_pages>. License: CC-BY-SA-4.0, "
        "<https://creativecommons.org/licenses/by-sa/4.0/>. Changes: shortened. In 3 samples."
    ) in told
    assert noticed.missing_credits == {}
    (source,) = [
        each
        for each in json.loads(read(tmp_path, "ATTRIBUTION.json"))["sources"]
        if each["role"] == "seed"
    ]
    assert (source["author"], source["samples"]) == ("A. Writer", 3)


def test_a_credit_that_nobody_stated_is_missing_and_not_made_up(
    building: Building, tmp_path: Path
) -> None:
    make(building, HELP, MINE, count=1)
    make(building, OWN, MINE, count=1)

    noticed = notice(kept(building), tmp_path)

    assert noticed.missing_credits == {"help": ("title", "author", "uri")}
    assert "Not stated: title, author, uri." in read(tmp_path, "ATTRIBUTION.md")


def test_a_student_credits_only_what_it_learned(building: Building, tmp_path: Path) -> None:
    learned = make(building, HELP, MINE, count=2)
    make(building, OWN, LLAMA, count=5)
    building.train("small", learned)

    notice(of_student(building.corpus, "small"), tmp_path)

    told = read(tmp_path, "ATTRIBUTION.md")
    assert "help" in told
    assert "- own" not in told
    assert "Llama" not in told + read(tmp_path, "NOTICE")


def test_rows_with_credits_of_their_own_are_all_listed(building: Building, tmp_path: Path) -> None:
    make(building, HELP, MINE, count=4)
    columns = {"author": "meta.by", "title": "text"}
    state(building, "help", attribution=ATTRIBUTION, attribution_columns=columns)
    building.corpus.db.execute(
        "UPDATE store.seeds SET fields = ? WHERE seed_id = 'help-0001'",
        [to_json({"text": "Row one", "meta": {"by": "Bea"}})],
    )

    noticed = notice(kept(building), tmp_path)

    assert "ATTRIBUTION.rows.jsonl" in noticed.files
    lines = [json.loads(line) for line in read(tmp_path, "ATTRIBUTION.rows.jsonl").splitlines()]
    assert [(line["title"], line["author"], line["samples"]) for line in lines] == [
        ("Row one", "Bea", 1),
        ("a question about help", "A. Writer", 3),
    ]
    assert "credits of their own, 2 in all" in read(tmp_path, "ATTRIBUTION.md")


def test_the_source_of_a_client_is_counted_and_not_named(
    building: Building, tmp_path: Path
) -> None:
    make(building, ACME, MINE, count=2)

    noticed = notice(kept(building), tmp_path)

    assert "1 more came under contracts with clients" in read(tmp_path, "ATTRIBUTION.md")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "corpus" not in path.name]
    assert len(written) >= len(noticed.files)
    assert not [path for path in written if "acme" in path.read_text().lower()]


def test_terms_put_their_texts_and_displays_into_the_notice(
    building: Building, tmp_path: Path
) -> None:
    ids = make(building, HELP, LLAMA, JUDGE, count=3)
    found(building, building.train("small", ids, base=BASE.name), BASE)

    notice(of_student(building.corpus, "small"), tmp_path)

    told = read(tmp_path, "NOTICE")
    assert "Llama 3.1 is licensed under the Llama 3.1 Community License" in told
    assert "- Built with Llama  (when anybody else gets" in told
    assert "- NAME_PREFIX Llama: the student's name has to begin with it" in told
    assert "No policy has judged these samples" in told
    assert "compliant" not in told.lower()


def test_a_notice_tells_which_duties_the_last_check_asks_for(
    building: Building, tmp_path: Path
) -> None:
    make(building, OWN, LLAMA, count=3)
    check(building, COMMERCE)

    notice(kept(building), tmp_path)

    told = read(tmp_path, "NOTICE")
    assert re.search(r"NAME_PREFIX Llama.*; asked for by the last check", told)
    assert re.search(r"PASS_LICENCE.*; not asked for by it", told)
    assert "No policy" not in told


def test_a_source_without_a_license_is_told_as_not_known(
    building: Building, tmp_path: Path
) -> None:
    make(building, replace(OWN, license="NOASSERTION"), MINE, count=1)

    notice(kept(building), tmp_path)

    assert "- own: nobody knows under which license it is" in read(tmp_path, "NOTICE")


def test_a_duty_that_two_licenses_ask_for_is_told_of_both() -> None:
    asked = [Obligation("ATTRIBUTION", "", each) for each in ("CC-BY-4.0", "CC-BY-SA-4.0")]

    (owed,) = Bound((), (), (), TODAY).owed(asked)

    assert set(owed.sources) == {"CC-BY-4.0", "CC-BY-SA-4.0"}
    assert owed.is_asked


def test_a_text_comes_from_beside_the_pipeline(building: Building, tmp_path: Path) -> None:
    make(building, HELP, MINE, count=1)
    place, out = tmp_path / "project", tmp_path / "out"
    (place / "LICENSES").mkdir(parents=True)
    (place / "LICENSES" / "CC-BY-SA-4.0.txt").write_text("the whole text\n")

    noticed = notice(kept(building), out, place)

    assert read(out, "LICENSES/CC-BY-SA-4.0.txt") == "the whole text\n"
    assert "CC-BY-SA-4.0" not in noticed.missing_texts


def test_a_text_that_is_nowhere_gets_a_stub_until_it_is_somewhere(
    building: Building, tmp_path: Path
) -> None:
    make(building, HELP, MINE, count=1)
    out, stub = tmp_path / "out", tmp_path / "out" / "LICENSES" / "CC-BY-SA-4.0.MISSING.txt"

    noticed = notice(kept(building), out)

    assert noticed.missing_texts["CC-BY-SA-4.0"] == "https://spdx.org/licenses/CC-BY-SA-4.0.html"
    assert "is NOT in this folder" in stub.read_text()
    assert "https://spdx.org/licenses/CC-BY-SA-4.0.html" in stub.read_text()

    (out / "LICENSES" / "CC-BY-SA-4.0.txt").write_text("put there by hand\n")
    again = notice(kept(building), out)

    assert "CC-BY-SA-4.0" not in again.missing_texts
    assert not stub.exists()
    assert read(out, "LICENSES/CC-BY-SA-4.0.txt") == "put there by hand\n"


def test_the_text_of_weights_on_this_machine_is_the_one_beside_them(
    building: Building, tmp_path: Path
) -> None:
    folder = tmp_path / "llama"
    folder.mkdir()
    (folder / "LICENSE").write_text("as it came with the weights\n")
    base = Contribution(
        "base", "content", str(folder), BASE.license, "llama-3.1", "localhost", grade="inferred"
    )
    student = building.train("small", make(building, OWN, MINE, count=1), base=str(folder))
    found(building, student, base)

    notice(of_student(building.corpus, "small"), tmp_path / "out")

    assert read(tmp_path / "out", f"LICENSES/{BASE.license}.txt") == "as it came with the weights\n"


@pytest.mark.skipif(not (COMMON / "Apache-2.0").is_file(), reason="no Debian licenses here")
def test_a_system_keeps_texts_of_common_licenses() -> None:
    text = find_text("Apache-2.0", [])

    assert text is not None
    assert "Apache License" in text.text


@pytest.mark.parametrize("license_id", ["../../etc/passwd", "/etc/passwd", "..", "a/b", ""])
def test_no_license_id_leads_out_of_the_folder(license_id: str, tmp_path: Path) -> None:
    (tmp_path / "LICENSES").mkdir()

    assert find_text(license_id, [tmp_path]) is None


def test_a_notice_of_somebody_else_is_not_replaced(building: Building, tmp_path: Path) -> None:
    (tmp_path / "NOTICE").write_text("Copyright Somebody\n")

    with pytest.raises(ConfigError, match="may be one that has to be kept"):
        notice(kept(building), tmp_path)

    assert not (tmp_path / "ATTRIBUTION.md").exists()


def test_an_empty_corpus_has_a_notice_that_says_so(building: Building, tmp_path: Path) -> None:
    noticed = notice(kept(building), tmp_path)

    assert noticed.credits == 0
    assert "0 samples" in read(tmp_path, "ATTRIBUTION.md")
    assert read(tmp_path, "ATTRIBUTION.md").count("None was recorded.") == 3


def test_hostile_titles_stay_text(building: Building, tmp_path: Path) -> None:
    seed = Contribution("seed", "content", HOSTILE, "CC-BY-4.0", "CC-BY-4.0", HOSTILE)
    make(building, seed, MINE, count=1)
    hostile = dict.fromkeys(ATTRIBUTION, HOSTILE)
    state(building, HOSTILE, attribution=hostile)

    notice(kept(building), tmp_path)

    for name in ("ATTRIBUTION.md", "NOTICE"):
        told = read(tmp_path, name)
        assert "<script>" not in told
        assert "](http" not in told.replace("\\]", "")
        assert "\n# heading" not in told
        assert not {"\x1b", "\u202e"} & set(told)
    assert json.loads(read(tmp_path, "ATTRIBUTION.json"))["sources"]


def test_no_such_student_names_those_there_are(building: Building) -> None:
    building.train("small")

    with pytest.raises(ConfigError, match=r"knows no student 'big'; it knows small"):
        of_student(building.corpus, "big")


def test_a_hundred_thousand_samples_are_counted_by_their_profiles(
    building: Building, tmp_path: Path
) -> None:
    made = make(building, HELP, LLAMA, count=1)
    building.corpus.db.execute(
        "INSERT INTO store.samples BY NAME SELECT s.* REPLACE ('s' || more.n AS sample_id) "
        "FROM store.samples s, range(99_999) AS more (n) WHERE s.sample_id = ?",
        made,
    )

    scope = kept(building)

    assert [row["samples"] for row in scope.made_from] == [100_000] * 3
    assert len(scope.profiles) == 1
    notice(scope, tmp_path)
    assert "In 100,000 samples." in read(tmp_path, "ATTRIBUTION.md")
