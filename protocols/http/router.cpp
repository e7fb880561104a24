// A tree of segments. See router.h.
#include <rill/protocols/http/router.h>

#include <algorithm>
#include <exception>
#include <stdexcept>

#include <rill/protocols/http/url.h>

namespace rill::http {

struct router::node {
  struct method_handler {
    std::string method;
    handler to;
  };
  std::vector<std::pair<std::string, node_pointer>> fixed;
  node_pointer one;   // any segment
  node_pointer rest;  // all that is left
  std::string name;   // under which `one` or `rest` of the parent has led here
  std::vector<method_handler> handlers;

  const handler* find(std::string_view method) const noexcept {
    for (const method_handler& each : handlers) {
      if (each.method == method) return &each.to;
    }
    return nullptr;
  }
  /// "GET, HEAD, OPTIONS"
  std::string allowed() const {
    std::string text;
    for (const method_handler& each : handlers) text += each.method + ", ";
    if (find("GET") != nullptr && find("HEAD") == nullptr) text += "HEAD, ";
    return find("OPTIONS") == nullptr ? text + "OPTIONS" : text.substr(0, text.size() - 2);
  }
};

void router::node_deleter::operator()(node* gone) const noexcept { delete gone; }

namespace {

using parameters = request::parameters;

/// Compares a segment of a request with a fixed one; only the former is encoded.
bool is_same(std::string_view encoded, std::string_view fixed) {
  if (encoded.find('%') == encoded.npos) return encoded == fixed;
  return percent_decode(encoded) == fixed;
}

std::string decoded(std::string_view encoded) {
  return percent_decode(encoded).value_or(std::string(encoded));  // has been checked before
}

/// "/a/b" into "a" and "/b"; what is left begins with a slash, or is empty.
std::string_view take_segment(std::string_view& path) noexcept {
  path.remove_prefix(1);
  const std::size_t size = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, size);
  path.remove_prefix(size);
  return segment;
}

/// What of "{name}" or "{name...}" is the name; empty for a fixed segment.
std::string_view name_in(std::string_view segment, bool& takes_rest) {
  takes_rest = false;
  if (segment.find_first_of("{}") == segment.npos) return {};
  if (!segment.starts_with('{') || !segment.ends_with('}')) {
    throw std::invalid_argument("a route's {name} must be a segment of its own");
  }
  std::string_view name = segment.substr(1, segment.size() - 2);
  takes_rest = name.ends_with("...");
  if (takes_rest) name.remove_suffix(3);
  if (name.empty() || name.find_first_of("{}") != name.npos) {
    throw std::invalid_argument("a route's {name} must be a name");
  }
  return name;
}

/// The node that fits best, with handlers; what its path holds is put into `found`. As deep as the
/// deepest pattern, whatever the path.
template <class Node>
const Node* fitting(const Node& at, std::string_view path, parameters& found) {
  if (path.empty()) {
    if (!at.handlers.empty()) return &at;
  } else {
    std::string_view left = path;
    const std::string_view segment = take_segment(left);
    for (const auto& [text, child] : at.fixed) {
      if (!is_same(segment, text)) continue;
      if (const Node* const deeper = fitting(*child, left, found)) return deeper;
    }
    if (at.one != nullptr && !segment.empty()) {
      found.emplace_back(at.one->name, decoded(segment));
      if (const Node* const deeper = fitting(*at.one, left, found)) return deeper;
      found.pop_back();
    }
  }
  if (at.rest == nullptr || path.empty()) return nullptr;
  found.emplace_back(at.rest->name, decoded(path.substr(1)));
  return at.rest.get();
}

}  // namespace

router& router::use(middleware around) {
  const std::size_t inner = layers_.size() + 1;
  layers_.push_back(
      {std::move(around), [this, inner](request& asked) { return caught(inner, asked); }});
  return *this;
}

router& router::add(std::string_view method, std::string_view pattern, handler to) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument("route " + std::string(method) + ' ' + std::string(pattern) + ": " +
                                why);
  };
  if (!pattern.starts_with('/')) refuse("a pattern begins with a slash");
  if (root_ == nullptr) root_.reset(new node());
  node* at = root_.get();
  for (std::string_view left = pattern; !left.empty();) {
    const std::string_view segment = take_segment(left);
    bool takes_rest = false;
    const std::string_view name = name_in(segment, takes_rest);
    if (takes_rest && !left.empty()) refuse("{name...} stands at the end");
    if (name.empty()) {
      const auto known = std::find_if(at->fixed.begin(), at->fixed.end(),
                                      [&](const auto& each) { return each.first == segment; });
      if (known == at->fixed.end()) {
        at->fixed.emplace_back(segment, node_pointer(new node()));
        at = at->fixed.back().second.get();
      } else {
        at = known->second.get();
      }
      continue;
    }
    node_pointer& next = takes_rest ? at->rest : at->one;
    if (next == nullptr) {
      next.reset(new node());
      next->name = name;
    }
    if (next->name != name) refuse("another pattern calls this segment " + next->name);
    at = next.get();
  }
  if (at->find(method) != nullptr) refuse("is there already");
  at->handlers.push_back({std::string(method), std::move(to)});
  return *this;
}

answer router::handle(request& asked) { return through(0, asked); }

answer router::through(std::size_t index, request& asked) {
  if (index == layers_.size()) return route(asked);
  return layers_[index].around(asked, layers_[index].next);
}

answer router::caught(std::size_t index, request& asked) {
  const auto with_owner = [&] {
    answer given = through(index, asked);
    given.set_owner(asked.owner());
    return given;
  };
  try {
    return with_owner();
  } catch (...) {
    return asked.owner().answer_failure(std::current_exception());
  }
}

answer router::route(request& asked) {
  constexpr int no_content = 204;
  constexpr int bad_request = 400;
  constexpr int not_found = 404;
  constexpr int method_not_allowed = 405;
  constexpr int not_implemented = 501;
  if (asked.head().form() == target_form::authority) return detail::refusal(not_implemented, {});
  if (asked.head().form() == target_form::asterisk) return response(no_content);
  const std::string_view path = asked.path();
  if (path.find('%') != path.npos && !percent_decode(path)) return detail::refusal(bad_request, {});
  parameters found;
  const node* const fits = root_ == nullptr ? nullptr : fitting(*root_, path, found);
  if (fits == nullptr) return fallback_ ? fallback_(asked) : detail::refusal(not_found, {});
  const handler* to = fits->find(asked.method());
  if (to == nullptr && asked.method() == "HEAD") to = fits->find("GET");
  if (to != nullptr) {
    asked.set_parameters(std::move(found));
    return (*to)(asked);
  }
  const bool asks_for_options = asked.method() == "OPTIONS";
  response made = asks_for_options ? response(no_content) : detail::refusal(method_not_allowed, {});
  made.set("Allow", fits->allowed());
  return made;
}

}  // namespace rill::http
