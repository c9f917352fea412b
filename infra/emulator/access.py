"""IAM for what MiniStack does not judge under AUTH=true.

MiniStack gives each function a session of its role and evaluates the policies of that role. Added here:

* An answer to a task token is judged on the state machine whose task waits: a refused call on AWS names that ARN
  (github.com/aws/aws-cdk/pull/8486).
* `events:PutEvents` has `events:source` and `events:detail-type` as condition keys, and a DynamoDB request
  `dynamodb:LeadingKeys`.
* A schedule is judged in the group that the request names, and the role that it names has to be passed (`iam:PassRole`).
* A wildcard matches a line break, too: object keys may hold one.
* State machines, schedules and rules act in process and without a request. Their roles (machines, schedules) and the
  resource policies of their targets (rules, the HTTP API) are judged before they act.

GET /_fresco/access lists what was refused. --access FILE takes a line for each grant of the roles that act and one for each
use of a grant, from which .ci/access.py lists the grants that nothing uses.
"""

import contextvars
import json
import logging
import re
import threading

ROUTE = "/_fresco/access"
# What Step Functions answers where the role of a machine lacks a permission: the error names of the Step Functions guide.
DENIED_TASK = "States.Permissions"
DENIED_READER = "States.ItemReaderFailed"
DENIED_WRITER = "States.ResultWriterFailed"
# The rule through which Step Functions learns of the end of an execution that a task waits for (.sync).
MANAGED_RULE = "StepFunctionsGetEventsForStepFunctionsExecutionRule"

log = logging.getLogger("fresco")


class Decisions:
    """The decisions on the requests of roles. They are made on the server's loop and on threads."""

    def __init__(self, iam_evaluator, stacks, path):
        self.iam, self.stacks, self.path = iam_evaluator, stacks, path
        self.lock = threading.Lock()
        self.seen = set()
        self.refused = {}

    def logical(self, role):
        """The name of a role in its template; functions of two stacks are told apart by their physical names."""
        for stack in self.stacks._data.values():
            for name, resource in stack.get("_resources", {}).items():
                if resource.get("PhysicalResourceId") == role:
                    return name
        return role

    def note(self, ctx, policies):
        """Notes which grants allow a request of a role."""
        role = self.logical(ctx.principal_arn.split("/")[1])
        statements = [statement for statements in policies for statement in statements if statement.effect == "Allow"]
        for statement in statements:
            for resource in statement.resources:
                for action in statement.actions:
                    self.write("granted", role, action, resource)
        for statement in statements:
            if not self.iam._first_match(ctx, [statement], "Allow"):
                continue
            for resource in statement.resources:
                if self.iam.fnmatch_iam_cs(ctx.resource_arn, resource):
                    self.write("used", role, ctx.action, resource)

    def refuse(self, principal, action, resource):
        role = self.logical(principal.split("/")[1]) if "/" in principal else principal
        log.warning("refused %s: %s on %s", role, action, resource)
        with self.lock:
            key = f"{role}: {action} on {resource}"
            self.refused[key] = self.refused.get(key, 0) + 1
        self.write("refused", role, action, resource)

    def write(self, *line):
        with self.lock:
            if not self.path or line in self.seen:
                return
            self.seen.add(line)
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")

    def answer(self):
        with self.lock:
            return json.dumps({"refused": self.refused}).encode()


