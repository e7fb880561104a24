// An open file of the simulated host, and the requests that wait on it.
// A request is carried out as io_uring does it: tried at once, and if it would block, tried again
// whenever its file says that something has changed. Not here: what a socket does with it.
// Read next: kernel.h, which makes requests of SQEs; tcp_socket.h.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <rill/runtime/sim/packet.h>
#include <rill/runtime/timer.h>

namespace rill::sim::detail {

class file;
class sim_kernel;
class request_list;

/// One SQE on its way. Everything the kernel may read later was copied when it was submitted.
struct request final : rill::detail::timer_node {
  /// The disk has done its part.
  void expired() noexcept override;
  /// How many of `wanted` bytes this operation may transfer in all.
  std::size_t limited(std::size_t wanted) const noexcept {
    return wanted < size_limit ? wanted : size_limit;
  }

  sim_kernel* owner = nullptr;
  std::shared_ptr<file> target;
  const char* name = "";  ///< as faults know the operation
  std::uint64_t user_data = 0;
  std::uint64_t offset = 0;     ///< sqe->off, or addr2
  void* memory = nullptr;       ///< sqe->addr
  std::uint32_t size = 0;       ///< sqe->len
  std::uint32_t flags = 0;      ///< the opcode's own: MSG_*, poll events, accept flags
  std::uint16_t modifiers = 0;  ///< sqe->ioprio: IORING_RECV_MULTISHOT and the like
  std::uint16_t group = 0;
  int descriptor = -1;
  std::uint8_t opcode = 0;
  std::uint8_t sqe_flags = 0;
  std::size_t done = 0;               ///< bytes moved so far, with MSG_WAITALL
  std::size_t size_limit = SIZE_MAX;  ///< a fault cuts the transfer short
  bool started = false;               ///< connect: the first packet is out
  bool lends = false;                 ///< a send without a copy, whose first completion is to come
  bool notifies = false;              ///< the same, whose last completion is to come
  bool copied = false;                ///< which is to say that there was a copy after all
  std::uint64_t digest = 0;           ///< of the bytes that it has lent
  msghdr* header = nullptr;           ///< the user's, for results of recvmsg
  std::vector<iovec> pieces;
  unsigned name_size = 0;  ///< msg_namelen as it was submitted
  unsigned control_size = 0;
  bool has_destination = false;
  endpoint destination;
  bool has_source = false;
  address source;    ///< of IP_PKTINFO: what a datagram is to leave from
  std::string text;  ///< a path; the destination of a Unix datagram

  request_list* waits_in = nullptr;
  request* wait_previous = nullptr;
  request* wait_next = nullptr;
  request* flight_previous = nullptr;
  request* flight_next = nullptr;
  request* next_in_bucket = nullptr;
  std::uint64_t number = 0;  ///< in order of submission
};

/// Requests in the order in which they began to wait.
class request_list {
 public:
  request* first() const noexcept { return first_; }
  void append(request& added) noexcept;
  void remove(request& gone) noexcept;

 private:
  request* first_ = nullptr;
  request* last_ = nullptr;
};

/// Copies bytes into pieces of memory, beyond the first `skipped` bytes of them.
void scatter(const std::vector<iovec>& pieces, std::size_t skipped, const std::byte* from,
             std::size_t size) noexcept;

/// How an attempt ended.
enum class progress : std::uint8_t {
  finished,  ///< its last completion is posted; the request is gone
  would_block
};

/// An open file description. Lives as long as a descriptor or a request refers to it.
class file : public std::enable_shared_from_this<file> {
 public:
  file() = default;
  file(const file&) = delete;
  file& operator=(const file&) = delete;
  virtual ~file() = default;

  /// Carries out a new request, or lets it wait.
  void submit(request& started);
  /// Tries again what waits on these sides, and tells the pollers.
  void changed(bool readable, bool writable);

  /// POLLIN, POLLOUT ... as poll(2) has them now.
  virtual unsigned poll_state() noexcept = 0;
  virtual bool is_socket() const noexcept { return false; }
  virtual bool is_on_disk() const noexcept { return false; }
  /// A fault says that the connection is lost: then it is, for both ends.
  virtual void lose_connection() {}
  /// A send without a copy has handed its bytes over. True: they are read until somebody calls
  /// finish() again; false: that is over.
  virtual bool keep_until_acknowledged(request&) { return false; }

 protected:
  virtual progress attempt(request& tried) = 0;
  /// One that waits holds up those behind it. Not so where each may be for another receiver.
  virtual bool keeps_order() const noexcept { return true; }

 private:
  progress attempt_any(request& tried);
  progress poll(request& tried);
  void retry(request_list& waiting, bool& busy);

  request_list readers_;
  request_list writers_;
  request_list pollers_;
  bool readers_busy_ = false;  ///< being tried again just now, further up the stack
  bool writers_busy_ = false;
};

}  // namespace rill::sim::detail
