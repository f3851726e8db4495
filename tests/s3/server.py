#!/usr/bin/python3
"""A small S3 for tests: path-style buckets in memory, single and multipart uploads, lists in pages.

Every request must be signed, and the signature is computed anew by botocore (python3-botocore), not by code of ours.
    server.py PORT [PAGE]
Key AKIATEST, secret `secret/of+test`, region eu-test-1. GET /_count tells how many requests were refused, and which
uploads are unfinished. POST /_fail?n=3&after=2 has three requests answered with 503, after two good ones.
"""

import hashlib
import json
import re
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

CREDENTIALS = Credentials("AKIATEST", "secret/of+test")
REGION = "eu-test-1"
OBJECTS, UPLOADS = {}, {}
STATE = {"refused": 0, "fail": 0, "after": 0, "largest": 0, "requests": 0}
PAGE = int(sys.argv[2]) if len(sys.argv) > 2 else 1000


def signature(method, url, headers, body):
    """The signature that botocore would put on this request."""
    given = headers["authorization"]
    signed = re.search(r"SignedHeaders=([^,]+)", given).group(1).split(";")
    request = AWSRequest(method=method, url=url, data=body)
    for name in signed:
        request.headers[name] = headers[name]
    auth = S3SigV4Auth(CREDENTIALS, "s3", REGION)
    request.context["timestamp"] = headers["x-amz-date"]
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(text, request), signed


class S3(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        STATE["refused"] += 1
        self.answer(status, f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def handle_any(self):
        size = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(size)
        STATE["largest"] = max(STATE["largest"], size)
        path, _, query = self.path.partition("?")
        if path == "/_count":
            return self.answer(200, json.dumps({**STATE, "uploads": len(UPLOADS), "objects": sorted(OBJECTS)}).encode())
        if path == "/_fail":
            n, _, after = query.removeprefix("n=").partition("&after=")
            STATE["fail"], STATE["after"] = int(n), int(after or 0)
            return self.answer(200)
        STATE["requests"] += 1
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "authorization" not in headers:
            return self.refuse(403, "AccessDenied")
        url = f"http://{headers['host']}{self.path}"
        wanted, signed = signature(self.command, url, headers, body)
        if "host" not in signed or not headers["authorization"].endswith(f"Signature={wanted}"):
            return self.refuse(403, "SignatureDoesNotMatch")
        if headers.get("x-amz-content-sha256") != hashlib.sha256(body).hexdigest():
            return self.refuse(400, "XAmzContentSHA256Mismatch")
        if STATE["after"] > 0:
            STATE["after"] -= 1
        elif STATE["fail"] > 0:
            STATE["fail"] -= 1
            return self.refuse(503, "SlowDown")
        key = urllib.parse.unquote(path).lstrip("/")
        pairs = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return self.act(key, pairs, body)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def act(self, key, query, body):
        command = self.command
        if command == "GET" and query.get("list-type") == "2":
            return self.list(key.rstrip("/"), query)
        if command == "GET":
            if key not in OBJECTS:
                return self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
            return self.answer(200, OBJECTS[key])
        if command == "POST" and "uploads" in query:
            upload = f"up&{len(UPLOADS)}<{STATE['requests']}"
            UPLOADS[upload] = {}
            text = upload.replace("&", "&amp;").replace("<", "&lt;")
            return self.answer(200, f"<R><UploadId>{text}</UploadId></R>".encode())
        if "uploadId" in query:
            return self.part(key, query, body)
        if command == "PUT":
            OBJECTS[key] = body
            return self.answer(200, headers=[("ETag", '"x"')])
        if command == "DELETE":
            OBJECTS.pop(key, None)
            return self.answer(204)
        return self.refuse(400, "InvalidRequest")

    def part(self, key, query, body):
        upload = UPLOADS.get(query["uploadId"])
        if upload is None:
            return self.answer(404, b"<Error><Code>NoSuchUpload</Code></Error>")
        if self.command == "PUT":
            upload[int(query["partNumber"])] = body
            return self.answer(200, headers=[("ETag", f'"{hashlib.md5(body).hexdigest()}"')])
        if self.command == "DELETE":
            del UPLOADS[query["uploadId"]]
            return self.answer(204)
        numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        tags = re.findall(rb"<ETag>&quot;([0-9a-f]+)&quot;</ETag>", body)
        right = [hashlib.md5(upload[n]).hexdigest().encode() for n in numbers]
        small = any(len(upload[n]) < 5 << 20 for n in numbers[:-1])
        if numbers != sorted(upload) or tags != right or small:
            return self.answer(200, b"<?xml version='1.0'?>\n<Error><Code>InvalidPart</Code></Error>")
        OBJECTS[key] = b"".join(upload[n] for n in numbers)
        del UPLOADS[query["uploadId"]]
        return self.answer(200, b"<CompleteMultipartUploadResult/>")

    def list(self, bucket, query):
        prefix = f"{bucket}/{query.get('prefix', '')}"
        keys = [key for key in sorted(OBJECTS) if key.startswith(prefix)]
        keys = [key for key in keys if key > query.get("continuation-token", "")]
        page, more = keys[:PAGE], len(keys) > PAGE
        rows = "".join(
            f"<Contents><Key>{key[len(bucket) + 1:]}</Key><Size>{len(OBJECTS[key])}</Size></Contents>" for key in page
        )
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        text = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        self.answer(200, text.encode())


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), S3).serve_forever()
