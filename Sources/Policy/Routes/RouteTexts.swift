import Primitives

// What matchers and values are called in an explanation.

func text(_ route: Route) -> String {
  var text = text(route.path)
  if route.isForGRPC { text += ", gRPC" }
  for matcher in route.headers { text += ", header \(matcher.name) \(Policy.text(matcher))" }
  for matcher in route.queryParameters { text += ", query parameter \(matcher.name)" }
  for matcher in route.cookies { text += ", cookie \(matcher.name)" }
  if let fraction = route.fraction { text += ", \(Policy.text(fraction.defaultValue))" }
  return text
}

func text(_ path: PathMatcher) -> String {
  switch path {
  case .prefix(let prefix, let isSensitive): "prefix \(prefix)\(caseText(isSensitive))"
  case .path(let path, let isSensitive): "path \(path)\(caseText(isSensitive))"
  case .separatedPrefix(let prefix, let isSensitive):
    "path_separated_prefix \(prefix)\(caseText(isSensitive))"
  case .regex(let expression): "safe_regex \(expression.pattern)"
  }
}

private func caseText(_ isSensitive: Bool) -> String { isSensitive ? "" : " in any case" }

func text(_ matcher: HeaderMatcher) -> String {
  let negation = matcher.inverts ? "not " : ""
  switch matcher.pattern {
  case .present(let isExpected): return negation + (isExpected ? "present" : "absent")
  case .text(let matcher): return negation + text(matcher)
  case .range(let start, let end): return "\(negation)from \(start) to below \(end)"
  }
}

func text(_ matcher: StringMatcher) -> String {
  let suffix = caseText(!matcher.ignoresCase)
  switch matcher.pattern {
  case .exact(let text): return "exactly \(text)\(suffix)"
  case .prefix(let text): return "prefix \(text)\(suffix)"
  case .suffix(let text): return "suffix \(text)\(suffix)"
  case .contains(let text): return "containing \(text)\(suffix)"
  case .regex(let expression): return "safe_regex \(expression.pattern)"
  }
}

func text(_ share: FractionalPercent) -> String {
  "\(share.perMillion) of 1000000 requests"
}

func text(_ interval: Interval) -> String {
  interval > .zero ? "\(interval.milliseconds) ms" : "off"
}

func text(_ action: HeaderAppendAction) -> String {
  switch action {
  case .appendIfExistsOrAdd: "appended"
  case .addIfAbsent: "added if absent"
  case .overwriteIfExistsOrAdd: "set"
  case .overwriteIfExists: "set if present"
  }
}
