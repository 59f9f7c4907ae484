import json
from functools import cache

from pulumi import ResourceOptions

from components.budget import MonthlyBudget, MonthlyBudgetArgs, budget_topic_policy
from tests.graph import Graph, provided, record


@cache
def graph() -> Graph:
    def program() -> None:
        MonthlyBudget(
            "budget",
            MonthlyBudgetArgs(
                account_id="111122223333",
                budget_name="Monthly",
                limit_usd=100,
                alert_percents=[100, 80],
                recipients=["jane-doe@company.com", "devops@company.com"],
                topic_name="budget-alerts",
                key_arn="arn:key",
                tags={"project": "mono-repo"},
            ),
            opts=ResourceOptions(providers=[provided()]),
        )

    return record(program)


def test_the_budget_is_the_accounts_monthly_cost_in_dollars() -> None:
    budget = graph().one("aws:budgets/budget:Budget").inputs
    assert (budget["name"], budget["limitAmount"], budget["limitUnit"]) == ("Monthly", "100", "USD")
    assert (budget["budgetType"], budget["timeUnit"]) == ("COST", "MONTHLY")
    assert "costFilters" not in budget


def test_each_percentage_and_the_forecast_are_told_by_mail_and_to_the_topic() -> None:
    notifications = graph().one("aws:budgets/budget:Budget").inputs["notifications"]
    told = [(item["notificationType"], item["threshold"]) for item in notifications]
    assert told == [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
    for item in notifications:
        assert item["thresholdType"] == "PERCENTAGE"
        assert item["subscriberEmailAddresses"] == ["devops@company.com", "jane-doe@company.com"]
        assert item["subscriberSnsTopicArns"] == ["arn:mock:aws:sns/topic:Topic/budget"]


def test_the_topic_is_encrypted_and_ready_before_the_budget() -> None:
    assert graph().one("aws:sns/topic:Topic").inputs["kmsMasterKeyId"] == "arn:key"
    budget = graph().one("aws:budgets/budget:Budget")
    assert graph().one("aws:sns/topicPolicy:TopicPolicy").urn in budget.dependencies


def test_only_budgets_of_the_account_may_publish() -> None:
    deny, allow = json.loads(budget_topic_policy("arn:topic", "111122223333"))["Statement"]
    assert deny["Effect"] == "Deny"
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert allow["Principal"] == {"Service": ["budgets.amazonaws.com"]}
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
