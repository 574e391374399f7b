"""What a corpus knows of the fields of the public summary of training content."""

from collections.abc import Iterable, Mapping
from datetime import date

from synthkd.reports.facts import Row
from synthkd.reports.owed import as_contribution
from synthkd.reports.summaries.answers import AboutModel, Answers
from synthkd.reports.summaries.fields import NO, YES, Sheet
from synthkd.reports.summaries.known import GENERATING, SELECTING, Known, find_grade
from synthkd.reports.writing import shorten
from synthkd.rights.terms import find_read

_BILLION, _TRILLION = 10**9, 10**12
_TEXT = "text"
_HERE = ("local/", "vllm/")  # models in this process: what they were asked at is a fingerprint
# Which field asks whether sources of a kind were used, which their modality, and which tells them.
_KINDS = (
    (("public_dataset",), "2.1.a", "2.1.b", "2.1.c"),
    (("licensed",), "2.2.1.a", "2.2.1.b", ""),
    (("client",), "2.2.2.a", "2.2.2.b", "2.2.2.d"),
    (("crawl",), "2.3.a", "2.3.g", "2.3.f"),
    (("own", "other"), "2.6.a", "", "2.6.b"),
)


def fill_eu(known: Known, answers: Answers, on: date) -> Sheet:
    """Return what is known of the fields in `eu_form`."""
    sheet = Sheet()
    _tell_document(sheet, answers, on)
    _tell_model(sheet, known)
    _tell_size(sheet, known)
    _tell_sources(sheet, known)
    _tell_users(sheet, known)
    _tell_synthetic(sheet, known, answers.models)
    _tell_reservations(sheet, known)
    return sheet


def _tell_document(sheet: Sheet, answers: Answers, on: date) -> None:
    if answers.version:
        sheet.put("0.a", answers.version, "attested")
    sheet.put("0.b", on.isoformat(), "recorded")
    if answers.previous:
        sheet.put("0.c", answers.previous, "attested")


def _tell_model(sheet: Sheet, known: Known) -> None:
    student = known.scope.student
    if student is None:
        sheet.note("1.2.a", "these are samples, and no student was named")
        return
    weights = student["weights_sha256"]
    sheet.put(
        "1.2.a",
        f"{student['name']}, {student['parameters']:,} parameters, trained on "
        f"{student['trained_on']} (student {student['student_id']}, weights SHA-256 {weights})",
        "recorded",
    )
    sheet.put(
        "1.2.a",
        (
            f"Bound to the snapshot {row['snapshot_id']} of {row['samples']:,} samples, "
            f"Merkle root {row['root']}"
            for row in known.scope.snapshots
        ),
        "recorded",
    )
    bases = [row for row in known.scope.made_from if row["role"] == "base"]
    if student["base"] == "from_scratch":
        sheet.put("1.2.b", "None: it started from random weights", "recorded")
        return
    sheet.put("1.2.b", f"Trained from {shorten(student['base'])}", "recorded")
    sheet.put(
        "1.2.b",
        (
            f"{shorten(row['name'])}: license {row['license']}, terms {row['terms']}"
            for row in bases
        ),
        find_grade(bases),
    )


def _tell_size(sheet: Sheet, known: Known) -> None:
    student, sizes = known.scope.student, known.sizes
    sheet.put("1.3.a", _TEXT, "recorded")
    if student:
        read = f"{student['tokens']:,} tokens read in training, all epochs counted"
        sheet.put("1.3.b", [_find_band(student["tokens"]), read], "measured")
    elif sizes["bytes"] < _BILLION:  # a token is a byte at least
        sheet.put("1.3.b", _find_band(sizes["bytes"]), "inferred")
    sheet.put(
        "1.3.b", f"{sizes['samples']:,} samples, {sizes['bytes']:,} bytes of text", "measured"
    )
    if sizes["tokens"]:
        some = f", and {sizes['uncounted']:,} samples uncounted" if sizes["uncounted"] else ""
        told = f"{sizes['tokens']:,} tokens as the teachers' servers counted them{some}"
        sheet.put("1.3.b", told, "recorded")
    if known.last_acquired:
        told = f"{known.last_acquired:%Y-%m-%d}: the last answer that a model gave"
        sheet.put("1.3.d", told, "recorded")
        sheet.note("1.3.d", "when the rows of the sources were acquired is not recorded")
    prompts = [row for row in known.scope.made_from if row["role"] == "prompt"]
    sheet.put(
        "1.3.f",
        (f"Rows stand in the prompt {shorten(row['name'])}" for row in prompts),
        "recorded",
    )


def _count(rows: Iterable[Row]) -> int:
    """Return how many sources `rows` are of: one whose rows have licenses of their own has more."""
    return len({row["name"] for row in rows})


def _find_band(tokens: int) -> str:
    if tokens < _BILLION:
        return "Less than 1 billion tokens"
    if tokens <= 10 * _TRILLION:
        return "1 billion to 10 trillion tokens"
    return "More than 10 trillion tokens"


