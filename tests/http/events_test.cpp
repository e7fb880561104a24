// Server-sent events as the browser reads them.
#include <rill/protocols/http/events.h>

#include <chrono>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "http/handlers.h"

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::answers_to;
using test::got;

/// What `produce` sends, each write a line: chunks are written once for each event.
std::string sent(std::function<task<void>(event_stream)> produce) {
  router routes;
  routes.get("/", [&](request&) { return event_response(produce); });
  const std::string all = answers_to(routes, {got()});
  EXPECT_NE(all.find("Content-Type: text/event-stream\r\n"), all.npos);
  EXPECT_NE(all.find("Cache-Control: no-store\r\n"), all.npos);
  return test::body_of(all);
}

TEST(http_events, each_event_ends_with_an_empty_line) {
  EXPECT_EQ(sent([](event_stream to) -> task<void> {
              co_await to.send("hello");
              co_await to.send("data", "name", "7");
              co_await to.send_retry(1500ms);
              co_await to.send_comment("still here");
              co_await to.send_comment();
            }),
            "d\r\ndata: hello\n\n\r\n"
            "1e\r\nevent: name\nid: 7\ndata: data\n\n\r\n"
            "d\r\nretry: 1500\n\n\r\n"
            "e\r\n: still here\n\n\r\n"
            "4\r\n: \n\n\r\n"
            "0\r\n\r\n");
}

class recording_writer final : public body_writer {
 public:
  task<void> write(const_buffer bytes) override {
    all += bytes.text();
    co_return;
  }
  task<void> flush() override {
    all += "(flush)";
    co_return;
  }
  std::string all;
};

TEST(http_events, each_event_is_on_its_way_at_once) {
  recording_writer writer;
  rill::test::run_loop([&]() -> task<> {
    event_stream to(writer);
    co_await to.send("a");
    co_await to.send_comment("b");
  });
  EXPECT_EQ(writer.all, "data: a\n\n(flush): b\n\n(flush)");
}

TEST(http_events, data_of_several_lines_has_a_field_for_each) {
  EXPECT_EQ(sent([](event_stream to) -> task<void> { co_await to.send("a\nb\r\nc\rd\n"); }),
            "28\r\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n\r\n0\r\n\r\n");
  EXPECT_EQ(sent([](event_stream to) -> task<void> { co_await to.send(""); }),
            "8\r\ndata: \n\n\r\n0\r\n\r\n");
}

TEST(http_events, text_of_strangers_cannot_become_an_event_of_its_own) {
  int refused = 0;
  sent([&](event_stream to) -> task<void> {
    for (const std::string_view text :
         {std::string_view("a\ndata: x"), std::string_view("a\r"), std::string_view("a\0", 2)}) {
      for (int field = 0; field < 3; ++field) {
        try {
          if (field == 0) co_await to.send("x", text);
          if (field == 1) co_await to.send("x", "", text);
          if (field == 2) co_await to.send_comment(text);
        } catch (const std::invalid_argument&) {
          ++refused;
        }
      }
    }
  });
  EXPECT_EQ(refused, 9);
}

TEST(http_events, the_id_of_the_last_event_comes_back) {
  router routes;
  routes.get("/", [](request& asked) { return response::text('<' + last_event_id(asked) + '>'); });
  EXPECT_EQ(test::body_of(answers_to(routes, {got("Last-Event-ID: a 7\r\n")})), "<a 7>");
  EXPECT_EQ(test::body_of(answers_to(routes, {got()})), "<>");
}

}  // namespace
}  // namespace rill::http
