// Forms with files: what is taken, what is refused, and that cutting the input changes nothing.
#include <rill/protocols/http/multipart.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace rill::http {
namespace {

using event = multipart_decoder::event;

/// All that the decoder says, as text: "[name|file|type]content." and "complete" or the error.
std::string decoded(std::string_view boundary, const std::vector<std::string>& pieces,
                    const multipart_limits& limits) {
  multipart_decoder decoder(boundary, limits);
  std::string all;
  for (const std::string& piece : pieces) {
    std::string_view rest = piece;
    for (;;) {
      const multipart_decoder::step step = decoder.decode(rest);
      rest.remove_prefix(step.used);
      if (step.what == event::part) {
        all += '[' + decoder.part().name + '|' + decoder.part().file_name.value_or("-") + '|' +
               decoder.part().type + ']';
      }
      if (step.what == event::content) all += step.content;
      if (step.what == event::part_end) all += '.';
      if (step.what == event::failed) return all + std::string(message_of(decoder.error()));
      if (step.what == event::more) break;
    }
    EXPECT_EQ(rest, "");
  }
  if (decoder.end()) return all + "complete";
  return all + std::string(message_of(decoder.error()));
}

/// Whole, byte by byte, and cut in two and three at every byte: always the same.
std::string decoded(const std::string& text, const multipart_limits& limits = multipart_limits(),
                    std::string_view boundary = "b") {
  const std::string whole = decoded(boundary, {text}, limits);
  std::vector<std::string> bytes;
  for (const char c : text) bytes.emplace_back(1, c);
  EXPECT_EQ(decoded(boundary, bytes, limits), whole);
  for (std::size_t i = 0; i <= text.size(); ++i) {
    EXPECT_EQ(decoded(boundary, {text.substr(0, i), text.substr(i)}, limits), whole) << i;
    for (std::size_t j = i; j <= std::min(text.size(), i + 6); ++j) {
      EXPECT_EQ(
          decoded(boundary, {text.substr(0, i), text.substr(i, j - i), text.substr(j)}, limits),
          whole)
          << i << ' ' << j;
    }
  }
  return whole;
}

const std::string disposition = "Content-Disposition: form-data; name=";

/// One part of this header.
std::string part_of(const std::string& header) {
  return decoded("--b\r\n" + header + "\r\n\r\nx\r\n--b--\r\n");
}
std::string named(const std::string& parameters) { return part_of(disposition + parameters); }

TEST(multipart, fields_and_files_come_with_names_and_content) {
  EXPECT_EQ(decoded("--b\r\n" + disposition + "\"a\"\r\n\r\none\r\n--b\r\n" + disposition +
                    "\"f\"; filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\r\n" +
                    "\r\n--b--\r\n"),
            "[a|-|text/plain]one.[f|x.png|image/png]\x89PNG\r\n\r\n.complete");
}

TEST(multipart, what_stands_around_the_parts_is_passed_over) {
  EXPECT_EQ(decoded("pre\r\namble\r\n--c\r\n--b \t\r\n" + disposition +
                    "a\r\n\r\nx\r\n--b-- \r\nepi\r\n--b\r\nlogue"),
            "[a|-|text/plain]x.complete");
  EXPECT_EQ(decoded("--b--"), "complete");  // a form without any field
  EXPECT_EQ(decoded("--b--\r\n"), "complete");
}

TEST(multipart, content_that_resembles_a_delimiter_is_content) {
  for (const std::string content :
       {"", "\r", "\n", "\r\n", "\r\n-", "\r\n--", "\r\n--c", "\r\r\n--", "--b", "x--b--", "\n--b",
        "\r--b", "\r\n\r\n--", "\r\n--\r\n--\r\n-"}) {
    if (content == "--b") continue;  // at once behind the empty line it is a delimiter
    EXPECT_EQ(decoded("--b\r\n" + disposition + "a\r\n\r\n" + content + "\r\n--b--"),
              "[a|-|text/plain]" + content + ".complete");
  }
  EXPECT_EQ(decoded("--b\r\n" + disposition + "a\r\n\r\n--b--"), "[a|-|text/plain].complete");
}

TEST(multipart, a_boundary_that_begins_with_another_is_refused) {
  const std::string begin = "--b\r\n" + disposition + "a\r\n\r\nx\r\n";
  const std::string answer = "[a|-|text/plain]x.a boundary of the form is malformed";
  EXPECT_EQ(decoded(begin + "--bb\r\n"), answer);
  EXPECT_EQ(decoded(begin + "--b\n"), answer);
  EXPECT_EQ(decoded(begin + "--b\rx"), answer);
  EXPECT_EQ(decoded(begin + "--b-\r\n"), answer);
  EXPECT_EQ(decoded(begin + "--b --\r\n"), answer);
  EXPECT_EQ(decoded(begin + "--b--x"), answer);
  EXPECT_EQ(decoded(begin + "--b--\r\r"), answer);
}

TEST(multipart, an_early_end_is_told_wherever_it_comes) {
  const std::string whole = "--b\r\n" + disposition + "a\r\n\r\nx\r\n--b--";
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const std::string answer = decoded("b", {whole.substr(0, i)}, multipart_limits());
    EXPECT_TRUE(answer.ends_with("the form is incomplete")) << i << answer;
  }
}

