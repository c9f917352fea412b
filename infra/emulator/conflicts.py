"""Conflicts of writes, as DynamoDB has them and MiniStack, which serves one request after the other, has not.

DynamoDB Developer Guide, "Transaction conflict handling in DynamoDB": a transaction is rejected where another one is under
way on one of its items (TransactionCanceledException, whose reason is TransactionConflict), and so is a plain write of such
an item (TransactionConflictException). Reads of single items never conflict.

Used under --conflicts MILLISECONDS: a transaction holds its items for that time before it is carried out. The counts of
transactions that were carried out and of writes that were refused are served at GET /_fresco/conflicts.
"""

import asyncio
import json

ROUTE = "/_fresco/conflicts"
PLAIN = {"PutItem", "UpdateItem", "DeleteItem"}
MESSAGE = "Transaction is ongoing for the item"
CANCELLED = "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]"


def key_of(part):
    """The key of an item that a request names, with its table."""
    attributes = part.get("Key") or part.get("Item") or {}
    return part["TableName"], *(json.dumps(attributes.get(name)) for name in ("pk", "sk"))


def refusal(kind, message, **more):
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": message, **more}
    return 400, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode()


def install(app, dynamodb, milliseconds):
    inner, held = dynamodb.handle_request, set()
    counts = {"transactions": 0, "refused": 0}
    serve(app, counts)

    async def handle(method, path, headers, body, query_params):
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation in PLAIN and key_of(json.loads(body)) in held:
            counts["refused"] += 1
            return refusal("TransactionConflictException", MESSAGE)
        if operation != "TransactWriteItems":
            return await inner(method, path, headers, body, query_params)
        keys = [key_of(part) for item in json.loads(body)["TransactItems"] for part in item.values()]
        codes = ["TransactionConflict" if key in held else "None" for key in keys]
        if "TransactionConflict" in codes:
            counts["refused"] += 1
            message, reasons = CANCELLED.format(", ".join(codes)), [{"Code": code} for code in codes]
            return refusal("TransactionCanceledException", message, Message=message, CancellationReasons=reasons)
        counts["transactions"] += 1
        held.update(keys)
        try:
            await asyncio.sleep(milliseconds / 1000)
            return await inner(method, path, headers, body, query_params)
        finally:
            held.difference_update(keys)

    dynamodb.handle_request = handle


def serve(app, counts):
    inner = app.app

    async def outer(scope, receive, send):
        if scope["type"] != "http" or scope["path"] != ROUTE:
            await inner(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(counts).encode()})

    app.app = outer
