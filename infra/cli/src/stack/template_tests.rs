//! Checks of the template that the emulator does not make: policies, endings, substitutions. It is read as text, by its
//! indentation, since no parser here knows CloudFormation's tags.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn infra() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn template() -> String {
    fs::read_to_string(infra().join("template.yaml")).unwrap()
}

/// The resources by name, each with its lines, comments left out.
fn resources() -> BTreeMap<String, Vec<String>> {
    let text = template();
    let section = text.split("\nResources:\n").nth(1).unwrap().split("\nOutputs:\n").next().unwrap();
    let mut resources: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in section.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        if line.starts_with("  ") && !line.starts_with("   ") {
            current = line.trim().trim_end_matches(':').to_owned();
        }
        resources.entry(current.clone()).or_default().push(line.to_owned());
    }
    resources
}

fn of_type(kind: &str) -> BTreeMap<String, Vec<String>> {
    let line = format!("Type: {kind}");
    resources().into_iter().filter(|(_, lines)| lines.iter().any(|found| found.trim() == line)).collect()
}

fn value<'a>(lines: &'a [String], property: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.trim().strip_prefix(property)?.strip_prefix(": "))
}

/// Every action that a role's own policies, or a policy that is a resource, allow.
fn actions(lines: &[String]) -> BTreeSet<String> {
    let policies = lines.iter().position(|line| matches!(line.trim(), "Policies:" | "PolicyDocument:"));
    let words =
        lines[policies.unwrap()..].iter().flat_map(|line| line.split([' ', ',', '[', ']', '{', '}', '"', '\'']));
    let is_action = |word: &&str| {
        const SERVICES: [&str; 10] =
            ["dynamodb", "events", "iam", "lambda", "logs", "s3", "scheduler", "sqs", "ssm", "states"];
        word.split_once(':')
            .is_some_and(|(service, action)| SERVICES.contains(&service) && !action.is_empty() && !action.contains(':'))
    };
    words.filter(is_action).map(str::to_owned).collect()
}

#[test]
fn a_function_may_do_what_it_needs_and_nothing_else() {
    let write = ["GetItem", "PutItem", "UpdateItem"].map(|action| format!("dynamodb:{action}"));
    let logs = ["logs:CreateLogStream", "logs:PutLogEvents"];
    let expected: [(&str, &[&str]); 9] = [
        (
            "PlanRole",
            &[
                "dynamodb:BatchGetItem",
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "events:PutEvents",
                "lambda:InvokeFunction",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "ssm:GetParameter",
                "states:DescribeExecution",
                "states:StopExecution",
            ],
        ),
        (
            "GenerateRole",
            &[
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "lambda:InvokeFunction",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "ssm:GetParameter",
                "states:SendTaskFailure",
                "states:SendTaskSuccess",
            ],
        ),
        ("WebhookRole", &["dynamodb:Query", "lambda:InvokeFunction", "ssm:GetParameter"]),
        (
            "CollectRole",
            &[
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "s3:AbortMultipartUpload",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "sqs:SendMessage",
                "ssm:GetParameter",
                "states:SendTaskFailure",
                "states:SendTaskSuccess",
            ],
        ),
        (
            "SweepRole",
            &[
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "lambda:InvokeFunction",
                "s3:GetObject",
                "s3:ListBucket",
                "ssm:GetParameter",
                "states:DescribeExecution",
                "states:SendTaskFailure",
                "states:SendTaskSuccess",
            ],
        ),
        (
            "ApiRole",
            &[
                "dynamodb:BatchGetItem",
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "lambda:InvokeFunction",
                "s3:DeleteObject",
                "s3:GetLifecycleConfiguration",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "ssm:GetParameter",
                "states:DescribeExecution",
                "states:SendTaskFailure",
                "states:StartExecution",
                "states:StopExecution",
            ],
        ),
        (
            "TriggerRole",
            &[
                "iam:PassRole",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "scheduler:CreateSchedule",
                "scheduler:DeleteSchedule",
                "scheduler:UpdateSchedule",
                "sqs:SendMessage",
                "states:DescribeExecution",
                "states:StartExecution",
            ],
        ),
        (
            "BatchRole",
            &[
                "dynamodb:BatchGetItem",
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "events:PutEvents",
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "sqs:SendMessage",
                "ssm:GetParameter",
            ],
        ),
        (
            "ReportRole",
            &[
                "dynamodb:Query",
                "dynamodb:DeleteItem",
                "events:PutEvents",
                "lambda:InvokeFunction",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:PutObject",
                "sqs:SendMessage",
                "ssm:GetParameter",
                "states:DescribeExecution",
                "states:StopExecution",
            ],
        ),
    ];
    let roles = of_type("AWS::IAM::Role");
    for (role, own) in expected {
        let expected: BTreeSet<String> =
            own.iter().chain(&logs).map(|&action| action.to_owned()).chain(write.iter().cloned()).collect();
        assert_eq!(actions(&roles[role]), expected, "{role}");
    }
}

