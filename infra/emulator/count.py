"""Counts the requests to the emulator, by service and operation, and serves the counts at GET /_fresco/requests.

Used by start.py under --measure only. The deployment does not change: requests are counted as they arrive, DynamoDB's with
the units that AWS would bill, and functions where the emulator invokes them, whatever the invocation's source. Counts only grow;
a measurement is the difference of two answers.
"""

import json
import math
import re
import threading
import time
from urllib.parse import unquote

ROUTE = "/_fresco/requests"
# What a request is signed with: the access key and the service it is for. Links carry the same in their query.
SIGNED = re.compile(r"Credential=([^/&,\s]+)/[0-9]+/[^/]+/([^/]+)/aws4_request")
INVOKE = re.compile(r"/functions/[^/]+/invocations$")
OBJECT_OPERATIONS = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
ITEM_READS = {"GetItem", "BatchGetItem", "Query", "Scan"}
ITEM_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"}
READ_UNIT, WRITE_UNIT = 4096, 1024


class Counter:
    """The counts. Requests are counted on the server's loop, invocations on threads of their own."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = {}
        self.functions = {}

    def request(self, caller, service, operation, of="", read=0.0, write=0.0):
        with self.lock:
            tally = self.requests.setdefault((caller, service, operation, of), [0, 0.0, 0.0])
            tally[0] += 1
            tally[1] += read
            tally[2] += write

    def begun(self, function):
        with self.lock:
            self.functions.setdefault(function, [0, 0, 0, 0])[0] += 1

    def ended(self, function, milliseconds, memory):
        with self.lock:
            tally = self.functions[function]
            tally[1] += 1
            # Billed by started milliseconds.
            tally[2] += math.ceil(milliseconds)
            tally[3] += math.ceil(milliseconds) * memory

    def answer(self):
        with self.lock:
            requests = [
                {"caller": caller, "service": service, "operation": operation, "of": of, "count": count,
                 "read_units": read, "write_units": write}
                for (caller, service, operation, of), (count, read, write) in self.requests.items()
            ]
            functions = [
                {"function": function, "begun": begun, "ended": ended, "ms": ms, "mb_ms": mb_ms}
                for function, (begun, ended, ms, mb_ms) in self.functions.items()
            ]
        return json.dumps({"requests": requests, "functions": functions}).encode()


def measure(app, dynamodb, lambda_svc, worker):
    """Puts the counter around the server, the table and the functions."""
    counter = Counter()
    count_requests(counter, app)
    count_items(counter, dynamodb, dynamodb._item_size_bytes)
    count_invocations(counter, lambda_svc, worker)


def caller_of(access_key):
    """Functions sign with the session of their role; clients with a key of their own."""
    return "functions" if access_key.startswith("ASIA") else "clients"


def count_requests(counter, app):
    """All but items of tables, which are counted with their units."""
    inner = app.app

    async def outer(scope, receive, send):
        if scope["type"] == "http":
            if scope["path"] == ROUTE:
                await answer(counter, send)
                return
            if named := name_of(scope):
                counter.request(*named)
        await inner(scope, receive, send)

    app.app = outer


async def answer(counter, send):
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": counter.answer()})


def name_of(scope):
    """Caller, service, operation and subject of a request; None for one that is counted elsewhere or not at all."""
    method, path = scope["method"], scope["path"]
    if path.startswith("/_aws/execute-api/"):
        return "providers", "apigateway", method, ""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    signed = SIGNED.search(headers.get("authorization", "") or unquote(scope["query_string"].decode("latin-1")))
    if not signed:
        return None
    caller, service = caller_of(signed[1]), signed[2]
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    if service == "dynamodb" and target in ITEM_READS | ITEM_WRITES:
        return None
    if service == "s3":
        bucket, _, key = path.lstrip("/").partition("/")
        if not key:
            return caller, service, f"{method} bucket", ""
        return caller, service, OBJECT_OPERATIONS.get(method, method), key.split("/")[0]
    if service == "lambda" and INVOKE.search(path):
        return caller, service, "Invoke", ""
    return caller, service, target or method, ""


def count_items(counter, dynamodb, item_bytes):
    inner = dynamodb.handle_request

    async def outer(method, path, headers, body, query_params):
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation not in ITEM_READS | ITEM_WRITES:
            return await inner(method, path, headers, body, query_params)
        asked = json.loads(body)
        # The emulator computes what a write consumes, indexes included, for who asks. It is left in the answer: SDKs that
        # did not ask for it do not look at it.
        asking = json.dumps({**asked, "ReturnConsumedCapacity": "INDEXES"}).encode()
        status, answer_headers, answer = await inner(method, path, headers, asking, query_params)
        said = json.loads(answer)
        of = kind_of(operation, asked)
        if operation in ITEM_READS:
            read, write = read_units(operation, asked, said, item_bytes), 0.0
        else:
            read, write = 0.0, write_units(operation, asked, said, status, item_bytes)
            of = of if status == 200 else f"{of} refused"
        signed = SIGNED.search(headers.get("authorization", ""))
        counter.request(caller_of(signed[1] if signed else ""), "dynamodb", operation, of, read, write)
        return status, answer_headers, answer

    dynamodb.handle_request = outer


def kind_of(operation, asked):
    """Which row it is about: the sort key up to its first `#`. Of a transaction: how many items it has."""
    if operation == "TransactWriteItems":
        return str(len(asked["TransactItems"]))
    if operation == "BatchGetItem":
        keys = next(iter(asked["RequestItems"].values()))["Keys"]
        return text(keys[0].get("sk")).split("#")[0]
    if operation == "Query":
        return text(asked.get("ExpressionAttributeValues", {}).get(":begins")).split("#")[0]
    key = asked.get("Key") or asked.get("Item") or {}
    kind = text(key.get("sk")).split("#")[0]
    # The lists are sorted by time.
    return "L" if kind.isdigit() else kind


def text(value):
    return (value or {}).get("S", "")


def read_units(operation, asked, said, item_bytes):
    """Items of one query are billed together, items of a batch one by one; what is not there counts as one unit."""
    def units(size):
        return max(1, math.ceil(size / READ_UNIT))

    if operation == "BatchGetItem":
        total = 0.0
        for table, wanted in asked["RequestItems"].items():
            found = said.get("Responses", {}).get(table, [])
            missing = len(wanted["Keys"]) - len(found)
            share = 1.0 if wanted.get("ConsistentRead") else 0.5
            total += share * (missing + sum(units(item_bytes(item)) for item in found))
        return total
    share = 1.0 if asked.get("ConsistentRead") else 0.5
    items = [said["Item"]] if said.get("Item") else said.get("Items", [])
    return share * units(sum(item_bytes(item) for item in items))


def write_units(operation, asked, said, status, item_bytes):
    """What the emulator computed. A write that a condition refused is billed by the item that refused it."""
    if status == 200:
        consumed = said.get("ConsumedCapacity", [])
        consumed = consumed if isinstance(consumed, list) else [consumed]
        return sum(table.get("CapacityUnits", 0.0) for table in consumed)
    if operation == "TransactWriteItems":
        return 2.0 * len(asked["TransactItems"])
    return float(max(1, math.ceil(item_bytes(said.get("Item") or {}) / WRITE_UNIT)))


def count_invocations(counter, lambda_svc, worker):
    """Where every invocation passes: asked for by request, by a state machine, by the HTTP API or by an event. Its time
    ends with the function's answer: the emulator goes on to wait for log lines, 50 ms where there are none."""
    dispatch, record = lambda_svc._execute_function_dispatch, worker._record_result
    answered = {}

    def outer(func, config, event, request_id, started):
        function = config.get("FunctionName", "")
        counter.begun(function)
        began = time.perf_counter()
        try:
            return dispatch(func, config, event, request_id, started)
        finally:
            ended = answered.pop(request_id, None) or time.perf_counter()
            counter.ended(function, (ended - began) * 1000, config.get("MemorySize", 128))

    def noted(self, generation, request_id, kind, payload):
        answered[request_id] = time.perf_counter()
        return record(self, generation, request_id, kind, payload)

    lambda_svc._execute_function_dispatch, worker._record_result = outer, noted
