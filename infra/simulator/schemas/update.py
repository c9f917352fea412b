#!/usr/bin/env python3
"""Brings fal.json or gemini.json up to date with the types that the provider publishes in its SDK.

    npm pack @fal-ai/client && tar xzf fal-ai-client-*.tgz && python3 update.py package
    npm pack @google/genai  && tar xzf google-genai-*.tgz  && python3 update.py package

README.md describes the files: which parts are written by hand, and which parts this script replaces."""
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
FILE_TYPES = ["File", "Image", "ImageFile", "VideoFile", "RegistryImageFastSdxlModelsImage"]
MEDIA = {"video": "video_url", "audio": "audio_url", "music": "audio_url", "voice": "audio_url"}
PLAIN = {"string": "string", "number": "number", "boolean": "boolean"}


class Types:
    """The exported types of one declaration file: the members of the objects, the names behind the aliases."""

    def __init__(self, text):
        found = re.finditer(r"^export type (\w+) = (?:(\w+);|\{\n(.*?)^\};)", text, re.M | re.S)
        self.aliases, self.objects = {}, {}
        for name, alias, body in (match.groups() for match in found):
            if alias:
                self.aliases[name] = alias
            else:
                self.objects[name] = body or ""

    def members(self, name):
        """Yields name, whether it is optional, type and default of each member."""
        while name in self.aliases:
            name = self.aliases[name]
        pattern = r'^    (?:/\*\*(.*?)\*/\n    )?"?(\w+)"?(\?)?: (.*?);$'
        for comment, member, optional, kind in re.findall(pattern, self.objects.get(name, ""), re.M | re.S):
            default = re.search(r"Default value: `(.*?)`\s*$", re.sub(r"\s*\n\s*\*\s?", " ", comment), re.S)
            yield member, bool(optional), re.sub(r"\s+", " ", kind), default and literal(default.group(1))


def literal(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def url_type(name):
    return next((kind for word, kind in MEDIA.items() if word in name), "image_url")


def param(name, optional, kind, default):
    """One input of an endpoint, as fal.json has it."""
    choices = re.findall(r'"([^"]*)"', kind)
    if kind == "string | Blob | File":
        found = {"type": url_type(name)}
    elif re.fullmatch(r"Array<string( \| Blob \| File)?>", kind):
        found = {"type": "list", "items": url_type(name) if "Blob" in kind or name.endswith("_urls") else "string"}
    elif kind in PLAIN:
        found = {"type": PLAIN[kind]}
    elif kind.startswith("ImageSize | "):
        found = {"type": "image_size", "enum": choices}
    elif choices and re.fullmatch(r'"[^"]*"( \| "[^"]*")*', kind):
        found = {"type": "string", "enum": choices}
    elif re.fullmatch(r"Array<.*>", kind):
        found = {"type": "list", "items": "any"}
    else:
        found = {"type": "object" if re.fullmatch(r"\w+", kind) and kind != "unknown" else "any"}
    if not optional:
        found["required"] = True
    if default is None and kind == "boolean":
        # The package leaves this default out.
        default = False
    if default is not None:
        found["default"] = default
    return found


def output(kind):
    """The type of a member of an output: a file type, a list of one, or a plain type."""
    listed = re.fullmatch(r"Array<(.*)>", kind)
    inner = listed.group(1) if listed else kind
    if inner not in FILE_TYPES:
        inner = PLAIN.get(inner, "object")
    return f"{inner}[]" if listed else inner


def update_fal(data, package):
    types = Types((package / "src/types/endpoints.d.ts").read_text())
    rows = r'^    "([^"]+)": \{\n        input: (\w+);\n        output: (\w+);'
    endpoints = {id: names for id, *names in re.findall(rows, types.objects["EndpointTypeMap"], re.M)}
    # The order of a file's members on the wire; the package has them by name.
    order = ["url", "content_type", "file_name", "file_size", "width", "height", "fps", "duration", "num_frames"]
    data["files"] = {name: [m for m in order if m in {member for member, *_ in types.members(name)}]
                     for name in FILE_TYPES}
    for id, row in data["endpoints"].items():
        if "source" in row:
            # The package does not describe it: the row is written by hand.
            continue
        if id not in endpoints:
            sys.exit(f"{id} is not in the package: take it out, or write the row by hand with its `source`")
        given, made = endpoints[id]
        row["params"] = {name: param(name, *rest) for name, *rest in types.members(given)}
        row["output"] = {name: output(kind) + ("?" if optional else "")
                         for name, optional, kind, _ in types.members(made)}


def update_gemini(data, package):
    text = (package / "dist/genai.d.ts").read_text()
    for name in data["messages"]:
        body = re.search(rf"^(?:export )?declare interface {name}(?:_2)? \{{\n(.*?)^\}}", text, re.M | re.S).group(1)
        members = re.findall(r"^    (?:/\*\*(.*?)\*/\n    )?(\w+)\??: (.*?);$", body, re.M | re.S)
        # The package serves Vertex AI, too, and marks the members that only Vertex AI has.
        data["messages"][name] = {member: message_type(kind, data) for comment, member, kind in members
                                  if "not supported in Gemini API" not in comment}
    for name in data["enums"]:
        body = re.search(rf"^export declare enum {name} \{{\n(.*?)^\}}", text, re.M | re.S).group(1)
        data["enums"][name] = re.findall(r'^    \w+ = "(\w+)"', body, re.M)


def message_type(kind, data):
    inner = kind.removesuffix("[]").removesuffix("_2")
    if inner not in PLAIN and inner not in data["messages"] and inner not in data["enums"]:
        inner = "any"
    return inner + ("[]" if kind.endswith("[]") else "")


def written(value, depth=0):
    """JSON with an object or list on one line where it fits."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or (depth > 1 and len(flat) + 2 * depth <= 118):
        return flat
    pad = "  " * (depth + 1)
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + written(item, depth + 1) for item in value) + "\n" + pad[2:] + "]"
    lines = (f"{pad}{json.dumps(key)}: {written(item, depth + 1)}" for key, item in value.items())
    return "{\n" + ",\n".join(lines) + "\n" + pad[2:] + "}"


def main():
    package = pathlib.Path(sys.argv[1])
    about = json.loads((package / "package.json").read_text())
    name, update = {"@fal-ai/client": ("fal", update_fal), "@google/genai": ("gemini", update_gemini)}[about["name"]]
    path = HERE / f"{name}.json"
    data = json.loads(path.read_text())
    data["package"], data["version"] = about["name"], about["version"]
    update(data, package)
    path.write_text(written(data) + "\n")


if __name__ == "__main__":
    main()
