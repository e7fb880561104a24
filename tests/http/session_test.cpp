// One connection of the server, as its client sees it: over a stream in memory.
#include <rill/protocols/http/session.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "http/handlers.h"
#include "support/files.h"
#include <rill/runtime/file.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;

/// Answers with the body that was sent, and a few things more by their path.
class test_service final : public service {
 public:
  answer handle(request& asked) override {
    paths.emplace_back(asked.path());
    if (asked.path() == "/at-once") return response::text("at once");
    if (asked.path() == "/throw-at-once") throw std::runtime_error("secret detail");
    return later(asked);
  }

  std::vector<std::string> paths;

 private:
  static task<response> later(request& asked) {
    if (asked.path() == "/throw") throw std::runtime_error("secret detail");
    if (asked.path() == "/unread") co_return response::text("not read");
    if (asked.path() == "/empty") co_return response(204);
    if (asked.path() == "/fields") {
      co_return response(201).set("X-One", "1").add("Set-Cookie", "a=b").add("Set-Cookie", "c=d");
    }
    if (asked.path() == "/large") co_return response::text(std::string(100'000, 'L'));
    if (asked.path() == "/stream") {
      co_return response::stream(
          [](body_writer& to) -> task<void> {
            co_await to.write("one,");
            co_await to.flush();
            co_await to.write("two");
          },
          "text/plain");
    }
    if (asked.path() == "/broken") {
      co_return response::stream(
          [](body_writer& to) -> task<void> {
            co_await to.write("begun");
            co_await to.flush();
            throw std::runtime_error("in the middle");
          },
          "text/plain");
    }
    std::string body = co_await asked.read_body();
    co_return response::text(std::string(asked.method()) + ':' + std::move(body));
  }
};

std::string answers_to(const std::vector<std::string>& input,
                       session_options options = session_options()) {
  test_service answering;
  return test::answers_to(answering, input, options);
}

using test::without_date;

std::string answer_to(const std::string& input) { return without_date(answers_to({input})); }

const std::string host = " HTTP/1.1\r\nHost: a\r\n";

std::string text_answer(std::string_view body, std::string_view connection = "") {
  return "HTTP/1.1 200 OK\r\n" + std::string(connection) +
         "Content-Length: " + std::to_string(body.size()) +
         "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + std::string(body);
}

TEST(http_session, answers_a_request_with_date_length_and_fields) {
  const std::string all = answers_to({"GET /" + host + "\r\n"});
  EXPECT_EQ(without_date(all), text_answer("GET:"));
  EXPECT_NE(all.find("\r\nDate: "), all.npos);
  EXPECT_EQ(answer_to("GET /fields" + host + "\r\n"),
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nX-One: 1\r\nSet-Cookie: a=b\r\n"
            "Set-Cookie: c=d\r\n\r\n");
  EXPECT_EQ(answer_to("GET /empty" + host + "\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST(http_session, reads_bodies_by_length_and_in_chunks) {
  EXPECT_EQ(answer_to("POST /" + host + "Content-Length: 5\r\n\r\nhello"),
            text_answer("POST:hello"));
  EXPECT_EQ(
      answer_to("POST /" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
      text_answer("POST:hello"));
}

TEST(http_session, answers_pipelined_requests_in_order_and_in_few_writes) {
  std::string input;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string body = std::to_string(i);
    input += "POST /" + host + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    expected += text_answer("POST:" + body);
  }
  EXPECT_EQ(answer_to(input), expected);
}

TEST(http_session, gives_the_same_answers_however_the_requests_are_cut) {
  const std::string input = "POST /a" + host + "Content-Length: 5\r\n\r\nhello" + "GET /b" + host +
                            "\r\n" + "POST /c" + host +
                            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  const std::string expected = answer_to(input);
  EXPECT_EQ(expected, text_answer("POST:hello") + text_answer("GET:") + text_answer("POST:abc"));
  std::vector<std::string> bytes;
  for (const char c : input) bytes.emplace_back(1, c);
  EXPECT_EQ(without_date(answers_to(bytes)), expected);
  for (std::size_t i = 1; i < input.size(); ++i) {
    EXPECT_EQ(without_date(answers_to({input.substr(0, i), input.substr(i)})), expected) << i;
  }
}

TEST(http_session, answers_what_was_whole_before_it_refuses_what_follows) {
  const std::string all = answer_to("GET /" + host + "\r\nGARBAGE\r\n\r\n");
  EXPECT_EQ(all, text_answer("GET:") +
                     "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 23\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n\r\nmalformed request line\n");
}

TEST(http_session, says_why_a_request_is_refused) {
  const auto status = [](const std::string& input) { return answer_to(input).substr(9, 3); };
  EXPECT_EQ(status("GET / HTTP/1.1\r\n\r\n"), "400");
  EXPECT_EQ(status("GET / HTTP/3.0\r\n\r\n"), "505");
  EXPECT_EQ(status("GET /" + std::string(20'000, 'x')), "414");
  EXPECT_EQ(status("GET /" + host + "X: " + std::string(70'000, 'x')), "431");
  EXPECT_EQ(status("POST /" + host + "Content-Length: 99999999999\r\n\r\n"), "413");
  EXPECT_EQ(status("POST /" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n"), "501");
  EXPECT_EQ(status("POST /" + host + "Expect: wonders\r\n\r\n"), "417");
  EXPECT_EQ(status("POST /" + host + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), "400");
  EXPECT_EQ(status("POST /" + host + "Content-Length: 9\r\n\r\nends"), "400");
}

TEST(http_session, tells_no_detail_of_what_a_handler_throws_and_goes_on) {
  const std::string all = answer_to("GET /throw" + host + "\r\nGET /" + host + "\r\n");
  EXPECT_EQ(all,
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 22\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\nInternal Server Error\n" +
                text_answer("GET:"));
}

TEST(http_session, answers_head_without_a_body) {
  EXPECT_EQ(answer_to("HEAD /large" + host + "\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nContent-Type: text/plain; "
            "charset=utf-8\r\n\r\n");
  EXPECT_TRUE(answer_to("HEAD /" + host + "Content-Length: 99999999999\r\n\r\n")
                  .ends_with("\r\n\r\n"));  // refused
  EXPECT_EQ(answer_to("HEAD /stream" + host + "\r\nGET /" + host + "\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text_answer("GET:"));
}

TEST(http_session, closes_when_either_side_wants_it) {
  const std::string closing = "Connection: close\r\n";
  EXPECT_EQ(answer_to("GET /" + host + closing + "\r\nGET /never" + host + "\r\n"),
            text_answer("GET:", closing));
  EXPECT_EQ(answer_to("GET / HTTP/1.0\r\n\r\nGET /never" + host + "\r\n"),
            text_answer("GET:", closing));
  EXPECT_EQ(answer_to("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /" + host + "\r\n"),
            text_answer("GET:", "Connection: keep-alive\r\n") + text_answer("GET:"));
}

TEST(http_session, answers_alike_at_once_and_later_in_the_order_of_the_requests) {
  const std::string now = "GET /at-once" + host + "\r\n";
  const std::string later = "GET /" + host + "\r\n";
  EXPECT_EQ(answer_to(now + later + now + now), text_answer("at once") + text_answer("GET:") +
                                                    text_answer("at once") +
                                                    text_answer("at once"));
  EXPECT_EQ(answer_to("GET /throw-at-once" + host + "\r\n" + now),
            answer_to("GET /throw" + host + "\r\n" + now));
  EXPECT_EQ(answer_to("GET /at-once" + host + "Connection: close\r\n\r\n" + now),
            text_answer("at once", "Connection: close\r\n"));
  EXPECT_EQ(answer_to("HEAD /at-once" + host + "\r\n" + later).find("at once"), std::string::npos);
}

/// Gives a small file at once, which has been opened before.
class gives_file final : public service {
 public:
  explicit gives_file(file opened) : opened_(std::move(opened)) {}
  answer handle(request&) override {
    return response::from_file(std::move(opened_), 0, 7, "text/plain");
  }

 private:
  file opened_;
};

TEST(http_session, sends_a_small_file_that_is_there_at_once) {
  const rill::test::temporary_folder folder;
  const std::string path = folder.made("a", "content");
  std::string all;
  rill::test::run_loop([&]() -> task<> {
    file opened = co_await file::open(path);
    gives_file answering(std::move(opened));
    auto pair = memory_stream_pair();
    const session_options options;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&](memory_stream peer) { return session(std::move(peer), answering, options); },
                  std::move(pair.second));
      co_await pair.first.write_all("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      while (const lease part = co_await pair.first.read_lease()) all += part.text();
    });
  });
  EXPECT_TRUE(all.ends_with("\r\n\r\ncontent")) << all;
}

TEST(http_session, sends_a_large_body_whole) {
  EXPECT_EQ(answer_to("GET /large" + host + "\r\nGET /" + host + "\r\n"),
            text_answer(std::string(100'000, 'L')) + text_answer("GET:"));
}

TEST(http_session, streams_in_chunks_or_until_the_connection_closes) {
  EXPECT_EQ(answer_to("GET /stream" + host + "\r\nGET /" + host + "\r\n"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
            "4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n" +
                text_answer("GET:"));
  EXPECT_EQ(answer_to("GET /stream HTTP/1.0\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\none,two");
}

TEST(http_session, leaves_a_body_without_end_when_its_producer_fails) {
  const std::string all = answer_to("GET /broken" + host + "\r\nGET /" + host + "\r\n");
  EXPECT_EQ(all.find("0\r\n\r\n"), all.npos);
  EXPECT_EQ(all.find("GET:"), all.npos);
}

TEST(http_session, says_100_only_when_the_body_is_wanted) {
  const std::string expecting = host + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  EXPECT_EQ(without_date(answers_to({"POST /" + expecting, "hello"})),
            "HTTP/1.1 100 Continue\r\n\r\n" + text_answer("POST:hello"));
  // Answered without it, the connection ends: whether the body comes nobody knows.
  EXPECT_EQ(without_date(answers_to({"POST /unread" + expecting, "hello"})),
            text_answer("not read", "Connection: close\r\n"));
}

TEST(http_session, passes_over_a_short_body_that_the_handler_did_not_read) {
  EXPECT_EQ(
      answer_to("POST /unread" + host + "Content-Length: 5\r\n\r\nhelloGET /" + host + "\r\n"),
      text_answer("not read") + text_answer("GET:"));
}

TEST(http_session, lets_a_client_read_the_refusal_of_an_upload_that_it_is_still_sending) {
  std::vector<std::string> input{"POST /" + host + "Content-Length: 99999999999\r\n\r\n"};
  for (int i = 0; i < 60; ++i) input.emplace_back(65536, 'u');
  EXPECT_EQ(answers_to(input).substr(9, 3), "413");
}

TEST(http_session, refuses_fields_that_would_split_the_response) {
  response made;
  EXPECT_THROW(made.set("X", "a\r\nY: b"), std::invalid_argument);
  EXPECT_THROW(made.set("X", std::string_view("a\0b", 3)), std::invalid_argument);
  EXPECT_THROW(made.set("X\r\nY", "b"), std::invalid_argument);
  EXPECT_THROW(made.set("", "b"), std::invalid_argument);
  EXPECT_THROW(made.set("Content-Length", "5"), std::logic_error);
  EXPECT_THROW(response::redirect("/a\r\nX: y"), std::invalid_argument);
  EXPECT_EQ(made.fields(), "");
  made.set("X", "1").set("Y", "2").set("x", "3");
  EXPECT_EQ(made.fields(), "Y: 2\r\nx: 3\r\n");
  EXPECT_EQ(made.find("X"), "3");
  made.set("Long", std::string(200, 'l')).set("long", made.find("Long").substr(1));
  EXPECT_EQ(made.find("Long"), std::string(199, 'l'));  // a value out of the field it replaces
}

}  // namespace
}  // namespace rill::http
