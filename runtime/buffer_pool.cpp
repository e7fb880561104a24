// Buffer rings and their reserve. See buffer_pool.h.
#include <rill/runtime/buffer_pool.h>

#include <sys/mman.h>

#include <algorithm>

#include <rill/runtime/error.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/operation.h>
#include <rill/runtime/uring_abi.h>

namespace rill {
namespace {

// Buffers exactly a page apart would all begin in the same set of the first-level cache, which
// holds about a dozen such lines; one line more between them spreads them over all sets.
constexpr std::size_t cache_line_size = 64;

void* map_memory(std::size_t size) noexcept {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

std::size_t memory_size(const buffer_group_options& options, std::size_t stride) noexcept {
  return stride * options.buffer_max;
}

std::size_t ring_memory_size(const buffer_group_options& options) noexcept {
  return options.ring_size * sizeof(io_uring_buf);
}

}  // namespace

buffer_pool::buffer_pool(kernel& on, const buffer_pool_options& options) : kernel_(&on) {
  groups_[small_group].options = options.small;
  groups_[large_group].options = options.large;
  for (buffer_group& each : groups_) {
    const buffer_group_options& wanted = each.options;
    RILL_ASSERT(wanted.buffer_max <= INT16_MAX && wanted.ring_size <= 32768 &&
                    (wanted.ring_size & (wanted.ring_size - 1)) == 0 && wanted.ring_initial > 0,
                "buffer_group_options are out of range");
    each.stride = wanted.buffer_size + cache_line_size;
  }
}

buffer_pool::~buffer_pool() {
  for (unsigned index = 0; index < group_count; ++index) {
    buffer_group& each = groups_[index];
    if (each.ready) kernel_->unregister_buffer_ring(static_cast<std::uint16_t>(index));
    if (each.ring != nullptr) ::munmap(each.ring, ring_memory_size(each.options));
    if (each.memory != nullptr) ::munmap(each.memory, memory_size(each.options, each.stride));
  }
}

bool buffer_pool::set_up(unsigned index) noexcept {
  buffer_group& each = groups_[index];
  if (each.ready || each.refused) return each.ready;
  each.refused = true;  // until all of it has worked
  try {
    each.reserve.reserve(each.options.buffer_max);
    each.waiting.resize(each.options.buffer_max);
  } catch (const std::bad_alloc&) {
    return false;
  }
  each.memory = static_cast<std::byte*>(map_memory(memory_size(each.options, each.stride)));
  each.ring = static_cast<io_uring_buf_ring*>(map_memory(ring_memory_size(each.options)));
  if (each.memory == nullptr || each.ring == nullptr) return false;
  ::io_uring_buf_ring_init(each.ring);
  if (kernel_->register_buffer_ring(each.ring, each.options.ring_size,
                                    static_cast<std::uint16_t>(index)) < 0) {
    return false;
  }
  each.refused = false;
  each.ready = true;
  return true;
}

bool buffer_pool::available(unsigned index) noexcept {
  if (!set_up(index)) return false;
  buffer_group& each = groups_[index];
  if (each.target == 0) {
    each.target =
        std::min({each.options.ring_initial, each.options.ring_size, each.options.buffer_max});
    refill(each);
  }
  return each.lent_to_kernel != 0 || can_take(index);
}

bool buffer_pool::can_take(unsigned index) noexcept {
  if (!set_up(index)) return false;
  const buffer_group& each = groups_[index];
  return !each.reserve.empty() || each.fresh < each.options.buffer_max;
}

void buffer_pool::refill(buffer_group& each) noexcept {
  const int mask = ::io_uring_buf_ring_mask(each.options.ring_size);
  int added = 0;
  while (each.lent_to_kernel < each.target) {
    std::uint16_t id = 0;
    if (!each.reserve.empty()) {
      id = each.reserve.back();
      each.reserve.pop_back();
    } else if (each.fresh < each.options.buffer_max) {
      id = static_cast<std::uint16_t>(each.fresh++);
    } else {
      break;
    }
    ::io_uring_buf_ring_add(each.ring, each.memory + std::size_t{id} * each.stride,
                            each.options.buffer_size, id, mask, added++);
    ++each.lent_to_kernel;
  }
  if (added != 0) ::io_uring_buf_ring_advance(each.ring, added);
}

std::uint16_t buffer_pool::take(unsigned index) noexcept {
  buffer_group& each = groups_[index];
  if (!each.reserve.empty()) {
    const std::uint16_t id = each.reserve.back();
    each.reserve.pop_back();
    return id;
  }
  if (each.refused || each.fresh == each.options.buffer_max) return none;
  return static_cast<std::uint16_t>(each.fresh++);
}

void buffer_pool::line_up(detail::operation& receive, const detail::operation_type& type) noexcept {
  line_type_ = &type;
  receive.next_in_backlog_ = nullptr;
  if (line_last_ == nullptr) {
    line_first_ = &receive;
  } else {
    line_last_->next_in_backlog_ = &receive;
  }
  line_last_ = &receive;
}

void buffer_pool::leave_line(const detail::operation& receive) noexcept {
  detail::operation* before = nullptr;
  for (detail::operation* each = line_first_; each != nullptr; each = each->next_in_backlog_) {
    if (each == &receive) {
      (before == nullptr ? line_first_ : before->next_in_backlog_) = each->next_in_backlog_;
      if (line_last_ == each) line_last_ = before;
      return;
    }
    before = each;
  }
}

void buffer_pool::start_line() noexcept {
  for (unsigned i = 0; i < large_receives_per_turn && has_line(); ++i) {
    detail::operation& first = *line_first_;
    line_first_ = first.next_in_backlog_;
    if (line_first_ == nullptr) line_last_ = nullptr;
    first.submit(*line_type_);
  }
}

void buffer_pool::starved(unsigned index) noexcept {
  ++starved_count_;
  buffer_group& each = groups_[index];
  each.target = std::min({each.target * 2, each.options.ring_size, each.options.buffer_max});
}

std::byte* buffer_pool::allocate_private(std::size_t size) {
  ++private_count_;
  return new std::byte[size];
}

buffer_statistics buffer_pool::statistics() const noexcept {
  buffer_statistics sum{};
  for (const buffer_group& each : groups_) {
    sum.lent_count += each.fresh - each.reserve.size() - each.lent_to_kernel;
    sum.touched_size += std::uint64_t{each.fresh} * each.options.buffer_size;
  }
  sum.starved_count = starved_count_;
  sum.private_count = private_count_;
  return sum;
}

}  // namespace rill
