"""Where the host's apt gets Debian from, so that a template is built from the same mirror."""

import re
from dataclasses import dataclass
from pathlib import Path

from .programs import call

_FORMAT = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(FILENAME)"
_NETWORK_OPTION = re.compile(r"^Acquire::https?::(?:Proxy|CAInfo)\b.* \".+\";$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Lines of a sources.list, and the index files that apt has of them."""

    lines: tuple[str, ...]
    indexes: tuple[Path, ...]

    @property
    def state(self) -> str:
        """Tell apart what the archive offered at two times."""
        return repr([(path.name, path.stat().st_mtime_ns) for path in self.indexes])


def host_sources(suite: str) -> Sources:
    """Return the host's sources of this Debian suite, with its updates; none on another suite."""
    output = call("apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages")
    return parse_sources(output.decode(), suite)


def parse_sources(text: str, suite: str) -> Sources:
    """Parse what `apt-get indextargets` printed."""
    lines: dict[str, None] = {}
    indexes: list[Path] = []
    for row in text.splitlines():
        origin, uri, release, component, index = row.split("|", 4)
        if origin == "Debian" and (release == suite or release.startswith(f"{suite}-")):
            lines[f"deb {uri} {release} {component}"] = None
            indexes.append(Path(index))
    return Sources(lines=tuple(lines), indexes=tuple(indexes))


def network_options() -> list[str]:
    """Return the host's apt settings without which its mirror may be out of reach."""
    dump = call("apt-config", "dump", "Acquire").decode()
    return [line for line in dump.splitlines() if _NETWORK_OPTION.match(line)]
