"""The three regions of the embedded stack, by name: the S3 servers that stand for them, and their buckets."""

import msgspec


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """One server. `name` is also the name of its location; `lock`: its bucket has versions and object lock."""

    name: str
    region: str
    bucket: str
    lock: bool = False

    @property
    def part_name(self) -> str:
        """The server's name as a part of the platform."""
        return f"s3-{self.name}"

    @property
    def admin(self) -> str:
        """Under which its administrator's credentials are kept."""
        return f"{self.name}-admin"

    def port_name(self, port: str) -> str:
        """The name of one of its ports."""
        return f"s3.{self.name}.{port}"


REGIONS = (
    Region(name="cloud-primary", region="eu-central", bucket="wedsync-primary"),
    Region(name="cloud-secondary", region="eu-west", bucket="wedsync-secondary"),
    Region(name="offsite", region="eu-north", bucket="wedsync-offsite", lock=True),
)