#[test]
fn no_policy_has_a_wildcard_for_actions_or_resources() {
    let policies = of_type("AWS::IAM::Policy");
    // The role that timers have; its policy names the function, and the function the role.
    let of_its_own = policies["SchedulePolicy"].iter().any(|line| line.trim() == "Roles: [!Ref ScheduleRole]");
    let roles = of_type("AWS::IAM::Role").into_iter().filter(|(role, _)| !(of_its_own && role == "ScheduleRole"));
    for (role, lines) in roles.chain(policies) {
        let allowed = actions(&lines);
        assert!(!allowed.is_empty(), "{role}");
        assert!(allowed.iter().all(|action| !action.contains('*')), "{role}: {allowed:?}");
        for line in &lines {
            let line = line.trim().trim_start_matches("- ");
            assert!(!matches!(line, "\"*\"" | "'*'" | "*"), "{role}: {line}");
            assert!(!line.starts_with("Resource: \"*\"") && !line.starts_with("Resource: '*'"), "{role}: {line}");
            assert!(!line.contains("ManagedPolicyArns"), "{role}: managed policies are wider than needed");
        }
    }
}

/// generate is deployed once for each step type, with the same needs: the same role and one log.
#[test]
fn each_handler_has_its_own_role_and_log_and_all_share_one_package() {
    let functions = of_type("AWS::Serverless::Function");
    let distinct =
        |property| -> BTreeSet<_> { functions.values().map(|lines| value(lines, property).unwrap()).collect() };
    assert_eq!(distinct("CodeUri"), ["../target/fresco/functions.zip"].into());
    let of_handlers: BTreeSet<_> = functions
        .values()
        .map(|lines| ["Handler", "Role", "LoggingConfig"].map(|property| value(lines, property).unwrap()))
        .collect();
    for property in ["Handler", "Role", "LoggingConfig"] {
        assert_eq!(distinct(property).len(), of_handlers.len(), "{property}");
    }
}

#[test]
fn only_a_function_that_knows_another_may_invoke_it() {
    let roles = of_type("AWS::IAM::Role");
    for (function, lines) in of_type("AWS::Serverless::Function") {
        let names = ["FRESCO_COLLECT_FUNCTION", "FRESCO_BATCH_FUNCTION", "FRESCO_REPORT_FUNCTION"];
        let knows = lines.iter().any(|line| names.iter().any(|name| line.contains(name)));
        let role = value(&lines, "Role").unwrap().trim_start_matches("!GetAtt ").trim_end_matches(".Arn");
        assert_eq!(knows, actions(&roles[role]).contains("lambda:InvokeFunction"), "{function}");
    }
}

