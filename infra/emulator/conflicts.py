"""Conflicts of writes, as DynamoDB has them and MiniStack, which serves one request after the other, has not.

DynamoDB Developer Guide, "Transaction conflict handling in DynamoDB": a transaction is rejected where another one is under
way on one of its items (TransactionCanceledException, whose reason is TransactionConflict), and so is a plain write of such
an item (TransactionConflictException). Reads of single items never conflict.

Used under --conflicts MILLISECONDS: a transaction holds its items for that time before it is carried out.
"""

import asyncio
import json

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


def install(dynamodb, milliseconds):
    inner, held = dynamodb.handle_request, set()

    async def handle(method, path, headers, body, query_params):
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if operation in PLAIN and key_of(json.loads(body)) in held:
            return refusal("TransactionConflictException", MESSAGE)
        if operation != "TransactWriteItems":
            return await inner(method, path, headers, body, query_params)
        keys = [key_of(part) for item in json.loads(body)["TransactItems"] for part in item.values()]
        codes = ["TransactionConflict" if key in held else "None" for key in keys]
        if "TransactionConflict" in codes:
            message, reasons = CANCELLED.format(", ".join(codes)), [{"Code": code} for code in codes]
            return refusal("TransactionCanceledException", message, Message=message, CancellationReasons=reasons)
        held.update(keys)
        try:
            await asyncio.sleep(milliseconds / 1000)
            return await inner(method, path, headers, body, query_params)
        finally:
            held.difference_update(keys)

    dynamodb.handle_request = handle
