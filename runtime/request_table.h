// Requests in flight by their user_data, for cancelling: a hash table whose links lie in the
// requests, so that adding one allocates nothing. For look-ups: its order means nothing.
// Read next: epoll_submit.cpp, sim/submission.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace rill::detail {

/// `Request` has user_data and next_in_bucket. Several may have the same user_data.
template <class Request>
class request_table {
 public:
  request_table() : buckets_(bucket_count_initial) {}

  void add(Request& added) noexcept {
    if (++size_ > buckets_.size()) grow();
    Request*& bucket = buckets_[bucket_of(added.user_data)];
    added.next_in_bucket = bucket;
    bucket = &added;
  }

  /// REQUIRES: it was added, and its user_data is as it was then.
  void remove(Request& gone) noexcept {
    Request** at = &buckets_[bucket_of(gone.user_data)];
    while (*at != &gone) at = &(*at)->next_in_bucket;
    *at = gone.next_in_bucket;
    --size_;
  }

  /// Calls `visit` for each with this user_data. It must not add or remove any.
  template <class Visit>
  void visit(std::uint64_t user_data, Visit visit) {
    for (Request* each = buckets_[bucket_of(user_data)]; each != nullptr;
         each = each->next_in_bucket) {
      if (each->user_data == user_data) visit(*each);
    }
  }
  template <class Visit>
  void visit_all(Visit visit) {
    for (Request* each : buckets_) {
      for (; each != nullptr; each = each->next_in_bucket) visit(*each);
    }
  }

 private:
  static constexpr std::size_t bucket_count_initial = 256;  // a power of two

  std::size_t bucket_of(std::uint64_t user_data) const noexcept {
    // Addresses: the low bits are alike, the product's high ones are not.
    return static_cast<std::size_t>((user_data * 0x9e3779b97f4a7c15U) >> 32) &
           (buckets_.size() - 1);
  }

  void grow() noexcept {
    std::vector<Request*> before;
    try {
      before.resize(buckets_.size() * 2);
    } catch (const std::bad_alloc&) {
      return;  // longer chains do too
    }
    before.swap(buckets_);
    for (Request* each : before) {
      while (each != nullptr) {
        Request* const next = each->next_in_bucket;
        Request*& bucket = buckets_[bucket_of(each->user_data)];
        each->next_in_bucket = bucket;
        bucket = each;
        each = next;
      }
    }
  }

  std::vector<Request*> buckets_;
  std::size_t size_ = 0;
};

}  // namespace rill::detail
