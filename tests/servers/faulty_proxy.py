"""An HTTP server in front of another one, which passes everything on until it is told to fail."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PASSED_OVER = {"connection", "transfer-encoding", "keep-alive"}


class FaultyProxy:
    """``mode`` is ``pass``, ``503`` (SlowDown, as S3 says it) or ``hang`` (no answer until the mode changes)."""

    def __init__(self, target: str) -> None:
        self.mode = "pass"
        self.refused = 0
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

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nothing."""

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                while proxy.mode == "hang":
                    threading.Event().wait(0.05)
                if proxy.mode == "503":
                    proxy.refused += 1
                    self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
                    return
                self._answer(*proxy.ask(self.command, self.path, dict(self.headers), body))

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in PASSED_OVER | {"content-length"}:
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

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