TEST(multipart, names_are_read_as_browsers_and_others_write_them) {
  const std::string rest = "|text/plain]x.complete";
  EXPECT_EQ(named("a"), "[a|-" + rest);
  EXPECT_EQ(named("\"\""), "[|-" + rest);
  EXPECT_EQ(named("\"a;b\" ; x=y"), "[a;b|-" + rest);
  EXPECT_EQ(named("\"a%22b%0d%0A%41\""), "[a\"b\r\n%41|-" + rest);
  EXPECT_EQ(named("\"a\\\"b\\\\c\""), "[a\"b\\c|-" + rest);
  EXPECT_EQ(named("\"a\";filename=\"C:\\dir\\x.txt\""), "[a|C:\\dir\\x.txt" + rest);
  EXPECT_EQ(named("\"a\"; filename=\"\""), "[a|" + rest);
  EXPECT_EQ(named("\"a\"; filename=../../etc/passwd"), "[a|../../etc/passwd" + rest);
  EXPECT_EQ(named("a; filename=\"\xc3\xa4.txt\""), "[a|\xc3\xa4.txt" + rest);
  EXPECT_EQ(named("a; filename=\"e.txt\"; filename*=utf-8'de'%C3%A4.txt"),
            "[a|\xc3\xa4.txt" + rest);
  EXPECT_EQ(named("a; filename*=UTF-8''%e2%82%ac"), "[a|\xe2\x82\xac" + rest);
  EXPECT_EQ(part_of("X-Other: 1\r\ncontent-disposition:Form-Data;NAME=a"), "[a|-" + rest);
  EXPECT_EQ(part_of("Content-Transfer-Encoding: binary\r\n" + disposition + "a"), "[a|-" + rest);
}

TEST(multipart, a_header_that_two_readers_would_read_differently_is_refused) {
  const std::string refused = "the header of a part is malformed";
  for (const std::string parameters :
       {"\"a", "\"a\"b", "a b", "", ";", "a; name=b", "a; filename=x; filename=y",
        "a; filename=", "a; filename*=x", "a; filename*=UTF-8''%", "a; filename*=UTF-8''%00",
        "a; filename*=ISO-8859-1''%e4", "a; filename*=UTF-8", "a; x", "a;",
        "\"a\"; filename=\"x\\\""}) {
    EXPECT_EQ(named(parameters), refused) << parameters;
  }
  for (const std::string& header :
       {std::string("Content-Type: text/plain"),
        std::string("Content-Disposition: attachment; name=a"),
        disposition + "a\r\n" + disposition + "a",
        disposition + "a\r\nContent-Type: a\r\nContent-Type: b",
        disposition + "a\r\nContent-Transfer-Encoding: base64", disposition + "a\r\n folded",
        disposition + "a\r\nX : 1", disposition + "a\r\nX", disposition + "a\r\n: 1",
        disposition + "\"a\nb\"", disposition + "\"a\rb\"", disposition + "\"a\x01\"",
        disposition + std::string("\"a\0b\"", 5)}) {
    EXPECT_EQ(part_of(header), refused) << header;
  }
  EXPECT_EQ(decoded("--b\r\n\r\nx\r\n--b--"), refused);
}