/// An object in the inbox starts a run, and a schedule many, so a function that could write there could start itself for ever.
#[test]
fn nothing_that_fresco_writes_starts_it() {
    for (rule, prefix) in [("InboxRule", "inbox/"), ("SchedulesRule", "schedules/")] {
        let watched = resources()[rule].iter().find(|line| line.contains("prefix:")).unwrap().trim().to_owned();
        assert_eq!(watched, format!("object: {{ key: [{{ prefix: {prefix} }}] }}"));
    }
    let mut written = BTreeSet::new();
    for lines in of_type("AWS::IAM::Role").values() {
        for statement in lines.join("\n").split("- Effect: Allow").filter(|text| text.contains("s3:PutObject")) {
            let places =
                statement.split("${Bucket.Arn}").skip(1).map(|rest| rest.split(['"', '\n', ' ']).next().unwrap());
            written.extend(places.map(str::to_owned));
        }
    }
    let expected = [
        "/batches/*",
        "/inbox-errors/*",
        "/inbox-waiting/*",
        "/inputs/*",
        "/outputs/*",
        "/plans/*",
        "/runs/*",
        "/schedule-errors/*",
        "/uploads/*",
    ];
    assert_eq!(written.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(expected.iter().all(|place| !place.starts_with("/inbox/") && !place.starts_with("/schedules/")));
}

/// An event that is not delivered, and a function that fails in spite of its retries, leave a message and an alarm.
#[test]
fn every_asynchronous_path_has_a_dead_letter_queue_and_an_alarm() {
    for (rule, lines) in of_type("AWS::Events::Rule") {
        assert!(value(&lines, "DeadLetterConfig").is_some(), "{rule}");
    }
    let configs = of_type("AWS::Lambda::EventInvokeConfig");
    let of = |function: &str| {
        let name = format!("!Ref {function}");
        configs.values().find(|lines| value(lines, "FunctionName") == Some(name.as_str())).unwrap()
    };
    for function in ["TriggerFunction", "CollectFunction", "ReportFunction", "BatchFunction"] {
        assert!(value(of(function), "DestinationConfig").is_some(), "{function}");
    }
    assert_eq!(value(of("SweepFunction"), "MaximumRetryAttempts"), Some("0"));
    let alarms: String = of_type("AWS::CloudWatch::Alarm").into_values().flatten().collect();
    for queue in of_type("AWS::SQS::Queue").keys() {
        assert!(alarms.contains(&format!("!GetAtt {queue}.QueueName")), "{queue}");
    }
    assert!(alarms.contains("OutputsNotStored") && alarms.contains("!Ref SweepFunction"));
}

#[test]
fn a_run_that_succeeds_sends_no_event() {
    let rule = &resources()["RunEndedRule"];
    assert_eq!(value(rule, "status"), Some("[FAILED, TIMED_OUT, ABORTED]"));
    assert!(rule.iter().all(|line| !line.contains("SUCCEEDED")));
}

/// Two kinds of routes verify for themselves; what is added later is behind the authoriser unless it is added here, too.
#[test]
fn only_webhooks_and_pages_are_open() {
    let routes = of_type("AWS::ApiGatewayV2::Route");
    let open: BTreeSet<_> = routes
        .values()
        .filter(|lines| value(lines, "AuthorizationType") == Some("NONE"))
        .map(|lines| value(lines, "RouteKey").unwrap())
        .collect();
    let expected =
        ["POST /webhooks/{provider}/{key}/{attempt}/{token}", "GET /runs/{id}/view", "GET /runs/{id}/view/{file}"];
    // Preflights are open where browsers may call at all.
    assert_eq!(value(&routes["PreflightRoute"], "Condition"), Some("HasCors"));
    assert_eq!(open, expected.into_iter().chain(["OPTIONS /{proxy+}"]).collect());
    let default = routes.values().find(|lines| value(lines, "RouteKey") == Some("$default")).unwrap();
    assert_eq!(value(default, "AuthorizationType"), Some("!If [HasJwt, JWT, AWS_IAM]"));
}

#[test]
fn paid_results_outlive_the_stack() {
    for name in ["Ledger", "Bucket"] {
        let lines = &resources()[name];
        assert_eq!(value(lines, "DeletionPolicy"), Some("RetainExceptOnCreate"), "{name}");
        assert_eq!(value(lines, "UpdateReplacePolicy"), Some("Retain"), "{name}");
    }
}

#[test]
fn every_substitution_of_a_state_machine_is_given_and_used() {
    let machine = &resources()["RunMachine"];
    let from = machine.iter().position(|line| line.trim() == "DefinitionSubstitutions:").unwrap();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let given: BTreeSet<String> = machine[from + 1..]
        .iter()
        .take_while(|line| indent(line) > indent(&machine[from]))
        .map(|line| line.trim().split(':').next().unwrap().to_owned())
        .collect();
    let definition = fs::read_to_string(infra().join(value(machine, "DefinitionS3Location").unwrap())).unwrap();
    let used: BTreeSet<String> =
        definition.split("${").skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
    assert_eq!(given, used);
}

#[test]
fn nothing_in_the_template_knows_that_it_may_run_locally() {
    let text = template().to_lowercase();
    for word in ["127.0.0.1", "localhost", "ministack", "localstack", "simulat", "emulat"] {
        assert!(!text.contains(word), "{word}");
    }
}
