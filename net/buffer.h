// Views of bytes that operations take: const_buffer to send, mutable_buffer to fill.
// They own nothing; what they point to must live until the operation has completed.
#pragma once

#include <cstddef>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace rill {

/// One-byte element types that may be seen as raw bytes.
template <class T>
concept byte_like =
    std::is_same_v<std::remove_cv_t<T>, std::byte> || std::is_same_v<std::remove_cv_t<T>, char> ||
    std::is_same_v<std::remove_cv_t<T>, unsigned char> ||
    std::is_same_v<std::remove_cv_t<T>, char8_t>;

/// Bytes to send: made from a string, a vector or array of bytes, a lease.
class const_buffer {
 public:
  constexpr const_buffer() noexcept {}
  constexpr const_buffer(const std::byte* data, std::size_t size) noexcept
      : data_(data), size_(size) {}
  const_buffer(std::string_view text) noexcept
      : data_(reinterpret_cast<const std::byte*>(text.data())), size_(text.size()) {}
  const_buffer(const char* text) noexcept : const_buffer(std::string_view(text)) {}
  const_buffer(const std::string& text) noexcept : const_buffer(std::string_view(text)) {}
  template <std::ranges::contiguous_range Range>
    requires byte_like<std::ranges::range_value_t<Range>> && std::ranges::sized_range<Range> &&
                 (!std::is_array_v<std::remove_cvref_t<Range>>) &&
                 (!std::is_convertible_v<Range, std::string_view>)
  const_buffer(const Range& bytes) noexcept
      : data_(reinterpret_cast<const std::byte*>(std::ranges::data(bytes))),
        size_(std::ranges::size(bytes)) {}
  /// Anything that lends its bytes, such as a lease.
  template <class Lender>
    requires(!std::ranges::range<Lender> &&
             std::is_convertible_v<const Lender&, std::span<const std::byte>>)
  const_buffer(const Lender& lender) noexcept
      : const_buffer(static_cast<std::span<const std::byte>>(lender)) {}

  constexpr const std::byte* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  constexpr operator std::span<const std::byte>() const noexcept { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Room for bytes: made from an array, vector, string or span of bytes; its whole size is used. A
/// temporary string or vector is refused: it would be gone before anybody could look into it.
class mutable_buffer {
 public:
  constexpr mutable_buffer() noexcept {}
  constexpr mutable_buffer(std::byte* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::ranges::contiguous_range Range>
    requires byte_like<std::remove_reference_t<std::ranges::range_reference_t<Range>>> &&
                 (!std::is_const_v<
                     std::remove_reference_t<std::ranges::range_reference_t<Range>>>) &&
                 std::ranges::sized_range<Range> &&
                 (std::is_lvalue_reference_v<Range> || std::ranges::borrowed_range<Range>)
  mutable_buffer(Range&& bytes) noexcept
      : data_(reinterpret_cast<std::byte*>(std::ranges::data(bytes))),
        size_(std::ranges::size(bytes)) {}

  constexpr std::byte* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr operator std::span<std::byte>() const noexcept { return {data_, size_}; }
  constexpr operator const_buffer() const noexcept { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace rill
