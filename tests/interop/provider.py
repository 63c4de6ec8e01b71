"""A stand-in for a model and its provider: OpenAI's chat completions and responses, Gemini's generateContent.

It refuses tools as the provider refuses them. Its model calls the tool that the prompt names with its arguments, and
sends every property that it was shown, as models do in strict modes. Its last text is the tool's answer.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The formats of a string that OpenAI accepts in strict mode.
STRICT_FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
STRICT_UNKNOWN = ["allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"]

# The fields of Gemini's `Schema`.
GEMINI_FIELDS = (
    "type format title description nullable enum maxItems minItems properties required minProperties maxProperties minLength"
    " maxLength pattern example anyOf propertyOrdering default items minimum maximum"
).split()
GEMINI_FORMATS = {
    "STRING": ["enum", "date-time"],
    "INTEGER": ["int32", "int64"],
    "NUMBER": ["float", "double"],
}


class Refused(Exception):
    """A request that the provider answers with status 400."""


def strict_faults(schema, where=()):
    """The faults that OpenAI reports for the schema of a tool with `strict`."""
    context = f"In context={where!r}, "
    if "properties" in schema or schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False:
            yield context + "'additionalProperties' is required to be supplied and to be false"
        missing = [name for name in properties if name not in schema.get("required", [])]
        if missing:
            yield context + f"'required' has to include every key in properties. Missing {missing[0]!r}"
        for name, value in properties.items():
            yield from strict_faults(value, (*where, "properties", name))
    for option in schema.get("anyOf", []):
        yield from strict_faults(option, (*where, "anyOf"))
    for word in STRICT_UNKNOWN:
        if word in schema:
            yield context + f"'{word}' is not permitted"
    if schema.get("format", "date-time") not in STRICT_FORMATS:
        yield context + f"{schema['format']!r} is not a valid format"


def camel(name):
    """A field's name in camel case. Gemini accepts snake case as well."""
    return re.sub("_(.)", lambda found: found[1].upper(), name)


def gemini_faults(schema, where):
    """The faults that Gemini reports for a function's `parameters`."""
    for field in schema:
        if camel(field) not in GEMINI_FIELDS:
            yield f'Unknown name "{field}" at \'{where}\': Cannot find field.'
    kind = str(schema.get("type", "")).upper()
    if not kind and "anyOf" not in schema and "any_of" not in schema:
        yield f"{where}.type: must be specified when not using one_of, any_of or all_of fields"
    if "enum" in schema and (kind != "STRING" or not all(isinstance(each, str) for each in schema["enum"])):
        yield f"{where}.enum: only allowed for STRING type"
    if schema.get("format") and schema["format"] not in GEMINI_FORMATS.get(kind, []):
        yield f"{where}.format: only {GEMINI_FORMATS.get(kind, [])} are supported for {kind} type"
    for name in schema.get("required", []):
        if name not in schema.get("properties", {}):
            yield f"{where}.required: {name} is not defined"
    for name, value in schema.get("properties", {}).items():
        yield from gemini_faults(value, f"{where}.properties[{name}]")


def kinds(shown):
    """The types that a property was shown to have, and whether it may be null."""
    found = set()
    for option in shown.get("anyOf") or [shown]:
        kind = option.get("type", [])
        found |= {each.lower() for each in ([kind] if isinstance(kind, str) else kind)}
    return found - {"null"}, "null" in found or shown.get("nullable") is True


def wanted(shown, value, manner):
    """A value as the model writes it: a number as such, or as text."""
    if isinstance(value, str) or (manner == "strict" and "string" not in kinds(shown)[0]):
        return value
    return json.dumps(value)


def unwanted(name, shown, manner, about=""):
    """The value of a property that is not set. Only the manners "empty" and "null" send one that the schema forbids."""
    types, nullable = kinds(shown)
    if manner == "null" or (manner == "strict" and nullable):
        return None
    if manner == "empty" or (manner == "blank" and "string" in types and "enum" not in shown):
        return ""
    if nullable:
        return None
    if "enum" in shown:
        return shown.get("default", shown["enum"][0])
    if "string" in types:
        return ""
    if "boolean" in types:
        return False
    if "array" in types:
        return []
    # A number that must be given is the one that would apply otherwise: the schema has it or, after many conversions,
    # only a description does, the property's or (`about`) the tool's.
    if "default" in shown:
        return shown["default"]
    words = shown.get("description", "")
    said = re.search(r"(\d+|all) (?:\(the default\)|by default)|default(?: is|:) (\d+|all)", words, re.IGNORECASE)
    said = said or re.search(rf"(\d+)() unless {name}", about or "")
    said = (said[1] or said[2]).lower() if said else ""
    # `all` is the greatest number that may be requested.
    return max(map(int, re.findall(r"\d+", words)), default=0) if said == "all" else int(said or shown.get("minimum", 0))


