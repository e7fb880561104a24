// What a connection of a server borrows while it is busy, so that an idle one holds none of it.
// Not for users. Read next: session.h.
#pragma once

#include <memory>
#include <new>
#include <string>
#include <utility>

#include <rill/protocols/http/head.h>
#include <rill/runtime/frame_cache.h>

namespace rill::http::detail {

/// The parsed head of a request, from a stock of the thread's: its table of fields is not allocated
/// anew for each connection that becomes busy.
class borrowed_head {
 public:
  explicit borrowed_head(const head_limits& limits);
  borrowed_head(const borrowed_head&) = delete;
  borrowed_head& operator=(const borrowed_head&) = delete;
  ~borrowed_head();
  request_head& operator*() const noexcept { return *held_; }

 private:
  std::unique_ptr<request_head> held_;
};

/// Answers that wait to be sent, in memory from a stock of the thread's.
class borrowed_text {
 public:
  borrowed_text();
  borrowed_text(const borrowed_text&) = delete;
  borrowed_text& operator=(const borrowed_text&) = delete;
  ~borrowed_text();
  std::string& operator*() noexcept { return held_; }

 private:
  std::string held_;
};

/// An object in memory of the frame cache, to be let go before the end of the coroutine that has
/// it.
template <class T>
class framed {
 public:
  framed() = default;
  framed(const framed&) = delete;
  framed& operator=(const framed&) = delete;
  ~framed() { reset(); }

  template <class... Arguments>
  T& emplace(Arguments&&... arguments) {
    void* const memory = rill::detail::allocate_frame(sizeof(T));
    try {
      made_ = ::new (memory) T(std::forward<Arguments>(arguments)...);
    } catch (...) {
      rill::detail::free_frame(memory, sizeof(T));
      throw;
    }
    return *made_;
  }
  void reset() noexcept {
    if (made_ == nullptr) return;
    T* const gone = std::exchange(made_, nullptr);
    gone->~T();
    rill::detail::free_frame(gone, sizeof(T));
  }

 private:
  T* made_ = nullptr;
};

}  // namespace rill::http::detail
