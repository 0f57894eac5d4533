"""An OTLP receiver made of what PyPI has (opentelemetry-proto, grpcio) and of nothing of ours.

    otlp_receiver.py PORT

Each span that arrives is printed as one line of JSON, and of each series the first point.
"""

import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


def plain(attributes):
    """Attributes as a dictionary."""
    values = {}
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        values[attribute.key] = getattr(attribute.value, kind) if kind else None
    return values


ONE_AT_A_TIME = threading.Lock()


def tell(line):
    # Several nodes send at once: their lines must not run into each other.
    with ONE_AT_A_TIME:
        print(json.dumps(line), flush=True)


class Traces(trace_grpc.TraceServiceServicer):
    def Export(self, request, context):
        for of in request.resource_spans:
            resource = plain(of.resource.attributes)
            for span in (span for scope in of.scope_spans for span in scope.spans):
                tell({
                    "kind": "span",
                    "node": resource.get("service.instance.id"),
                    "service": resource.get("service.name"),
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "side": trace_pb2.Span.SpanKind.Name(span.kind),
                    "begin": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": plain(span.attributes),
                    "links": [link.trace_id.hex() for link in span.links],
                })
        return trace.ExportTraceServiceResponse()


class Metrics(metrics_grpc.MetricsServiceServicer):
    seen = set()

    def Export(self, request, context):
        for of in request.resource_metrics:
            resource = plain(of.resource.attributes)
            for metric in (metric for scope in of.scope_metrics for metric in scope.metrics):
                shape = metric.WhichOneof("data")
                for point in getattr(metric, shape).data_points:
                    labels = plain(point.attributes)
                    series = (resource.get("service.instance.id"), metric.name, *sorted(labels.items()))
                    if series in self.seen:
                        continue
                    self.seen.add(series)
                    value = point.count if shape == "histogram" else point.as_double
                    tell({
                        "kind": "metric",
                        "node": resource.get("service.instance.id"),
                        "name": metric.name,
                        "shape": shape,
                        "labels": labels,
                        "value": value,
                        "at": point.time_unix_nano,
                    })
        return metrics.ExportMetricsServiceResponse()


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    trace_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    tell({"kind": "ready"})
    server.wait_for_termination()


if __name__ == "__main__":
    main()
