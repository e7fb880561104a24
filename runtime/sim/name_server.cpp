// Questions and answers of RFC 1035, as far as host names need them. See name_server.h.
#include <rill/runtime/sim/name_server.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <rill/runtime/error.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

using message = std::vector<std::uint8_t>;

constexpr std::uint16_t name_port = 53;
constexpr unsigned type_a = 1;
constexpr unsigned type_aaaa = 28;
constexpr unsigned type_opt = 41;
constexpr unsigned name_error = 3;
constexpr std::size_t header_size = 12;
// Over UDP without EDNS0 (RFC 1035 section 4.2.1), and the most with it.
constexpr std::size_t datagram_size = 512;
constexpr std::size_t datagram_size_max = 4096;
constexpr std::size_t message_size_max = 65535;

// ---------------------------------------------------------------- the ring

void complete(rill::detail::operation& slot, int result, unsigned) noexcept { slot.wake(result); }

void prepare_accept(rill::detail::operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_accept(&sqe, slot.descriptor, nullptr, nullptr, SOCK_CLOEXEC);
}
void prepare_receive(rill::detail::operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_recv(&sqe, slot.descriptor, slot.buffer, slot.size, MSG_WAITALL);
}
void prepare_send(rill::detail::operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_send(&sqe, slot.descriptor, slot.buffer, slot.size, MSG_WAITALL | MSG_NOSIGNAL);
}
void prepare_receive_from(rill::detail::operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_recvmsg(&sqe, slot.descriptor, static_cast<msghdr*>(slot.buffer), 0);
}
void prepare_send_to(rill::detail::operation& slot, io_uring_sqe& sqe) noexcept {
  ::io_uring_prep_sendmsg(&sqe, slot.descriptor, static_cast<msghdr*>(slot.buffer), MSG_NOSIGNAL);
}

constexpr rill::detail::operation_type accept_type{"accept", prepare_accept, complete, nullptr};
constexpr rill::detail::operation_type receive_type{"read", prepare_receive, complete, nullptr};
constexpr rill::detail::operation_type send_type{"write", prepare_send, complete, nullptr};
constexpr rill::detail::operation_type receive_from_type{"recv", prepare_receive_from, complete,
                                                         nullptr};
constexpr rill::detail::operation_type send_to_type{"send", prepare_send_to, complete, nullptr};

/// One operation on a descriptor: gives what the kernel answers, or a negative errno.
class call_awaiter {
 public:
  using rill_awaiter = void;
  call_awaiter(const rill::detail::operation_type& type, int descriptor, void* buffer,
               std::size_t size)
      : type_(&type) {
    rill::detail::operation& slot = slot_.acquire(loop::current());
    slot.descriptor = descriptor;
    slot.buffer = buffer;
    slot.size = size;
  }
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> frame) noexcept {
    slot_->start(frame.promise(), *type_);
  }
  int await_resume() const noexcept { return slot_->result(); }

 private:
  rill::detail::pooled_operation slot_;
  const rill::detail::operation_type* type_;
};

class descriptor {
 public:
  explicit descriptor(int number) : number_(number) {
    if (number < 0) {
      throw std::system_error(std::error_code(-number, std::system_category()), "name server");
    }
  }
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (number_ >= 0) loop::current().kernel().close(number_);
  }
  int number() const noexcept { return number_; }

 private:
  int number_;
};

descriptor open_port(int family, int type) {
  kernel& on = loop::current().kernel();
  descriptor made(on.socket(family, type, 0));
  const auto check = [](int status) {
    if (status < 0) descriptor refused(status);
  };
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(name_port);
  const int enabled = 1;
  check(on.set_option(made.number(), SOL_SOCKET, SO_REUSEADDR, &enabled, sizeof(enabled)));
  check(on.bind(made.number(), &name, sizeof(name)));
  if (type == SOCK_STREAM) check(on.listen(made.number(), 128));
  return made;
}

// ---------------------------------------------------------------- messages

unsigned number_at(std::span<const std::uint8_t> bytes, std::size_t at) {
  return at + 1 < bytes.size() ? unsigned{bytes[at]} << 8 | bytes[at + 1] : 0;
}

void put(message& into, unsigned number) {
  into.push_back(static_cast<std::uint8_t>(number >> 8));
  into.push_back(static_cast<std::uint8_t>(number & 0xff));
}

