"""The C++ tests, as pytest sees them: configured and built with CMake, run by ctest."""

from __future__ import annotations

import re

from cpp_build import cpp_build, run


def test_cpp_tests_pass() -> None:
    report = run(
        *(
            "ctest",
            "--test-dir",
            str(cpp_build()),
            "--output-on-failure",
            "--no-tests=error",
            "--parallel",
            "2",
        ),
        timeout=600,
    )
    summary = re.search(r"100% tests passed(?:, 0 tests failed)? out of (\d+)", report)
    assert summary is not None, report
    assert int(summary[1]) >= 20, "ctest found hardly any tests"