class Judge:
    """Decides on what services do in a role's name, or in their own."""

    def __init__(self, iam, roles, region, account):
        self.iam, self.roles, self.region, self.account = iam, roles, region, account

    def context(self, principal, action, resource, **keys):
        return self.iam.EvalContext(
            principal_arn=principal, principal_type="AssumedRole", principal_account=self.account(), action=action,
            resource_arn=resource, region=self.region(), service_context={name.lower(): value for name, value in keys.items()})

    def may(self, role_arn, service, source, action, resource):
        """Whether the service may take the role on behalf of a source, and the role may act."""
        name, account = role_arn.rsplit("/", 1)[-1], self.account()
        role = self.roles.get_scoped(account, None, name) or {}
        keys = {"aws:SourceAccount": account, "aws:SourceArn": source}
        trust = self.context(f"service:{service}", "sts:AssumeRole", role_arn, **keys)
        trusted = self.iam.evaluate_resource_policy(role.get("AssumeRolePolicyDocument"), trust, service)
        if trusted.decision != "Allow":
            return False
        ctx = self.context(f"arn:aws:sts::{account}:assumed-role/{name}/{service}", action, resource)
        return self.iam.evaluate(ctx, self.iam._gather_role_policies(name, account)).decision == "Allow"

    def may_by_policy(self, policy, service, action, resource, source):
        """Whether the policy of a resource lets the service in, for a source."""
        ctx = self.context(f"service:{service}", action, resource,
                           **{"aws:SourceArn": source, "aws:SourceAccount": self.account()})
        return self.iam.evaluate_resource_policy(policy, ctx, service).decision == "Allow"


def install(app, path):
    """Puts the judge around what MiniStack does not judge."""
    from ministack.core import iam_actions, iam_evaluator
    from ministack.core.responses import get_account_id, get_region
    from ministack.services import apigateway, eventbridge, iam, lambda_svc, sqs, stepfunctions
    from ministack.services.cloudformation import _stacks

    decisions = Decisions(iam_evaluator, _stacks, path)
    evaluate, enforce = iam_evaluator.evaluate, iam_evaluator.enforce

    def noted(ctx, policies, *limits):
        result = evaluate(ctx, policies, *limits)
        if path and result.decision == "Allow" and ":assumed-role/" in ctx.principal_arn:
            decisions.note(ctx, policies)
        return result

    def enforced(access_key_id, iam_action, service, region, resource_arn="*", service_context=None):
        denied = enforce(access_key_id, iam_action, service, region, resource_arn, service_context)
        if isinstance(denied, iam_evaluator.EvalResult):
            decisions.refuse(denied.principal_arn, iam_action, resource_arn)
        return denied

    iam_evaluator.evaluate, iam_evaluator.enforce = noted, enforced
    judge = Judge(iam_evaluator, iam._roles, get_region, get_account_id)
    # What TLS would protect on AWS stays on this machine.
    pin_origin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, secure: pin_origin(source_ip, True)
    name_tokens(iam_actions, stepfunctions)
    name_schedules(iam_actions, iam_evaluator)
    name_conditions(iam_actions)
    match_lines(iam_evaluator)
    judge_machines(stepfunctions, judge, decisions)
    judge_targets(eventbridge, lambda_svc, sqs, judge, decisions)
    judge_api(apigateway, lambda_svc, judge, decisions)
    serve(app, decisions)


def name_tokens(iam_actions, sfn):
    """The resource of SendTask*: the machine of the token. A token of an earlier emulator has no machine: it is answered
    as unknown, and not with a refusal."""
    arn_of, action_of = iam_actions.extract_resource_arn, iam_actions.extract_iam_action

    def machine(service, headers, body):
        """The machine; empty for an unknown token; None for another operation."""
        if service != "states" or ".SendTask" not in headers.get("x-amz-target", ""):
            return None
        return sfn.machines_of_tokens.get(json.loads(body or b"{}").get("taskToken"), "")

    def extract_arn(service, method, path, headers, body, *rest, **more):
        return machine(service, headers, body) or arn_of(service, method, path, headers, body, *rest, **more)

    def extract_action(service, method, path, headers, body, *rest, **more):
        if machine(service, headers, body) == "":
            return None
        return action_of(service, method, path, headers, body, *rest, **more)

    iam_actions.extract_resource_arn, iam_actions.extract_iam_action = extract_arn, extract_action


