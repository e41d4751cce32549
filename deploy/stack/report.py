"""What the supervisor knows about the platform, told in lines as it happens and kept in a report for `status`."""

from collections.abc import Callable, Sequence

from chassis.clock import Clock, SystemClock
from deploy.stack.part import Part
from deploy.stack.state import Condition, PartState, PlaceState, StackState


class Report:
    """The state of all parts; each change is written at once."""

    def __init__(
        self,
        state: StackState,
        *,
        write: Callable[[StackState], None],
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self.state = state
        self._write = write
        self._say = say
        self._clock = clock or SystemClock()
        self._is_silent = False

    def begin(self, parts: Sequence[Part]) -> None:
        """All parts, none of which was started yet."""
        self.state.parts = [
            PartState(name=part.name, condition=Condition.WAITING, ports=dict(part.ports), log=str(part.log))
            for part in parts
        ]
        self.tell()

    def say(self, name: str, words: str) -> None:
        """A line about a part."""
        self._say(f"{name:<18} {words}")

    def part(self, part: Part) -> PartState:
        """What is known of a part."""
        return self.state.part(part.name)

    def change(self, part: Part, condition: Condition, reason: str | None) -> None:
        """A part is in another condition, or in the same for another reason."""
        state = self.part(part)
        if state.condition is condition and state.reason == reason and state.since is not None:
            return
        if state.condition is not condition:
            state.since = self._clock.now()
        state.condition, state.reason = condition, reason
        self._judge()
        self.tell()

    def places(self, places: list[PlaceState]) -> None:
        """How the platform's folders are; what has become wrong or well is said once."""
        before = {place.name: place.reason for place in self.state.places}
        for place in places:
            if place.reason != before.get(place.name):
                self.say(place.name, place.reason or "is well again")
        self.state.places = places
        self._judge()
        self.tell()

    def change_all(self, condition: Condition) -> None:
        """The platform as a whole is in another condition."""
        self.state.condition = condition
        self.tell()

    def started(self, seconds: float) -> None:
        """Everything was started."""
        self.state.ready_seconds = seconds
        self.change_all(self._overall())

    def tell(self) -> None:
        """Write the report, with its time."""
        self.state.written = self._clock.now()
        try:
            self._write(self.state)
        except Exception as error:  # noqa: BLE001  # whoever tells goes on, whatever it is
            # On a full disk the report grows old, which `status` shows; the parts are looked after all the same.
            if not self._is_silent:
                self._say(f"the report cannot be written, `status` shows an old one: {error}")
            self._is_silent = True
        else:
            self._is_silent = False

    def _judge(self) -> None:
        if self.state.condition in (Condition.READY, Condition.DEGRADED):
            self.state.condition = self._overall()

    def _overall(self) -> Condition:
        """How the platform is once it was started."""
        well = all(part.condition is Condition.READY for part in self.state.parts)
        well = well and all(place.reason is None for place in self.state.places)
        return Condition.READY if well else Condition.DEGRADED
