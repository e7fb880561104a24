// Forms that come over a connection: fields, files on the disk, what is refused and what is left.
#include <rill/protocols/http/form.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "http/handlers.h"
#include "support/descriptors.h"
#include "support/files.h"
#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/runtime/sim/world.h>

namespace rill::http {
namespace {

using test::answers_to;
using test::body_of;
using test::posted;

const std::string urlencoded = "Content-Type: application/x-www-form-urlencoded\r\n";
const std::string multipart = "Content-Type: multipart/form-data; boundary=b\r\n";

std::string field(const std::string& name, const std::string& value) {
  return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n";
}
std::string file_part(const std::string& client_name, const std::string& content) {
  return "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"" + client_name +
         "\"\r\nContent-Type: image/png\r\n\r\n" + content + "\r\n";
}
const std::string form_end = "--b--\r\n";

std::string shown(const parameter_list& fields) {
  std::string text;
  for (const auto& [name, value] : fields) text += name + '=' + value + ';';
  return text;
}

/// What a handler answers that reads a form and writes its fields.
std::string form_answer(const std::string& body, const std::string& fields,
                        form_limits limits = form_limits()) {
  router routes;
  routes.post("/", [limits](request& asked) -> task<response> {
    const parameter_list read = co_await read_form(asked, limits);
    co_return response::text(shown(read));
  });
  const std::string request = posted(body, fields);
  const std::string answer = answers_to(routes, {request});
  EXPECT_EQ(test::without_date(answers_to(routes, {request.substr(0, request.size() / 2),
                                                   request.substr(request.size() / 2)})),
            test::without_date(answer));
  return answer.substr(9, 4) + body_of(answer);
}

TEST(http_form, fields_are_read_of_both_kinds_of_forms) {
  EXPECT_EQ(form_answer("a=1&b=x+%41&a=2", urlencoded), "200 a=1;b=x A;a=2;");
  EXPECT_EQ(form_answer(field("a", "1\r\n2") + field("b", "") + form_end, multipart),
            "200 a=1\r\n2;b=;");
  EXPECT_EQ(form_answer("", urlencoded), "200 ");
}

TEST(http_form, what_is_no_form_of_fields_is_refused_with_its_status) {
  EXPECT_EQ(form_answer("a=1", "Content-Type: text/plain\r\n"), "415 a form is wanted\n");
  EXPECT_EQ(form_answer("a=1", ""), "415 a form is wanted\n");
  EXPECT_EQ(form_answer(field("a", "1"), multipart), "400 the form is incomplete\n");
  EXPECT_EQ(form_answer(field("a", "1"), "Content-Type: multipart/form-data\r\n"),
            "400 a boundary of the form is malformed\n");
  EXPECT_EQ(form_answer("--bb\r\n", multipart), "400 a boundary of the form is malformed\n");
  EXPECT_EQ(form_answer(file_part("x", "1") + form_end, multipart),
            "400 a form without files is wanted\n");
}

TEST(http_form, forms_beyond_their_limits_are_refused) {
  const form_limits limits{40, 2};
  EXPECT_EQ(form_answer(std::string(40, 'a'), urlencoded, limits),
            "200 " + std::string(40, 'a') + "=;");
  EXPECT_EQ(form_answer(std::string(41, 'a'), urlencoded, limits), "413 the form is too large\n");
  EXPECT_EQ(form_answer("a&b&c", urlencoded, limits), "413 the form has too many parts\n");
  const form_limits narrow{1000, 1};
  EXPECT_EQ(form_answer(field("a", "") + field("b", "") + form_end, multipart, narrow),
            "413 the form has too many parts\n");
  EXPECT_EQ(form_answer(field("a", std::string(1000, 'x')) + form_end, multipart, narrow),
            "413 the form is too large\n");
}

class http_upload : public testing::Test {
 protected:
  /// What a handler answers that takes an upload, saves every file under a number and says what
  /// came.
  std::string answer(const std::vector<std::string>& pieces,
                     upload_options options = upload_options()) {
    router routes;
    routes.post("/", [&](request& asked) -> task<response> {
      upload got = co_await read_upload(asked, folder_.path(""), options);
      std::string text = shown(got.fields());
      for (uploaded_file& each : got.files()) {
        text += each.field_name() + '|' + each.client_name() + '|' + each.type() + '|' +
                std::to_string(each.size()) + ';';
        if (each.client_name() == "lost") continue;
        co_await each.save_as(folder_.path(std::to_string(saved_count_++)));
      }
      co_return response::text(text);
    });
    session_options limits;
    limits.body.size_max = 64 * 1024 * 1024;
    const std::string all = answers_to(routes, pieces, limits);
    return all.substr(9, 4) + body_of(all);
  }
  std::string uploaded(const std::string& body, upload_options options = upload_options()) {
    return answer({posted(body, multipart)}, options);
  }
  std::string content(const std::string& name) const {
    std::ifstream from(folder_.path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(from), std::istreambuf_iterator<char>()};
  }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path("")), {}));
  }

  rill::test::temporary_folder folder_;
  int saved_count_ = 0;
};

