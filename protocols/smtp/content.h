// Where the bytes of a message come from while it is sent.
// Read next: message.h, which makes one of a subject, texts and attachments.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <rill/runtime/task.h>

namespace rill::smtp {

/// A message that is read once, from its first byte to its last.
class content_source {
 public:
  content_source() = default;
  content_source(const content_source&) = delete;
  content_source& operator=(const content_source&) = delete;
  virtual ~content_source() = default;

  /// The next piece; empty: that was all. Valid until the next call. What it throws ends the
  /// connection before the message's end, so that nothing of it is delivered, and reaches the
  /// caller of send().
  [[nodiscard]] virtual task<std::string_view> read_some() = 0;
  /// Of all of it; nullopt: nobody knows.
  virtual std::optional<std::uint64_t> size() const = 0;
  /// There may be bytes beyond ASCII in it: 8BITMIME is needed.
  virtual bool has_high_bytes() const = 0;
  /// There are some in its fields: SMTPUTF8 is needed.
  virtual bool needs_utf8() const = 0;
};

/// A message that is there already; the text must outlive it.
class text_content final : public content_source {
 public:
  explicit text_content(std::string_view text) noexcept;

  task<std::string_view> read_some() override {
    co_return std::exchange(text_, std::string_view());
  }
  /// As it will be sent, with CRLF at the end of each line.
  std::optional<std::uint64_t> size() const override { return size_; }
  bool has_high_bytes() const override { return has_high_bytes_; }
  /// A byte beyond ASCII before the first empty line.
  bool needs_utf8() const override { return needs_utf8_; }

 private:
  std::string_view text_;
  std::uint64_t size_;
  bool has_high_bytes_;
  bool needs_utf8_;
};

}  // namespace rill::smtp
