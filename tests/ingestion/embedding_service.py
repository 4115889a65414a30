"""A real HTTP server on loopback that speaks the form of OpenAI's embeddings, well or badly."""

import base64
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from dr_pipelines.embedders.hashing import HashingEmbedder

KEY = "sk-this-is-a-secret"
Reply = tuple[int, dict[str, str], bytes]
DIMENSION = 16


class Service:
    """Answers with hashed words; `next` are replies to give first, `alter` changes every answer."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.next: list[Callable[[dict[str, Any]], Reply]] = []
        self.alter: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.model = HashingEmbedder(DIMENSION)
        self.reads_words = 10**9
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                status, headers, data = (outer.next.pop(0) if outer.next else outer.answer)(body)
                with suppress(OSError):  # a client that has waited long enough
                    self.send_response(status)
                    for name, value in ({"Content-Length": str(len(data))} | headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing on the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1/embeddings"

    def answer(self, body: dict[str, Any]) -> Reply:
        texts = [" ".join(text.split()[: self.reads_words]) for text in body["input"]]
        vectors = self.model.embed(texts)[:, : body.get("dimensions", DIMENSION)] * np.float32(3)
        written: list[Any] = vectors.tolist()
        if body["encoding_format"] == "base64":
            written = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in vectors]
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(written)]
        answer = {"object": "list", "data": data, "model": body["model"], "usage": {}}
        return 200, {"Content-Type": "application/json"}, json.dumps(self.alter(answer)).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def failing(status: int, message: str = "", **headers: str) -> Callable[[dict[str, Any]], Reply]:
    """A reply that is no answer."""
    body = json.dumps({"error": {"message": message}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: (status, named, body)
