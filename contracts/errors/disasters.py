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
DR_EXECUTION_UNKNOWN = entered(
    "dr-execution-unknown",
    404,
    Retry.NEVER,
    "There is no such execution of a disaster recovery plan",
    "Check the id; only executions of your own organisation are found.",
)
DR_EXECUTION_OPEN = entered(
    "dr-execution-open",
    409,
    Retry.LATER,
    "The plan is being executed already",
    "GET /api/backup/disaster-recovery/executions shows the one that goes on: wait for its end, or abort it.",
)
DR_EXECUTION_OVER = entered(
    "dr-execution-over",
    409,
    Retry.NEVER,
    "The execution has ended, or is being aborted",
    "Look at it (GET /api/backup/disaster-recovery/executions/ID); execute the plan anew where that is wanted.",
)
DR_EXECUTION_PAUSED = entered(
    "dr-execution-paused",
    409,
    Retry.NEVER,
    "The execution is paused already",
    "Resume it where it is to go on.",
)
DR_EXECUTION_NOT_PAUSED = entered(
    "dr-execution-not-paused",
    409,
    Retry.NEVER,
    "The execution is not paused",
    "Nothing is to be done: it goes on.",
)
DR_STEP_NOT_WAITING = entered(
    "dr-step-not-waiting",
    409,
    Retry.NEVER,
    "The step waits for nobody's word",
    "Name a step of the kind approve or manual that has begun and has not ended: the execution shows them.",
)
DR_STEP_NOT_EXECUTABLE = entered(
    "dr-step-not-executable",
    422,
    Retry.NEVER,
    "The plan has a step that the platform cannot execute",
    "Change the step to one of the kind manual, with instructions for the person who does it.",
)
DR_STEP_TIMED_OUT = entered(
    "dr-step-timed-out",
    503,
    Retry.LATER,
    "The step has taken longer than its time limit",
    "See what kept it, and give it a longer timeLimitMinutes where that is too short; then execute the plan anew.",
)
DR_CHECK_FAILED = entered(
    "dr-check-failed",
    503,
    Retry.NEVER,
    "What a step has restored is not whole",
    "Look at the recovery of that step; choose another recovery point, and execute the plan anew.",
)
DR_TEST_PLACE_MISSING = entered(
    "dr-test-place-missing",
    422,
    Retry.AFTER_OPERATOR,
    "There is no place in which plans are tested",
    "Have an operator register a directory of this organisation alone with the role target, and name it to the dr "
    "service as a place of tests.",
)
DR_TEST_NOT_ISOLATED = entered(
    "dr-test-not-isolated",
    422,
    Retry.AFTER_OPERATOR,
    "The place of tests is one that the plan restores to",
    "Have an operator name another location as the place of tests, one to which no plan restores.",
)
DR_TEST_NOT_CLEANED = entered(
    "dr-test-not-cleaned",
    503,
    Retry.AFTER_OPERATOR,
    "What a test has restored cannot be removed",
    "Let the dr service reach the test's location and write there; it tries again by itself until it is gone.",
)
DR_TEST_MISSED = entered(
    "dr-test-missed",
    409,
    Retry.NEVER,
    "A scheduled test of the plan did not begin in time",
    "Nothing could begin it when it was due, and its schedule lets it not be made up for: "
    "POST /api/backup/disaster-recovery/test begins one now.",
)
DR_POINTS_NOT_CHOSEN = entered(
    "dr-points-not-chosen",
    503,
    Retry.LATER,
    "No gateway has said which recovery points a test takes",
    "It is tried again by itself. Where it goes on, look at the gateway (wedsync-backup status).",
)
DR_NOTICE_NOT_SENT = entered(
    "dr-notice-not-sent",
    409,
    Retry.NEVER,
    "In a test nobody is told",
    "Nothing is to be done: people would take it for real. POST /api/backup/notifications/channels/ID/test tries one.",
)
DR_COMPENSATION_FAILED = entered(
    "dr-compensation-failed",
    409,
    Retry.NEVER,
    "What undoes a step of the plan has failed itself",
    "Undo by hand what the plan's steps have done: the execution shows which have begun, and which were undone.",
)
DR_RECOVERY_CANCELLED = entered(
    "dr-recovery-cancelled",
    409,
    Retry.NEVER,
    "Somebody had the recovery of the step cancelled",
    "Execute the plan anew where its step is wanted all the same: what is in the target is gone on with.",
)
DR_RECEIPT_NOT_YET = entered(
    "dr-receipt-not-yet",
    409,
    Retry.LATER,
    "The audit log does not have all of the execution yet",
    "Ask again a few seconds after the execution, and each recovery that it has asked for, has ended.",
)
