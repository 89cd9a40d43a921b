"""A receiver of OTLP, over gRPC and over HTTP: prints what it gets, one JSON object a line.

The first line names the ports. With `--tls FOLDER` it speaks TLS and leaves the root to trust at FOLDER/root.pem. It
ends when its standard input does.
"""

import argparse
import gzip
import json
import ssl
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

printing = threading.Lock()


def say(line):
    with printing:
        print(json.dumps(line), flush=True)


def received(signal, via, headers, request):
    say({"signal": signal, "via": via, "headers": headers, "body": readable(MessageToDict(request))})


def readable(value, key=""):
    """Ids as hexadecimal digits instead of base64."""
    if isinstance(value, dict):
        return {k: readable(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [readable(v) for v in value]
    if key in ("traceId", "spanId", "parentSpanId"):
        import base64

        return base64.b64decode(value).hex()
    return value


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        received("traces", "grpc", dict(context.invocation_metadata()), request)
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        received("metrics", "grpc", dict(context.invocation_metadata()), request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kinds = {
        "traces": (trace_service_pb2.ExportTraceServiceRequest, trace_service_pb2.ExportTraceServiceResponse),
        "metrics": (metrics_service_pb2.ExportMetricsServiceRequest, metrics_service_pb2.ExportMetricsServiceResponse),
    }

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()} | {":path": self.path}
        signal = self.path.rsplit("/", 1)[-1]
        if signal not in self.kinds or headers.get("content-type") != "application/x-protobuf":
            say({"refused": self.path, "headers": headers})
            self.send_error(404)
            return
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request, response = self.kinds[signal]
        received(signal, "http", headers, request.FromString(body))
        answer = response().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tls", type=Path)
    tls = options.parse_args().tls

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Http)
    http.daemon_threads = True

    if tls:
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(tls / "root.pem"))
        key, chain = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
        grpc_port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    else:
        grpc_port = server.add_insecure_port("127.0.0.1:0")

    server.start()
    threading.Thread(target=http.serve_forever, daemon=True).start()
    say({"grpc": grpc_port, "http": http.server_port})
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
