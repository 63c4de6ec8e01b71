"""OpenTelemetry's own definitions read what a sidecar sends to a collector: spans of calls in the agent's trace, and counters."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from kit import COMMAND, SEED, SERVER_ENV, check, finish

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
taken = {"/v1/traces": [], "/v1/metrics": []}


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        taken[self.path].append((self.headers["content-type"], body))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, *_):
        pass


def attributes(of):
    return {pair.key: pair.value.string_value for pair in of}


collector = HTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=collector.serve_forever, daemon=True).start()
place = {"OTEL_SERVICE_NAME": "codes", "COUNTERSIGN_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}/"}
sidecar = subprocess.Popen(COMMAND, env={**SERVER_ENV, **place}, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def ask(number, method, params):
    sidecar.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
    sidecar.stdin.flush()
    return json.loads(sidecar.stdout.readline())["result"]


def call(number, tool, arguments, flags="01"):
    meta = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}
    return ask(number, "tools/call", {"name": tool, "arguments": arguments, "_meta": meta})


client = {"name": "canary-client", "version": "1"}
ask(0, "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
sidecar.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
made = call(1, "register_totp_secret", {"label": "canary-label", "secret": SEED})["structuredContent"]["totp_secret"]["id"]
code = call(2, "get_totp_code", {"secret_id": made, "purpose": "canary-purpose"})["structuredContent"]["code"]
call(3, "get_totp_code", {"secret_id": "canary"})
call(4, "list_seats", {}, "00")
sidecar.stdin.close()
check("the sidecar ends", sidecar.wait(timeout=30) == 0)

spans, resources = [], []
for kind, body in taken["/v1/traces"]:
    check("traces: protobuf", kind == "application/x-protobuf", kind)
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resources.append(attributes(resource.resource.attributes))
        spans += [span for scope in resource.scope_spans for span in scope.spans]
check("resource", all(found["service.name"] == "codes" and found["service.version"] for found in resources), resources)
names = [span.name for span in spans]
check("a span for each call that the agent records", names == ["tools/call register_totp_secret"] + ["tools/call get_totp_code"] * 2, names)
check("in the agent's trace", all((span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN) for span in spans))
check("times", all(0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9 for span in spans))
check("kind", {span.kind for span in spans} == {2}, {span.kind for span in spans})
said = [attributes(span.attributes) for span in spans]
check("tools", [found["gen_ai.tool.name"] for found in said][1:] == ["get_totp_code"] * 2, said)
check("a refusal is told, and is no error of the server", said[2]["error.type"] == "invalid_argument" and spans[2].status.code == 0, said[2])

metrics = {}
for _, body in taken["/v1/metrics"]:
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        metrics |= {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
issued = metrics["countersign.codes.issued"].sum
check("codes", [point.as_int for point in issued.data_points] == [1] and issued.is_monotonic, issued)
refused = {attributes(point.attributes)["error.type"]: point.as_int for point in metrics["countersign.refusals"].sum.data_points}
check("refusals", refused["invalid_argument"] == 1, refused)
durations = metrics["mcp.server.operation.duration"]
check("durations", durations.unit == "s" and sum(point.count for point in durations.histogram.data_points) == 4, durations)

whole = b"".join(body for sent in taken.values() for _, body in sent)
hidden = [SEED, code, made, "canary", "label", "purpose"]
check("nothing that was sent or answered", not any(text.encode() in whole for text in hidden), hidden)
finish()
