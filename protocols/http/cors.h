// Cross-origin requests (the Fetch standard, section 3.2): which pages of other origins may read
// the answers of this server.
//   http::cors_rules rules;
//   rules.origins = {"https://app.example.org"};
//   routes.use(http::cors(rules));
// It protects nothing: only browsers obey. What changes state needs more than a simple request.
// Read next: cors.cpp.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <rill/protocols/http/router.h>

namespace rill::http {

/// Who may do what from pages of other origins.
struct cors_rules {
  /// As browsers send them, "https://app.example.org:8443", compared as a whole; "*" alone: all.
  std::vector<std::string> origins;
  /// What a preflight may ask for. GET, HEAD and simple POST need none.
  std::vector<std::string> methods{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  /// Fields that requests may have beside the simple ones, without case.
  std::vector<std::string> fields{"Content-Type", "Authorization"};
  /// Fields of answers that scripts may read beside the simple ones.
  std::vector<std::string> exposed_fields;
  /// Cookies and passwords may be sent, and the answer read. Not with "*".
  bool allows_credentials = false;
  /// How long a browser may keep what a preflight was told; it takes 2 hours at most.
  std::chrono::seconds max_age = std::chrono::hours(1);
};

/// Answers preflights (OPTIONS with Origin and Access-Control-Request-Method) with 204, and what is
/// allowed, for the origins listed; to others, without a word about it, which browsers take for no.
/// Adds Access-Control-Allow-Origin to all other answers for those origins, errors too. Vary:
/// Origin is on every answer, unless all origins are alike. Throws std::invalid_argument for "*"
/// with credentials or beside others, for an origin that is none, such as one with a path, and for
/// a method or field that is no token.
middleware cors(cors_rules rules);

}  // namespace rill::http
