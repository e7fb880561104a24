// The live task tree as text: what loop::task_tree prints. Reads only what every await leaves
// behind anyway (a place, a time, the thing waited for), so it is always on.
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <rill/runtime/chain.h>
#include <rill/runtime/loop.h>

namespace rill {
namespace {

/// "rill::task<> chat::session::run(int) [with ...]" -> "chat::session::run". A lambda gets the
/// name of the function that it stands in; anonymous namespaces are left out.
std::string function_name(std::string_view full) {
  std::string text(full);
  for (const std::string_view hidden : {"(anonymous namespace)::", "{anonymous}::"}) {
    for (std::size_t at = text.find(hidden); at != text.npos; at = text.find(hidden)) {
      text.erase(at, hidden.size());
    }
  }
  std::size_t begin = 0;
  int angle = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<') ++angle;
    if (text[i] == '>') --angle;
    if (angle != 0) continue;
    if (text[i] == ' ') begin = i + 1;
    if (text[i] == '(' && i != 0) return text.substr(begin, i - begin);
  }
  return text.substr(begin);
}

/// The last two parts of a path: enough to find a file, no matter where it was built.
std::string_view short_path(std::string_view path) {
  const std::size_t last = path.rfind('/');
  if (last == std::string_view::npos || last == 0) return path;
  const std::size_t before = path.rfind('/', last - 1);
  return before == std::string_view::npos ? path : path.substr(before + 1);
}

void append_age(std::string& text, std::int64_t nanoseconds) {
  char buffer[32];
  const double seconds = static_cast<double>(nanoseconds) / 1e9;
  if (seconds < 1) {
    std::snprintf(buffer, sizeof(buffer), "%.0f ms", seconds * 1e3);
  } else {
    std::snprintf(buffer, sizeof(buffer), "%.1f s", seconds);
  }
  text += buffer;
}

void append_frame(std::string& text, const detail::promise_base& frame) {
  if (frame.location.line() == 0) {
    text += "not begun";
    return;
  }
  text += function_name(frame.location.function_name());
  text += " (";
  text += short_path(frame.location.file_name());
  text += ':';
  text += std::to_string(frame.location.line());
  text += ')';
}

class printer {
 public:
  printer(std::string& text, const detail::scheduler& on) : text_(&text), on_(&on) {}

  void print(const detail::scope& scope, const std::string& indent) {
    for (const detail::chain* child = scope.first_child(); child != nullptr;
         child = detail::scope::next_child(*child)) {
      // One that has ended stays in its scope until its result is taken.
      if (child->top() == nullptr) continue;
      print(*child, indent, is_last(*child));
    }
  }

 private:
  static bool is_last(const detail::chain& child) {
    const detail::chain* next = detail::scope::next_child(child);
    while (next != nullptr && next->top() == nullptr) next = detail::scope::next_child(*next);
    return next == nullptr;
  }

  // A chain of a hundred thousand frames is told by its ends.
  static constexpr std::size_t frame_max = 24;

  void print(const detail::chain& chain, const std::string& indent, bool last) {
    std::vector<const detail::promise_base*> frames;
    for (const detail::promise_base* frame = chain.top(); frame != nullptr; frame = frame->parent) {
      frames.push_back(frame);
    }
    *text_ += indent + (last ? "`- " : "|- ");
    const std::string below = indent + (last ? "   " : "|  ");
    for (std::size_t i = frames.size(); i-- > 0;) {
      if (frames.size() > frame_max && i == frames.size() - frame_max / 2) {
        *text_ += "\n" + below + "... " + std::to_string(frames.size() - frame_max) + " more";
        i = frame_max / 2;
      }
      if (i + 1 != frames.size()) *text_ += "\n" + below + "> ";
      append_frame(*text_, *frames[i]);
    }
    *text_ += ": ";
    const detail::waiting* const on = chain.waiting_on();
    if (&chain == on_->running) {
      *text_ += "running";
    } else if (chain.is_ready() || on == nullptr) {
      *text_ += "ready";
    } else {
      on->describe(*text_);
    }
    *text_ += ", ";
    append_age(*text_, on_->now - chain.since());
    if (chain.cancel_requested()) *text_ += ", being cancelled";
    *text_ += '\n';
    if (on != nullptr && on->as_scope() != nullptr) print(*on->as_scope(), below);
  }

  std::string* text_;
  const detail::scheduler* on_;
};

}  // namespace

std::string loop::task_tree() const {
  const std::size_t count = chain_count - (root_.ended && main_ != nullptr ? 1 : 0);
  std::string text = std::to_string(count) + (count == 1 ? " task\n" : " tasks\n");
  printer(text, *this).print(root_, "");
  if (root_.ended && object_count_ != 0) {
    text += "left of objects, though the loop's task has ended:\n- ";
    describe_objects(text, "\n- ");
    text += '\n';
  }
  return text;
}

}  // namespace rill
