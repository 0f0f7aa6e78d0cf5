"""An HTTP server in front of another one, which passes everything on until it is told to fail."""

from __future__ import annotations

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CODES = {"503": b"<Error><Code>SlowDown</Code></Error>", "500": b"<Error><Code>InternalError</Code></Error>"}
"""What S3 says with a status."""
PASSED_OVER = {"connection", "transfer-encoding", "keep-alive"}


class FaultyProxy:
    """``mode`` says what becomes of a request.

    ``pass``: it is passed on; ``hang``: no answer until the mode changes; ``cut``: the connection ends after half of the
    answer's body; a status such as ``503``: that is the answer, without the server behind being asked.
    ``refused`` counts the requests that were not passed on whole.
    """

    def __init__(self, target: str) -> None:
        self.mode = "pass"
        self.refused = 0
        self._counting = threading.Lock()
        self._target = urlsplit(target)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self.mode = "pass"
        self._server.shutdown()
        self._server.server_close()

    def count(self) -> None:
        """One more request that is not passed on whole."""
        with self._counting:
            self.refused += 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nothing."""

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                mode = proxy.mode
                if mode != "pass":
                    proxy.count()
                while proxy.mode == "hang":
                    threading.Event().wait(0.05)
                if mode.isdigit():
                    self._answer(int(mode), {}, CODES.get(mode, b""))
                    return
                self._answer(*proxy.ask(self.command, self.path, dict(self.headers), body), cut=mode == "cut")

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

            def _answer(
                self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
            ) -> None:
                # whoever asked may have gone
                with contextlib.suppress(ConnectionError):
                    self._write(status, headers, body, cut=cut)

            def _write(self, status: int, headers: dict[str, str], body: bytes, *, cut: bool) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in PASSED_OVER | {"content-length"}:
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection = self.close_connection or cut

        return Handler

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """What the server behind says."""
        connection = http.client.HTTPConnection(self._target.hostname, self._target.port, timeout=30)
        try:
            # the host stays as it was signed
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except OSError:
            return 502, {}, b""
        finally:
            connection.close()
