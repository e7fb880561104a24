// What browsers are told about other origins.
#include <rill/protocols/http/cors.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "http/handlers.h"

namespace rill::http {
namespace {

using test::answers_to;
using test::got;
using test::without_date;

cors_rules for_one() {
  cors_rules rules;
  rules.origins = {"https://app.example.org", "http://localhost:3000"};
  rules.exposed_fields = {"X-Total"};
  return rules;
}

/// Status line and fields.
std::string answer(const cors_rules& rules, const std::string& fields,
                   const std::string& method = "GET") {
  router routes;
  routes.use(cors(rules)).get("/", [](request&) { return response(204); });
  std::string request = got(fields);
  request.replace(0, 3, method);
  return without_date(answers_to(routes, {request}));
}

const std::string origin = "Origin: https://app.example.org\r\n";
const std::string preflight = "Access-Control-Request-Method: PUT\r\n";
const std::string begin = "HTTP/1.1 204 No Content\r\n";

TEST(http_cors, pages_of_listed_origins_may_read_answers) {
  EXPECT_EQ(answer(for_one(), origin),
            begin +
                "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.example.org\r\n"
                "Access-Control-Expose-Headers: X-Total\r\n\r\n");
  const std::string refused = begin + "Vary: Origin\r\n\r\n";
  EXPECT_EQ(answer(for_one(), ""), refused);
  for (const std::string_view other :
       {"https://evil.example", "http://app.example.org", "https://app.example.org.evil.example",
        "https://app.example.org:444", "null", "https://APP.example.org", "*", ""}) {
    EXPECT_EQ(answer(for_one(), "Origin: " + std::string(other) + "\r\n"), refused) << other;
  }
}

TEST(http_cors, credentials_are_allowed_when_the_rules_say_so) {
  cors_rules rules = for_one();
  rules.allows_credentials = true;
  rules.exposed_fields.clear();
  EXPECT_EQ(answer(rules, origin),
            begin +
                "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.example.org\r\n"
                "Access-Control-Allow-Credentials: true\r\n\r\n");
}

TEST(http_cors, preflights_are_answered_without_a_handler) {
  cors_rules rules = for_one();
  rules.methods = {"GET", "PUT"};
  EXPECT_EQ(answer(rules, origin + preflight, "OPTIONS"),
            begin +
                "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.example.org\r\n"
                "Access-Control-Allow-Methods: GET, PUT\r\n"
                "Access-Control-Allow-Headers: Content-Type, Authorization\r\n"
                "Access-Control-Max-Age: 3600\r\n\r\n");
  EXPECT_EQ(answer(rules, "Origin: https://evil.example\r\n" + preflight, "OPTIONS"),
            begin + "Vary: Origin\r\n\r\n");
  // Other requests with OPTIONS are the router's.
  EXPECT_NE(answer(rules, origin, "OPTIONS").find("Allow: GET, HEAD, OPTIONS\r\n"),
            std::string::npos);
}

TEST(http_cors, all_origins_are_one_star) {
  cors_rules rules;
  rules.origins = {"*"};
  EXPECT_EQ(answer(rules, "Origin: null\r\n"), begin + "Access-Control-Allow-Origin: *\r\n\r\n");
  EXPECT_EQ(answer(rules, ""), begin + "\r\n");
}

TEST(http_cors, rules_that_cannot_hold_are_refused) {
  const auto refuses = [](auto change) {
    cors_rules rules = for_one();
    change(rules);
    EXPECT_THROW(cors(rules), std::invalid_argument);
  };
  refuses([](cors_rules& rules) {
    rules.origins = {"*"};
    rules.allows_credentials = true;
  });
  refuses([](cors_rules& rules) { rules.origins.emplace_back("*"); });
  refuses([](cors_rules& rules) { rules.origins = {"https://a.example/"}; });
  refuses([](cors_rules& rules) { rules.origins = {"https://A.example"}; });
  refuses([](cors_rules& rules) { rules.origins = {"a.example"}; });
  refuses([](cors_rules& rules) { rules.methods = {"GET POST"}; });
  refuses([](cors_rules& rules) { rules.fields = {"A\r\nB"}; });
}

}  // namespace
}  // namespace rill::http
