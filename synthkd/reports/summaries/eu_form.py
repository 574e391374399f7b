"""The fields of the public summary of training content: Article 53(1)(d) of the AI Act.

Numbers and titles of sections are those of the template (C(2025) 8311 final); what each field
asks is said in our words. Ids count the fields of a section: 2.5.c.
"""

from synthkd.reports.summaries.fields import Question, Section

TITLE = "Public summary of training content"
BASIS = (
    "Made along the template for Article 53(1)(d) of Regulation (EU) 2024/1689 (AI Act), from the "
    "records of a corpus and what a person answered. Whether a summary has to be published, and "
    "whether this one is enough, a person decides."
)

_COMMENTS = "Additional comments"
_MODALITY = "Modality of the content"

SECTIONS: tuple[Section, ...] = (
    Section(
        "0",
        "About this document",
        (
            Question("0.a", "Version of the summary"),
            Question("0.b", "Last update"),
            Question("0.c", "Where the version before is", is_optional=True),
        ),
    ),
    Section("1", "General information"),
    Section(
        "1.1",
        "Provider identification",
        (
            Question("1.1.a", "Provider: name and contact"),
            Question("1.1.b", "Authorised representative: name and contact"),
        ),
    ),
    Section(
        "1.2",
        "Model identification",
        (
            Question("1.2.a", "Names of the model, with versions"),
            Question("1.2.b", "Models that it depends on"),
            Question("1.2.c", "Date on which it was placed on the Union market"),
        ),
    ),
    Section(
        "1.3",
        "Modalities, overall training data size and other characteristics",
        (
            Question("1.3.a", "Modality"),
            Question("1.3.b", "Size of the training data"),
            Question("1.3.c", "Types of content"),
            Question("1.3.d", "Latest date on which data was acquired, and whether that goes on"),
            Question("1.3.e", "Languages"),
            Question("1.3.f", "Other characteristics of the data as a whole", is_optional=True),
            Question("1.3.g", _COMMENTS, is_optional=True),
        ),
    ),
    Section("2", "List of data sources"),
    Section(
        "2.1",
        "Publicly available datasets",
        (
            Question("2.1.a", "Were publicly available datasets used?", is_yes_no=True),
            Question("2.1.b", _MODALITY, unless=("2.1.a",)),
            Question("2.1.c", "Datasets, the large ones first", unless=("2.1.a",)),
            Question("2.1.d", "Others, described in general", is_optional=True, unless=("2.1.a",)),
            Question("2.1.e", _COMMENTS, is_optional=True),
        ),
    ),
    Section("2.2", "Private non-publicly available datasets obtained from third parties"),
    Section(
        "2.2.1",
        "Datasets commercially licensed by rightsholders or their representatives",
        (
            Question(
                "2.2.1.a", "Were commercial license agreements concluded for data?", is_yes_no=True
            ),
            Question("2.2.1.b", _MODALITY, unless=("2.2.1.a",)),
        ),
    ),
    Section(
        "2.2.2",
        "Private datasets obtained from other third parties",
        (
            Question(
                "2.2.2.a", "Were other private datasets obtained from others?", is_yes_no=True
            ),
            Question("2.2.2.b", _MODALITY, unless=("2.2.2.a",)),
            Question(
                "2.2.2.c",
                "Those that are publicly known",
                is_optional=True,
                unless=("2.2.2.a",),
            ),
            Question("2.2.2.d", "Those that are not, described in general", unless=("2.2.2.a",)),
            Question("2.2.2.e", _COMMENTS, is_optional=True),
        ),
    ),
    Section(
        "2.3",
        "Data crawled and scraped from online sources",
        (
            Question("2.3.a", "Were crawlers used, by the provider or for it?", is_yes_no=True),
            Question("2.3.b", "Names of the crawlers", unless=("2.3.a",)),
            Question("2.3.c", "What they were for", unless=("2.3.a",)),
            Question(
                "2.3.d", "How they behave, e.g. towards robots.txt and logins", unless=("2.3.a",)
            ),
            Question("2.3.e", "Period of collection", unless=("2.3.a",)),
            Question("2.3.f", "What was crawled, and where", unless=("2.3.a",)),
            Question("2.3.g", _MODALITY, unless=("2.3.a",)),
            Question(
                "2.3.h",
                "Domains that most came from: the top 10 %; for small providers 5 %, or 1,000",
                unless=("2.3.a",),
            ),
            Question("2.3.i", _COMMENTS, is_optional=True),
        ),
    ),
    Section(
        "2.4",
        "User data",
        (
            Question(
                "2.4.a", "Was data from users' interactions with the model used?", is_yes_no=True
            ),
            Question(
                "2.4.b",
                "Was data from users of the provider's other services used?",
                is_yes_no=True,
            ),
            Question("2.4.c", "Services that it came from", unless=("2.4.a", "2.4.b")),
            Question("2.4.d", _MODALITY, unless=("2.4.a", "2.4.b")),
            Question("2.4.e", _COMMENTS, is_optional=True),
        ),
    ),
    Section(
        "2.5",
        "Synthetic data",
        (
            Question(
                "2.5.a", "Was data made by AI, by the provider or for it, used?", is_yes_no=True
            ),
            Question("2.5.b", _MODALITY, unless=("2.5.a",)),
            Question(
                "2.5.c",
                "General-purpose AI models on the market that made it, each with its own summary",
                unless=("2.5.a",),
            ),
            Question(
                "2.5.d",
                "Other models that made it, with what they were trained on",
                unless=("2.5.a",),
            ),
            Question("2.5.e", _COMMENTS, is_optional=True),
        ),
    ),
    Section(
        "2.6",
        "Other sources of data",
        (
            Question("2.6.a", "Were other sources used than those of 2.1 to 2.5?", is_yes_no=True),
            Question("2.6.b", "These sources, and their data", unless=("2.6.a",)),
            Question("2.6.c", _COMMENTS, is_optional=True),
        ),
    ),
    Section("3", "Data processing aspects"),
    Section(
        "3.1",
        "Respect of reservation of rights from text and data mining exception or limitation",
        (
            Question("3.1.a", "Has the provider signed the code of practice?", is_yes_no=True),
            Question("3.1.b", "Measures to find and respect reservations of rights"),
            Question("3.1.c", _COMMENTS, is_optional=True),
        ),
    ),
    Section(
        "3.2",
        "Removal of illegal content",
        (Question("3.2.a", "Measures to keep illegal content out"),),
    ),
    Section(
        "3.3",
        "Other information (optional)",
        (Question("3.3.a", "Other information on how data was processed", is_optional=True),),
    ),
)
