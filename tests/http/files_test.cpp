// Files as a client sees them: fields, conditions, ranges, compressed forms, folders. What hostile
// paths and slow readers do is in files_hostile_test.cpp.
#include <rill/protocols/http/files.h>

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "http/file_server.h"
#include "support/descriptors.h"
#include <rill/protocols/http/date.h>
#include <rill/protocols/http/mime.h>

namespace rill::http {
namespace {

using test::file_server;
using test::http_answer;

class http_files : public testing::Test {
 protected:
  file_server server_;
};

TEST_F(http_files, a_file_comes_with_type_length_validators_and_its_bytes) {
  server_.add("a.html", "<p>hello");
  const http_answer all = server_.get("/files/a.html");
  EXPECT_EQ(all.status(), 200);
  EXPECT_EQ(all.body(), "<p>hello");
  EXPECT_EQ(all.field("Content-Length"), "8");
  EXPECT_EQ(all.field("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(all.field("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(all.field("Accept-Ranges"), "bytes");
  EXPECT_EQ(all.field("Last-Modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(all.field("Vary"), "Accept-Encoding");
  EXPECT_EQ(all.field("Cache-Control"), "-");
  const std::string tag = all.field("ETag");
  EXPECT_TRUE(tag.starts_with('"') && tag.ends_with('"') && tag.size() > 10) << tag;
}

TEST_F(http_files, a_type_is_known_by_the_suffix_whatever_its_case) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"a.html", "text/html; charset=utf-8"},
      {"A.HTML", "text/html; charset=utf-8"},
      {"a.min.js", "text/javascript; charset=utf-8"},
      {"a.json", "application/json"},
      {"a.png", "image/png"},
      {"a.woff2", "font/woff2"},
      {"a.tar.gz", "application/gzip"},
      {"a", "application/octet-stream"},
      {"a.", "application/octet-stream"},
      {"html", "application/octet-stream"},
      {"a.unknown", "application/octet-stream"},
      {"", "application/octet-stream"},
  };
  for (const auto& [name, type] : rows) EXPECT_EQ(media_kind_of(name).type, type) << name;
  EXPECT_TRUE(media_kind_of("a.png").is_packed);
  EXPECT_FALSE(media_kind_of("a.css").is_packed);
}

TEST_F(http_files, head_has_the_fields_of_get_and_no_body) {
  server_.add("a.txt", std::string(100'000, 'x'));
  const http_answer got = server_.get("/files/a.txt");
  const http_answer head = server_.answer_to(server_.request("/files/a.txt", "", "HEAD"));
  EXPECT_EQ(head.body(), "");
  EXPECT_EQ(got.body().size(), 100'000U);
  for (const char* const name : {"Content-Length", "Content-Type", "ETag", "Last-Modified",
                                 "Accept-Ranges", "Vary", "X-Content-Type-Options"}) {
    EXPECT_EQ(head.field(name), got.field(name)) << name;
  }
  // RFC 9110 section 14.2: a range is for GET.
  const http_answer ranged =
      server_.answer_to(server_.request("/files/a.txt", "Range: bytes=0-1\r\n", "HEAD"));
  EXPECT_EQ(ranged.status(), 200);
  EXPECT_EQ(ranged.field("Content-Length"), "100000");
}

TEST_F(http_files, other_methods_are_refused_with_allow) {
  server_.add("a.txt", "x");
  const http_answer all = server_.answer_to(server_.request("/put/a.txt", "", "PUT"));
  EXPECT_EQ(all.status(), 405);
  EXPECT_EQ(all.field("Allow"), "GET, HEAD");
}

TEST_F(http_files, answers_of_all_sizes_are_whole_and_in_order_on_one_connection) {
  std::string input;
  std::vector<std::string> contents;
  for (const std::size_t size : {0U, 1U, 65'535U, 65'536U, 65'537U, 300'000U, 3U}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
      content[i] = static_cast<char>((i * 31 + i / 4096) % 251);
    const std::string name = std::to_string(contents.size()) + ".bin";
    server_.add(name, content);
    contents.push_back(std::move(content));
    input += "GET /files/" + name + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  const std::string all = server_.answer_to(input + server_.request("/none")).text;
  std::size_t at = 0;
  for (const std::string& each : contents) {
    at = all.find("\r\n\r\n", at) + 4;
    EXPECT_TRUE(all.compare(at, each.size(), each) == 0) << each.size();
    at += each.size();
  }
  EXPECT_EQ(all.substr(at, 12), "HTTP/1.1 404");
}

TEST_F(http_files, names_are_decoded_once_and_may_be_any_text) {
  server_.add("sp ace.txt", "1");
  server_.add("gr\xc3\xbc\xc3\x9f.txt", "2");
  server_.add("100%.txt", "3");
  server_.add("a%2fb", "4");
  server_.add("q?m#.txt", "5");
  server_.add("in/one", "6");
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"/files/sp%20ace.txt", "1"},   {"/files/gr%C3%BC%c3%9f.txt", "2"},
      {"/files/100%25.txt", "3"},     {"/files/a%252fb", "4"},
      {"/files/q%3Fm%23.txt", "5"},   {"/files/in/one", "6"},
      {"/files/%69n/o%6ee", "6"},     {"/files/in//one", "6"},
      {"/files/./in/../in/one", "6"}, {"/files/in/one?query=/../x", "6"},
      {"/%66iles/in/one", "6"},       {"http://a/files/in/one", "6"},
  };
  for (const auto& [target, content] : rows) {
    const http_answer all = server_.get(target);
    EXPECT_EQ(all.status(), 200) << target;
    EXPECT_EQ(all.body(), content) << target;
  }
}

// ---------------------------------------------------------------- conditions

/// "-" stands for a field that is left out.
struct condition_row {
  const char* if_match;
  const char* if_unmodified_since;
  const char* if_none_match;
  const char* if_modified_since;
  int status;
};

constexpr const char* same_date = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr const char* before = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr const char* after = "Sunday, 06-Nov-94 08:49:38 GMT";

TEST_F(http_files, conditions_are_read_in_the_order_of_the_rfc) {
  server_.add("a.txt", "content");
  const std::string tag = server_.get("/files/a.txt").field("ETag");
  const condition_row rows[] = {
      {"-", "-", "-", "-", 200},
      {"tag", "-", "-", "-", 200},
      {"*", "-", "-", "-", 200},
      {"\"x\", tag", "-", "-", "-", 200},
      {"\"x\"", "-", "-", "-", 412},
      {"W/tag", "-", "-", "-", 412},   // a strong comparison
      {"tag", before, "-", "-", 200},  // If-Unmodified-Since is passed over
      {"\"x\"", after, "-", "-", 412},
      {"-", same_date, "-", "-", 200},
      {"-", after, "-", "-", 200},
      {"-", before, "-", "-", 412},
      {"-", "yesterday", "-", "-", 200},  // no date
      {"-", "-", "tag", "-", 304},
      {"-", "-", "W/tag", "-", 304},  // a weak comparison
      {"-", "-", "*", "-", 304},
      {"-", "-", "\"x\", tag", "-", 304},
      {"-", "-", "\"x\"", "-", 200},
      {"-", "-", "\"x\"", after, 200},  // If-Modified-Since is passed over
      {"-", "-", "tag", before, 304},
      {"-", "-", "-", same_date, 304},
      {"-", "-", "-", after, 304},
      {"-", "-", "-", before, 200},
      {"-", "-", "-", "Sun, 06 Nov 1994", 200},
      {"tag", "-", "tag", "-", 304},    // If-Match holds, and then If-None-Match does not
      {"\"x\"", "-", "tag", "-", 412},  // the first that fails decides
      {"-", before, "tag", same_date, 412},
  };
  for (const condition_row& row : rows) {
    std::string fields;
    const auto add = [&](const char* name, std::string value) {
      if (value == "-") return;
      const std::size_t at = value.find("tag");
      if (at != value.npos) value.replace(at, 3, tag);
      fields += std::string(name) + ": " + value + "\r\n";
    };
    add("If-Match", row.if_match);
    add("If-Unmodified-Since", row.if_unmodified_since);
    add("If-None-Match", row.if_none_match);
    add("If-Modified-Since", row.if_modified_since);
    EXPECT_EQ(server_.get("/files/a.txt", fields).status(), row.status) << fields;
    const std::string ranged = fields + "Range: bytes=0-1\r\n";
    const int with_range = row.status == 200 ? 206 : row.status;  // conditions come first
    EXPECT_EQ(server_.get("/files/a.txt", ranged).status(), with_range) << ranged;
  }
}

TEST_F(http_files, lists_and_dates_that_come_in_several_fields_mean_what_they_say) {
  server_.add("a.txt", "content");
  const std::string tag = server_.get("/files/a.txt").field("ETag");
  EXPECT_EQ(server_.get("/files/a.txt", "If-None-Match: \"x\"\r\nIf-None-Match: " + tag + "\r\n")
                .status(),
            304);
  EXPECT_EQ(server_.get("/files/a.txt", "If-Match: \"x\"\r\nIf-Match: " + tag + "\r\n").status(),
            200);
  // Two dates are none (RFC 9110 section 13.1.3).
  const std::string since = std::string("If-Modified-Since: ") + same_date + "\r\n";
  EXPECT_EQ(server_.get("/files/a.txt", since + since).status(), 200);
}

TEST_F(http_files, a_304_keeps_what_a_cache_needs_and_has_no_body) {
  file_options options;
  options.cache_control = "max-age=60";
  server_.set_options(options);
  server_.add("a.txt", "content");
  const http_answer got = server_.get("/files/a.txt");
  const http_answer all =
      server_.get("/files/a.txt", "If-None-Match: " + got.field("ETag") + "\r\n");
  EXPECT_EQ(all.status(), 304);
  EXPECT_EQ(all.body(), "");
  for (const char* const name : {"ETag", "Vary", "Cache-Control"}) {
    EXPECT_EQ(all.field(name), got.field(name)) << name;
  }
  EXPECT_NE(all.field("Date"), "-");
  for (const char* const name : {"Content-Length", "Content-Type", "Last-Modified"}) {
    EXPECT_EQ(all.field(name), "-") << name;
  }
}

TEST_F(http_files, a_tag_changes_with_time_size_and_inode) {
  const auto tag = [&] { return server_.get("/files/a.txt").field("ETag"); };
  const std::string path = server_.add("a.txt", "one");
  const std::string first = tag();
  EXPECT_EQ(tag(), first);
  server_.set_time(path, file_server::day + 1);
  const std::string second = tag();
  EXPECT_NE(second, first);
  server_.add("a.txt", "three", file_server::day + 1);
  const std::string third = tag();
  EXPECT_NE(third, second);
  server_.add("b.txt", "seven", file_server::day + 1);
  std::filesystem::rename(server_.path("b.txt"), path);
  EXPECT_NE(tag(), third);
}

TEST_F(http_files, what_may_still_change_within_one_tick_of_the_clock_has_a_weak_tag) {
  const std::string path = server_.add("a.txt", "one");
  timespec now[2]{};
  ::clock_gettime(CLOCK_REALTIME, &now[0]);
  now[1] = now[0];
  ::utimensat(AT_FDCWD, path.c_str(), now, 0);
  const std::string tag = server_.get("/files/a.txt").field("ETag");
  ::clock_gettime(CLOCK_REALTIME, &now[1]);
  const auto passed =
      (now[1].tv_sec - now[0].tv_sec) * 1'000'000'000 + now[1].tv_nsec - now[0].tv_nsec;
  if (passed < 20'000'000) {
    EXPECT_TRUE(tag.starts_with("W/\"")) << tag;
  }
}

TEST_F(http_files, last_modified_is_never_in_the_future) {
  server_.add("a.txt", "one", 4'000'000'000);
  const http_answer all = server_.get("/files/a.txt");
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto told = parse_date(all.field("Last-Modified"), now);
  ASSERT_TRUE(told);
  EXPECT_LE(*told, now);
  EXPECT_GE(*told, now - std::chrono::minutes(1));
}

// ---------------------------------------------------------------- ranges

struct range_row {
  const char* value;
  int status;
  const char* content_range;
  const char* body;
};

TEST_F(http_files, one_range_is_sent_as_it_is) {
  server_.add("a.txt", "0123456789");
  const range_row rows[] = {
      {"bytes=0-4", 206, "bytes 0-4/10", "01234"},
      {"bytes=0-0", 206, "bytes 0-0/10", "0"},
      {"bytes=9-", 206, "bytes 9-9/10", "9"},
      {"bytes=0-", 206, "bytes 0-9/10", "0123456789"},
      {"bytes=5-99", 206, "bytes 5-9/10", "56789"},
      {"bytes=5-18446744073709551615", 206, "bytes 5-9/10", "56789"},
      {"bytes=5-18446744073709551616", 206, "bytes 5-9/10", "56789"},
      {"bytes=-3", 206, "bytes 7-9/10", "789"},
      {"bytes=-99", 206, "bytes 0-9/10", "0123456789"},
      {"Bytes=0-4", 206, "bytes 0-4/10", "01234"},
      {"bytes=0-1,99-100", 206, "bytes 0-1/10", "01"},  // what there is of it
      {"bytes=10-", 416, "bytes */10", "Range Not Satisfiable\n"},
      {"bytes=99-100,200-", 416, "bytes */10", "Range Not Satisfiable\n"},
      {"bytes=-0", 416, "bytes */10", "Range Not Satisfiable\n"},
      {"bytes=4-2", 200, "-", "0123456789"},
      {"bytes=a-b", 200, "-", "0123456789"},
      {"bytes=", 200, "-", "0123456789"},
      {"bytes", 200, "-", "0123456789"},
      {"lines=0-4", 200, "-", "0123456789"},
      {"bytes=0-6,4-9", 200, "-", "0123456789"},  // bytes twice
      {"bytes=0-0,0-0,0-0", 200, "-", "0123456789"},
  };
  for (const range_row& row : rows) {
    const http_answer all =
        server_.get("/files/a.txt", std::string("Range: ") + row.value + "\r\n");
    EXPECT_EQ(all.status(), row.status) << row.value;
    EXPECT_EQ(all.field("Content-Range"), row.content_range) << row.value;
    EXPECT_EQ(all.body(), row.body) << row.value;
    EXPECT_EQ(all.field("Content-Length"), std::to_string(std::string_view(row.body).size()));
  }
}

TEST_F(http_files, two_fields_of_ranges_are_none) {
  server_.add("a.txt", "0123456789");
  EXPECT_EQ(server_.get("/files/a.txt", "Range: bytes=0-1\r\nRange: bytes=0-1\r\n").status(), 200);
}

TEST_F(http_files, several_ranges_are_sent_as_parts_in_the_order_asked_for) {
  const std::string content = std::string(70'000, 'a') + std::string(70'000, 'b') + "0123456789";
  server_.add("a.txt", content);
  const http_answer all = server_.get("/files/a.txt", "Range: bytes=-3, 0-1, 69999-140000\r\n");
  EXPECT_EQ(all.status(), 206);
  EXPECT_EQ(all.field("Content-Range"), "-");
  const std::string type = all.field("Content-Type");
  const std::string introduction = "multipart/byteranges; boundary=";
  ASSERT_TRUE(type.starts_with(introduction)) << type;
  const std::string boundary = "--" + type.substr(introduction.size());
  const std::string part = "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ";
  std::string expected = boundary + part + "140007-140009/140010\r\n\r\n789\r\n";
  expected += boundary + part + "0-1/140010\r\n\r\naa\r\n";
  expected += boundary + part + "69999-140000/140010\r\n\r\na" + std::string(70'000, 'b') + "0\r\n";
  expected += boundary + "--\r\n";
  EXPECT_TRUE(all.body() == expected);
  EXPECT_EQ(all.field("Content-Length"), std::to_string(expected.size()));
}

TEST_F(http_files, more_ranges_than_anybody_needs_give_the_whole_file) {
  server_.add("a.txt", std::string(10'000, 'x'));
  std::string sixteen = "Range: bytes=";
  for (int i = 0; i < 16; ++i)
    sixteen += (i == 0 ? "" : ",") + std::to_string(i * 10) + "-" + std::to_string(i * 10 + 1);
  EXPECT_EQ(server_.get("/files/a.txt", sixteen + "\r\n").status(), 206);
  EXPECT_EQ(server_.get("/files/a.txt", sixteen + ",900-901\r\n").status(), 200);
  std::string many = "Range: bytes=0-";
  for (int i = 0; i < 1500; ++i) many += ",0-";
  const http_answer all = server_.get("/files/a.txt", many + "\r\n");
  EXPECT_EQ(all.status(), 200);
  EXPECT_EQ(all.body().size(), 10'000U);
}

TEST_F(http_files, an_empty_file_has_no_ranges_and_is_whole) {
  server_.add("a.txt", "");
  EXPECT_EQ(server_.get("/files/a.txt").field("Content-Length"), "0");
  for (const char* const value :
       {"bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-9", "bytes=0-,1-"}) {
    const http_answer all = server_.get("/files/a.txt", std::string("Range: ") + value + "\r\n");
    EXPECT_EQ(all.status(), 200) << value;
    EXPECT_EQ(all.body(), "") << value;
  }
}

TEST_F(http_files, if_range_gives_a_part_only_of_the_same_bytes) {
  server_.add("a.txt", "0123456789");
  const std::string tag = server_.get("/files/a.txt").field("ETag");
  const std::pair<std::string, int> rows[] = {
      {tag, 206},    {"\"x\"", 200},    {"W/" + tag, 200}, {same_date, 206}, {after, 200},
      {before, 200}, {"nonsense", 200}, {"", 200},         {"*", 200},
  };
  for (const auto& [value, status] : rows) {
    EXPECT_EQ(
        server_.get("/files/a.txt", "Range: bytes=2-3\r\nIf-Range: " + value + "\r\n").status(),
        status)
        << value;
  }
  EXPECT_EQ(server_.get("/files/a.txt", "If-Range: " + tag + "\r\n").status(), 200);
  // Too young to be known by its second.
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  server_.add("young.txt", "0123456789", now.time_since_epoch().count() + 3600);
  const http_answer young = server_.get("/files/young.txt");
  EXPECT_EQ(server_
                .get("/files/young.txt",
                     "Range: bytes=2-3\r\nIf-Range: " + young.field("Last-Modified") + "\r\n")
                .status(),
            200);
}

// ---------------------------------------------------------------- compressed forms

struct coding_row {
  const char* accepted;
  const char* coding;
};

TEST_F(http_files, the_compressed_form_that_is_wanted_most_is_sent) {
  server_.add("a.js", "plain");
  server_.add("a.js.br", "brotli");
  server_.add("a.js.gz", "gzip");
  const coding_row rows[] = {
      {"-", "-"},
      {"", "-"},
      {"gzip", "gzip"},
      {"br", "br"},
      {"gzip, br", "br"},
      {"gzip, deflate, br, zstd", "br"},
      {"gzip;q=1.0, br;q=0.5", "gzip"},
      {"br;q=0, gzip;q=0.001", "gzip"},
      {"br;q=0, gzip;q=0", "-"},
      {"*", "br"},
      {"*;q=0", "-"},
      {"identity", "-"},
      {"identity;q=1, gzip;q=0.5", "-"},
      {"identity;q=0.5, gzip;q=1", "gzip"},
      {"GZIP", "gzip"},
      {"deflate", "-"},
  };
  std::vector<std::string> tags;
  for (const coding_row& row : rows) {
    const std::string field = std::string("Accept-Encoding: ") + row.accepted + "\r\n";
    const http_answer all =
        server_.get("/files/a.js", row.accepted == std::string_view("-") ? "" : field);
    const std::string coding = all.field("Content-Encoding");
    EXPECT_EQ(coding, row.coding) << row.accepted;
    EXPECT_EQ(all.body(), coding == "br" ? "brotli" : coding == "gzip" ? "gzip" : "plain");
    EXPECT_EQ(all.field("Vary"), "Accept-Encoding");
    EXPECT_EQ(all.field("Content-Type"), "text/javascript; charset=utf-8");
  }
}

TEST_F(http_files, compressed_forms_have_tags_and_ranges_of_their_own) {
  server_.add("a.js", "plain text");
  server_.add("a.js.gz", "0123456789");
  const std::string gzip = "Accept-Encoding: gzip\r\n";
  const std::string plain_tag = server_.get("/files/a.js").field("ETag");
  const std::string gzip_tag = server_.get("/files/a.js", gzip).field("ETag");
  EXPECT_NE(plain_tag, gzip_tag);
  const http_answer part = server_.get("/files/a.js", gzip + "Range: bytes=2-3\r\n");
  EXPECT_EQ(part.status(), 206);
  EXPECT_EQ(part.body(), "23");
  EXPECT_EQ(part.field("Content-Encoding"), "gzip");
  EXPECT_EQ(server_.get("/files/a.js", gzip + "If-None-Match: " + gzip_tag + "\r\n").status(), 304);
  EXPECT_EQ(server_.get("/files/a.js", gzip + "If-None-Match: " + plain_tag + "\r\n").status(),
            200);
}

TEST_F(http_files, a_compressed_form_is_passed_over_where_it_is_old_or_no_file_or_not_wanted) {
  const std::string both = "Accept-Encoding: br, gzip\r\n";
  server_.add("old.js", "new", file_server::day + 1);
  server_.add("old.js.br", "stale", file_server::day);
  server_.add("old.js.gz", "fresh", file_server::day + 1);
  EXPECT_EQ(server_.get("/files/old.js", both).body(), "fresh");
  server_.add("folder.js", "plain");
  std::filesystem::create_directory(server_.path("folder.js.br"));
  EXPECT_EQ(server_.get("/files/folder.js", both).body(), "plain");
  server_.add("a.png", "picture");
  server_.add("a.png.gz", "packed");
  const http_answer picture = server_.get("/files/a.png", both);
  EXPECT_EQ(picture.body(), "picture");
  EXPECT_EQ(picture.field("Vary"), "-");
  server_.add("only.js.gz", "packed");
  EXPECT_EQ(server_.get("/files/only.js", both).status(), 404);
  file_options options;
  options.takes_compressed = false;
  server_.set_options(options);
  EXPECT_EQ(server_.get("/files/old.js", both).body(), "new");
}

// ---------------------------------------------------------------- folders

TEST_F(http_files, a_folder_without_its_slash_is_redirected_and_keeps_the_query) {
  server_.add("in/folder/index.html", "index");
  http_answer all = server_.get("/files/in/folder?a=b&c");
  EXPECT_EQ(all.status(), 301);
  EXPECT_EQ(all.field("Location"), "./folder/?a=b&c");
  all = server_.get("/files//evil.example/../in");  // never "//evil.example/..."
  EXPECT_EQ(all.field("Location"), "./in/");
  EXPECT_EQ(server_.get("/files/in/folder/").body(), "index");
  EXPECT_EQ(server_.get("/files/in/folder/").field("Content-Type"), "text/html; charset=utf-8");
}

TEST_F(http_files, the_root_is_a_folder_too) {
  EXPECT_EQ(server_.get("/files/").status(), 404);
  server_.add("index.html", "start");
  EXPECT_EQ(server_.get("/files/").body(), "start");
  EXPECT_EQ(server_.get("/files/?x").body(), "start");
  EXPECT_EQ(server_.get("/files/./").body(), "start");
}

TEST_F(http_files, a_folder_without_an_index_is_not_found_unless_it_may_be_listed) {
  server_.add("d/<b>&\".txt", "x");
  server_.add("d/a:b.txt", "1234");
  server_.add("d/sub/one", "x");
  server_.add("d/.hidden", "x");
  server_.add("indexed/index.html", "index");
  std::filesystem::create_directory(server_.path("e"));
  std::filesystem::create_directory(server_.path("e/index.html"));
  EXPECT_EQ(server_.get("/files/d/").status(), 404);
  EXPECT_EQ(server_.get("/files/e/").status(), 404);  // an index that is no file
  file_options options;
  options.lists_folders = true;
  server_.set_options(options);
  const http_answer all = server_.get("/files/d/");
  EXPECT_EQ(all.status(), 200);
  EXPECT_EQ(all.field("Content-Type"), "text/html; charset=utf-8");
  const std::string_view page = all.body();
  EXPECT_NE(page.find("<a href=\"./%3Cb%3E%26%22.txt\">&lt;b&gt;&amp;&quot;.txt</a>"), page.npos);
  EXPECT_NE(page.find("<a href=\"./a%3Ab.txt\">a:b.txt</a>"), page.npos);
  EXPECT_NE(page.find("<td>4</td>"), page.npos);
  EXPECT_NE(page.find("<a href=\"./sub/\">sub/</a>"), page.npos);
  EXPECT_LT(page.find("./sub/"), page.find("./a%3Ab.txt"));
  EXPECT_EQ(page.find("hidden"), page.npos);
  EXPECT_EQ(server_.get("/files/indexed/").body(), "index");
  options.index = {};
  server_.set_options(options);
  EXPECT_NE(server_.get("/files/indexed/").body().find("./index.html"), page.npos);
}

TEST_F(http_files, a_file_is_no_folder) {
  server_.add("a.txt", "x");
  EXPECT_EQ(server_.get("/files/a.txt/").status(), 404);
  EXPECT_EQ(server_.get("/files/a.txt/b").status(), 404);
}

// ---------------------------------------------------------------- mounting and errors

TEST_F(http_files, without_a_parameter_the_whole_path_is_the_files) {
  server_.add("in/one", "found");
  router routes;
  routes.fallback(files(server_.root()));
  server_.routes().fallback(files(server_.root()));
  EXPECT_EQ(server_.get("/in/one").body(), "found");
  EXPECT_EQ(server_.get("/in/two").status(), 404);
}

TEST_F(http_files, a_root_that_is_not_there_is_the_servers_trouble) {
  server_.serve_from(server_.beside("none"), file_options());
  test::last_report().clear();
  const http_answer all = server_.get("/files/a.txt");
  EXPECT_EQ(all.status(), 500);
  EXPECT_EQ(all.body().find("none"), std::string_view::npos);
  EXPECT_EQ(test::last_report(), "open " + server_.beside("none") + ": No such file or directory");
}

TEST_F(http_files, a_lack_of_descriptors_is_503_and_reported) {
  server_.add("a.txt", "x");
  EXPECT_EQ(server_.get("/files/a.txt").status(), 200);  // what the kernel opens for itself is open
  test::last_report().clear();
  std::string text;
  test::run_loop([&]() -> task<> {
    auto pair = memory_stream_pair();
    session_options options;
    options.on_error = test::keep_report;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [&](memory_stream peer) { return session(std::move(peer), server_.routes(), options); },
          std::move(pair.second));
      file warm = co_await file::open(server_.path("a.txt"));
      co_await warm.close();  // waited for: its descriptor would be one more
      {
        const test::few_descriptors none(1);  // the root takes it
        co_await pair.first.write_all("GET /files/a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
        const lease part = co_await pair.first.read_lease();
        text = part.text();
      }
      co_await pair.first.write_all(const_buffer(server_.request("/files/a.txt")));
      while (const lease part = co_await pair.first.read_lease()) text += part.text();
    });
  });
  EXPECT_EQ(text.substr(0, 12), "HTTP/1.1 503");
  EXPECT_NE(text.find("HTTP/1.1 200"), text.npos);  // and goes on
  EXPECT_EQ(test::last_report(), "open " + server_.path("a.txt") + ": Too many open files");
}

TEST_F(http_files, descriptors_are_given_back) {
  server_.add("a.txt", "x");
  server_.add("d/b", "x");
  const auto ask_all = [&] {
    for (const char* const path : {"/files/a.txt", "/files/none", "/files/d", "/files/d/"}) {
      server_.get(path, "Accept-Encoding: br, gzip\r\n");
    }
  };
  ask_all();
  const std::size_t count = test::open_descriptor_count();
  for (int i = 0; i < 20; ++i) ask_all();
  EXPECT_EQ(test::open_descriptor_count(), count);
}

}  // namespace
}  // namespace rill::http