TEST(multipart, limits_hold_to_the_byte) {
  const std::string header = disposition + "a\r\n\r\n";
  const std::string form = "--b\r\n" + header + "12345\r\n--b\r\n" + header + "\r\n--b--";
  multipart_limits limits{2, header.size(), 5, form.size()};
  const std::string whole = "[a|-|text/plain]12345.[a|-|text/plain].complete";
  EXPECT_EQ(decoded(form, limits), whole);
  limits.size_max = form.size() - 1;
  EXPECT_EQ(decoded(form, limits), "[a|-|text/plain]12345.[a|-|text/plain].the form is too large");
  limits = {2, header.size(), 4, form.size()};
  EXPECT_EQ(decoded(form, limits), "[a|-|text/plain]1234a part of the form is too large");
  limits = {1, header.size(), 5, form.size()};
  EXPECT_EQ(decoded(form, limits), "[a|-|text/plain]12345.the form has too many parts");
  limits = {2, header.size() - 1, 5, form.size()};
  EXPECT_EQ(decoded(form, limits), "the header of a part is too large");
  limits = {2, 10, 0, 40};
  EXPECT_EQ(decoded("--b" + std::string(100, ' '), limits), "the form is too large");
  EXPECT_EQ(decoded(std::string(100, 'p'), limits), "the form is too large");
  EXPECT_EQ(decoded("--b--\r\n" + std::string(100, 'e'), limits), "the form is too large");
}

TEST(multipart, the_boundary_comes_from_the_media_type) {
  EXPECT_EQ(multipart_boundary("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(multipart_boundary("Multipart/Form-Data;charset=x; Boundary=\"a b:c\""), "a b:c");
  EXPECT_EQ(multipart_boundary("multipart/form-data; boundary=" + std::string(70, 'x')),
            std::string(70, 'x'));
  for (const std::string& type :
       {std::string("multipart/form-data"), std::string("multipart/form-data; boundary="),
        std::string("multipart/mixed; boundary=a"),
        std::string("multipart/form-data; boundary=\"a \""),
        std::string("multipart/form-data; boundary=\"a\\\"\""),
        std::string("multipart/form-data; boundary=\xc3\xa4"),
        "multipart/form-data; boundary=" + std::string(71, 'x')}) {
    EXPECT_EQ(multipart_boundary(type), std::nullopt) << type;
  }
}

TEST(multipart, what_was_written_is_read_back) {
  for (const std::string name :
       {"a", "", "a\"b", "a\r\nb", "\\", "\\\\", "a\\b", "a\\\"", "\\\\\\x", "\xc3\xa4;=,%41"}) {
    part_head part;
    part.name = name;
    part.file_name = name + ".txt";
    part.type = "text/html";
    EXPECT_EQ(decoded("b", {write_part_head("b", part) + "x\r\n" + write_multipart_end("b")},
                      multipart_limits()),
              '[' + name + '|' + name + ".txt|text/html]x.complete");
  }
  part_head part;
  part.name = "a\x01";
  EXPECT_THROW(write_part_head("b", part), std::invalid_argument);
  part = part_head();
  part.type = "text/plain\r\nX: y";
  EXPECT_THROW(write_part_head("b", part), std::invalid_argument);
}

TEST(multipart, much_content_that_nearly_matches_takes_linear_time) {
  std::string content;
  while (content.size() < 4'000'000) content += "\r\n--boundary-of-some-lengtH";
  const std::string text = "--boundary-of-some-length\r\n" + disposition + "a\r\n\r\n" + content +
                           "\r\n--boundary-of-some-length--";
  EXPECT_EQ(decoded("boundary-of-some-length", {text}, multipart_limits()),
            "[a|-|text/plain]" + content + ".complete");
}

}  // namespace
}  // namespace rill::http
