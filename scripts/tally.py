"""Add up JUnit reports and print one closing line, in pytest's words."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main(paths: list[str]) -> None:
    count = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    seconds = 0.0
    for path in filter(Path.exists, map(Path, paths)):
        for suite in ET.parse(path).getroot().iter("testsuite"):
            for key in count:
                count[key] += int(suite.get(key, "0"))
            seconds += float(suite.get("time", "0"))
    bad = {"failed": count["failures"], "errors": count["errors"]}
    passed = count["tests"] - count["skipped"] - sum(bad.values())
    words = [f"{number} {word}" for word, number in bad.items() if number]
    words.append(f"{passed} passed")
    if count["skipped"]:
        words.append(f"{count['skipped']} skipped")
    print(f"==== all tests: {', '.join(words)} in {seconds:.1f}s ====")


main(sys.argv[1:])
