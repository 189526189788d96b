"""Sessions, for programs that know them as functions.

With NATS_URL the functions ask session-registry; without it they use the marker files of one folder. They may be called
from anywhere, also from within a running event loop. A failure is a SessionError that says what to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

# A marker that was not touched for so long is not shown.
STALE_AFTER = 1800.0
# How long a question and a start or end may take.
QUESTION, SEQUENCE = 10.0, 130.0

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# Of the sessions this process started.
_epochs: dict[str, dict[str, Any]] = {}


class SessionError(RuntimeError):
    """A request failed; `code` and `retryable` are session-registry's."""

    def __init__(self, code: str, message: str, hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code, self.retryable = code, retryable


def register_session(session_id: str, **fields: Any) -> dict[str, Any]:
    """Starts a session, or shows that a live one is alive. Gives its epoch and state."""
    _check(session_id)
    if not _nats():
        _write_marker(session_id, fields)
        return {"session_id": session_id, "state": "active"}
    epoch = _epochs.get(session_id)
    if epoch is not None:
        beat = {"session_id": session_id, "epoch": epoch}
        if "operation_count" in fields:
            beat["operations"] = int(fields["operation_count"])
        return _ask("heartbeat", beat, QUESTION) | {"session_id": session_id, "epoch": epoch}
    started = _ask("start", {
        "session_id": session_id,
        "analyst": fields.get("analyst"),
        "objective": fields.get("session_objective"),
        "tier": fields.get("current_tier"),
        "transcript": {"uri": fields["transcript"]} if fields.get("transcript") else None,
        "client": {"kind": "python", "name": "baft", "version": "0.1.0", "host": socket.gethostname()},
    }, SEQUENCE)
    _epochs[session_id] = started["epoch"]
    return started


def unregister_session(session_id: str, message: str | None = None) -> dict[str, Any]:
    """Ends a session: what belongs to it is committed and pushed first."""
    _check(session_id)
    if not _nats():
        (_folder() / f"{session_id}.json").unlink(missing_ok=True)
        return {"session_id": session_id, "state": "ended"}
    ended = _ask("end", {"session_id": session_id, "epoch": _epochs.get(session_id), "message": message}, SEQUENCE)
    _epochs.pop(session_id, None)
    return ended


def get_active_sessions() -> list[dict[str, Any]]:
    """The sessions somebody works in, newest sign of life first, as the session advisor takes them."""
    markers = _ask_markers() if _nats() else _read_markers()
    markers.sort(key=lambda marker: marker.get("last_active", 0.0), reverse=True)
    return [{
        "session_monitor_request": {
            "session_id": marker["session_id"],
            "transcript": marker.get("transcript", ""),
            "session_start": marker.get("session_start", ""),
            "session_objective": marker.get("session_objective", ""),
            "current_tier": marker.get("current_tier", 2),
            "operation_count": marker.get("operation_count", 0),
        }
    } for marker in markers]


def _ask_markers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    request: dict[str, Any] = {"state": ["active"], "limit": 500}
    while True:
        answer = _ask("list", request, QUESTION)
        for record in answer["sessions"]:
            found.append({
                "session_id": record["session_id"],
                "last_active": datetime.fromisoformat(record["last_active_at"].replace("Z", "+00:00")).timestamp(),
                "transcript": (record.get("transcript") or {}).get("uri", ""),
                "session_start": record["started_at"],
                "session_objective": record.get("objective", ""),
                "current_tier": record["tier"],
                "operation_count": record["operations"],
            })
        if not answer.get("next_cursor"):
            return found
        request["cursor"] = answer["next_cursor"]


def _read_markers() -> list[dict[str, Any]]:
    found = []
    for path in _folder().glob("*.json"):
        try:
            marker = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # Removed or replaced just now; the next look sees it.
        fits = isinstance(marker, dict) and "session_id" in marker
        if fits and time.time() - marker.get("last_active", 0.0) <= STALE_AFTER:
            found.append(marker)
    return found


def _write_marker(session_id: str, fields: dict[str, Any]) -> None:
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session_id}.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    marker = {**known, **fields, "session_id": session_id, "last_active": time.time()}
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{session_id}.")
    with os.fdopen(handle, "w") as file:
        json.dump(marker, file)
    os.replace(temporary, path)


def _check(session_id: str) -> None:
    if not _ID.fullmatch(session_id):
        raise SessionError("invalid_argument", f"{session_id!r} is no session id",
                           "use a letter or digit, then up to 63 letters, digits, _ and -")


def _folder() -> Path:
    return Path(os.environ.get("BAFT_MARKERS") or "~/.heddle/sessions").expanduser()


def _nats() -> str:
    return os.environ.get("NATS_URL", "").strip()


def _ask(what: str, request: dict[str, Any], timeout: float) -> dict[str, Any]:
    """One request over a connection of its own, on a thread of its own: the caller may have a loop running."""
    body = json.dumps({name: value for name, value in request.items() if value is not None}).encode()
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(_exchange(what, body, timeout))).result()


async def _exchange(what: str, body: bytes, timeout: float) -> dict[str, Any]:
    import nats
    from nats.errors import NoRespondersError
    from nats.errors import TimeoutError as NatsTimeout

    prefix = os.environ.get("BAFT_SUBJECT_PREFIX") or "baft"
    headers = {"Baft-Deadline": str(int((time.time() + timeout) * 1000))}
    if what in ("start", "end"):
        headers["Baft-Request-Id"] = uuid.uuid4().hex
    try:
        connection = await nats.connect(_nats(), connect_timeout=5, allow_reconnect=False)
    except Exception as error:
        raise SessionError("unavailable", f"NATS cannot be reached: {error}", "is nats-server running?", True) from error
    try:
        answer = await connection.request(f"{prefix}.session.{what}", body, timeout=timeout + 1, headers=headers)
    except NoRespondersError as error:
        raise SessionError("unavailable", "session-registry is not running", "start it", True) from error
    except NatsTimeout as error:
        raise SessionError("timeout", "session-registry did not answer in time", "it may still be working on it", True) from error
    finally:
        await connection.close()
    result = json.loads(answer.data)
    if "error" in result:
        failed = result["error"]
        raise SessionError(failed["code"], failed["message"], failed.get("hint"), failed.get("retryable", False))
    return result