def name_schedules(iam_actions, iam_evaluator):
    """The resource of a schedule's operations names its group, which a request gives in its body or query. Who gives a
    schedule a role has to have the right to pass it."""
    inner, enforce = iam_actions.extract_resource_arn, iam_evaluator.enforce
    passed = contextvars.ContextVar("passed", default="")

    def extract(service, method, path, headers, body, query_params, *rest, **more):
        arn = inner(service, method, path, headers, body, query_params, *rest, **more)
        if service != "scheduler" or ":schedule/default/" not in arn:
            return arn
        asked = json.loads(body or b"{}")
        passed.set(asked.get("Target", {}).get("RoleArn", ""))
        group = (query_params.get("groupName") or [""])[0] or asked.get("GroupName") or "default"
        return arn.replace(":schedule/default/", f":schedule/{group}/")

    def enforced(access_key_id, iam_action, service, region, *rest, **more):
        denied = enforce(access_key_id, iam_action, service, region, *rest, **more)
        if denied or iam_action not in ("scheduler:CreateSchedule", "scheduler:UpdateSchedule"):
            return denied
        keys = {"iam:PassedToService": "scheduler.amazonaws.com"}
        return enforce(access_key_id, "iam:PassRole", "iam", region, resource_arn=passed.get(), service_context=keys)

    iam_actions.extract_resource_arn, iam_evaluator.enforce = extract, enforced


def name_conditions(iam_actions):
    """Condition keys that policies of Fresco name. All entries of a PutEvents request are of one kind here."""
    tags, items = iam_actions.request_tag_context, iam_actions.dynamodb_service_context

    def events(service, iam_action, body, params):
        keys = dict(tags(service, iam_action, body, params) or {})
        if iam_action == "events:PutEvents":
            entry = (json.loads(body or b"{}").get("Entries") or [{}])[0]
            keys["events:source"], keys["events:detail-type"] = entry.get("Source", ""), entry.get("DetailType", "")
        return keys

    def leading_keys(body):
        return {**items(body), "dynamodb:LeadingKeys": partitions(json.loads(body or b"{}"))}

    iam_actions.request_tag_context, iam_actions.dynamodb_service_context = events, leading_keys


def partitions(asked):
    """The partition keys that a DynamoDB request names."""
    if "TransactItems" in asked:
        return [key for item in asked["TransactItems"] for part in item.values() for key in partitions(part)]
    if "RequestItems" in asked:
        tables = asked["RequestItems"].values()
        return [key["pk"]["S"] for table in tables if isinstance(table, dict) for key in table.get("Keys", [])]
    named = (asked.get("Key") or asked.get("Item") or {}).get("pk") or asked.get("ExpressionAttributeValues", {}).get(":pk")
    return [named["S"]] if named else []


