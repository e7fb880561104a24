// Which handler a request reaches, and what is answered when there is none.
#include <rill/protocols/http/router.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"

namespace rill::http {
namespace {

using test::run_loop;

class no_body final : public detail::request_owner {
 public:
  task<std::string_view> read() override { co_return std::string_view(); }
  bool is_complete() const noexcept override { return true; }
  response answer_failure(const std::exception_ptr& failure) override {
    std::rethrow_exception(failure);
  }
};

/// "200 body", with Allow if there is one.
std::string routed(router& routes, std::string_view method, std::string_view target) {
  const std::string bytes =
      std::string(method) + ' ' + std::string(target) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  request_head head;
  EXPECT_EQ(head.parse(bytes), parse_state::complete) << bytes;
  const endpoint peer;
  no_body body;
  request asked(head, peer, body);
  return run_loop([&]() -> task<std::string> {
    const response made = co_await routes.handle(asked);
    std::string text = std::to_string(made.status()) + ' ' + std::string(made.body());
    if (!made.find("Allow").empty()) text += " Allow: " + std::string(made.find("Allow"));
    co_return text;
  });
}

/// Says its name and the parameters that it is asked for.
auto says(std::string name, std::vector<std::string> wanted = {}) {
  return [name = std::move(name), wanted = std::move(wanted)](request& asked) {
    std::string text = name;
    for (const std::string& each : wanted) text += ' ' + std::string(asked.parameter(each));
    return response::text(text);
  };
}

TEST(router, finds_the_handler_of_a_path_and_a_method) {
  router routes;
  routes.get("/", says("root")).get("/a", says("get a")).post("/a", says("post a"));
  routes.get("/a/b", says("b")).get("/a/", says("slash"));
  EXPECT_EQ(routed(routes, "GET", "/"), "200 root");
  EXPECT_EQ(routed(routes, "GET", "/a"), "200 get a");
  EXPECT_EQ(routed(routes, "POST", "/a?x=/a/b"), "200 post a");
  EXPECT_EQ(routed(routes, "GET", "/a/b"), "200 b");
  EXPECT_EQ(routed(routes, "GET", "/a/"), "200 slash");
  EXPECT_EQ(routed(routes, "GET", "/%61/%62"), "200 b");
  EXPECT_EQ(routed(routes, "GET", "http://a/a/b"), "200 b");
}

TEST(router, prefers_what_is_fixed_and_goes_back_when_that_leads_nowhere) {
  router routes;
  routes.get("/users/me", says("me")).get("/users/{id}", says("user", {"id"}));
  routes.get("/users/me/x", says("mine"))
      .get("/users/{id}/posts/{post}", says("post", {"id", "post"}));
  routes.get("/files/{path...}", says("file", {"path"})).get("/files/a/{x}", says("x", {"x"}));
  EXPECT_EQ(routed(routes, "GET", "/users/me"), "200 me");
  EXPECT_EQ(routed(routes, "GET", "/users/7"), "200 user 7");
  EXPECT_EQ(routed(routes, "GET", "/users/me/posts/3"), "200 post me 3");
  EXPECT_EQ(routed(routes, "GET", "/users/a%2Fb%20c"), "200 user a/b c");
  EXPECT_EQ(routed(routes, "GET", "/files/a/b"), "200 x b");
  EXPECT_EQ(routed(routes, "GET", "/files/a/b/c"), "200 file a/b/c");
  EXPECT_EQ(routed(routes, "GET", "/files/"), "200 file ");
  EXPECT_EQ(routed(routes, "GET", "/files"), "404 Not Found\n");
  EXPECT_EQ(routed(routes, "GET", "/users/"), "404 Not Found\n");
}

TEST(router, answers_for_methods_without_a_handler) {
  router routes;
  routes.get("/a", says("a")).add("PUT", "/a", says("put"));
  EXPECT_EQ(routed(routes, "HEAD", "/a"), "200 a");
  EXPECT_EQ(routed(routes, "DELETE", "/a"),
            "405 Method Not Allowed\n Allow: GET, PUT, HEAD, OPTIONS");
  EXPECT_EQ(routed(routes, "OPTIONS", "/a"), "204  Allow: GET, PUT, HEAD, OPTIONS");
  EXPECT_EQ(routed(routes, "OPTIONS", "*"), "204 ");
  EXPECT_EQ(routed(routes, "CONNECT", "a:1"), "501 Not Implemented\n");
  EXPECT_EQ(routed(routes, "GET", "/none"), "404 Not Found\n");
  EXPECT_EQ(routed(routes, "GET", "/%zz"), "400 Bad Request\n");
  routes.add("HEAD", "/a", says("head")).add("OPTIONS", "/a", says("options"));
  EXPECT_EQ(routed(routes, "HEAD", "/a"), "200 head");
  EXPECT_EQ(routed(routes, "OPTIONS", "/a"), "200 options");
  routes.fallback(says("whatever"));
  EXPECT_EQ(routed(routes, "BREW", "/none"), "200 whatever");
}

TEST(router, passes_requests_through_middleware_from_the_outside_in) {
  router routes;
  routes.get("/a", [](request&) -> task<response> { co_return response::text("a"); });
  const auto around = [](std::string mark) {
    return [mark = std::move(mark)](request& asked, const handler& next) -> task<response> {
      if (asked.path() == "/stop-" + mark) co_return response::text("stopped by " + mark);
      response made = co_await next(asked);
      made.set_body(mark + '(' + std::string(made.body()) + ')', "text/plain");
      co_return made;
    };
  };
  const auto outer = around("outer");
  const auto inner = around("inner");
  routes.use(outer).use(inner);
  EXPECT_EQ(routed(routes, "GET", "/a"), "200 outer(inner(a))");
  EXPECT_EQ(routed(routes, "GET", "/stop-inner"), "200 outer(stopped by inner)");
  EXPECT_EQ(routed(routes, "GET", "/stop-outer"), "200 stopped by outer");
  EXPECT_EQ(routed(routes, "GET", "/none"), "404 outer(inner(Not Found\n))");
}

TEST(router, lets_middleware_change_an_answer_that_is_there_and_one_that_will_be) {
  router routes;
  routes.get("/now", [](request&) { return response::text("now"); });
  routes.get("/later", [](request&) -> task<response> { co_return response::text("later"); });
  routes.use([](request& asked, const handler& next) {
    return next(asked).then(
        [](response& made) { made.set_body('[' + std::string(made.body()) + ']', "text/plain"); });
  });
  EXPECT_EQ(routed(routes, "GET", "/now"), "200 [now]");
  EXPECT_EQ(routed(routes, "GET", "/later"), "200 [later]");
  EXPECT_EQ(routed(routes, "GET", "/none"), "404 [Not Found\n]");
}

TEST(router, refuses_patterns_that_cannot_be_meant) {
  router routes;
  routes.get("/a/{id}", says("a"));
  for (const std::string_view each : {"a", "", "/{", "/x{id}", "/{}", "/{...}", "/{a...}/b",
                                      "/{{a}}", "/a/{id}", "/a/{other}/x"}) {
    EXPECT_THROW(routes.get(each, says("x")), std::invalid_argument) << each;
  }
}

}  // namespace
}  // namespace rill::http