def understood(result):
    """A tool's answer, without what a framework has wrapped it in."""
    if isinstance(result, str):
        for start in (match.start() for match in re.finditer(r"[{\[]", result)):
            try:
                found = understood(json.JSONDecoder().raw_decode(result, start)[0])
            except json.JSONDecodeError:
                continue
            if found:
                return found
        return None
    if isinstance(result, dict) and (result.get("status") in ("OK", "ERROR") or "count" in result):
        return result
    inner = result.values() if isinstance(result, dict) else result if isinstance(result, list) else []
    return next((found for found in map(understood, inner) if found), None)


def asked(texts):
    """The last prompt among these, and what came after it."""
    for at in range(len(texts) - 1, -1, -1):
        start = texts[at].find('{"tool":')
        if start >= 0:
            return json.JSONDecoder().raw_decode(texts[at], start)[0], texts[at + 1 :]
    raise Refused("no prompt")


def think(texts, tools):
    """What the model does: ("say", text) or ("call", name, arguments). `tools`: name, description and schema of each."""
    prompt, later = asked(texts)
    shown = {tool["name"]: tool["parameters"] for tool in tools}
    text = json.dumps(tools) if prompt["tool"] is None else None
    if later and later[-1].startswith(RESULT):
        said = understood(later[-1].removeprefix(RESULT))
        text = json.dumps(said) if said else later[-1].removeprefix(RESULT)
    if text is not None:
        # There are frameworks in which a model ends with a tool.
        return ("call", "final_answer", {"answer": text}) if "final_answer" in shown else ("say", text)
    if prompt["tool"] not in shown:
        raise Refused(f"the model was not shown {prompt['tool']}")
    about = next(tool["description"] for tool in tools if tool["name"] == prompt["tool"])
    properties = shown[prompt["tool"]].get("properties", {})
    unseen = [name for name in prompt["arguments"] if name not in properties]
    if unseen:
        raise Refused(f"the model was not shown {unseen} of {prompt['tool']}")
    manner, given = prompt["manner"], prompt["arguments"]
    arguments = {
        name: wanted(each, given[name], manner) if name in given else unwanted(name, each, manner, about)
        for name, each in properties.items()
    }
    return "call", prompt["tool"], arguments


# The beginning of a tool's result in a conversation, as `think` sees it.
RESULT = "\0result "


def text_of(content):
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def openai_tools(tools):
    found = []
    for tool in tools:
        # Responses has the fields beside `type`, chat completions under `function`.
        function = tool.get("function", tool)
        faults = list(strict_faults(function["parameters"])) if function.get("strict") else []
        if faults:
            raise Refused(f"Invalid schema for function {function['name']!r}: {'; '.join(faults)}.")
        found.append({field: function.get(field) for field in ("name", "description", "parameters")})
    return found


def chat(body):
    texts = []
    for message in body["messages"]:
        text = text_of(message.get("content"))
        # smolagents writes results into the conversation.
        if message["role"] == "tool" or (message["role"] == "user" and text.startswith(("Observation:", "Error:", "Call id:"))):
            texts.append(RESULT + text)
        else:
            texts.append(text if message["role"] == "user" else "")
    said = think(texts, openai_tools(body.get("tools", [])))
    message = {"role": "assistant", "content": said[1]}
    if said[0] == "call":
        call = {"name": said[1], "arguments": json.dumps(said[2])}
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if said[0] == "call" else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
    return {**about, "choices": [choice], "usage": usage}


