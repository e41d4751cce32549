"""Templates of plans pass the rules of plans whatever an organisation has, and say what they leave out."""

import pytest

from contracts.disaster import PlanType, StepRules
from contracts.disaster_rules import plan_objections
from gateway.groups.disaster_recovery.submitted import rules_of, step_rules_of
from gateway.groups.disaster_recovery.templates import CONFIGURATIONS_MAX, TEMPLATES, BuiltIn, Has, offered
from gateway.http.texts import wrong_texts

MANY = [f"configuration-{number}" for number in range(CONFIGURATIONS_MAX + 3)]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda each: each.plan_type.value)
@pytest.mark.parametrize("count", [1, CONFIGURATIONS_MAX, len(MANY)])
@pytest.mark.parametrize("channels", [[], ["one", "two"]])
def test_plan_that_is_offered_has_nothing_against_it(template: BuiltIn, count: int, channels: list[str]) -> None:
    found = offered(template, Has(MANY[:count], 0, ["restored"], channels))
    assert found.plan is not None
    steps = [StepRules(**step_rules_of(step)) for step in found.plan.procedures]
    assert list(plan_objections(rules_of(found.plan), steps)) == []
    assert list(wrong_texts(("planName", found.plan.plan_name))) == []
    paths = [step.target_path for step in found.plan.procedures if step.target_path]
    assert len(set(paths)) == len(paths) == len(found.plan.scope.configuration_ids)
    left_out = count - len(found.plan.scope.configuration_ids)
    told = [each.meaning for each in found.unmet if each.field == "scope.configurationIds"]
    assert [text.split()[0] for text in told] == ([str(left_out)] if left_out else [])


def test_what_is_not_there_is_told_and_not_made_up() -> None:
    for template in TEMPLATES:
        for has in (Has([], 2, ["restored"], ["one"]), Has(MANY, 2, [], ["one"])):
            found = offered(template, has)
            assert found.plan is None
            assert any(each.meaning.startswith("2 configurations are of buckets") for each in found.unmet)


def test_nobody_is_told_that_a_clean_point_is_found_by_itself() -> None:
    (template,) = [each for each in TEMPLATES if each.plan_type is PlanType.RANSOMWARE]
    found = offered(template, Has(MANY[:1], 0, ["rehearsals", "restored"], ["one"]))
    assert {each.field for each in found.unmet} == {"procedures.moment", "procedures.targetLocation"}
    assert "rehearsals, restored" in " ".join(each.meaning for each in found.unmet)
