#!/usr/bin/env python3
"""Latency of one instance through the agent: p99.py HOST REQUESTS, prints `median p99` in microseconds.

One keep-alive connection, one request after the other, so that what is measured is waiting and not
queueing of its own.
"""
import http.client, sys, time

host, count = sys.argv[1], int(sys.argv[2])
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)


def once():
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        sys.exit(f"{host} answered {answer.status}")


for _ in range(20):
    once()
took = []
for _ in range(count):
    begin = time.perf_counter_ns()
    once()
    took.append((time.perf_counter_ns() - begin) // 1000)
took.sort()
print(took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)])