def responses(body):
    items = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    texts = []
    for item in items:
        if item.get("type") == "function_call_output":
            texts.append(RESULT + text_of(item["output"]))
        else:
            texts.append(text_of(item.get("content")) if item.get("role") == "user" else "")
    tools = openai_tools(body.get("tools", []))
    said = think(texts, tools)
    if said[0] == "call":
        output = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": said[1], "arguments": json.dumps(said[2])}
    else:
        content = {"type": "output_text", "text": said[1], "annotations": []}
        output = {"type": "message", "id": "msg_1", "role": "assistant", "content": [content]}
    usage = {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 2,
    }
    about = {"id": "resp_1", "object": "response", "created_at": 1, "model": body["model"], "status": "completed"}
    settings = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": body.get("tools", [])}
    return {**about, **settings, "output": [{**output, "status": "completed"}], "usage": usage}


def gemini(body):
    tools, faults = [], []
    declared = [function for tool in body.get("tools", []) for each in tool.values() for function in each]
    for at, function in enumerate({camel(field): value for field, value in each.items()} for each in declared):
        faults += gemini_faults(function.get("parameters", {"type": "OBJECT"}), f"function_declarations[{at}].parameters")
        schema = function.get("parameters") or function.get("parametersJsonSchema")
        tools.append({"name": function["name"], "description": function.get("description"), "parameters": schema})
    if faults:
        raise Refused("\n".join(faults))
    texts = []
    for content in body["contents"]:
        for part in content["parts"]:
            if "functionResponse" in part:
                texts.append(RESULT + json.dumps(part["functionResponse"]["response"]))
            else:
                texts.append(part.get("text", "") if content.get("role", "user") == "user" else "")
    said = think(texts, tools)
    part = {"text": said[1]} if said[0] == "say" else {"functionCall": {"name": said[1], "args": said[2]}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "stand-in"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        try:
            if path.endswith("/chat/completions"):
                answer = chat(body)
            elif path.endswith("/responses"):
                answer = responses(body)
            elif path.endswith(":generateContent"):
                answer = gemini(body)
            else:
                raise Refused(f"no such path: {self.path}")
        except Refused as refused:
            self.server.refused.append(f"the provider refused: {refused}")
            error = {"message": str(refused), "code": 400, "status": "INVALID_ARGUMENT", "type": "invalid_request_error"}
            return self.answer(400, {"error": error})
        return self.answer(200, answer)

    def do_CONNECT(self):
        # A request to any other host arrives here, as `run` names this server as the proxy, and is refused.
        self.server.refused.append(f"something was sent to {self.path}")
        self.close_connection = True
        self.answer(403, {})

    do_GET = do_CONNECT

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Provider:
    """A running stand-in. `refused`: what it refused."""

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.refused = self.server.refused = []
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def judge_the_provider():
    """Checks the stand-in with schemas that a provider refuses, and one for each that it accepts."""
    fine = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    strict = {**fine, "additionalProperties": False}
    number_enum = {**fine, "properties": {"a": {"type": "integer", "enum": [6, 8]}}}
    uuid = {**fine, "properties": {"a": {"type": "string", "format": "uuid"}}}
    secret = {**fine, "properties": {"a": {"type": "string", "writeOnly": True}}}
    cases = [
        (0, strict_faults(strict)),
        (1, strict_faults(fine)),
        (1, strict_faults({**strict, "required": []})),
        (1, strict_faults({**strict, "oneOf": []})),
        (0, gemini_faults(fine, "parameters")),
        (1, gemini_faults(strict, "parameters")),
        (1, gemini_faults(number_enum, "parameters")),
        (1, gemini_faults(uuid, "parameters")),
        (1, gemini_faults(secret, "parameters")),
        (1, gemini_faults({**fine, "required": ["b"]}, "parameters")),
    ]
    numbers = [
        (6, {"description": "Digits of a code: 6 (the default) or 8."}),
        (30, {"description": "Seconds, 1 to 3600; 30 by default."}),
        (1000, {"description": "Seats to return at most, 0 to 1000; all by default."}),
        (45, {"description": "Seconds.", "default": 45}),
        (50, {"description": "Secrets to return.", "minimum": 1}),
    ]
    for number, shown in numbers:
        given = unwanted("limit", {**shown, "type": "integer"}, "strict", "Returns 50 unless limit says more.")
        cases.append((0, [] if given == number else [given]))
    for expected, faults in cases:
        found = list(faults)
        if len(found) != expected:
            raise RuntimeError(f"expected {expected} faults, not {found}")
