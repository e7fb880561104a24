// What a handler throws, or the producer of its body, as middleware, the log and the client see it.
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "http/handlers.h"
#include <rill/protocols/http/compress.h>
#include <rill/protocols/http/cors.h>
#include <rill/protocols/http/request_id.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/status_error.h>

namespace rill::http {
namespace {

using test::answers_to;
using test::got;
using test::posted;
using test::reported;
using test::without_date;

/// Handlers that fail: at once, later, and while the body is written.
void add_failing(router& routes) {
  routes.get("/at-once", [](request&) -> response { throw std::runtime_error("secret 1"); });
  routes.get("/later", [](request&) -> task<response> {
    co_await rill::test::settle(1);
    throw std::runtime_error("secret 2");
  });
  routes.get("/status", [](request&) -> task<response> {
    co_await rill::test::settle(1);
    throw status_error(409, "not twice\n");
  });
  routes.post("/", [](request& asked) -> task<response> {
    co_return response::text(co_await asked.read_body());
  });
  const auto fails_after = [](std::string_view text, bool is_flushed) {
    return [=](request&) {
      response made = response::stream(
          [=](body_writer& to) -> task<void> {
            co_await to.write(text);
            if (is_flushed) co_await to.flush();
            throw std::runtime_error("secret 3");
          },
          "text/html");
      made.set("ETag", "\"1\"").set("Cache-Control", "max-age=9").set("X-Mine", "yes");
      return made;
    };
  };
  routes.get("/stream", fails_after("", false));
  routes.get("/stream-unsent", fails_after("held back", false));
  routes.get("/stream-sent", fails_after("sent", true));
  routes.get("/fine", [](request&) { return response::text("fine"); });
}

const std::string fields = "X-Request-Id: id-1\r\nOrigin: https://a.example\r\n";

std::string decorated(const std::string& status, const std::string& text,
                      const std::string& more = {}) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(text.size()) +
         "\r\nContent-Type: text/plain; charset=utf-8\r\n" + more +
         "Access-Control-Allow-Origin: *\r\nX-Request-Id: id-1\r\n\r\n" + text;
}

class failing : public ::testing::Test {
 protected:
  failing() {
    cors_rules rules;
    rules.origins = {"*"};
    routes_.use(request_id()).use(cors(rules));
    routes_.use([this](request& asked, const handler& next) {
      return next(asked).then([this](response& made) { statuses_.push_back(made.status()); });
    });
    add_failing(routes_);
  }
  std::string answers(const std::string& requests) {
    return without_date(answers_to(routes_, {requests}));
  }

  std::vector<int> statuses_;
  router routes_;
};

const std::string internal = "Internal Server Error\n";

TEST_F(failing, handlers_give_answers_that_middleware_sees_and_decorates) {
  const std::string expected = decorated("500 Internal Server Error", internal);
  EXPECT_EQ(answers(got(fields, "/at-once")), expected);
  EXPECT_EQ(reported(), std::vector<std::string>{"secret 1"});
  EXPECT_EQ(answers(got(fields, "/later")), expected);
  EXPECT_EQ(reported(), std::vector<std::string>{"secret 2"});
  EXPECT_EQ(answers(got(fields, "/status")), decorated("409 Conflict", "not twice\n"));
  EXPECT_EQ(reported(), std::vector<std::string>{});
  EXPECT_EQ(statuses_, (std::vector<int>{500, 500, 409}));
}

TEST_F(failing, bodies_of_requests_do_so_too) {
  const std::string chunked =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + fields + "\r\nnone\r\n";
  std::string expected = decorated("400 Bad Request", "Bad Request\n");
  expected.insert(expected.find("Content-Length"), "Connection: close\r\n");
  EXPECT_EQ(answers(chunked), expected);
  EXPECT_EQ(reported(), std::vector<std::string>{});
}

TEST_F(failing, middleware_is_a_handler_to_what_is_around_it) {
  routes_.use([](request&, const handler&) -> response { throw status_error(403); });
  EXPECT_EQ(answers(got(fields, "/fine")), decorated("403 Forbidden", "Forbidden\n"));
  EXPECT_EQ(statuses_, std::vector<int>{403});
}

TEST_F(failing, the_outermost_middleware_is_answered_for_by_the_session) {
  router routes;
  routes.use([](request&, const handler&) -> response { throw std::runtime_error("secret 4"); });
  EXPECT_EQ(answers_to(routes, {got()}).substr(9, 3), "500");
  EXPECT_EQ(reported(), std::vector<std::string>{"secret 4"});
}

TEST_F(failing, producers_give_an_answer_if_nothing_has_been_sent) {
  const std::string expected = decorated("500 Internal Server Error", internal, "X-Mine: yes\r\n");
  for (const char* path : {"/stream", "/stream-unsent"}) {
    EXPECT_EQ(answers(got(fields, path) + got(fields, "/fine")),
              expected + decorated("200 OK", "fine"));
    EXPECT_EQ(reported(), std::vector<std::string>{"secret 3"});
  }
}

TEST_F(failing, producers_end_the_connection_once_something_has_been_sent) {
  const std::string all = answers(got(fields, "/stream-sent") + got(fields, "/fine"));
  EXPECT_EQ(all.substr(9, 3), "200");
  EXPECT_TRUE(all.ends_with("\r\n\r\n4\r\nsent\r\n")) << all;
  EXPECT_EQ(reported(), std::vector<std::string>{"secret 3"});
}

TEST_F(failing, producers_do_not_lose_the_answers_before_theirs) {
  const std::string all = answers(got(fields, "/fine") + got(fields, "/stream-unsent"));
  EXPECT_TRUE(all.starts_with(decorated("200 OK", "fine"))) << all;
}

TEST_F(failing, compressed_bodies_are_answered_for_without_their_coding) {
  router routes;
  routes.use(request_id()).use(compressed());
  add_failing(routes);
  const std::string all =
      answers_to(routes, {got("Accept-Encoding: gzip\r\n" + fields, "/stream-unsent")});
  EXPECT_EQ(without_date(all),
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 22\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nX-Mine: yes\r\nVary: Accept-Encoding\r\n"
            "X-Request-Id: id-1\r\n\r\n" +
                internal);
}

}  // namespace
}  // namespace rill::http
