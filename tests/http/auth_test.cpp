// Credentials: reading and writing them, and who is let in.
#include <rill/protocols/http/auth.h>

#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "http/handlers.h"

namespace rill::http {
namespace {

using test::answers_to;
using test::got;

std::string basic(std::string_view field) {
  const auto read = parse_basic(field);
  return read ? read->user + '|' + read->password : "none";
}

TEST(http_auth, basic_is_read_as_it_is_written) {
  EXPECT_EQ(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "Aladdin|open sesame");  // RFC 7617
  EXPECT_EQ(basic("BASIC   dGVzdDoxMjPCow=="), "test|123\xc2\xa3");
  EXPECT_EQ(basic("Basic Og=="), "|");
  EXPECT_EQ(basic("Basic OmE6Yg=="), "|a:b");
  for (const std::string text : {"", "a", "ab", "abc", "abcd", "\xff\xfe\xfd", "?>~"}) {
    EXPECT_EQ(basic(write_basic({"u", text})), "u|" + text);
    EXPECT_EQ(basic(write_basic({text, ""})), text + '|');
  }
  EXPECT_THROW(write_basic({"a:b", ""}), std::invalid_argument);
  EXPECT_THROW(write_basic({"a", "b\r\nc"}), std::invalid_argument);
}

TEST(http_auth, what_is_not_exactly_basic_is_none) {
  for (const std::string_view field :
       {"", "Basic", "Basic ", "Bearer Og==", "BasicOg==", "Basic Og=", "Basic Og", "Basic Og===",
        "Basic =g==", "Basic O===", "Basic Oh==", "Basic O g==", "Basic Og==Og==", "Basic Og==,",
        "Basic YWI=", "Basic YQA6", "Basic YQo6", "Basic Og-_", "Basic ===="}) {
    EXPECT_EQ(basic(field), "none") << field;
  }
}

TEST(http_auth, a_bearer_token_is_taken_as_it_stands) {
  EXPECT_EQ(parse_bearer("Bearer mF_9.B5f-4.1JqM~+/=="), "mF_9.B5f-4.1JqM~+/==");
  EXPECT_EQ(parse_bearer("bearer a"), "a");
  for (const std::string_view field :
       {"", "Bearer", "Bearer ", "Bearer =", "Bearer a b", "Bearer a,b", "Bearer a=b", "Basic a"}) {
    EXPECT_EQ(parse_bearer(field), std::nullopt) << field;
  }
}

TEST(http_auth, secrets_are_the_same_only_as_a_whole) {
  EXPECT_TRUE(is_same_secret("abc", "abc"));
  EXPECT_TRUE(is_same_secret("", ""));
  for (const std::string_view given : {"", "ab", "abcd", "abd", "Abc", "abcabc"}) {
    EXPECT_FALSE(is_same_secret(given, "abc")) << given;
    EXPECT_FALSE(is_same_secret("abc", given)) << given;
  }
}

TEST(http_auth, who_has_the_password_is_let_in) {
  router routes;
  routes.use(basic_auth("the \"staff\"", [](std::string_view user, std::string_view password) {
    return user == "ann" && is_same_secret(password, "x:y");
  }));
  routes.get("/", [](request&) { return response::text("in"); });
  const auto answer = [&](const std::string& fields) {
    const std::string all = answers_to(routes, {got(fields)});
    if (all.starts_with("HTTP/1.1 401 ")) {
      EXPECT_NE(
          all.find("WWW-Authenticate: Basic realm=\"the \\\"staff\\\"\", charset=\"UTF-8\"\r\n"),
          all.npos)
          << all;
    }
    return test::body_of(all);
  };
  const std::string right = "Authorization: " + write_basic({"ann", "x:y"}) + "\r\n";
  const std::string refused = "A password is needed.\n";
  EXPECT_EQ(answer(right), "in");
  EXPECT_EQ(answer(""), refused);
  EXPECT_EQ(answer("Authorization: " + write_basic({"ann", "x"}) + "\r\n"), refused);
  EXPECT_EQ(answer("Authorization: " + write_basic({"bob", "x:y"}) + "\r\n"), refused);
  EXPECT_EQ(answer("Authorization: Basic ?\r\n"), refused);
  EXPECT_EQ(answer(right + "Authorization: " + write_basic({"bob", "z"}) + "\r\n"), refused);
  EXPECT_THROW(basic_auth("a\r\nb", nullptr), std::invalid_argument);
}

}  // namespace
}  // namespace rill::http
