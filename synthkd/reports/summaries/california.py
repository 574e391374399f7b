"""What California's AB 2013 asks for: twelve points, in our words."""

from synthkd.reports.summaries.eu import describe
from synthkd.reports.summaries.fields import NO, YES, Question, Section, Sheet
from synthkd.reports.summaries.known import GENERATING, Known, find_grade

TITLE = "Documentation of training data"
BASIS = (
    "Made along the twelve points of California's AB 2013 (generative artificial intelligence: "
    "training data transparency), from the records of a corpus and what a person answered. "
    "Whether it has to be published, and whether it is enough, a person decides."
)
SECTIONS = (
    Section(
        "1",
        "The data",
        (
            Question("1", "Sources or owners of the datasets"),
            Question("2", "How the datasets serve what the system is for"),
            Question("3", "How many data points there are"),
            Question("4", "Types of data points"),
            Question("5", "Protected by copyright, trademark or patent, or in the public domain"),
            Question("6", "Were datasets purchased or licensed?", is_yes_no=True),
            Question("7", "Is there personal information in them?", is_yes_no=True),
            Question("8", "Is there aggregate consumer information in them?", is_yes_no=True),
            Question("9", "Cleaning, processing or other changes, and what for"),
            Question("10", "Period of collection, and whether it goes on"),
            Question("11", "When the datasets were first used"),
            Question("12", "Was synthetic data generated and used?", is_yes_no=True),
        ),
    ),
)


def fill_california(known: Known) -> Sheet:
    """Return what is known of the twelve points."""
    sheet, sizes, student = Sheet(), known.sizes, known.scope.student
    rows = known.rows
    if rows:
        sheet.put("1", known.tell(rows), find_grade(rows))
        licenses = sorted({row["license"] for row in rows if not row["client"]})
        sheet.put(
            "5", f"Licenses of the sources: {', '.join(licenses) or 'none'}", find_grade(rows)
        )
        sheet.note("5", "a license tells what is allowed, and not what is protected")
    sheet.put("3", f"{sizes['samples']:,} samples, {sizes['bytes']:,} bytes of text", "measured")
    sheet.put("4", "Text: prompts and completions", "recorded")
    if known.sources.get("licensed"):
        sheet.put("6", YES, find_grade(known.sources["licensed"]))
    elif known.all_kinds_known:
        sheet.put("6", NO, find_grade(rows))
    held = [row for row in rows if row["personal_data"] not in {"", "none"}]
    if held:
        sheet.put("7", YES, find_grade(held))
    elif rows and all(row["personal_data"] == "none" for row in rows):
        sheet.put("7", NO, find_grade(rows))
    if sizes["first"]:
        told = f"{sizes['first']:%Y-%m-%d} to {sizes['last']:%Y-%m-%d}: when samples were made"
        sheet.put("10", told, "recorded")
        sheet.note("10", "when the rows of the sources were collected is not recorded")
    if student:
        sheet.put("11", f"{student['trained_on']}: this student was trained", "recorded")
    if made := known.models(GENERATING):
        sheet.put("12", YES, "recorded")
        sheet.put(
            "12", (f"{row['role'].capitalize()}: {describe(row)}" for row in made), "recorded"
        )
    return sheet
