// The id of a request: taken from a proxy if it is sane, made otherwise.
#include <rill/protocols/http/request_id.h>

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "http/handlers.h"

namespace rill::http {
namespace {

using test::answers_to;
using test::got;

/// What the handler sees, which the answer must say too.
std::string id(const std::string& fields) {
  router routes;
  routes.use(request_id()).get("/{x}", [](request& asked) { return response::text(asked.id()); });
  const std::string all = answers_to(routes, {got(fields, "/a")});
  const std::string seen = test::body_of(all);
  EXPECT_NE(all.find("\r\nX-Request-Id: " + seen + "\r\n"), all.npos) << all;
  return seen;
}

TEST(http_request_id, a_sane_one_of_the_request_is_kept) {
  EXPECT_EQ(id("X-Request-Id: abc-123_X.y:z/+=@\r\n"), "abc-123_X.y:z/+=@");
  EXPECT_EQ(id("x-request-id: " + std::string(128, 'x') + "\r\n"), std::string(128, 'x'));
}

TEST(http_request_id, otherwise_one_is_made) {
  for (const std::string& fields :
       {std::string(), std::string("X-Request-Id:\r\n"), std::string("X-Request-Id: a b\r\n"),
        std::string("X-Request-Id: a\"b\r\n"), std::string("X-Request-Id: \xc3\xa4\r\n"),
        std::string("X-Request-Id: a\r\nX-Request-Id: b\r\n"),
        "X-Request-Id: " + std::string(129, 'x') + "\r\n"}) {
    const std::string made = id(fields);
    EXPECT_EQ(made.size(), 32U) << fields;
    EXPECT_EQ(made.find_first_not_of("0123456789abcdef"), made.npos) << fields;
    EXPECT_NE(made, id(fields));
  }
}

}  // namespace
}  // namespace rill::http
