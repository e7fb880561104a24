// JSON in requests and answers.
#include <rill/protocols/http/json.h>

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "http/handlers.h"

namespace rill::http {
namespace {

using test::answers_to;
using test::posted;

/// Status and body of a handler that sends back what it has read.
std::string echoed(const std::string& body, const std::string& type = "application/json",
                   json_limits limits = json_limits()) {
  router routes;
  routes.post("/", [limits](request& asked) -> task<response> {
    const nlohmann::json read = co_await read_json(asked, limits);
    co_return json_response(read);
  });
  const std::string all = answers_to(routes, {posted(body, "Content-Type: " + type + "\r\n")});
  return all.substr(9, 4) + test::body_of(all);
}

TEST(http_json, values_come_and_go) {
  for (const std::string text : {R"({"a":[1,2.5,null,true],"b":{"c":"\"ä"}})", "[]", "[[1]]", "7",
                                 "\"text\"", "null", "{}"}) {
    EXPECT_EQ(echoed(text), "200 " + text);
  }
  EXPECT_EQ(echoed(" { \"a\" : 1 } ", "application/problem+json; charset=utf-8"), "200 {\"a\":1}");
  const response made = json_response({{"message", "Hello"}}, 201);
  EXPECT_EQ(made.status(), 201);
  EXPECT_EQ(made.find("Content-Type"), "application/json");
  EXPECT_EQ(made.body(), "{\"message\":\"Hello\"}");
}

TEST(http_json, what_is_no_json_is_refused) {
  for (const std::string text : {"", "{", "{\"a\":1}x", "{a:1}", "[1,]", "nul", "'a'", "\"\xff\"",
                                 "01", "NaN", "\"\n\"", "// x\n1"}) {
    EXPECT_EQ(echoed(text), "400 the body is no JSON\n") << text;
  }
}

TEST(http_json, another_media_type_is_refused) {
  for (const std::string type :
       {"text/plain", "application/x-www-form-urlencoded", "json", "+json", "application/jsonx"}) {
    EXPECT_EQ(echoed("{}", type), "415 a body of type application/json is wanted\n") << type;
  }
}

TEST(http_json, size_and_depth_have_limits) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(echoed(nested(64)), "200 " + nested(64));
  EXPECT_EQ(echoed(nested(65)), "400 the JSON text is too deep\n");
  EXPECT_EQ(echoed(std::string(500'000, '[')), "400 the JSON text is too deep\n");
  EXPECT_EQ(echoed('"' + std::string(100, '[') + "\\\"[\""),
            "200 \"" + std::string(100, '[') + "\\\"[\"");
  EXPECT_EQ(echoed("[1,2]", "application/json", json_limits{5, 1}), "200 [1,2]");
  EXPECT_EQ(echoed("[1,2] ", "application/json", json_limits{5, 1}),
            "413 the JSON text is too large\n");
}

TEST(http_json, text_that_is_not_utf_8_is_written_with_a_sign_in_its_place) {
  EXPECT_EQ(json_response("a\xff").body(), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace rill::http
