"""`python -m services.compliance`: the compliance service."""

from chassis.life import runtime
from services.compliance.bootstrap import SERVICE, run
from services.compliance.settings import ComplianceSettings


async def main() -> int:
    """Read the settings and run."""
    return await run(runtime.begin(ComplianceSettings, SERVICE))


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
