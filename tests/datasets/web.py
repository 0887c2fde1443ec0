"""A server on loopback whose replies break off, stall or lie as a test asks."""

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What an address gives.

    Attributes:
        content: the whole file.
        cuts: for each request in turn, after how many bytes to break off; none after the last.
        stalls: seconds to wait at the cut before breaking off.
        status: the HTTP status, where it is not that of a file.
        ranges: whether parts may be asked for.
        etag: the ETag header.
        length: whether to tell the size.
        asked: the Range header of each request.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    stalls: float = 0.0
    status: int = 200
    ranges: bool = True
    etag: str = ""
    length: bool = True
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Keep quiet."""

    def do_GET(self):
        """Serve a page."""
        page = self.server.pages.get(self.path)
        if page is None or page.status != 200:
            self.send_error(404 if page is None else page.status)
            return
        asked = self.headers.get("Range", "")
        page.asked.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and page.ranges else 0
        if self.headers.get("If-Range", page.etag) != page.etag:
            start = 0
        total = len(page.content)
        if start >= total > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.length:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = page.content[start:]
        if page.cuts:
            self.wfile.write(body[: page.cuts.pop(0)])
            self.wfile.flush()
            time.sleep(page.stalls)
        else:
            self.wfile.write(body)
        self.close_connection = True


@contextmanager
def serve():
    """Give (address, pages by path) of a server that stops with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.pages = {}
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.pages
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
