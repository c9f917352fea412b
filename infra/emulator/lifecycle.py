"""The lifecycle of S3 buckets, which MiniStack 1.5.33 neither takes from a template nor applies.

CloudFormation's `LifecycleConfiguration` becomes the bucket's rules. `POST /_fresco/lifecycle` carries the rules of every
bucket out and answers with the number of removed objects, their bytes, and the number of aborted uploads. `?now=SECONDS`
(since the Unix epoch) stands for another time.
"""

import json
from datetime import datetime, timezone
from urllib.parse import parse_qs

ROUTE = "/_fresco/lifecycle"
DAY = 86_400
RULE = {"Id", "Status", "Prefix", "ExpirationInDays", "AbortIncompleteMultipartUpload"}


def rules_of(configuration):
    """S3's rules for a template's configuration. A property that is not applied here is refused: objects would expire on AWS
    only."""
    rules = []
    for declared in configuration.get("Rules") or []:
        if unknown := sorted(declared.keys() - RULE):
            raise ValueError(f"lifecycle rules with {', '.join(unknown)} are not applied by the local stack")
        rule = {"Status": declared["Status"], "Filter": {"Prefix": declared.get("Prefix", "")}}
        if "Id" in declared:
            rule["ID"] = declared["Id"]
        if "ExpirationInDays" in declared:
            rule["Expiration"] = {"Days": int(declared["ExpirationInDays"])}
        if abort := declared.get("AbortIncompleteMultipartUpload"):
            rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": int(abort["DaysAfterInitiation"])}
        rules.append(rule)
    return rules


def ends_at(since, days):
    """The first midnight UTC that is `days` days or more after `since`, in seconds.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html: "adding the number of days … and
    rounding up the resulting time to the next day at midnight UTC".
    """
    return -(-(since + days * DAY) // DAY) * DAY


def is_over(iso_time, days, now):
    since = datetime.strptime(iso_time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
    return now >= ends_at(since, days)


def apply_rules(s3, now):
    """Applies the rules of all buckets as of `now`; the counts of what was removed."""
    objects = size = uploads = 0
    for bucket, rules in list(s3._bucket_lifecycle.items()):
        for rule in rules if isinstance(rules, list) else []:
            where = rule.get("Filter") or {}
            # Rules of templates go by prefix alone; one of another kind was put by hand and is left alone.
            if rule["Status"] != "Enabled" or where.keys() - {"Prefix"}:
                continue
            prefix = where.get("Prefix", "")
            if days := (rule.get("Expiration") or {}).get("Days"):
                for key, found in list(s3._buckets[bucket]["objects"].items()):
                    if key.startswith(prefix) and is_over(found["last_modified"], days, now):
                        s3._delete_object(bucket, key)
                        objects, size = objects + 1, size + found["size"]
            if days := (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation"):
                for upload, found in list(s3._multipart_uploads.items()):
                    ours = found["bucket"] == bucket and found["key"].startswith(prefix)
                    if ours and is_over(found["created"], days, now):
                        del s3._multipart_uploads[upload]
                        uploads += 1
    return {"objects": objects, "bytes": size, "uploads": uploads}


def install(app, s3, provisioners, clock):
    """Takes rules from templates, and serves the route on the server's loop, as all requests to S3 are."""

    def put(bucket, rules):
        if error := s3._lifecycle_rules_error(rules):
            raise ValueError(f"LifecycleConfiguration rejected: {error[2]!r}")
        s3._bucket_lifecycle[bucket] = rules

    provisioners._S3_BUCKET_CONFIGURATIONS += (("LifecycleConfiguration", rules_of, put, s3._delete_bucket_lifecycle),)
    inner = app.app

    async def outer(scope, receive, send):
        if scope["type"] != "http" or scope["path"] != ROUTE:
            return await inner(scope, receive, send)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("now")
        removed = apply_rules(s3, float(given[0]) if given else clock())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(removed).encode()})

    app.app = outer
