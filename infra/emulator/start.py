"""Starts MiniStack for Fresco's local stack, with the gaps closed that matter to it.

Closed here, because AWS does them and MiniStack 1.5.33 does not: a waitForTaskToken task's TimeoutSeconds as a JSONata
expression (the check interval of a run) and a fresh token at each retry of it, the failure of such a task with its function (which is retried, where MiniStack
waits for the token of a function that has crashed), that an inline map whose item has failed begins no further ones, and a
distributed map's MaxConcurrencyPath, that an event is tried again and goes to the function's destination if it fails for
good, the time zones, context attributes and start dates of schedules (schedules.py), the lifecycle of buckets (lifecycle.py), the
policies of roles (access.py), and the CORS configuration of an HTTP API with its preflights. Besides: functions start in
turn, and the emulator never outlives the command that owns it, leaves no Lambda worker behind, and loses neither items nor
executions however it ends (durable.py).

    start.py --lock FILE [--die-with-stdin] [--measure] [--access FILE] [--conflicts MILLISECONDS]

--lock            holds this process's id, and is locked as long as this process or a function lives: two emulators never share a
                  state folder, and the command sees whether one runs.
--die-with-stdin  ends when stdin does, unless the word "keep" was written to it before.
--measure         counts requests (count.py). Its state is saved at its end only: saving would stand in the way of what is
                  measured.
--access FILE     takes a line for each permission that a role used or was refused (access.py).
--conflicts MS    a transaction holds its items for that time, and other writes of them are in conflict (conflicts.py).

The rest is MiniStack's own environment: GATEWAY_PORT, BIND_HOST, STATE_DIR, ...
"""

import argparse
import contextvars
import fcntl
import inspect
import json
import logging
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time

VERSION = "1.5.33"
LOCK_SECONDS = 30
SAVE_SECONDS = 5

log = logging.getLogger("fresco")


def refuse(message):
    """Ends the process: a gap that is not closed would show as a run that hangs or fails much later."""
    sys.exit(f"fresco: {message}")


def import_ministack():
    try:
        from importlib.metadata import version

        found = version("ministack")
        from ministack import app
        from ministack.services import stepfunctions
    except ImportError as error:
        refuse(f"MiniStack cannot be imported ({error}); remove the .fresco/venv folder and start again")
    if found != VERSION:
        refuse(f"this script was written for MiniStack {VERSION}, but {found} is installed")
    return app, stepfunctions


def expect(function, *parameters):
    """The named function takes exactly these parameters, or the wrapping below would break it silently."""
    found = tuple(inspect.signature(function).parameters)
    if found != parameters:
        refuse(f"MiniStack {VERSION} is not what it was: {function.__name__} takes {found}, not {parameters}")


class FunctionFailed(Exception):
    """The function of a task that waits for its token failed. MiniStack would swallow its own kind of exception."""