TEST_F(http_upload, files_go_to_the_disk_and_fields_to_memory) {
  std::string large;
  for (int i = 0; large.size() < 1'000'000; ++i) large += std::to_string(i) + "\r\n--";
  EXPECT_EQ(uploaded(field("a", "1") + file_part("x.png", large) + file_part("empty", "") +
                     file_part("", "") + field("b", "2") + file_part("lost", "gone") + form_end),
            "200 a=1;b=2;f|x.png|image/png|" + std::to_string(large.size()) +
                ";f|empty|image/png|0;f|lost|image/png|4;");
  EXPECT_EQ(content("0"), large);
  EXPECT_EQ(content("1"), "");
  EXPECT_EQ(file_count(), 2U);
}

TEST_F(http_upload, the_name_that_a_client_gives_is_only_told) {
  EXPECT_EQ(uploaded(file_part("../../etc/passwd", "x") + file_part("/tmp/y", "y") + form_end),
            "200 f|../../etc/passwd|image/png|1;f|/tmp/y|image/png|1;");
  EXPECT_EQ(file_count(), 2U);
  EXPECT_EQ(content("1"), "y");
}

TEST_F(http_upload, of_a_refused_upload_nothing_is_left) {
  const std::string file = file_part("x", std::string(100'000, 'x'));
  const auto descriptors = rill::test::open_descriptor_count();
  EXPECT_EQ(uploaded(file), "400 the form is incomplete\n");
  EXPECT_EQ(uploaded(file + "--bx\r\n"), "400 a boundary of the form is malformed\n");
  upload_options options;
  options.limits.part_size_max = 99'999;
  EXPECT_EQ(uploaded(file + form_end, options), "413 a part of the form is too large\n");
  options = upload_options();
  options.limits.part_count_max = 1;
  EXPECT_EQ(uploaded(file + file + form_end, options), "413 the form has too many parts\n");
  options = upload_options();
  options.limits.size_max = 100'000;
  EXPECT_EQ(uploaded(file + form_end, options), "413 the form is too large\n");
  options = upload_options();
  options.fields_size_max = 10;
  EXPECT_EQ(uploaded(file + field("a", "123456789") + field("b", ""), options),
            "413 the fields of the form are too large\n");
  EXPECT_EQ(file_count(), 0U);
  EXPECT_EQ(rill::test::open_descriptor_count(), descriptors);
  EXPECT_TRUE(test::reported().empty());
}

TEST_F(http_upload, a_client_that_leaves_in_the_middle_leaves_nothing) {
  const std::string whole = posted(file_part("x", std::string(200'000, 'x')) + form_end, multipart);
  EXPECT_EQ(answer({whole.substr(0, 150'000)}).substr(0, 4), "400 ");
  EXPECT_EQ(file_count(), 0U);
}

TEST_F(http_upload, an_upload_that_is_cancelled_leaves_nothing) {
  const std::string part = posted(file_part("x", std::string(200'000, 'x')), multipart);
  router routes;
  routes.post("/", [&](request& asked) -> task<response> {
    upload got = co_await read_upload(asked, folder_.path(""));
    co_return response(200);
  });
  const session_options options;
  const auto descriptors = rill::test::open_descriptor_count();
  for (int turns = 0; turns < 40; ++turns) {
    rill::test::run_loop([&]() -> task<> {
      auto pair = memory_stream_pair();
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&](memory_stream peer) { return session(std::move(peer), routes, options); },
                    std::move(pair.second));
        tasks.start([&]() -> task<> {
          co_await pair.first.write_all(const_buffer(part).text().substr(0, 180'000));
        });
        co_await rill::test::settle(turns);
        tasks.cancel();
      });
    });
    EXPECT_EQ(file_count(), 0U);
  }
  EXPECT_EQ(rill::test::open_descriptor_count(), descriptors);
}

TEST_F(http_upload, a_folder_that_is_not_there_is_an_error_of_the_server) {
  router routes;
  routes.post("/", [&](request& asked) -> task<response> {
    upload got = co_await read_upload(asked, folder_.path("none"));
    co_return response(200);
  });
  const std::string text = answers_to(routes, {posted(file_part("x", "x") + form_end, multipart)});
  EXPECT_EQ(text.substr(9, 3) + body_of(text), "500Internal Server Error\n");
  ASSERT_EQ(test::reported().size(), 1U);
  EXPECT_EQ(test::reported()[0], "open " + folder_.path("none") + ": No such file or directory");
}

task<> upload_service() {
  router routes;
  routes.post("/", [](request& asked) -> task<response> {
    upload got = co_await read_upload(asked, "/var");
    co_await got.files().front().save_as("/var/kept");
    co_return response(200);
  });
  session_options options;
  options.on_error = test::take_report;
  auto listener = tcp_listener::bind(endpoint(address::any_v4(), 80));
  co_await serve(listener,
                 [&](tcp_stream peer) { return session(std::move(peer), routes, options); });
}

task<std::string> answer_of(tcp_stream& stream, std::string text) {
  co_await stream.write_all(const_buffer(text));
  std::string answer;
  while (answer.find("\r\n\r\n") == answer.npos) {
    const auto lease = co_await stream.read_lease();
    if (lease.empty()) break;
    answer += lease.text();
  }
  co_return answer.substr(0, answer.find('\r'));
}

TEST(http_upload_sim, a_full_disk_is_507_and_the_server_goes_on) {
  test::reported().clear();
  std::vector<std::string> answers;
  const std::string request =
      posted(file_part("x", std::string(200'000, 'x')) + form_end, multipart);
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  auto& client = world.add_host("client", "10.0.0.2");
  server.write_file("/var/other", "x");
  server.run(upload_service);
  const auto talk = [&]() -> task<> {
    tcp_stream stream = co_await tcp_stream::connect(endpoint(address::v4(10, 0, 0, 1), 80));
    answers.push_back(co_await answer_of(stream, request));
  };
  for (const auto& full :
       {sim::full_disk().on(server), sim::failure("write", EDQUOT).on(server),
        sim::failure("fsync", ENOSPC).on(server), sim::failure("link_file", ENOSPC).on(server)}) {
    const auto fault = world.inject(full);
    world.run(client.run(talk));
  }
  world.run(client.run(talk));
  const std::string refused = "HTTP/1.1 507 Insufficient Storage";
  EXPECT_EQ(answers,
            (std::vector<std::string>{refused, refused, refused, refused, "HTTP/1.1 200 OK"}));
  EXPECT_EQ(server.read_file("/var/kept").size(), 200'000U);
  EXPECT_EQ(test::reported(),
            (std::vector<std::string>{
                "open /var: No space left on device", "write /var: Disk quota exceeded",
                "sync /var: No space left on device", "link /var/kept: No space left on device"}));
}

}  // namespace
}  // namespace rill::http