def match_lines(iam_evaluator):
    inner = iam_evaluator._fnmatch_compile

    def compile_pattern(pattern, ignore_case):
        found = inner(pattern, ignore_case)
        return re.compile(found.pattern, found.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compile_pattern


def judge_machines(sfn, judge, decisions):
    """What a state machine does is judged by its role, and done under it."""
    execute, call, start = sfn._execute_task, sfn._call_lambda, sfn._nested_start_execution_request
    distribute, read = sfn._run_distributed_map, sfn._read_map_items
    acting = contextvars.ContextVar("acting", default=("", ""))
    service = "states.amazonaws.com"

    def acted(execution):
        # The machine of a distributed map's item is named NAME/LABEL.
        machine = execution["stateMachineArn"].rsplit("/", 1)[0]
        return (sfn._state_machines.get(machine) or {}).get("roleArn", ""), machine

    def demand(action, resource, error=DENIED_TASK):
        role, machine = acting.get()
        if not judge.may(role, service, machine, action, resource):
            decisions.refuse(role, action, resource)
            raise sfn._ExecutionError(error, f"{role} is not authorized to perform: {action} on resource: {resource}")

    def executed(state_def, raw_input, execution, ctx):
        token = acting.set(acted(execution))
        try:
            return execute(state_def, raw_input, execution, ctx)
        finally:
            acting.reset(token)

    def called(func_ref, event):
        demand("lambda:InvokeFunction", func_ref)
        return call(func_ref, event)

    def started(input_data):
        request = start(input_data)
        machine = request["stateMachineArn"]
        demand("states:StartExecution", machine)
        # Every nested execution of Fresco is waited for.
        execution = machine.replace(":stateMachine:", ":execution:") + f":{request.get('name', '')}"
        demand("states:DescribeExecution", execution)
        demand("states:StopExecution", execution)
        prefix = machine.split(":states:")[0]
        region, account = machine.split(":")[3:5]
        for action in ("PutTargets", "PutRule", "DescribeRule"):
            demand(f"events:{action}", f"{prefix}:events:{region}:{account}:rule/{MANAGED_RULE}")
        return request

    def listed(reader, effective, ctx):
        params = sfn._resolve_params_obj(reader.get("Parameters") or {}, effective, ctx)
        demand("s3:GetObject", f"arn:aws:s3:::{params.get('Bucket')}/{params.get('Key')}", DENIED_READER)
        return read(reader, effective, ctx)

    def distributed(state_def, raw_input, effective, iterator, execution, ctx):
        acting.set(acted(execution))
        demand("states:StartExecution", execution["stateMachineArn"])
        if writer := state_def.get("ResultWriter"):
            params = sfn._resolve_params_obj(writer.get("Parameters") or {}, effective, ctx)
            prefix = f"arn:aws:s3:::{params.get('Bucket')}/{params.get('Prefix')}"
            demand("s3:PutObject", f"{prefix}/manifest.json", DENIED_WRITER)
        return distribute(state_def, raw_input, effective, iterator, execution, ctx)

    sfn._execute_task, sfn._run_distributed_map = executed, distributed
    sfn._call_lambda, sfn._nested_start_execution_request, sfn._read_map_items = called, started, listed


def judge_targets(eventbridge, lambda_svc, sqs, judge, decisions):
    """A schedule acts in its target's role; a rule by the policy of its target."""
    inner = eventbridge._invoke_target
    actions = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "states": "states:StartExecution"}

    def allowed(target, rule):
        arn, source = target.get("Arn", ""), rule.get("Arn", "")
        action = actions.get(arn.split(":")[2] if arn.count(":") > 4 else "", "")
        if ":scheduler:" in source:
            # The source that Scheduler names is the group (Scheduler guide, "Confused deputy prevention").
            group = source.replace(":schedule/", ":schedule-group/").rsplit("/", 1)[0]
            return action, judge.may(target.get("RoleArn", ""), "scheduler.amazonaws.com", group, action, arn)
        policy = function_policy(lambda_svc, arn) if action.startswith("lambda:") else queue_policy(sqs, arn)
        return action, judge.may_by_policy(policy, "events.amazonaws.com", action, arn, source)

    def invoked(target, event, rule, view=None):
        action, may = allowed(target, rule)
        if may:
            return inner(target, event, rule, view)
        decisions.refuse(rule.get("Name", ""), action, target.get("Arn", ""))
        return None

    eventbridge._invoke_target = invoked


def function_policy(lambda_svc, arn):
    policy, _ = lambda_svc.function_policy_for_arn(arn) or (None, None)
    return policy


def queue_policy(sqs, arn):
    for queue in sqs._queues._data.values():
        if queue.get("attributes", {}).get("QueueArn") == arn:
            return queue["attributes"].get("Policy")
    return None


def judge_api(apigateway, lambda_svc, judge, decisions):
    """The HTTP API invokes a function by the function's policy, whose condition names the API, the stage and the route."""
    inner = apigateway._invoke_lambda_proxy

    async def invoked(integration, api_id, stage, path, method, headers, body, query_params, route_key, *args, **kwargs):
        function = apigateway._extract_lambda_ref_from_integration_uri(integration.get("integrationUri", ""))
        route = route_key.replace(" ", "", 1)
        source = f"arn:aws:execute-api:{judge.region()}:{judge.account()}:{api_id}/{stage}/{route}"
        policy = function_policy(lambda_svc, function)
        if not judge.may_by_policy(policy, "apigateway.amazonaws.com", "lambda:InvokeFunction", function, source):
            decisions.refuse(api_id, "lambda:InvokeFunction", function)
            return 500, {"Content-Type": "application/json"}, b'{"message":"Internal Server Error"}'
        return await inner(integration, api_id, stage, path, method, headers, body, query_params, route_key, *args, **kwargs)

    apigateway._invoke_lambda_proxy = invoked


def serve(app, decisions):
    inner = app.app

    async def outer(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == ROUTE:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": decisions.answer()})
            return
        await inner(scope, receive, send)

    app.app = outer
