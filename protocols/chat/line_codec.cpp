// Lines out of bytes; see line_codec.h.
#include <rill/protocols/chat/line_codec.h>

#include <algorithm>
#include <utility>

#include <rill/protocols/chat/text.h>

namespace rill::chat {

std::optional<line> line_reader::judge(std::string_view text,
                                       const line_limits& limits) const noexcept {
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.size() > limits.line_size_max) return line{line_kind::too_long, {}};
  return line{is_utf8(text) ? line_kind::text : line_kind::not_utf8, text};
}

std::optional<line> line_reader::next(std::string_view& input, const line_limits& limits) {
  if (std::exchange(ended_, false)) std::string().swap(held_);  // an idle client owns no buffer
  // A line so long is too long even if its last byte is the CR of its end.
  const std::size_t certain_size = limits.line_size_max + 2;
  while (!input.empty()) {
    if (dropped_size_ != 0) {
      const std::size_t room =
          limits.endless_size_max - std::min(dropped_size_, limits.endless_size_max);
      const std::size_t end = input.find('\n');
      const std::size_t size = std::min(end, input.size());
      if (size > room) {
        input.remove_prefix(room);
        dropped_size_ = limits.endless_size_max;
        return line{line_kind::endless, {}};
      }
      dropped_size_ = end == std::string_view::npos ? dropped_size_ + size : 0;
      input.remove_prefix(end == std::string_view::npos ? size : size + 1);
      continue;
    }
    const std::size_t room = certain_size - held_.size();
    const std::string_view seen = input.substr(0, room);
    const std::size_t end = seen.find('\n');
    if (end != std::string_view::npos) {
      std::string_view text = seen.substr(0, end);
      input.remove_prefix(end + 1);
      if (!held_.empty()) {
        held_.append(text);
        text = held_;
        ended_ = true;
      }
      return judge(text, limits);
    }
    input.remove_prefix(seen.size());
    if (seen.size() == room) {
      std::string().swap(held_);
      dropped_size_ = certain_size;
      return line{line_kind::too_long, {}};
    }
    held_.append(seen);
  }
  return std::nullopt;
}

nickname_reader::status nickname_reader::take(std::string_view& input) {
  const std::size_t end = input.find('\n');
  const std::size_t size = std::min(end, input.size());
  if (size > size_max - std::min(text_.size(), size_max)) return status::too_long;
  text_.append(input.substr(0, size));
  if (end == std::string_view::npos) {
    input = {};
    return status::incomplete;
  }
  input.remove_prefix(end + 1);
  if (text_.ends_with('\r')) text_.pop_back();
  return status::line;
}

std::string_view nickname_reader::text() const noexcept { return text_; }

}  // namespace rill::chat
