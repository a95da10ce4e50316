"""Takes the answers to a batch's lines, gives the two files of them: each line once, in one or the other."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sdxl_gateway.core.batch import LineOutput
from sdxl_gateway.core.files import IncomingFile
from sdxl_gateway.gateway.batch_lines import Answer, BatchLine
from sdxl_gateway.storage.blobs import Blobs

ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a line was not painted."""

    code: str
    message: str


CANCELLED = Reason("batch_cancelled", "This request was not executed before the batch was cancelled.")
EXPIRED = Reason("batch_expired", "This request could not be executed before the completion window expired.")
FULL = Reason("batch_output_full", "This request was not executed: the batch's answers have as many bytes as may be.")


def answered(custom_id: str, answer: Answer) -> bytes:
    """A line with what its request was answered."""
    request_id = "req_" + secrets.token_hex(ID_BYTES)
    told = {"status_code": answer.status, "request_id": request_id, "body": answer.body}
    return _encoded(custom_id, told | ({"headers": dict(answer.headers)} if answer.headers else {}), None)


def unanswered(custom_id: str, reason: Reason) -> bytes:
    """A line whose request was not executed."""
    return _encoded(custom_id, None, {"code": reason.code, "message": reason.message})


def _encoded(custom_id: str, response: dict[str, Any] | None, error: dict[str, Any] | None) -> bytes:
    line_id = "batch_req_" + secrets.token_hex(ID_BYTES)
    line = {"id": line_id, "custom_id": custom_id, "response": response, "error": error}
    return json.dumps(line, allow_nan=False).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Written:
    """A blob of lines, and its size."""

    blob: str
    bytes: int


def write_files(
    target: Blobs, source: Blobs, lines: Iterable[BatchLine], answers: Iterable[LineOutput], reason: Reason
) -> tuple[Written | None, Written | None]:
    """What was painted, and what was not, in the order of `lines`; those without an answer say the `reason`.

    One answer is in memory at a time. Blocks. Raises StorageFull.
    """
    known = {output.line: output for output in answers}
    with target.incoming() as good, target.incoming() as bad:
        output, errors = _Tally(good), _Tally(bad)
        for line in lines:
            answer = known.get(line.number)
            if answer is None:
                errors.write([unanswered(line.custom_id, reason)])
            else:
                (errors if answer.failed else output).write(source.pieces(answer.blob))
        return output.taken(target), errors.taken(target)


class _Tally:
    """A file being written, and its size so far."""

    def __init__(self, file: IncomingFile) -> None:
        self._file = file
        self._bytes = 0

    def write(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._file.write(piece)
            self._bytes += len(piece)

    def taken(self, target: Blobs) -> Written | None:
        return Written(target.take(self._file), self._bytes) if self._bytes else None
