"""A plugin for tests: addresses and names of Services, in a file as /etc/hosts is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from plait.core.api import (
    Config,
    Controller,
    Feature,
    PlaitError,
    Publish,
    Report,
    Service,
    View,
    hookimpl,
    setting,
)

PLUGIN_API = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsConfig:
    """The section `hosts`."""

    file: str = setting(doc="where the file is")


class HostsFile:
    """Keeps the file in step, until it is stopped."""

    def __init__(self, file: Path, publish: Publish) -> None:
        self._file = file
        self._publish = publish

    def follow(self, view: View) -> None:
        services = [each for each in view.objects.values() if isinstance(each, Service)]
        lines = sorted(f"{ip} {each.meta.name}\n" for each in services for ip in each.cluster_ips)
        self._file.write_text("".join(lines))
        self._publish(Report(warnings=tuple(_without_address(services))))

    def stop(self) -> None:
        self._file.unlink(missing_ok=True)


def _without_address(services: list[Service]) -> Iterator[PlaitError]:
    for each in services:
        if not each.cluster_ips:
            yield PlaitError(f"{each} has no address to be found by", at=each.at)


@hookimpl
def plait_features() -> tuple[Feature, ...]:
    return (Feature(key="hosts", config=HostsConfig, summary="names of Services in a file"),)


@hookimpl
def plait_controllers(config: Config) -> tuple[Controller, ...]:
    hosts = config.section(HostsConfig)
    if hosts is None:
        return ()
    return (
        Controller(
            name="hosts file",
            settings=hosts,
            start=lambda publish: HostsFile(Path(hosts.file), publish),
        ),
    )
