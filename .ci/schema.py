"""The JSON Schema of pipeline documents, as an editor uses it: it is a schema, and the sample pipelines satisfy it."""

import json
import pathlib
import sys

import yaml
from jsonschema import Draft202012Validator

root = pathlib.Path(__file__).resolve().parent.parent
schema = json.loads((root / "functions/shared/pipeline/pipeline.schema.json").read_text())
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
samples = sorted((root / "events/pipelines").glob("*.yaml"))
problems = [f"{path.name}: {error.json_path}: {error.message[:200]}"
            for path in samples
            for error in validator.iter_errors(yaml.safe_load(path.read_text()))]
if validator.is_valid({"steps": [{"type": "text_to_imgae"}]}):
    problems.append("a misspelt step type is valid")
print(f"{len(samples)} sample pipelines")
sys.exit("\n".join(problems) if problems or not samples else 0)
