"""Routing as the xDS documents say it, over the protobuf messages themselves: the plain way, without any of
the shortcuts of the implementation."""

import re

import re2


def options():
    options = re2.Options()
    options.log_errors = False
    return options


class Request:
    def __init__(self, authority, path, method="POST", fields=()):
        self.authority, self.path, self.method, self.fields = authority, path, method, list(fields)

    def value(self, name):
        name = name.lower()
        pseudo = {":authority": self.authority, ":path": self.path, ":method": self.method}
        if name in pseudo:
            return pseudo[name]
        values = [value for other, value in self.fields if other == name]
        return ",".join(values) if values else None

    def words(self):
        parts = [self.authority, self.method, self.path] + [part for field in self.fields for part in field]
        return " ".join(part.encode().hex() or "" for part in parts)


def route(configuration, request):
    """The virtual host and the route, or the word for why there is none. Fractions must be none or all."""
    host = virtual_host(configuration, request)
    if host is None:
        return "no-virtual-host", None
    for candidate in host.routes:
        if candidate.WhichOneof("action") in ("route", "redirect", "direct_response") and matches(
                configuration, candidate.match, request):
            return host, candidate
    return "no-route", host


def virtual_host(configuration, request):
    """Item 45."""
    authority = request.authority.lower()
    if configuration.ignore_port_in_host_matching:
        authority = re.sub(r":[^\]:]*$", "", authority)
    best, best_rank = None, (-1, 0)
    for host in configuration.virtual_hosts:
        for domain in host.domains:
            domain = domain.lower()
            if domain == "*":
                rank = (0, 0)
            elif domain.startswith("*"):
                if len(authority) < len(domain) or not authority.endswith(domain[1:]):
                    continue
                rank = (2, len(domain))
            elif domain.endswith("*"):
                if len(authority) < len(domain) or not authority.startswith(domain[:-1]):
                    continue
                rank = (1, len(domain))
            elif domain == authority:
                rank = (3, 0)
            else:
                continue
            if rank > best_rank:
                best, best_rank = host, rank
    return best


def matches(configuration, match, request):
    path = re.split(r"[?#]", request.path)[0]
    if configuration.ignore_path_parameters_in_path_matching:
        path = path.split(";")[0]
    return (
        path_matches(match, path)
        and (not match.HasField("grpc") or grpc(request))
        and all(header_matches(matcher, request) for matcher in match.headers)
        and all(parameter_matches(matcher, request) for matcher in match.query_parameters)
        and (not match.HasField("runtime_fraction") or match.runtime_fraction.default_value.numerator > 0)
    )


def grpc(request):
    kind = request.value("content-type") or ""
    return kind == "application/grpc" or kind.startswith("application/grpc+")


def path_matches(match, path):
    """Item 47."""
    kind = match.WhichOneof("path_specifier")
    if kind == "safe_regex":
        return full(match.safe_regex.regex, path)
    expected = getattr(match, kind)
    if match.HasField("case_sensitive") and not match.case_sensitive.value:
        path, expected = path.lower(), expected.lower()
    if kind == "path":
        return path == expected
    if kind == "prefix":
        return path.startswith(expected)
    return path == expected or path.startswith(expected + "/")


def full(pattern, text):
    return re2.compile(pattern, options()).fullmatch(text) is not None


def string_matches(matcher, text):
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return full(matcher.safe_regex.regex, text)
    expected = getattr(matcher, kind)
    if matcher.ignore_case:
        expected, text = expected.lower(), text.lower()
    return {"exact": text == expected, "prefix": text.startswith(expected), "suffix": text.endswith(expected),
            "contains": expected in text}[kind]


def header_matches(matcher, request):
    """Item 48."""
    value = request.value(matcher.name)
    if value is None and matcher.treat_missing_header_as_empty:
        value = ""
    kind = matcher.WhichOneof("header_match_specifier")
    if kind is None or kind == "present_match":
        expected = kind is None or matcher.present_match
        return ((value is not None) == expected) != matcher.invert_match
    if value is None:
        return False
    if kind == "string_match":
        found = string_matches(matcher.string_match, value)
    elif kind == "safe_regex_match":
        found = full(matcher.safe_regex_match.regex, value)
    elif kind == "range_match":
        number = int(value) if re.fullmatch(r"[+-]?[0-9]+", value) else None
        found = number is not None and matcher.range_match.start <= number < matcher.range_match.end
    else:
        expected = getattr(matcher, kind)
        found = {"exact_match": value == expected, "prefix_match": value.startswith(expected),
                 "suffix_match": value.endswith(expected), "contains_match": expected in value}[kind]
    return found != matcher.invert_match


def parameter_matches(matcher, request):
    """Item 50."""
    query = request.path.split("#")[0].partition("?")[2]
    found = None
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        if name == matcher.name:
            found = value
            break
    kind = matcher.WhichOneof("query_parameter_match_specifier")
    if kind == "string_match":
        return found is not None and string_matches(matcher.string_match, found)
    return (found is not None) == (kind is None or matcher.present_match)


def rewritten_path(route, request):
    """Items of `prefix_rewrite` and `regex_rewrite`; nil: none."""
    action, match = route.route, route.match
    end = len(re.split(r"[?#]", request.path)[0])
    path, rest = request.path[:end], request.path[end:]
    if action.HasField("regex_rewrite"):
        result = substitute(action.regex_rewrite, path)
    elif action.prefix_rewrite:
        kind = match.WhichOneof("path_specifier")
        matched = len(path) if kind == "safe_regex" else len(getattr(match, kind))
        result = action.prefix_rewrite + path[matched:]
    else:
        return None
    return (result if result.startswith("/") else "/" + result) + rest


def substitute(rewrite, text):
    """Of patterns that match no empty text, for which Python's way and RE2's are one."""
    def replace(match):
        return re.sub(r"\\(\d)", lambda escape: match.group(int(escape.group(1))) or "", rewrite.substitution)
    return re2.compile(rewrite.pattern.regex, options()).sub(replace, text)


def mutations(configuration, host, route):
    """Item 108, and within a level first what is removed, then what is overwritten, then what is added."""
    levels = [route, host, configuration]
    if configuration.most_specific_header_mutations_wins:
        levels.reverse()
    for level in levels:
        for name in level.request_headers_to_remove:
            yield ("remove", name.lower())
        for overwrites in (True, False):
            for option in level.request_headers_to_add:
                if (option.append_action in (2, 3)) == overwrites and (option.header.value or option.keep_empty_value):
                    yield ("add", option.header.key.lower(), option.header.value.replace("%%", "%"), option.append_action)