def _tell_sources(sheet: Sheet, known: Known) -> None:
    unsaid = _count(known.sources.get("", []))
    for kinds, asked, modality, listed in _KINDS:
        rows = [row for kind in kinds for row in known.sources.get(kind, [])]
        if rows:
            sheet.put(asked, YES, find_grade(rows))
            if modality:
                sheet.put(modality, _TEXT, "recorded")
            if listed:
                sheet.put(listed, known.tell(rows), find_grade(rows))
        elif known.all_kinds_known:
            sheet.put(asked, NO, find_grade(known.rows))
        elif unsaid:
            sheet.note(asked, f"nobody said of {unsaid} sources what kind they are")


def _tell_users(sheet: Sheet, known: Known) -> None:
    """Users' data may be of this model or of other services: which, only a person can say."""
    rows = known.sources.get("user_data", [])
    if rows:
        sheet.put("2.4.c", known.tell(rows), find_grade(rows))
        sheet.put("2.4.d", _TEXT, "recorded")
        note = f"{_count(rows)} sources are users' data; from which service, not said"
        for field in ("2.4.a", "2.4.b"):
            sheet.note(field, note)
    elif known.all_kinds_known:
        for field in ("2.4.a", "2.4.b"):
            sheet.put(field, NO, find_grade(known.rows))


def _tell_synthetic(sheet: Sheet, known: Known, told: Mapping[str, AboutModel]) -> None:
    made = known.models(GENERATING)
    given = known.sources.get("synthetic", [])
    if made:
        sheet.put("2.5.a", YES, "recorded")
        sheet.put("2.5.b", _TEXT, "recorded")
    elif given:
        sheet.put("2.5.a", YES, find_grade(given))
        sheet.put("2.5.b", _TEXT, "recorded")
    elif known.scope.count == 0 and known.all_kinds_known:
        sheet.put("2.5.a", NO, "recorded")
    if given:
        sheet.put("2.5.d", known.tell(given), find_grade(given))
        sheet.note("2.5.d", "which models made the rows of these sources is not recorded")
    makers = [_tell_maker(sheet, known, row, _find_about(row, told)) for row in made]
    for field in ("2.5.c", "2.5.d") if made else ():
        if field not in makers and not given:
            sheet.put(field, "None, as far as was recorded", "recorded")
    judging = known.models(SELECTING)
    sheet.put(
        "2.5.e",
        (
            f"{row['role'].capitalize()}, chose among samples and wrote none: {describe(row)}"
            for row in judging
        ),
        "recorded",
    )


def _find_about(row: Row, told: Mapping[str, AboutModel]) -> AboutModel:
    return told.get(row["name"]) or told.get(shorten(row["name"])) or AboutModel()


def _tell_maker(sheet: Sheet, known: Known, row: Row, about: AboutModel) -> str:
    """Tell of a model that made samples; return the field, which is of those on the market or not.

    It is on the market if somebody read terms of it, unless a person says otherwise.
    """
    entries, _ = find_read(as_contribution(row), known.table)
    is_public = bool(entries)
    is_on_market = about.on_market == YES if about.on_market else is_public
    field = "2.5.c" if is_on_market else "2.5.d"
    sheet.put(field, f"{row['role'].capitalize()}: {describe(row)}", "recorded")
    name = shorten(row["name"])
    if not about.on_market:
        why = "terms for it are published" if is_public else "no published terms are known"
        sheet.put(field, f"{name} stands here because {why}", "inferred")
    if about.summary:
        sheet.put(field, f"The summary of {name}: {about.summary}", "attested")
    if about.description:
        sheet.put(field, f"What {name} was trained on: {about.description}", "attested")
    if is_on_market and not about.summary:
        sheet.note(field, f"where the summary of {name} is, nobody said")
    if not is_on_market and not about.description:
        sheet.note(field, f"what {name} was trained on, nobody said")
    return field


def describe(row: Row) -> str:
    """Return what tells a model from all others, as far as it was recorded."""
    told = [shorten(row["name"]), f"served by {row['host'] or 'nobody known'}"]
    if row["provider"]:
        told.append(f"passed on to {row['provider']}")
    if row["name"].startswith(_HERE):
        told += [f"fingerprint {each}" for each in row.get("endpoints") or []]
    told.append(f"terms {row['terms']}")
    if row["samples"]:
        told.append(f"{row['samples']:,} samples")
    if row.get("first"):
        told.append(f"asked from {row['first']:%Y-%m-%d} to {row['last']:%Y-%m-%d}")
    return ", ".join(told)


def _tell_reservations(sheet: Sheet, known: Known) -> None:
    rows = known.rows
    counts = {
        words: _count(row for row in rows if row["reserved"] == said)
        for said, words in {
            "yes": "sources whose rights are reserved",
            "no": "sources without a reservation",
            "": "sources of which nobody said",
        }.items()
    }
    if rows:
        told = ", ".join(f"{count} {words}" for words, count in counts.items())
        sheet.put("3.1.c", f"As declared: {told}", find_grade(rows))
