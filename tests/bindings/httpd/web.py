#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Both ends of what goes over httpd, of few imports, as it is started often:
#
#     web.py serve NAME...             servers who say their name; prints their ports; a path that
#                                      ends in /hold is answered behind one that ends in /release
#     web.py names URL N               how often each name answers, of N requests
#     web.py load URL                  requests until it is told to end; how many went wrong
#     web.py manage URL KEY=VALUE...   balancer-manager: b=BALANCER and w=WORKER, then what to change
#     web.py show URL                  its page as text
#     web.py beats URL NAME GROUP PORT IP READY...
#                                      heartbeats of these servers, with so many idle workers, until
#                                      nobody but that name answers
import re
import signal
import socket
import sys
import time

PATIENCE = 120


class Failed(Exception):
    pass


def fetch(url, data=None, headers=""):
    host, path = re.fullmatch(r"http://([^/]*)(/.*)", url).groups()
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), PATIENCE) as sock:
        length = "" if data is None else (
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(data)}\r\n"
        )
        method = "GET" if data is None else "POST"
        request = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\n{headers}{length}\r\n{data or ''}"
        sock.sendall(request.encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    if " 200 " not in head.partition("\r\n")[0]:
        raise Failed(answer)
    return body


def serve(*names):
    import http.server
    import threading

    released = threading.Event()

    class Named(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("/release"):
                released.set()
            if self.path.endswith("/hold"):
                print("held", flush=True)
                released.wait(PATIENCE)
            answer = self.server.name.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, *_):
            pass  # a child that was killed asked

    for name in names:
        server = Server(("", 0), Named)
        server.name = name
        threading.Thread(target=server.serve_forever).start()
        print(server.server_port, end=" ")
    print(flush=True)


def answers(url, n):
    seen = [fetch(url) for _ in range(int(n))]
    return {name: seen.count(name) for name in sorted(set(seen))}


def names(url, n):
    print(" ".join(f"{name}:{count}" for name, count in answers(url, n).items()))


def load(url):
    going, good, bad = True, 0, 0

    def end(*_):
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, end)
    print("begun", flush=True)
    while going:
        try:
            good += len(fetch(url)) > 0
            time.sleep(0.002)  # leave the others some of the processor
        except (OSError, Failed):
            bad += 1  # its child was killed
    print(good, bad)


def manage(url, *changes):
    page = fetch(url)
    change = dict(change.split("=", 1) for change in changes)
    found = re.search(rf"[?&;]b={change['b']}&(?:amp;)?(?:w=[^&]*&(?:amp;)?)?nonce=([-0-9a-f]+)", page)
    if found is None:
        sys.exit(f"no balancer {change['b']} in: {page}")
    change["nonce"] = found.group(1)
    data = "&".join(f"{k}={v.replace(':', '%3A').replace('/', '%2F')}" for k, v in change.items())
    fetch(url, data, f"Referer: {url}\r\n")


def show(url):
    text = re.sub(r"<[^>]*>", " ", re.sub(r"</tr>", "\n", fetch(url)))
    print(re.sub(r"[ \t]+", " ", text))


def beat(group, port, source, ready):
    message = f"v=1&ready={ready}&busy=0&lastbeat=0&port=80".encode()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    sock.bind((source, 0))
    sock.sendto(message, (group, int(port)))


def beats(url, name, group, port, *servers):
    end = time.monotonic() + PATIENCE
    now = "nothing"
    while time.monotonic() < end:
        for source, ready in zip(servers[::2], servers[1::2]):
            beat(group, port, source, ready)
        try:
            now = answers(url, 6)
        except (OSError, Failed) as error:
            now = error  # it knows of no server yet
        if now == {name: 6}:
            return
        time.sleep(0.1)  # it looks once in a second
    sys.exit(f"not {name}, but {now}")


if __name__ == "__main__":
    {"serve": serve, "names": names, "load": load, "manage": manage, "show": show, "beats": beats}[
        sys.argv[1]
    ](*sys.argv[2:])
