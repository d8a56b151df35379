from dataclasses import fields

from core.backoffice.setting_names import NAMES, name_of
from core.policy import Policy


def test_only_numbers_that_exist_have_a_name_and_no_two_the_same():
    assert set(NAMES) <= {one.name for one in fields(Policy)}
    assert len(set(NAMES.values())) == len(NAMES)


def test_a_number_without_a_name_is_called_as_in_the_environment():
    assert (name_of("child_years"), name_of("brand_new")) == ("须有监护人的年龄界限（周岁）", "BRAND_NEW")
