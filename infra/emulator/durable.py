"""Keeps the ledger and the executions through the end of the emulator, however it ends.

MiniStack writes objects to disk as they come, and all else when it is told to: a SIGKILL would leave a table that is older
than the bucket. Here every write of an item is appended to a journal before it is answered, as the item that it leaves;
the journal is read after the saved state. An image may be read twice: the last one of an item counts.

Executions are kept by their start and their end. POST /_fresco/resume, which the command sends once the stack is deployed,
saves all of it and starts those again that were running, from their beginning: functions find what was done. An execution with a distributed
map cannot be repeated, since its items are executions of fixed names. It ends as aborted, and its items with it.
"""

import json
import os
import threading

ROUTE = "/_fresco/resume"
ABORTED = "the local stack ended while it was running"
# What changes all the time and is small. The rest is saved whenever a CloudFormation stack has changed.
SAVED_OFTEN = ("dynamodb", "s3", "scheduler")


class Journal:
    """Lines of JSON in a file that is begun again at each save. The kernel keeps what is written through the end of the
    process; only the end of the machine may take the last lines."""

    def __init__(self, path):
        self.path, self.before = path, path + ".before"
        self.lock = threading.Lock()
        self.handle = None

    def write(self, line):
        text = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        with self.lock:
            if self.handle is None:
                self.handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(self.handle, text)

    def begin_again(self):
        """Sets the lines until now aside, for a save that holds what they say."""
        with self.lock:
            if self.handle is not None:
                os.close(self.handle)
                self.handle = None
            if os.path.exists(self.path):
                with open(self.before, "ab") as before, open(self.path, "rb") as lines:
                    before.write(lines.read())
                os.remove(self.path)

    def forget(self):
        """Removes what was set aside: the save is on disk."""
        if os.path.exists(self.before):
            os.remove(self.before)

    def replace(self, lines):
        """Leaves these lines only."""
        text = b"".join((json.dumps(line) + "\n").encode() for line in lines)
        with open(self.path + ".new", "wb") as file:
            file.write(text)
        os.replace(self.path + ".new", self.path)

    def lines(self):
        for path in (self.before, self.path):
            if not os.path.exists(path):
                continue
            with open(path, "rb") as file:
                for line in file:
                    # The last line may have been cut.
                    if line.endswith(b"\n"):
                        yield json.loads(line)


def install(app, folder):
    """Keeps journals in the folder of the state, and returns what saves the state."""
    from ministack.core import persistence
    from ministack.services import dynamodb, stepfunctions

    os.makedirs(folder, exist_ok=True)
    items = Journal(os.path.join(folder, "dynamodb.journal"))
    keep_items(dynamodb, items)
    executions = keep_executions(stepfunctions, Journal(os.path.join(folder, "executions.journal")))
    keeper = Keeper(app, persistence, items)
    serve(app, keeper, executions)
    return keeper


class Keeper:
    """Saves the state of the services."""

    def __init__(self, app, persistence, items):
        self.app, self.persistence, self.items = app, persistence, items
        self.lock = threading.Lock()
        self.stacks = None

    def save(self):
        """Saves what changes often, and all if a stack has changed. The journal begins again if all that was saved."""
        with self.lock:
            services = self.app._build_persistence_save_dict()
            stacks = fingerprint(services.get("cloudformation"))
            if stacks is not None and stacks == self.stacks:
                services = {name: state for name, state in services.items() if name in SAVED_OFTEN}
            self.items.begin_again()
            if all([self.saved(name, get_state) for name, get_state in services.items()]):
                self.stacks = stacks
                self.items.forget()

    def saved(self, name, get_state):
        try:
            state = get_state()
        except RuntimeError:  # Changed while it was read; the next save has it.
            return False
        if state is not None:
            self.persistence.save_state(name, state)
        return True


def fingerprint(get_state):
    try:
        return json.dumps(get_state() if get_state else None, default=lambda value: repr(getattr(value, "_data", "")))
    except RuntimeError:  # Changed while it was read.
        return None


def keep_items(dynamodb, journal):
    put, remove, load = dynamodb._set_item, dynamodb._remove_item, dynamodb.load_persisted_state

    def kept_put(table, pk_val, sk_val, item):
        old = put(table, pk_val, sk_val, item)
        journal.write([table["TableArn"], pk_val, sk_val, item])
        return old

    def kept_remove(table, pk_val, sk_val):
        old = remove(table, pk_val, sk_val)
        journal.write([table["TableArn"], pk_val, sk_val, None])
        return old

    def loaded(data):
        load(data)
        tables = {table["TableArn"]: table for table in dynamodb._tables.all_values()}
        for arn, pk_val, sk_val, item in journal.lines():
            # The table of a stack that was removed may be gone.
            if table := tables.get(arn):
                put(table, pk_val, sk_val, item) if item is not None else remove(table, pk_val, sk_val)

    dynamodb._set_item, dynamodb._remove_item, dynamodb.load_persisted_state = kept_put, kept_remove, loaded


class Executions:
    """The executions that run, and those that ran when the emulator ended."""

    def __init__(self, sfn, journal):
        self.sfn, self.journal = sfn, journal
        self.lost = {}
        for arn, execution in journal.lines():
            if execution is None:
                self.lost.pop(arn, None)
            else:
                self.lost[arn] = execution
        journal.replace([arn, execution] for arn, execution in self.lost.items())

    def began(self, record, nested):
        kept = {name: record[name] for name in ("executionArn", "stateMachineArn", "name", "startDate", "input")}
        self.journal.write([record["executionArn"], {**kept, "nested": nested}])

    def ended(self, arn):
        self.journal.write([arn, None])

    def resume(self):
        """Starts or ends what was running, and returns the number of either."""
        lost, self.lost = self.lost, {}
        restarted = aborted = 0
        for arn, kept in lost.items():
            machine = self.sfn._state_machines.get(kept["stateMachineArn"])
            if machine is None:
                continue
            if kept["nested"] or '"DISTRIBUTED"' in machine["definition"]:
                self.abort(arn, kept)
                aborted += 1
                continue
            # The record of the saved state would refuse a second execution of its name.
            self.sfn._executions.pop(arn, None)
            self.sfn._start_execution({name: kept[name] for name in ("stateMachineArn", "name", "input")})
            restarted += 1
        return {"restarted": restarted, "aborted": aborted}

    def abort(self, arn, kept):
        record = {**kept, "status": "ABORTED", "stopDate": self.sfn.now_iso(), "output": None, "cause": ABORTED, "events": []}
        self.sfn._executions[arn] = record
        self.ended(arn)
        self.sfn._emit_execution_status_event(record)


def keep_executions(sfn, journal):
    emit, run = sfn._emit_execution_status_event, sfn._run_execution
    executions = Executions(sfn, journal)

    def emitted(execution):
        if execution["status"] == "RUNNING":
            executions.began(execution, nested=False)
        else:
            executions.ended(execution["executionArn"])
        return emit(execution)

    def ran(arn):
        # Nested executions are waited for by their parent, and emit nothing.
        record = sfn._executions.get(arn) or {}
        if not record.get("sync"):
            return run(arn)
        executions.began(record, nested=True)
        try:
            return run(arn)
        finally:
            executions.ended(arn)

    sfn._emit_execution_status_event, sfn._run_execution = emitted, ran
    return executions


def serve(app, keeper, executions):
    inner = app.app

    async def outer(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == ROUTE:
            keeper.save()
            body = json.dumps(executions.resume()).encode()
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await inner(scope, receive, send)

    app.app = outer
