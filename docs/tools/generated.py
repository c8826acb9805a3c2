"""Files that are generated, each with what gives its text.

The pictures of the page are not among them: `docs.tools.page_pictures` takes minutes and a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.tools import (
    api_description,
    command_line_reference,
    configuration_reference,
    performance_chart,
    source_map,
    state_diagrams,
)

GENERATED: Mapping[Path, Callable[[], str]] = {
    tool.PAGE: tool.write_page
    for tool in (
        api_description,
        command_line_reference,
        configuration_reference,
        performance_chart,
        source_map,
        state_diagrams,
    )
}
