"""A real RFC 3161 time-stamp authority on this machine: OpenSSL behind a small HTTP server."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIG = """
[ tsa ]
default_tsa = the_tsa
[ the_tsa ]
dir = .
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = no
ess_cert_id_chain = no
"""


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_authority(folder: Path) -> Path:
    """Keys and certificates; returns the CA certificate."""
    folder.mkdir(parents=True)
    name = str(folder / "ca")
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Practice TSA root", "-days", "30",
             "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    (folder / "ext").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=digitalSignature\n")
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Practice TSA", "-keyout", str(folder / "tsa.key"),
             "-out", str(folder / "tsa.csr"))  # fmt: skip
    _openssl("x509", "-req", "-in", str(folder / "tsa.csr"), "-CA", f"{name}.pem", "-CAkey", f"{name}.key",
             "-CAcreateserial", "-days", "30", "-extfile", str(folder / "ext"), "-out", str(folder / "tsa.pem"))  # fmt: skip
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    return folder / "ca.pem"


@contextmanager
def an_authority(folder: Path) -> Iterator[str]:
    """The authority of this folder, serving; gives its address."""
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with one_at_a_time:
                query, reply = folder / "query", folder / "reply"
                query.write_bytes(body)
                _openssl(
                    "ts", "-reply", "-config", str(folder / "tsa.cnf"), "-queryfile", str(query), "-out", str(reply)
                )
                answer = reply.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None:
            del words

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
