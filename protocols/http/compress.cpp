// Which answers are compressed, and how their bodies pass an encoder. See compress.h.
#include <rill/protocols/http/compress.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <rill/protocols/http/coding.h>
#include <rill/protocols/http/fields.h>
#include <rill/protocols/http/status.h>
#include <rill/runtime/sleep.h>

namespace rill::http {
namespace {

constexpr std::size_t slice_size = 64 * 1024;

bool is_compressible(std::string_view content_type) noexcept {
  const std::string_view type = media_type(content_type);
  constexpr std::array<std::string_view, 9> others{
      "application/json", "application/javascript", "application/xml",           "application/wasm",
      "image/svg+xml",    "application/x-ndjson",   "application/manifest+json", "font/ttf",
      "font/otf"};
  const auto is_type = [&](std::string_view each) { return equals_without_case(type, each); };
  const auto ends_in = [&](std::string_view end) {
    return type.size() > end.size() &&
           equals_without_case(type.substr(type.size() - end.size()), end);
  };
  return equals_without_case(type.substr(0, 5), "text/") || ends_in("+json") || ends_in("+xml") ||
         std::any_of(others.begin(), others.end(), is_type);
}

bool is_for_compression(const response& made, const compress_options& options) noexcept {
  constexpr int partial_content = 206;
  if (has_no_body(made.status()) || made.status() == partial_content) return false;
  if (!made.find("Content-Encoding").empty() || !made.find("Content-Range").empty()) return false;
  // One byte at least: what has neither text nor producer is empty, or a file.
  const std::size_t size_min = std::max<std::size_t>(1, options.size_min);
  if (made.body_producer() == nullptr && made.body().size() < size_min) return false;
  std::string_view control = made.find("Cache-Control");
  while (const auto each = next_element(control)) {
    if (equals_without_case(*each, "no-transform")) return false;
  }
  return is_compressible(made.find("Content-Type"));
}

/// Compresses what a producer writes.
class compressing_writer final : public body_writer {
 public:
  compressing_writer(body_writer& to, coding with, int level) : to_(&to), encoder_(with, level) {}

  task<void> write(const_buffer bytes) override {
    for (std::string_view rest = bytes.text(); !rest.empty();) {
      const std::string_view slice = rest.substr(0, slice_size - done_size_);
      rest.remove_prefix(slice.size());
      encoder_.encode(slice, out_);
      done_size_ += slice.size();
      if (out_.size() >= send_size) co_await send();
      if (done_size_ != slice_size) continue;
      // Compressing is work, and sending need not wait: the others have a turn.
      done_size_ = 0;
      co_await sleep_for(std::chrono::nanoseconds(0));
    }
  }
  task<void> flush() override {
    encoder_.flush(out_);
    co_await send();
    co_await to_->flush();
  }
  task<void> finish() {
    encoder_.finish(out_);
    co_await send();
  }

 private:
  static constexpr std::size_t send_size = 8 * 1024;

  task<void> send() {
    if (!out_.empty()) co_await to_->write(out_);
    out_.clear();
  }

  body_writer* to_;
  content_encoder encoder_;
  std::string out_;
  std::size_t done_size_ = 0;  // since the others had a turn
};

/// The same status and fields, the body compressed.
response encoded(response plain, coding with, int level) {
  response made(plain.status());
  detail::for_each_field(plain, [&](std::string_view name, std::string_view value) {
    const bool is_strong = equals_without_case(name, "ETag") && !value.starts_with("W/");
    made.add(name, is_strong ? "W/" + std::string(value) : std::string(value));
  });
  made.set("Content-Encoding", name_of(with));
  if (plain.body_producer() == nullptr && plain.body().size() <= slice_size) {
    std::string body;
    content_encoder encoder(with, level);
    encoder.encode(plain.body(), body);
    encoder.finish(body);
    const std::string type(made.find("Content-Type"));
    made.set_body(std::move(body), type);
    return made;
  }
  made.set_producer([whole = std::make_shared<const response>(std::move(plain)), with,
                     level](body_writer& to) -> task<void> {
    compressing_writer writer(to, with, level);
    if (whole->body_producer() != nullptr) {
      co_await whole->body_producer()(writer);
    } else {
      co_await writer.write(whole->body());
    }
    co_await writer.finish();
  });
  return made;
}

}  // namespace

middleware compressed(compress_options options) {
  return [options](request& asked, const handler& next) -> task<response> {
    response made = co_await next(asked);
    if (!is_for_compression(made, options)) co_return made;
    detail::add_vary(made, "Accept-Encoding");
    constexpr std::array<std::string_view, 2> offered{"br", "gzip"};
    const std::string_view chosen = choose_coding(
        asked.find("Accept-Encoding"), std::span(offered).subspan(options.offers_brotli ? 0 : 1));
    const std::optional<coding> with = find_coding(chosen);
    if (!with) co_return made;
    const int level = *with == coding::brotli ? options.brotli_level : options.gzip_level;
    co_return encoded(std::move(made), *with, level);
  };
}

}  // namespace rill::http
