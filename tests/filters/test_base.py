from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from synthkd.filters import ExactDuplicateFilter, Filter, LengthFilter, RefusalFilter
from synthkd.records import Sample
from tests.filters.samples import make_sample


def test_verdicts_are_stored_under_the_kind_unless_a_name_is_given() -> None:
    assert LengthFilter().label == "length"
    assert LengthFilter(name="short_ones").label == "short_ones"


def test_a_filter_cannot_be_changed_or_misspelled() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        LengthFilter().max_words = 3
    with pytest.raises(ValidationError, match="max_word"):
        LengthFilter(max_word=3)
    with pytest.raises(ValidationError, match="name"):
        LengthFilter(name="")


def test_equal_options_make_equal_filters() -> None:
    assert RefusalFilter() == RefusalFilter()
    assert LengthFilter(max_words=3) != LengthFilter(max_words=4)


@pytest.mark.parametrize("rule", [LengthFilter(), ExactDuplicateFilter()])
def test_samples_are_judged_as_they_come(rule: Filter) -> None:
    taken = []

    def samples() -> Iterator[Sample]:
        for number in range(1000):
            taken.append(number)
            yield make_sample(seed_id=str(number))

    judged = rule.judge_all(samples())
    next(judged)

    assert taken == [0]
