// A client's connections: those in use, those that wait for the next request, and the tasks that
// wait for one. Private: users see pool_limits.
// Not here: opening connections (connector.h), talking on them (client_exchange.h).
// Read next: client_pool.cpp.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rill/protocols/http/client_limits.h>
#include <rill/protocols/http/client_stream.h>
#include <rill/runtime/event.h>
#include <rill/runtime/timer.h>

namespace rill::http::detail {

class connection_pool final : public std::enable_shared_from_this<connection_pool>,
                              private rill::detail::timer_node {
  struct origin;
  struct idle_connection;
  class waiter;

 public:
  /// The right to one connection, and the connection if there is one. Gives both back when
  /// destroyed: the connection is closed then, unless keep() was called.
  class slot {
   public:
    slot() noexcept {}
    slot(slot&& other) noexcept
        : pool_(std::move(other.pool_)),
          origin_(std::exchange(other.origin_, nullptr)),
          stream_(std::move(other.stream_)) {}
    slot& operator=(slot&& other) noexcept {
      if (this != &other) {
        drop();
        pool_ = std::move(other.pool_);
        origin_ = std::exchange(other.origin_, nullptr);
        stream_ = std::move(other.stream_);
      }
      return *this;
    }
    ~slot() { drop(); }

    client_stream* stream() const noexcept { return stream_.get(); }
    void put(std::unique_ptr<client_stream> opened) noexcept { stream_ = std::move(opened); }
    /// The connection is fit for another request of its origin.
    void keep() noexcept;
    /// Closes the connection.
    void drop() noexcept;
    explicit operator bool() const noexcept { return origin_ != nullptr; }

   private:
    friend class connection_pool;
    slot(std::shared_ptr<connection_pool> pool, origin& of,
         std::unique_ptr<client_stream> stream) noexcept
        : pool_(std::move(pool)), origin_(&of), stream_(std::move(stream)) {}

    std::shared_ptr<connection_pool> pool_;
    origin* origin_ = nullptr;
    std::unique_ptr<client_stream> stream_;
  };

  explicit connection_pool(const pool_limits& limits) noexcept : limits_(limits) {}
  connection_pool(const connection_pool&) = delete;
  connection_pool& operator=(const connection_pool&) = delete;
  ~connection_pool();

  enum class outcome : unsigned char { given, timed_out, too_many_waiting };
  /// A slot for a connection to `key`, with the connection used last if one is idle. Waits, first
  /// come, first served, while the limits allow no other.
  task<outcome> acquire(std::string key, loop_clock::time_point deadline, slot& into);
  /// Closes what is idle for `key`: one of them turned out to be dead.
  void drop_idle(const std::string& key);

  std::size_t idle_count() const noexcept { return idle_.size(); }
  /// Idle and in use.
  std::size_t open_count() const noexcept { return open_count_; }

 private:
  struct idle_connection {
    origin* of;
    loop_clock::time_point since;
    std::unique_ptr<client_stream> stream;
  };
  using idle_list = std::list<idle_connection>;  // the longest idle first
  struct origin {
    std::string key;
    std::size_t active_count = 0;
    std::size_t waiting_count = 0;
    std::vector<idle_list::iterator> idle;  // the longest idle first
  };
  class waiter {
   public:
    waiter(connection_pool& pool, origin& of);
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;
    ~waiter();
    origin* of;
    event ready;
    slot given;

   private:
    connection_pool* pool_;
    std::list<waiter*>::iterator place_;
  };

  bool try_acquire(origin& of, slot& into);
  void give_back(origin& of, std::unique_ptr<client_stream> kept) noexcept;
  std::unique_ptr<client_stream> take_idle(idle_list::iterator which) noexcept;
  void serve_waiters(origin& changed) noexcept;
  void forget_if_unused(origin& of) noexcept;
  void arm_timer();
  void expired() noexcept override;

  pool_limits limits_;
  std::map<std::string, origin> origins_;
  idle_list idle_;
  std::list<waiter*> waiters_;
  std::size_t open_count_ = 0;
  loop* loop_ = nullptr;  // on which the timer is
};

}  // namespace rill::http::detail
