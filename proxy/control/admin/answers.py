"""An answer of the admin API in JSON, whatever texts the machine has."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


class JsonResponse(JSONResponse):
    """JSON in UTF-8; bytes of a path that are none travel as the escapes that Python has for them."""

    def render(self, content: Any) -> bytes:
        """Write it down: a name that is not UTF-8 must not keep an operator from all the rest of the state."""
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")