/// Empty: not worth an answer.
message answer_to(std::span<const std::uint8_t> query, const find_addresses& find, bool over_tcp) {
  std::string name;
  std::size_t at = header_size;
  while (at < query.size() && query[at] != 0) {
    const std::size_t size = query[at];
    if (size > 63 || at + 1 + size >= query.size()) return {};
    if (!name.empty()) name += '.';
    for (std::size_t i = 1; i <= size; ++i) {
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(query[at + i])));
    }
    at += size + 1;
  }
  const std::size_t question_end = at + 5;
  const bool is_question =
      question_end <= query.size() && (query[2] & 0x80) == 0 && number_at(query, 4) == 1;
  if (!is_question) return {};
  if (name.ends_with(".sim")) name.resize(name.size() - 4);
  const unsigned type = number_at(query, at + 1);
  const bool has_edns = number_at(query, 10) == 1 && query.size() >= question_end + 11 &&
                        number_at(query, question_end + 1) == type_opt;

  const std::vector<address>* const known = find(name);
  message made(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(question_end));
  unsigned count = 0;
  if (known != nullptr) {
    for (const address& each : *known) {
      if (type != (each.v6 ? type_aaaa : type_a)) continue;
      const unsigned size = each.v6 ? 16 : 4;
      // The name by reference, class IN, a minute to live.
      for (const unsigned part : {0xc000U + unsigned{header_size}, type, 1U, 0U, 60U, size}) {
        put(made, part);
      }
      made.insert(made.end(), each.bytes.begin(), each.bytes.begin() + size);
      ++count;
    }
  }
  std::size_t room = message_size_max;
  if (!over_tcp) {
    room = has_edns ? std::clamp<std::size_t>(number_at(query, question_end + 3), datagram_size,
                                              datagram_size_max)
                    : datagram_size;
  }
  const bool truncated = made.size() + 11 > room;
  if (truncated) {
    made.resize(question_end);
    count = 0;
  }
  // QR and AA; TC; RD as it was asked; RA.
  made[2] = static_cast<std::uint8_t>(0x84 | (truncated ? 2 : 0) | (query[2] & 1));
  made[3] = static_cast<std::uint8_t>(0x80 | (known == nullptr ? name_error : 0));
  made[6] = static_cast<std::uint8_t>(count >> 8);
  made[7] = static_cast<std::uint8_t>(count & 0xff);
  made[8] = made[9] = made[10] = 0;
  made[11] = has_edns ? 1 : 0;
  if (has_edns) {
    made.push_back(0);
    for (const unsigned part : {type_opt, unsigned{datagram_size_max}, 0U, 0U, 0U}) put(made, part);
  }
  return made;
}

// ---------------------------------------------------------------- serving

// After an error that may pass, such as a shortage of memory.
constexpr std::chrono::milliseconds pause_time{1};

task<> serve_datagrams(const find_addresses& find) {
  const descriptor socket = open_port(AF_INET6, SOCK_DGRAM);
  message bytes;
  sockaddr_in6 peer{};
  iovec piece{};
  msghdr header{};
  for (;;) {
    bytes.resize(datagram_size_max);
    piece = {bytes.data(), bytes.size()};
    header = {};
    header.msg_name = &peer;
    header.msg_namelen = sizeof(peer);
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    const int size = co_await call_awaiter(receive_from_type, socket.number(), &header, 0);
    if (size < 0) {
      co_await sleep_for(pause_time);
      continue;
    }
    bytes = answer_to(std::span(bytes).first(static_cast<std::size_t>(size)), find, false);
    if (bytes.empty()) continue;
    piece = {bytes.data(), bytes.size()};
    // Who asked may be gone; whoever still waits asks again.
    co_await call_awaiter(send_to_type, socket.number(), &header, 0);
  }
}

task<> serve_stream(const find_addresses& find, int accepted) {
  const descriptor socket(accepted);
  std::uint8_t prefix[2] = {};
  for (;;) {
    const int head = co_await call_awaiter(receive_type, socket.number(), prefix, sizeof(prefix));
    if (head != static_cast<int>(sizeof(prefix))) co_return;
    message query(number_at(prefix, 0));
    const int size =
        co_await call_awaiter(receive_type, socket.number(), query.data(), query.size());
    if (size != static_cast<int>(query.size())) co_return;
    message reply = answer_to(query, find, true);
    if (reply.empty()) co_return;
    const auto length = static_cast<unsigned>(reply.size());
    const std::uint8_t bytes[2] = {static_cast<std::uint8_t>(length >> 8),
                                   static_cast<std::uint8_t>(length & 0xff)};
    reply.insert(reply.begin(), std::begin(bytes), std::end(bytes));
    const int sent = co_await call_awaiter(send_type, socket.number(), reply.data(), reply.size());
    if (sent != static_cast<int>(reply.size())) co_return;
  }
}

task<> serve_streams(const find_addresses& find, nursery& connections) {
  const descriptor listener = open_port(AF_INET6, SOCK_STREAM);
  for (;;) {
    const int accepted = co_await call_awaiter(accept_type, listener.number(), nullptr, 0);
    if (accepted >= 0) {
      connections.start(serve_stream, std::cref(find), accepted);
    } else {
      co_await sleep_for(pause_time);
    }
  }
}

}  // namespace

task<> serve_names(find_addresses find) {
  co_await with_nursery([&](nursery& all) -> task<> {
    all.start(serve_datagrams, std::cref(find));
    all.start(serve_streams, std::cref(find), std::ref(all));
    co_return;
  });
}

}  // namespace rill::sim::detail
