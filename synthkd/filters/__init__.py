"""Rules that judge samples and delete none: what each thinks is kept beside the sample."""

from synthkd.filters.answer_match import AnswerMatchFilter
from synthkd.filters.base import Filter
from synthkd.filters.confidence import ConfidenceFilter
from synthkd.filters.consensus import ConsensusFilter
from synthkd.filters.exact_duplicate import ExactDuplicateFilter
from synthkd.filters.json_schema import JsonSchemaFilter
from synthkd.filters.judged import JudgedFilter
from synthkd.filters.length import LengthFilter
from synthkd.filters.parse import AnyFilter, parse_filter
from synthkd.filters.pattern import PatternFilter
from synthkd.filters.refusal import RefusalFilter
from synthkd.filters.truncated import TruncatedFilter
from synthkd.filters.unsplit import UnsplitFilter

__all__ = [
    "AnswerMatchFilter",
    "AnyFilter",
    "ConfidenceFilter",
    "ConsensusFilter",
    "ExactDuplicateFilter",
    "Filter",
    "JsonSchemaFilter",
    "JudgedFilter",
    "LengthFilter",
    "PatternFilter",
    "RefusalFilter",
    "TruncatedFilter",
    "UnsplitFilter",
    "parse_filter",
]
