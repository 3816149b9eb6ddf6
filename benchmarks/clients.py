"""Clients of a server, in a process of their own: each sends its next request when one is answered.

python clients.py URL COUNT WARMUP_S SECONDS prints, as JSON, how long the requests took that ended
within the seconds after the warm-up, when that was, and what CPU time the clients took in it.
"""

import http.client
import json
import sys
import threading
import time
import urllib.parse


def client(address: str, end: float, answered: list[tuple[float, float]]) -> None:
    """One request after the other over one connection; when each was answered, and its seconds."""
    server = http.client.HTTPConnection(address, timeout=60)
    while (start := time.monotonic()) < end:
        server.request("GET", "/")
        reply = server.getresponse()
        reply.read()
        if reply.status != http.HTTPStatus.OK:
            raise ConnectionError(f"the server answered {reply.status} {reply.reason}")
        now = time.monotonic()
        answered.append((now, now - start))
    server.close()


def main(url: str, count: int, warmup_s: float, seconds: float) -> None:
    """Run the clients, and print what they saw."""
    address = urllib.parse.urlsplit(url).netloc
    begin = time.monotonic() + warmup_s
    answered: list[tuple[float, float]] = []
    arguments = (address, begin + seconds, answered)
    clients = [threading.Thread(target=client, args=arguments) for _ in range(count)]
    for one in clients:
        one.start()
    time.sleep(warmup_s)
    cpu = time.process_time()
    print("begin", flush=True)
    for one in clients:
        one.join()
    took = [duration for at, duration in answered if begin <= at <= begin + seconds]
    print(json.dumps({"took": took, "cpu_s": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