def close_gaps(sfn):
    names = ("_execute_task", "_invoke_with_callback", "_call_lambda", "_run_map_items", "_run_sub_machine",
             "_run_distributed_map", "_jsonata_state_field", "_resolve_path_or_ctx", "_ExecutionError")
    missing = [name for name in names if not callable(getattr(sfn, name, None))]
    if missing:
        refuse(f"MiniStack {VERSION} is not what it was: stepfunctions has no {', '.join(missing)}")
    expect(sfn._execute_task, "state_def", "raw_input", "execution", "ctx")
    expect(sfn._invoke_with_callback, "resource", "input_data", "token", "state_def")
    expect(sfn._call_lambda, "func_ref", "event")
    expect(sfn._run_map_items, "state_def", "raw_input", "execution", "ctx")
    expect(sfn._run_distributed_map, "state_def", "raw_input", "effective", "iterator", "execution", "ctx")
    expect(sfn._jsonata_state_field, "state_def", "field", "expected", "raw_input", "ctx")
    expect(sfn._resolve_path_or_ctx, "path", "data", "ctx")

    execute_task, invoke, run_map = sfn._execute_task, sfn._invoke_with_callback, sfn._run_distributed_map
    # What the answer to a token is judged on (access.py).
    sfn.machines_of_tokens = {}
    call_function, run_items, run_item = sfn._call_lambda, sfn._run_map_items, sfn._run_sub_machine
    # A task is executed and its callback awaited on one thread, so the input and the context can be passed beside.
    current = threading.local()

    def with_context(state_def, raw_input, execution, ctx):
        before = getattr(current, "task", None)
        current.task = (raw_input, ctx)
        try:
            return execute_task(state_def, raw_input, execution, ctx)
        finally:
            current.task = before

    def with_timeout(resource, input_data, token, state_def):
        # At every attempt: a nudge enters the state with another check interval.
        if isinstance(state_def.get("TimeoutSeconds"), str):
            raw_input, ctx = current.task
            seconds = sfn._jsonata_state_field(state_def, "TimeoutSeconds", "number", raw_input, ctx)
            state_def = {**state_def, "TimeoutSeconds": seconds}
        current.token = token
        sfn.machines_of_tokens[token] = current.task[1].get("StateMachine", {}).get("Id", "")
        try:
            return invoke(resource, input_data, token, state_def)
        except FunctionFailed as failed:
            sfn._task_tokens.pop(token, None)
            raise failed.__cause__ from None
        finally:
            current.token = None
            # A token is good for one attempt: the next has its own.
            current.task[1]["Task"] = {"Token": sfn.new_uuid()}

    def with_failure(func_ref, event):
        try:
            return call_function(func_ref, event)
        except sfn._ExecutionError as error:
            waiting = sfn._task_tokens.get(getattr(current, "token", None))
            # A token that the function answered before it failed counts.
            if waiting is None or waiting["event"].is_set():
                raise
            raise FunctionFailed from error

    # The maps around what runs: one flag each, set when an item of it has failed. Items run in copies of the context.
    maps = contextvars.ContextVar("maps", default=())

    def with_failed_flag(state_def, raw_input, execution, ctx):
        processor = state_def.get("ItemProcessor") or {}
        if (processor.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED":
            return run_items(state_def, raw_input, execution, ctx)  # tolerates failures
        token = maps.set((*maps.get(), threading.Event()))
        try:
            return run_items(state_def, raw_input, execution, ctx)
        finally:
            maps.reset(token)

    def unless_failed(*args, **kwargs):
        around = maps.get()
        # Items begin in their order, so one of those before is what the map fails with.
        if any(failed.is_set() for failed in around):
            raise sfn._ExecutionError("States.MapFailed", "another item of the map has failed")
        try:
            return run_item(*args, **kwargs)
        except BaseException:
            if around:
                around[-1].set()
            raise

    def with_concurrency(state_def, raw_input, effective, iterator, execution, ctx):
        path = state_def.get("MaxConcurrencyPath")
        if path:
            state_def = {**state_def, "MaxConcurrency": sfn._resolve_path_or_ctx(path, effective, ctx)}
        return run_map(state_def, raw_input, effective, iterator, execution, ctx)

    sfn._execute_task, sfn._invoke_with_callback, sfn._run_distributed_map = with_context, with_timeout, with_concurrency
    sfn._call_lambda, sfn._run_map_items, sfn._run_sub_machine = with_failure, with_failed_flag, unless_failed


def answer_functions_at_once():
    """The server that hands functions their events writes head and body apart: the kernel would hold the body back until
    the function has acknowledged the head, 40 ms later, at every invocation."""
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True


def try_events_again():
    """Lambda tries an event again, and hands over one that fails for good to where the function says. MiniStack does both,
    but not for the rules of EventBridge."""
    from ministack.services import eventbridge, lambda_svc

    expect(eventbridge._dispatch_to_lambda, "arn", "payload")
    expect(lambda_svc.invoke_async_with_retry, "func", "event")
    expect(lambda_svc._execution_record_for_config, "func", "config")

    def dispatch(arn, payload):
        function, config, _ = lambda_svc._get_func_record_for_ref(arn)
        if function and config:
            record = lambda_svc._execution_record_for_config(function, config)
            lambda_svc.invoke_async_with_retry(record, json.loads(payload))

    eventbridge._dispatch_to_lambda = dispatch


def fire_schedules(schedules):
    """Puts a scheduler with time zones and context attributes in the place of MiniStack's."""
    from ministack.services import eventbridge, scheduler

    names = ((scheduler, "_tick_schedules"), (scheduler, "set_request_account_id"), (scheduler, "new_uuid"),
             (eventbridge, "_parse_rate_seconds"), (eventbridge, "_parse_cron_fields"), (eventbridge, "_cron_next_fire"))
    missing = [name for module, name in names if not callable(getattr(module, name, None))]
    if missing or not hasattr(scheduler, "_SCHEDULE_TICK_INTERVAL"):
        refuse(f"MiniStack {VERSION} is not what it was: its scheduler has no {', '.join(missing) or 'interval'}")
    expect(eventbridge._invoke_target, "target", "event", "rule", "view")
    schedules.replace(scheduler, eventbridge)


def apply_lifecycles(app, lifecycle):
    """Takes the lifecycle of buckets from templates, and applies it on request."""
    from ministack.services import s3
    from ministack.services.cloudformation import provisioners

    names = ("_delete_object", "_delete_bucket_lifecycle", "_lifecycle_rules_error")
    missing = [name for name in names if not callable(getattr(s3, name, None))]
    missing += [name for name in ("_buckets", "_bucket_lifecycle", "_multipart_uploads") if not hasattr(s3, name)]
    if missing or not isinstance(getattr(provisioners, "_S3_BUCKET_CONFIGURATIONS", None), tuple):
        refuse(f"MiniStack {VERSION} is not what it was: S3 has no {', '.join(missing) or 'bucket configurations'}")
    lifecycle.install(app, s3, provisioners, time.time)


def rename_cors_configurations():
    """CloudFormation names the members of an API's CORS configuration with a capital, and the API with a small first letter.
    MiniStack stores the former and reads the latter."""
    from ministack.services.cloudformation import provisioners

    handlers = provisioners._RESOURCE_HANDLERS.get("AWS::ApiGatewayV2::Api") or {}
    if not all(callable(handlers.get(name)) for name in ("create", "update")):
        refuse(f"MiniStack {VERSION} is not what it was: AWS::ApiGatewayV2::Api is not created as it was")

    def renamed(properties):
        cors = properties.get("CorsConfiguration") if isinstance(properties, dict) else None
        if not cors:
            return properties
        return {**properties, "CorsConfiguration": {name[0].lower() + name[1:]: value for name, value in cors.items()}}

    def wrapped(change):
        return lambda *args, **kwargs: change(*map(renamed, args), **kwargs)

    for name in ("create", "update"):
        handlers[name] = wrapped(handlers[name])


def authorise_preflights():
    """`$default` catches preflights, too, and its authoriser refuses what browsers send without credentials, unless another
    route takes them (API Gateway Developer Guide, "Configuring CORS for an HTTP API"). MiniStack answers all of them."""
    from ministack.services import apigateway

    expect(apigateway._match_route, "api_id", "method", "path")
    inner = apigateway._handle_execute_in_scope

    async def execute(api_id, stage, path, method, *args, **kwargs):
        route = apigateway._match_route(api_id, method, "/" + path.lstrip("/")) if method == "OPTIONS" else None
        if route and (route.get("authorizationType") or "NONE") != "NONE":
            return 403, {"Content-Type": "application/json"}, b'{"message":"Forbidden"}'
        return await inner(api_id, stage, path, method, *args, **kwargs)

    apigateway._handle_execute_in_scope = execute


def start_functions_in_turn():
    """Hundreds of functions that start at once starve each other, and the emulator, on a small machine. On AWS each starts on
    its own."""
    from ministack.core.lambda_runtime import ProvidedWorker

    if not callable(getattr(ProvidedWorker, "_spawn", None)):
        refuse(f"MiniStack {VERSION} is not what it was: ProvidedWorker has no _spawn")
    spawn, gate = ProvidedWorker._spawn, threading.Semaphore(2 * (os.cpu_count() or 1))

    def in_turn(self, *args, **kwargs):
        with gate:
            return spawn(self, *args, **kwargs)

    ProvidedWorker._spawn = in_turn


def lock(path):
    """Locks the file for this process and the functions that it starts. The kernel releases the lock when the last of them
    ends, however it ends."""
    handle = open(path, "a")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                refuse(f"another emulator has used this state folder for {LOCK_SECONDS} s ({path})")
            time.sleep(0.05)
    handle.truncate(0)
    print(os.getpid(), file=handle, flush=True)

    class Popen(subprocess.Popen):
        def __init__(self, *args, pass_fds=(), **kwargs):
            super().__init__(*args, pass_fds=(*pass_fds, handle.fileno()), **kwargs)

    subprocess.Popen = Popen
    return handle


def end_all(*_):
    """Ends this process and every process that it started: all are in the group that it leads."""
    os.killpg(0, signal.SIGKILL)


def die_with_stdin():
    """Stdin ends when the owner does, whatever ended it."""
    said = b""
    while chunk := os.read(0, 64):
        said = (said + chunk)[-64:]
    if b"keep" not in said:
        os.kill(os.getpid(), signal.SIGTERM)


def repair_interrupted_changes():
    """Marks changes that the end of the emulator interrupted: a change in progress would refuse every later one. The next
    update repeats an update; a stack that was never created can only be deleted."""
    from ministack.services import cloudformation

    if not callable(getattr(cloudformation, "load_persisted_state", None)):
        refuse(f"MiniStack {VERSION} is not what it was: the state of CloudFormation is not loaded as it was")
    inner = cloudformation.load_persisted_state

    def load(data):
        stacks = (data or {}).get("stacks")
        for stack in getattr(stacks, "_data", stacks or {}).values():
            status = stack.get("StackStatus", "")
            if status.endswith("_IN_PROGRESS"):
                stack["StackStatus"] = "UPDATE_ROLLBACK_COMPLETE" if status.startswith("UPDATE_") else "ROLLBACK_FAILED"
        inner(data)

    cloudformation.load_persisted_state = load


def save_while_running(keeper):
    """MiniStack saves at its end only."""
    while True:
        time.sleep(SAVE_SECONDS)
        keeper.save()


def make_conflicts(app, milliseconds):
    from ministack.services import dynamodb

    expect(dynamodb.handle_request, "method", "path", "headers", "body", "query_params")
    import conflicts

    conflicts.install(app, dynamodb, milliseconds)


def keep_state(app):
    """Keeps items and executions through an end by SIGKILL."""
    from ministack.core import persistence
    from ministack.services import dynamodb, stepfunctions

    names = ((dynamodb, "_set_item"), (dynamodb, "_remove_item"), (dynamodb, "load_persisted_state"),
             (stepfunctions, "_run_execution"), (stepfunctions, "_start_execution"),
             (persistence, "save_state"), (app, "_build_persistence_save_dict"))
    missing = [name for module, name in names if not callable(getattr(module, name, None))]
    if missing:
        refuse(f"MiniStack {VERSION} is not what it was: it has no {', '.join(missing)}")
    expect(dynamodb._set_item, "table", "pk_val", "sk_val", "item")
    expect(dynamodb._remove_item, "table", "pk_val", "sk_val")
    expect(stepfunctions._emit_execution_status_event, "execution")
    expect(persistence.save_state, "service", "data")
    import durable

    return durable.install(app, os.environ["STATE_DIR"])


def end_after_shutdown(app):
    """Lets nothing delay the end once the state is saved: worker threads may wait for a task token for minutes."""
    inner = app.app

    async def outer(scope, receive, send):
        async def watched(message):
            await send(message)
            if message["type"] == "lifespan.shutdown.complete":
                end_all()

        await inner(scope, receive, watched if scope["type"] == "lifespan" else send)

    app.app = outer


def count(app):
    """Puts the counter around everything, where what it looks at is as it was."""
    from ministack.core.lambda_runtime import ProvidedWorker
    from ministack.services import dynamodb, lambda_svc

    names = ((dynamodb, "handle_request"), (dynamodb, "_item_size_bytes"), (lambda_svc, "_execute_function_dispatch"),
             (ProvidedWorker, "_record_result"))
    missing = [name for module, name in names if not callable(getattr(module, name, None))]
    if missing:
        refuse(f"MiniStack {VERSION} is not what it was: it has no {', '.join(missing)}")
    expect(dynamodb.handle_request, "method", "path", "headers", "body", "query_params")
    expect(lambda_svc._execute_function_dispatch, "func", "config", "event", "request_id", "started")
    expect(ProvidedWorker._record_result, "self", "generation", "request_id", "kind", "payload")
    from count import measure

    measure(app, dynamodb, lambda_svc, ProvidedWorker)


def main():
    parser = argparse.ArgumentParser(description="MiniStack for Fresco's local stack")
    parser.add_argument("--lock", required=True)
    parser.add_argument("--die-with-stdin", action="store_true")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--access")
    parser.add_argument("--conflicts", type=int)
    flags = parser.parse_args()
    # A session of its own: ends of terminals do not reach it, and the whole group can be ended at once.
    os.setsid()
    held = lock(flags.lock)
    if flags.die_with_stdin:
        threading.Thread(target=die_with_stdin, daemon=True).start()
    # Python runs isolated: neither does it look beside this script by itself, nor may it leave bytecode there.
    sys.dont_write_bytecode = True
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import access
    import lifecycle
    import schedules

    app, stepfunctions = import_ministack()
    access.install(app, flags.access)
    close_gaps(stepfunctions)
    repair_interrupted_changes()
    answer_functions_at_once()
    start_functions_in_turn()
    try_events_again()
    fire_schedules(schedules)
    apply_lifecycles(app, lifecycle)
    rename_cors_configurations()
    authorise_preflights()
    end_after_shutdown(app)
    if flags.conflicts:
        make_conflicts(app, flags.conflicts)
    keeper = keep_state(app)
    if flags.measure:
        count(app)
    else:
        threading.Thread(target=save_while_running, args=(keeper,), daemon=True).start()
    sys.argv = [sys.argv[0]]
    app.main()
    held.close()


if __name__ == "__main__":
    main()
