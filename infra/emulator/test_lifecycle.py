"""`python3 -m unittest discover` in this folder. MiniStack is not needed."""

import unittest
from datetime import datetime, timezone
from types import SimpleNamespace

from lifecycle import DAY, apply_rules, ends_at, is_over, rules_of

# 2026-01-05 00:00 UTC.
MIDNIGHT = 20_458 * DAY
HOUR = 3_600


def iso(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Lifecycle(unittest.TestCase):
    def test_an_object_ends_at_the_first_midnight_after_its_days(self):
        for since, days, at in [
            (MIDNIGHT, 7, MIDNIGHT + 7 * DAY),
            (MIDNIGHT - 0.001, 7, MIDNIGHT + 7 * DAY),
            (MIDNIGHT + 0.001, 7, MIDNIGHT + 8 * DAY),
            # S3's own example: 10:30 with three days is four days from midnight.
            (MIDNIGHT + 10.5 * HOUR, 3, MIDNIGHT + 4 * DAY),
        ]:
            self.assertEqual(ends_at(since, days), at)
        modified = iso(MIDNIGHT + DAY / 2)
        for now, over in [(2 * DAY - 0.001, False), (2 * DAY, True), (DAY / 2, False)]:
            self.assertEqual(is_over(modified, 1, MIDNIGHT + now), over)

    def test_a_rule_of_the_template_becomes_a_rule_of_s3(self):
        declared = [
            {"Id": "outputs", "Status": "Enabled", "Prefix": "outputs/", "ExpirationInDays": "7"},
            {"Status": "Disabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        ]
        self.assertEqual(rules_of({"Rules": declared}), [
            {"ID": "outputs", "Status": "Enabled", "Filter": {"Prefix": "outputs/"}, "Expiration": {"Days": 7}},
            {"Status": "Disabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        ])

    def test_a_rule_that_is_not_applied_is_refused_by_name(self):
        with self.assertRaisesRegex(ValueError, "Transitions"):
            rules_of({"Rules": [{"Status": "Enabled", "Transitions": []}]})

    def test_enabled_rules_remove_old_objects_and_uploads_beneath_their_prefix(self):
        old, young = {"last_modified": iso(MIDNIGHT), "size": 5}, {"last_modified": iso(MIDNIGHT + 2 * DAY), "size": 9}
        objects = {"a/old": old, "a/young": young, "b/old": old, "c/old": old}
        uploads = {"1": {"bucket": "x", "key": "b/u", "created": iso(MIDNIGHT)}}
        rules = [
            {"Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 1}},
            {"Status": "Disabled", "Filter": {"Prefix": "b/"}, "Expiration": {"Days": 1}},
            {"Status": "Enabled", "Filter": {"Prefix": "c/", "Tag": {}}, "Expiration": {"Days": 1}},
            {"Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        ]
        s3 = SimpleNamespace(_bucket_lifecycle={"x": rules}, _buckets={"x": {"objects": objects}},
                             _multipart_uploads=uploads, _delete_object=lambda bucket, key: objects.pop(key))
        self.assertEqual(apply_rules(s3, MIDNIGHT + 2 * DAY), {"objects": 1, "bytes": 5, "uploads": 1})
        self.assertEqual((sorted(objects), uploads), (["a/young", "b/old", "c/old"], {}))


if __name__ == "__main__":
    unittest.main()
