"""What may be wrong with a disaster recovery plan."""

from contracts.errors.catalogue import Retry, entered

DR_PLAN_UNKNOWN = entered(
    "dr-plan-unknown",
    404,
    Retry.NEVER,
    "There is no such disaster recovery plan",
    "Check the id; only plans of your own organisation are found.",
)
DR_PLAN_CIRCLE = entered(
    "dr-plan-circle",
    422,
    Retry.NEVER,
    "Steps of the plan wait for each other in a circle",
    "Take a name out of after of one of them: a step begins when all that it names have ended.",
)
